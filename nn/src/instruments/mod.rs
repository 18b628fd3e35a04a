//! Instruments: what can be measured of a step of training and of the loss around it. They look on, and change
//! nothing.
//!
//! [`Trainer::observe`](crate::Trainer::observe) keeps what they look at: an [`Observed`](crate::Observed) step.

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
