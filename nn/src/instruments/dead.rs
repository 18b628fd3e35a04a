//! Dead ReLUs.

use autograd::{DType, Scalar, Tensor};

/// The number of dead units of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Units or channels that are 0 for every image, at every position.
    pub dead: usize,
    /// All units or channels.
    pub units: usize,
}

/// Counts the dead units of a ReLU's output [N, C] or [N, C, H, W]: those of axis 1 that are 0 on the whole batch.
/// No gradient of this batch flows through them.
///
/// # Panics
/// If there are fewer than two axes.
#[track_caller]
pub fn dead_units(output: &Tensor) -> Dead {
    let shape = output.shape();
    assert!(shape.rank() >= 2, "dead_units: the output has shape {shape}; [N, units, ..] is needed");
    let units = shape[1];
    let inner: usize = shape[2..].iter().product();
    let fires = match output.dtype() {
        DType::F32 => fires::<f32>(output, units, inner),
        DType::F64 => fires::<f64>(output, units, inner),
    };
    Dead { dead: fires.iter().filter(|fires| !**fires).count(), units }
}

/// Whether each unit is nonzero anywhere. Not by a sum, which could lose subnormal numbers.
fn fires<T: Scalar>(output: &Tensor, units: usize, inner: usize) -> Vec<bool> {
    let mut fires = vec![false; units];
    for (plane, values) in output.data::<T>().chunks_exact(inner.max(1)).enumerate() {
        // Most units are active for the first image already.
        let fires = &mut fires[plane % units];
        *fires = *fires || values.iter().any(|v| *v != T::ZERO);
    }
    fires
}
