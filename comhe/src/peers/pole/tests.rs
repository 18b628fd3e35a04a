//! Tests of poles: their steps, resuming, the separation of gradients.

use super::*;
use crate::energy::Scale;
use crate::peers::{mhc, mhp, peer};
use crate::regulariser::measured;

fn weight() -> Tensor {
    Tensor::normal([5, 7], DType::F64, Key::new(1)).requires_grad()
}

fn step(index: u64) -> Step {
    Step { index, lr: 0.05 }
}

/// The loss of full-space neurons at a pole.
fn of(name: &str, w: &Tensor, v: &Tensor) -> Tensor {
    let PeerOptions { eps, sharpness, .. } = PeerOptions::default();
    if name == "mhp" { mhp(w, v, eps) } else { mhc(w, v, sharpness, eps) }.unwrap()
}

#[test]
fn the_pole_takes_steps_of_momentum_and_the_gradient_sees_a_constant_pole() {
    let w = weight();
    for name in ["mhp", "mhc"] {
        let poles = Poles { steps: 3, rate: Rate::Fixed(0.2), momentum: 0.8, decay: 0.01 };
        let mut reg = peer(name, &PeerOptions { poles, ..PeerOptions::default() }).unwrap();
        let layer = Weight::new("fc", &w);
        let key = Key::new(0).stream("pole").stream("fc");
        let (mut v, mut m) = (Tensor::normal([7], DType::F64, key), Tensor::zeros([7], DType::F64));
        for i in 0..2 {
            let penalty = reg.penalty(std::slice::from_ref(&layer), step(i)).unwrap();
            for _ in 0..3 {
                let leaf = v.requires_grad();
                let ascent = of(name, &w.detach(), &leaf).grad(&[&leaf]).remove(0);
                m = m * 0.8 - ascent + &v * 0.01;
                v -= &m * 0.2;
            }
            let state = reg.state();
            let names: Vec<&str> = state.iter().map(|(n, _)| n.as_str()).collect();
            assert_eq!(names, ["fc.pole", "fc.velocity"]);
            for ((name, found), want) in state.iter().zip([&v, &m]) {
                assert!((found - want).norm(..).item() < 1e-12, "{name}");
                assert!(!found.is_tracked(), "the state holds no graph");
            }
            let want = of(name, &w, &v).grad(&[&w]).remove(0);
            assert!((penalty.grad(&[&w]).remove(0) - want).norm(..).item() < 1e-12);
        }
    }
}

#[test]
fn a_pole_ascends_what_the_neurons_descend() {
    let w = weight().detach();
    for name in ["mhp", "mhc"] {
        let reg = |steps| {
            let poles = Poles { steps, rate: Rate::Fixed(0.02), ..Poles::default() };
            let reg = peer(name, &PeerOptions { poles, ..PeerOptions::default() }).unwrap();
            measured(&*reg, &Weight::new("fc", &w), step(0)).unwrap()
        };
        let values = [0, 1, 10, 100].map(reg);
        assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{name}: {values:?}");
    }
}

#[test]
fn a_resumed_pole_goes_on_to_the_last_digit() {
    let w = weight();
    let layer = [Weight::new("fc1", &w), Weight::new("fc2", &w)];
    for name in ["mhp", "mhc"] {
        for half_space in [false, true] {
            let options = PeerOptions { half_space, scale: Scale::Code, ..PeerOptions::default() };
            let make = || peer(name, &options).unwrap();
            let run = |r: &mut Box<dyn Regulariser>, steps: std::ops::Range<u64>| -> Vec<f64> {
                steps.map(|i| r.penalty(&layer, step(i)).unwrap().item()).collect()
            };
            let all = run(&mut make(), 0..6);
            assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "the pole moves");
            let (mut first, mut second) = (make(), make());
            let mut parts = run(&mut first, 0..3);
            second.load_state(&first.state()).unwrap();
            let both =
                |r: &dyn Regulariser| layer.iter().map(|l| measured(r, l, step(3)).unwrap()).sum::<f64>();
            assert!((both(&*second) / all[3] - 1.0).abs() < 1e-12);
            parts.extend(run(&mut second, 3..6));
            assert_eq!(parts, all);
        }
    }
}

#[test]
fn a_state_that_does_not_fit_is_explained() {
    let w = weight();
    let mut reg = peer("mhc", &PeerOptions::default()).unwrap();
    let mut fails = |state: &[(&str, Tensor)]| {
        let state: Vec<(String, Tensor)> = state.iter().map(|(n, t)| (n.to_string(), t.clone())).collect();
        let loaded = reg.load_state(&state);
        let penalty = loaded.and_then(|()| reg.penalty(&[Weight::new("fc", &w)], step(0)).map(|_| ()));
        penalty.unwrap_err().to_string()
    };
    let ones = |n: usize| Tensor::ones([n], DType::F64);
    assert_eq!(fails(&[("fc", ones(7))]), "fc: the state is a pole and a velocity per layer");
    let alone = "fc: expected a pole and a velocity of the same shape in the state";
    assert_eq!(fails(&[("fc.pole", ones(7))]), alone);
    assert_eq!(fails(&[("fc.pole", ones(7)), ("fc.velocity", ones(6))]), alone);
    let nan = Tensor::full([7], f64::NAN, DType::F64);
    assert!(fails(&[("fc.pole", nan), ("fc.velocity", ones(7))]).starts_with("fc.pole: expected finite"));
    let other = fails(&[("fc.pole", ones(6)), ("fc.velocity", ones(6))]);
    assert_eq!(other, "fc: expected a pole of shape [7] in f64, found [6] in f64");
}

#[test]
fn rates_that_no_step_can_take_are_refused() {
    for (poles, part) in [
        (Poles { momentum: 1.0, ..Poles::default() }, "pole momentum = 1: it must be in 0..1"),
        (Poles { momentum: f64::NAN, ..Poles::default() }, "pole momentum = NaN"),
        (Poles { decay: -1.0, ..Poles::default() }, "inner decay = -1"),
        (Poles { steps: 10_001, ..Poles::default() }, "inner steps = 10001"),
        (Poles { rate: Rate::Fixed(f64::INFINITY), ..Poles::default() }, "inner rate = inf"),
    ] {
        let message = poles.check().unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    let poles = Poles { rate: Rate::Fixed(1e300), momentum: 0.0, decay: 1e300, ..Poles::default() };
    let mut reg = peer("mhc", &PeerOptions { poles, ..PeerOptions::default() }).unwrap();
    let message = reg.penalty(&[Weight::new("fc", &weight())], step(0)).unwrap_err().to_string();
    assert!(message.starts_with("fc: ") && message.contains("pole"), "{message}");
}
