//! Models and tasks of the tests of meta-learning.

use autograd::{DType, Key, Tensor};
use nn::meta::{Adaptation, GradientNoise, Learner, MetaTrainer, NoiseKind, Task};
use nn::{
    Activation, Batch, BatchNorm, Conv2d, Flatten, Init, Linear, MaxPool2d, Model, Module, Mse, Sequential,
    Targets,
};

pub const LEARNERS: [(&str, Learner); 4] = [
    ("maml", Learner::Maml),
    ("first-order", Learner::FirstOrder),
    ("meta-sgd", Learner::MetaSgd),
    ("anil", Learner::Anil),
];

pub fn with(learner: Learner, steps: usize, rate: f64) -> Adaptation {
    Adaptation { learner, steps, rate }
}

/// Two tanh layers from 3 features to 2 outputs; smooth.
pub fn mlp(key: u64) -> Model {
    let layers = Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(3, 5, DType::F64))
        .with("tanh", Activation::Tanh)
        .with("fc2", Linear::new(5, 2, DType::F64));
    drawn("meta_mlp", [3, 1, 1], 2, layers, key)
}

/// Two convolutions with batch norm and pooling, for 8 x 8 images in 3 classes.
pub fn conv() -> Model {
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

pub fn drawn(name: &str, input: [usize; 3], classes: usize, layers: Sequential, key: u64) -> Model {
    let mut model = Model::new(name, input, classes, layers).unwrap();
    model.initialise(Init::HE_NORMAL, Key::new(key));
    model
}

/// A task of six and six random examples with real targets for [`mlp`].
pub fn task(key: u64) -> Task {
    let key = Key::new(key);
    let batch = |name: &str| {
        let draw =
            |what: &str, shape: &[usize]| Tensor::normal(shape, DType::F64, key.stream(name).stream(what));
        Batch::new(draw("x", &[6, 3, 1, 1]), Targets::Values(draw("y", &[6, 2])))
    };
    Task { support: batch("support"), query: batch("query") }
}

pub fn trainer(learner: Learner, key: u64) -> MetaTrainer {
    MetaTrainer::new(mlp(key), Key::new(key)).loss(Mse).adaptation(with(learner, 2, 0.1))
}

pub fn noisy(kind: NoiseKind, rate: f64) -> GradientNoise {
    GradientNoise { kind, rate, ..GradientNoise::default() }
}

pub fn bits(tensors: impl IntoIterator<Item = (String, Tensor)>) -> Vec<(String, Vec<u64>)> {
    let of = |t: Tensor| t.to_vec::<f64>().into_iter().map(f64::to_bits).collect();
    tensors.into_iter().map(|(name, t)| (name, of(t))).collect()
}

/// The parameters of a model as one vector.
pub fn flat(model: &Model) -> Vec<f64> {
    model.named_parameters().iter().flat_map(|(_, p)| p.to_vec::<f64>()).collect()
}

#[track_caller]
pub fn assert_near(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    let (error, size) = ((found.detach() - expected.detach()).norm(..).item(), expected.norm(..).item());
    assert!(error <= tolerance * size + 1e-14, "{what}: off by {error:e}, size {size:e}");
}
