//! Asking for gradients: `backward`, `grad` and `vjp`, recorded or not, and why a gradient is missing.

use std::collections::HashMap;
use std::fmt;
use std::ops::Index;
use std::panic::Location;
use std::sync::Arc;

use crate::inputs::Inputs;
use crate::node::{self, Node, NodeRef, Role, Rule};
use crate::pass::{self, Pullback, address, reachable};
use crate::pool::FastHash;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// # Gradients
impl Tensor {
    /// Gradients of this scalar with respect to every leaf it depends on.
    ///
    /// Takes the tensor by value: during the pass each node is freed together with what it saved for backward, unless
    /// it is shared. The gradients are constants; see [`Tensor::recorded`] for ones that can be differentiated.
    ///
    /// # Panics
    /// If the tensor has more than one element, or depends on no leaf.
    #[track_caller]
    pub fn backward(self) -> Grads {
        let seed = unit_seed("backward", &self);
        pass::backward(self, seed, false)
    }

    /// The gradients of this scalar with respect to `inputs`, in their order and [`Inputs`] kind: one tensor, an array or
    /// a slice. The graph is left as it is. The gradients are constants.
    ///
    /// An input need not be a leaf: it can be any tensor that this one was computed from. If no operation in between
    /// has a gradient, the gradient is zeros.
    ///
    /// # Panics
    /// If the tensor has more than one element, or was not computed from one of the inputs: the message names the
    /// cut in between, if there is one.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from(3.0).requires_grad();
    /// let y = &x * &x;
    /// let [dx] = y.grad([&x]);
    /// assert_eq!(dx.item(), 6.0);
    /// ```
    #[track_caller]
    pub fn grad<I: Inputs>(&self, inputs: I) -> I::Gradients {
        let seed = unit_seed("grad", self);
        let inputs = inputs.tensors();
        I::gradients(required("grad", self, inputs, pass::grad(self, seed, inputs, false)))
    }

    /// The vector-Jacobian product: the gradients of sum(self * cotangent) with respect to `inputs`. They are
    /// constants, even if the cotangent is tracked.
    ///
    /// # Panics
    /// If `cotangent` has another shape or dtype than `self`, or `self` was not computed from one of the inputs.
    #[track_caller]
    pub fn vjp<I: Inputs>(&self, cotangent: &Tensor, inputs: I) -> I::Gradients {
        check_cotangent("vjp", self, cotangent);
        let inputs = inputs.tensors();
        I::gradients(required("vjp", self, inputs, pass::grad(self, cotangent.clone(), inputs, false)))
    }

    /// The same gradients, themselves recorded: `y.recorded().grad(&[&x])` can be differentiated again. A recorded
    /// gradient that is the same for all x has gradient zero.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from(2.0).requires_grad();
    /// let y = x.powf(3.0);
    /// let dy = y.recorded().grad(&x);
    /// let ddy = dy.grad(&x);
    /// assert_eq!((dy.item(), ddy.item()), (12.0, 12.0));
    /// ```
    #[doc(alias = "create_graph")]
    pub fn recorded(&self) -> Recorded<'_> {
        Recorded(self)
    }
}

/// A tensor whose gradients are recorded. Made by [`Tensor::recorded`].
#[must_use = "nothing is differentiated until `grad`, `vjp` or `backward` is called"]
pub struct Recorded<'a>(&'a Tensor);

impl Recorded<'_> {
    /// As [`Tensor::backward`], but the graph is left as it is and the gradients can be differentiated.
    ///
    /// # Panics
    /// As [`Tensor::backward`].
    #[track_caller]
    pub fn backward(&self) -> Grads {
        let seed = unit_seed("backward", self.0);
        let mut grads = pass::backward(self.0.clone(), seed, true);
        for (_, g) in grads.by_leaf.values_mut() {
            *g = connected(g.clone(), &[self.0]);
        }
        grads
    }

    /// As [`Tensor::grad`], differentiable.
    ///
    /// # Panics
    /// As [`Tensor::grad`].
    #[track_caller]
    pub fn grad<I: Inputs>(&self, inputs: I) -> I::Gradients {
        let seed = unit_seed("grad", self.0);
        let inputs = inputs.tensors();
        I::gradients(self.required("grad", inputs, pass::grad(self.0, seed, inputs, true)))
    }

    /// As [`Tensor::vjp`], differentiable, also with respect to the cotangent.
    ///
    /// # Panics
    /// As [`Tensor::vjp`].
    #[track_caller]
    pub fn vjp<I: Inputs>(&self, cotangent: &Tensor, inputs: I) -> I::Gradients {
        check_cotangent("vjp", self.0, cotangent);
        let inputs = inputs.tensors();
        I::gradients(self.required("vjp", inputs, pass::grad(self.0, cotangent.clone(), inputs, true)))
    }

    #[track_caller]
    fn required(&self, what: &str, inputs: &[&Tensor], found: Vec<Option<Tensor>>) -> Vec<Tensor> {
        let gradients = required(what, self.0, inputs, found);
        gradients.into_iter().map(|g| connected(g, &[self.0])).collect()
    }
}

