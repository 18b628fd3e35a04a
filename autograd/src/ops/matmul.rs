//! Matrix products: the trilinear form sum over i, j, k of a_ik b_kj c_ij, batched.

use crate::dtype::dispatch;
use crate::kinds::elementwise::same_dtype;
use crate::kinds::trilinear::{Slot, Trilinear, contract};
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// T(a, b, c) = sum a_ik b_kj c_ij over a batch of matrices. Operand a may be stored as k x m, b as n x k; an operand
/// without a batch is used for every matrix of the batch, and its slot sums over the batch.
#[derive(Clone, Copy, Debug)]
struct MatMul {
    m: usize,
    n: usize,
    k: usize,
    batch: usize,
    a_transposed: bool,
    b_transposed: bool,
    a: Shape,
    b: Shape,
    c: Shape,
}

impl Trilinear for MatMul {
    fn name(&self, _: Slot) -> &'static str {
        "matmul"
    }

    fn contract(&self, open: Slot, p: &Tensor, q: &Tensor) -> Tensor {
        let &MatMul { m, n, k, batch, a_transposed, b_transposed, .. } = self;
        // Which product gives the open slot, as it is stored: rows, columns, inner size, and the operands.
        let (rows, cols, inner, left, left_t, right, right_t, shape) = match open {
            Slot::C => (m, n, k, p, a_transposed, q, b_transposed, self.c),
            // a = c b', stored transposed: a' = b c'
            Slot::A if a_transposed => (k, m, n, p, b_transposed, q, true, self.a),
            Slot::A => (m, k, n, q, false, p, !b_transposed, self.a),
            // b = a' c, stored transposed: b' = c' a
            Slot::B if b_transposed => (n, k, m, q, true, p, a_transposed, self.b),
            Slot::B => (k, n, m, p, !a_transposed, q, false, self.b),
        };
        dispatch!(p.dtype(), T => Tensor::build::<T>(shape, |out| {
            let (one, zero) = (<T as kernels::Element>::ONE, <T as kernels::Element>::ZERO);
            let (left, right) = (left.slice::<T>(), right.slice::<T>());
            if out.len() == batch * rows * cols {
                kernels::gemm::batched(batch, rows, cols, inner, one, left, left_t, right, right_t, zero, out);
            } else if batch == 0 || rows * inner == 0 || inner * cols == 0 {
                out.fill(zero);
            } else {
                // A slot without a batch: the products of the batch are added in order.
                let members = left.chunks(rows * inner).zip(right.chunks(inner * cols));
                for (i, (left, right)) in members.enumerate() {
                    let keep = if i == 0 { zero } else { one };
                    kernels::gemm::gemm(rows, cols, inner, one, left, left_t, right, right_t, keep, out);
                }
            }
        }))
    }

    fn flops(&self) -> u64 {
        2 * (self.batch * self.m * self.n * self.k) as u64
    }
}

/// Whether an operand of [`matmul_with`] is used transposed (its last two axes exchanged).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transpose {
    /// As it is.
    No,
    /// Transposed.
    Yes,
}

impl Tensor {
    /// The matrix product: shapes [.., m, k] and [.., k, n] give [.., m, n]; the leading axes broadcast.
    ///
    /// # Panics
    /// If an operand has fewer than two axes, the inner sizes differ, or the leading axes do not broadcast.
    #[track_caller]
    #[doc(alias("mm", "bmm", "dot"))]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        matmul_with(self, Transpose::No, other, Transpose::No)
    }

    /// self other', without forming the transpose: shapes [.., m, k] and [.., n, k] give [.., m, n].
    ///
    /// # Panics
    /// As [`Tensor::matmul`].
    #[track_caller]
    pub fn matmul_nt(&self, other: &Tensor) -> Tensor {
        matmul_with(self, Transpose::No, other, Transpose::Yes)
    }

    /// self' other, without forming the transpose: shapes [.., k, m] and [.., k, n] give [.., m, n].
    ///
    /// # Panics
    /// As [`Tensor::matmul`].
    #[track_caller]
    pub fn matmul_tn(&self, other: &Tensor) -> Tensor {
        matmul_with(self, Transpose::Yes, other, Transpose::No)
    }
}

