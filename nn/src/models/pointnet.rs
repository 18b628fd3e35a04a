//! PointNet (Qi et al., CVPR 2017, arXiv 1612.00593): a classifier of point clouds that is invariant under permutations
//! of the points.
//!
//! A cloud is an image of three channels: [N, 3, P, 1]. A layer that is shared by the points is a 1x1 convolution.
//! Every convolution and every fully connected layer but the last of a net is followed by batch norm and ReLU.

use autograd::{Shape, Tensor};

use registry::Row;

use super::{Blueprint, ModelSpec, SPEC};
use crate::error::Error;
use crate::layers::{BatchNorm, Conv2d, Dropout, GlobalMaxPool, Linear, Sequential};
use crate::module::{Context, Module, join};
use crate::summary::Summary;
use crate::tensors;

/// The name of a feature transform's penalty in [`Context::penalties`].
const PENALTY: &str = "orthogonality";
/// Its weight in the loss (section 3.3 and supplementary C).
const PENALTY_WEIGHT: f64 = 0.001;
/// The dropout probability of the last hidden layer: 0.7 is kept (supplementary C).
const DROPPED: f64 = 0.3;

/// The widths of the layers.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// The three shared layers of 64, 128 and 1024 neurons.
    pub shared: [usize; 3],
    /// The two fully connected layers of 512 and 256.
    pub dense: [usize; 2],
}

impl Sizes {
    /// The published ones times `width`.
    fn published(width: usize) -> Sizes {
        Sizes { shared: [64, 128, 1024].map(|n| n * width), dense: [512, 256].map(|n| n * width) }
    }
}

pub(super) const POINTNET: Row<ModelSpec> = Row {
    name: "pointnet",
    help: "of point clouds",
    settings: &[],
    make: ModelSpec { layers: |b| layers(b, Sizes::published(b.width), true), check, ..SPEC },
};

pub(super) const VANILLA: Row<ModelSpec> = Row {
    name: "pointnet-vanilla",
    help: "of point clouds, without T-nets",
    settings: &[],
    make: ModelSpec { layers: |b| layers(b, Sizes::published(b.width), false), check, ..SPEC },
};

/// Shared layers of 64, 64, 64, 128 and 1024 neurons, the maximum over the points, fc 512, 256, classes. With
/// `transforms` a T-net transforms the points before the first layer, and another their features before the third.
pub(super) fn layers(b: Blueprint, sizes: Sizes, transforms: bool) -> Sequential {
    let ([narrow, middle, wide], [first, second]) = (sizes.shared, sizes.dense);
    let mut net = Sequential::new();
    if transforms {
        net.push("input_transform", Transform::new(3, sizes, false, b));
    }
    net = shared(net, 1, 3, narrow, b);
    net = shared(net, 2, narrow, narrow, b);
    if transforms {
        net.push("feature_transform", Transform::new(narrow, sizes, true, b));
    }
    net = shared(net, 3, narrow, narrow, b);
    net = shared(net, 4, narrow, middle, b);
    net = shared(net, 5, middle, wide, b).with("pool", GlobalMaxPool);
    net = dense(net, (1, 6), wide, first, b);
    dense(net, (2, 7), first, second, b)
        .with("dropout", Dropout::new(DROPPED))
        .with("fc3", Linear::new(second, b.classes, b.dtype))
}

/// Whether `input` is a cloud.
fn check(name: &str, input: [usize; 3]) -> Result<(), Error> {
    match input {
        [3, _, 1] => Ok(()),
        [c, h, w] => Err(Error::Config(format!(
            "model {name} takes point clouds, 3 x P x 1, not images of {c} x {h} x {w}; data sets of clouds are modelnet10 \
             and clouds:DIR"
        ))),
    }
}

/// Adds a layer that all points share: 1x1 conv, BN, ReLU.
fn shared(net: Sequential, i: usize, channels: usize, filters: usize, b: Blueprint) -> Sequential {
    net.with(format!("conv{i}"), Conv2d::new(channels, filters, 1, b.dtype).without_bias())
        .with(format!("bn{i}"), BatchNorm::new(filters, b.dtype).relu())
}

/// Adds a layer of the cloud as a whole: fc, BN, ReLU.
fn dense(
    net: Sequential,
    (fc, bn): (usize, usize),
    inputs: usize,
    outputs: usize,
    b: Blueprint,
) -> Sequential {
    net.with(format!("fc{fc}"), Linear::new(inputs, outputs, b.dtype).without_bias())
        .with(format!("bn{bn}"), BatchNorm::new(outputs, b.dtype).relu())
}

/// A T-net and its application: it computes a matrix A = I + tnet(x) from the whole cloud, and returns A' x for every
/// point x.
///
/// The T-net's last layer starts at 0, so that A starts as the identity. In training a feature transform adds its
/// distance from an orthogonal matrix to the loss: 0.001 times the mean over the batch of |I - A A'|^2 (equation 2).
#[derive(Clone)]
struct Transform {
    tnet: Sequential,
    size: usize,
    penalised: bool,
}

impl Transform {
    fn new(size: usize, sizes: Sizes, penalised: bool, b: Blueprint) -> Transform {
        let ([narrow, middle, wide], [first, second]) = (sizes.shared, sizes.dense);
        let mut tnet = shared(Sequential::new(), 1, size, narrow, b);
        tnet = shared(tnet, 2, narrow, middle, b);
        tnet = shared(tnet, 3, middle, wide, b).with("pool", GlobalMaxPool);
        tnet = dense(tnet, (1, 4), wide, first, b);
        tnet = dense(tnet, (2, 5), first, second, b).with("fc3", Linear::new(second, size * size, b.dtype));
        Transform { tnet, size, penalised }
    }
}

impl Module for Transform {
    tensors!(child tnet);

    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        let (shape, size) = (*x.shape(), self.size);
        let matrices = cx.scope("tnet", |cx| self.tnet.forward(x, cx)).reshape([shape[0], size, size]);
        let identity = Tensor::eye(size, x.dtype());
        let a = matrices + &identity;
        if self.penalised && cx.train {
            let far = a.matmul_nt(&a) - &identity;
            let mean = (&far * &far).sum(..) * (1.0 / shape[0].max(1) as f64);
            cx.penalise(PENALTY, mean * PENALTY_WEIGHT);
        }
        a.matmul_tn(&x.reshape([shape[0], size, shape[2] * shape[3]])).reshape(shape)
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let size = self.size;
        self.tnet.plan(&join(path, "tnet"), input, plan)?;
        let layer = format!("Transform {size}x{size}");
        // It has no parameters except those of the T-net.
        plan.row(&GlobalMaxPool, path, layer, *input, 2 * (input.numel() * size) as u64)
    }
}

/// The T-nets' last layers start at 0.
pub(super) fn start(model: &mut dyn Module) {
    model.visit_mut(&mut |name, t, _| {
        if name.ends_with("tnet.fc3.weight") {
            t.assign(&Tensor::zeros(t.shape(), t.dtype()));
        }
    });
}
