//! Weights that become binary in the course of training.

use autograd::Tensor;

use crate::error::Error;
use crate::methods::Method;
use crate::module::{Kind, Module};
use crate::train::{BatchLoss, Gradient};

/// The temperature of binary weights over time: T = factor^floor(step / every) (arXiv 2106.06991, section 3.5).
///
/// ```
/// use nn::binary::Anneal;
/// let anneal = Anneal { factor: 0.5, every: 10 };
/// assert_eq!([0, 9, 10, 35].map(|step| anneal.temperature(step)), [1.0, 1.0, 0.5, 0.125]);
/// assert!([64, 4000].iter().all(|&steps| Anneal::over(steps).temperature(steps) < 1e-6));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anneal {
    /// What the temperature is multiplied by.
    pub factor: f64,
    /// After how many steps.
    pub every: u64,
}

/// 0.965 every 1000 steps, as published for ImageNet.
impl Default for Anneal {
    fn default() -> Anneal {
        Anneal { factor: 0.965, every: 1000 }
    }
}

impl Anneal {
    /// The published 400 reductions (80 epochs of 5004 steps, one every 1000 steps), spread over a run of so many steps: a
    /// shorter run has larger ones, and ends at the same temperature.
    pub fn over(steps: u64) -> Anneal {
        let Anneal { factor, .. } = Anneal::default();
        let larger = 400.0 / steps.clamp(1, 400) as f64;
        Anneal { factor: factor.powf(larger), every: (steps / 400).max(1) }
    }

    /// The temperature of a step. It stays above 0, so that W / T is a number.
    pub fn temperature(&self, step: u64) -> f64 {
        let times = i32::try_from(step / self.every.max(1)).unwrap_or(i32::MAX);
        self.factor.powi(times).max(f64::from(f32::MIN_POSITIVE))
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// If the factor is not above 0 and at most 1, or the period is 0.
    pub fn check(&self) -> Result<(), Error> {
        let Anneal { factor, every } = *self;
        if !(factor > 0.0 && factor <= 1.0) {
            let text = format!("temperature: the factor is {factor}; it must be above 0 and at most 1");
            return Err(Error::Config(text));
        }
        if every == 0 {
            return Err(Error::Config("temperature: the period is 0 steps; at least 1 is needed".into()));
        }
        Ok(())
    }
}

/// Another method on a network whose binary weights have the temperature of the step. The temperature depends on the
/// step alone and is part of the network's state dict (`*.temperature`), so that a resumed run continues with it. On a
/// network without binary weights it is the other method.
///
/// ```
/// use nn::binary::{Anneal, Progressive};
/// use nn::Plain;
/// let method = Progressive { anneal: Anneal { factor: 0.9, every: 50 }, inner: Box::new(Plain) };
/// ```
pub struct Progressive {
    /// The schedule.
    pub anneal: Anneal,
    /// The method that computes the gradient.
    pub inner: Box<dyn Method>,
}

impl Method for Progressive {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        self.anneal.check()?;
        let temperature = self.anneal.temperature(loss.step.index);
        let mut loss = loss.clone();
        loss.model.visit_mut(&mut |name, t, kind| {
            if kind == Kind::Buffer && name.ends_with(".temperature") {
                *t = Tensor::scalar(temperature, t.dtype());
            }
        });
        self.inner.gradient(&loss)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.inner.state()
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        self.inner.load_state(state)
    }
}
