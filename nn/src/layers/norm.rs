//! Normalisation layers.

use autograd::{DType, Shape, Tensor};

use super::misfit;
use crate::error::Error;
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167) of [N, C] or [N, C, H, W], per channel:
/// y = weight (x - mean) / sqrt(var + eps) + bias.
///
/// In training mean and biased variance are those of the batch, and the running statistics, which evaluation uses, are
/// updated: new = (1 - momentum) old + momentum batch, with the unbiased variance.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// The scale of each channel (gamma).
    pub weight: Tensor,
    /// The shift of each channel (beta).
    pub bias: Tensor,
    /// The running mean.
    pub running_mean: Tensor,
    /// The running variance.
    pub running_var: Tensor,
    /// Added to the variance.
    pub eps: f64,
    /// The weight of the batch statistics in the update of the running statistics.
    pub momentum: f64,
    /// Whether ReLU follows, fused into the same passes over memory.
    pub relu: bool,
}

impl BatchNorm {
    /// A layer with eps 1e-5 and momentum 0.1 whose initial weight 1 and bias 0 make it the identity on standardised
    /// input.
    pub fn new(channels: usize, dtype: DType) -> BatchNorm {
        let all = |value: f64| Tensor::full([channels], value, dtype);
        BatchNorm {
            weight: all(1.0).requires_grad(),
            bias: all(0.0).requires_grad(),
            running_mean: all(0.0),
            running_var: all(1.0),
            eps: 1e-5,
            momentum: 0.1,
            relu: false,
        }
    }

    /// The same layer with another eps.
    pub fn eps(self, eps: f64) -> BatchNorm {
        BatchNorm { eps, ..self }
    }

    /// The same layer with another momentum.
    pub fn momentum(self, momentum: f64) -> BatchNorm {
        BatchNorm { momentum, ..self }
    }

    /// The same layer followed by ReLU.
    pub fn relu(self) -> BatchNorm {
        BatchNorm { relu: true, ..self }
    }

    /// max(y + residual, 0) for this layer's y: the end of a residual block.
    pub fn add_relu(&mut self, x: &Tensor, residual: &Tensor, cx: &mut Context) -> Tensor {
        self.apply(x, Some(residual), true, cx)
    }

    fn apply(&mut self, x: &Tensor, residual: Option<&Tensor>, relu: bool, cx: &mut Context) -> Tensor {
        let y = self.normalised(x, residual, relu, cx);
        if relu {
            cx.relu(&y);
        }
        y
    }

    fn normalised(&mut self, x: &Tensor, residual: Option<&Tensor>, relu: bool, cx: &Context) -> Tensor {
        let BatchNorm { weight, bias, running_mean, running_var, eps, .. } = &*self;
        if !cx.train {
            return match relu {
                true => x.batch_norm_eval_relu(weight, bias, running_mean, running_var, residual, *eps),
                false => x.batch_norm_eval(weight, bias, running_mean, running_var, *eps),
            };
        }
        let (y, batch) = match relu {
            true => x.batch_norm_train_relu(weight, bias, residual, *eps),
            false => x.batch_norm_train(weight, bias, *eps),
        };
        if cx.adopt {
            (self.running_mean, self.running_var) = (batch.mean, batch.var);
            return y;
        }
        let unbiased = batch.count as f64 / (batch.count as f64 - 1.0);
        let m = self.momentum;
        self.running_mean = &self.running_mean * (1.0 - m) + batch.mean * m;
        self.running_var = &self.running_var * (1.0 - m) + batch.var * (m * unbiased);
        y
    }
}

impl Module for BatchNorm {
    tensors!(parameter weight, parameter bias, buffer running_mean, buffer running_var);

    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        self.apply(x, None, self.relu, cx)
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let channels = self.weight.numel();
        if input.rank() < 2 || input[1] != channels {
            return misfit(path, "BatchNorm", format_args!("input {input}: [N, {channels}, ..] is needed"));
        }
        let (layer, flops) = if self.relu { ("BatchNorm, Relu", 5) } else { ("BatchNorm", 4) };
        plan.row(self, path, layer, *input, flops * input.numel() as u64)
    }
}

/// Layer normalisation (Ba et al. 2016, arXiv 1607.06450): each item is normalised to mean 0 and variance 1 over the
/// last axes, then scaled and shifted elementwise.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Multiplies each element of an item.
    pub weight: Tensor,
    /// Added to each element of an item.
    pub bias: Tensor,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// A layer over the last axes, which must have this shape; eps 1e-5.
    pub fn new(shape: &[usize], dtype: DType) -> LayerNorm {
        let [bias, weight] = [0.0, 1.0].map(|v| Tensor::full(shape, v, dtype).requires_grad());
        LayerNorm { weight, bias, eps: 1e-5 }
    }
}

impl Module for LayerNorm {
    tensors!(parameter weight, parameter bias);

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        x.layer_norm(&self.weight, &self.bias, self.eps)
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let shape = self.weight.shape();
        if !input.ends_with(shape) {
            return misfit(path, "LayerNorm", format_args!("input {input}: the last axes must be {shape}"));
        }
        plan.row(self, path, "LayerNorm", *input, 8 * input.numel() as u64)
    }
}

/// Group normalisation (Wu and He 2018, arXiv 1803.08494): each group of channels of an item is normalised to mean 0
/// and variance 1, then each channel is scaled and shifted.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// Multiplies each channel.
    pub weight: Tensor,
    /// Added to each channel.
    pub bias: Tensor,
    /// The number of groups.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
}

impl GroupNorm {
    /// A layer with eps 1e-5.
    ///
    /// # Panics
    /// If `groups` does not divide `channels`.
    #[track_caller]
    pub fn new(groups: usize, channels: usize, dtype: DType) -> GroupNorm {
        assert!(
            groups > 0 && channels.is_multiple_of(groups),
            "GroupNorm: {channels} channels are not a multiple of {groups} groups"
        );
        let [bias, weight] = [0.0, 1.0].map(|v| Tensor::full([channels], v, dtype).requires_grad());
        GroupNorm { weight, bias, groups, eps: 1e-5 }
    }
}

impl Module for GroupNorm {
    tensors!(parameter weight, parameter bias);

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        x.group_norm(self.groups, &self.weight, &self.bias, self.eps)
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let channels = self.weight.numel();
        if input.rank() < 2 || input[1] != channels {
            return misfit(path, "GroupNorm", format_args!("input {input}: [N, {channels}, ..] is needed"));
        }
        plan.row(self, path, format!("GroupNorm {}", self.groups), *input, 8 * input.numel() as u64)
    }
}
