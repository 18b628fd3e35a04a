//! Property tests of tensors: values and vector-Jacobian products against plain loops in f64, over random shapes, axes
//! and options; and what must hold for any composition of operations.
//!
//! A case is a few small integers, and the data follow from its seed: see the properties of the kernels, whose data
//! and tolerances these use.

mod accuracy;
#[allow(dead_code)] // the properties of the kernels use the rest
#[path = "../../kernels/tests/properties/common.rs"]
mod common;
mod convolutions;
mod elementwise;
mod linear;
mod products;
mod programs;
mod reductions;
mod threads;

use autograd::{Scalar, Tensor};
use common::{Terms, TestResult, check_sums};

/// A linear map by definition: for each element of the result, the elements of the input and their factors.
type Rows = Vec<Vec<(usize, f64)>>;

/// Checks y = A x, and the vector-Jacobian product A' g, element by element. It implies <A x, g> = <x, A' g>.
///
/// `roundings` is what a factor has more than the product and the sum with it.
fn check_linear<T: Scalar>(
    op: &str,
    f: impl Fn(&Tensor) -> Tensor,
    x: &Tensor,
    g: &[T],
    rows: &Rows,
    roundings: usize,
) -> TestResult {
    let (values, x) = (x.to_vec::<T>(), x.requires_grad());
    let mut forward = vec![];
    let (mut adjoint, mut counts) = (vec![Terms::default(); values.len()], vec![0; values.len()]);
    for (row, g) in rows.iter().zip(g) {
        forward.push(row.iter().map(|&(i, factor)| factor * values[i].to_f64()).collect());
        for &(i, factor) in row {
            adjoint[i].add(factor * g.to_f64());
            counts[i] += 1;
        }
    }
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let most = counts.into_iter().max().unwrap_or(0);
    let y = f(&x);
    check_sums(op, y.data::<T>(), &forward, longest + roundings)?;
    let dx = y.vjp(&Tensor::new(g, *y.shape()), &[&x]).remove(0);
    check_sums(&format!("{op} vjp"), dx.data::<T>(), &adjoint, most + roundings)
}
