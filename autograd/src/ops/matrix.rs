//! Triangles and diagonals of matrices: of the last two axes.

use crate::dtype::dispatch;
use crate::kinds::linear::{Linear, linear};
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// One side of diagonal `k`, the diagonal included; zeros elsewhere. Its own adjoint.
#[derive(Clone, Copy, Debug)]
struct Triangle<const UPPER: bool> {
    k: isize,
}

impl<const UPPER: bool> Linear for Triangle<UPPER> {
    type Adjoint = Self;
    const NAME: &'static str = if UPPER { "triu" } else { "tril" };
    fn apply(&self, x: &Tensor) -> Tensor {
        let [.., rows, cols] = **x.shape() else { unreachable!("checked at entry") };
        dispatch!(x.dtype(), T => Tensor::build::<T>(*x.shape(), |out| match UPPER {
            true => kernels::layout::triu(x.slice::<T>(), rows, cols, self.k, out),
            false => kernels::layout::tril(x.slice::<T>(), rows, cols, self.k, out),
        }))
    }
    fn adjoint(&self) -> Self {
        *self
    }
}

/// Diagonal `k` of matrices of shape `matrix`.
#[derive(Clone, Copy, Debug)]
struct Diagonal {
    matrix: Shape,
    vector: Shape,
    k: isize,
}
/// Matrices that are zero but for diagonal `k`.
#[derive(Clone, Copy, Debug)]
struct DiagEmbed(Diagonal);

impl Diagonal {
    fn sizes(&self) -> (usize, usize) {
        (self.matrix[self.matrix.rank() - 2], self.matrix[self.matrix.rank() - 1])
    }
}

impl Linear for Diagonal {
    type Adjoint = DiagEmbed;
    const NAME: &'static str = "diagonal";
    fn apply(&self, x: &Tensor) -> Tensor {
        let (rows, cols) = self.sizes();
        dispatch!(x.dtype(), T => Tensor::build::<T>(self.vector, |out| {
            kernels::layout::diagonal(x.slice::<T>(), rows, cols, self.k, out);
        }))
    }
    fn adjoint(&self) -> DiagEmbed {
        DiagEmbed(*self)
    }
}

impl Linear for DiagEmbed {
    type Adjoint = Diagonal;
    const NAME: &'static str = "diag_embed";
    fn apply(&self, x: &Tensor) -> Tensor {
        let (rows, cols) = self.0.sizes();
        dispatch!(x.dtype(), T => Tensor::build::<T>(self.0.matrix, |out| {
            kernels::layout::diagonal_embed(x.slice::<T>(), rows, cols, self.0.k, out);
        }))
    }
    fn adjoint(&self) -> Diagonal {
        self.0
    }
}

#[track_caller]
fn rows_and_cols(name: &str, x: &Tensor) -> (usize, usize) {
    match **x.shape() {
        [.., rows, cols] => (rows, cols),
        _ => panic!("{name}: shape {} holds no matrices; two axes are needed", x.shape()),
    }
}

/// # Triangles and diagonals
impl Tensor {
    /// The lower triangle of each matrix [.., rows, cols]: elements with column - row <= `k`, zeros elsewhere.
    /// k = 0 keeps the diagonal, k = -1 what is strictly below.
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn tril(&self, k: isize) -> Tensor {
        rows_and_cols("tril", self);
        linear(Triangle::<false> { k }, self)
    }

    /// The upper triangle of each matrix [.., rows, cols]: elements with column - row >= `k`, zeros elsewhere.
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn triu(&self, k: isize) -> Tensor {
        rows_and_cols("triu", self);
        linear(Triangle::<true> { k }, self)
    }

    /// The elements with column - row = `k` of each matrix: [.., rows, cols] gives [.., length of the diagonal].
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn diagonal(&self, k: isize) -> Tensor {
        let (rows, cols) = rows_and_cols("diagonal", self);
        let last = self.rank() - 2;
        let vector =
            Shape::new(&self.shape()[..=last]).with(last, kernels::layout::diagonal_len(rows, cols, k));
        linear(Diagonal { matrix: *self.shape(), vector, k }, self)
    }

