//! Two-dimensional convolution in its three slots.
