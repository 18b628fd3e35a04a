//! Linear algebra of square matrices: systems of equations, inverses, condition numbers.
//!
//! Gradients are formulas made of the same operations, so they exist to every order. A matrix is factorised
//! once, when the operation is called; the gradients of a solution, of every order, use the same factors.
//!
//! Giles, An extended collection of matrix derivative results for forward and reverse mode AD, 2008.

use std::sync::Arc;

use kernels::linalg;

use crate::dtype::dispatch;
use crate::kinds::custom::{Custom, custom};
use crate::kinds::elementwise::same_dtype;
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The factors P A = L U of each matrix of a batch.
#[derive(Debug)]
struct Lu {
    factors: Tensor,
    pivots: Vec<usize>,
}

impl Lu {
    #[track_caller]
    fn of(name: &str, a: &Tensor) -> Lu {
        let n = size(a);
        let mut pivots = vec![0; a.numel() / n.max(1)];
        let mut failed = None;
        let factors = dispatch!(a.dtype(), T => Tensor::build::<T>(*a.shape(), |out| {
            out.copy_from_slice(a.slice());
            let matrices = out.chunks_mut((n * n).max(1)).zip(pivots.chunks_mut(n.max(1)));
            for (i, (matrix, pivots)) in matrices.enumerate() {
                failed = failed.or(linalg::lu(matrix, n, pivots).err().map(|column| (i, column)));
            }
        }));
        if let Some((i, column)) = failed {
            panic!(
                "{name}: matrix {i} of {} is singular (or not finite): column {column} has no pivot but 0; a solution needs linearly independent columns",
                a.shape()
            );
        }
        Lu { factors, pivots }
    }
}

/// X with A X = B, or A' X = B, for inputs A and B. The factors are those of A.
#[derive(Clone, Debug)]
struct Solve {
    lu: Arc<Lu>,
    transposed: bool,
}

impl Custom for Solve {
    const NAME: &'static str = "solve";

    fn forward(&self, x: &[Tensor]) -> Tensor {
        let (a, b) = (&x[0], &x[1]);
        let (n, m) = (size(a), b.shape()[b.rank() - 1]);
        dispatch!(b.dtype(), T => Tensor::build::<T>(*b.shape(), |out| {
            out.copy_from_slice(b.slice());
            let factors = self.lu.factors.slice::<T>().chunks((n * n).max(1));
            let factors = factors.zip(self.lu.pivots.chunks(n.max(1)));
            for ((factors, pivots), out) in factors.zip(out.chunks_mut((n * m).max(1))) {
                linalg::lu_solve(factors, pivots, n, self.transposed, out, m);
            }
        }))
    }

    /// A X = B: dB = A'^-1 G, dA = -dB X'. A' X = B: dB = A^-1 G, dA = -X dB'.
    fn gradient(&self, x: &[Tensor], y: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        let db = custom(Solve { transposed: !self.transposed, ..self.clone() }, &[&x[0], g]);
        let da = if self.transposed { y.matmul_nt(&db) } else { db.matmul_nt(y) };
        vec![Some(-da), Some(db)]
    }
}

pub(super) fn size(a: &Tensor) -> usize {
    a.shape()[a.rank() - 1]
}

/// n of a tensor [.., n, n].
#[track_caller]
pub(super) fn square(name: &str, a: &Tensor) -> usize {
    let rank = a.rank();
    assert!(
        rank >= 2 && a.shape()[rank - 1] == a.shape()[rank - 2],
        "{name}: shape {} must end in two equal sizes, [.., n, n]",
        a.shape()
    );
    size(a)
}

