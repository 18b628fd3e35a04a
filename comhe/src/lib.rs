#![forbid(unsafe_code)]
//! Hyperspherical energy as a weight regulariser: MHE, and CoMHE, which computes the energy after a projection.
//!
//! Each neuron (row of a layer's weight) is a point on a sphere; the energy is that of repelling charges on the sphere.
//! Minimising it together with the loss spreads the neurons, which reduces their redundancy.
//!
//! Reading order: `energy.rs` (what the energy is), `projection.rs` and `random.rs` (energy after a random
//! projection), `learned.rs` with `ap.rs` and `adv.rs` (after one that is learned), `group.rs`, `bilateral.rs` and
//! `low_rank.rs` (other reductions of the dimension), `regulariser.rs`, `table.rs`, `objective.rs` and `presets.rs`
//! (their use in training), `peers/` (other regularisers to compare with).
//!
//! | name | the energy of | file |
//! |---|---|---|
//! | `mhe`, `hs-mhe` | the neurons, in full space or half-space | `energy.rs` |
//! | `rp` | their random projections | `random.rs` |
//! | `ap` | their projection that learns to keep angles | `ap.rs` |
//! | `adv` | their projection that learns to raise the energy | `adv.rs` |
//! | `group` | their coordinates in groups | `group.rs` |
//! | `bilateral` | fewer dimensions, and fewer neurons | `bilateral.rs` |
//!
//! Lin, Liu, Liu, Feng, Yu, Rehg, Xiong, Song: Regularizing Neural Networks via Minimizing Hyperspherical Energy,
//! CVPR 2020 (arXiv 1906.04892). Each file states where the published code differs from the paper.
//!
//! ```
//! use autograd::{DType, Key, Tensor};
//! use comhe::{Objective, Options};
//! use nn::{Regulariser, Role, Step, Weight};
//!
//! let w = Tensor::normal([8, 64], DType::F32, Key::new(1)).requires_grad();
//! let head = Tensor::normal([10, 8], DType::F32, Key::new(2)).requires_grad();
//! let layers = [Weight::new("fc1.weight", &w), Weight::new("fc2.weight", &head).role(Role::Classifier)];
//! let mut objective = Objective::new("rp", &Options::default())?;
//! let penalty = objective.penalty(&layers, Step { index: 0, lr: 0.1 })?;
//! let grads = penalty.backward();
//! assert_eq!(grads[&w].shape(), w.shape());
//! # Ok::<(), nn::Error>(())
//! ```

mod adv;
mod angle;
mod ap;
mod bilateral;
mod energy;
mod error;
mod factored;
mod group;
mod learned;
mod low_rank;
mod named;
mod near;
mod objective;
mod pair_energy;
mod pattern;
pub mod peers;
mod presets;
mod projection;
mod random;
mod regulariser;
mod samples;
mod table;
pub mod theory;
pub mod thomson;

pub use adv::{Adversarial, Oppose, adversarial_energy};
pub use angle::smallest_angle;
pub use ap::{AnglePreserving, Preserve, angle_preserving_energy};
pub use bilateral::{Bilateral, bilateral_energy};
pub use energy::{Energy, Reduce, Scale, check_finite, checked_rows};
pub use error::{Error, Problem, short};
pub use factored::{check_factors, factored};
pub use group::{GroupEnergy, Grouping, Groups, group_energy};
pub use learned::{InnerSteps, Learned, Learning, Mode, Rate};
pub use low_rank::{LowRank, low_rank_weight};
pub use objective::{LayerReport, Objective, Options, Rule, Select};
pub use presets::{PRESETS, Preset};
pub use projection::{Distribution, Projections, Variance, explicit};
pub use random::{RandomProjection, projected_energy};
pub use regulariser::{measured, per_layer};
pub use samples::samples;
pub use table::{REGULARISERS, RegulariserSpec};

/// The guide, whose example is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod guide {}
