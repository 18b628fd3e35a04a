//! Selection by a mask, without multiplying by 0 and 1.

use kernels::par;

use crate::dtype::dispatch;
use crate::kinds::elementwise::same_dtype_and_broadcast;
use crate::kinds::linear::{Joint, joint};
use crate::ops::mask::{GRAIN, Mask, repeated};
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

/// The first tensor where the mask is true, the second where it is false. The mask has the shape of the result.
#[derive(Clone, Debug)]
struct Select(Mask);

impl Joint for Select {
    const NAME: &'static str = "select";
    fn apply(&self, x: &[&Tensor]) -> Tensor {
        let shape = *self.0.shape();
        // A single element is used for all positions without being repeated in memory.
        let [a, b] = [0, 1].map(|i| if x[i].numel() == 1 { x[i].value() } else { repeated(x[i], &shape) });
        dispatch!(a.dtype(), T => Tensor::build::<T>(shape, |out| {
            let (bits, a, b) = (self.0.bits(), a.slice::<T>(), b.slice::<T>());
            par::chunks(out, GRAIN, |piece, out| choose(bits, a, b, piece * GRAIN, out));
        }))
    }
    fn adjoint(&self, i: usize, g: &Tensor) -> Tensor {
        let zero = Tensor::scalar(0.0, g.dtype());
        let parts = if i == 0 { [g, &zero] } else { [&zero, g] };
        joint(self.clone(), &parts)
    }
    fn kept_bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// The elements of the result from `start` on. An operand has as many elements as the result, or one.
fn choose<T: Blend>(bits: &[u32], a: &[T], b: &[T], start: usize, out: &mut [T]) {
    const BLOCK: usize = 512;
    let constants = [a, b].map(|x| if x.len() == 1 { Some([x[0]; BLOCK]) } else { None });
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let range = start + block * BLOCK..start + block * BLOCK + out.len();
        let [a, b] = [(a, &constants[0]), (b, &constants[1])].map(|(x, constant)| match constant {
            Some(constant) => &constant[..out.len()],
            None => &x[range.clone()],
        });
        for (((out, &bit), &a), &b) in out.iter_mut().zip(&bits[range]).zip(a).zip(b) {
            *out = T::blend(bit, a, b);
        }
    }
}

/// `a` if `bit` is 1, `b` if it is 0, by their bits: exact for NaN and infinity. An `if` is compiled to a branch per
/// element, ten times slower on random masks.
trait Blend: Copy {
    fn blend(bit: u32, a: Self, b: Self) -> Self;
}
impl Blend for f32 {
    #[inline(always)]
    fn blend(bit: u32, a: f32, b: f32) -> f32 {
        let first = 0u32.wrapping_sub(bit);
        f32::from_bits(a.to_bits() & first | b.to_bits() & !first)
    }
}
impl Blend for f64 {
    #[inline(always)]
    fn blend(bit: u32, a: f64, b: f64) -> f64 {
        let first = 0u64.wrapping_sub(bit.into());
        f64::from_bits(a.to_bits() & first | b.to_bits() & !first)
    }
}

impl Mask {
    /// `a` where the mask is true, `b` where it is false; mask, `a` and `b` broadcast (`where` in PyTorch and NumPy).
    ///
    /// It selects and does not multiply: NaN or infinity in the branch not taken affects neither the value nor the
    /// gradient of the other branch, and its own gradient is 0.
    ///
    /// ```
    /// use autograd::Tensor;
    /// let x = Tensor::from([4.0, -1.0]).requires_grad();
    /// let positive = x.gt(0.0);
    /// // The root where there is one. Choosing before the root, too, keeps its derivative from NaN.
    /// let safe = positive.select(&x, &Tensor::from(1.0));
    /// let y = positive.select(&safe.sqrt(), &Tensor::from(0.0));
    /// assert_eq!(y.to_vec::<f64>(), [2.0, 0.0]);
    /// assert_eq!(y.sum(..).backward()[&x].to_vec::<f64>(), [0.25, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If the dtypes of `a` and `b` differ, or the shapes do not broadcast.
    #[track_caller]
    #[doc(alias = "where")]
    pub fn select(&self, a: &Tensor, b: &Tensor) -> Tensor {
        let values = same_dtype_and_broadcast("select", a, b);
        let shape = match self.shape().broadcast(&values) {
            Ok(shape) => shape,
            Err(e) => panic!("select: mask and values of shapes {e}"),
        };
        joint(Select(self.broadcast_to(&shape)), &[a, b])
    }
}

