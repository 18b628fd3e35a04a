//! The network as K functions of one input.

use autograd::{Index, Tensor};

use crate::error::Error;
use crate::module::{Context, Module};
use crate::train::BatchLoss;

/// The outputs f_1 .. f_K of a network as functions of one input: with running statistics and without dropout, so that
/// the output for an input does not depend on the other inputs of the batch.
pub(super) struct Functions(BatchLoss);

impl Functions {
    pub fn new(loss: &BatchLoss) -> Functions {
        Functions(BatchLoss { context: Context::eval(), ..loss.clone() })
    }

    /// The same functions with constant parameters, for searches over inputs.
    pub fn fixed(loss: &BatchLoss) -> Functions {
        let model = loss.model.detached();
        Functions(BatchLoss { model, context: Context::eval(), ..loss.clone() })
    }

    /// f_k(x_i), [N, K].
    pub fn values(&self, x: &Tensor) -> Result<Tensor, Error> {
        let values = self.0.outputs(x).values;
        if values.rank() == 2 {
            return Ok(values);
        }
        Err(Error::Config(format!("the outputs have shape {}; [N, outputs] is needed", values.shape())))
    }

    /// The gradients of f_k at all inputs, one after the other for k = 1 .. K. They are constants.
    pub fn gradients(&self, x: &Tensor) -> Result<impl Iterator<Item = Tensor> + use<>, Error> {
        let x = x.detach().requires_grad();
        let values = self.values(&x)?;
        Ok((0..values.shape()[1]).map(move |k| values.select(1, k as isize).sum(..).grad(&x)))
    }

    /// f_k(x_k) of K inputs, `[K]`; of m K inputs [m, K].
    pub fn own(&self, x: &Tensor) -> Result<Tensor, Error> {
        let values = self.values(x)?;
        let classes = values.shape()[1];
        let groups = x.shape()[0] / classes.max(1);
        let own = values.reshape([groups, classes, classes]).diagonal(0);
        Ok(if groups == 1 { own.squeeze(0) } else { own })
    }

    /// The gradient of f_k at x_k, one row for each of K inputs, recorded.
    pub fn own_gradients(&self, x: &Tensor) -> Result<Tensor, Error> {
        let x = x.detach().requires_grad();
        Ok(self.own(&x)?.sum(..).recorded().grad(&x))
    }

    /// The sum over k of (f_k(x'_k) - f_k(x_k))^2.
    pub fn squared_differences(&self, moved: &Tensor, x: &Tensor) -> Result<Tensor, Error> {
        let own = self.own(&Tensor::concat(&[moved, x], 0))?;
        let differences = own.select(0, 0) - own.select(0, 1);
        Ok((&differences * &differences).sum(..))
    }
}

/// The sum of squares of each row, `[N]`.
pub(super) fn row_squares(x: &Tensor) -> Tensor {
    let rows = x.flatten(1);
    (&rows * &rows).sum(1)
}

/// The position of the largest of N values, the first of equals.
pub(super) fn largest(values: &Tensor) -> usize {
    values.argmax(0).to_vec()[0]
}

/// The rows of these numbers.
pub(super) fn pick(x: &Tensor, rows: &[usize]) -> Tensor {
    x.index_select(0, &Index::new(rows, [rows.len()]))
}
