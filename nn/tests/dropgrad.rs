//! DropGrad, the noise on the gradients of adaptation: its invariants, its draws and its schedules.

mod common;

use autograd::{DType, Key, Tensor};
use common::meta::*;
use nn::meta::{GradientNoise, Learner, MeanInterval, MetaModel, MetaTrainer, NoiseKind, NoiseSchedule};
use nn::{BatchLoss, Module, Mse};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Invariant 1: no noise, level 0 and factors of 1 are MAML, bit by bit.
    #[test]
    fn noise_at_level_zero_is_maml(key in 0u64..1000, which in 0usize..4) {
        let tasks = [task(key), task(key + 1)];
        let gradient = |noise| bits(trainer(LEARNERS[which].1, key).noise(noise).gradient(&tasks).unwrap().parameters);
        let maml = gradient(noisy(NoiseKind::None, 0.3));
        prop_assert_eq!(&gradient(noisy(NoiseKind::Bernoulli, 0.0)), &maml);
        prop_assert_eq!(&gradient(noisy(NoiseKind::Gaussian, 0.0)), &maml);
        let ones = |_: usize, _: usize, _: &str, g: &Tensor| Some(Tensor::ones(*g.shape(), DType::F64));
        let found = trainer(LEARNERS[which].1, key).gradient_with(&tasks, &ones).unwrap();
        prop_assert_eq!(&bits(found.parameters), &maml);
        prop_assert_ne!(&gradient(noisy(NoiseKind::Bernoulli, 0.3)), &maml);
        prop_assert_ne!(&gradient(noisy(NoiseKind::Gaussian, 0.3)), &maml);
    }

    /// Invariant 2: factors of 0 leave the parameters, and the meta-gradient is that of the query loss there.
    #[test]
    fn factors_of_zero_do_not_adapt(key in 0u64..1000, which in 0usize..4) {
        let (learner, task) = (LEARNERS[which].1, task(key));
        let trainer = trainer(learner, key);
        let zeros = |g: &Tensor| Some(Tensor::zeros(*g.shape(), DType::F64));
        let found = trainer.gradient_with(std::slice::from_ref(&task), &|_, _, _, g| zeros(g)).unwrap();
        let query = BatchLoss { loss: Box::new(Mse), ..BatchLoss::new(mlp(key), task.query.clone()) };
        let plain = query.gradient().unwrap();
        prop_assert_eq!(found.metrics.query_loss, plain.loss);
        for (name, g) in &found.parameters {
            match name.strip_prefix("rates.") {
                None => prop_assert_eq!(g.to_vec::<f64>(), plain.parameters[name].to_vec::<f64>()),
                Some(_) => prop_assert!(g.to_vec::<f64>().iter().all(|v| *v == 0.0)),
            }
        }
        let support = BatchLoss { batch: task.support, ..query };
        let adapted = trainer.adaptation.adapt(&trainer.model, &support, &|_, _, g| zeros(g)).unwrap();
        prop_assert_eq!(flat(&adapted), flat(&support.model));
    }

    /// Invariant 4: an entry that is dropped in every step does not move, but its meta-gradient has the second-order
    /// terms of the entries that do.
    #[test]
    fn dropped_entries_have_a_second_order_gradient(key in 0u64..1000) {
        let task = task(key);
        let dropped = |name: &str, g: &Tensor| {
            let drop = name == "fc1.weight";
            Some(Tensor::from_fn(*g.shape(), DType::F64, |i| if drop && i == 4 { 0.0 } else { 2.0 }))
        };
        let of = |learner| {
            let found = trainer(learner, key).gradient_with(std::slice::from_ref(&task), &|_, _, name, g| dropped(name, g));
            found.unwrap().parameters["fc1.weight"].to_vec::<f64>()[4]
        };
        let start = MetaModel::new(mlp(key), &with(Learner::Maml, 2, 0.1));
        let support = BatchLoss { loss: Box::new(Mse), ..BatchLoss::new(mlp(key), task.support.clone()) };
        let adapted = with(Learner::Maml, 2, 0.1).adapt(&start, &support, &|_, name, g| dropped(name, g)).unwrap();
        let moved: Vec<bool> = flat(&adapted).iter().zip(flat(&start.model)).map(|(a, b)| *a != b).collect();
        prop_assert!(!moved[4] && moved.iter().filter(|moved| **moved).count() == moved.len() - 1);
        let (second, first) = (of(Learner::Maml), of(Learner::FirstOrder));
        prop_assert!(second != 0.0 && first != 0.0 && (second - first).abs() > 1e-9 * first.abs());
    }
}

