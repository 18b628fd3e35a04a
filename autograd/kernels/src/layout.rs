//! Moving elements: permute, slice, pad, gather, scatter.
