//! Factorisations of small square matrices.
