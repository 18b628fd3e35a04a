//! The loss of a batch as a function of the parameters.

use autograd::Tensor;

use crate::loss::cross_entropy;
use crate::models::Model;
use crate::module::{Context, Module};
use crate::train::Batch;

/// The mean cross-entropy of a batch as a function of a model's parameters: a pure one, running statistics and
/// random draws included.
#[derive(Clone)]
pub struct BatchLoss {
    /// The network; its parameters are where the function is looked at.
    pub model: Model,
    /// Images and labels.
    pub batch: Batch,
    /// Label smoothing.
    pub smoothing: f64,
    /// Training or evaluation, and the key of random draws.
    pub context: Context,
}

impl BatchLoss {
    /// The value at parameters given in the order of [`Module::named_parameters`].
    ///
    /// # Panics
    /// If they are not as many, or not of the same shapes.
    #[track_caller]
    pub fn at(&self, parameters: &[Tensor]) -> Tensor {
        let mut given = parameters.iter();
        let mut model = self.model.map(|_, _| given.next().expect("a tensor a parameter").clone());
        assert!(given.next().is_none(), "BatchLoss: more tensors than parameters");
        let logits = model.forward(&self.batch.images, &mut self.context.clone());
        cross_entropy(&logits, &self.batch.labels, self.smoothing)
    }

    /// The parameters' names and values, outside every graph.
    pub fn parameters(&self) -> (Vec<String>, Vec<Tensor>) {
        self.model.named_parameters().into_iter().map(|(name, t)| (name, t.detach())).unzip()
    }

    /// The same loss with batch norm's statistics held at those of this batch, and no dropout: each
    /// image then has a loss of its own, which depends on no other.
    pub fn apart(&self) -> BatchLoss {
        let mut model = self.model.detached();
        model.forward(&self.batch.images, &mut self.context.clone().adopting());
        BatchLoss { model, context: Context::eval(), ..self.clone() }
    }

    /// The same loss on the images `from..to` alone.
    pub fn part(&self, from: usize, to: usize) -> BatchLoss {
        let Batch { images, labels, epoch } = &self.batch;
        let batch = Batch {
            images: images.slice_axis(0, from..to),
            labels: labels[from..to].to_vec(),
            epoch: *epoch,
        };
        BatchLoss { batch, ..self.clone() }
    }
}
