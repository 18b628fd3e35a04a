//! Softmax, log-softmax and cross-entropy over rows.
