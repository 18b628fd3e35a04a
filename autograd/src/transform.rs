//! Transformations of functions: gradient, products with the Jacobian and the Hessian, recomputation.
//!
//! A function takes a slice of tensors and returns one. Transformations compose: if an input, or a tensor that the
//! function captures, is tracked, the result is recorded, so that `grad` of a function that calls `grad` is a second
//! derivative. Otherwise the result is a constant.
//!
//! ```
//! use autograd::{Tensor, transform::grad};
//! let cube = |x: &[Tensor]| x[0].powi(3).sum(..);
//! let slope = move |x: &[Tensor]| grad(cube, x).remove(0).sum(..);
//! let x = Tensor::from([1.0, 2.0]);
//! assert_eq!(grad(slope, &[x])[0].to_vec::<f64>(), [6.0, 12.0]); // 6 x
//! ```

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use crate::grads::{check_cotangent, connected};
use crate::kinds::fused::{Fused, Inside, fused, gradients_of};
use crate::node::{NodeRef, Role};
use crate::pass;
use crate::tensor::Tensor;

/// The gradients of the scalar f(x) with respect to each input. An input that f does not depend on gets zeros.
///
/// # Panics
/// If f(x) has more than one element.
#[track_caller]
pub fn grad(f: impl FnOnce(&[Tensor]) -> Tensor, x: &[Tensor]) -> Vec<Tensor> {
    value_and_grad(f, x).1
}

/// f(x) and its gradients.
///
/// # Panics
/// If f(x) has more than one element.
#[track_caller]
pub fn value_and_grad(f: impl FnOnce(&[Tensor]) -> Tensor, x: &[Tensor]) -> (Tensor, Vec<Tensor>) {
    pull(f, x, |y| {
        assert!(y.numel() == 1, "grad: the function's value has shape {}, one element is needed", y.shape());
        Tensor::ones(y.shape(), y.dtype())
    })
}

/// f(x) and the vector-Jacobian products J' `cotangent`, one for each input.
///
/// ```
/// use autograd::{Tensor, transform::vjp};
/// let x = Tensor::from([1.0, 2.0]);
/// let (y, g) = vjp(|x| &x[0] * &x[0], &[x], &Tensor::from([1.0, 10.0]));
/// assert_eq!((y.to_vec::<f64>(), g[0].to_vec::<f64>()), (vec![1.0, 4.0], vec![2.0, 40.0]));
/// ```
///
/// # Panics
/// If `cotangent` does not have the shape and dtype of f(x).
#[track_caller]
pub fn vjp(f: impl FnOnce(&[Tensor]) -> Tensor, x: &[Tensor], cotangent: &Tensor) -> (Tensor, Vec<Tensor>) {
    pull(f, x, |y| {
        check_cotangent("vjp", y, cotangent);
        cotangent.clone()
    })
}

#[track_caller]
fn pull(
    f: impl FnOnce(&[Tensor]) -> Tensor,
    x: &[Tensor],
    seed: impl FnOnce(&Tensor) -> Tensor,
) -> (Tensor, Vec<Tensor>) {
    let inside = Inside::new(x);
    let y = f(&inside.x);
    let seed = seed(&y);
    let recording = records(&y, &inside, x.iter().chain([&seed]));
    let found = pass::grad(&y, seed, &inside.x.iter().collect::<Vec<_>>(), recording);
    let grads = found.into_iter().zip(x).map(|(g, x)| {
        let g = g.unwrap_or_else(|| zeros_like(x));
        if recording { connected(g, &[x, &y]) } else { g }
    });
    (if recording { y.clone() } else { y.value() }, grads.collect())
}

/// Whether the derivatives of y = f(x) are recorded: they are if anything that they may depend on is tracked, an
/// argument of the transform or a tensor that f captures.
fn records<'a>(y: &Tensor, inside: &Inside, mut arguments: impl Iterator<Item = &'a Tensor>) -> bool {
    arguments.any(Tensor::is_tracked) || captures(y, &inside.x)
}

/// Whether `y` was computed from something that requires a gradient, other than `inputs`.
fn captures(y: &Tensor, inputs: &[Tensor]) -> bool {
    let Some(root) = y.node() else { return false };
    let own = |n: &NodeRef| inputs.iter().filter_map(Tensor::node).any(|input| Arc::ptr_eq(n, input));
    let found = Cell::new(false);
    pass::reachable(root, |n| {
        let source = n.role == Role::Leaf || n.rule.is_open();
        found.set(found.get() || source && !own(n));
        n.is_tracked() && !found.get()
    });
    found.get()
}