    /// Square matrices with the given diagonal `k` and zeros elsewhere: [.., n] gives [.., n + |k|, n + |k|].
    ///
    /// # Panics
    /// If there is no axis, or the result is larger than the address space.
    #[track_caller]
    pub fn diag_embed(&self, k: isize) -> Tensor {
        assert!(self.rank() > 0, "diag_embed: a scalar is no diagonal; one axis is needed");
        let last = self.rank() - 1;
        let n = self.shape()[last].saturating_add(k.unsigned_abs());
        let matrix = self.shape().with(last, n).insert(last, n);
        linear(DiagEmbed(Diagonal { matrix, vector: *self.shape(), k }), self)
    }

    /// The sum of each matrix's diagonal: [.., rows, cols] gives [..].
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn trace(&self) -> Tensor {
        rows_and_cols("trace", self);
        self.diagonal(0).sum(-1)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = || Input::normal([2, 3, 4]);
    let mut list = vec![
        Sample::new("trace", "", [x()], |x| x[0].trace()),
        Sample::new("tril", "no rows", [Input::normal([0, 3])], |x| x[0].tril(0)),
        Sample::new("diagonal", "no rows", [Input::normal([0, 3])], |x| x[0].diagonal(0)),
        Sample::new("diag_embed", "of nothing", [Input::normal([0])], |x| x[0].diag_embed(2)),
        Sample::new("diagonal", "of a product", [Input::normal([3, 3])], |x| x[0].matmul(&x[0]).diagonal(0)),
    ];
    for k in [0, 1, -2, 7] {
        let case = format!("k = {k}");
        list.push(Sample::new("tril", &*case, [x()], move |x| x[0].tril(k)));
        list.push(Sample::new("triu", &*case, [x()], move |x| x[0].triu(k)));
        list.push(Sample::new("diagonal", &*case, [x()], move |x| x[0].diagonal(k)));
    }
    for k in [0, 2, -1] {
        list.push(Sample::new("diag_embed", format!("k = {k}"), [Input::normal([2, 3])], move |x| {
            x[0].diag_embed(k)
        }));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn triangles_and_diagonals_hold_the_right_elements() {
        let x = Tensor::arange(6, DType::F64).reshape([2, 3]);
        assert_eq!(x.tril(0).to_vec::<f64>(), [0.0, 0.0, 0.0, 3.0, 4.0, 0.0]);
        assert_eq!(x.triu(1).to_vec::<f64>(), [0.0, 1.0, 2.0, 0.0, 0.0, 5.0]);
        assert_eq!(x.diagonal(1).to_vec::<f64>(), [1.0, 5.0]);
        assert_eq!(x.diagonal(-5).numel(), 0);
        assert_eq!(x.trace().item(), 4.0);
        let d = Tensor::from([1.0, 2.0]).diag_embed(-1);
        assert_eq!(d.to_vec::<f64>(), [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
        assert_eq!(d.diagonal(-1).to_vec::<f64>(), [1.0, 2.0]);
    }

    #[test]
    fn diagonals_beyond_every_matrix_are_empty() {
        let x = Tensor::arange(6, DType::F64).reshape([2, 3]);
        let zeros = &x * 0.0;
        for far in [isize::MAX, isize::MAX - 1, 3] {
            let same = |a: Tensor, b: &Tensor| assert_eq!(a.to_vec::<f64>(), b.to_vec::<f64>(), "{far}");
            same(x.tril(far), &x);
            same(x.triu(far), &zeros);
            for far in [-far, -far - 1] {
                same(x.tril(far), &zeros);
                same(x.triu(far), &x);
                assert_eq!(x.diagonal(far).numel(), 0);
            }
            assert_eq!(x.diagonal(far).numel(), 0);
        }
    }

    #[test]
    #[should_panic(expected = "is larger than the address space")]
    fn a_diagonal_beyond_every_shape_is_refused() {
        let _ = Tensor::from([1.0]).diag_embed(isize::MIN);
    }

    #[test]
    #[should_panic(expected = "tril: shape [3] holds no matrices; two axes are needed")]
    fn a_triangle_needs_a_matrix() {
        let _ = Tensor::zeros([3], DType::F32).tril(0);
    }

    #[test]
    #[should_panic(expected = "diag_embed: a scalar is no diagonal; one axis is needed")]
    fn a_diagonal_needs_an_axis() {
        let _ = Tensor::scalar(1.0, DType::F32).diag_embed(0);
    }
}
