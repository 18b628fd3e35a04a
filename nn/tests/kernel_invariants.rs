//! What holds of the penalties, attacks and spectral controls for any network and batch.

use autograd::{DType, Index, Key, Tensor, gradcheck};
use nn::{
    Activation, AdversarialTraining, Attack, Batch, BatchLoss, Flatten, GradientPenalty, Init, Linear,
    LossGradientPenalty, Model, Module, Norm, Optimizer, Penalty, PerturbationPenalty, Plain, Sam,
    Sequential, SpectralConstraint, SpectralPenalty, Targets, Trainer, Transform, robust_accuracy,
    with_singular_values_at_most,
};
use proptest::prelude::*;

const D: usize = 6;
const K: usize = 3;

fn inputs(n: usize, seed: u64) -> Tensor {
    Tensor::normal([n, 1, 2, 3], DType::F64, Key::new(seed).stream("inputs"))
}

fn batch(n: usize, seed: u64) -> Batch {
    Batch::new(inputs(n, seed), (0..n as u32).map(|i| i % K as u32).collect::<Vec<_>>())
}

fn model(layers: Sequential, seed: u64) -> Model {
    let mut model = Model::new("small", [1, 2, 3], K, layers).unwrap();
    model.initialise(Init::HE_NORMAL, Key::new(seed));
    // Biases, too.
    model.visit_mut(&mut |name, t, _| {
        if t.rank() == 1 {
            t.assign(&Init::Normal(0.5).draw(t.shape(), t.dtype(), Key::new(seed).stream(name)));
        }
    });
    model
}

fn linear(seed: u64) -> Model {
    model(Sequential::new().with("flatten", Flatten).with("fc", Linear::new(D, K, DType::F64)), seed)
}

fn two_layers(activation: Activation, bias: bool, seed: u64) -> Model {
    let layer = |inputs, outputs| {
        let layer = Linear::new(inputs, outputs, DType::F64);
        if bias { layer } else { layer.without_bias() }
    };
    let layers = Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", layer(D, 9))
        .with("f", activation)
        .with("fc2", layer(9, K));
    model(layers, seed)
}

fn value(mut penalty: impl Penalty, loss: &BatchLoss) -> f64 {
    penalty.penalty(loss).unwrap().item()
}

fn squares(t: &Tensor) -> f64 {
    (t * t).sum(..).item()
}

fn close(a: f64, b: f64, tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert!((a - b).abs() <= tolerance * b.abs().max(1e-12), "{a:e} is not {b:e}");
    Ok(())
}

fn gradient(weight: f64) -> GradientPenalty {
    GradientPenalty { weight }
}

fn perturbation(eps: f64) -> PerturbationPenalty {
    PerturbationPenalty { eps, ..PerturbationPenalty::default() }
}

