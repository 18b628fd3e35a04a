//! Fused operations: a definition in plain operations, and kernels that compute the same thing faster.
//!
//! A first-order gradient uses the backward kernel. A recorded one differentiates the definition, so that a fused
//! operation can be differentiated to any order without further formulas. An operation that defines its gradient by
//! fused operations is faster there too. Tests compare the kernel with the definition.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::node::{self, Rule};
use crate::pass::{self, Pullback};
use crate::running;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// An operation with a definition and, optionally, fast kernels. Other crates can implement it, too. Apply it with
/// [`fused`].
///
/// ```
/// use autograd::{Fused, Tensor, fused};
///
/// /// |x|^2 with a kernel of its own.
/// #[derive(Debug)]
/// struct SquaredNorm;
/// impl Fused for SquaredNorm {
///     type Kept = ();
///     const NAME: &'static str = "squared_norm";
///     fn definition(&self, x: &[Tensor]) -> Tensor {
///         (&x[0] * &x[0]).sum(..)
///     }
///     fn forward(&self, x: &[Tensor]) -> (Tensor, ()) {
///         let sum: f64 = x[0].data::<f64>().iter().map(|v| v * v).sum();
///         (Tensor::from(sum), ())
///     }
///     fn backward(&self, x: &[Tensor], _: &(), g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
///         vec![Some(&x[0] * (2.0 * g.item()))]
///     }
/// }
///
/// let x = Tensor::from([1.0, 2.0]).requires_grad();
/// let y = fused(SquaredNorm, &[&x]);
/// let g = y.recorded().grad(&[&x]).remove(0); // from the definition, differentiable
/// assert_eq!(g.to_vec::<f64>(), [2.0, 4.0]);
/// assert_eq!(y.backward()[&x].to_vec::<f64>(), [2.0, 4.0]); // from the kernel
/// ```
pub trait Fused: Debug + Send + Sync + 'static {
    /// What the forward kernel saves for the backward kernel besides the inputs.
    type Kept: Saved;
    /// The name in error messages and graph drawings.
    const NAME: &'static str;

    /// The definition of the operation, in plain operations.
    fn definition(&self, x: &[Tensor]) -> Tensor;

    /// The value, for constant inputs.
    fn forward(&self, x: &[Tensor]) -> (Tensor, Self::Kept);

    /// The gradients of sum(g * value) with respect to the inputs for which `wants` holds; `None` stands for zero. All
    /// tensors are constants.
    fn backward(&self, x: &[Tensor], kept: &Self::Kept, g: &Tensor, wants: &[bool]) -> Vec<Option<Tensor>>;

    /// As [`Fused::backward`], for kernels that can write a gradient over `g`.
    fn backward_over(
        &self,
        x: &[Tensor],
        kept: &Self::Kept,
        g: Tensor,
        wants: &[bool],
    ) -> Vec<Option<Tensor>> {
        self.backward(x, kept, &g, wants)
    }

    /// The gradients in operations that can be differentiated, if this is faster than differentiating the definition.
    /// The inputs and `g` are part of the graph.
    fn recorded(
        &self,
        _x: &[Tensor],
        _kept: &Self::Kept,
        _g: &Tensor,
        _wants: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        None
    }

    /// Floating-point operations of the forward kernel, for these inputs and this shape of the output.
    fn flops(&self, _x: &[Tensor], output: &Shape) -> u64 {
        output.numel() as u64
    }
}

/// What a forward kernel saves for the backward kernel.
pub trait Saved: Debug + Send + Sync {
    /// Its bytes of tensor memory, for [`inspect`](crate::inspect()) and [`profile`](crate::profile()).
    fn bytes(&self) -> usize;
}

impl Saved for () {
    fn bytes(&self) -> usize {
        0
    }
}

impl Saved for Tensor {
    fn bytes(&self) -> usize {
        self.buffer().bytes()
    }
}

impl<S: Saved> Saved for Option<S> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, S::bytes)
    }
}

impl<A: Saved, B: Saved> Saved for (A, B) {
    fn bytes(&self) -> usize {
        self.0.bytes() + self.1.bytes()
    }
}

