//! The plain convolutional networks CNN-6, CNN-9 and CNN-15.

use registry::Row;

use super::{Blueprint, ModelSpec, SPEC};
use crate::layers::{BatchNorm, Conv2d, Flatten, Linear, MaxPool2d, Sequential};

pub(super) const CNN6: Row<ModelSpec> = Row {
    name: "cnn6",
    help: "three blocks of two convolutions",
    settings: &[],
    make: ModelSpec { layers: |b| layers(b, 2), ..PLAIN },
};

pub(super) const CNN9: Row<ModelSpec> = Row {
    name: "cnn9",
    help: "three blocks of three convolutions",
    settings: &[],
    make: ModelSpec { layers: |b| layers(b, 3), ..PLAIN },
};

pub(super) const CNN15: Row<ModelSpec> = Row {
    name: "cnn15",
    help: "three blocks of five convolutions",
    settings: &[],
    make: ModelSpec { layers: |b| layers(b, 5), ..PLAIN },
};

const PLAIN: ModelSpec = ModelSpec {
    dense: |b| {
        let [_, h, w] = b.input.map(|n| n as f64);
        (h / 8.0) * (w / 8.0) * (64.0 * b.width as f64).powi(2)
    },
    ..SPEC
};

/// Three blocks of `depth` times [3x3 conv without bias, BN, ReLU] with 16, 32 and 64 width filters and a 2x2
/// max pool after each, then fc1 with 64 width neurons and nothing between it and fc2.
pub(super) fn layers(b: Blueprint, depth: usize) -> Sequential {
    let [mut channels, h, w] = b.input;
    let mut net = Sequential::new();
    for (block, filters) in [16, 32, 64].into_iter().enumerate() {
        let (block, filters) = (block + 1, filters * b.width);
        for i in 1..=depth {
            let conv = Conv2d::new(channels, filters, 3, b.dtype).padding(1).without_bias();
            net.push(format!("conv{block}_{i}"), conv);
            let norm = BatchNorm::new(filters, b.dtype).eps(1e-3).momentum(1e-3).relu();
            net.push(format!("bn{block}_{i}"), norm);
            channels = filters;
        }
        net.push(format!("pool{block}"), MaxPool2d::new(2));
    }
    net.with("flatten", Flatten)
        .with("fc1", Linear::new((h / 8) * (w / 8) * channels, channels, b.dtype))
        .with("fc2", Linear::new(channels, b.classes, b.dtype))
}
