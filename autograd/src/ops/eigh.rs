//! Eigenvalues and eigenvectors of symmetric matrices.
//!
//! Giles, An extended collection of matrix derivative results for forward and reverse mode AD, 2008.

use kernels::linalg;

use crate::kinds::custom::{Custom, custom};
use crate::ops::linalg::{size, square};
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Eigenvectors in the columns of the first n rows, eigenvalues in the last one: [.., n + 1, n].
#[derive(Debug)]
struct Eigh;

/// The eigenvectors and eigenvalues of a packed result.
fn parts(y: &Tensor) -> (Tensor, Tensor) {
    let n = size(y);
    (y.slice_axis(-2, ..n), y.slice_axis(-2, n..).squeeze(-2))
}

/// (A + A') / 2
fn symmetric(a: &Tensor) -> Tensor {
    (a + a.transpose(-1, -2)) * 0.5
}

/// The machine epsilon of the dtype, times n.
pub(super) fn rounding(x: &Tensor, n: usize) -> f64 {
    let unit = match x.dtype() {
        crate::DType::F32 => f64::from(f32::EPSILON),
        crate::DType::F64 => f64::EPSILON,
    };
    unit * n as f64
}

/// 1 / (b_j - a_i), and 0 where that is not above `rounding` times `size`, [.., 1, 1]: [.., n, n].
pub(super) fn reciprocal_gaps(a: &Tensor, b: &Tensor, size: &Tensor, rounding: f64) -> Tensor {
    let gaps = b.unsqueeze(-2) - a.unsqueeze(-1);
    let none = gaps.abs().le(&(size * rounding));
    (1.0 / gaps.masked_fill(&none, 1.0)).masked_fill(&none, 0.0)
}

/// The largest absolute value of each row, a constant: [.., n] gives [.., 1, 1].
pub(super) fn sizes(w: &Tensor) -> Tensor {
    match size(w) {
        0 => w.value().sum(crate::keep(-1)).unsqueeze(-1),
        _ => w.value().abs().max(crate::keep(-1)).unsqueeze(-1),
    }
}

impl Custom for Eigh {
    const NAME: &'static str = "eigh";

    fn forward(&self, x: &[Tensor]) -> Tensor {
        let (x, n) = (&x[0], size(&x[0]));
        let mut matrices = symmetric(x).to_vec::<f64>();
        let mut packed = vec![0.0; matrices.len() + matrices.len() / n.max(1)];
        let (mut values, mut vectors) = (vec![0.0; n], vec![0.0; n * n]);
        let area = (n * n).max(1);
        for (matrix, out) in matrices.chunks_mut(area).zip(packed.chunks_mut(area + n)) {
            linalg::eigh(matrix, n, &mut values, &mut vectors);
            (0..n * n).for_each(|i| out[i] = vectors[i % n * n + i / n]);
            out[n * n..].copy_from_slice(&values);
        }
        Tensor::new(&packed, x.shape().with(x.rank() - 2, n + 1)).to_dtype(x.dtype())
    }

    /// dA = V (diag(gw) + F o (V' gV)) V', made symmetric, with F_ij = 1 / (w_j - w_i) and 0 for equal eigenvalues.
    fn gradient(&self, _: &[Tensor], y: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        let ((v, w), (gv, gw)) = (parts(y), parts(g));
        let f = reciprocal_gaps(&w, &w, &sizes(&w), rounding(&w, size(&w)));
        let inner = gw.diag_embed(0) + f * v.matmul_tn(&gv);
        vec![Some(symmetric(&v.matmul(&inner).matmul_nt(&v)))]
    }
}

