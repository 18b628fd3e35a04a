//! Matrix products with broadcasting batches, and Gram matrices.

use autograd::{Scalar, Tensor, Transpose, matmul_with};
use proptest::prelude::*;

use crate::common::*;

/// op(a) is [.., m, k], op(b) is [.., k, n].
#[derive(Clone, Debug)]
struct Matmul {
    a_lead: Vec<usize>,
    b_lead: Vec<usize>,
    m: usize,
    n: usize,
    k: usize,
    a_transposed: bool,
    b_transposed: bool,
    seed: u64,
}

fn matmuls() -> impl Strategy<Value = Matmul> {
    // Along each leading axis both operands have its length, or one of them has 1.
    let lead = prop::collection::vec((1..4usize, 0..3usize), 0..3);
    let missing = (0..3usize, any::<bool>());
    (lead, missing, [0..9usize, 0..9, 0..9], any::<(bool, bool)>(), 0..1000u64).prop_map(
        |(lead, (missing, of_a), [m, n, k], (a_transposed, b_transposed), seed)| {
            let side = |side: usize| lead.iter().map(|&(n, one)| if one == side { 1 } else { n }).collect();
            let (mut a_lead, mut b_lead): (Vec<usize>, Vec<usize>) = (side(1), side(2));
            let shorter = if of_a { &mut a_lead } else { &mut b_lead };
            shorter.drain(..missing.min(lead.len()));
            Matmul { a_lead, b_lead, m, n, k, a_transposed, b_transposed, seed }
        },
    )
}

/// The flat index, in a shape with axes of length 1 or without its first ones, of a place of the broader shape.
pub fn narrowed(place: &[usize], dims: &[usize]) -> usize {
    let place = &place[place.len() - dims.len()..];
    ravel(&place.iter().zip(dims).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect::<Vec<_>>(), dims)
}

/// The shape that two shapes broadcast to.
pub fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let dim =
        |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis]);
    (0..rank).map(|axis| if dim(a, axis) == 1 { dim(b, axis) } else { dim(a, axis) }).collect()
}

fn matmul_property<T: Scalar>(case: &Matmul) -> TestResult {
    let &Matmul { m, n, k, seed, .. } = case;
    let shape = |lead: &[usize], rows, cols, transposed| {
        [lead, &if transposed { [cols, rows] } else { [rows, cols] }].concat()
    };
    let a_dims = shape(&case.a_lead, m, k, case.a_transposed);
    let b_dims = shape(&case.b_lead, k, n, case.b_transposed);
    let lead = broadcast(&case.a_lead, &case.b_lead);
    let y_dims = [&lead[..], &[m, n]].concat();
    let [a, b, g] = [(&a_dims, 0), (&b_dims, 1), (&y_dims, 2)]
        .map(|(dims, i)| noise::<T>(dims.iter().product(), seed + i, 1.0));
    let [fa, fb, fg] = [&a, &b, &g].map(|v| to_f64(v));
    let [mut y, mut da, mut db] = [&g, &a, &b].map(|v| vec![Terms::default(); v.len()]);
    let mut counts = vec![0; a.len() + b.len()];
    for at in 0..y.len() * k {
        let place = unravel(at, &[&y_dims[..], &[k]].concat());
        let (lead, [i, j, p]) = (&place[..lead.len()], [0, 1, 2].map(|r| place[lead.len() + r]));
        let matrix = |dims: &[usize], row, col, transposed| {
            let (row, col) = if transposed { (col, row) } else { (row, col) };
            let rank = dims.len();
            (narrowed(lead, &dims[..rank - 2]) * dims[rank - 2] + row) * dims[rank - 1] + col
        };
        let ia = matrix(&a_dims, i, p, case.a_transposed);
        let ib = matrix(&b_dims, p, j, case.b_transposed);
        y[at / k].add(fa[ia] * fb[ib]);
        da[ia].add(fg[at / k] * fb[ib]);
        db[ib].add(fg[at / k] * fa[ia]);
        counts[ia] += 1;
        counts[a.len() + ib] += 1;
    }
    let most = counts.into_iter().max().unwrap_or(0);
    let transpose = |t| if t { Transpose::Yes } else { Transpose::No };
    let (a, b) = (Tensor::new(&a, &a_dims[..]).requires_grad(), Tensor::new(&b, &b_dims[..]).requires_grad());
    let product = matmul_with(&a, transpose(case.a_transposed), &b, transpose(case.b_transposed));
    prop_assert_eq!(&product.shape()[..], &y_dims[..], "shape of the product");
    check_sums("matmul", product.data::<T>(), &y, k)?;
    let grads = product.vjp(&Tensor::new(&g, &y_dims[..]), &[&a, &b]);
    check_sums("matmul vjp, left", grads[0].data::<T>(), &da, most)?;
    check_sums("matmul vjp, right", grads[1].data::<T>(), &db, most)
}

proptest! {
    #![proptest_config(config(800))]

    #[test]
    fn matmul_is_a_sum_of_products_over_broadcast_batches(case in matmuls()) {
        matmul_property::<f32>(&case)?;
        matmul_property::<f64>(&case)?;
    }
}
