//! Meta-learning: PyTorch's meta-gradients (tests/fixtures/meta.py), DropGrad's invariants, resuming, errors.

mod common;

use autograd::{DType, Key, Tensor, gradcheck, set_threads};
use common::{below, fixture, formula};
use nn::meta::{
    Adaptation, GradientNoise, Learner, MeanInterval, MetaModel, MetaTrainer, NoiseKind, NoiseSchedule, Task,
};
use nn::{
    Activation, Batch, BatchLoss, BatchNorm, Conv2d, CrossEntropy, Error, Flatten, Init, Linear, Loss,
    MaxPool2d, Model, Module, Mse, Optimizer, Outputs, ParameterGroup, Sequential, Step, Targets,
    load_state_dict,
};
use proptest::prelude::*;

const LEARNERS: [(&str, Learner); 4] = [
    ("maml", Learner::Maml),
    ("first-order", Learner::FirstOrder),
    ("meta-sgd", Learner::MetaSgd),
    ("anil", Learner::Anil),
];

fn with(learner: Learner, steps: usize, rate: f64) -> Adaptation {
    Adaptation { learner, steps, rate }
}

/// Two tanh layers from 3 features to 2 outputs; smooth.
fn mlp(key: u64) -> Model {
    let layers = Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(3, 5, DType::F64))
        .with("tanh", Activation::Tanh)
        .with("fc2", Linear::new(5, 2, DType::F64));
    drawn("meta_mlp", [3, 1, 1], 2, layers, key)
}

/// Two convolutions with batch norm and pooling, for 8 x 8 images in 3 classes.
fn conv() -> Model {
    let layers = Sequential::new()
        .with("conv1", Conv2d::new(1, 3, 3, DType::F64).padding(1).without_bias())
        .with("bn1", BatchNorm::new(3, DType::F64).relu())
        .with("pool1", MaxPool2d::new(2))
        .with("conv2", Conv2d::new(3, 4, 3, DType::F64).padding(1).without_bias())
        .with("bn2", BatchNorm::new(4, DType::F64).relu())
        .with("pool2", MaxPool2d::new(2))
        .with("flatten", Flatten)
        .with("fc", Linear::new(16, 3, DType::F64));
    drawn("meta_conv", [1, 8, 8], 3, layers, 0)
}

fn drawn(name: &str, input: [usize; 3], classes: usize, layers: Sequential, key: u64) -> Model {
    let mut model = Model::new(name, input, classes, layers).unwrap();
    model.initialise(Init::HE_NORMAL, Key::new(key));
    model
}

/// A task of six and six random examples with real targets for [`mlp`].
fn task(key: u64) -> Task {
    let key = Key::new(key);
    let batch = |name: &str| {
        let draw =
            |what: &str, shape: &[usize]| Tensor::normal(shape, DType::F64, key.stream(name).stream(what));
        Batch::new(draw("x", &[6, 3, 1, 1]), Targets::Values(draw("y", &[6, 2])))
    };
    Task { support: batch("support"), query: batch("query") }
}

fn trainer(learner: Learner, key: u64) -> MetaTrainer {
    MetaTrainer::new(mlp(key), Key::new(key)).loss(Mse).adaptation(with(learner, 2, 0.1))
}

fn noisy(kind: NoiseKind, rate: f64) -> GradientNoise {
    GradientNoise { kind, rate, ..GradientNoise::default() }
}

fn bits(tensors: impl IntoIterator<Item = (String, Tensor)>) -> Vec<(String, Vec<u64>)> {
    let of = |t: Tensor| t.to_vec::<f64>().into_iter().map(f64::to_bits).collect();
    tensors.into_iter().map(|(name, t)| (name, of(t))).collect()
}

/// The parameters of a model as one vector.
fn flat(model: &Model) -> Vec<f64> {
    model.named_parameters().iter().flat_map(|(_, p)| p.to_vec::<f64>()).collect()
}

