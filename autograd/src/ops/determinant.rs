//! Determinants, from the factors P A = L U.

use kernels::linalg;

use crate::dtype::{DType, dispatch};
use crate::kinds::custom::{Custom, custom};
use crate::kinds::fused::gradients_of;
use crate::ops::linalg::{size, square};
use crate::ops::mask::Mask;
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The determinants of matrices [.., n, n].
#[derive(Clone, Copy, Debug)]
struct Det;

/// Below this reciprocal condition number det A * A'^-1 has too few correct digits.
const REGULAR: f64 = 1e-6;

impl Det {
    /// The determinants without a division: det A = s det(L A R) for constants L, R and s that make L A R diagonal but for
    /// rounding (they cancel, in all derivatives too), and the determinant of that by Bird's products, A simple
    /// division-free algorithm for computing determinants, 2011.
    fn definition(x: &Tensor) -> Tensor {
        let n = size(x);
        let (left, right, factor) = diagonalised(x);
        let d = left.matmul(x).matmul(&right);
        let later = Tensor::ones([n, n], x.dtype()).tril(-1);
        let mut product = d.clone();
        for _ in 1..n {
            // The upper triangle, and on the diagonal minus the sum of the diagonal elements further down.
            let sums = product.diagonal(0).unsqueeze(-2).matmul(&later).squeeze(-2);
            product = (product.triu(1) - sums.diag_embed(0)).matmul(&d);
        }
        let first = product.select(-1, 0).select(-1, 0);
        first * factor * if n.is_multiple_of(2) { -1.0 } else { 1.0 }
    }
}

impl Custom for Det {
    const NAME: &'static str = "det";

    fn forward(&self, x: &[Tensor]) -> Tensor {
        let (x, n) = (&x[0], size(&x[0]));
        dispatch!(x.dtype(), T => Tensor::build::<T>(Shape::new(&x.shape()[..x.rank() - 2]), |out| {
            out.fill(kernels::Element::from_f64(1.0));
            for (out, matrix) in out.iter_mut().zip(x.slice::<T>().chunks((n * n).max(1))) {
                *out = kernels::Element::from_f64(determinant(matrix, n));
            }
        }))
    }

    /// dA = g det A * A'^-1 if every matrix is regular, else that of the definition.
    fn gradient(&self, x: &[Tensor], y: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        if x[0].numel() == 0 {
            vec![None]
        } else if x[0].value().rcond().ge(REGULAR).all() {
            vec![Some(x[0].inverse().transpose(-1, -2) * (g * y).unsqueeze(-1).unsqueeze(-1))]
        } else {
            let recording = x[0].is_tracked() || g.is_tracked();
            gradients_of(|x| Det::definition(&x[0]), x, &[true], g, recording)
        }
    }
}

/// The product of the pivots; no partial product overflows or underflows.
fn determinant<T: kernels::Element>(matrix: &[T], n: usize) -> f64 {
    let (mut factors, mut pivots) = (matrix.to_vec(), vec![0; n]);
    if linalg::lu(&mut factors, n, &mut pivots).is_err() {
        return if matrix.iter().all(|v| v.is_finite()) { 0.0 } else { f64::NAN };
    }
    let (mut product, mut exponent) = (1.0, 0);
    for k in 0..n {
        let factor = factors[k * n + k].to_f64();
        product *= if pivots[k] == k { factor } else { -factor };
        let power = (product.to_bits() >> 52 & 0x7ff) as i32 - 1023;
        product /= 2f64.powi(power);
        exponent += power;
    }
    // In two factors, since 2^1024 is not representable.
    product * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
}

/// [`linalg::diagonalise`] for each matrix: constants [.., n, n], [.., n, n] and [..].
fn diagonalised(x: &Tensor) -> (Tensor, Tensor, Tensor) {
    let (n, lead) = (size(x), Shape::new(&x.shape()[..x.rank() - 2]));
    let (mut left, mut right) = (vec![0.0; x.numel()], vec![0.0; x.numel()]);
    let matrices = x.to_vec::<f64>();
    let parts = matrices.chunks(n * n).zip(left.chunks_mut(n * n)).zip(right.chunks_mut(n * n));
    let unit = if x.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let diagonalise = |((a, left), right): ((&[f64], &mut [f64]), &mut [f64])| {
        linalg::diagonalise(a, n, n as f64 * unit, left, right)
    };
    let factors: Vec<f64> = parts.map(diagonalise).collect();
    let tensor = |data: &[f64], shape: &Shape| Tensor::new(data, shape).to_dtype(x.dtype());
    (tensor(&left, x.shape()), tensor(&right, x.shape()), tensor(&factors, &lead))
}

