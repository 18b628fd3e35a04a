#![forbid(unsafe_code)]
//! A reverse-mode autodiff engine whose gradients can be differentiated again, to any order.
//!
//! One [`Tensor`], one graph, four kinds of rule. Reading order: `tensor.rs` (what a tensor is), `node.rs` (the graph),
//! `pass.rs` (the reverse pass), `grads.rs` (`backward`, `grad` and `vjp`), `kinds/` (the four rules), then any file of
//! `ops/`.
//!
//! ```
//! use autograd::Tensor;
//!
//! // f(x, y) = x^2 y + sin y
//! let x = Tensor::from(3.0).requires_grad();
//! let y = Tensor::from(2.0).requires_grad();
//! let f = &x * &x * &y + y.sin();
//!
//! // The gradient, recorded, and the gradient of the gradient.
//! let [dx, dy] = f.recorded().grad([&x, &y]);
//! assert_eq!(dx.item(), 2.0 * 3.0 * 2.0);
//! assert_eq!(dy.item(), 3.0 * 3.0 + 2f64.cos());
//! let dxdy = dx.grad(&y);
//! assert_eq!(dxdy.item(), 2.0 * 3.0);
//! ```
//!
//! # Threads
//!
//! Kernels share their work among [`threads`] threads; results are bitwise identical for any number of threads. On a
//! thread of a rayon pool they use the threads of that pool, so a program's parallel loops may run tensor operations;
//! on any other thread they use the engine's own thread pool, at the same cost.
//!
//! ```
//! use autograd::{DType, Key, Tensor};
//! use rayon::prelude::*;
//!
//! let norm = |seed| Tensor::normal([100, 100], DType::F64, Key::new(seed)).norm(..).item();
//! let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
//! let norms: Vec<f64> = pool.install(|| (0..8).into_par_iter().map(norm).collect());
//! assert_eq!(norms, (0..8).map(norm).collect::<Vec<f64>>());
//! ```
//!
//! # Errors
//!
//! Misuse (shapes, dtypes, axes) panics at the caller's line, naming the operation, all shapes and the rule that
//! was broken. Nothing here reads files or flags, so only the pure shape rules return a `Result`.

mod axis;
mod buffer;
mod check;
mod debug;
mod dims;
mod dtype;
mod grads;
mod inputs;
mod kinds;
mod node;
mod ops;
mod pass;
mod pool;
mod profile;
mod real;
mod reduction;
mod running;
mod sample;
mod shape;
mod tensor;
pub mod transform;

pub use axis::{Axes, Axis, keep};
pub use check::{Entry, OrderReport, Report, gradcheck, tolerance};
pub use debug::{Anomaly, Graph, GraphNode, detect_anomaly, inspect, named_scope};
pub use dims::{Dims, INFER};
pub use dtype::{DType, Scalar};
pub use grads::{Grads, Recorded};
pub use inputs::Inputs;
pub use kernels::conv::{
    Algorithm as ConvAlgorithm, algorithm as conv_algorithm, set_algorithm as set_conv_algorithm,
};
pub use kernels::environment::check as check_environment;
pub use kernels::gemm::{
    Backend as GemmBackend, backend as gemm_backend, backend_in_use as gemm_backend_in_use,
    set_backend as set_gemm_backend,
};
pub use kernels::optim;
pub use kernels::par::{map as parallel_map, set_threads, threads};
pub use kernels::peak as machine;
pub use kernels::random::{self, Key};
pub use kernels::{MAX_RANK, Real};
pub use kinds::custom::{Custom, custom};
pub use kinds::elementwise::{Binary, Unary};
pub use kinds::fused::{Fused, Saved, fused, fused_keeping};
pub use ops::{
    BatchStats, ConvOptions, CrossEntropy, Index, Mask, Number, Operand, Padding, Reduction, Transpose,
    conv2d_shape, matmul_with, pool2d_shape, samples,
};
pub use pool::{Memory, memory, release_memory};
pub use profile::{Profile, ProfileRow, profile, tiny_operations};
pub use sample::{Group, Input, Sample};
pub use shape::{Shape, ShapeError};
pub use tensor::Tensor;