/// The matrix product of a and b, each transposed or not.
///
/// # Panics
/// If an operand has fewer than two axes, the inner sizes differ, or the leading axes do not broadcast.
#[track_caller]
pub fn matmul_with(a: &Tensor, a_transpose: Transpose, b: &Tensor, b_transpose: Transpose) -> Tensor {
    same_dtype("matmul", a, b);
    let (sa, sb) = (*a.shape(), *b.shape());
    assert!(
        sa.rank() >= 2 && sb.rank() >= 2,
        "matmul: left {sa} and right {sb} need two axes each; reshape a vector to a row or a column"
    );
    let (a_transposed, b_transposed) = (a_transpose == Transpose::Yes, b_transpose == Transpose::Yes);
    let [r, c] = [sa[sa.rank() - 2], sa[sa.rank() - 1]];
    let (m, k) = if a_transposed { (c, r) } else { (r, c) };
    let [r, c] = [sb[sb.rank() - 2], sb[sb.rank() - 1]];
    let (inner, n) = if b_transposed { (c, r) } else { (r, c) };
    assert!(
        k == inner,
        "matmul: left {sa}{} has {k} columns but right {sb}{} has {inner} rows",
        if a_transposed { " transposed" } else { "" },
        if b_transposed { " transposed" } else { "" },
    );
    let (lead_a, lead_b) = (Shape::new(&sa[..sa.rank() - 2]), Shape::new(&sb[..sb.rank() - 2]));
    let lead = match lead_a.broadcast(&lead_b) {
        Ok(lead) => lead,
        Err(e) => panic!("matmul: the leading axes of {sa} and {sb}: {e}"),
    };
    // Operands with the whole batch or none of it are used in place; others are repeated to the batch.
    let whole = |x: &Tensor, own: &Shape| -> Tensor {
        if own.numel() == 1 || *own == lead {
            return x.clone();
        }
        let dims: Vec<usize> = lead.iter().chain(&x.shape()[x.rank() - 2..]).copied().collect();
        x.broadcast_to(dims.as_slice())
    };
    let (a, b) = (whole(a, &lead_a), whole(b, &lead_b));
    let dims: Vec<usize> = lead.iter().copied().chain([m, n]).collect();
    let form = MatMul {
        m,
        n,
        k,
        batch: lead.numel(),
        a_transposed,
        b_transposed,
        a: *a.shape(),
        b: *b.shape(),
        c: Shape::new(&dims),
    };
    contract(form, Slot::C, &a, &b)
}

pub(crate) fn samples() -> Vec<Sample> {
    let n = |dims: &[usize]| Input::normal(dims);
    let with = |at: Transpose, bt: Transpose| move |x: &[Tensor]| matmul_with(&x[0], at, &x[1], bt);
    use Transpose::{No, Yes};
    vec![
        Sample::new("matmul", "", [n(&[3, 4]), n(&[4, 2])], with(No, No)),
        Sample::new("matmul", "left transposed", [n(&[4, 3]), n(&[4, 2])], with(Yes, No)),
        Sample::new("matmul", "right transposed", [n(&[3, 4]), n(&[2, 4])], with(No, Yes)),
        Sample::new("matmul", "both transposed", [n(&[4, 3]), n(&[2, 4])], with(Yes, Yes)),
        Sample::new("matmul", "batched", [n(&[2, 3, 4]), n(&[2, 4, 2])], with(No, No)),
        Sample::new("matmul", "batched, transposed", [n(&[2, 4, 3]), n(&[2, 2, 4])], with(Yes, Yes)),
        Sample::new("matmul", "left shared by the batch", [n(&[3, 4]), n(&[2, 4, 2])], with(No, No)),
        Sample::new("matmul", "right shared, transposed", [n(&[2, 3, 4]), n(&[2, 4])], with(No, Yes)),
        Sample::new("matmul", "left shared, transposed", [n(&[4, 3]), n(&[2, 4, 2])], with(Yes, No)),
        Sample::new("matmul", "batches broadcast", [n(&[2, 1, 2, 3]), n(&[3, 3, 2])], with(No, No)),
        Sample::new("matmul", "with itself", [n(&[3, 3])], |x| x[0].matmul(&x[0])),
        Sample::new("matmul", "inner size 0", [n(&[3, 0]), n(&[0, 2])], with(No, No)),
        Sample::new("matmul", "1 x 1", [n(&[1, 1]), n(&[1, 1])], with(No, No)),
        Sample::new("matmul", "batch of 0", [n(&[0, 3, 2]), n(&[2, 2])], with(No, No)),
        Sample::new("matmul", "left shared, no columns", [n(&[3, 2]), n(&[2, 2, 0])], with(No, No)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_sum_it_stands_for() {
        let a = Tensor::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let b = Tensor::from([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]]);
        assert_eq!(a.matmul(&b).to_vec::<f64>(), [7.0, -1.0, 16.0, -1.0]);
        assert_eq!(a.matmul_nt(&a).to_vec::<f64>(), [14.0, 32.0, 32.0, 77.0]);
        assert_eq!(a.matmul_tn(&a).at(&[0, 2]), 27.0);
    }

    #[test]
    #[should_panic(expected = "matmul: left [64, 128] has 128 columns but right [100, 10] has 100 rows")]
    fn inner_sizes_must_agree() {
        let _ =
            Tensor::zeros([64, 128], crate::DType::F32).matmul(&Tensor::zeros([100, 10], crate::DType::F32));
    }
}
