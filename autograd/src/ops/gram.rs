//! The Gram matrix of rows, W W'.

use kernels::gram::gram;

use crate::dtype::dispatch;
use crate::kinds::custom::{Custom, custom};
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

#[derive(Debug)]
struct GramMatrix;

impl Custom for GramMatrix {
    const NAME: &'static str = "gram";

    fn forward(&self, x: &[Tensor]) -> Tensor {
        let w = &x[0];
        let [n, d] = [w.shape()[0], w.shape()[1]];
        dispatch!(w.dtype(), T => Tensor::build::<T>([n, n].into(), |out| gram(n, d, w.slice(), out)))
    }

    /// (G + G') W, one product instead of the two of an ordinary product's operands.
    fn gradient(&self, x: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some((g + g.transpose(0, 1)).matmul(&x[0]))]
    }
}

impl Tensor {
    /// The products of all pairs of rows, W W' of W: \[N, d\] to \[N, N\], exactly symmetric. In each direction half
    /// the work of `w.matmul_nt(&w)`.
    ///
    /// # Panics
    /// If there are not two axes.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let w = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(w.gram().to_vec::<f64>(), [5.0, 11.0, 11.0, 25.0]);
    /// ```
    #[track_caller]
    pub fn gram(&self) -> Tensor {
        assert!(self.rank() == 2, "gram: expected rows, [N, d], found {}", self.shape());
        custom(GramMatrix, &[self])
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let sample =
        |case: &str, dims: &[usize]| Sample::new("gram", case, [Input::normal(dims)], |x| x[0].gram());
    vec![sample("rows", &[4, 3]), sample("one row", &[1, 3]), sample("no rows", &[0, 3])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Key};

    #[test]
    fn is_the_product_with_the_transpose_at_every_order() {
        let w = Tensor::normal([20, 7], DType::F64, Key::new(1)).requires_grad();
        let by = Tensor::normal([20, 20], DType::F64, Key::new(2));
        let orders = |gram: Tensor| {
            let e = (&gram * &gram * &by).sum(..);
            let d = e.recorded().grad(&[&w]).remove(0);
            let dd = (&d * &d).sum(..).grad(&[&w]).remove(0);
            [gram.to_vec::<f64>(), d.to_vec(), dd.to_vec()]
        };
        for (got, want) in orders(w.gram()).iter().zip(&orders(w.matmul_nt(&w))) {
            let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-13 * size));
        }
    }

    #[test]
    #[should_panic(expected = "gram: expected rows, [N, d], found [3]")]
    fn rows_are_a_matrix() {
        let _ = Tensor::zeros([3], DType::F64).gram();
    }
}
