//! The reverse pass, from a result back to everything it depends on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::Location;
use std::sync::Arc;

use crate::debug;
use crate::grads::{Cut, Grads};
use crate::node::{NodeRef, Role};
use crate::pool::FastHash;
use crate::profile;
use crate::running::{self, Running};
use crate::shape::Shape;
use crate::tensor::Tensor;

pub(crate) fn address(node: &NodeRef) -> usize {
    Arc::as_ptr(node).cast::<()>() as usize
}

/// Orders nodes by id; the address distinguishes nodes of different threads with the same id.
type Key = (u64, usize);

/// The state of one reverse pass.
///
/// `pending` holds, for each node that a gradient has reached, the sum of the contributions so far. Ids grow along
/// every edge, so the node with the largest id has received everything and is next.
struct Pass {
    pending: BTreeMap<Key, (NodeRef, Tensor)>,
    /// An entry outside the queue: the last node that had the largest id when it received a gradient. In a chain it is
    /// the only entry, and the queue remains empty.
    newest: Option<(Key, (NodeRef, Tensor))>,
    leaves: HashMap<usize, (NodeRef, Tensor), FastHash>,
    /// The nodes that need gradients, if not all.
    only: Option<HashSet<usize, FastHash>>,
    cuts: Vec<Cut>,
    recording: bool,
}

impl Pass {
    fn new(recording: bool, only: Option<HashSet<usize, FastHash>>) -> Pass {
        let (pending, leaves) = (BTreeMap::new(), HashMap::default());
        Pass { pending, newest: None, leaves, only, cuts: Vec::new(), recording }
    }

    /// Whether `node` needs a gradient.
    fn wants(&self, node: &NodeRef) -> bool {
        node.is_tracked() && self.only.as_ref().is_none_or(|only| only.contains(&address(node)))
    }

    /// Adds a contribution: the first is moved in, later ones are added, in place if the sum is not shared.
    fn send(&mut self, node: &NodeRef, g: Tensor) {
        let key = (node.id, address(node));
        if node.role == Role::Leaf {
            match self.leaves.get_mut(&key.1) {
                Some((_, sum)) => sum.accumulate(g),
                None => {
                    self.note_cuts(node);
                    self.leaves.insert(key.1, (Arc::clone(node), g));
                }
            }
            return;
        }
        match &mut self.newest {
            Some((newest, (_, sum))) if *newest == key => sum.accumulate(g),
            Some((newest, _)) if *newest > key => match self.pending.get_mut(&key) {
                Some((_, sum)) => sum.accumulate(g),
                None => drop(self.pending.insert(key, (Arc::clone(node), g))),
            },
            newest => {
                // If the queue has an entry for this node, it moves to the front, too.
                let mut entry = (Arc::clone(node), g);
                if !self.pending.is_empty()
                    && let Some((_, mut sum)) = self.pending.remove(&key)
                {
                    sum.accumulate(entry.1);
                    entry.1 = sum;
                }
                if let Some((key, entry)) = newest.replace((key, entry)) {
                    self.pending.insert(key, entry);
                }
            }
        }
    }

    /// The next node whose gradient is complete.
    fn next(&mut self) -> Option<(NodeRef, Tensor)> {
        match (&self.newest, self.pending.last_key_value()) {
            (Some((newest, _)), Some((last, _))) if last > newest => {}
            (Some(_), _) => return self.newest.take().map(|(_, entry)| entry),
            _ => {}
        }
        self.pending.pop_last().map(|(_, entry)| entry)
    }

    /// Records where the graph is cut just below `node`.
    fn note_cuts(&mut self, node: &NodeRef) {
        node.edges.each(|edge| {
            if let Some(cut) = Cut::of(edge)
                && !self.cuts.contains(&cut)
            {
                self.cuts.push(cut);
            }
        });
    }

    /// `g` as a constant unless the pass records: without recording, gradients are always constants.
    fn admit(&self, g: Tensor) -> Tensor {
        if self.recording { g } else { g.with_node(None) }
    }

    /// Sends the gradient `g` of `node` on to its inputs.
    fn pull(&mut self, node: &NodeRef, g: Tensor) {
        self.note_cuts(node);
        let running = Running { op: node.rule.name(), backward: true, site: node.site };
        let mut pull = |g| {
            running::run_as(running, || node.rule.pullback(&mut Pullback { node, g: Some(g), pass: self }));
        };
        if profile::running() { profile::backward(node, g, pull) } else { pull(g) }
    }
}

/// The interface of a rule to the reverse pass: the gradient of its output, and where it sends the gradients of its
/// inputs.
pub(crate) struct Pullback<'a> {
    node: &'a NodeRef,
    g: Option<Tensor>,
    pass: &'a mut Pass,
}