impl Tensor {
    /// The eigenvalues w [.., n], in ascending order, and eigenvectors V [.., n, n], in columns, of symmetric matrices
    /// [.., n, n]: A = V diag(w) V'. They are those of (A + A') / 2, so the gradient is symmetric (NumPy and PyTorch read one
    /// triangle). The sign of an eigenvector is such that the first of its elements of largest magnitude is positive.
    /// All are NaN for a matrix that is not finite. Computed by Jacobi rotations in f64, in about 10 n^3
    /// multiplications.
    ///
    /// The gradient has factors 1 / (w_j - w_i). Those of equal eigenvalues (up to n roundings of the largest) are taken as 0,
    /// where PyTorch's are infinite. The first gradient of a function that does not depend on the basis of an
    /// eigenspace is then correct; gradients of higher order lack the terms within the eigenspace.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let a = Tensor::from([[2.0, 1.0], [1.0, 2.0]]).requires_grad();
    /// let (w, v) = a.eigh();
    /// assert!((w.at(&[0]) - 1.0).abs() < 1e-15 && (w.at(&[1]) - 3.0).abs() < 1e-15);
    /// assert!((v.at(&[0, 1]) - 0.5f64.sqrt()).abs() < 1e-15);
    /// // The gradient of an eigenvalue is v v'.
    /// assert!((w.select(0, -1).grad(&a).at(&[0, 1]) - 0.5).abs() < 1e-15);
    /// ```
    ///
    /// # Panics
    /// If the last two sizes differ.
    #[track_caller]
    pub fn eigh(&self) -> (Tensor, Tensor) {
        let n = square("eigh", self);
        if n == 0 {
            let lead = &self.shape()[..self.rank() - 2];
            let shape = Shape::new(&[lead, &[0]].concat());
            return (self.reshape(shape), self.clone());
        }
        let (v, w) = parts(&custom(Eigh, &[self]));
        (w, v)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    // Eigenvalues well apart.
    fn apart(x: &Tensor) -> Tensor {
        let n = size(x);
        x * 0.5
            + Tensor::from_fn([n, n], x.dtype(), |i| if i / n == i % n { 3.0 * (i % n) as f64 } else { 0.0 })
    }
    let one = |name: &str, case: &str, dims: &[usize], f: fn(&Tensor) -> Tensor| {
        Sample::new(name, case, [Input::normal(dims)], move |x| f(&x[0]))
    };
    vec![
        one("eigh", "values", &[3, 3], |x| apart(x).eigh().0),
        one("eigh", "vectors", &[3, 3], |x| apart(x).eigh().1),
        one("eigh", "batch", &[2, 2, 2], |x| {
            let (w, v) = apart(x).eigh();
            v * w.unsqueeze(-1)
        }),
        one("eigh", "the exponential of a matrix", &[3, 3], |x| {
            let (w, v) = (apart(x) * 0.2).eigh();
            (&v * w.exp().unsqueeze(-2)).matmul_nt(&v)
        }),
        one("eigh", "1 x 1", &[1, 1], |x| x.eigh().0),
        one("eigh", "0 x 0", &[0, 0], |x| x.eigh().0),
        one("eigh", "no matrices", &[0, 2, 2], |x| x.eigh().1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::linalg::tests::close;
    use crate::{DType, Key};

    #[test]
    fn eigenvectors_give_the_matrices_back() {
        let x = Tensor::normal([3, 6, 6], DType::F64, Key::new(1));
        let (w, v) = x.eigh();
        close(&(&v * w.unsqueeze(-2)).matmul_nt(&v), &symmetric(&x));
        close(&v.matmul_tn(&v), &Tensor::eye(6, DType::F64).broadcast_to([3, 6, 6]));
    }

    #[test]
    fn equal_eigenvalues_have_the_gradient_of_functions_that_do_not_depend_on_the_basis() {
        // sum of w^2 is |A|^2, and V diag(e^w) V' the exponential: at 2 I that of 2 I.
        let a = (Tensor::eye(3, DType::F64) * 2.0).requires_grad();
        let (w, v) = a.eigh();
        close(&(&w * &w).sum(..).grad(&a), &(Tensor::eye(3, DType::F64) * 4.0));
        let trace = (&v * w.exp().unsqueeze(-2)).matmul_nt(&v).trace();
        close(&trace.grad(&a), &(Tensor::eye(3, DType::F64) * 2f64.exp()));
        // Every derivative is finite, also of what depends on the basis.
        let d = v.sum(..).recorded().grad(&a);
        assert!(d.is_finite() && d.sum(..).grad(&a).is_finite());
    }

    #[test]
    fn a_matrix_that_is_not_finite_stays_alone() {
        let x = Tensor::from([[[f64::NAN, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]]]).requires_grad();
        let (w, v) = x.eigh();
        assert!(w.at(&[0, 1]).is_nan() && v.at(&[0, 0, 0]).is_nan());
        assert_eq!(w.select(0, 1).to_vec::<f64>(), [1.0, 2.0]);
        assert_eq!(w.sum(..).grad(&x).select(0, 1).to_vec::<f64>(), [1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "eigh: shape [2, 3] must end in two equal sizes, [.., n, n]")]
    fn eigenvalues_need_a_square() {
        let _ = Tensor::zeros([2, 3], DType::F64).eigh();
    }
}
