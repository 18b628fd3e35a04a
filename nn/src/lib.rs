#![forbid(unsafe_code)]
//! Neural networks on [`autograd`]: layers, models, optimisers, schedules, state dicts and the training loop.
//!
//! A [`Module`] is named tensors and a function of them; models are plain values. Reading order: `module.rs`,
//! `layers/linear.rs`, `models/cnn.rs`, `losses/mod.rs`, `train/batch_loss.rs`, `methods/mod.rs`, `optim/mod.rs`,
//! `train/mod.rs`.
//!
//! ```
//! use autograd::{DType, Key, Tensor};
//! use nn::{Batch, Optimizer, Trainer};
//!
//! // Two classes of 4 x 4 images: bright at the top, bright at the bottom.
//! let image = |i: usize| if (i / 16 % 2 == 0) == (i % 16 < 8) { 1.0 } else { 0.0 };
//! let images = Tensor::from_fn([8, 1, 4, 4], DType::F32, image);
//! let labels: Vec<u32> = (0..8).map(|i| i % 2).collect();
//! let batch = Batch::new(images, labels);
//!
//! let model = nn::models::build("mlp", [1, 4, 4], 2, 1, Key::new(0), DType::F32)?;
//! let mut trainer = Trainer::new(model, Optimizer::sgd(0.9), 0.05, Key::new(0));
//! for _ in 0..20 {
//!     trainer.step(&batch)?;
//! }
//! assert_eq!(nn::evaluate(&trainer.model, [batch]).accuracy, 1.0);
//! # Ok::<(), nn::Error>(())
//! ```

mod archive;
mod attack;
mod error;
mod init;
mod layers;
mod losses;
mod methods;
mod metrics;
mod module;
mod named;
mod optim;
mod penalties;
mod samples;
mod state;
mod summary;
mod train;

pub mod binary;
pub mod instruments;
pub mod meta;
pub mod models;

pub use archive::{Archive, write_atomic};
pub use attack::{ATTACKS, Attack, AttackOptions, AttackSpec, Norm, Robustness, robust_accuracy};
pub use error::Error;
pub use init::{Fan, Init};
pub use layers::{
    Activation, AvgPool2d, BatchNorm, Conv2d, Dropout, Flatten, GlobalAvgPool, GlobalMaxPool, GroupNorm,
    LayerNorm, Linear, MaxPool2d, PRelu, Sequential,
};
pub use losses::{
    ClassCovariance, Classifier, CloneLoss, Covariance, CrossEntropy, Isda, LOSSES, Loss, LossOptions,
    LossSpec, Mse, Outputs, Ramp,
};
pub use methods::{
    AdversarialTraining, Amp, Asam, Awp, BnStats, Distillation, METHODS, Masks, Method, MethodOptions,
    MethodSpec, Passes, Plain, Rmp, Sam, Scope,
};
pub use metrics::{ConfusionMatrix, RegressionErrors, accuracy, top_k_accuracy};
pub use models::{Model, Role, Weight};
pub use module::{Change, CloneModule, Context, Kind, Module, See, join};
pub use optim::{
    Adam, Average, Clip, CloneTransform, Lbfgs, Muon, OPTIMIZERS, Optimizer, OptimizerOptions, OptimizerSpec,
    ParameterGroup, RAdam, Schedule, Sgd, SpectralConstraint, Transform, Update, global_norm, orthogonalised,
    with_singular_values_at_most,
};
pub use penalties::{
    ClonePenalty, ConsistencyPenalty, DeformationPenalty, GradientPenalty, LossGradientPenalty, PENALTIES,
    Penalty, PenaltyOptions, PenaltySpec, PerturbationPenalty, SPECTRAL, Spectral, SpectralOptions,
    SpectralPenalty, SpectralSpec, TangentPenalty, Transforms, Unlabelled,
};
pub use samples::samples;
pub use state::load_state_dict;
pub use summary::{Row, Summary};
pub use train::{
    Batch, BatchLoss, CloneRegulariser, EarlyStopping, Evaluation, Gradient, Numbers, Observed, Outcome,
    Pass, Plateau, Regulariser, Step, StepMetrics, Targets, Trainer, evaluate, evaluate_loss,
};
