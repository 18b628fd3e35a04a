//! The loss landscape: the loss around a network, along random directions.

use autograd::{DType, Key, Tensor};

use crate::models::Model;
use crate::module::Module;

/// A direction in the space of a model's parameters: one tensor per parameter, in the order of
/// [`Module::named_parameters`].
pub type Direction = Vec<Tensor>;

/// A random direction whose filters are as long as the model's own: d becomes d |w| / |d| for each filter (row of a
/// weight), and 0 for parameters with fewer than two axes, biases and batch norm's (Li et al. 2018, arXiv 1712.09913,
/// section 4). Without this normalisation, the scale of a layer, which batch norm removes again, would appear as
/// flatness. The draw of each tensor depends on its name.
pub fn filter_normalised(model: &Model, key: Key) -> Direction {
    let direction = |(name, w): (String, &Tensor)| {
        let w = w.detach();
        if w.rank() < 2 || w.numel() == 0 {
            return Tensor::zeros(w.shape(), w.dtype());
        }
        let rows = [w.shape()[0], w.numel() / w.shape()[0]];
        let d = Tensor::normal(rows, DType::F64, key.stream("direction").stream(&name));
        let lengths = |t: &Tensor| t.norm(1).reshape([rows[0], 1]);
        let scale = lengths(&w.to_dtype(DType::F64).reshape(rows)) / lengths(&d);
        (d * scale).reshape(w.shape()).to_dtype(w.dtype())
    };
    model.named_parameters().into_iter().map(direction).collect()
}

/// The model with a multiple of each direction added to its parameters.
///
/// # Panics
/// If a direction does not fit the model.
pub fn moved(model: &Model, steps: &[(f64, &Direction)]) -> Model {
    let mut i = 0;
    model.map(|_, w| {
        let mut w = w.detach();
        for (step, direction) in steps.iter().filter(|(step, _)| *step != 0.0) {
            w += &direction[i] * *step;
        }
        i += 1;
        w
    })
}
