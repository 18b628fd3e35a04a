//! Batches: inputs with their targets.

use std::borrow::Cow;
use std::ops::Range;

use autograd::Tensor;

use crate::error::Error;

/// The targets of a network, one for each input.
#[derive(Clone, Debug)]
pub enum Targets {
    /// The class of each input.
    Classes(Vec<u32>),
    /// A distribution over the classes for each input: [N, classes], rows that add up to 1.
    Distributions(Tensor),
    /// Real values, of the shape of the outputs.
    Values(Tensor),
}

impl Targets {
    /// The number of inputs.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes(labels) => labels.len(),
            Targets::Distributions(t) | Targets::Values(t) => t.shape().first().copied().unwrap_or(0),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The classes, if the targets are classes.
    pub fn classes(&self) -> Option<&[u32]> {
        match self {
            Targets::Classes(labels) => Some(labels),
            _ => None,
        }
    }

    /// The class of each input, the most probable one of a distribution; `None` of real values.
    pub fn labels(&self) -> Option<Cow<'_, [u32]>> {
        match self {
            Targets::Classes(labels) => Some(Cow::Borrowed(labels)),
            Targets::Distributions(t) => Some(t.argmax(1).data().to_vec().into()),
            Targets::Values(_) => None,
        }
    }

    /// The targets of a part of the inputs.
    ///
    /// # Panics
    /// If the range exceeds the number of inputs.
    pub fn part(&self, range: Range<usize>) -> Targets {
        match self {
            Targets::Classes(labels) => Targets::Classes(labels[range].to_vec()),
            Targets::Distributions(t) => Targets::Distributions(t.slice_axis(0, range)),
            Targets::Values(t) => Targets::Values(t.slice_axis(0, range)),
        }
    }
}

impl From<Vec<u32>> for Targets {
    fn from(labels: Vec<u32>) -> Targets {
        Targets::Classes(labels)
    }
}

/// Inputs with their targets.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The inputs, [N, C, H, W] for a [`Model`](crate::Model), in its dtype.
    pub inputs: Tensor,
    /// What their outputs are compared with.
    pub targets: Targets,
    /// The number of completed passes over the data.
    pub epoch: u64,
}

impl Batch {
    /// A batch of epoch 0.
    ///
    /// ```
    /// use autograd::{DType, Tensor};
    /// use nn::Batch;
    /// let batch = Batch::new(Tensor::zeros([2, 1, 4, 4], DType::F32), vec![0, 1]);
    /// assert_eq!(batch.len(), 2);
    /// ```
    pub fn new(inputs: Tensor, targets: impl Into<Targets>) -> Batch {
        Batch { inputs, targets: targets.into(), epoch: 0 }
    }

    /// The same batch in another epoch.
    pub fn epoch(self, epoch: u64) -> Batch {
        Batch { epoch, ..self }
    }

    /// The number of inputs.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// A part of the inputs, with their targets.
    ///
    /// # Panics
    /// If the range exceeds the number of inputs.
    pub fn part(&self, range: Range<usize>) -> Batch {
        let inputs = self.inputs.slice_axis(0, range.clone());
        Batch { inputs, targets: self.targets.part(range), epoch: self.epoch }
    }

    /// Whether there are as many targets as inputs, and some.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (inputs, targets) = (self.inputs.shape(), self.targets.len());
        if targets == 0 || inputs.first() != Some(&targets) {
            return Err(Error::Config(format!("the batch has inputs {inputs} for {targets} targets")));
        }
        Ok(())
    }
}