/// The gradients of one reverse pass, indexed by the tensor they belong to: `grads[&w]`.
#[must_use = "gradients are returned, not stored in the leaves"]
pub struct Grads {
    /// By address of the leaf's node, which the entry keeps alive.
    pub(crate) by_leaf: HashMap<usize, (NodeRef, Tensor), FastHash>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) site: &'static Location<'static>,
}

impl Grads {
    /// The gradient of `leaf`, or `None` if the differentiated tensor does not depend on it.
    pub fn get(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.by_leaf.get(&address(leaf.node()?)).map(|(_, g)| g)
    }

    /// Removes the gradient of `leaf` and returns it.
    pub fn take(&mut self, leaf: &Tensor) -> Option<Tensor> {
        self.by_leaf.remove(&address(leaf.node()?)).map(|(_, g)| g)
    }

    /// The number of leaves that have a gradient.
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

/// Where the graph was cut, and by which method.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    site: &'static Location<'static>,
    by: &'static str,
}

impl Cut {
    /// The cut that a node represents, if it represents one.
    pub fn of(node: &Node) -> Option<Cut> {
        (node.role == Role::Cut).then(|| Cut { site: node.site, by: node.rule.name() })
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.by, self.site)
    }
}

fn missing(leaf: &Tensor, site: &Location<'_>, cuts: &[Cut]) -> String {
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
    let cuts: Vec<String> = cuts.iter().map(Cut::to_string).collect();
    let why = match cuts.as_slice() {
        [] => "nothing that was computed from it leads there".to_string(),
        cuts => format!("the graph was cut by {}", cuts.join(", ")),
    };
    format!("{who}: the tensor made at {site} does not depend on it; {why}")
}

/// The gradients, if `y` was computed from each input. A gradient that no operation gave is zeros.
#[track_caller]
fn required(what: &str, y: &Tensor, inputs: &[&Tensor], found: Vec<Option<Tensor>>) -> Vec<Tensor> {
    let site = y.node().map_or(Location::caller(), |n| n.site);
    let mut out = Vec::with_capacity(found.len());
    for (found, input) in found.into_iter().zip(inputs) {
        match found {
            Some(g) => out.push(g),
            None if depends_on(y, input) => out.push(Tensor::zeros(input.shape(), input.dtype())),
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
pub(crate) fn check_cotangent(what: &str, y: &Tensor, cotangent: &Tensor) {
    assert!(
        y.shape() == cotangent.shape() && y.dtype() == cotangent.dtype(),
        "{what}: the cotangent is {} {}, the tensor {} {}; they must be alike",
        cotangent.dtype(),
        cotangent.shape(),
        y.dtype(),
        y.shape()
    );
}

/// Where the graph of `y` was cut.
fn cuts_below(y: &Tensor) -> Vec<Cut> {
    let nodes = y.node().map(|root| reachable(root, |_| true)).unwrap_or_default();
    let mut cuts: Vec<Cut> = nodes.into_iter().filter_map(|node| Cut::of(node)).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// A recorded gradient, made of `inputs`. One that turned out to be a constant is connected to them by an operation
/// whose gradient is zero, so that it can be differentiated like any other.
#[track_caller]
pub(crate) fn connected(g: Tensor, inputs: &[&Tensor]) -> Tensor {
    if g.is_tracked() { g } else { node::record("constant", g.value(), inputs, |_| Constant) }
}

#[derive(Debug)]
struct Constant;

impl Rule for Constant {
    fn name(&self) -> &'static str {
        "constant"
    }
    fn pullback(&self, _: &mut Pullback<'_>) {}
    fn kept_bytes(&self) -> usize {
        0
    }
    fn flops(&self, _: &Shape) -> u64 {
        0
    }
}

/// Whether `y` was computed from `x`.
fn depends_on(y: &Tensor, x: &Tensor) -> bool {
    let (Some(root), Some(x)) = (y.node(), x.node()) else { return false };
    x.is_tracked() && reachable(root, |n| n.is_tracked()).iter().any(|n| Arc::ptr_eq(n, x))
}