/// The gradient of f_k by an input, k the row.
fn slopes(model: &Model, x: &Tensor) -> Vec<f64> {
    let x = x.detach().requires_grad();
    let y = model.detached().forward(&x, &mut nn::Context::eval());
    (0..K as isize).map(|k| squares(&y.select(1, k).sum(..).grad(&x))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Invariant 1.
    #[test]
    fn penalties_of_a_linear_network_are_its_squared_weights(seed in 0u64..1000, n in 1usize..6, eps in 1e-3..10.0) {
        let loss = BatchLoss::new(linear(seed), batch(n, seed));
        let w = squares(&loss.model.weights()[0].value);
        close(value(gradient(0.1), &loss), 0.1 * w, 1e-12)?;
        close(value(perturbation(eps), &loss), eps * eps * w, 1e-9)?;
    }

    /// Invariant 3.
    #[test]
    fn twice_the_weights_of_two_layers_are_sixteen_times_the_penalty(seed in 0u64..1000, n in 1usize..6) {
        let loss = BatchLoss::new(two_layers(Activation::Relu, false, seed), batch(n, seed));
        let twice = loss.moved(|_, p| p * 2.0);
        close(value(gradient(1.0), &twice), 16.0 * value(gradient(1.0), &loss), 1e-12)?;
    }

    /// Invariant 4.
    #[test]
    fn neither_order_nor_duplicates_matter(seed in 0u64..1000, n in 1usize..6) {
        let loss = BatchLoss::new(two_layers(Activation::Relu, true, seed), batch(n, seed));
        let rows: Vec<u32> = Key::new(seed).permutation(n).into_iter().chain([0]).map(|i| i as u32).collect();
        let labels = loss.batch.targets.classes().unwrap();
        let mixed = |rows: &[u32]| {
            let x = loss.batch.inputs.index_select(0, &Index::new(rows, [rows.len()]));
            let y: Vec<u32> = rows.iter().map(|&i| labels[i as usize]).collect();
            BatchLoss { batch: Batch::new(x, y), ..loss.clone() }
        };
        for other in [mixed(&rows[..n]), mixed(&rows)] {
            close(value(gradient(1.0), &other), value(gradient(1.0), &loss), 1e-12)?;
            close(value(perturbation(0.3), &other), value(perturbation(0.3), &loss), 1e-9)?;
        }
    }

    /// Invariant 5.
    #[test]
    fn biases_that_cross_no_kink_have_no_effect(seed in 0u64..1000) {
        let loss = BatchLoss::new(two_layers(Activation::Relu, true, seed), batch(4, seed));
        let penalty = gradient(1.0).penalty(&loss).unwrap();
        let mut grads = penalty.clone().backward();
        for (name, p) in loss.model.named_parameters().iter().filter(|(name, _)| name.ends_with("bias")) {
            let g = grads.take(p).unwrap_or_else(|| Tensor::zeros(p.shape(), DType::F64));
            prop_assert!(g.to_vec::<f64>().iter().all(|g| *g == 0.0), "{name}");
        }
        let moved = loss.moved(|name, p| if name.ends_with("bias") { p + 1e-12 } else { p.clone() });
        close(value(gradient(1.0), &moved), penalty.item(), 1e-12)?;
    }

    /// Invariant 6.
    #[test]
    fn perturbations_are_bounded_by_gradients(seed in 0u64..1000, eps in 1e-3..1.0) {
        let loss = BatchLoss::new(two_layers(Activation::Softplus, true, seed), batch(1, seed));
        let found = value(perturbation(eps), &loss);
        // For one input the ball contains every segment.
        let most = (0..400u64).fold(vec![0.0f64; K], |most, i| {
            let d = Tensor::normal([1, 1, 2, 3], DType::F64, Key::new(seed).stream("ball").step(i));
            let x = &loss.batch.inputs + &d * (eps / d.norm(..).item());
            most.iter().zip(slopes(&loss.model, &x)).map(|(a, b)| a.max(b)).collect()
        });
        // Softplus curves gently: the maximum over samples misses little of the one over the ball.
        prop_assert!(found >= 0.0 && found <= 1.1 * eps * eps * most.iter().sum::<f64>());
        let small = value(perturbation(1e-6), &loss) / 1e-12;
        close(small, value(gradient(1.0), &loss), 1e-4)?;
    }

    /// Invariant 7.
    #[test]
    fn the_power_iteration_finds_the_top_pair_from_below(seed in 0u64..1000) {
        let loss = BatchLoss::new(linear(seed), batch(2, seed));
        let w = loss.model.weights()[0].value.detach();
        let (u, s, vt) = w.svd();
        let top = s.at(&[0]);
        let mut penalty = SpectralPenalty::iterated(1.0, 2);
        let mut last = 0.0;
        for _ in 0..400 {
            let found = penalty.penalty(&loss).unwrap().item().sqrt();
            prop_assert!(found >= last - 1e-12 && found <= top * (1.0 + 1e-12));
            last = found;
        }
        // Close singular values converge slowly.
        if s.at(&[1]) < 0.9 * top {
            close(last, top, 1e-12)?;
            let v = penalty.state()[0].1.clone();
            prop_assert!(((v * vt.select(0, 0)).sum(..).item().abs() - 1.0).abs() < 1e-9);
            let g = penalty.penalty(&loss).unwrap().backward()[&loss.model.weights()[0].value].clone();
            let expected = u.slice_axis(1, ..1).matmul(&vt.slice_axis(0, ..1)) * (2.0 * top);
            prop_assert!((&g - expected).norm(..).item() < 1e-7 * top);
            prop_assert!(g.svd().1.at(&[1]) < 1e-12 * top, "rank one");
        }
    }

    /// Invariant 8.
    #[test]
    fn projection_clips_singular_values_alone(
        seed in 0u64..1000, rows in 1usize..9, columns in 1usize..9, scale in -4i32..8, tau in 0.1..2.0,
    ) {
        let w = Tensor::normal([rows, columns], DType::F64, Key::new(seed)) * 10f64.powi(scale);
        let (u, s, vt) = w.svd();
        let most = s.at(&[0]);
        prop_assert!(with_singular_values_at_most(&w, most * 1.001).is_none());
        if most <= tau {
            prop_assert!(with_singular_values_at_most(&w, tau).is_none());
            return Ok(());
        }
        let found = with_singular_values_at_most(&w, tau).unwrap();
        prop_assert!(found.svd().1.at(&[0]) <= tau * (1.0 + 1e-12));
        prop_assert!(with_singular_values_at_most(&found, tau).is_none(), "idempotent");
        let expected = (&u * s.clamp(0.0, tau).unsqueeze(0)).matmul(&vt);
        prop_assert!((&found - &expected).norm(..).item() <= 1e-9 * tau, "{found:?}");
        // f32 takes another way. The projection does not enlarge distances: those of rounding W are part of the input.
        let narrow = w.to_dtype(DType::F32);
        let (u, s, vt) = narrow.to_dtype(DType::F64).svd();
        if let Some(found) = with_singular_values_at_most(&narrow, tau) {
            let expected = (&u * s.clamp(0.0, tau).unsqueeze(0)).matmul(&vt);
            prop_assert!((found.to_dtype(DType::F64) - expected).norm(..).item() <= 1e-6 * tau * D as f64, "{found:?}");
            prop_assert!(with_singular_values_at_most(&found, tau).is_none(), "idempotent in f32");
        }
    }

    /// Invariant 9.
    #[test]
    fn perturbations_remain_in_the_ball_and_reach_its_surface(seed in 0u64..1000, eps in 1e-6..1e3, linf in any::<bool>()) {
        let attack = if linf { Attack::linf(eps) } else { Attack::l2(eps) };
        let loss = BatchLoss::new(two_layers(Activation::Relu, true, seed), batch(5, seed));
        let d = attack.inputs(&loss).unwrap() - &loss.batch.inputs;
        let size = |d: &Tensor| if linf { d.flatten(1).abs().max(1) } else { d.flatten(1).norm(1) };
        // As a difference of numbers of size 1.
        prop_assert!(size(&d).to_vec::<f64>().iter().all(|n| *n <= eps * (1.0 + 1e-12) + 1e-14));
        // A linear loss: the mean squared error has a gradient along w; four steps of 1.5 eps / 5 suffice.
        let mut one = BatchLoss::new(linear(seed), batch(5, seed));
        one.batch.targets = Targets::Values(Tensor::full([5, K], 1e9, DType::F64));
        one.loss = Box::new(nn::Mse);
        let steps = Attack { steps: 4, step: 0.3 * eps, ..Attack::l2(eps) };
        let d = steps.inputs(&one).unwrap() - &one.batch.inputs;
        for n in d.flatten(1).norm(1).to_vec::<f64>() {
            prop_assert!((n - eps).abs() <= 1e-9 * eps + 1e-14);
        }
    }
}

/// Invariant 10, at both orders.
#[test]
fn gradients_are_those_of_differences() {
    for activation in [Activation::Softplus, Activation::Tanh] {
        let loss = BatchLoss::new(two_layers(activation, true, 3), batch(4, 3));
        let (_, parameters) = loss.parameters();
        let check = |penalty: &dyn Penalty| {
            let value = |p: &[Tensor]| {
                let mut p = p.iter();
                let model = loss.model.map(|_, _| p.next().unwrap().clone());
                penalty.clone_penalty().penalty(&BatchLoss { model, ..loss.clone() }).unwrap()
            };
            gradcheck(value, &parameters, 2).assert();
        };
        check(&gradient(1.0));
        check(&LossGradientPenalty { against: Norm::L2, weight: 1.0 });
        check(&LossGradientPenalty { against: Norm::LInf, weight: 1.0 });
        check(&SpectralPenalty::exact(1.0));
    }
}

fn trainer() -> Trainer {
    Trainer::new(two_layers(Activation::Relu, true, 1), Optimizer::sgd(0.9), 0.1, Key::new(2))
}

fn bits(trainer: &Trainer) -> Vec<Vec<u64>> {
    let numbers = |t: &Tensor| t.to_vec::<f64>().into_iter().map(f64::to_bits).collect();
    trainer.model.state_dict().iter().map(|(_, t)| numbers(t)).collect()
}

/// Invariant 2.
#[test]
fn nothing_of_a_penalty_attack_or_bound_is_plain_training() {
    let train = |mut t: Trainer| {
        (0..5).for_each(|i| drop(t.step(&batch(6, i)).unwrap()));
        bits(&t)
    };
    let plain = train(trainer());
    for t in [
        trainer().penalty(gradient(0.0)),
        trainer().penalty(perturbation(0.0)),
        trainer().penalty(PerturbationPenalty { weight: 0.0, ..perturbation(0.1) }),
        trainer().penalty(LossGradientPenalty { against: Norm::L2, weight: 0.0 }),
        trainer().penalty(SpectralPenalty::iterated(0.0, 2)),
        trainer().method(AdversarialTraining::new(Attack::l2(0.0), Plain)),
        trainer().method(AdversarialTraining::new(Attack::linf(0.0), Plain)),
    ] {
        assert_eq!(train(t), plain);
    }
    let mut bounded = trainer();
    bounded.optimizer =
        Optimizer::sgd(0.9).then(SpectralConstraint { tau: 1e3, kappa: 2.0, steps_per_epoch: 2 });
    assert_eq!(train(bounded), plain);
}

#[test]
fn gradients_of_zero_give_no_nan() {
    // Every unit of the hidden layer is off.
    let dead = two_layers(Activation::Relu, true, 1).map(|name, p| {
        if name == "fc1.bias" { Tensor::full(p.shape(), -1e6, DType::F64).requires_grad() } else { p.clone() }
    });
    let loss = BatchLoss::new(dead, batch(4, 1));
    assert_eq!(value(gradient(1.0), &loss), 0.0);
    assert_eq!(value(perturbation(0.5), &loss), 0.0);
    for against in [Norm::L2, Norm::LInf] {
        assert_eq!(value(LossGradientPenalty { against, weight: 1.0 }, &loss), 0.0);
    }
    let x = &loss.batch.inputs;
    assert_eq!(Attack::l2(0.5).inputs(&loss).unwrap().to_vec::<f64>(), x.to_vec::<f64>());
    let fixed = Attack { random_start: false, ..Attack::linf(0.5) };
    assert_eq!(fixed.inputs(&loss).unwrap().to_vec::<f64>(), x.to_vec::<f64>());
    let loss = BatchLoss { penalties: vec![Box::new(gradient(1.0)), Box::new(perturbation(0.5))], ..loss };
    assert!(loss.gradient().is_ok());
}

#[test]
fn extreme_gradients_have_a_direction() {
    for scale in [1e-200, 1e150] {
        let loss = BatchLoss::new(linear(1).map(|_, p| (p * scale).detach().requires_grad()), batch(3, 1));
        let moved = value(perturbation(0.5), &loss);
        let w = loss.model.weights()[0].value.norm(..).item();
        // 1e-400 is 0.
        assert!((moved.sqrt() - if scale < 1.0 { 0.0 } else { 0.5 * w }).abs() <= 1e-9 * w, "{moved:e}");
        let d = Attack::l2(0.5).inputs(&loss).unwrap() - &loss.batch.inputs;
        assert!(d.is_finite());
    }
}

#[test]
fn everything_composes_and_resumes_bit_for_bit() {
    let all = || {
        let mut t = trainer()
            .penalty(gradient(0.01))
            .penalty(LossGradientPenalty { against: Norm::LInf, weight: 0.01 })
            .penalty(perturbation(0.1))
            .penalty(SpectralPenalty::iterated(0.01, 1))
            .method(AdversarialTraining::new(Attack::linf(0.05), Sam::default()));
        t.optimizer =
            Optimizer::sgd(0.9).then(SpectralConstraint { tau: 0.5, kappa: 1.0, steps_per_epoch: 2 });
        t
    };
    let mut whole = all();
    (0..3).for_each(|i| drop(whole.step(&batch(6, i)).unwrap()));
    let saved = nn::Archive::from_bytes(&whole.checkpoint().to_bytes().unwrap()).unwrap();
    let mut resumed = all();
    resumed.restore(&saved).unwrap();
    for i in 3..6 {
        let (a, b) = (whole.step(&batch(6, i)).unwrap(), resumed.step(&batch(6, i)).unwrap());
        assert_eq!((a.loss, &a.extra), (b.loss, &b.extra));
        assert_eq!(a.extra.len(), 4, "{:?}", a.extra);
        for weight in whole.model.weights() {
            let bound = 0.5 * (1.0 + 4.0 * (-((i / 2) as f64)).exp());
            assert!(weight.value.detach().svd().1.at(&[0]) <= bound * (1.0 + 1e-12), "{}", weight.name);
        }
    }
    assert_eq!(bits(&whole), bits(&resumed));
}

#[test]
fn the_bound_falls_with_the_epochs() {
    let constraint = SpectralConstraint { tau: 1.5, kappa: 2.0, steps_per_epoch: 10 };
    let expected = |epoch: f64| 1.5 * (1.0 + 4.0 * (-epoch / 2.0).exp());
    for (count, epoch) in [(1, 0.0), (10, 0.0), (11, 1.0), (25, 2.0)] {
        assert_eq!(constraint.bound(count), expected(epoch));
    }
    assert_eq!(constraint.bound(u64::MAX), 1.5);
    for bad in [
        SpectralConstraint { tau: -1.0, ..constraint },
        SpectralConstraint { kappa: f64::NAN, ..constraint },
        SpectralConstraint { steps_per_epoch: 0, ..constraint },
    ] {
        assert!(bad.check().unwrap_err().to_string().starts_with("spectral: "));
    }
    // A weight that is not finite is left for the trainer to report.
    let nan = Tensor::from([[f64::NAN, 1.0], [0.0, 2.0]]);
    assert!(with_singular_values_at_most(&nan, 1.0).is_none());
    // f32, a convolution, no rows.
    let w = Tensor::normal([4, 3, 3, 3], DType::F32, Key::new(1));
    let found = with_singular_values_at_most(&w, 1.0).unwrap();
    assert_eq!((found.shape(), found.dtype()), (w.shape(), DType::F32));
    assert!(with_singular_values_at_most(&found, 1.0).is_none());
    assert!(with_singular_values_at_most(&Tensor::zeros([0, 3], DType::F64), 1.0).is_none());
}

#[test]
fn robust_accuracy_falls_with_the_radius_and_ends_at_none() {
    let mut t = trainer();
    let data = |i: u64| {
        // The class is the sign pattern of the first input.
        let x = inputs(64, i);
        let y: Vec<u32> = x.to_vec::<f64>().chunks(D).map(|row| u32::from(row[0] > 0.0)).collect();
        Batch::new(x, y)
    };
    (0..200).for_each(|i| drop(t.step(&data(i)).unwrap()));
    let of = |attack| robust_accuracy(&t.model, attack, (500..504).map(data), Key::new(1)).unwrap();
    let mut last = 1.0;
    for eps in [0.0, 0.1, 0.5, 2.0, 20.0] {
        let found = of(Attack::l2(eps).steps(20));
        assert!(found.clean > 0.9 && found.images == 256);
        assert!(found.robust <= last, "{eps}: {found:?}");
        assert!(eps > 0.0 || found.robust == found.clean);
        last = found.robust;
    }
    assert!(last < 0.05, "{last}");
    assert_eq!(of(Attack::linf(0.1)), of(Attack::linf(0.1)));
    let none = robust_accuracy(&t.model, Attack::l2(1.0), [], Key::new(1)).unwrap();
    assert!(none.images == 0 && none.robust.is_nan());
    let real = Batch::new(inputs(2, 1), Targets::Values(Tensor::zeros([2, K], DType::F64)));
    let error = robust_accuracy(&t.model, Attack::l2(1.0), [real], Key::new(1)).unwrap_err().to_string();
    assert!(error.contains("classes are needed"), "{error}");
    for (attack, part) in [
        (Attack::l2(-1.0), "attack: eps is -1; it must be finite and not negative"),
        (Attack { step: f64::NAN, ..Attack::l2(1.0) }, "attack: step is NaN"),
        (Attack::linf(1.0).steps(0), "attack: steps is 0; it must be at least 1"),
        (Attack { random_start: true, ..Attack::l2(1.0) }, "a random start is for l-inf"),
    ] {
        let error = robust_accuracy(&t.model, attack, [data(0)], Key::new(1)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
