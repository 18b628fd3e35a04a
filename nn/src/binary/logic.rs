//! Logic on signs: +1 is true, -1 false.

use autograd::{Tensor, custom};

use super::sign::ClosedClip;

/// Equivalence, a b, with the gradients b and a (arXiv 2106.06991, section 3.3).
#[track_caller]
pub fn xnor(a: &Tensor, b: &Tensor) -> Tensor {
    a * b
}

/// Disjunction, 2 clip((a + 1) / 2 + (b + 1) / 2, 0, 1) - 1 = clip(a + b + 1, -1, 1). The gradient is g for both, and 0
/// where both are +1 (arXiv 2106.06991, section 3.3).
///
/// ```
/// use autograd::Tensor;
/// let a = Tensor::from([-1.0, -1.0, 1.0, 1.0]).requires_grad();
/// let y = nn::binary::or(&a, &Tensor::from([-1.0, 1.0, -1.0, 1.0]));
/// assert_eq!(y.to_vec::<f64>(), [-1.0, 1.0, 1.0, 1.0]);
/// assert_eq!(y.sum(..).backward()[&a].to_vec::<f64>(), [1.0, 1.0, 1.0, 0.0]);
/// ```
#[track_caller]
pub fn or(a: &Tensor, b: &Tensor) -> Tensor {
    custom(ClosedClip, &[&(a + b + 1.0)])
}

/// The channels of two tensors [N, S, C, H, W] in turns: z_c at channel 2 c, y_c at 2 c + 1. The first half of the
/// result, on which the next block works, thus holds the first half of both.
///
/// # Panics
/// If the shapes differ.
#[track_caller]
pub fn interleave(z: &Tensor, y: &Tensor) -> Tensor {
    let [n, s, c, h, w] = <[usize; 5]>::try_from(&**z.shape())
        .unwrap_or_else(|_| panic!("interleave: shape {}; [N, S, C, H, W] is needed", z.shape()));
    Tensor::stack(&[z, y], 3).reshape([n, s, 2 * c, h, w])
}
