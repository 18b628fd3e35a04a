use autograd::{DType, Tensor};

use super::*;
use crate::{Adam, Archive, Mse, ParameterGroup, Role, Weight, models};

/// A regulariser with a state: a different part of the weights' squares each time.
#[derive(Clone)]
struct Growing {
    factor: Tensor,
}

impl Regulariser for Growing {
    fn penalty(&mut self, weights: &[Weight], _: Step) -> Result<Tensor, Error> {
        self.factor = &self.factor * 1.5;
        let last = weights.iter().find(|w| w.role == Role::Classifier).unwrap();
        Ok((&last.value * &last.value).sum(..) * &self.factor)
    }
    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("factor".into(), self.factor.clone())]
    }
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        self.factor = state[0].1.clone();
        Ok(())
    }
    fn metrics(&self) -> Vec<(String, f64)> {
        vec![("factor".into(), self.factor.item())]
    }
}

fn trainer() -> Trainer {
    let model = models::build("cnn6", [1, 8, 8], 3, 1, Key::new(1), DType::F64).unwrap();
    let optimizer = Optimizer::sgd(0.9).weight_decay(1e-3);
    Trainer::new(model, optimizer, 0.05, Key::new(2))
        .schedule(Schedule::Cosine { steps: 10, min: 0.0 })
        .loss(CrossEntropy::smoothed(0.1))
        .regulariser(Growing { factor: Tensor::from(1e-3) })
}

fn batch(i: u64) -> Batch {
    let images = Tensor::normal([6, 1, 8, 8], DType::F64, Key::new(3).step(i));
    Batch::new(images, vec![0, 1, 2, 0, 1, 2]).epoch(i / 4)
}

fn numbers(trainer: &Trainer) -> Vec<u64> {
    trainer.model.state_dict().iter().flat_map(|(_, t)| t.to_vec::<f64>()).map(f64::to_bits).collect()
}

#[test]
fn a_resumed_run_is_the_same_bit_for_bit() {
    let mut whole = trainer();
    for i in 0..3 {
        whole.step(&batch(i)).unwrap();
    }
    let bytes = whole.checkpoint().to_bytes().unwrap();
    let mut resumed = trainer();
    resumed.restore(&Archive::from_bytes(&bytes).unwrap()).unwrap();
    assert_eq!(resumed.step_count(), 3);
    for i in 3..6 {
        let (a, b) = (whole.step(&batch(i)).unwrap(), resumed.step(&batch(i)).unwrap());
        assert_eq!(StepMetrics { time: b.time, ..a }, b);
    }
    assert_eq!(numbers(&whole), numbers(&resumed));
    assert_eq!(whole.checkpoint().to_bytes().unwrap(), resumed.checkpoint().to_bytes().unwrap());
}

#[test]
fn metrics_say_what_happened() {
    let mut t = trainer();
    let first = t.step(&batch(0)).unwrap();
    assert_eq!((first.step, first.epoch, first.lr), (0, 0, 0.05));
    assert!((first.loss - first.fit - first.reg).abs() < 1e-15 && first.reg > 0.0);
    assert_eq!(first.extra, [("factor".to_string(), 1.5e-3)]);
    let second = t.step(&batch(1)).unwrap();
    assert!(second.step == 1 && second.lr < 0.05);
}

#[test]
fn training_learns() {
    let mut t = trainer();
    t.regulariser = None;
    let losses: Vec<f64> = (0..10).map(|_| t.step(&batch(0)).unwrap().loss).collect();
    assert!(losses[9] < 0.6 * losses[0], "{losses:?}");
}