impl Pullback<'_> {
    /// Whether gradients are themselves recorded.
    pub fn recording(&self) -> bool {
        self.pass.recording
    }

    /// Whether input `i` needs a gradient.
    pub fn wants(&self, i: usize) -> bool {
        self.node.edges.get(i).is_some_and(|n| self.pass.wants(n))
    }

    /// The gradient of the output.
    pub fn g(&self) -> &Tensor {
        self.g.as_ref().expect("take_g is a rule's last use of g")
    }

    /// The gradient of the output, to be consumed: a rule that no longer needs it may overwrite its memory.
    pub fn take_g(&mut self) -> Tensor {
        self.g.take().expect("take_g is a rule's last use of g")
    }

    /// The user's line that called the operation.
    pub fn site(&self) -> &'static Location<'static> {
        self.node.site
    }

    /// The shape of the output.
    pub fn shape(&self) -> &Shape {
        &self.node.shape
    }

    /// Sends the gradient `g` to input `i`. Gradients of broadcast inputs are summed here, for every rule.
    pub fn give(&mut self, i: usize, g: Tensor) {
        let Some(edge) = self.node.edges.get(i) else { return };
        if !self.pass.wants(edge) {
            return;
        }
        let g = self.pass.admit(g);
        let g = if *g.shape() == edge.shape { g } else { g.sum_to(&edge.shape) };
        if debug::watching() {
            debug::check_backward(self.node, i, &g);
        }
        self.pass.send(edge, g);
    }

    /// The saved value of input `i` as a tensor, part of the graph again when recording.
    pub fn input(&self, i: usize, value: &Tensor) -> Tensor {
        let node = if self.pass.recording { self.node.edges.get(i).cloned() } else { None };
        value.value().with_node(node)
    }

    /// The saved value of the output as a tensor, part of the graph again when recording.
    pub fn output(&self, value: &Tensor) -> Tensor {
        value.value().with_node(self.pass.recording.then(|| Arc::clone(self.node)))
    }
}

/// Gradients with respect to every leaf.
#[track_caller]
pub(crate) fn backward(y: Tensor, seed: Tensor, recording: bool) -> Grads {
    let Some(root) = y.node().cloned() else {
        panic!("backward: this tensor of shape {} depends on no tensor with requires_grad()", y.shape());
    };
    if let Some(cut) = Cut::of(&root) {
        panic!(
            "backward: this tensor of shape {} depends on nothing that requires a gradient: the graph was cut by {cut}",
            y.shape()
        );
    }
    drop(y);
    let site = root.site;
    let mut pass = Pass::new(recording, None);
    let seed = pass.admit(seed);
    pass.send(&root, seed);
    drop(root);
    while let Some((node, g)) = pass.next() {
        pass.pull(&node, g);
    }
    Grads { by_leaf: pass.leaves, cuts: pass.cuts, site }
}

/// Gradients with respect to `inputs` where they exist. Only nodes that lead to an input are visited.
pub(crate) fn grad(y: &Tensor, seed: Tensor, inputs: &[&Tensor], recording: bool) -> Vec<Option<Tensor>> {
    let targets: Vec<Option<&NodeRef>> = inputs.iter().map(|x| x.node().filter(|n| n.is_tracked())).collect();
    let Some(root) = y.node() else { return vec![None; inputs.len()] };
    let mut pass = Pass::new(recording, Some(leading(root, &targets)));
    if pass.wants(root) {
        let seed = pass.admit(seed);
        pass.send(root, seed);
    }
    let wanted: HashSet<usize, FastHash> = targets.iter().flatten().map(|n| address(n)).collect();
    let mut found: HashMap<usize, Tensor, FastHash> = HashMap::default();
    while let Some((node, g)) = pass.next() {
        if wanted.contains(&address(&node)) {
            found.insert(address(&node), g.clone());
        }
        pass.pull(&node, g);
    }
    let get = |n: &NodeRef| found.get(&address(n)).or(pass.leaves.get(&address(n)).map(|(_, g)| g)).cloned();
    targets.into_iter().map(|t| t.and_then(get)).collect()
}

/// The nodes between `root` and `targets`, both included: the nodes that the pass visits.
fn leading(root: &NodeRef, targets: &[Option<&NodeRef>]) -> HashSet<usize, FastHash> {
    let mut leading: HashSet<usize, FastHash> = targets.iter().flatten().map(|n| address(n)).collect();
    // Nothing older than the oldest target can depend on one.
    let Some(oldest) = targets.iter().flatten().map(|n| n.id).min() else { return leading };
    let mut order = reachable(root, |n| n.id > oldest);
    order.sort_unstable_by_key(|n| n.id);
    for node in order {
        if node.edges.iter().any(|e| leading.contains(&address(e))) {
            leading.insert(address(node));
        }
    }
    leading
}

/// Every node that `root` depends on, itself included, as long as `go` holds; in no particular order.
pub(crate) fn reachable(root: &NodeRef, go: impl Fn(&NodeRef) -> bool) -> Vec<&NodeRef> {
    let mut seen: HashSet<usize, FastHash> = HashSet::default();
    let mut list = Vec::new();
    let mut stack = vec![root];
    while let Some(node) = stack.pop() {
        if go(node) && seen.insert(address(node)) {
            list.push(node);
            stack.extend(node.edges.iter());
        }
    }
    list
}