impl Tensor {
    /// This tensor with `value` where the mask is true; the gradient there is 0. The two broadcast.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn masked_fill(&self, mask: &Mask, value: f64) -> Tensor {
        mask.select(&Tensor::scalar(value, self.dtype()), self)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let checks = || Mask::new(&[true, false, false, true, true, false], [2, 3]);
    let row = || Mask::new(&[true, false, true], [3]);
    let x = || Input::normal([2, 3]);
    vec![
        Sample::new("mask select", "", [x(), x()], move |x| checks().select(&x[0], &x[1])),
        Sample::new("mask select", "row mask", [x(), x()], move |x| row().select(&x[0], &x[1])),
        Sample::new("mask select", "mask broader than both", [Input::normal([3]), Input::normal([])], {
            move |x| checks().select(&x[0], &x[1])
        }),
        Sample::new("mask select", "row and column", [Input::normal([3]), Input::normal([2, 1])], {
            move |x| checks().select(&x[0], &x[1])
        }),
        Sample::new("mask select", "one twice", [x()], move |x| checks().select(&x[0], &(&x[0] * &x[0]))),
        Sample::new("mask select", "no elements", [Input::normal([0, 3]), Input::normal([])], move |x| {
            row().select(&x[0], &x[1])
        }),
        Sample::new("mask select", "one where", [Input::away_from(0.0, 0.2, [2, 3])], |x| {
            x[0].gt(0.0).select(&x[0].exp(), &x[0].sin())
        }),
        Sample::new("masked_fill", "", [x()], move |x| x[0].masked_fill(&checks(), 0.7)),
        Sample::new("masked_fill", "broadcast", [Input::normal([1, 3])], move |x| {
            x[0].masked_fill(&checks(), -1.0)
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn nan_in_the_branch_not_taken_does_no_harm() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let a = Tensor::from([1.0, bad, 3.0]).requires_grad();
            let b = Tensor::from([bad, 2.0, bad]).requires_grad();
            let mask = Mask::new(&[true, false, true], [3]);
            let y = mask.select(&a, &b);
            assert_eq!(y.to_vec::<f64>(), [1.0, 2.0, 3.0]);
            let cubes = (&y * &y * &y).sum(..);
            let d = cubes.recorded().grad(&[&a, &b]);
            assert_eq!(d[0].to_vec::<f64>(), [3.0, 0.0, 27.0]);
            assert_eq!(d[1].to_vec::<f64>(), [0.0, 12.0, 0.0]);
            let dd = d[0].sum(..).grad(&[&a]);
            assert_eq!(dd[0].to_vec::<f64>(), [6.0, 0.0, 18.0]);
        }
    }

    #[test]
    fn a_nan_gradient_of_the_other_branch_stays_there() {
        let x = Tensor::from([1.0, 2.0]).requires_grad();
        let g = Tensor::from([f64::NAN, 5.0]);
        let y = Mask::new(&[false, true], [2]).select(&x, &Tensor::from(0.0));
        assert_eq!(y.vjp(&g, &[&x])[0].to_vec::<f64>(), [0.0, 5.0]);
    }

    #[test]
    fn long_tensors_and_constants_are_chosen_in_every_block() {
        let n = 3 * GRAIN + 700;
        let x = Tensor::arange(n, DType::F32);
        let y = x.lt(1000.0).select(&x, &Tensor::scalar(-1.0, DType::F32));
        let wrong =
            y.data::<f32>().iter().enumerate().find(|&(i, &v)| v != if i < 1000 { i as f32 } else { -1.0 });
        assert_eq!(wrong, None);
        let y = x.masked_fill(&x.ge(1000.0), 0.5);
        let wrong =
            y.data::<f32>().iter().enumerate().find(|&(i, &v)| v != if i < 1000 { i as f32 } else { 0.5 });
        assert_eq!(wrong, None);
    }

    #[test]
    #[should_panic(expected = "select: mask and values of shapes [2] and [3] do not broadcast")]
    fn mask_and_values_broadcast() {
        let _ = Mask::new(&[true; 2], [2]).select(&Tensor::from([0.0; 3]), &Tensor::from(0.0));
    }
}
