//! Pooling against PyTorch: overlapping windows, padding, ties, adaptive windows.

use autograd::Tensor;
use tests::{Fixtures, formula, parameter};

const TOLERANCE: f64 = 1e-12;

/// floor(2 f): four values, so that windows have ties.
fn quantised(name: &str) -> Tensor {
    let f = formula(name, [2, 3, 7, 10]);
    Tensor::new(&f.to_vec::<f64>().iter().map(|v| (2.0 * v).floor()).collect::<Vec<_>>(), f.shape())
}

#[test]
fn max_pool2d() {
    let f = Fixtures::read("pool");
    for case in f.cases("max/").keys() {
        let [k, s, p] = ['k', 's', 'p'].map(|letter| parameter(case, letter));
        let name = format!("{case}/x");
        let x = if case.ends_with("_ties") { quantised(&name) } else { f.input(&name, [2, 3, 7, 10]) };
        f.check(case, &[("x", x)], &[], TOLERANCE, |x| x[0].max_pool2d(k, s, p));
    }
}

#[test]
fn avg_pool2d() {
    let f = Fixtures::read("pool");
    for case in f.cases("avg/").keys() {
        let [k, s, p] = ['k', 's', 'p'].map(|letter| parameter(case, letter));
        let x = f.input(&format!("{case}/x"), [2, 3, 7, 10]);
        f.check(case, &[("x", x)], &[], TOLERANCE, |x| x[0].avg_pool2d(k, s, p, case.ends_with("_incl")));
    }
}

#[test]
fn adaptive_avg_pool2d() {
    let f = Fixtures::read("pool");
    for case in f.cases("adaptive/").keys() {
        let x = f.input(&format!("{case}/x"), [2, 3, 7, 10]);
        f.check(case, &[("x", x)], &[], TOLERANCE, |x| x[0].adaptive_avg_pool2d(parameter(case, 'o')));
    }
}

#[test]
fn with_narrower_instruction_sets() {
    tests::again_with_narrower_instruction_sets();
}
