//! Operations whose gradient a user writes.

use std::fmt::Debug;

use crate::kinds::fused::{Saved, assert_untracked, give};
use crate::node::{self, Rule};
use crate::pass::Pullback;
use crate::running;
use crate::tensor::Tensor;

/// An operation whose gradient the user writes, in plain operations. Apply it with [`custom`].
///
/// Because the gradient is itself made of operations, it can be differentiated again.
///
/// ```
/// use autograd::{Custom, Tensor, custom};
///
/// /// x^3, with a hand-written gradient.
/// #[derive(Debug)]
/// struct Cube;
/// impl Custom for Cube {
///     const NAME: &'static str = "cube";
///     fn forward(&self, x: &[Tensor]) -> Tensor {
///         &x[0] * &x[0] * &x[0]
///     }
///     fn gradient(&self, x: &[Tensor], _y: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
///         vec![Some(&x[0] * &x[0] * 3.0 * g)]
///     }
/// }
///
/// let x = Tensor::from(2.0).requires_grad();
/// let dy = custom(Cube, &[&x]).recorded().grad(&[&x]).remove(0);
/// assert_eq!(dy.item(), 12.0);
/// assert_eq!(dy.backward()[&x].item(), 12.0); // 6 x
/// ```
pub trait Custom: Debug + Send + Sync + 'static {
    /// The name in error messages and graph drawings.
    const NAME: &'static str;
    /// The value. The inputs are constants.
    fn forward(&self, x: &[Tensor]) -> Tensor;
    /// The gradients of sum(g * y) with respect to each input; `None` stands for zero. When gradients are recorded, x,
    /// y and g are part of the graph.
    fn gradient(&self, x: &[Tensor], y: &Tensor, g: &Tensor) -> Vec<Option<Tensor>>;
}

/// Applies a user's operation, recorded.
#[track_caller]
pub fn custom<C: Custom>(c: C, inputs: &[&Tensor]) -> Tensor {
    let x: Vec<Tensor> = inputs.iter().map(|t| t.value()).collect();
    let value = running::run(C::NAME, || c.forward(&x));
    assert_untracked(C::NAME, &value);
    let value = value.value();
    node::record(C::NAME, value, inputs, |y| CustomRule { c, x, y: y.value() })
}

#[derive(Debug)]
struct CustomRule<C> {
    c: C,
    x: Vec<Tensor>,
    y: Tensor,
}

impl<C: Custom> Rule for CustomRule<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn pullback(&self, cx: &mut Pullback<'_>) {
        let x: Vec<Tensor> = self.x.iter().enumerate().map(|(i, x)| cx.input(i, x)).collect();
        let y = cx.output(&self.y);
        let g = cx.take_g();
        let gradients = self.c.gradient(&x, &y, &g);
        give(cx, C::NAME, "gradient", &self.x, gradients);
    }

    fn kept_bytes(&self) -> usize {
        self.x.iter().chain([&self.y]).map(Saved::bytes).sum()
    }
}
