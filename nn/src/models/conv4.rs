//! The four-layer convolutional network of few-shot learning (Vinyals et al. 2016, arXiv 1606.04080).

use registry::Row;

use super::{Blueprint, ModelSpec, SPEC};
use crate::layers::{BatchNorm, Conv2d, Flatten, Linear, MaxPool2d, Sequential};

pub(super) const ROW: Row<ModelSpec> = Row {
    name: "conv4",
    help: "four convolutions, for few-shot learning",
    settings: &[],
    make: ModelSpec {
        layers,
        dense: |b| {
            let [_, h, w] = b.input.map(|n| n as f64);
            (h / 16.0) * (w / 16.0) * 32.0 * b.width as f64 * b.classes as f64
        },
        ..SPEC
    },
};

/// Four times [3x3 conv without bias, BN, ReLU, 2x2 max pool] with 32 width filters, then fc. An image that is 1 pixel
/// high or wide is pooled no further, so that 14 x 14 is large enough.
pub(super) fn layers(b: Blueprint) -> Sequential {
    let [mut channels, mut h, mut w] = b.input;
    let filters = 32 * b.width;
    let mut net = Sequential::new();
    for i in 1..=4 {
        net.push(format!("conv{i}"), Conv2d::new(channels, filters, 3, b.dtype).padding(1).without_bias());
        net.push(format!("bn{i}"), BatchNorm::new(filters, b.dtype).relu());
        if h.min(w) > 1 {
            net.push(format!("pool{i}"), MaxPool2d::new(2));
            (h, w) = (h / 2, w / 2);
        }
        channels = filters;
    }
    net.with("flatten", Flatten).with("fc", Linear::new(h * w * channels, b.classes, b.dtype))
}
