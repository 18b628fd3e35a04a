//! A multilayer perceptron.

use super::Blueprint;
use crate::layers::{Activation, Flatten, Linear, Sequential};

/// Three fully connected layers, fc1 and fc2 with 128 width neurons and ReLU.
pub(super) fn layers(b: Blueprint) -> Sequential {
    let (inputs, hidden) = (b.input.iter().product(), 128 * b.width);
    Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(inputs, hidden, b.dtype))
        .with("relu1", Activation::Relu)
        .with("fc2", Linear::new(hidden, hidden, b.dtype))
        .with("relu2", Activation::Relu)
        .with("fc3", Linear::new(hidden, b.classes, b.dtype))
}
