//! Meta-learning: PyTorch's meta-gradients (tests/fixtures/meta.py), closed forms, gradcheck, resuming, errors.

mod common;

use autograd::{DType, Key, Tensor, gradcheck, set_threads};
use common::meta::*;
use common::{below, fixture, formula};
use nn::meta::{GradientNoise, Learner, MetaModel, MetaTrainer, NoiseKind, NoiseSchedule, Task};
use nn::{
    Activation, Batch, BatchLoss, BatchNorm, Conv2d, CrossEntropy, Error, Flatten, Linear, Loss, Model,
    Module, Mse, Optimizer, Outputs, ParameterGroup, Schedule, Sequential, Step, Targets, load_state_dict,
};
use proptest::prelude::*;

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
        trainer(Learner::MetaSgd, 4).noise(noise).schedule(Schedule::Cosine { steps: 6, min: 0.0 })
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
    assert!((make().rate() - 0.001).abs() < 1e-18 && (second.rate() - 0.0005).abs() < 1e-18);
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
