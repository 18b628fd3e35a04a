//! Symmetric positive definite matrices: Cholesky factors and log-determinants. Only the lower triangle is read, by
//! values and by gradients of every order; gradients are symmetric.
//!
//! Giles, An extended collection of matrix derivative results for forward and reverse mode AD, 2008.

use kernels::linalg;

use crate::dtype::dispatch;
use crate::kinds::custom::{Custom, custom};
use crate::ops::linalg::{size, square};
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// L with A = L L'; the value was computed when the operation was called.
#[derive(Debug)]
struct Cholesky(Tensor);

impl Custom for Cholesky {
    const NAME: &'static str = "cholesky";

    fn forward(&self, _: &[Tensor]) -> Tensor {
        self.0.clone()
    }

    /// dA = L'^-1 half(L' G) L^-1, made symmetric, where half keeps the lower triangle and half the diagonal.
    fn gradient(&self, _: &[Tensor], l: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        let n = size(l);
        let half = Tensor::ones([n, n], l.dtype()).tril(0) - Tensor::eye(n, l.dtype()) * 0.5;
        let inverse = l.inverse();
        let da = inverse.matmul_tn(&(l.matmul_tn(g) * half)).matmul(&inverse);
        vec![Some(symmetric(&da))]
    }
}

/// The inverse of a symmetric positive definite matrix, from its Cholesky factor.
#[derive(Debug)]
struct SymmetricInverse {
    factor: Tensor,
}

impl Custom for SymmetricInverse {
    const NAME: &'static str = "symmetric_inverse";

    fn forward(&self, _: &[Tensor]) -> Tensor {
        let n = size(&self.factor);
        let identity = Tensor::eye(n, self.factor.dtype()).broadcast_to(self.factor.shape());
        dispatch!(identity.dtype(), T => Tensor::build::<T>(*identity.shape(), |out| {
            out.copy_from_slice(identity.slice());
            let area = (n * n).max(1);
            for (factor, out) in self.factor.slice::<T>().chunks(area).zip(out.chunks_mut(area)) {
                linalg::cholesky_solve(factor, n, out, n);
            }
        }))
    }

    /// dA = -A^-1 G A^-1, made symmetric.
    fn gradient(&self, _: &[Tensor], y: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(-symmetric(&y.matmul(g).matmul(y)))]
    }
}

/// (A + A') / 2
fn symmetric(a: &Tensor) -> Tensor {
    (a + a.transpose(-1, -2)) * 0.5
}

/// ln det A; the value was computed when the operation was called.
#[derive(Debug)]
struct LogDet {
    factor: Tensor,
    value: Tensor,
}

impl Custom for LogDet {
    const NAME: &'static str = "logdet";

    fn forward(&self, _: &[Tensor]) -> Tensor {
        self.value.clone()
    }

    /// dA = g A^-1, of the symmetric matrix with this lower triangle.
    fn gradient(&self, x: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        let rank = g.rank();
        let inverse = custom(SymmetricInverse { factor: self.factor.clone() }, &[&x[0]]);
        vec![Some(inverse * g.unsqueeze(rank).unsqueeze(rank + 1))]
    }
}

/// The lower Cholesky factors of a batch of matrices.
#[track_caller]
fn factors(name: &str, a: &Tensor) -> Tensor {
    let n = square(name, a);
    let mut failed = None;
    let factors = dispatch!(a.dtype(), T => Tensor::build::<T>(*a.shape(), |out| {
        out.copy_from_slice(a.slice());
        for (i, matrix) in out.chunks_mut((n * n).max(1)).enumerate() {
            failed = failed.or(linalg::cholesky(matrix, n).err().map(|row| (i, row)));
        }
    }));
    if let Some((i, row)) = failed {
        panic!(
            "{name}: matrix {i} of {} is not positive definite: its leading block of {} rows has no positive determinant",
            a.shape(),
            row + 1
        );
    }
    factors
}

/// # Symmetric positive definite matrices
impl Tensor {
    /// The lower triangular L with L L' = self, for symmetric positive definite matrices [.., n, n]. Only the
    /// lower triangle is read; the gradient is that of a symmetric matrix.
    ///
    /// # Panics
    /// If the last two sizes differ, or a matrix is not positive definite.
    #[track_caller]
    pub fn cholesky(&self) -> Tensor {
        custom(Cholesky(factors("cholesky", self)), &[self])
    }