/// Applies a fused operation, recorded.
#[track_caller]
pub fn fused<F: Fused>(f: F, inputs: &[&Tensor]) -> Tensor {
    fused_keeping(f, inputs).0
}

/// As [`fused`], and also returns what the forward kernel saved (batch statistics, for example).
#[track_caller]
pub fn fused_keeping<F: Fused>(f: F, inputs: &[&Tensor]) -> (Tensor, Arc<F::Kept>) {
    let x: Vec<Tensor> = inputs.iter().map(|t| t.value()).collect();
    let (value, kept) = running::run(F::NAME, || f.forward(&x));
    assert_untracked(F::NAME, &value);
    #[cfg(test)]
    tests::assert_same(F::NAME, &value, &f.definition(&x));
    let kept = Arc::new(kept);
    let out = node::record(F::NAME, value, inputs, |_| FusedRule { f, x, kept: Arc::clone(&kept) });
    (out, kept)
}

/// The inputs are constants here, so a tracked result depends on some other tensor, which would get no gradient.
#[track_caller]
pub(super) fn assert_untracked(name: &str, value: &Tensor) {
    assert!(
        !value.is_tracked(),
        "{name}: the function uses a tracked tensor that is not among its inputs and would get no gradient; pass it as an input"
    );
}

#[derive(Debug)]
struct FusedRule<F: Fused> {
    f: F,
    x: Vec<Tensor>,
    kept: Arc<F::Kept>,
}

impl<F: Fused> Rule for FusedRule<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn pullback(&self, cx: &mut Pullback<'_>) {
        let wants: Vec<bool> = (0..self.x.len()).map(|i| cx.wants(i)).collect();
        let g = cx.take_g();
        let (method, gradients) = if cx.recording() {
            let x: Vec<Tensor> = self.x.iter().enumerate().map(|(i, x)| cx.input(i, x)).collect();
            match self.f.recorded(&x, &self.kept, &g, &wants) {
                Some(gradients) => ("recorded", gradients),
                None => {
                    let definition = |x: &[Tensor]| {
                        let y = self.f.definition(x);
                        assert!(
                            y.shape() == g.shape() && y.dtype() == g.dtype(),
                            "{}: definition() gives {} {}, forward() {} {}; they must be alike [{} called at {}]",
                            F::NAME,
                            y.dtype(),
                            y.shape(),
                            g.dtype(),
                            g.shape(),
                            F::NAME,
                            cx.site()
                        );
                        y
                    };
                    ("definition", gradients_of(definition, &x, &wants, &g, true))
                }
            }
        } else {
            ("backward", self.f.backward_over(&self.x, &self.kept, g, &wants))
        };
        give(cx, F::NAME, method, &self.x, gradients);
    }

    fn kept_bytes(&self) -> usize {
        let inputs: usize = self.x.iter().map(Saved::bytes).sum();
        inputs + self.kept.bytes()
    }

    fn flops(&self, shape: &Shape) -> u64 {
        self.f.flops(&self.x, shape)
    }
}

/// Gradients of sum(g * f(x)) with respect to the wanted `x`, by differentiating `f`.
pub(crate) fn gradients_of(
    f: impl FnOnce(&[Tensor]) -> Tensor,
    x: &[Tensor],
    wants: &[bool],
    g: &Tensor,
    recording: bool,
) -> Vec<Option<Tensor>> {
    let wanted: Vec<&Tensor> = x.iter().zip(wants).filter(|(_, w)| **w).map(|(x, _)| x).collect();
    let inside = Inside::new(wanted);
    let mut entered = inside.x.iter();
    let mixed: Vec<Tensor> = x
        .iter()
        .zip(wants)
        .map(|(x, &w)| if w { entered.next().expect("one for each wanted").clone() } else { x.clone() })
        .collect();
    let y = f(&mixed);
    let mut found = pass::grad(&y, g.clone(), &inside.x.iter().collect::<Vec<_>>(), recording).into_iter();
    wants.iter().map(|&w| if w { found.next().flatten() } else { None }).collect()
}

