//! ReLUs that never fire.

use autograd::Tensor;

/// How many units of a layer are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Units or channels that are 0 for every image, at every place.
    pub dead: usize,
    /// All of them.
    pub units: usize,
}

/// Counts the dead units of a ReLU's output [N, C] or [N, C, H, W]: those of axis 1 that are 0 on the whole batch.
/// No gradient of this batch gets through them.
///
/// # Panics
/// If there are fewer than two axes.
#[track_caller]
pub fn dead_units(output: &Tensor) -> Dead {
    let shape = output.shape();
    assert!(shape.rank() >= 2, "dead_units: the output has shape {shape}; [N, units, ..] is needed");
    let units = shape[1];
    let inner: usize = shape[2..].iter().product();
    let mut fires = vec![false; units];
    // Not through a sum: numbers below the smallest normal one would vanish there.
    let see = |fires: &mut [bool], i: usize, zero: bool| fires[i / inner % units] |= !zero;
    match output.dtype() {
        autograd::DType::F32 => {
            output.data::<f32>().iter().enumerate().for_each(|(i, v)| see(&mut fires, i, *v == 0.0));
        }
        autograd::DType::F64 => {
            output.data::<f64>().iter().enumerate().for_each(|(i, v)| see(&mut fires, i, *v == 0.0));
        }
    }
    Dead { dead: fires.iter().filter(|fires| !**fires).count(), units }
}
