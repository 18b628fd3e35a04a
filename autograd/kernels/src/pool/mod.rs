//! Pooling over windows of an image: maximum and average.
