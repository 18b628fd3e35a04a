//! The moving average of weights.

use autograd::Tensor;

use super::{Transform, Update};
use crate::error::Error;

/// The exponential moving average of the parameters, average = decay average + (1 - decay) p, from the first update on
/// (Polyak and Juditsky 1992). It does not change the parameters: [`Trainer::averaged`](crate::Trainer::averaged)
/// returns the averaged model. Put it after the transform that applies the gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    /// Decay rate of the average, in 0..1.
    pub decay: f64,
}

impl Average {
    /// The name of the transform.
    pub(crate) const NAME: &'static str = "average";
}

impl Transform for Average {
    fn name(&self) -> &'static str {
        Average::NAME
    }

    fn slots(&self, _: &Tensor) -> &'static [&'static str] {
        &["value"]
    }

    fn check(&self) -> Result<(), Error> {
        if (0.0..1.0).contains(&self.decay) {
            return Ok(());
        }
        Err(Error::Config(format!("average: decay is {}; it must be from 0 to 1, below 1", self.decay)))
    }

    fn apply(&mut self, updates: &mut [Update<'_>]) {
        for u in updates {
            let p = u.parameter.detach();
            let new = if u.count == 1 { p } else { &u.slots[0] * self.decay + p * (1.0 - self.decay) };
            u.slots[0].assign(&new);
        }
    }
}