#[track_caller]
fn assert_near(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    let (error, size) = ((found.detach() - expected.detach()).norm(..).item(), expected.norm(..).item());
    assert!(error <= tolerance * size + 1e-14, "{what}: off by {error:e}, size {size:e}");
}

/// Parameters as the fixtures have them.
fn start(mut model: Model) -> Model {
    let name = model.name.clone();
    let value = |(key, t): (String, Tensor)| {
        let f = || formula(&format!("{name}/{key}"), t.shape());
        let value = match t.rank() {
            _ if key.contains("running") => t,
            1 if key.contains("bn") && key.ends_with("weight") => f() * 0.1 + 1.0,
            1 => f() * 0.1,
            _ => f() * (6.0 / t.shape()[1..].iter().product::<usize>() as f64).sqrt(),
        };
        (key, value)
    };
    let state: Vec<(String, Tensor)> = model.state_dict().into_iter().map(value).collect();
    load_state_dict(&mut model, &state).unwrap();
    model
}

#[test]
fn meta_gradients_agree_with_pytorch() {
    let fixture = fixture("meta");
    let reals = |name: &str| {
        let y = Targets::Values(formula(&format!("{name}/y"), [6, 2]));
        Batch::new(formula(&format!("{name}/x"), [6, 3, 1, 1]), y)
    };
    let images = |name: &str| {
        Batch::new(formula(&format!("{name}/x"), [6, 1, 8, 8]), below(&format!("{name}/y"), 3, 6))
    };
    type Net<'a> = (Model, Box<dyn Loss>, &'a dyn Fn(&str) -> Batch);
    let nets: [Net; 2] =
        [(start(mlp(0)), Box::new(Mse), &reals), (start(conv()), Box::new(CrossEntropy::default()), &images)];
    for (model, loss, data) in nets {
        let net = model.name.clone();
        let tasks: Vec<Task> = (0..2)
            .map(|i| Task {
                support: data(&format!("{net}/{i}/support")),
                query: data(&format!("{net}/{i}/query")),
            })
            .collect();
        for (learner_name, learner) in LEARNERS {
            for noise in ["none", "drop", "scale"] {
                let case = format!("{net}/{learner_name}_{noise}");
                let mut trainer =
                    MetaTrainer::new(model.clone(), Key::new(0)).adaptation(with(learner, 2, 0.1));
                trainer.loss = loss.clone();
                if let Some(rates) = &mut trainer.model.rates {
                    let f = |name: &str, p: &Tensor| formula(&format!("{net}/rates.{name}"), p.shape());
                    *rates = rates.map(|name, p| (f(name, p) * 0.05 + 0.1).requires_grad());
                }
                let factor = |task: usize, k: usize, name: &str, g: &Tensor| {
                    let f = formula(&format!("{net}/{noise}/{task}/{k}/{name}"), g.shape());
                    match noise {
                        "drop" => {
                            let f = f.to_vec::<f64>();
                            let kept = |i: usize| if (f[i] + 1.0) / 2.0 >= 0.3 { 1.0 / 0.7 } else { 0.0 };
                            Some(Tensor::from_fn(*g.shape(), DType::F64, kept))
                        }
                        "scale" => Some(f * 0.5 + 1.0),
                        _ => None,
                    }
                };
                let found = trainer.gradient_with(&tasks, &factor).unwrap();
                let losses = fixture.get(&format!("{case}/losses")).unwrap();
                let mean = losses.mean(0);
                for (found, expected) in
                    [(found.metrics.query_loss, mean.at(&[0])), (found.metrics.support_loss, mean.at(&[1]))]
                {
                    common::assert_close(found, expected, 1e-9, &case);
                }
                for (name, g) in &found.parameters {
                    let expected = fixture.get(&format!("{case}/grad/{name}")).unwrap();
                    assert_near(g, expected, 1e-9, &format!("{case}: {name}"));
                }
                let stored =
                    fixture.tensors.iter().filter(|(name, _)| name.starts_with(&format!("{case}/grad")));
                assert_eq!(stored.count(), found.parameters.len());
            }
        }
    }
}

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

    /// Invariant 6: for L = |A p - b|^2 / 2 one step gives p - a n * A'(A p - b), and the meta-gradient is
    /// (I - a A'A diag(n)) g with g the query gradient there.
    #[test]
    fn quadratic_losses_have_a_closed_form(key in 0u64..1000, rate in 0.01f64..0.2) {
        let draw = |name: &str, shape: &[usize]| Tensor::normal(shape, DType::F64, Key::new(key).stream(name));
        let layers = Sequential::new().with("flatten", Flatten).with("fc", Linear::new(4, 1, DType::F64).without_bias());
        let model = drawn("quadratic", [4, 1, 1], 1, layers, key);
        let [(a, b), (c, d)] = ["s", "q"].map(|name| (draw(name, &[5, 4]), draw(&format!("{name}y"), &[5, 1])));
        let batch = |a: &Tensor, b: &Tensor| Batch::new(a.reshape([5, 4, 1, 1]), Targets::Values(b.clone()));
        let n = draw("n", &[4, 1]);
        let trainer = MetaTrainer::new(model.clone(), Key::new(0)).loss(HalfSquares).adaptation(with(Learner::Maml, 1, rate));
        let one = Task { support: batch(&a, &b), query: batch(&c, &d) };
        let found = trainer.gradient_with(&[one], &|_, _, _, _| Some(n.reshape([1, 4]))).unwrap();
        let p = model.named_parameters()[0].1.detach().reshape([4, 1]);
        let g = a.transpose(0, 1).matmul(&(a.matmul(&p) - &b));
        let p1 = &p - &n * g * rate;
        let r = c.matmul(&p1) - &d;
        let query = c.transpose(0, 1).matmul(&r);
        let expected = &query - a.transpose(0, 1).matmul(&a.matmul(&(&n * &query))) * rate;
        common::assert_close(found.metrics.query_loss, (&r * &r).sum(..).item() / 2.0, 1e-12, "query loss");
        assert_near(&found.parameters["fc.weight"].reshape([4, 1]), &expected, 1e-11, "meta-gradient");
    }
}

