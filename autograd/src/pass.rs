//! The reverse pass: from a result back to everything it depends on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Index;
use std::panic::Location;
use std::sync::Arc;

use crate::buffer::FastHash;
use crate::debug;
use crate::node::{NodeRef, Role};
use crate::ops::arith::add_into;
use crate::profile;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// # Gradients
impl Tensor {
    /// Gradients of this scalar with respect to every leaf it depends on.
    ///
    /// Takes the tensor by value: as the pass proceeds, each node and what it kept is freed, unless somebody
    /// else holds it. The gradients are constants; see [`Tensor::recorded`] for ones that can be differentiated.
    ///
    /// # Panics
    /// If the tensor has more than one element, or depends on no leaf.
    #[track_caller]
    pub fn backward(self) -> Grads {
        let seed = unit_seed("backward", &self);
        backward(self, seed, false)
    }

    /// The gradients of this scalar with respect to `inputs`, in their order. The graph is left as it is.
    ///
    /// An input need not be a leaf: any tensor that this one was computed from will do.
    ///
    /// # Panics
    /// If the tensor has more than one element, or does not depend on one of the inputs: the message names the
    /// cut in between, if there is one.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from(3.0).requires_grad();
    /// let y = &x * &x;
    /// assert_eq!(y.grad(&[&x])[0].item(), 6.0);
    /// ```
    #[track_caller]
    pub fn grad(&self, inputs: &[&Tensor]) -> Vec<Tensor> {
        let seed = unit_seed("grad", self);
        required("grad", self, inputs, grad(self, seed, inputs, false))
    }

    /// The vector-Jacobian product: the gradients of sum(self * cotangent) with respect to `inputs`.
    ///
    /// # Panics
    /// If `cotangent` has another shape or dtype than `self`, or `self` does not depend on one of the inputs.
    #[track_caller]
    pub fn vjp(&self, cotangent: &Tensor, inputs: &[&Tensor]) -> Vec<Tensor> {
        check_seed(self, cotangent);
        required("vjp", self, inputs, grad(self, cotangent.clone(), inputs, false))
    }

    /// The same gradients, themselves recorded: `y.recorded().grad(&[&x])` can be differentiated again.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from(2.0).requires_grad();
    /// let y = x.powf(3.0);
    /// let dy = y.recorded().grad(&[&x]).remove(0);
    /// let ddy = dy.grad(&[&x]).remove(0);
    /// assert_eq!((dy.item(), ddy.item()), (12.0, 12.0));
    /// ```
    pub fn recorded(&self) -> Recorded<'_> {
        Recorded(self)
    }
}

/// A tensor whose gradients are to be recorded. Made by [`Tensor::recorded`].
pub struct Recorded<'a>(&'a Tensor);

impl Recorded<'_> {
    /// As [`Tensor::backward`], but the graph is left as it is and the gradients can be differentiated.
    ///
    /// # Panics
    /// As [`Tensor::backward`].
    #[track_caller]
    pub fn backward(&self) -> Grads {
        let seed = unit_seed("backward", self.0);
        backward(self.0.clone(), seed, true)
    }

    /// As [`Tensor::grad`], differentiable.
    ///
    /// # Panics
    /// As [`Tensor::grad`].
    #[track_caller]
    pub fn grad(&self, inputs: &[&Tensor]) -> Vec<Tensor> {
        let seed = unit_seed("grad", self.0);
        required("grad", self.0, inputs, grad(self.0, seed, inputs, true))
    }

    /// As [`Tensor::vjp`], differentiable, also with respect to the cotangent.
    ///
    /// # Panics
    /// As [`Tensor::vjp`].
    #[track_caller]
    pub fn vjp(&self, cotangent: &Tensor, inputs: &[&Tensor]) -> Vec<Tensor> {
        check_seed(self.0, cotangent);
        required("vjp", self.0, inputs, grad(self.0, cotangent.clone(), inputs, true))
    }
}

/// The gradients of one reverse pass, found by the tensor they belong to: `grads[&w]`.
pub struct Grads {
    /// By address of the leaf's node, which the entry keeps alive.
    by_leaf: HashMap<usize, (NodeRef, Tensor), FastHash>,
    cuts: Vec<&'static Location<'static>>,
    site: &'static Location<'static>,
}

impl Grads {
    /// The gradient of `leaf`, or `None` if the differentiated tensor does not depend on it.
    pub fn get(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.by_leaf.get(&address(leaf.node()?)).map(|(_, g)| g)
    }

