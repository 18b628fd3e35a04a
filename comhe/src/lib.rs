#![forbid(unsafe_code)]
//! Hyperspherical energy as a weight regulariser: MHE, and CoMHE, which takes the energy after a projection.
//!
//! Each neuron (row of a layer's weight) is a point on a sphere; the energy is that of charges repelling one
//! another there. Minimising it beside the loss spreads the neurons, which keeps them from doing each other's
//! work.
//!
//! Reading order: `energy.rs` (what the energy is), `projection.rs` and `random.rs`
//! (projected energy), `regulariser.rs` and `objective.rs` (its part in training), `peers/` (what to compare it with).
//!
//! Lin, Liu, Liu, Feng, Yu, Rehg, Xiong, Song: Regularizing Neural Networks via Minimizing Hyperspherical Energy,
//! CVPR 2020 (arXiv 1906.04892). Where the published code differs from the paper, the file says so.
//!
//! ```
//! use autograd::{DType, Key, Tensor};
//! use comhe::{LayerWeight, Objective, Options, Role, Step};
//!
//! let w = Tensor::normal([8, 64], DType::F32, Key::new(1)).requires_grad();
//! let head = Tensor::normal([10, 8], DType::F32, Key::new(2)).requires_grad();
//! let layers = [
//!     LayerWeight { name: "fc1.weight", role: Role::Hidden, weight: &w },
//!     LayerWeight { name: "fc2.weight", role: Role::Classifier, weight: &head },
//! ];
//! let mut objective = Objective::new("rp", &Options::default())?;
//! let penalty = objective.penalty(&layers, Step { index: 0, lr: 0.1 })?;
//! let grads = penalty.backward();
//! assert_eq!(grads[&w].shape(), w.shape());
//! # Ok::<(), comhe::Error>(())
//! ```

mod energy;
mod error;
mod objective;
mod pattern;
pub mod peers;
mod projection;
mod random;
mod regulariser;
mod samples;

pub use energy::{Energy, Reduce, Scale, checked_rows};
pub use error::{Error, Problem};
pub use objective::{LayerReport, NAMES, Objective, Options, Rule, Select};
pub use projection::{Distribution, Projections, explicit};
pub use random::{RandomProjection, projected_energy};
pub use regulariser::{LayerWeight, Regulariser, Role, Step, smallest_angle};
pub use samples::samples;
