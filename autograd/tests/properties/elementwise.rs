//! Elementwise operations of two tensors with broadcasting.

use autograd::{Scalar, Tensor};
use proptest::prelude::*;

use crate::common::*;
use crate::products::{broadcast, narrowed};

#[derive(Clone, Copy, Debug)]
enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Maximum,
    Minimum,
    Atan2,
}
use Op::*;

impl Op {
    fn apply(self, a: &Tensor, b: &Tensor) -> Tensor {
        match self {
            Add => a + b,
            Sub => a - b,
            Mul => a * b,
            Div => a / b,
            Maximum => a.maximum(b),
            Minimum => a.minimum(b),
            Atan2 => a.atan2(b),
        }
    }

    /// The value, and the derivatives with respect to both.
    fn definition(self, a: f64, b: f64) -> [f64; 3] {
        let square = a * a + b * b;
        let choose = |first: bool| [f64::from(first), f64::from(!first)];
        match self {
            Add => [a + b, 1.0, 1.0],
            Sub => [a - b, 1.0, -1.0],
            Mul => [a * b, b, a],
            Div => [a / b, 1.0 / b, -a / (b * b)],
            Maximum => [a.max(b), choose(a > b)[0], choose(a > b)[1]],
            Minimum => [a.min(b), choose(a < b)[0], choose(a < b)[1]],
            Atan2 => [a.atan2(b), b / square, -a / square],
        }
    }
}

#[derive(Clone, Debug)]
struct Case {
    op: Op,
    a_dims: Vec<usize>,
    b_dims: Vec<usize>,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let op = prop::sample::select(vec![Add, Sub, Mul, Div, Maximum, Minimum, Atan2]);
    let length = prop_oneof![8 => 0..6usize, 1 => 0..50usize];
    // Along each axis both have its length, or one of them has 1.
    let axes = prop::collection::vec((length, 0..3usize), 0..5);
    (op, axes, 0..4usize, any::<bool>(), 0..1000u64)
        .prop_map(|(op, axes, missing, of_a, seed)| {
            let side = |side: usize| axes.iter().map(|&(n, one)| if one == side { 1 } else { n }).collect();
            let (mut a_dims, mut b_dims): (Vec<usize>, Vec<usize>) = (side(1), side(2));
            let shorter = if of_a { &mut a_dims } else { &mut b_dims };
            shorter.drain(..missing.min(axes.len()));
            Case { op, a_dims, b_dims, seed }
        })
        .prop_filter("small", |c| broadcast(&c.a_dims, &c.b_dims).iter().product::<usize>() < 10_000)
}

fn property<T: Scalar>(case: &Case) -> TestResult {
    let &Case { op, ref a_dims, ref b_dims, seed } = case;
    let dims = broadcast(a_dims, b_dims);
    let [a, b, g] = [(a_dims, 0), (b_dims, 1), (&dims, 2)]
        .map(|(dims, i)| noise::<T>(dims.iter().product(), seed + i, 1.0));
    let [fa, fb, fg] = [&a, &b, &g].map(|v| to_f64(v));
    let [mut y, mut da, mut db] = [&g, &a, &b].map(|v| vec![Terms::default(); v.len()]);
    for at in 0..y.len() {
        let place = unravel(at, &dims);
        let (i, j) = (narrowed(&place, a_dims), narrowed(&place, b_dims));
        let [value, by_a, by_b] = op.definition(fa[i], fb[j]);
        y[at].add(value);
        da[i].add(fg[at] * by_a);
        db[j].add(fg[at] * by_b);
    }
    let most = y.len().div_ceil(a.len().min(b.len()).max(1));
    let (a, b) = (Tensor::new(&a, &a_dims[..]).requires_grad(), Tensor::new(&b, &b_dims[..]).requires_grad());
    let found = op.apply(&a, &b);
    prop_assert_eq!(&found.shape()[..], &dims[..], "shape of the result");
    // One rounding. C libraries state 1 ulp between their arc tangent and the rounded one: 1.5 ulp, at most 3 roundings.
    check_sums(&format!("{op:?}"), found.data::<T>(), &y, if matches!(op, Atan2) { 3 } else { 1 })?;
    let grads = found.vjp(&Tensor::new(&g, &dims[..]), &[&a, &b]);
    // At most 7 roundings make a term, the sum of two squares among them.
    check_sums(&format!("{op:?} vjp, left"), grads[0].data::<T>(), &da, most + 7)?;
    check_sums(&format!("{op:?} vjp, right"), grads[1].data::<T>(), &db, most + 7)
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn elementwise_operations_broadcast(case in cases()) {
        property::<f32>(&case)?;
        property::<f64>(&case)?;
    }
}
