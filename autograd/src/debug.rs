//! Debugging a computation: where the first NaN came from, and what the graph holds.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;

use crate::node::{NodeRef, Role};
use crate::pass;
use crate::shape::Shape;
use crate::tensor::Tensor;

// ------------------------------------------------------------------------------------------ anomaly mode

/// The first operation whose result was NaN or infinite although its inputs were finite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// The operation's name.
    pub op: &'static str,
    /// Whether it happened in the reverse pass; then the result is the gradient of one of its inputs.
    pub backward: bool,
    /// The shape of the result.
    pub shape: Shape,
    /// The shapes of the inputs (of the gradient's own input, in the reverse pass).
    pub inputs: Vec<Shape>,
    /// The row-major position of the first element that is not finite, and its value as text.
    pub element: (usize, String),
    /// The user's line that called the operation.
    pub site: &'static Location<'static>,
    /// The part of the model it belongs to, as named by [`named_scope`]; empty outside of one.
    pub scope: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Anomaly { op, shape, inputs, element: (position, value), site, scope, .. } = self;
        let what = if self.backward { "the gradient through" } else { "the result of" };
        let within = if scope.is_empty() { String::new() } else { format!(" in {scope}") };
        write!(
            f,
            "{what} {op} {inputs:?} -> {shape}{within}, called at {site}, is {value} at element {position}"
        )
    }
}
impl std::error::Error for Anomaly {}

thread_local! {
    /// While anomaly mode is on: the first anomaly, if there was one.
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Watch {
    first: Option<Anomaly>,
    /// The names of the scopes that are open.
    scope: Vec<String>,
    /// The scope of each node made in one.
    scopes: HashMap<u64, String>,
}

/// Runs `f` as the part `name` of a model: in anomaly mode, an anomaly in it is reported with that name (nested names
/// are joined by dots). Otherwise it only runs `f`.
///
/// ```
/// use autograd::{Tensor, detect_anomaly, named_scope};
/// let x = Tensor::from([-1.0]);
/// let found = detect_anomaly(|| named_scope("head", || x.log())).err().unwrap();
/// assert_eq!(found.scope, "head");
/// ```
pub fn named_scope<R>(name: &str, f: impl FnOnce() -> R) -> R {
    if !watching() {
        return f();
    }
    /// Closes the scope, also when `f` panics.
    struct Close;
    impl Drop for Close {
        fn drop(&mut self) {
            with_watch(|w| drop(w.scope.pop()));
        }
    }
    with_watch(|w| w.scope.push(name.to_string()));
    let _close = Close;
    f()
}

/// Accesses the state of anomaly mode, if it is on.
fn with_watch<R>(f: impl FnOnce(&mut Watch) -> R) -> Option<R> {
    WATCH.with(|w| w.borrow_mut().as_mut().map(f))
}

/// Records the scope in which a node was made.
#[cold]
pub(crate) fn note(node: &NodeRef) {
    with_watch(|w| {
        if !w.scope.is_empty() {
            w.scopes.insert(node.id, w.scope.join("."));
        }
    });
}

/// Runs `f` in anomaly mode: every operation that this thread runs, forward or in a reverse pass, is checked for
/// NaN and infinity. `f` runs to its end; the error names the first operation that produced one from finite inputs.
///
/// ```
/// use autograd::{Tensor, detect_anomaly};
/// let x = Tensor::from([1.0, 0.0]).requires_grad();
/// let found = detect_anomaly(|| x.sqrt().sum(..).backward()).err().unwrap();
/// assert!(found.backward && found.op == "sqrt");
/// ```
pub fn detect_anomaly<R>(f: impl FnOnce() -> R) -> Result<R, Box<Anomaly>> {
    /// Restores the state of the outer call, also when `f` panics.
    struct Restore(Option<Watch>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let outer = self.0.take();
            WATCH.with(|w| *w.borrow_mut() = outer);
        }
    }
    let restore = Restore(WATCH.with(|w| w.borrow_mut().replace(Watch::default())));
    let result = f();
    let first = WATCH.with(|w| w.borrow_mut().take()).and_then(|w| w.first);
    drop(restore);
    match first {
        Some(anomaly) => Err(Box::new(anomaly)),
        None => Ok(result),
    }
}

/// Whether anomaly mode is on in this thread and nothing has been found yet.
#[inline]
pub(crate) fn watching() -> bool {
    WATCH.with(|w| w.borrow().as_ref().is_some_and(|w| w.first.is_none()))
}

fn first_bad(t: &Tensor) -> Option<(usize, String)> {
    if t.is_finite() {
        return None;
    }
    (0..t.numel()).map(|i| (i, t.get(i))).find(|(_, v)| !v.is_finite()).map(|(i, v)| (i, v.to_string()))
}

fn report(anomaly: Anomaly) {
    with_watch(|w| {
        w.first.get_or_insert(anomaly);
    });
}