/// ln |det A|; which matrices are singular, [.., 1, 1], and the value were found when the operation was called.
#[derive(Debug)]
struct LogAbsDet {
    singular: Mask,
    value: Tensor,
}

impl Custom for LogAbsDet {
    const NAME: &'static str = "slogdet";

    fn forward(&self, _: &[Tensor]) -> Tensor {
        self.value.clone()
    }

    /// dA = g A'^-1
    fn gradient(&self, x: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        let regular = self.singular.select(&Tensor::eye(size(&x[0]), x[0].dtype()), &x[0]);
        let da = regular.inverse().transpose(-1, -2) * g.unsqueeze(-1).unsqueeze(-1);
        vec![Some(da.masked_fill(&self.singular, f64::NAN))]
    }
}

/// # Determinants
impl Tensor {
    /// The determinants of matrices [.., n, n], of shape [..]; 1 for n = 0, NaN for a matrix that is not finite.
    ///
    /// The gradient is the matrix of cofactors, det A * A'^-1, and exists for singular matrices, too, as do gradients
    /// of higher order. The gradient of a singular or nearly singular matrix costs n matrix products. For large n,
    /// where the determinant overflows, use [`Tensor::slogdet`].
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let a = Tensor::from([[1.0, 2.0], [2.0, 4.0]]).requires_grad();
    /// let det = a.det();
    /// assert_eq!(det.item(), 0.0);
    /// assert_eq!(det.grad(&a).to_vec::<f64>(), [4.0, -2.0, -2.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If the last two sizes differ.
    #[track_caller]
    pub fn det(&self) -> Tensor {
        square("det", self);
        custom(Det, &[self])
    }

