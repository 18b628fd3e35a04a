//! The singular value decomposition.
//!
//! Townsend, Differentiating the singular value decomposition, 2016.

use kernels::linalg;

use crate::kinds::custom::{Custom, custom};
use crate::ops::eigh::{reciprocal_gaps, rounding, sizes};
use crate::ops::linalg::size;
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Of matrices [.., m, n] with m >= n: U in the first m rows, V in the next n, the singular values in the last one,
/// [.., m + n + 1, n].
#[derive(Debug)]
struct Svd;

/// U, V and the singular values of a packed result.
fn parts(y: &Tensor) -> [Tensor; 3] {
    let (rows, n) = (y.shape()[y.rank() - 2], size(y));
    let m = rows - n - 1;
    [y.slice_axis(-2, ..m), y.slice_axis(-2, m..m + n), y.slice_axis(-2, m + n..).squeeze(-2)]
}

impl Custom for Svd {
    const NAME: &'static str = "svd";

    fn forward(&self, x: &[Tensor]) -> Tensor {
        let x = &x[0];
        let (m, n) = (x.shape()[x.rank() - 2], size(x));
        let rows = m + n + 1;
        let mut matrices = x.transpose(-1, -2).to_vec::<f64>();
        let mut packed = vec![0.0; matrices.len() / (m * n).max(1) * rows * n];
        let (mut values, mut right) = (vec![0.0; n], vec![0.0; n * n]);
        for (matrix, out) in matrices.chunks_mut((m * n).max(1)).zip(packed.chunks_mut((rows * n).max(1))) {
            linalg::svd(matrix, m, n, &mut values, &mut right);
            (0..m * n).for_each(|i| out[i] = matrix[i % n * m + i / n]);
            (0..n * n).for_each(|i| out[m * n + i] = right[i % n * n + i / n]);
            out[(m + n) * n..].copy_from_slice(&values);
        }
        Tensor::new(&packed, x.shape().with(x.rank() - 2, rows)).to_dtype(x.dtype())
    }

    /// U ((F o (U' gU - gU' U)) S + S (F o (V' gV - gV' V)) + diag(gs)) V' + (I - U U') gU S^-1 V', with
    /// F_ij = 1 / (s_j^2 - s_i^2), for V square.
    fn gradient(&self, _: &[Tensor], y: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        let ([u, v, s], [gu, gv, gs]) = (parts(y), parts(g));
        let n = size(&s);
        let (size, rounding) = (sizes(&s), rounding(&s, n));
        // Products of factors without squares, which would lose digits.
        let f = reciprocal_gaps(&s, &s, &size, rounding) * reciprocal_gaps(&-&s, &s, &size, rounding);
        let skew = |a: &Tensor, ga: &Tensor| {
            let product = a.matmul_tn(ga);
            &f * (&product - product.transpose(-1, -2))
        };
        let (across, down) = (s.unsqueeze(-2), s.unsqueeze(-1));
        let inner = skew(&u, &gu) * across + skew(&v, &gv) * down + gs.diag_embed(0);
        let mut left = u.matmul(&inner);
        if u.shape()[u.rank() - 2] > n {
            // 1 / s, and 0 where s is.
            let none = s.unsqueeze(-2).le(&(&size * rounding));
            let inverse = (1.0 / s.unsqueeze(-2).masked_fill(&none, 1.0)).masked_fill(&none, 0.0);
            left += (&gu - u.matmul(&u.matmul_tn(&gu))) * inverse;
        }
        vec![Some(left.matmul_nt(&v))]
    }
}

