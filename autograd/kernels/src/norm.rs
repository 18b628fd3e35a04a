//! Batch, layer, group and row normalisation.
