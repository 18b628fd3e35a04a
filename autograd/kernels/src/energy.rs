//! Pairwise hyperspherical energy in blocks.
