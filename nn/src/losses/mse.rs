//! The loss of regression.

use autograd::{Index, Reduction, Tensor};
use registry::Row;

use super::{Loss, LossSpec, Outputs, cross_entropy};
use crate::error::Error;
use crate::train::{Step, Targets};

/// The mean squared error over all elements, as PyTorch's: real targets have the shape of the outputs, `[N]` counting as
/// [N, 1]; classes are compared as one-hot rows.
///
/// ```
/// use autograd::Tensor;
/// use nn::{Loss, Mse, Outputs, Step, Targets};
/// let outputs = Outputs::new(Tensor::from([[1.0], [4.0]]));
/// let targets = Targets::Values(Tensor::from([[2.0], [2.0]]));
/// assert_eq!(Mse.loss(&outputs, &targets, Step::default())?.item(), 2.5);
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mse;

pub(super) const ROW: Row<LossSpec> = Row {
    name: "mse",
    help: "mean squared error, against one-hot rows, or real targets where the data has them",
    settings: &[],
    make: |_| Box::new(Mse),
};

impl Loss for Mse {
    fn name(&self) -> &str {
        "mse"
    }

    fn loss(&mut self, outputs: &Outputs, targets: &Targets, _: Step) -> Result<Tensor, Error> {
        let y = &outputs.values;
        let target = match targets {
            Targets::Values(t) if t.numel() == y.numel() && t.shape().first() == y.shape().first() => {
                t.to_dtype(y.dtype()).reshape(y.shape())
            }
            Targets::Values(t) => {
                return Err(Error::Config(format!(
                    "the targets have shape {}, the outputs {}; they must be the same",
                    t.shape(),
                    y.shape()
                )));
            }
            Targets::Classes(labels) => {
                let classes = cross_entropy::classes(y, targets)?;
                Index::new(labels, [labels.len()]).one_hot(classes, y.dtype())
            }
            Targets::Distributions(t) => {
                cross_entropy::classes(y, targets)?;
                t.clone()
            }
        };
        Ok(y.mse(&target, Reduction::Mean))
    }
}
