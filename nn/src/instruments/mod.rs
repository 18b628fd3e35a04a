//! Instruments: measurements of a training step and of the loss around it. They do not change training.
//!
//! [`Trainer::observe`](crate::Trainer::observe) keeps their input, an [`Observed`](crate::Observed) step.

mod dead;
mod lanczos;
mod landscape;
mod noise;
mod sharpness;
mod symmetric;
mod vectors;

pub use dead::{Dead, dead_units};
pub use lanczos::{Lanczos, Largest};
pub use landscape::{Direction, filter_normalised, moved};
pub use noise::{Noise, NoiseMeter, gradient_noise};
pub use sharpness::sharpness;
pub use symmetric::{Eigen, eigen};
pub use vectors::{cosine, layer_of, update_ratio};