    /// Takes the gradient of `leaf` out.
    pub fn take(&mut self, leaf: &Tensor) -> Option<Tensor> {
        self.by_leaf.remove(&address(leaf.node()?)).map(|(_, g)| g)
    }

    /// How many leaves have a gradient.
    pub fn len(&self) -> usize {
        self.by_leaf.len()
    }

    /// Whether no leaf has a gradient.
    pub fn is_empty(&self) -> bool {
        self.by_leaf.is_empty()
    }

    /// Why `leaf` has no gradient, in one line: what it is and where the graph was cut.
    pub fn reason(&self, leaf: &Tensor) -> String {
        missing(leaf, self.site, &self.cuts)
    }
}

impl Index<&Tensor> for Grads {
    type Output = Tensor;

    /// # Panics
    /// If the differentiated tensor does not depend on `leaf`; the message names the cut.
    #[track_caller]
    fn index(&self, leaf: &Tensor) -> &Tensor {
        match self.get(leaf) {
            Some(g) => g,
            None => panic!("{}", self.reason(leaf)),
        }
    }
}

fn missing(leaf: &Tensor, site: &Location<'_>, cuts: &[&Location<'_>]) -> String {
    let shape = leaf.shape();
    let who = match leaf.node() {
        None => {
            return format!(
                "no gradient for a tensor of shape {shape}: it is a constant; call requires_grad() on it"
            );
        }
        Some(n) if n.role == Role::Cut => {
            return format!("no gradient for a tensor of shape {shape}: it was detached at {}", n.site);
        }
        Some(n) => format!("no gradient for the tensor of shape {shape} made at {}", n.site),
    };
    let cuts: Vec<String> = cuts.iter().map(|c| c.to_string()).collect();
    let why = match cuts.as_slice() {
        [] => "nothing that was computed from it leads there".to_string(),
        cuts => format!("the graph was cut by detach at {}", cuts.join(", ")),
    };
    format!("{who}: the tensor made at {site} does not depend on it; {why}")
}

#[track_caller]
fn required(what: &str, y: &Tensor, inputs: &[&Tensor], found: Vec<Option<Tensor>>) -> Vec<Tensor> {
    let site = y.node().map_or(Location::caller(), |n| n.site);
    let mut out = Vec::with_capacity(found.len());
    for (found, input) in found.into_iter().zip(inputs) {
        match found {
            Some(g) => out.push(g),
            None => panic!("{what}: {}", missing(input, site, &cuts_below(y))),
        }
    }
    out
}

#[track_caller]
fn unit_seed(what: &str, y: &Tensor) -> Tensor {
    let shape = y.shape();
    assert!(
        y.numel() == 1,
        "{what}: the gradient of a tensor of shape {shape} is not defined; reduce it to one element (sum, mean) or use vjp"
    );
    Tensor::ones(shape, y.dtype())
}

#[track_caller]
fn check_seed(y: &Tensor, cotangent: &Tensor) {
    assert!(
        y.shape() == cotangent.shape() && y.dtype() == cotangent.dtype(),
        "vjp: the cotangent is {} {}, the tensor {} {}; they must be alike",
        cotangent.dtype(),
        cotangent.shape(),
        y.dtype(),
        y.shape()
    );
}

pub(crate) fn address(node: &NodeRef) -> usize {
    Arc::as_ptr(node).cast::<()>() as usize
}

/// Orders nodes by id; the address tells nodes of different threads with the same id apart.
type Key = (u64, usize);

/// The work of one reverse pass.
///
/// `pending` holds, for each node that a gradient has reached, the sum of what has arrived. Ids grow along every
/// edge, so the node with the largest id has received everything and is next.
struct Pass {
    pending: BTreeMap<Key, (NodeRef, Tensor)>,
    /// One entry more: the last of the nodes sent to that had the largest id so far. In a chain it is the only one,
    /// and the queue stays empty.
    newest: Option<(Key, (NodeRef, Tensor))>,
    leaves: HashMap<usize, (NodeRef, Tensor), FastHash>,
    /// The nodes to give gradients to, if not all.
    only: Option<HashSet<usize, FastHash>>,
    cuts: Vec<&'static Location<'static>>,
    recording: bool,
}

impl Pass {
    fn new(recording: bool, only: Option<HashSet<usize, FastHash>>) -> Pass {
        let (pending, leaves) = (BTreeMap::new(), HashMap::default());
        Pass { pending, newest: None, leaves, only, cuts: Vec::new(), recording }
    }

