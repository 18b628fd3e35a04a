//! Tests of learned projections: resuming, descent, weight decay, unrolling.

use super::*;
use crate::adv::Adversarial;
use crate::ap::{AnglePreserving, Preserve, angle_preserving_energy};
use crate::regulariser::measured;

fn weight() -> Tensor {
    Tensor::normal([8, 40], DType::F64, Key::new(1)).requires_grad()
}

fn step(index: u64) -> Step {
    Step { index, lr: 0.05 }
}

fn regularisers() -> Vec<Box<dyn Regulariser>> {
    let half = Energy { half_space: true, ..Energy::default() };
    let mut list: Vec<Box<dyn Regulariser>> = Vec::new();
    for mode in [Mode::Unrolled, Mode::Alternating] {
        let learning = Learning { k: 6, mode, ..Learning::default() };
        for objective in Preserve::ALL {
            list.push(Box::new(AnglePreserving::new(half, objective, learning).unwrap()));
        }
        list.push(Box::new(Adversarial::new(half, learning).unwrap()));
    }
    list
}

#[test]
fn a_resumed_regulariser_goes_on_to_the_last_digit() {
    let w = weight();
    let layer = [Weight::new("fc", &w)];
    for (mut whole, (mut first, mut second)) in
        regularisers().into_iter().zip(regularisers().into_iter().zip(regularisers()))
    {
        let run = |r: &mut Box<dyn Regulariser>, steps: std::ops::Range<u64>| -> Vec<f64> {
            steps.map(|i| r.penalty(&layer, step(i)).unwrap().item()).collect()
        };
        let all = run(&mut whole, 0..6);
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "the projection learns");
        let mut parts = run(&mut first, 0..3);
        second.load_state(&first.state()).unwrap();
        // Measuring returns the next value and changes no state.
        let value = measured(&*second, &layer[0], step(3)).unwrap();
        assert!((value / all[3] - 1.0).abs() < 1e-12, "{value}, {}", all[3]);
        parts.extend(run(&mut second, 3..6));
        assert_eq!(parts, all);
        let (name, p) = second.state().remove(0);
        assert_eq!((name.as_str(), *p.shape()), ("fc.projection", [6, 40].into()));
        assert!(second.load_state(&[("fc".into(), p.clone())]).is_err());
        assert!(second.load_state(&[(name.clone(), p.transpose(0, 1))]).is_err());
        second.load_state(&[(name, p.slice_axis(1, ..7))]).unwrap();
        let error = second.penalty(&layer, step(6)).unwrap_err().to_string();
        assert!(error.contains("expected a learned projection of shape [6, 40]"), "{error}");
    }
}

#[test]
fn descent_brings_angles_nearer_and_ascent_raises_the_energy() {
    let rows = weight().detach();
    let p = Learning { k: 6, ..Learning::default() }.start("w", 40, DType::F64);
    let steps = |count, rate| InnerSteps { count, rate, decay: 0.0, mode: Mode::Alternating };
    let energy = Energy::default();
    for (objective, rate) in [(Preserve::Cosine, 0.05), (Preserve::Angle, 0.005)] {
        let inner = objective.at(&energy, &rows, 0).unwrap();
        let loss = |p: &Tensor| inner.loss(&rows.matmul_nt(p)).unwrap().item();
        let learned = learn(&inner, &rows, &p, steps(300, rate)).unwrap();
        assert!(loss(&learned) < 0.6 * loss(&p), "{objective}: {} to {}", loss(&p), loss(&learned));
    }
    let before = crate::random::projected_energy(&energy, &rows, &p).unwrap().item();
    let after = crate::adv::adversarial_energy(&energy, &rows, &p, steps(10, 0.05)).unwrap().item();
    assert!(after > 1.03 * before, "{before} to {after}");
}

#[test]
fn gram_matrices_formed_or_not_give_the_same_steps() {
    let w = weight();
    let gradient = |gram: Gram| {
        let x = Tensor::normal([8, 3], DType::F64, Key::new(2));
        (gram.times(&x).norm(..) + gram.cosines(1e-4).norm(..)).grad(&[&w]).remove(0)
    };
    let difference = gradient(Gram::formed(&w)) - gradient(Gram::implied(&w));
    assert!(difference.norm(..).item() < 1e-12);
}

#[test]
fn decay_shrinks_the_projection_and_a_rate_can_be_fixed() {
    let w = weight();
    let layer = [Weight::new("fc", &w)];
    let learning = Learning { k: 6, plain: Some(1), mode: Mode::Alternating, ..Learning::default() };
    let p_after = |rate, decay, lr| {
        let learning = Learning { rate, decay, ..learning };
        let mut ap = AnglePreserving::new(Energy::default(), Preserve::Cosine, learning).unwrap();
        let _ = ap.penalty(&layer, Step { index: 0, lr }).unwrap();
        ap.state().remove(0).1
    };
    let norm = |t: Tensor| t.norm(..).item();
    assert_eq!(norm(p_after(Rate::Fixed(0.2), 0.0, 9.0) - p_after(Rate::Network, 0.0, 0.2)), 0.0);
    assert_eq!(norm(p_after(Rate::Network, 0.0, 0.0) - learning.start("fc", 40, DType::F64)), 0.0);
    // P - eta g with and without decay differ by eta decay P.
    let lost = p_after(Rate::Network, 0.0, 0.1) - p_after(Rate::Network, 0.5, 0.1);
    assert!(norm(lost - learning.start("fc", 40, DType::F64) * 0.05) < 1e-12);
}

#[test]
fn unrolling_sees_what_a_constant_hides() {
    let w = weight();
    let p = Learning { k: 6, ..Learning::default() }.start("w", 40, DType::F64);
    let run = |mode| {
        let steps = InnerSteps { mode, ..InnerSteps::default() };
        let e = angle_preserving_energy(&Energy::default(), &w, &p, Preserve::Cosine, steps).unwrap();
        (e.item(), e.grad(&[&w]).remove(0))
    };
    let ((e, g), (f, h)) = (run(Mode::Unrolled), run(Mode::Alternating));
    assert!((e / f - 1.0).abs() < 1e-12, "the value is the same");
    assert!((&g - h).norm(..).item() > 1e-3 * g.norm(..).item(), "the gradient is not");
}
