//! Normalisation: by channel (batch norm), by row (layer, group and instance norm), and to unit length.

mod apply;
mod backward;
mod batch;
mod channels;
mod layer;
mod moments;
mod second;
mod unit;

pub use backward::{Gradients, Mask, batch_norm_backward};
pub use batch::{Affine, Statistics, Then, batch_norm_forward, batch_norm_train, batch_stats};
pub use channels::Channels;
pub use layer::{row_norm_backward, row_norm_forward};
pub use second::batch_norm_second;
pub use unit::{row_lengths, unit_rows_backward, unit_rows_forward};

#[cfg(test)]
mod tests;
