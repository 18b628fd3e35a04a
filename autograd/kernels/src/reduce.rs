//! Sums and extrema over axes, in a fixed order.
