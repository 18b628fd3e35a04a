//! A leaky ReLU with learnt slopes.

use autograd::{DType, Shape, Tensor};

use super::misfit;
use crate::error::Error;
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// max(x, 0) + w min(x, 0) with a learnt slope w of each channel, the second axis (He et al. 2015, arXiv 1502.01852).
#[derive(Clone, Debug)]
pub struct PRelu {
    /// The slopes.
    pub weight: Tensor,
}

impl PRelu {
    /// A layer whose slopes start at 0.25, as in the paper.
    pub fn new(channels: usize, dtype: DType) -> PRelu {
        PRelu { weight: Tensor::full([channels], 0.25, dtype).requires_grad() }
    }
}

impl Module for PRelu {
    tensors!(parameter weight);

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        let mut slopes = vec![1; x.rank()];
        slopes[1] = self.weight.numel();
        x.relu() - self.weight.reshape(slopes) * (-x).relu()
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let channels = self.weight.numel();
        if input.rank() < 2 || input[1] != channels {
            return misfit(path, "PRelu", format_args!("input {input}: [N, {channels}, ..] is needed"));
        }
        plan.row(self, path, "PRelu", *input, 2 * input.numel() as u64)
    }
}