    /// Whether a gradient is wanted at `node`.
    fn wants(&self, node: &NodeRef) -> bool {
        node.is_tracked() && self.only.as_ref().is_none_or(|only| only.contains(&address(node)))
    }

    /// Adds a contribution: the first is moved in, later ones are added, in place where nobody else looks.
    fn send(&mut self, node: &NodeRef, g: Tensor) {
        let key = (node.id, address(node));
        if node.role == Role::Leaf {
            match self.leaves.get_mut(&key.1) {
                Some((_, sum)) => add_into(sum, g),
                None => drop(self.leaves.insert(key.1, (Arc::clone(node), g))),
            }
            return;
        }
        match &mut self.newest {
            Some((newest, (_, sum))) if *newest == key => add_into(sum, g),
            Some((newest, _)) if *newest > key => match self.pending.get_mut(&key) {
                Some((_, sum)) => add_into(sum, g),
                None => drop(self.pending.insert(key, (Arc::clone(node), g))),
            },
            newest => {
                // What the queue may hold for this node comes to the front with it.
                let mut entry = (Arc::clone(node), g);
                if !self.pending.is_empty()
                    && let Some((_, mut sum)) = self.pending.remove(&key)
                {
                    add_into(&mut sum, entry.1);
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

    /// Sends the gradient `g` of `node` on to its inputs.
    fn pull(&mut self, node: &NodeRef, g: Tensor) {
        node.edges.each(|edge| {
            if edge.role == Role::Cut && !self.cuts.contains(&edge.site) {
                self.cuts.push(edge.site);
            }
        });
        let mut pull = |g| node.rule.pullback(&mut Pullback { node, g: Some(g), pass: self });
        if profile::running() { profile::backward(node, g, pull) } else { pull(g) }
    }
}

/// What a rule sees of the reverse pass: the gradient of its output, and where gradients of its inputs go.
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

    /// Whether input `i` wants a gradient.
    pub fn wants(&self, i: usize) -> bool {
        self.node.edges.get(i).is_some_and(|n| self.pass.wants(n))
    }

    /// The gradient of the output.
    pub fn g(&self) -> &Tensor {
        self.g.as_ref().expect("take_g is a rule's last use of g")
    }

    /// The gradient of the output, to be consumed: a rule that needs it no more may write into its memory.
    pub fn take_g(&mut self) -> Tensor {
        self.g.take().expect("take_g is a rule's last use of g")
    }

    /// The shape of the output.
    pub fn shape(&self) -> &Shape {
        &self.node.shape
    }

    /// Gives input `i` the gradient `g`. Broadcasting is undone here, for every rule.
    pub fn give(&mut self, i: usize, g: Tensor) {
        let Some(edge) = self.node.edges.get(i) else { return };
        if !self.pass.wants(edge) {
            return;
        }
        let g = if *g.shape() == edge.shape { g } else { g.sum_to(&edge.shape) };
        if debug::watching() {
            debug::check_backward(self.node, i, &g);
        }
        self.pass.send(edge, g);
    }

    /// The value kept of input `i` as a tensor, part of the graph again when recording.
    pub fn input(&self, i: usize, value: &Tensor) -> Tensor {
        let node = if self.pass.recording { self.node.edges.get(i).cloned() } else { None };
        value.value().with_node(node)
    }

    /// The value kept of the output as a tensor, part of the graph again when recording.
    pub fn output(&self, value: &Tensor) -> Tensor {
        value.value().with_node(self.pass.recording.then(|| Arc::clone(self.node)))
    }
}

#[track_caller]
fn backward(y: Tensor, seed: Tensor, recording: bool) -> Grads {
    let Some(root) = y.node().cloned() else {
        panic!("backward: this tensor of shape {} depends on no tensor with requires_grad()", y.shape());
    };
    assert!(
        root.is_tracked(),
        "backward: this tensor of shape {} depends on nothing that requires a gradient: the graph was cut by detach at {}",
        y.shape(),
        root.site
    );
    drop(y);
    let site = root.site;
    let mut pass = Pass::new(recording, None);
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

/// The nodes between `root` and `targets`, both included: all that a gradient need visit.
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

/// Where the graph below `y` was cut.
fn cuts_below(y: &Tensor) -> Vec<&'static Location<'static>> {
    let mut sites: Vec<_> = y
        .node()
        .map(|root| {
            reachable(root, |_| true).iter().filter(|n| n.role == Role::Cut).map(|n| n.site).collect()
        })
        .unwrap_or_default();
    sites.sort_unstable_by_key(|s| (s.file(), s.line(), s.column()));
    sites.dedup();
    sites
}
