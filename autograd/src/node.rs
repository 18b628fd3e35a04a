//! The graph: how a tensor was computed.

use std::cell::Cell;
use std::fmt::Debug;
use std::mem;
use std::panic::Location;
use std::sync::Arc;

use crate::debug;
use crate::pass::Pullback;
use crate::profile;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// How to pull a gradient back through one operation. Its fields are exactly what the operation saves for backward.
///
/// A rule keeps values (tensors without a node), never tensors with one: [`Pullback::input`] attaches the node
/// again when gradients are themselves recorded. So a rule can neither close a cycle with its own output nor
/// make dropping a long graph recursive.
pub(crate) trait Rule: Debug + Send + Sync {
    /// The operation's name, for error messages and graph drawings.
    fn name(&self) -> &'static str;
    /// Sends the gradient to each input that needs one.
    fn pullback(&self, cx: &mut Pullback<'_>);
    /// Bytes saved for backward.
    fn kept_bytes(&self) -> usize;
    /// Floating-point operations of the forward pass, for output `shape`.
    fn flops(&self, shape: &Shape) -> u64 {
        shape.numel() as u64
    }
    /// Whether this is an input of a function that a transform is currently differentiating.
    fn is_open(&self) -> bool {
        false
    }
}

/// What a node is in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A tensor that requires a gradient.
    Leaf,
    /// The result of an operation.
    Op,
    /// Where `detach` or `requires_grad` cut the graph: has no gradient, only the source line for the error message.
    Cut,
}

/// A node of the graph. Rule and node share one allocation.
pub(crate) struct Node<R: Rule + ?Sized = dyn Rule> {
    /// Larger than the id of every input: the ids order the graph.
    pub id: u64,
    pub role: Role,
    pub shape: Shape,
    pub edges: Edges,
    /// The user's line.
    pub site: &'static Location<'static>,
    pub rule: R,
}

pub(crate) type NodeRef = Arc<Node>;

/// Nodes of an operation's inputs, in order; `None` for constants. Up to three need no allocation.
#[derive(Default)]
pub(crate) struct Edges {
    first: [Option<NodeRef>; 3],
    rest: Box<[Option<NodeRef>]>,
}

impl Edges {
    pub fn new(inputs: &[&Tensor]) -> Edges {
        let node = |i: usize| inputs.get(i).and_then(|t| t.node().cloned());
        let first = [node(0), node(1), node(2)];
        let rest = match inputs.len() {
            ..=3 => Box::default(),
            all => (first.len()..all).map(node).collect(),
        };
        Edges { first, rest }
    }

    pub fn get(&self, i: usize) -> Option<&NodeRef> {
        self.first.get(i).unwrap_or_else(|| &self.rest[i - self.first.len()]).as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = &NodeRef> {
        self.first.iter().chain(&self.rest).flatten()
    }

    /// As `iter().for_each(f)`, faster for few edges.
    #[inline]
    pub fn each<'a>(&'a self, mut f: impl FnMut(&'a NodeRef)) {
        for node in self.first.iter().flatten() {
            f(node);
        }
        for node in self.rest.iter().flatten() {
            f(node);
        }
    }

    /// Drops what only these edges lead to.
    fn drop_graph(&mut self) {
        // Does nothing in a reverse pass, which holds the inputs.
        let mut last = false;
        self.each(|node| last |= Arc::strong_count(node) == 1);
        if !last {
            return;
        }
        let mut doomed: Vec<NodeRef> = Vec::new();
        let release = |edges: &mut Edges, doomed: &mut Vec<NodeRef>| {
            doomed.extend(edges.take().filter(|node| Arc::strong_count(node) == 1));
        };
        release(self, &mut doomed);
        while let Some(mut node) = doomed.pop() {
            if let Some(unique) = Arc::get_mut(&mut node) {
                release(&mut unique.edges, &mut doomed);
            }
        }
    }

    fn take(&mut self) -> impl Iterator<Item = NodeRef> {
        mem::take(&mut self.first).into_iter().chain(mem::take(&mut self.rest)).flatten()
    }
}

impl<R: Rule + ?Sized> Node<R> {
    /// Whether gradients flow through this node.
    pub fn is_tracked(&self) -> bool {
        self.role != Role::Cut
    }
}

/// Dropping a graph walks it with a list instead of recursion, so that a chain of a million nodes fits any stack.
impl<R: Rule + ?Sized> Drop for Node<R> {
    fn drop(&mut self) {
        self.edges.drop_graph();
    }
}

thread_local! {
    /// A Lamport clock: ids increase along every edge, also across threads, without a shared counter.
    static CLOCK: Cell<u64> = const { Cell::new(0) };
}

fn next_id(edges: &Edges) -> u64 {
    CLOCK.with(|clock| {
        let mut last = clock.get();
        edges.each(|n| last = last.max(n.id));
        clock.set(last + 1);
        last + 1
    })
}

fn node<R: Rule + 'static>(
    role: Role,
    value: &Tensor,
    edges: Edges,
    site: &'static Location<'static>,
    rule: R,
) -> NodeRef {
    let id = next_id(&edges);
    Arc::new(Node { id, role, shape: *value.shape(), edges, site, rule })
}

