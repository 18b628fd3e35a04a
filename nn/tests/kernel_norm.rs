//! Penalties, attacks and spectral controls against PyTorch (tests/fixtures/kernel.py).

mod common;

use autograd::{DType, Key, Tensor};
use common::{assert_close, below, fixture, formula};
use nn::{
    Activation, Archive, Attack, Batch, BatchLoss, Conv2d, DeformationPenalty, Flatten, GradientPenalty,
    Linear, LossGradientPenalty, MaxPool2d, Method, Model, Module, Norm, Penalty, PerturbationPenalty, Plain,
    Sequential, SpectralPenalty, TangentPenalty, Transforms, with_singular_values_at_most,
};

fn loss() -> BatchLoss {
    let layers = Sequential::new()
        .with("conv", Conv2d::new(1, 3, 3, DType::F64).padding(1))
        .with("softplus", Activation::Softplus)
        .with("pool", MaxPool2d::new(2))
        .with("flatten", Flatten)
        .with("fc1", Linear::new(27, 8, DType::F64))
        .with("tanh", Activation::Tanh)
        .with("fc2", Linear::new(8, 4, DType::F64));
    let model = Model::new("small", [1, 6, 6], 4, layers).unwrap();
    let model = model.map(|name, p| formula(&format!("kernel/{name}"), p.shape()).requires_grad());
    BatchLoss::new(model, Batch::new(formula("kernel/x", [7, 1, 6, 6]), below("kernel/y", 4, 7)))
}

#[track_caller]
fn assert_same(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    let size = expected.norm(..).item().max(1e-3);
    let error = (found.reshape(expected.shape()) - expected).norm(..).item();
    assert!(error <= tolerance * size, "{what}: off by {error:e}, size {size:e}");
}

/// The value and the gradients by all parameters; 0 by those that it does not depend on.
#[track_caller]
fn agrees(value: Tensor, loss: &BatchLoss, fixture: &Archive, case: &str) {
    assert_close(value.item(), fixture.get(&format!("{case}/value")).unwrap().item(), 1e-9, case);
    let mut grads = value.backward();
    for (name, p) in loss.model.named_parameters() {
        let found = grads.take(p).unwrap_or_else(|| Tensor::zeros(p.shape(), DType::F64));
        assert_same(
            &found,
            fixture.get(&format!("{case}/d.{name}")).unwrap(),
            1e-7,
            &format!("{case}: {name}"),
        );
    }
}

#[test]
fn penalties_and_their_gradients() {
    let (fixture, loss) = (fixture("kernel"), loss());
    let deformations = Transforms::new(|x, count, _| {
        x.unsqueeze(1) + formula("kernel/deformations", [7, count, 1, 6, 6]) * 0.3
    });
    let tangents = Transforms::new(|_, count, _| formula("kernel/tangents", [7, count, 1, 6, 6]));
    let penalties: [(&str, Box<dyn Penalty>); 7] = [
        ("gradient", Box::new(GradientPenalty { weight: 0.1 })),
        ("adversarial", Box::new(PerturbationPenalty { weight: 1.0, eps: 0.5, steps: 5 })),
        ("loss-gradient-l2", Box::new(LossGradientPenalty { against: Norm::L2, weight: 0.3 })),
        ("loss-gradient-l1", Box::new(LossGradientPenalty { against: Norm::LInf, weight: 0.3 })),
        (
            "deformation",
            Box::new(DeformationPenalty { versions: 4, ..DeformationPenalty::new(0.2, deformations) }),
        ),
        ("tangent", Box::new(TangentPenalty { directions: 5, ..TangentPenalty::new(0.2, tangents) })),
        ("spectral-exact", Box::new(SpectralPenalty::exact(0.01))),
    ];
    for (case, mut penalty) in penalties {
        agrees(penalty.penalty(&loss).unwrap(), &loss, &fixture, case);
    }
}

#[test]
fn the_power_iteration_goes_on_where_it_ended() {
    let (fixture, loss) = (fixture("kernel"), loss());
    let mut penalty = SpectralPenalty::iterated(0.01, 2);
    let start = ["conv.weight", "fc1.weight", "fc2.weight"].map(|name| {
        let columns = if name.starts_with("conv") {
            9
        } else if name.starts_with("fc1") {
            27
        } else {
            8
        };
        (name.to_string(), formula(&format!("kernel/v/{name}"), [columns]))
    });
    penalty.load_state(&start).unwrap();
    for case in ["spectral/step0", "spectral/step1"] {
        agrees(penalty.penalty(&loss).unwrap(), &loss, &fixture, case);
    }
    for (name, v) in penalty.state() {
        assert_same(&v, fixture.get(&format!("spectral/v.{name}")).unwrap(), 1e-9, &name);
    }
}

#[test]
fn attacked_inputs_and_the_gradient_there() {
    let (fixture, loss) = (fixture("kernel"), loss());
    let attacked = Attack::l2(0.7).inputs(&loss).unwrap();
    assert_same(&attacked, fixture.get("pgd-l2/x").unwrap(), 1e-9, "l2");
    let mut method = nn::AdversarialTraining::new(Attack::l2(0.7), Plain);
    let gradient = method.gradient(&loss).unwrap();
    assert_close(gradient.loss, fixture.get("pgd-l2/value").unwrap().item(), 1e-9, "loss");
    for (name, g) in gradient.parameters {
        assert_same(&g, fixture.get(&format!("pgd-l2/d.{name}")).unwrap(), 1e-7, &name);
    }
    let attack = Attack { random_start: false, ..Attack::linf(0.035) };
    assert_same(&attack.inputs(&loss).unwrap(), fixture.get("pgd-linf/x").unwrap(), 1e-9, "l-inf");
    // From a random start it stays in the cube, and depends on the key alone.
    let keyed = |seed| BatchLoss { context: nn::Context::train(Key::new(seed)), ..loss.clone() };
    let of = |seed| Attack::linf(0.2).inputs(&keyed(seed)).unwrap();
    assert!((of(1) - &loss.batch.inputs).abs().max(..).item() <= 0.2 + 1e-15);
    assert_eq!(of(1).to_vec::<f64>(), of(1).to_vec::<f64>());
    assert_ne!(of(1).to_vec::<f64>(), of(2).to_vec::<f64>());
}

#[test]
fn projections() {
    let (fixture, loss) = (fixture("kernel"), loss());
    for (tau, text) in [(0.5, "0.5"), (1.0, "1.0")] {
        for weight in loss.model.weights() {
            let w = weight.value.detach();
            let found = with_singular_values_at_most(&w, tau).unwrap_or(w);
            let expected = fixture.get(&format!("projection/{text}/{}", weight.name)).unwrap();
            assert_same(&found, expected, 1e-9, &format!("{text} {}", weight.name));
        }
    }
}