/// f(x) and the Jacobian-vector product J `tangents`: how f changes when the inputs move along `tangents`. Exact,
/// as the derivative of the vector-Jacobian product with respect to its cotangent.
///
/// ```
/// use autograd::{Tensor, transform::jvp};
/// let (_, dy) = jvp(|x| x[0].sin(), &[Tensor::from([0.0, 1.0])], &[Tensor::from([1.0, 2.0])]);
/// assert_eq!(dy.to_vec::<f64>(), [1.0, 2.0 * 1f64.cos()]);
/// ```
///
/// # Panics
/// If there is not one tangent for each input, of its shape and dtype.
#[track_caller]
pub fn jvp(f: impl FnOnce(&[Tensor]) -> Tensor, x: &[Tensor], tangents: &[Tensor]) -> (Tensor, Tensor) {
    alike("jvp", "tangent", x, tangents);
    let inside = Inside::new(x);
    let y = f(&inside.x);
    let recording = records(&y, &inside, x.iter().chain(tangents));
    let u = Tensor::zeros(y.shape(), y.dtype()).requires_grad();
    let refs: Vec<&Tensor> = inside.x.iter().collect();
    // <J' u, t> is linear in u, so its gradient with respect to u is J t wherever u is.
    let pulled = pass::grad(&y, u.clone(), &refs, true);
    let terms = pulled.iter().zip(tangents).filter_map(|(g, t)| g.as_ref().map(|g| (g * t).sum(..)));
    let moved = terms.reduce(|a, b| a + b).and_then(|total| {
        let seed = Tensor::ones(total.shape(), total.dtype());
        pass::grad(&total, seed, &[&u], recording).remove(0)
    });
    let dy = moved.unwrap_or_else(|| zeros_like(&y));
    if !recording {
        return (y.value(), dy);
    }
    let arguments: Vec<&Tensor> = x.iter().chain(tangents).chain([&y]).collect();
    let dy = connected(dy, &arguments);
    (y, dy)
}

/// The product of the Hessian of the scalar f(x), over all inputs together, with `vectors`.
///
/// ```
/// use autograd::{Tensor, transform::hvp};
/// // f = x0^2 x1 has Hessian [[2 x1, 2 x0], [2 x0, 0]]
/// let f = |x: &[Tensor]| &x[0] * &x[0] * &x[1];
/// let hv = hvp(f, &[Tensor::from(3.0), Tensor::from(5.0)], &[Tensor::from(1.0), Tensor::from(0.0)]);
/// assert_eq!((hv[0].item(), hv[1].item()), (10.0, 6.0));
/// ```
///
/// # Panics
/// If f(x) has more than one element, or there is not one vector for each input, of its shape and dtype.
#[track_caller]
pub fn hvp(f: impl FnOnce(&[Tensor]) -> Tensor, x: &[Tensor], vectors: &[Tensor]) -> Vec<Tensor> {
    alike("hvp", "vector", x, vectors);
    grad(
        |x| {
            let first = grad(f, x);
            first.iter().zip(vectors).map(|(g, v)| (g * v).sum(..)).reduce(|a, b| a + b).expect("inputs")
        },
        x,
    )
}

/// The Jacobian of f at one input, of shape [shape of f(x), shape of x], row by row.
///
/// ```
/// use autograd::{Tensor, transform::jacobian};
/// let j = jacobian(|x| x[0].sum(1), &Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
/// assert_eq!(*j.shape(), [2, 2, 2]);
/// assert_eq!(j.to_vec::<f64>(), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
/// ```
///
/// # Panics
/// If the result would have more than six axes.
#[track_caller]
pub fn jacobian(f: impl FnOnce(&[Tensor]) -> Tensor, x: &Tensor) -> Tensor {
    let inside = Inside::new([x]);
    let y = f(&inside.x);
    let recording = records(&y, &inside, [x].into_iter());
    let dims: Vec<usize> = y.shape().iter().chain(x.shape().iter()).copied().collect();
    let row = |i: usize| {
        let unit = Tensor::from_fn(y.shape(), y.dtype(), |j| if i == j { 1.0 } else { 0.0 });
        pass::grad(&y, unit, &[&inside.x[0]], recording).remove(0).unwrap_or_else(|| zeros_like(x))
    };
    let rows: Vec<Tensor> = (0..y.numel()).map(row).collect();
    if rows.is_empty() {
        return Tensor::zeros(dims.as_slice(), x.dtype());
    }
    let jacobian = Tensor::stack(&rows.iter().collect::<Vec<_>>(), 0).reshape(dims.as_slice());
    if recording { connected(jacobian, &[x, &y]) } else { jacobian }
}