/// Inputs of a function that is differentiated on its own: each has a new node, at which the pass ends. Thus what an
/// input depends on is not counted twice, while a recorded gradient still depends on the input itself.
pub(crate) struct Inside {
    /// The inputs, all of them tracked.
    pub x: Vec<Tensor>,
    open: Arc<AtomicBool>,
}

impl Inside {
    #[track_caller]
    pub fn new<'a>(x: impl IntoIterator<Item = &'a Tensor>) -> Inside {
        let open = Arc::new(AtomicBool::new(true));
        let enter = |x: &Tensor| node::track(x.value(), &[x], Alias(Arc::clone(&open)));
        Inside { x: x.into_iter().map(enter).collect(), open }
    }
}

/// From here on no gradients of these inputs are computed, though a recorded gradient may still hold their nodes.
impl Drop for Inside {
    fn drop(&mut self) {
        self.open.store(false, Relaxed);
    }
}

/// The same value with another node, and whether the function that it is an input of is still being differentiated.
#[derive(Debug)]
struct Alias(Arc<AtomicBool>);

impl Rule for Alias {
    fn name(&self) -> &'static str {
        "alias"
    }
    fn pullback(&self, cx: &mut Pullback<'_>) {
        let g = cx.take_g();
        cx.give(0, g);
    }
    fn kept_bytes(&self) -> usize {
        0
    }
    fn flops(&self, _: &Shape) -> u64 {
        0
    }
    fn is_open(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Gives each input the gradient that `method` of an operation returned for it, which must have the shape and dtype of
/// the input.
pub(super) fn give(
    cx: &mut Pullback<'_>,
    name: &str,
    method: &str,
    x: &[Tensor],
    gradients: Vec<Option<Tensor>>,
) {
    let (found, inputs, site) = (gradients.len(), x.len(), cx.site());
    assert!(
        found == inputs,
        "{name}: {method}() returned {found} gradients for {inputs} inputs [{name} called at {site}]"
    );
    for (i, (x, gradient)) in x.iter().zip(gradients).enumerate() {
        let Some(gradient) = gradient else { continue };
        assert!(
            gradient.shape() == x.shape() && gradient.dtype() == x.dtype(),
            "{name}: {method}() returned a gradient {} {} for input {i}, which is {} {}; they must be alike \
             [{name} called at {site}]",
            gradient.dtype(),
            gradient.shape(),
            x.dtype(),
            x.shape()
        );
        cx.give(i, gradient);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a kernel's value with the definition's: called for every fused operation of every test. Gradcheck
    /// compares the gradients.
    #[track_caller]
    pub(super) fn assert_same(name: &str, kernel: &Tensor, definition: &Tensor) {
        assert_eq!(kernel.shape(), definition.shape(), "{name}: shapes of kernel and definition");
        let tolerance = if kernel.dtype() == crate::DType::F64 { 1e-12 } else { 1e-4 };
        let (a, b) = (kernel.to_vec::<f64>(), definition.to_vec::<f64>());
        let largest = b.iter().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(v.abs()));
        for (i, (a, b)) in a.iter().zip(&b).enumerate() {
            let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * largest;
            assert!(same, "{name}: the kernel gives {a:e} at {i}, the definition {b:e}");
        }
    }

    /// A kernel that is wrong by a factor.
    #[derive(Debug)]
    struct Wrong;
    impl Fused for Wrong {
        type Kept = ();
        const NAME: &'static str = "wrong";
        fn definition(&self, x: &[Tensor]) -> Tensor {
            &x[0] * 2.0
        }
        fn forward(&self, x: &[Tensor]) -> (Tensor, ()) {
            (&x[0] * 2.000001, ())
        }
        fn backward(&self, _: &[Tensor], _: &(), _: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
            unreachable!("the value is refused")
        }
    }

    #[test]
    #[should_panic(expected = "wrong: the kernel gives 2.000001e0 at 0, the definition 2e0")]
    fn a_kernel_that_disagrees_with_its_definition_is_caught() {
        let _ = fused(Wrong, &[&Tensor::from([1.0, 5.0])]);
    }
}