#[cold]
pub(crate) fn check_forward(
    op: &'static str,
    value: &Tensor,
    inputs: &[&Tensor],
    site: &'static Location<'static>,
) {
    let Some(element) = first_bad(value) else { return };
    let mut shapes = Vec::new();
    for input in inputs {
        if !input.is_finite() {
            return; // it came in from outside
        }
        shapes.push(*input.shape());
    }
    let scope = with_watch(|w| w.scope.join(".")).unwrap_or_default();
    report(Anomaly { op, backward: false, shape: *value.shape(), inputs: shapes, element, site, scope });
}

#[cold]
pub(crate) fn check_backward(node: &NodeRef, input: usize, g: &Tensor) {
    let Some(element) = first_bad(g) else { return };
    let inputs = node.edges.get(input).map(|n| n.shape).into_iter().collect();
    let scope = with_watch(|w| w.scopes.get(&node.id).cloned()).flatten().unwrap_or_default();
    report(Anomaly {
        op: node.rule.name(),
        backward: true,
        shape: *g.shape(),
        inputs,
        element,
        site: node.site,
        scope,
    });
}

// -------------------------------------------------------------------------------------------- the graph

/// The graph that a tensor was computed by. Made by [`inspect`].
#[derive(Clone, Debug)]
pub struct Graph {
    /// From the oldest node to the newest.
    pub nodes: Vec<GraphNode>,
}

/// One node of a [`Graph`].
#[derive(Clone, Debug)]
pub struct GraphNode {
    /// The operation, "leaf", or the method that cut the graph: "detach" or "requires_grad".
    pub op: &'static str,
    /// The shape of its result.
    pub shape: Shape,
    /// Bytes that it saves for backward.
    pub kept_bytes: usize,
    /// Floating-point operations of its forward pass.
    pub flops: u64,
    /// The user's line.
    pub site: &'static Location<'static>,
    /// Positions, in the graph, of the nodes it was computed from.
    pub inputs: Vec<usize>,
}

/// The graph that `y` was computed by.
///
/// ```
/// use autograd::{Tensor, inspect};
/// let x = Tensor::from([1.0, 2.0]).requires_grad();
/// let graph = inspect(&x.tanh().sum(..));
/// let ops: Vec<_> = graph.nodes.iter().map(|n| n.op).collect();
/// assert_eq!(ops, ["leaf", "tanh", "sum"]);
/// println!("{graph}\n{}", graph.to_dot());
/// ```
pub fn inspect(y: &Tensor) -> Graph {
    let Some(root) = y.node() else { return Graph { nodes: Vec::new() } };
    let mut nodes = pass::reachable(root, |_| true);
    nodes.sort_by_key(|n| n.id);
    let index: HashMap<usize, usize> = nodes.iter().enumerate().map(|(i, n)| (pass::address(n), i)).collect();
    let describe = |n: &&NodeRef| GraphNode {
        op: n.rule.name(),
        shape: n.shape,
        kept_bytes: n.rule.kept_bytes(),
        flops: if n.role == Role::Op { n.rule.flops(&n.shape) } else { 0 },
        site: n.site,
        inputs: n.edges.iter().map(|e| index[&pass::address(e)]).collect(),
    };
    Graph { nodes: nodes.iter().map(describe).collect() }
}

impl Graph {
    /// Bytes that the whole graph saves for backward; a buffer that several nodes share is counted for each.
    pub fn kept_bytes(&self) -> usize {
        self.nodes.iter().map(|n| n.kept_bytes).sum()
    }

    /// Floating-point operations of the forward pass.
    pub fn flops(&self) -> u64 {
        self.nodes.iter().map(|n| n.flops).sum()
    }

    /// The graph in the DOT language of Graphviz.
    pub fn to_dot(&self) -> String {
        let mut dot = String::from("digraph {\n  rankdir=BT; node [shape=box, fontname=\"monospace\"];\n");
        for (i, n) in self.nodes.iter().enumerate() {
            let style = match n.op {
                "leaf" => ", style=filled, fillcolor=\"#dcebff\"",
                "detach" | "requires_grad" => ", style=filled, fillcolor=\"#ffd9d9\"",
                _ => "",
            };
            dot += &format!(
                "  n{i} [label=\"{}\\n{}\\n{}:{}\"{style}];\n",
                n.op,
                n.shape,
                n.site.file(),
                n.site.line()
            );
            for j in &n.inputs {
                dot += &format!("  n{j} -> n{i};\n");
            }
        }
        dot + "}\n"
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>4}  {:<20} {:<18} {:>12} {:>14}  made at", "", "op", "shape", "kept bytes", "FLOPs")?;
        for (i, n) in self.nodes.iter().enumerate() {
            let shape = n.shape.to_string();
            writeln!(f, "{i:>4}  {:<20} {shape:<18} {:>12} {:>14}  {}", n.op, n.kept_bytes, n.flops, n.site)?;
        }
        write!(f, "      {:<39} {:>12} {:>14}", "total", self.kept_bytes(), self.flops())
    }
}
