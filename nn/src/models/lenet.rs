//! A small convolutional network in the manner of LeNet-5 (LeCun et al. 1998).

use registry::Row;

use super::{Blueprint, ModelSpec, SPEC};
use crate::layers::{Activation, Conv2d, Flatten, Linear, MaxPool2d, Sequential};

pub(super) const ROW: Row<ModelSpec> = Row {
    name: "lenet",
    help: "two convolutions, two fully connected layers",
    settings: &[],
    make: ModelSpec {
        layers,
        dense: |b| {
            let [_, h, w] = b.input.map(|n| n as f64);
            (h / 4.0) * (w / 4.0) * 64.0 * 128.0 * (b.width as f64).powi(2)
        },
        ..SPEC
    },
};

/// Two times [5x5 conv, 2x2 max pool, ReLU], which is [conv, ReLU, pool] with a quarter of the work for ReLU, with 32 width and 64 width filters, then fc1 with 128 width
/// neurons and ReLU, then fc2.
pub(super) fn layers(b: Blueprint) -> Sequential {
    let [channels, h, w] = b.input;
    let (first, second, hidden) = (32 * b.width, 64 * b.width, 128 * b.width);
    Sequential::new()
        .with("conv1", Conv2d::new(channels, first, 5, b.dtype).padding(2))
        .with("pool1", MaxPool2d::new(2))
        .with("relu1", Activation::Relu)
        .with("conv2", Conv2d::new(first, second, 5, b.dtype).padding(2))
        .with("pool2", MaxPool2d::new(2))
        .with("relu2", Activation::Relu)
        .with("flatten", Flatten)
        .with("fc1", Linear::new((h / 4) * (w / 4) * second, hidden, b.dtype))
        .with("relu3", Activation::Relu)
        .with("fc2", Linear::new(hidden, b.classes, b.dtype))
}