/// # Linear algebra
impl Tensor {
    /// The solution X of self X = b, for matrices self [.., n, n] and b [.., n, m]: by LU factorisation with partial
    /// pivoting. The leading axes broadcast.
    ///
    /// # Panics
    /// If the shapes do not fit, or a matrix is singular: a column has no nonzero pivot. A matrix that is singular up
    /// to rounding does not panic and gives a large solution: [`Tensor::rcond`] detects it.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let a = Tensor::from([[2.0, 1.0], [1.0, 3.0]]);
    /// let x = a.solve(&Tensor::from([[3.0], [5.0]]));
    /// assert!((x.at(&[0, 0]) - 0.8).abs() < 1e-15 && (x.at(&[1, 0]) - 1.4).abs() < 1e-15);
    /// ```
    #[track_caller]
    pub fn solve(&self, b: &Tensor) -> Tensor {
        same_dtype("solve", self, b);
        let n = square("solve", self);
        let (sa, sb) = (self.shape(), b.shape());
        assert!(
            sb.rank() >= 2 && sb[sb.rank() - 2] == n,
            "solve: matrix {sa} has {n} rows, so the right-hand side {sb} must be [.., {n}, m]"
        );
        let lead = |s: &Shape| Shape::new(&s[..s.rank() - 2]);
        let both = match lead(sa).broadcast(&lead(sb)) {
            Ok(both) => both,
            Err(e) => panic!("solve: the leading axes of {sa} and {sb}: {e}"),
        };
        let whole = |x: &Tensor| match lead(x.shape()) == both {
            true => x.clone(),
            false => x.broadcast_to([&both[..], &x.shape()[x.rank() - 2..]].concat().as_slice()),
        };
        let a = whole(self);
        let lu = Arc::new(Lu::of("solve", &a));
        custom(Solve { lu, transposed: false }, &[&a, &whole(b)])
    }

    /// The inverse of each matrix of [.., n, n]. To apply it to something, [`Tensor::solve`] is faster and more
    /// accurate.
    ///
    /// # Panics
    /// If the last two sizes differ, or a matrix is singular, as for [`Tensor::solve`].
    #[track_caller]
    #[doc(alias = "inv")]
    pub fn inverse(&self) -> Tensor {
        let n = square("inverse", self);
        let lu = Arc::new(Lu::of("inverse", self));
        let identity = Tensor::eye(n, self.dtype()).broadcast_to(self.shape());
        custom(Solve { lu, transposed: false }, &[self, &identity])
    }

