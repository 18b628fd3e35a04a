//! Layers: the basic modules of every network.

mod activation;
mod conv;
mod dropout;
mod linear;
mod norm;
mod pool;
mod prelu;
mod sequential;

pub use activation::Activation;
pub use conv::Conv2d;
pub use dropout::Dropout;
pub use linear::Linear;
pub use norm::{BatchNorm, GroupNorm, LayerNorm};
pub use pool::{AvgPool2d, Flatten, GlobalAvgPool, GlobalMaxPool, MaxPool2d};
pub use prelu::PRelu;
pub use sequential::Sequential;

use crate::error::Error;

/// The error of a layer whose input has the wrong shape.
pub(crate) fn misfit<T>(path: &str, layer: &str, rule: impl std::fmt::Display) -> Result<T, Error> {
    Err(Error::Config(format!("{path} ({layer}): {rule}")))
}
