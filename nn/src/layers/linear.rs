//! The fully connected layer.

use autograd::{DType, Shape, Tensor};

use super::misfit;
use crate::error::Error;
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// y = x W' + b: input [N, in], weight [out, in], a bias for each output, output [N, out].
#[derive(Clone, Debug)]
pub struct Linear {
    /// One row of weights per output.
    pub weight: Tensor,
    /// Added to each output.
    pub bias: Option<Tensor>,
}

impl Linear {
    /// A layer with weight and bias 0; [`Module::initialise`] draws the weight.
    pub fn new(inputs: usize, outputs: usize, dtype: DType) -> Linear {
        let parameter = |shape: &[usize]| Tensor::zeros(shape, dtype).requires_grad();
        Linear { weight: parameter(&[outputs, inputs]), bias: Some(parameter(&[outputs])) }
    }

    /// The same layer without a bias.
    pub fn without_bias(self) -> Linear {
        Linear { bias: None, ..self }
    }
}

impl Module for Linear {
    tensors!(parameter weight, optional bias);

    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        cx.linear(x, &self.weight, self.bias.as_ref());
        let y = x.matmul_nt(&self.weight);
        match &self.bias {
            Some(bias) => y + bias,
            None => y,
        }
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let [outputs, inputs] = [self.weight.shape()[0], self.weight.shape()[1]];
        if input.rank() != 2 || input[1] != inputs {
            return misfit(path, "Linear", format_args!("input {input}: [N, {inputs}] is needed"));
        }
        let output = Shape::new(&[input[0], outputs]);
        let flops = 2 * (output.numel() * inputs) as u64;
        plan.row(self, path, "Linear", output, flops)
    }
}
