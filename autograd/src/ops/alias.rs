//! PyTorch's names of operations that have another name here.

use kernels::random::Key;

use crate::axis::Axis;
use crate::dtype::DType;
use crate::ops::mask::Mask;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// # Names in PyTorch, NumPy and ndarray
///
/// | elsewhere | here |
/// |---|---|
/// | `cat`, `concatenate` | [`Tensor::concat`]; [`Tensor::cat`] is the same |
/// | `narrow(axis, start, length)`, `slice_axis` | [`Tensor::slice_axis`] with a range; [`Tensor::narrow`] |
/// | `where(mask, a, b)` | [`Mask::select`]; [`Tensor::where_`] |
/// | `randn`, `rand` | [`Tensor::normal`], [`Tensor::uniform`]; [`Tensor::randn`], [`Tensor::rand`] |
/// | `view`, `into_shape`, `to_shape` | [`Tensor::reshape`] |
/// | `expand`, `broadcast` | [`Tensor::broadcast_to`] |
/// | `insert_axis`, `expand_dims`; `remove_axis` | [`Tensor::unsqueeze`]; [`Tensor::squeeze`] |
/// | `swap_axes`, `swapaxes`; `permuted_axes` | [`Tensor::transpose`]; [`Tensor::permute`] |
/// | `x[i]`, `index_axis(axis, i)` | [`Tensor::select`] |
/// | `sum(dim, keepdim=True)` | [`Tensor::sum`] of [`keep`](crate::keep) |
/// | `amax`, `amin`; `max(dim)`, `min(dim)` | [`Tensor::max`], [`Tensor::min`]; [`Tensor::max_with_index`], [`Tensor::min_with_index`] |
/// | `sum_axis`, `mean_axis`, `var_axis`, `std_axis` | [`Tensor::sum`], [`Tensor::mean`], [`Tensor::var`], [`Tensor::std`] |
/// | `ln`, `ln_1p`, `exp_m1` | [`Tensor::log`], [`Tensor::log1p`], [`Tensor::expm1`] |
/// | `pow(2)`, `pow(1.5)`, `pow(tensor)` | [`Tensor::powi`], [`Tensor::powf`], [`Tensor::pow`] |
/// | `linalg.norm`, `linalg.vector_norm(x, ord)` | [`Tensor::norm`], [`Tensor::vector_norm`] |
/// | `linalg.inv`, `linalg.solve` | [`Tensor::inverse`], [`Tensor::solve`] |
/// | `mm`, `bmm`, `dot`, `@` | [`Tensor::matmul`] |
/// | `to(dtype)`, `astype`, `mapv` | [`Tensor::to_dtype`]; a function of each element is [`Tensor::map`] |
/// | `tolist`, `into_raw_vec` | [`Tensor::to_vec`] |
/// | `loss.backward()`, then `x.grad` | `loss.backward()[&x]` |
/// | `torch.autograd.grad(y, x, create_graph=True)` | `y.recorded().grad(&x)` |
/// | `torch.no_grad()` | not needed: what no leaf goes into is not recorded; [`Tensor::detach`] cuts |
impl Tensor {
    /// [`Tensor::concat`].
    ///
    /// # Panics
    /// As [`Tensor::concat`].
    #[track_caller]
    #[doc(alias = "concatenate")]
    pub fn cat(tensors: &[&Tensor], axis: impl Into<Axis>) -> Tensor {
        Tensor::concat(tensors, axis)
    }

    /// `length` elements along `axis` from `start` on: `x.slice_axis(axis, start..start + length)`.
    ///
    /// # Panics
    /// As [`Tensor::slice_axis`].
    #[track_caller]
    pub fn narrow(&self, axis: impl Into<Axis>, start: usize, length: usize) -> Tensor {
        self.slice_axis(axis, start..start.saturating_add(length))
    }

    /// `a` where the mask is true, `b` where it is false: `mask.select(a, b)`, [`Mask::select`]. (`where` is a keyword.)
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from([-1.0, 2.0]);
    /// let y = Tensor::where_(&x.gt(0.0), &x, &Tensor::from(0.0));
    /// assert_eq!(y.to_vec::<f64>(), [0.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// As [`Mask::select`].
    #[track_caller]
    #[doc(alias = "where")]
    pub fn where_(mask: &Mask, a: &Tensor, b: &Tensor) -> Tensor {
        mask.select(a, b)
    }

    /// [`Tensor::normal`].
    pub fn randn(shape: impl Into<Shape>, dtype: DType, key: Key) -> Tensor {
        Tensor::normal(shape, dtype, key)
    }

    /// [`Tensor::uniform`].
    pub fn rand(shape: impl Into<Shape>, dtype: DType, key: Key) -> Tensor {
        Tensor::uniform(shape, dtype, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_are_the_same_operations() {
        let x = Tensor::randn([2, 5], DType::F32, Key::new(1));
        let same =
            |a: Tensor, b: Tensor| assert_eq!((a.to_vec::<f32>(), *a.shape()), (b.to_vec(), *b.shape()));
        same(Tensor::normal([2, 5], DType::F32, Key::new(1)), x.clone());
        same(Tensor::rand([3], DType::F32, Key::new(2)), Tensor::uniform([3], DType::F32, Key::new(2)));
        same(x.narrow(-1, 1, 3), x.slice_axis(1, 1..4));
        same(Tensor::cat(&[&x, &x], 0), Tensor::concat(&[&x, &x], 0));
        same(Tensor::where_(&x.gt(0.0), &x, &-&x), x.abs());
    }

    #[test]
    #[should_panic(expected = "slice: 4..6 is not a range of axis 0 of shape [5]")]
    fn a_narrow_part_stays_inside() {
        let _ = Tensor::zeros([5], DType::F32).narrow(0, 4, 2);
    }
}
