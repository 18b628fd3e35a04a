//! Elementwise activation functions, as layers.

use autograd::{Shape, Tensor};

use crate::error::Error;
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// A nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x where positive, this slope times x elsewhere.
    LeakyRelu(f64),
    /// The hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// x Phi(x), Phi the distribution function of the standard normal.
    Gelu,
    /// x sigmoid(x).
    Silu,
    /// ln(1 + e^x).
    Softplus,
}

impl Module for Activation {
    tensors!();

    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        match *self {
            Activation::Relu => {
                let y = x.relu();
                cx.relu(&y);
                y
            }
            Activation::LeakyRelu(slope) => x.leaky_relu(slope),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
            Activation::Gelu => x.gelu(),
            Activation::Silu => x * x.sigmoid(),
            Activation::Softplus => x.softplus(),
        }
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        plan.row(self, path, format!("{self:?}"), *input, input.numel() as u64)
    }
}
