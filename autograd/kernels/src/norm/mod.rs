//! Normalisation: by channel (batch norm), by row (layer, group and instance norm), and to unit length.

mod batch;
mod channels;
mod row;
mod unit;

pub use batch::{Affine, Wanted, batch_norm_backward, batch_norm_forward, batch_stats};
pub use channels::Channels;
pub use row::{row_norm_backward, row_norm_forward};
pub use unit::{unit_rows_backward, unit_rows_forward};

#[cfg(test)]
mod tests;
