//! Ten steps under SAM and under other losses against PyTorch (tests/fixtures/methods.py).

mod common;

use autograd::{Key, Tensor};
use common::{assert_close, assert_digest, below, fixture, formula, model};
use nn::{Batch, CrossEntropy, Loss, Method, Module, Mse, Optimizer, Plain, Sam, Trainer};

fn agrees_with_pytorch(
    run: &str,
    name: &str,
    input: [usize; 3],
    lr: f64,
    loss: impl Loss + 'static,
    method: impl Method + 'static,
) {
    let fixture = fixture("methods");
    let [c, h, w] = input;
    let images = formula(&format!("{name}/images"), [80, c, h, w]);
    let labels = below(&format!("{name}/labels"), 10, 80);
    let batch = |k: usize| Batch::new(images.clone(), labels.clone()).part(8 * k..8 * (k + 1));
    let optimizer = Optimizer::sgd(0.9).weight_decay(5e-4);
    let mut trainer =
        Trainer::new(model(name, input, false), optimizer, lr, Key::new(0)).loss(loss).method(method);
    for (key, g) in trainer.gradient(&batch(0)).unwrap().parameters {
        assert_digest(&g, &fixture, &format!("{run}/grad/{key}"), 1e-9);
    }
    let losses: &Tensor = fixture.get(&format!("{run}/loss")).unwrap();
    for k in 0..10 {
        let step = trainer.step(&batch(k)).unwrap();
        assert_close(step.loss, losses.at(&[k]), 1e-9, &format!("{run}: loss of step {k}"));
    }
    for (key, t) in trainer.model.state_dict() {
        assert_digest(&t, &fixture, &format!("{run}/final/{key}"), 1e-8);
    }
}

#[test]
fn sam() {
    let sam = Sam::default();
    let loss = CrossEntropy::smoothed(0.01);
    agrees_with_pytorch("cnn9_sam", "cnn9", [3, 32, 32], 0.005, loss.clone(), sam);
    agrees_with_pytorch("lenet_sam", "lenet", [1, 28, 28], 0.002, loss, sam);
}

#[test]
fn a_floor() {
    let loss = CrossEntropy { smoothing: 0.01, floor: 1e-4, ..CrossEntropy::default() };
    agrees_with_pytorch("lenet_floor", "lenet", [1, 28, 28], 0.005, loss, Plain);
}

#[test]
fn the_mean_squared_error() {
    agrees_with_pytorch("lenet_mse", "lenet", [1, 28, 28], 0.001, Mse, Plain);
}