#[test]
fn checkpoints_of_something_else_change_nothing() {
    let mut t = trainer();
    let good = t.checkpoint();
    let before = numbers(&t);
    let mut other = good.clone();
    other.metadata.insert("model".into(), "cnn9".into());
    let mut short = good.clone();
    short.tensors.retain(|(name, _)| name != "model.fc1.bias");
    let mut no_step = good.clone();
    no_step.metadata.clear();
    for (archive, part) in [
        (other, "the checkpoint is of model cnn9, not cnn6"),
        (short, "fc1.bias [64] is missing"),
        (no_step, "not a checkpoint"),
    ] {
        let error = t.restore(&archive).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(numbers(&t), before);
    t.regulariser = None;
    assert!(t.restore(&good).unwrap_err().to_string().contains("with a regulariser"));
}

#[test]
fn a_stop_flag_ends_between_two_steps() {
    let mut t = trainer();
    let stop = AtomicBool::new(false);
    let outcome = t.fit((0..9).map(batch), &stop, |trainer, metrics| {
        assert_eq!(trainer.step_count(), metrics.step + 1);
        stop.store(metrics.step == 1, Ordering::Relaxed);
        Ok::<(), Error>(())
    });
    assert_eq!((outcome.unwrap(), t.step_count()), (Outcome::Stopped, 2));
    stop.store(false, Ordering::Relaxed);
    let outcome = t.fit((2..4).map(batch), &stop, |_, _| Ok::<(), Error>(()));
    assert_eq!((outcome.unwrap(), t.step_count()), (Outcome::Finished, 4));
    let failed = t.fit((4..9).map(batch), &stop, |_, _| Err(Error::Config("disk full".into())));
    assert_eq!((failed.unwrap_err().to_string(), t.step_count()), ("disk full".to_string(), 5));
}

#[test]
fn a_loss_that_is_not_finite_names_the_step_and_the_operation() {
    #[derive(Clone)]
    struct Bad;
    impl Regulariser for Bad {
        fn penalty(&mut self, weights: &[Weight], step: Step) -> Result<Tensor, Error> {
            let sum = weights[0].value.sum(..);
            Ok(if step.index < 1 { sum } else { (&sum - &sum).log() })
        }
    }
    let mut t = trainer().regulariser(Bad);
    t.step(&batch(0)).unwrap();
    let before = numbers(&t);
    let error = t.step(&batch(1)).unwrap_err().to_string();
    assert!(error.starts_with("step 1: the loss is not finite; the result of log [[]] -> []"), "{error}");
    assert!(error.contains("train/tests.rs"), "{error}");
    assert_eq!(numbers(&t), before, "weights and running statistics are those before the step");
}

#[test]
fn a_gradient_that_is_not_finite_is_found_before_the_update() {
    #[derive(Clone)]
    struct Steep;
    impl Regulariser for Steep {
        fn penalty(&mut self, weights: &[Weight], _: Step) -> Result<Tensor, Error> {
            Ok((&weights[0].value - weights[0].value.detach()).sum(..).sqrt())
        }
    }
    let mut t = trainer().regulariser(Steep);
    let before = numbers(&t);
    let error = t.step(&batch(0)).unwrap_err().to_string();
    assert!(
        error.contains("the gradient of conv1_1.weight is not finite; the gradient through sqrt"),
        "{error}"
    );
    assert_eq!(numbers(&t), before);
}

#[test]
fn a_weight_that_already_was_nan_is_told_apart() {
    let mut t = trainer();
    t.model.visit_mut(&mut |name, w, _| {
        if name == "fc1.bias" {
            w.update::<f64>(|v| v[0] = f64::NAN);
        }
    });
    let error = t.step(&batch(0)).unwrap_err().to_string();
    assert!(error.contains("a weight or an image already was"), "{error}");
}

#[test]
fn frozen_parameters_stay() {
    let mut t = trainer();
    t.optimizer = Optimizer::new(Adam::default()).group(ParameterGroup::new("conv*").frozen());
    let conv = |t: &Trainer| t.model.weights()[0].value.to_vec::<f64>();
    let before = conv(&t);
    t.step(&batch(0)).unwrap();
    assert_eq!(conv(&t), before);
}

#[test]
fn evaluation_counts_every_image_once() {
    let t = trainer();
    let all = batch(0);
    let part = |from: usize, to: usize| all.part(from..to);
    let before = numbers(&t);
    let whole = evaluate(&t.model, [all.clone()]);
    let parts = evaluate(&t.model, [part(0, 1), part(1, 4), part(4, 6)]);
    assert!((whole.loss - parts.loss).abs() < 1e-12);
    assert_eq!((whole.images, whole.accuracy, whole.confusion.total()), (6, parts.accuracy, 6));
    assert_eq!((whole.accuracy, whole.top5), (whole.confusion.accuracy(), 1.0));
    assert_eq!(numbers(&t), before);
    assert!(evaluate(&t.model, []).loss.is_nan());
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads: usize| {
        autograd::set_threads(threads);
        let mut t = trainer();
        (0..2).for_each(|i| drop(t.step(&batch(i)).unwrap()));
        numbers(&t)
    };
    let before = autograd::threads();
    let one = run(1);
    assert_eq!(run(2), one);
    assert_eq!(run(7), one);
    autograd::set_threads(before);
}

#[test]
fn plateau_and_early_stopping_are_part_of_a_checkpoint() {
    let new = || {
        let mut t = trainer();
        (t.plateau, t.early_stopping) = (Some(Plateau::new(0.5, 0)), Some(EarlyStopping::new(3)));
        t
    };
    let mut t = new();
    let before = t.now().lr;
    (0..2).for_each(|_| t.judge(1.0));
    assert_eq!(t.now().lr, 0.5 * before);
    assert_eq!(t.step(&batch(0)).unwrap().lr, 0.5 * before);
    let mut resumed = new();
    resumed.restore(&t.checkpoint()).unwrap();
    assert_eq!((&resumed.plateau, &resumed.early_stopping), (&t.plateau, &t.early_stopping));
    (0..2).for_each(|_| resumed.judge(1.0));
    let stop = AtomicBool::new(false);
    let outcome = resumed.fit((1..4).map(batch), &stop, |_, _| Ok::<(), Error>(())).unwrap();
    assert_eq!((outcome, resumed.step_count()), (Outcome::Converged, 1));
}

#[test]
fn real_targets_are_evaluated_by_their_errors() {
    let model = models::build("mlp", [1, 4, 4], 2, 1, Key::new(1), DType::F64).unwrap();
    let inputs = Tensor::normal([5, 1, 4, 4], DType::F64, Key::new(2));
    let y = Tensor::normal([5, 2], DType::F64, Key::new(3));
    let batch = Batch::new(inputs, Targets::Values(y.clone()));
    let whole = evaluate_loss(&model, &Mse, [batch.clone()]).unwrap();
    let parts = evaluate_loss(&model, &Mse, [batch.part(0..2), batch.part(2..5)]).unwrap();
    let errors = whole.regression.clone().unwrap();
    let p = model.detached().forward(&batch.inputs, &mut Context::eval());
    let mean = y.mean([0]).reshape([1, 2]);
    let squares = |t: Tensor| &t * &t;
    let total = squares(&y - &mean).sum(..).item();
    let r2 = 1.0 - squares(&p - &y).sum(..).item() / total;
    assert!(
        (errors.r2() - r2).abs() < 1e-12 && (errors.mae() - (&p - &y).abs().mean(..).item()).abs() < 1e-12
    );
    assert!((whole.loss - squares(&p - &y).mean(..).item()).abs() < 1e-12);
    let other = parts.regression.unwrap();
    assert!((parts.loss - whole.loss).abs() < 1e-12 && (other.r2() - r2).abs() < 1e-12);
    assert!(whole.accuracy.is_nan() && whole.confusion.total() == 0);
    // Targets that are classes have no regression errors.
    let classes = Batch::new(batch.inputs, vec![0, 1, 0, 1, 1]);
    assert_eq!(evaluate_loss(&model, &Mse, [classes]).unwrap().regression, None);
}
