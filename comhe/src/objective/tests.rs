//! Tests of which layers are regularised by what, and of error messages.

use super::*;
use crate::{Grouping, REGULARISERS};
use autograd::{DType, Key};

/// A small network: a first convolution with d = 27, another, a hidden layer, a classifier.
fn network() -> Vec<(&'static str, Role, Tensor)> {
    let layer = |name, role, shape: &[usize], i| {
        let w = Tensor::normal(shape, DType::F64, Key::new(4).step(i));
        (name, role, w.requires_grad())
    };
    vec![
        layer("conv1.weight", Role::Conv, &[8, 3, 3, 3], 1),
        layer("conv2.weight", Role::Conv, &[6, 8, 3, 3], 2),
        layer("fc1.weight", Role::Hidden, &[5, 54], 3),
        layer("fc2.weight", Role::Classifier, &[4, 5], 4),
    ]
}

fn layers(network: &[(&'static str, Role, Tensor)]) -> Vec<Weight> {
    network.iter().map(|(name, role, w)| Weight::new(*name, w).role(*role)).collect()
}

const START: Step = Step { index: 0, lr: 0.1 };

#[test]
fn published_rules_give_each_layer_its_energy() {
    let network = network();
    let layers = layers(&network);
    let full = |i: usize| Energy::default().of(&network[i].2).unwrap().item();
    let half = |i: usize| Energy { half_space: true, ..Energy::default() }.of(&network[i].2).unwrap().item();
    let penalty = |name: &str, options: &Options| {
        Objective::new(name, options).unwrap().penalty(&layers, START).unwrap().item()
    };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12 * b.abs(), "{a}, not {b}");
    let options = Options::default();
    assert_eq!(penalty("none", &options), 0.0);
    close(penalty("mhe", &options), full(0) + full(1) + full(2) + 10.0 * full(3));
    close(penalty("hs-mhe", &options), half(0) + half(1) + half(2) + 10.0 * full(3));
    // The first layer has fewer dimensions than k = 40, and is not projected.
    let projected: f64 = (1..3)
        .map(|i| {
            let d = network[i].2.numel() / network[i].2.shape()[0];
            let p = Projections::default().draw(network[i].0, 0, d, DType::F64).unwrap();
            let energy = Energy { half_space: true, ..Energy::default() };
            crate::random::projected_energy(&energy, &network[i].2, &p).unwrap().item()
        })
        .sum();
    close(penalty("rp", &options), half(0) + projected + 10.0 * full(3));
    let options =
        Options { weight: 0.5, head_weight: Some(0.0), half_space: Some(true), ..Options::default() };
    close(penalty("mhe", &options), 0.5 * (half(0) + half(1) + half(2)));
    let options = Options { include: vec!["conv*".into()], exclude: vec!["*2.weight".into()], ..options };
    close(penalty("mhe", &options), 0.5 * half(0));
}

#[test]
fn every_name_trains_the_layers_that_are_large_enough_and_spreads_the_others() {
    let network = network();
    let by = |name: &str, options: &Options| -> Vec<&str> {
        let mut objective = Objective::new(name, options).unwrap();
        let grads = objective.penalty(&layers(&network), START).unwrap().backward();
        assert!(network.iter().all(|(_, _, w)| grads[w].is_finite()), "{name}");
        let report = objective.report(&layers(&network), START).unwrap();
        report.iter().map(|r| r.regulariser.unwrap()).collect()
    };
    let options = Options::default();
    assert_eq!(by("ap", &options), ["hs-mhe", "ap", "ap", "mhe"]);
    assert_eq!(by("adv", &options), ["hs-mhe", "adv", "adv", "mhe"]);
    assert_eq!(by("group", &options), ["group", "group", "group", "mhe"]);
    assert_eq!(by("bilateral", &options), ["hs-mhe", "bilateral", "bilateral", "mhe"]);
    // The first layer has three input channels.
    let channels = Groups { kind: Grouping::Channels, ..Groups::default() };
    assert_eq!(by("group", &Options { groups: channels, ..options })[..2], ["hs-mhe", "group"]);
    assert!(REGULARISERS.iter().all(|row| Objective::new(row.name, &Options::default()).is_ok()));
}

#[test]
fn gradients_reach_every_covered_layer_and_no_other() {
    let network = network();
    let options = Options { exclude: vec!["fc1*".into()], ..Options::default() };
    let mut objective = Objective::new("rp", &options).unwrap();
    let grads = objective.penalty(&layers(&network), START).unwrap().backward();
    for (name, _, w) in &network {
        assert_eq!(grads.get(w).is_some(), *name != "fc1.weight", "{name}");
    }
}

#[test]
fn the_report_measures_without_changing_anything() {
    let network = network();
    let layers = layers(&network);
    let mut objective = Objective::new("rp", &Options::default()).unwrap();
    let report = objective.report(&layers, START).unwrap();
    let sum: f64 = report.iter().map(|r| r.weight * r.penalty.unwrap()).sum();
    assert!((sum - objective.penalty(&layers, START).unwrap().item()).abs() < 1e-12 * sum);
    let by: Vec<_> = report.iter().map(|r| (r.regulariser.unwrap(), r.n, r.d, r.weight)).collect();
    assert_eq!(by, [("hs-mhe", 8, 27, 1.0), ("rp", 6, 72, 1.0), ("rp", 5, 54, 1.0), ("mhe", 4, 5, 10.0)]);
    assert_eq!(report[0].penalty, Some(report[0].half_space));
    assert_eq!(report[3].penalty, Some(report[3].full));
    assert!(report.iter().all(|r| r.smallest_angle.unwrap() > 0.0));
    let none = Objective::new("none", &Options::default()).unwrap().report(&layers, START).unwrap();
    assert!(none.iter().all(|r| r.penalty.is_none() && r.weight == 0.0 && r.full > 0.0));
}

#[test]
fn mistakes_are_explained() {
    let fails = |name: &str, options: &Options| match Objective::new(name, options) {
        Ok(_) => panic!("{name} was accepted"),
        Err(e) => e.to_string(),
    };
    let options = Options::default();
    assert!(fails("hsmhe", &options).contains("there is no regulariser \"hsmhe\"; did you mean hs-mhe?"));
    let no_k = Options { projections: Projections { k: 0, ..Projections::default() }, ..options.clone() };
    assert!(fails("rp", &no_k).contains("k = 0"));
    assert!(fails("rp", &Options { redraw: 0, ..options.clone() }).contains("redraw = 0"));
    assert!(fails("mhe", &Options { weight: f64::NAN, ..options.clone() }).contains("weight = NaN"));

    let mut network = network();
    let missing = Options { include: vec!["conv3.weight".into()], ..options.clone() };
    let error = Objective::new("mhe", &missing).unwrap().check(&layers(&network)).unwrap_err().to_string();
    assert!(error.contains("there is no layer that matches \"conv3.weight\"; did you mean"), "{error}");
    let mut objective = Objective::new("mhe", &options).unwrap();
    assert!(objective.check(&layers(&network)).is_ok());
    network[1].2.update::<f64>(|w| w[72] = f64::NAN);
    let error = objective.penalty(&layers(&network), START).unwrap_err().to_string();
    assert_eq!(error, "conv2.weight: element [1, 0, 0, 0] is NaN; all must be finite");
    assert!(objective.load_state(&[("0.P".into(), Tensor::from(1.0))]).is_err());
    assert!(objective.state().is_empty() && objective.load_state(&[]).is_ok());
}