/// Half the sum of squared errors.
#[derive(Clone)]
struct HalfSquares;

impl Loss for HalfSquares {
    fn name(&self) -> &str {
        "half-squares"
    }
    fn loss(&mut self, outputs: &Outputs, targets: &Targets, _: Step) -> Result<Tensor, Error> {
        let Targets::Values(y) = targets else { panic!("real targets") };
        let r = &outputs.values - y;
        Ok((&r * &r).sum(..) * 0.5)
    }
}

/// A loss that is linear in the outputs.
#[derive(Clone)]
struct Product;

impl Loss for Product {
    fn name(&self) -> &str {
        "product"
    }
    fn loss(&mut self, outputs: &Outputs, targets: &Targets, _: Step) -> Result<Tensor, Error> {
        let Targets::Values(y) = targets else { panic!("real targets") };
        Ok((&outputs.values * y).sum(..))
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

/// Invariant 5.
#[test]
fn first_and_second_order_are_the_same_for_linear_losses_alone() {
    let task = task(1);
    let gradient = |learner, loss: Box<dyn Loss>, steps| {
        let layers = Sequential::new().with("flatten", Flatten).with("fc", Linear::new(3, 2, DType::F64));
        let model = drawn("linear", [3, 1, 1], 2, layers, 1);
        let mut trainer = MetaTrainer::new(model, Key::new(0)).adaptation(with(learner, steps, 0.1));
        trainer.loss = loss;
        bits(trainer.gradient(std::slice::from_ref(&task)).unwrap().parameters)
    };
    for steps in [1, 3] {
        assert_eq!(
            gradient(Learner::Maml, Box::new(Product), steps),
            gradient(Learner::FirstOrder, Box::new(Product), steps)
        );
        assert_ne!(
            gradient(Learner::Maml, Box::new(Mse), steps),
            gradient(Learner::FirstOrder, Box::new(Mse), steps)
        );
    }
    assert_eq!(gradient(Learner::Maml, Box::new(Mse), 0), gradient(Learner::FirstOrder, Box::new(Mse), 0));
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

/// Invariant 8, at orders 1 and 2, for parameters and rates; first order is no gradient, and must fail.
#[test]
fn the_meta_gradient_passes_gradcheck_with_fixed_factors() {
    let layers = Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(3, 4, DType::F64))
        .with("bn", BatchNorm::new(4, DType::F64))
        .with("tanh", Activation::Tanh)
        .with("fc2", Linear::new(4, 2, DType::F64));
    let model = drawn("smooth", [3, 1, 1], 2, layers, 7);
    let task = task(7);
    for (name, learner) in LEARNERS {
        let adaptation = with(learner, 2, 0.2);
        let start = MetaModel::new(model.clone(), &adaptation);
        let parameters: Vec<Tensor> = start.named_parameters().into_iter().map(|(_, p)| p.detach()).collect();
        let f = |p: &[Tensor]| {
            let mut p = p.iter();
            let start = start.map(|_, _| p.next().unwrap().clone());
            let support = BatchLoss {
                loss: Box::new(Mse),
                ..BatchLoss::new(start.model.clone(), task.support.clone())
            };
            let factor = |k: usize, name: &str, g: &Tensor| {
                Some(Tensor::ones(*g.shape(), DType::F64).dropout(0.3, Key::new(k as u64).stream(name)))
            };
            let model = adaptation.adapt(&start, &support, &factor).unwrap();
            BatchLoss { model, batch: task.query.clone(), ..support }.pass().unwrap().loss
        };
        let report = gradcheck(f, &parameters, 2);
        assert_eq!(report.pass(), learner != Learner::FirstOrder, "{name}: {report}");
    }
}

#[test]
fn a_resumed_run_has_the_same_bytes_for_any_number_of_threads() {
    let make = || {
        let noise = GradientNoise {
            schedule: NoiseSchedule::Linear { steps: 6 },
            ..noisy(NoiseKind::Bernoulli, 0.3)
        };
        trainer(Learner::MetaSgd, 4).noise(noise)
    };
    let tasks = |step: u64| [task(20 + step), task(30 + step)];
    let mut whole = make();
    let losses: Vec<f64> = (0..6).map(|i| whole.step(&tasks(i)).unwrap().query_loss).collect();
    set_threads(1);
    let mut first = make();
    (0..3).for_each(|i| assert_eq!(first.step(&tasks(i)).unwrap().step, i));
    let bytes = first.checkpoint().to_bytes().unwrap();
    let mut second = make();
    second.restore(&nn::Archive::from_bytes(&bytes).unwrap()).unwrap();
    assert_eq!(second.step_count(), 3);
    let rest: Vec<f64> = (3..6).map(|i| second.step(&tasks(i)).unwrap().query_loss).collect();
    assert_eq!(rest, losses[3..]);
    assert_eq!(second.checkpoint().to_bytes().unwrap(), whole.checkpoint().to_bytes().unwrap());
    let names: Vec<String> = second.checkpoint().tensors.into_iter().map(|(name, _)| name).collect();
    assert!(names.iter().any(|n| n == "model.rates.fc1.weight"), "{names:?}");
    assert!(names.iter().any(|n| n == "optimizer.adam.mean.rates.fc1.weight"), "{names:?}");
    // Of another learner: nothing changes.
    let mut other = trainer(Learner::Maml, 4);
    assert!(other.restore(&whole.checkpoint()).unwrap_err().to_string().contains("rates.fc1.weight"));
    assert_eq!(other.step_count(), 0);
    assert!(other.restore(&nn::Archive::default()).unwrap_err().to_string().contains("no step"));
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

#[test]
fn sums_means_and_frozen_parameters() {
    let tasks = [task(1), task(2), task(3)];
    let sum = trainer(Learner::Maml, 1).gradient(&tasks).unwrap();
    let mean = trainer(Learner::Maml, 1).mean().gradient(&tasks).unwrap();
    assert_eq!(sum.metrics.query_loss, mean.metrics.query_loss);
    for (name, g) in &sum.parameters {
        assert_near(&(&mean.parameters[name] * 3.0), g, 1e-14, name);
    }
    // Frozen parameters neither adapt nor change.
    let sgd = Optimizer::sgd(0.0).group(ParameterGroup::new("fc1.*").frozen());
    let mut frozen = trainer(Learner::Maml, 1).optimizer(sgd, 0.1);
    let before = frozen.model.state_dict();
    let found = frozen.gradient(&tasks).unwrap();
    assert_eq!(found.parameters.keys().collect::<Vec<_>>(), ["fc2.bias", "fc2.weight"]);
    frozen.step(&tasks).unwrap();
    let after = frozen.model.state_dict();
    assert_eq!(bits(before[..2].to_vec()), bits(after[..2].to_vec()));
    assert_ne!(bits(before[2..].to_vec()), bits(after[2..].to_vec()));
}

#[test]
fn running_statistics_stay_and_one_example_is_enough() {
    let mut trainer = MetaTrainer::new(conv(), Key::new(0)).adaptation(with(Learner::Maml, 2, 0.1));
    let batch = |n: usize| {
        let x = Tensor::normal([n, 1, 8, 8], DType::F64, Key::new(n as u64));
        Batch::new(x, (0..n as u32).map(|i| i % 3).collect::<Vec<u32>>())
    };
    let running =
        |t: &MetaTrainer| bits(t.model.state_dict().into_iter().filter(|(name, _)| name.contains("running")));
    let before = running(&trainer);
    let metrics = trainer.step(&[Task { support: batch(1), query: batch(3) }]).unwrap();
    assert!(metrics.query_loss.is_finite() && (0.0..=1.0).contains(&metrics.query_accuracy));
    assert_eq!(before.len(), 4);
    assert_eq!(running(&trainer), before);
}

#[test]
fn mistakes_are_explained() {
    let fails = |trainer: MetaTrainer, part: &str| {
        let error = trainer.check().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let maml = || trainer(Learner::Maml, 0);
    fails(maml().noise(noisy(NoiseKind::Bernoulli, 1.0)), "noise rate is 1; it must be from 0 to 1, below 1");
    fails(maml().noise(noisy(NoiseKind::None, f64::NAN)), "noise rate is NaN");
    fails(maml().noise(noisy(NoiseKind::Gaussian, -0.1)), "noise rate is -0.1");
    fails(maml().adaptation(with(Learner::Maml, 1, f64::INFINITY)), "inner rate is inf");
    fails(maml().adaptation(with(Learner::MetaSgd, 0, 0.1)), "meta-sgd with 0 inner steps");
    let layers = Sequential::new().with("conv", Conv2d::new(1, 2, 1, DType::F64)).with("flatten", Flatten);
    let no_classifier = drawn("bare", [1, 1, 1], 2, layers, 0);
    let anil = MetaTrainer::new(no_classifier, Key::new(0)).adaptation(with(Learner::Anil, 1, 0.1));
    fails(anil, "model bare has none");
    assert!(maml().check().is_ok());
    let error = maml().gradient(&[]).unwrap_err().to_string();
    assert!(error.contains("without tasks"), "{error}");
    // A batch whose targets do not fit is an error of the loss.
    let wrong = Task { support: Batch::new(task(0).support.inputs, vec![0; 5]), query: task(0).query };
    assert!(maml().gradient(&[wrong]).unwrap_err().to_string().contains("for 5 targets"));
    // Divergence names the step and the first operation, and leaves the trainer as it was.
    let mut wild = maml().adaptation(with(Learner::Maml, 5, 1e200));
    let before = bits(wild.model.state_dict());
    let error = wild.step(&[task(0)]).unwrap_err();
    assert!(matches!(&error, Error::NotFinite { step: 0, anomaly: Some(_), .. }), "{error}");
    assert_eq!((bits(wild.model.state_dict()), wild.step_count()), (before, 0));
}