/// The Hessian of the scalar f at one input, of shape [shape of x, shape of x].
///
/// ```
/// use autograd::{Tensor, transform::hessian};
/// let h = hessian(|x| (x[0].powi(2).sum(..)).powi(2), &Tensor::from([1.0, 2.0]));
/// assert_eq!(h.to_vec::<f64>(), [28.0, 16.0, 16.0, 52.0]); // 4 |x|^2 I + 8 x x'
/// ```
///
/// # Panics
/// If f(x) has more than one element, or x more than three axes.
#[track_caller]
pub fn hessian(f: impl FnOnce(&[Tensor]) -> Tensor, x: &Tensor) -> Tensor {
    jacobian(|x| grad(f, x).remove(0), x)
}

/// The separate gradients of `n` losses, stacked: for each parameter of shape S a tensor [n, S].
///
/// `loss(parameters, i)` is the scalar loss of sample i. One reverse pass per sample.
///
/// ```
/// use autograd::{Tensor, transform::per_sample_grad};
/// let data = [1.0, 2.0, 3.0];
/// let w = Tensor::from([0.5]);
/// let g = per_sample_grad(|w, i| (&w[0] * data[i]).powi(2).sum(..), &[w], data.len());
/// assert_eq!(g[0].to_vec::<f64>(), [1.0, 4.0, 9.0]); // 2 w data^2
/// ```
///
/// # Panics
/// If a loss has more than one element.
#[track_caller]
pub fn per_sample_grad(
    loss: impl Fn(&[Tensor], usize) -> Tensor,
    parameters: &[Tensor],
    n: usize,
) -> Vec<Tensor> {
    let rows: Vec<Vec<Tensor>> = (0..n).map(|i| grad(|p| loss(p, i), parameters)).collect();
    let column = |(p, parameter): (usize, &Tensor)| {
        if n == 0 {
            return Tensor::zeros(parameter.shape().insert(0, 0), parameter.dtype());
        }
        Tensor::stack(&rows.iter().map(|row| &row[p]).collect::<Vec<_>>(), 0)
    };
    parameters.iter().enumerate().map(column).collect()
}

/// Gradient checkpointing: f(x), saving only the inputs for backward; the reverse pass computes f again. It needs less
/// memory and more time (Griewank and Walther 2000).
///
/// Random draws inside f are the same again, since they are functions of their keys.
///
/// ```
/// use autograd::{Tensor, transform::checkpoint};
/// let x = Tensor::from([0.3, 0.7]).requires_grad();
/// let y = checkpoint(|x: &[Tensor]| x[0].sin().exp().tanh(), &[&x]);
/// assert_eq!(autograd::inspect(&y).nodes.len(), 2); // the input and one node
/// let direct = x.sin().exp().tanh();
/// assert_eq!(y.sum(..).backward()[&x].to_vec::<f64>(), direct.sum(..).backward()[&x].to_vec::<f64>());
/// ```
///
/// # Panics
/// If f captures a tracked tensor: it would get no gradient. Pass it as an input.
#[track_caller]
pub fn checkpoint(f: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static, x: &[&Tensor]) -> Tensor {
    fused(Recompute(f), x)
}

struct Recompute<F>(F);

impl<F> fmt::Debug for Recompute<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("checkpoint")
    }
}

impl<F: Fn(&[Tensor]) -> Tensor + Send + Sync + 'static> Fused for Recompute<F> {
    type Kept = ();
    const NAME: &'static str = "checkpoint";
    fn definition(&self, x: &[Tensor]) -> Tensor {
        (self.0)(x)
    }
    fn forward(&self, x: &[Tensor]) -> (Tensor, ()) {
        ((self.0)(x), ())
    }
    fn backward(&self, x: &[Tensor], (): &(), g: &Tensor, wants: &[bool]) -> Vec<Option<Tensor>> {
        gradients_of(|x| (self.0)(x), x, wants, g, false)
    }
}

fn zeros_like(x: &Tensor) -> Tensor {
    Tensor::zeros(x.shape(), x.dtype())
}

#[track_caller]
fn alike(op: &str, what: &str, x: &[Tensor], v: &[Tensor]) {
    assert!(x.len() == v.len(), "{op}: {} inputs but {} {what}s", x.len(), v.len());
    for (i, (x, v)) in x.iter().zip(v).enumerate() {
        assert!(
            x.shape() == v.shape() && x.dtype() == v.dtype(),
            "{op}: input {i} is {} {}, its {what} {} {}; they must be alike",
            x.dtype(),
            x.shape(),
            v.dtype(),
            v.shape()
        );
    }
}