impl Tensor {
    /// The thin singular value decomposition of matrices [.., m, n]: U [.., m, k], the singular values s [.., k] in
    /// descending order, and V' [.., k, n], for k = min(m, n), with A = U diag(s) V'. As `full_matrices=False` in NumPy and
    /// PyTorch. The sign of each column of U (of V if m < n) is such that the first of its elements of largest
    /// magnitude is positive. All are NaN for a matrix that is not finite. Computed by Jacobi rotations in f64, which
    /// find small singular values to full relative accuracy where scaling of the columns allows it.
    ///
    /// The gradient has factors 1 / (s_j^2 - s_i^2), and 1 / s_i if m and n differ. Those of equal singular values, and of
    /// those that are 0 (up to min(m, n) roundings of the largest), are taken as 0, where PyTorch's are infinite. The
    /// first gradient of a function that does not depend on the basis is then correct, as for [`Tensor::eigh`].
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let a = Tensor::from([[3.0, 0.0], [0.0, -4.0], [0.0, 0.0]]).requires_grad();
    /// let (u, s, vt) = a.svd();
    /// assert_eq!(s.to_vec::<f64>(), [4.0, 3.0]);
    /// assert_eq!((*u.shape(), *vt.shape()), ([3, 2].into(), [2, 2].into()));
    /// // The nuclear norm: its gradient is U V'.
    /// assert_eq!(s.sum(..).grad(&a).to_vec::<f64>(), [1.0, 0.0, 0.0, -1.0, 0.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn svd(&self) -> (Tensor, Tensor, Tensor) {
        let [.., m, n] = **self.shape() else {
            panic!("svd: shape {} holds no matrices; two axes are needed", self.shape());
        };
        if m < n {
            let (v, s, ut) = self.transpose(-1, -2).svd();
            return (ut.transpose(-1, -2), s, v.transpose(-1, -2));
        }
        if n == 0 {
            let lead = &self.shape()[..self.rank() - 2];
            let shape = |dims: &[usize]| Shape::new(&[lead, dims].concat());
            return (self.clone(), self.slice_axis(-2, ..0).reshape(shape(&[0])), self.slice_axis(-2, ..0));
        }
        let [u, v, s] = parts(&custom(Svd, &[self]));
        (u, s, v.transpose(-1, -2))
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    // Singular values well apart.
    fn apart(x: &Tensor) -> Tensor {
        let [.., m, n] = **x.shape() else { unreachable!("matrices") };
        x * 0.5
            + Tensor::from_fn(
                [m, n],
                x.dtype(),
                |i| if i / n == i % n { 3.0 * (1 + i % n) as f64 } else { 0.0 },
            )
    }
    let one = |case: &str, dims: &[usize], f: fn(&Tensor) -> Tensor| {
        Sample::new("svd", case, [Input::normal(dims)], move |x| f(&x[0]))
    };
    vec![
        one("values", &[3, 3], |x| apart(x).svd().1),
        one("left", &[3, 2], |x| apart(x).svd().0),
        one("left, wide", &[2, 3], |x| apart(x).svd().0),
        one("right", &[3, 2], |x| apart(x).svd().2),
        one("right, wide", &[2, 3], |x| apart(x).svd().2),
        one("batch", &[2, 3, 2], |x| {
            let (u, s, vt) = apart(x).svd();
            (u * s.sin().unsqueeze(-2)).matmul(&vt)
        }),
        one("1 x 1", &[1, 1], |x| (x + 3.0).svd().1),
        one("no columns", &[2, 0], |x| x.svd().1),
        one("no rows", &[0, 2], |x| x.svd().1),
        one("no matrices", &[0, 2, 2], |x| x.svd().0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::linalg::tests::close;
    use crate::{DType, Key};

    #[test]
    fn the_factors_give_the_matrices_back() {
        for dims in [[2, 5, 3], [2, 3, 5], [1, 4, 4]] {
            let x = Tensor::normal(dims, DType::F64, Key::new(1));
            let (u, s, vt) = x.svd();
            close(&(&u * s.unsqueeze(-2)).matmul(&vt), &x);
            let k = dims[1].min(dims[2]);
            let identity = Tensor::eye(k, DType::F64).broadcast_to([dims[0], k, k]);
            close(&u.matmul_tn(&u), &identity);
            close(&vt.matmul_nt(&vt), &identity);
        }
    }

    #[test]
    fn equal_and_zero_singular_values_have_finite_gradients() {
        for x in [
            Tensor::eye(3, DType::F64),
            Tensor::zeros([3, 2], DType::F64),
            Tensor::from([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]),
        ] {
            let x = x.requires_grad();
            let (u, s, vt) = x.svd();
            let y = (&u * s.unsqueeze(-2)).matmul(&vt).sum(..) + u.sum(..) + vt.sum(..);
            let d = y.recorded().grad(&x);
            assert!(d.is_finite() && d.sum(..).grad(&x).is_finite());
        }
        // |A|^2 is the sum of squares, for any basis.
        let x = Tensor::eye(3, DType::F64).requires_grad();
        let s = x.svd().1;
        close(&(&s * &s).sum(..).grad(&x), &(Tensor::eye(3, DType::F64) * 2.0));
    }

    #[test]
    fn a_matrix_that_is_not_finite_stays_alone() {
        let x = Tensor::from([[[f64::INFINITY, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]]]);
        let (u, s, vt) = x.svd();
        assert!(u.at(&[0, 0, 0]).is_nan() && s.at(&[0, 0]).is_nan() && vt.at(&[0, 0, 0]).is_nan());
        assert_eq!(s.select(0, 1).to_vec::<f64>(), [2.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "svd: shape [3] holds no matrices; two axes are needed")]
    fn a_decomposition_needs_matrices() {
        let _ = Tensor::zeros([3], DType::F64).svd();
    }
}
