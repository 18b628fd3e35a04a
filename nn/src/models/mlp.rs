//! A multilayer perceptron.

use registry::Row;

use super::{Blueprint, ModelSpec, SPEC};
use crate::layers::{Activation, Flatten, Linear, Sequential};

pub(super) const ROW: Row<ModelSpec> = Row {
    name: "mlp",
    help: "three fully connected layers",
    settings: &[],
    make: ModelSpec {
        layers,
        dense: |b| b.input.map(|n| n as f64).iter().product::<f64>() * 128.0 * b.width as f64,
        ..SPEC
    },
};

pub(super) const MLP40: Row<ModelSpec> = Row {
    name: "mlp40",
    help: "three fully connected layers with 40 hidden neurons",
    settings: &[],
    make: ModelSpec {
        layers: |b| of_width(b, 40),
        dense: |b| b.input.map(|n| n as f64).iter().product::<f64>() * 40.0 * b.width as f64,
        ..SPEC
    },
};

/// Three fully connected layers, fc1 and fc2 with 128 width neurons and ReLU.
pub(super) fn layers(b: Blueprint) -> Sequential {
    of_width(b, 128)
}

/// The same with `neurons` width neurons; with 40 the network of MAML's sinusoids (Finn, Abbeel, Levine 2017, arXiv
/// 1703.03400).
fn of_width(b: Blueprint, neurons: usize) -> Sequential {
    let (inputs, hidden) = (b.input.iter().product(), neurons * b.width);
    Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(inputs, hidden, b.dtype))
        .with("relu1", Activation::Relu)
        .with("fc2", Linear::new(hidden, hidden, b.dtype))
        .with("relu2", Activation::Relu)
        .with("fc3", Linear::new(hidden, b.classes, b.dtype))
}
