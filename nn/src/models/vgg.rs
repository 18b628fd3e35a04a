//! VGG-11 (Simonyan and Zisserman, ICLR 2015, arXiv 1409.1556, configuration A) for small images.

use registry::Row;

use super::{Blueprint, Model, ModelSpec, SPEC};
use crate::layers::{Activation, Conv2d, Flatten, Linear, MaxPool2d, Sequential};
use crate::module::Module;

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

/// A layer: its place among torchvision's features, its factor in [`PLAN`], height and width of its input.
type Layer = (usize, usize, [usize; 2]);

/// The layers for an image, and height and width of their output. A pool of an image with a side of one pixel is left
/// out.
fn plan([_, mut h, mut w]: [usize; 3]) -> (Vec<Layer>, [usize; 2]) {
    let (mut list, mut place) = (Vec::new(), 0);
    for factor in PLAN {
        if factor > 0 || h.min(w) > 1 {
            list.push((place, factor, [h, w]));
        }
        if factor == 0 && h.min(w) > 1 {
            (h, w) = (h / 2, w / 2);
        }
        place += if factor > 0 { 2 } else { 1 };
    }
    (list, [h, w])
}

/// 3x3 convolutions with ReLU and 2x2 max pools, then three fully connected layers, the first two with eight times
/// `filters` neurons (4,096 in the paper, for images of 224 x 224) and ReLU. Names are those of torchvision.
pub(super) fn layers(b: Blueprint, filters: usize) -> Sequential {
    let (list, [h, w]) = plan(b.input);
    let (mut features, mut channels) = (Sequential::new(), b.input[0]);
    for (place, factor, _) in list {
        if factor == 0 {
            features.push(place.to_string(), MaxPool2d::new(2));
            continue;
        }
        features.push(place.to_string(), Conv2d::new(channels, factor * filters, 3, b.dtype).padding(1));
        features.push((place + 1).to_string(), Activation::Relu);
        channels = factor * filters;
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

/// Divides each convolution by the square root of the share of its taps that lie inside the image: most of those of a
/// 2 x 2 image see padding, so that He initialisation, which counts all of them, would shrink activations. Fully connected
/// weights get the variance 1 / (3 fan-in), PyTorch's default and that of the published kernel-norm code: with He's
/// 2 / fan-in a network without batch norm diverges at the published rate of 0.05.
pub(super) fn start(model: &mut Model) {
    if model.name != ROW.name {
        return;
    }
    let (list, _) = plan(model.input);
    let inside = |n: usize| (3 * n - 2) as f64 / (3 * n) as f64;
    model.visit_mut(&mut |name, t, _| {
        let of = |&&(place, _, _): &&Layer| name == format!("features.{place}.weight");
        if let Some((_, _, [h, w])) = list.iter().find(of) {
            t.assign(&(t.detach() / (inside(*h) * inside(*w)).sqrt()));
        } else if name.starts_with("classifier") && t.rank() == 2 {
            t.assign(&(t.detach() * (1.0f64 / 6.0).sqrt()));
        }
    });
}
