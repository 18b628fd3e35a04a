//! Matrix products against sums of products.

use kernels::Element;
use kernels::gemm::{batched, gemm};
use kernels::gram::gram;
use proptest::prelude::*;

use crate::common::*;

/// op(a) is m x k, op(b) is k x n; the elements of a are about 10^a_magnitude.
#[derive(Clone, Debug)]
struct Gemm {
    m: usize,
    n: usize,
    k: usize,
    alpha: f64,
    a_transposed: bool,
    b_transposed: bool,
    beta: f64,
    a_magnitude: i32,
    b_magnitude: i32,
    seed: u64,
}

/// Lengths that fill tiles of registers or not.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![0..6usize, 0..70usize]
}

/// Lengths of sums, of one panel of 256 or more.
fn depth() -> impl Strategy<Value = usize> {
    prop_oneof![4 => length(), 1 => 0..520usize]
}

fn gemms() -> impl Strategy<Value = Gemm> {
    let scales =
        (prop::sample::select(vec![1.0, -0.5, 0.0, 3.0]), prop::sample::select(vec![0.0, 1.0, -1.5]));
    let magnitudes =
        (-30..31i32, -30..31i32).prop_filter("f32 holds the products", |(a, b)| (a + b).abs() <= 30);
    (length(), length(), depth(), scales, any::<(bool, bool)>(), magnitudes, 0..1000u64).prop_map(
        |(m, n, k, (alpha, beta), (a_transposed, b_transposed), (a_magnitude, b_magnitude), seed)| Gemm {
            m,
            n,
            k,
            alpha,
            a_transposed,
            b_transposed,
            beta,
            a_magnitude,
            b_magnitude,
            seed,
        },
    )
}

/// alpha op(a) op(b) + beta c, without the last term if beta is 0.
fn definition(case: &Gemm, a: &[f64], b: &[f64], c: &[f64]) -> Vec<Terms> {
    let &Gemm { m, n, k, alpha, beta, .. } = case;
    let element = |e: usize| {
        let (i, j) = (e / n, e % n);
        let a = |p: usize| a[if case.a_transposed { p * m + i } else { i * k + p }];
        let b = |p: usize| b[if case.b_transposed { j * k + p } else { p * n + j }];
        let products = (0..k).map(|p| alpha * a(p) * b(p));
        products.chain((beta != 0.0).then(|| beta * c[e])).collect()
    };
    (0..m * n).map(element).collect()
}

fn gemm_property<T: Element>(case: &Gemm) -> TestResult {
    let &Gemm { m, n, k, alpha, beta, seed, .. } = case;
    let [scale_a, scale_b] = [case.a_magnitude, case.b_magnitude].map(|e| 10f64.powi(e));
    let a = noise::<T>(m * k, seed, scale_a);
    let b = noise::<T>(k * n, seed + 1, scale_b);
    let mut c = noise::<T>(m * n, seed + 2, scale_a * scale_b);
    if beta == 0.0 {
        c.fill(T::NAN);
    }
    let terms = definition(case, &to_f64(&a), &to_f64(&b), &to_f64(&c));
    at_every_level(|| {
        let (mut out, [alpha, beta]) = (c.clone(), [alpha, beta].map(T::from_f64));
        gemm(m, n, k, alpha, &a, case.a_transposed, &b, case.b_transposed, beta, &mut out);
        // k products and their sum; the products with alpha and beta, and the sum of both.
        check_sums("gemm", &out, &terms, k + 3)
    })
}

/// `batch` products; an operand of which there is one is used for all.
#[derive(Clone, Debug)]
struct Batched {
    batch: usize,
    one_a: bool,
    one_b: bool,
    product: Gemm,
}

fn batched_property<T: Element>(case: &Batched) -> TestResult {
    let Batched { batch, product, .. } = case;
    let &Gemm { m, n, k, alpha, beta, seed, .. } = product;
    let a = noise::<T>(m * k * if case.one_a { 1 } else { *batch }, seed, 1.0);
    let b = noise::<T>(k * n * if case.one_b { 1 } else { *batch }, seed + 1, 1.0);
    let mut c = noise::<T>(batch * m * n, seed + 2, 1.0);
    if beta == 0.0 {
        c.fill(T::NAN);
    }
    let [fa, fb, fc] = [&a, &b, &c].map(|v| to_f64(v));
    let mut terms = vec![];
    for i in 0..*batch {
        let a = &fa[if case.one_a { 0 } else { i * m * k }..][..m * k];
        let b = &fb[if case.one_b { 0 } else { i * k * n }..][..k * n];
        terms.extend(definition(product, a, b, &fc[i * m * n..][..m * n]));
    }
    at_every_level(|| {
        let (mut out, [alpha, beta]) = (c.clone(), [alpha, beta].map(T::from_f64));
        let transposed = [product.a_transposed, product.b_transposed];
        batched(*batch, m, n, k, alpha, &a, transposed[0], &b, transposed[1], beta, &mut out);
        check_sums("batched", &out, &terms, k + 3)
    })
}

/// The Gram matrix of n rows of length k.
#[derive(Clone, Debug)]
struct Gram {
    n: usize,
    k: usize,
    seed: u64,
}

fn gram_property<T: Element>(&Gram { n, k, seed }: &Gram) -> TestResult {
    let a = noise::<T>(n * k, seed, 1.0);
    let f = to_f64(&a);
    let element = |e: usize| (0..k).map(|p| f[e / n * k + p] * f[e % n * k + p]).collect();
    let terms: Vec<Terms> = (0..n * n).map(element).collect();
    at_every_level(|| {
        let mut out = vec![T::NAN; n * n];
        gram(n, k, &a, &mut out);
        check_sums("gram", &out, &terms, k)?;
        let transpose: Vec<T> = (0..n * n).map(|e| out[e % n * n + e / n]).collect();
        check_exact("gram, compared with its transpose", &out, &transpose)
    })
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn gemm_is_a_sum_of_products(case in gemms()) {
        gemm_property::<f32>(&case)?;
        gemm_property::<f64>(&case)?;
    }

    #[test]
    fn batched_products_are_single_products(
        case in (0..6usize, any::<(bool, bool)>(), gemms())
            .prop_map(|(batch, (one_a, one_b), product)| Batched { batch, one_a, one_b, product })
            .prop_filter("small", |c| c.product.m * c.product.n * c.product.k < 40_000)
    ) {
        batched_property::<f32>(&case)?;
        batched_property::<f64>(&case)?;
    }

    #[test]
    fn gram_is_a_product_with_the_transpose(
        case in (length(), depth(), 0..1000u64).prop_map(|(n, k, seed)| Gram { n, k, seed })
    ) {
        gram_property::<f32>(&case)?;
        gram_property::<f64>(&case)?;
    }
}