/// Makes `value` the result of an operation on `inputs`.
///
/// `rule` is called only if some input is tracked, so that nothing is saved if no gradient is needed.
#[track_caller]
pub(crate) fn record<R: Rule + 'static>(
    name: &'static str,
    value: Tensor,
    inputs: &[&Tensor],
    rule: impl FnOnce(&Tensor) -> R,
) -> Tensor {
    // Compiled once per rule, so it is kept small.
    match source(name, &value, inputs, Location::caller()) {
        Source::Tracked(edges) => {
            let rule = rule(&value);
            let node = node(Role::Op, &value, edges, Location::caller(), rule);
            noted(name, value, inputs, node)
        }
        Source::Constant(cut) => value.with_node(cut),
    }
}

/// What an operation's inputs are.
enum Source {
    /// At least one is tracked.
    Tracked(Edges),
    /// None is tracked. A cut is passed on, so that an error about a missing gradient can name it.
    Constant(Option<NodeRef>),
}

fn source(
    name: &'static str,
    value: &Tensor,
    inputs: &[&Tensor],
    site: &'static Location<'static>,
) -> Source {
    if debug::watching() {
        debug::check_forward(name, value, inputs, site);
    }
    let mut cut = None;
    for node in inputs.iter().filter_map(|input| input.node()) {
        if node.is_tracked() {
            return Source::Tracked(Edges::new(inputs));
        }
        cut = cut.or(Some(node));
    }
    if profile::running() {
        profile::forward(name, value, inputs, 0);
    }
    Source::Constant(cut.cloned())
}

fn noted(name: &'static str, value: Tensor, inputs: &[&Tensor], node: NodeRef) -> Tensor {
    if profile::running() {
        profile::forward(name, &value, inputs, node.rule.flops(&node.shape));
    }
    if debug::watching() {
        debug::note(&node);
    }
    value.with_node(Some(node))
}

/// Makes `value` the result of a rule on `inputs`, tracked even if none of them is.
#[track_caller]
pub(crate) fn track<R: Rule + 'static>(value: Tensor, inputs: &[&Tensor], rule: R) -> Tensor {
    let node = node(Role::Op, &value, Edges::new(inputs), Location::caller(), rule);
    value.with_node(Some(node))
}

/// The elements of `x` as a new leaf. The graph of `x` is cut off; the leaf records where.
#[track_caller]
pub(crate) fn leaf(x: &Tensor) -> Tensor {
    let origin = if x.is_tracked() { cut(x, "requires_grad") } else { x.clone() };
    let node = node(Role::Leaf, x, Edges::new(&[&origin]), Location::caller(), End("leaf"));
    x.value().with_node(Some(node))
}

/// The elements of `x` behind a cut made by method `by`.
#[track_caller]
pub(crate) fn cut(x: &Tensor, by: &'static str) -> Tensor {
    let node = node(Role::Cut, x, Edges::default(), Location::caller(), End(by));
    x.value().with_node(Some(node))
}

/// The rule of a node where the reverse pass ends.
#[derive(Debug)]
struct End(&'static str);

impl Rule for End {
    fn name(&self) -> &'static str {
        self.0
    }
    fn pullback(&self, _: &mut Pullback<'_>) {}
    fn kept_bytes(&self) -> usize {
        0
    }
    fn flops(&self, _: &Shape) -> u64 {
        0
    }
}