    /// ln det of symmetric positive definite matrices [.., n, n], of shape [..]: twice the sum of the logarithms
    /// of the Cholesky factor's diagonal, which cannot overflow as a determinant does. Only the lower triangle
    /// is read; the gradient is that of a symmetric matrix. 0 for n = 0.
    ///
    /// # Panics
    /// As [`Tensor::cholesky`].
    #[track_caller]
    pub fn logdet(&self) -> Tensor {
        let l = factors("logdet", self);
        let n = size(&l);
        let shape = Shape::new(&self.shape()[..self.rank() - 2]);
        let value = dispatch!(l.dtype(), T => Tensor::build::<T>(shape, |out| {
            out.fill(kernels::Element::from_f64(0.0));
            for (out, l) in out.iter_mut().zip(l.slice::<T>().chunks((n * n).max(1))) {
                *out = linalg::cholesky_log_determinant(l, n);
            }
        }));
        custom(LogDet { factor: l, value }, &[self])
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    fn definite(x: &Tensor) -> Tensor {
        let n = x.shape()[x.rank() - 1];
        x.matmul_nt(x) + Tensor::eye(n, x.dtype())
    }
    let one = |name: &str, case: &str, dims: &[usize], f: fn(&Tensor) -> Tensor| {
        Sample::new(name, case, [Input::normal(dims)], move |x| f(&x[0]))
    };
    vec![
        one("cholesky", "", &[3, 3], |x| definite(x).cholesky()),
        one("cholesky", "batch", &[2, 2, 2], |x| definite(x).cholesky()),
        one("logdet", "", &[3, 3], |x| definite(x).logdet()),
        one("logdet", "batch", &[2, 2, 2], |x| definite(x).logdet()),
        one("logdet", "1 x 1", &[1, 1], |x| definite(x).logdet()),
        one("logdet", "0 x 0", &[0, 0], |x| definite(x).logdet()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::linalg::tests::close;
    use crate::{DType, Key};

    #[test]
    fn factors_multiply_and_have_the_determinant() {
        let x = Tensor::normal([2, 5, 5], DType::F64, Key::new(1));
        let eye = Tensor::eye(5, DType::F64);
        let a = x.matmul_nt(&x) + &eye;
        let l = a.cholesky();
        close(&l.matmul_nt(&l), &a);
        assert_eq!(l.at(&[1, 0, 3]), 0.0);
        for i in 0..2 {
            let log: f64 = (0..5).map(|k| 2.0 * l.at(&[i, k, k]).ln()).sum();
            assert!((a.logdet().at(&[i]) - log).abs() < 1e-12);
        }
    }

    /// The value, the gradient and the gradient's gradient of the lower triangles [[4, .], [2, 3]] and [[2, .], [1, 5]].
    fn of_lower_triangles(f: impl Fn(&Tensor) -> Tensor, upper: f64) -> [Vec<f64>; 3] {
        let x = Tensor::from([[[4.0, upper], [2.0, 3.0]], [[2.0, -upper], [1.0, 5.0]]]).requires_grad();
        let y = f(&x);
        let d = (&y * &y).sum(..).recorded().grad(&[&x]).remove(0);
        let dd = (&d * &d).sum(..).grad(&[&x]).remove(0);
        [y, d, dd].map(|t| t.to_vec())
    }

    #[test]
    fn what_is_above_the_diagonal_is_read_by_no_order() {
        let upper = [2.0, 0.0, 6.0, f64::NAN];
        for f in [Tensor::logdet, Tensor::cholesky] {
            let [one, two, three, four] = upper.map(|upper| of_lower_triangles(f, upper));
            assert!(one == two && two == three && three == four, "{one:?} {two:?} {three:?} {four:?}");
        }
        let x = Tensor::from([[4.0, 6.0], [2.0, 3.0]]).requires_grad();
        close(&x.logdet().grad(&[&x])[0], &Tensor::from([[0.375, -0.25], [-0.25, 0.5]]));
        // The matrix is symmetric, so the inverse of the whole of it is the gradient.
        let x = Tensor::normal([4, 4], DType::F64, Key::new(3));
        let a = (x.matmul_nt(&x) + Tensor::eye(4, DType::F64)).requires_grad();
        close(&a.logdet().grad(&[&a])[0], &a.value().inverse());
    }

    #[test]
    #[should_panic(
        expected = "cholesky: matrix 0 of [2, 2] is not positive definite: its leading block of 2 rows has no positive determinant"
    )]
    fn an_indefinite_matrix_is_named() {
        let _ = Tensor::from([[1.0, 2.0], [2.0, 1.0]]).cholesky();
    }
}
