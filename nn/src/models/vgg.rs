//! VGG-11 (Simonyan and Zisserman, ICLR 2015, arXiv 1409.1556, configuration A) for small images.

use registry::Row;

use super::{Blueprint, ModelSpec, SPEC};
use crate::layers::{Activation, Conv2d, Flatten, Linear, MaxPool2d, Sequential};

pub(super) const ROW: Row<ModelSpec> = Row {
    name: "vgg11",
    help: "eight convolutions and three fully connected layers, without batch norm",
    settings: &[],
    make: ModelSpec {
        layers: |b| layers(b, 64 * b.width),
        dense: |b| {
            let [_, h, w] = b.input.map(|n| (n / 32).max(1) as f64);
            h * w * (512.0 * b.width as f64).powi(2)
        },
        ..SPEC
    },
};

/// Filters of each convolution, in multiples of the first one's; 0 is a max pool.
const PLAN: [usize; 13] = [1, 0, 2, 0, 4, 4, 0, 8, 8, 0, 8, 8, 0];

/// 3x3 convolutions with ReLU and 2x2 max pools, then three fully connected layers, the first two with eight times
/// `filters` neurons (4,096 in the paper, for images of 224 x 224) and ReLU. A pool of an image with a side of one pixel is
/// left out. Names are those of torchvision.
pub(super) fn layers(b: Blueprint, filters: usize) -> Sequential {
    let [mut channels, mut h, mut w] = b.input;
    let (mut features, mut place) = (Sequential::new(), 0);
    for factor in PLAN {
        if factor > 0 {
            features.push(place.to_string(), Conv2d::new(channels, factor * filters, 3, b.dtype).padding(1));
            features.push((place + 1).to_string(), Activation::Relu);
            channels = factor * filters;
            place += 2;
            continue;
        }
        if h.min(w) > 1 {
            features.push(place.to_string(), MaxPool2d::new(2));
            (h, w) = (h / 2, w / 2);
        }
        place += 1;
    }
    // Places 2 and 5 are dropout in torchvision.
    let classifier = Sequential::new()
        .with("0", Linear::new(channels * h * w, 8 * filters, b.dtype))
        .with("1", Activation::Relu)
        .with("3", Linear::new(8 * filters, 8 * filters, b.dtype))
        .with("4", Activation::Relu)
        .with("6", Linear::new(8 * filters, b.classes, b.dtype));
    Sequential::new().with("features", features).with("flatten", Flatten).with("classifier", classifier)
}