    /// The reciprocal condition numbers 1 / (|A| |A^-1|) of matrices [.., n, n], of shape [..], in the 1-norm, the
    /// largest sum of absolute values in a column: from 0, singular, to 1. No gradient.
    ///
    /// A solution has about log10(1 / rcond) digits less than the dtype. For a matrix that is singular up to rounding,
    /// or not finite, rcond is below the dtype's unit roundoff, 6e-8 in f32 and 1.1e-16 in f64. 1 for n = 0.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let a = Tensor::from([[1f32, 2.0, 1.0], [-2.0, -3.0, 1.0], [3.0, 5.0, 0.0]]);
    /// assert!(a.rcond().item() < 6e-8); // the third row is the first less the second
    /// ```
    ///
    /// # Panics
    /// If the last two sizes differ.
    #[track_caller]
    pub fn rcond(&self) -> Tensor {
        let n = square("rcond", self);
        let shape = Shape::new(&self.shape()[..self.rank() - 2]);
        dispatch!(self.dtype(), T => Tensor::build::<T>(shape, |out| {
            out.fill(kernels::Element::from_f64(1.0));
            for (out, matrix) in out.iter_mut().zip(self.slice::<T>().chunks((n * n).max(1))) {
                *out = linalg::rcond(matrix, n);
            }
        }))
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let n = |dims: &[usize]| Input::normal(dims);
    // Matrices well away from singular ones.
    fn regular(x: &Tensor) -> Tensor {
        let n = x.shape()[x.rank() - 1];
        x + Tensor::eye(n, x.dtype()) * 4.0
    }
    let solve = |case: &str, a: &[usize], b: &[usize]| {
        Sample::new("solve", case, [n(a), n(b)], |x| regular(&x[0]).solve(&x[1]))
    };
    let one = |name: &str, case: &str, dims: &[usize], f: fn(&Tensor) -> Tensor| {
        Sample::new(name, case, [n(dims)], move |x| f(&x[0]))
    };
    vec![
        solve("", &[3, 3], &[3, 2]),
        solve("batch", &[2, 3, 3], &[2, 3, 1]),
        solve("one matrix for a batch", &[2, 2], &[3, 2, 1]),
        solve("one right-hand side for a batch", &[2, 2, 2], &[2, 1]),
        solve("1 x 1", &[1, 1], &[1, 1]),
        solve("0 x 0", &[0, 0], &[0, 2]),
        solve("no columns", &[2, 2], &[2, 0]),
        solve("no matrices", &[0, 2, 2], &[0, 2, 1]),
        one("solve", "with its own square", &[2, 2], |x| regular(x).solve(&(x * x))),
        one("inverse", "", &[3, 3], |x| regular(x).inverse()),
        one("inverse", "batch", &[2, 2, 2], |x| regular(x).inverse()),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{DType, Key, gradcheck};

    pub(in crate::ops) fn close(a: &Tensor, b: &Tensor) {
        assert_eq!(a.shape(), b.shape());
        let (a, b) = (a.to_vec::<f64>(), b.to_vec::<f64>());
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} {b:?}");
    }

    #[test]
    fn solutions_solve() {
        let x = Tensor::normal([2, 5, 5], DType::F64, Key::new(1));
        let b = Tensor::normal([2, 5, 3], DType::F64, Key::new(2));
        let eye = Tensor::eye(5, DType::F64);
        close(&x.matmul(&x.solve(&b)), &b);
        close(&x.matmul(&x.inverse()), &eye.broadcast_to([2, 5, 5]));
    }

    #[test]
    fn the_third_order_of_a_solution_is_right_too() {
        let a = Tensor::from([[3.0, 1.0], [-1.0, 2.0]]);
        gradcheck(|x| x[0].solve(&x[1]), &[a, Tensor::from([[0.5], [2.0]])], 3).assert();
    }

    #[test]
    fn singular_matrices_have_no_condition() {
        let singular = [[1.0, 2.0, 1.0], [-2.0, -3.0, 1.0], [3.0, 5.0, 0.0]];
        let zero_column = [[1.0, 0.0, 2.0], [3.0, 0.0, 4.0], [5.0, 0.0, 6.0]];
        let not_finite = [[1.0, 0.0, 0.0], [0.0, f64::NAN, 0.0], [0.0, 0.0, 1.0]];
        // |A| = 4, and |A^-1| = 1.
        let regular = [[1.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 2.0]];
        let all = Tensor::from([singular, zero_column, not_finite, regular]);
        for (dtype, unit) in [(DType::F32, 6e-8), (DType::F64, 1.2e-16)] {
            let found = all.to_dtype(dtype).rcond().to_vec::<f64>();
            assert!(found[0] < unit && found[1..] == [0.0, 0.0, 0.25], "{found:?}");
        }
        assert_eq!(Tensor::zeros([0, 0], DType::F32).rcond().item(), 1.0);
    }

    #[test]
    #[should_panic(
        expected = "solve: matrix 1 of [2, 2, 2] is singular (or not finite): column 1 has no pivot but 0"
    )]
    fn a_singular_matrix_is_named() {
        let a = Tensor::from([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [2.0, 4.0]]]);
        let _ = a.solve(&Tensor::from([[1.0], [1.0]]));
    }

    #[test]
    #[should_panic(expected = "inverse: shape [2, 3] must end in two equal sizes, [.., n, n]")]
    fn an_inverse_needs_a_square() {
        let _ = Tensor::zeros([2, 3], DType::F64).inverse();
    }

    #[test]
    #[should_panic(
        expected = "solve: matrix [2, 2] has 2 rows, so the right-hand side [3, 1] must be [.., 2, m]"
    )]
    fn a_right_hand_side_fits() {
        let _ = Tensor::eye(2, DType::F64).solve(&Tensor::zeros([3, 1], DType::F64));
    }
}