/// Invariant 3: over the noise, one step has the mean p - a g and the variance a^2 g^2 p / (1 - p), for both kinds.
#[test]
fn one_noisy_step_is_unbiased_and_has_the_stated_variance() {
    const DRAWS: u64 = 4000;
    let (task, rate, p) = (task(3), 0.1, 0.3);
    let adaptation = with(Learner::FirstOrder, 1, rate);
    let start = MetaModel::new(mlp(3), &adaptation);
    let support = BatchLoss { loss: Box::new(Mse), ..BatchLoss::new(mlp(3), task.support) };
    let before = flat(&start.model);
    let clean = flat(&adaptation.adapt(&start, &support, &|_, _, _| None).unwrap());
    for kind in [NoiseKind::Bernoulli, NoiseKind::Gaussian] {
        let noise = noisy(kind, p);
        let (mut sum, mut squares) = (vec![0.0; before.len()], vec![0.0; before.len()]);
        for draw in 0..DRAWS {
            let key = |name: &str| Key::new(5).stream(name).step(draw);
            let factor = |_: usize, name: &str, g: &Tensor| noise.factor(g.shape(), g.dtype(), key(name), 0);
            let after = flat(&adaptation.adapt(&start, &support, &factor).unwrap());
            for (i, (v, c)) in after.iter().zip(&clean).enumerate() {
                sum[i] += v - c;
                squares[i] += (v - c).powi(2);
            }
        }
        let (n, mut ratios) = (DRAWS as f64, 0.0);
        for i in 0..before.len() {
            let variance = (clean[i] - before[i]).powi(2) * p / (1.0 - p);
            let (mean, deviation) = (sum[i] / n, (variance / n).sqrt());
            assert!(
                mean.abs() < 5.0 * deviation,
                "{kind:?} {i}: bias {mean:e}, standard error {deviation:e}"
            );
            let found = squares[i] / n / variance;
            assert!((found - 1.0).abs() < 0.15, "{kind:?} {i}: variance off by the factor {found}");
            ratios += found / before.len() as f64;
        }
        assert!((ratios - 1.0).abs() < 0.02, "{kind:?}: {ratios}");
    }
}

/// Invariant 7.
#[test]
fn evaluation_has_no_noise_and_changes_nothing() {
    for (_, learner) in LEARNERS {
        let loud = trainer(learner, 2).noise(noisy(NoiseKind::Gaussian, 0.4));
        let quiet = trainer(learner, 2);
        let tasks = || (10..15).map(task);
        let found = loud.evaluate(tasks(), 3).unwrap();
        assert_eq!(found.losses, loud.evaluate(tasks(), 3).unwrap().losses);
        assert_eq!(found.losses, quiet.evaluate(tasks(), 3).unwrap().losses);
        assert!(found.accuracies.iter().all(|a| a.is_nan()));
        assert_eq!((found.loss().tasks, found.losses.len()), (5, 5));
        // As the meta-gradient reports it.
        let metrics = quiet.gradient(&[task(10)]).unwrap().metrics;
        common::assert_close(
            quiet.evaluate([task(10)], 2).unwrap().losses[0],
            metrics.query_loss,
            1e-13,
            "loss",
        );
        assert_eq!(bits(loud.model.state_dict()), bits(quiet.model.state_dict()));
    }
    assert!(MeanInterval::of(&[1.0]).ci95.is_nan() && MeanInterval::of(&[]).mean.is_nan());
}

#[test]
fn draws_belong_to_step_task_inner_step_and_tensor() {
    use std::cell::RefCell;
    let noise = noisy(NoiseKind::Gaussian, 0.3);
    let mut trainer = trainer(Learner::FirstOrder, 1).noise(noise);
    let adapted = |trainer: &MetaTrainer| bits(trainer.gradient(&[task(1), task(1)]).unwrap().parameters);
    assert_eq!(adapted(&trainer), adapted(&trainer));
    // Two equal tasks at different places in the batch get different factors: their losses differ.
    let one = trainer.gradient(&[task(1)]).unwrap().metrics.query_loss;
    let two = trainer.gradient(&[task(1), task(1)]).unwrap().metrics.query_loss;
    assert_ne!(one, two);
    let before = one;
    trainer.lr = 0.0;
    trainer.step(&[task(1)]).unwrap();
    assert_ne!(trainer.gradient(&[task(1)]).unwrap().metrics.query_loss, before);
    // The order of tensors and inner steps in which factors are asked for.
    let asked = RefCell::new(Vec::new());
    let note = |task: usize, k: usize, name: &str, _: &Tensor| {
        asked.borrow_mut().push(format!("{task} {k} {name}"));
        None
    };
    trainer.gradient_with(&[task(1)], &note).unwrap();
    assert_eq!(asked.borrow().len(), 2 * 4);
    assert_eq!(asked.borrow()[..2], ["0 0 fc1.weight", "0 0 fc1.bias"]);
}

#[test]
fn schedules_ramp_the_probability_or_the_deviation() {
    let level = |kind, schedule, step| GradientNoise { kind, rate: 0.2, schedule }.level(step);
    let linear = NoiseSchedule::Linear { steps: 5 };
    for (kind, full) in
        [(NoiseKind::None, 0.0), (NoiseKind::Bernoulli, 0.2), (NoiseKind::Gaussian, (0.2f64 / 0.8).sqrt())]
    {
        assert_eq!(level(kind, NoiseSchedule::Constant, 7), full);
        for step in 0..8 {
            let expected = full * (step.min(4) as f64) / 4.0;
            assert!((level(kind, linear, step) - expected).abs() < 1e-15);
        }
        assert_eq!(level(kind, NoiseSchedule::Linear { steps: 1 }, 0), full);
        assert_eq!(level(kind, NoiseSchedule::Linear { steps: 0 }, 0), full);
    }
}
