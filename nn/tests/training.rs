//! Ten steps of training against PyTorch.

mod common;

use autograd::{Key, Tensor};
use common::{assert_close, assert_digest, below, fixture, formula, model};
use nn::{Batch, BatchLoss, CrossEntropy, Module, Optimizer, Trainer};

fn agrees_with_pytorch(name: &str, input: [usize; 3], lr: f64, smoothing: f64) {
    let fixture = fixture("train");
    let model = model(name, input, false);
    for (key, t) in model.state_dict().iter().filter(|(key, _)| !key.contains("running")) {
        assert_digest(t, &fixture, &format!("{name}/init/{key}"), 1e-13);
    }
    let [c, h, w] = input;
    let images = formula(&format!("{name}/images"), [80, c, h, w]).to_vec::<f64>();
    let labels = below(&format!("{name}/labels"), 10, 80);
    let size = 8 * c * h * w;
    let batch = |k: usize| {
        let images = Tensor::new(&images[k * size..(k + 1) * size], [8, c, h, w]);
        Batch::new(images, labels[8 * k..8 * (k + 1)].to_vec())
    };

    // The gradients of the first step, without weight decay.
    let loss = CrossEntropy::smoothed(smoothing);
    let first = BatchLoss { loss: Box::new(loss.clone()), ..BatchLoss::new(model.clone(), batch(0)) };
    for (key, g) in first.gradient().unwrap().parameters {
        assert_digest(&g, &fixture, &format!("{name}/grad/{key}"), 1e-9);
    }
    drop(first);

    let optimizer = Optimizer::sgd(0.9).weight_decay(5e-4);
    let mut trainer = Trainer::new(model, optimizer, lr, Key::new(0)).loss(loss);
    for k in 0..10 {
        let step = trainer.step(&batch(k)).unwrap();
        for (what, measured) in
            [("loss", step.loss), ("fit", step.fit), ("reg", step.reg), ("acc", step.accuracy)]
        {
            let expected = fixture.get(&format!("{name}/{what}")).unwrap().at(&[k]);
            assert_close(measured, expected, 1e-9, &format!("{name}: {what} of step {k}"));
        }
    }
    for (key, t) in trainer.model.state_dict() {
        assert_digest(&t, &fixture, &format!("{name}/final/{key}"), 1e-8);
    }
}

#[test]
fn cnn9() {
    agrees_with_pytorch("cnn9", [3, 32, 32], 0.05, 0.01);
}

#[test]
fn resnet20() {
    agrees_with_pytorch("resnet20", [3, 32, 32], 0.1, 0.0);
}

#[test]
fn lenet() {
    agrees_with_pytorch("lenet", [1, 28, 28], 0.005, 0.0);
}