    /// The signs (-1, 0 or 1, without gradient) and the logarithms of the absolute values of the determinants of matrices
    /// [.., n, n], each of shape [..]. For a singular matrix they are 0 and -infinity, and the gradient is NaN.
    ///
    /// For a symmetric positive definite matrix, [`Tensor::logdet`] is faster.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let (sign, log) = Tensor::from([[0.0, 2.0], [3.0, 0.0]]).slogdet();
    /// assert_eq!(sign.item(), -1.0);
    /// assert!((log.item() - 6f64.ln()).abs() < 1e-15);
    /// ```
    ///
    /// # Panics
    /// If the last two sizes differ.
    #[track_caller]
    pub fn slogdet(&self) -> (Tensor, Tensor) {
        let n = square("slogdet", self);
        let lead = Shape::new(&self.shape()[..self.rank() - 2]);
        let (mut signs, mut logs) = (vec![1.0; lead.numel()], vec![0.0; lead.numel()]);
        dispatch!(self.dtype(), T => {
            let matrices = self.slice::<T>().chunks((n * n).max(1));
            for ((sign, log), matrix) in signs.iter_mut().zip(&mut logs).zip(matrices) {
                let (mut factors, mut pivots) = (matrix.to_vec(), vec![0; n]);
                (*sign, *log) = match linalg::lu(&mut factors, n, &mut pivots) {
                    Ok(()) => {
                        let (sign, log) = linalg::lu_determinant(&factors, &pivots, n);
                        (kernels::Element::to_f64(sign), kernels::Element::to_f64(log))
                    }
                    Err(_) if matrix.iter().all(|v| kernels::Element::is_finite(*v)) => (0.0, f64::NEG_INFINITY),
                    Err(_) => (f64::NAN, f64::NAN),
                };
            }
        });
        let singular: Vec<bool> = logs.iter().map(|log| !log.is_finite()).collect();
        let singular = Mask::new(&singular, [&lead[..], &[1, 1]].concat().as_slice());
        let value = Tensor::new(&logs, lead).to_dtype(self.dtype());
        let sign = Tensor::new(&signs, lead).to_dtype(self.dtype());
        (sign, custom(LogAbsDet { singular, value }, &[self]))
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let n = |dims: &[usize]| Input::normal(dims);
    // A constant matrix of rank 1 or 2, plus zeros. The sum gives the gradient a size, and the 1 the value, which would be
    // rounding alone.
    let singular = |rank: usize| {
        move |x: &[Tensor]| {
            let constant = Tensor::from_fn([3, 3], x[0].dtype(), |k| {
                let (i, j) = ((k / 3) as f64, (k % 3) as f64);
                let first = 0.25 * (i + 1.0) * (j + 2.0);
                if rank == 1 { first } else { first + (i - 1.0) * (1.0 - 0.5 * j * j) }
            });
            (constant + &x[0]).det() + x[0].sum(..) + 1.0
        }
    };
    let zeros = || [Input::uniform(0.0, 0.0, [3, 3])];
    vec![
        Sample::new("det", "", [n(&[3, 3])], |x| x[0].det()),
        Sample::new("det", "batch", [n(&[2, 2, 2])], |x| x[0].det()),
        Sample::new("det", "1 x 1", [n(&[1, 1])], |x| x[0].det()),
        Sample::new("det", "0 x 0", [n(&[0, 0])], |x| x[0].det()),
        Sample::new("det", "of its square", [n(&[2, 2])], |x| x[0].matmul(&x[0]).det()),
        Sample::new("det", "of rank n - 1", zeros(), singular(2)),
        Sample::new("det", "of rank n - 2", zeros(), singular(1)),
        Sample::new("slogdet", "", [n(&[3, 3])], |x| x[0].slogdet().1),
        Sample::new("slogdet", "batch", [n(&[2, 2, 2])], |x| x[0].slogdet().1),
        Sample::new("slogdet", "0 x 0", [n(&[0, 0])], |x| x[0].slogdet().1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, gradcheck};

    #[test]
    fn determinants_are_those_of_both_formulas_at_every_rank() {
        for n in [1, 2, 4, 7, 20] {
            for rank in [0, 1, n - 1, n] {
                let (u, v) = (
                    Tensor::normal([n, rank], DType::F64, Key::new(1)),
                    Tensor::normal([rank, n], DType::F64, Key::new(2)),
                );
                let a = u.matmul(&v).requires_grad();
                let gradient = a.det().grad(&a);
                // The expansion along a row: sum_j a_ij cof_ij = det A, and the same of another row is 0.
                let product = gradient.matmul_nt(&a);
                let expected = Tensor::eye(n, DType::F64) * a.det().item();
                let size = gradient.abs().max(..).item() * a.abs().max(..).item() + f64::MIN_POSITIVE;
                let off = (product - expected).abs().max(..).item();
                assert!(off <= 1e-12 * n as f64 * size, "{n}, rank {rank}: {off:e} of {size:e}");
            }
        }
    }

    #[test]
    fn the_third_order_at_a_singular_matrix_is_right_too() {
        let a = Tensor::from([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.5, 1.0, 1.5]]);
        gradcheck(|x| x[0].det(), &[a], 3).assert();
        gradcheck(|x| x[0].det(), &[Tensor::zeros([2, 2], DType::F64)], 3).assert();
    }

    #[test]
    fn large_and_small_determinants_do_not_overflow_on_the_way() {
        let d = Tensor::from([1e300, 1e-300, 1e200, 1e-190]);
        let found = d.diag_embed(0).det().item();
        assert!((found / 1e10 - 1.0).abs() < 1e-14, "{found:e}");
        let a = Tensor::from([1e200, 1e-200]).diag_embed(0).requires_grad();
        let gradient = a.det().grad(&a).to_vec::<f64>();
        assert!(
            (gradient[0] / 1e-200 - 1.0).abs() < 1e-14 && (gradient[3] / 1e200 - 1.0).abs() < 1e-14,
            "{gradient:?}"
        );
        let (sign, log) = Tensor::from([1e200, 1e200, -1e100]).diag_embed(0).slogdet();
        assert!(sign.item() == -1.0 && (log.item() - 500.0 * 10f64.ln()).abs() < 1e-11);
    }

    #[test]
    fn singular_matrices_and_those_not_finite_are_as_stated() {
        let a =
            Tensor::from([[[1.0, 2.0], [2.0, 4.0]], [[1.0, f64::NAN], [0.0, 1.0]], [[2.0, 0.0], [0.0, 3.0]]]);
        let a = a.requires_grad();
        let (sign, log) = a.slogdet();
        assert!(sign.at(&[0]) == 0.0 && sign.at(&[1]).is_nan() && sign.at(&[2]) == 1.0);
        assert!(log.at(&[0]) == f64::NEG_INFINITY && log.at(&[1]).is_nan());
        let d = log.sum(..).grad(&a).to_vec::<f64>();
        assert!(d[..8].iter().all(|d| d.is_nan()) && d[8..] == [0.5, 0.0, 0.0, 1.0 / 3.0], "{d:?}");
        let det = a.det().to_vec::<f64>();
        assert!(det[0] == 0.0 && det[1].is_nan() && det[2] == 6.0, "{det:?}");
        assert_eq!(Tensor::zeros([0, 0], DType::F32).det().item(), 1.0);
    }

    #[test]
    #[should_panic(expected = "det: shape [2, 3] must end in two equal sizes, [.., n, n]")]
    fn a_determinant_needs_a_square() {
        let _ = Tensor::zeros([2, 3], DType::F64).det();
    }
}
