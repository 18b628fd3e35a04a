//! Batch, layer and group normalisation against PyTorch, to second order, with running statistics.

use autograd::{Key, Tensor};
use nn::{BatchNorm, Context, Module};
use tests::Fixtures;

const TOLERANCE: f64 = 1e-9;

/// The number behind a label of a case name, such as eps1e-5.
fn number(case: &str, label: &str) -> f64 {
    let name = case.rsplit('/').next().unwrap();
    let part =
        name.split('_').find_map(|p| p.strip_prefix(label)).unwrap_or_else(|| panic!("{case}: no {label}"));
    part.parse().unwrap()
}

fn affine(f: &Fixtures, case: &str) -> [(&'static str, Tensor); 3] {
    ["x", "gamma", "beta"].map(|name| (name, f.get(&format!("{case}/{name}")).expect("stored").clone()))
}

#[test]
fn batch_norm_in_training() {
    let f = Fixtures::read("norm");
    for case in f.cases("batch_train/").keys() {
        let eps = number(case, "eps");
        f.check(case, &affine(&f, case), &[], TOLERANCE, |x| x[0].batch_norm_train(&x[1], &x[2], eps).0);
    }
}

#[test]
fn batch_norm_in_evaluation() {
    let f = Fixtures::read("norm");
    for case in f.cases("batch_eval/").keys() {
        let eps = number(case, "eps");
        let given = |name: &str| f.get(&format!("{case}/{name}")).expect("stored").clone();
        let (mean, var) = (given("mean"), given("var"));
        f.check(case, &affine(&f, case), &["mean", "var"], TOLERANCE, |x| {
            x[0].batch_norm_eval(&x[1], &x[2], &mean, &var, eps)
        });
    }
}

#[test]
fn running_statistics() {
    let f = Fixtures::read("norm");
    for case in f.cases("batch_running/").keys() {
        let given = |name: &str| f.get(&format!("{case}/{name}")).expect("stored").clone();
        let channels = given("x0").shape()[1];
        let mut layer = BatchNorm::new(channels, autograd::DType::F64);
        (layer.eps, layer.momentum) = (number(case, "eps"), number(case, "m"));
        for step in 0..3 {
            let _ = layer.forward(&given(&format!("x{step}")), &mut Context::train(Key::new(0)));
            let state = layer.state_dict();
            let held = |name: &str| state.iter().find(|(n, _)| n == name).expect("a buffer").1.clone();
            f.compare(&format!("{case}/mean{step}"), &held("running_mean"), TOLERANCE);
            f.compare(&format!("{case}/var{step}"), &held("running_var"), TOLERANCE);
        }
    }
}

#[test]
fn layer_norm() {
    let f = Fixtures::read("norm");
    for case in f.cases("layer/").keys() {
        let eps = number(case, "eps");
        f.check(case, &affine(&f, case), &[], TOLERANCE, |x| x[0].layer_norm(&x[1], &x[2], eps));
    }
}

#[test]
fn group_norm() {
    let f = Fixtures::read("norm");
    for case in f.cases("group/").keys() {
        let (eps, groups) = (number(case, "eps"), number(case, "groups") as usize);
        f.check(case, &affine(&f, case), &[], TOLERANCE, |x| x[0].group_norm(groups, &x[1], &x[2], eps));
    }
}

#[test]
fn with_narrower_instruction_sets() {
    tests::again_with_narrower_instruction_sets();
}
