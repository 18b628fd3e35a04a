//! The semi-supervised term of ISDA in training.

use autograd::{DType, Key, Tensor};
use nn::{
    Batch, ConsistencyPenalty, Covariance, Isda, Loss, Model, Module, Optimizer, Ramp, Trainer, Unlabelled,
};
use proptest::prelude::*;

fn model(name: &str) -> Model {
    nn::models::build(name, [1, 8, 8], 3, 1, Key::new(0), DType::F64).unwrap()
}

fn images(n: usize, key: Key) -> Tensor {
    Tensor::normal([n, 1, 8, 8], DType::F64, key)
}

fn unlabelled(n: usize) -> Unlabelled {
    Unlabelled::new(move |step| images(n, Key::new(5).step(step.index)))
}

fn trainer(name: &str, penalty: ConsistencyPenalty, form: Covariance) -> Trainer {
    let mut trainer =
        Trainer::new(model(name), Optimizer::sgd(0.0), 0.01, Key::new(0)).loss(Isda::new(0.5, form));
    trainer.penalties.push(Box::new(penalty));
    trainer
}

fn batch() -> Batch {
    Batch::new(images(6, Key::new(2)), vec![0, 1, 0, 1, 2, 2])
}

#[test]
fn the_term_is_the_bound_at_the_estimate_of_the_labelled_batches() {
    for (form, name) in [Covariance::Full, Covariance::Diagonal].into_iter().zip(["mlp", "resnet20"]) {
        let penalty = ConsistencyPenalty {
            ramp: Some(Ramp::new(4)),
            ..ConsistencyPenalty::new(0.7, 0.5, unlabelled(4))
        };
        let mut trainer = trainer(name, penalty, form);
        // Nothing has been estimated before the first step.
        let first = trainer.gradient(&batch()).unwrap().numbers.terms;
        trainer.step(&batch()).unwrap();
        assert_eq!((first[1].0.as_str(), first[1].1), ("consistency", 0.0));
        let state = trainer.loss.state();
        let loss = trainer.batch_loss(&batch());
        let buffers = trainer.model.state_dict();
        let pass = loss.pass().unwrap();
        let mut isda = Isda { ramp: Some(Ramp::new(4)), ..Isda::new(0.5, form) };
        isda.load_state(&state).unwrap();
        let outputs = loss.outputs(&unlabelled(4).at(loss.step));
        let bound = 0.7 * isda.consistency(&outputs, loss.step).unwrap().item();
        assert!(bound > 0.0 && (pass.terms[1].1.item() - bound).abs() < 1e-15, "{bound}");
        let parts: f64 = pass.terms.iter().map(|(_, term)| term.item()).sum();
        assert!((pass.loss.item() - parts).abs() < 1e-14);
        for ((name, a), (_, b)) in buffers.iter().zip(&trainer.model.state_dict()) {
            assert_eq!(a.to_vec::<f64>(), b.to_vec::<f64>(), "{name}");
        }
        // Running statistics are those of a run without the term.
        let mut alone =
            Trainer::new(model(name), Optimizer::sgd(0.0), 0.01, Key::new(0)).loss(Isda::new(0.5, form));
        alone.step(&batch()).unwrap();
        for ((name, a), (_, b)) in alone.model.state_dict().iter().zip(&buffers) {
            assert_eq!(a.to_vec::<f64>(), b.to_vec::<f64>(), "{name}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |trainer: &mut Trainer| trainer.step(&batch()).err().unwrap().to_string();
    let mut other = Trainer::new(model("mlp"), Optimizer::sgd(0.0), 0.01, Key::new(0));
    other.penalties.push(Box::new(ConsistencyPenalty::new(1.0, 0.5, unlabelled(4))));
    assert!(refused(&mut other).contains("the loss is cross-entropy"));
    let mut negative = trainer("mlp", ConsistencyPenalty::new(-1.0, 0.5, unlabelled(4)), Covariance::Full);
    assert!(refused(&mut negative).contains("-1"));
    let mut lambda = trainer("mlp", ConsistencyPenalty::new(1.0, f64::NAN, unlabelled(4)), Covariance::Full);
    lambda.step(&batch()).unwrap();
    assert!(refused(&mut lambda).contains("lambda is NaN"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 12, ..ProptestConfig::default() })]

    /// It is never negative, grows with lambda, is 0 for lambda or weight 0 and without inputs, and does not change the
    /// labelled term.
    #[test]
    fn it_grows_with_lambda(seed in any::<u64>(), n in 0usize..5, lambda in 0.0f64..2.0, weight in 0.0f64..2.0) {
        let inputs = Unlabelled::new(move |step| images(n, Key::new(seed).step(step.index)));
        let term = |weight: f64, lambda: f64| {
            let mut trainer = trainer("mlp", ConsistencyPenalty::new(weight, lambda, inputs.clone()), Covariance::Full);
            trainer.step(&batch()).unwrap();
            let terms = trainer.gradient(&batch()).unwrap().numbers.terms;
            (terms[0].1, terms[1].1)
        };
        let (fit, found) = term(weight, lambda);
        prop_assert!(found >= -1e-14);
        prop_assert!(term(weight, lambda + 0.5).1 >= found - 1e-14);
        prop_assert_eq!(fit, term(0.0, lambda).0);
        prop_assert!(term(weight, 0.0).1.abs() < 1e-14);
        prop_assert_eq!(term(0.0, lambda).1, 0.0);
        prop_assert!(n > 0 || found == 0.0);
    }
}
