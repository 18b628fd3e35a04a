//! Dropout.

use autograd::{Shape, Tensor};

use crate::error::Error;
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// In training, sets each element to 0 with probability p and divides the others by 1 - p; otherwise does
/// nothing (Srivastava et al. 2014).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability of setting an element to 0.
    pub p: f64,
}

impl Dropout {
    /// A layer that sets elements to 0 with probability `p`.
    ///
    /// # Panics
    /// If `p` is not in 0..1.
    #[track_caller]
    pub fn new(p: f64) -> Dropout {
        assert!((0.0..1.0).contains(&p), "Dropout: the probability {p} must be at least 0 and below 1");
        Dropout { p }
    }
}

impl Module for Dropout {
    tensors!();

    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        if cx.train { x.dropout(self.p, cx.next_key()) } else { x.clone() }
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        plan.row(self, path, format!("Dropout {}", self.p), *input, input.numel() as u64)
    }
}
