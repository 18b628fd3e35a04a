//! DropGrad: noise on the gradients of adaptation.

use autograd::{DType, Key, Shape, Tensor};
use registry::{Row, Setting};

use crate::error::Error;

/// The distribution of the factors. Both kinds have mean 1 and variance p / (1 - p) at rate p.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoiseKind {
    /// All factors are 1: no noise.
    #[default]
    None,
    /// 0 with probability p, else 1 / (1 - p).
    Bernoulli,
    /// N(1, p / (1 - p)), which can be negative.
    Gaussian,
}

/// What noise reads.
const SETTINGS: [Setting; 2] = [Setting::new("rate"), Setting::new("schedule")];

/// Every kind of noise, by name, the default first.
pub static NOISES: &[Row<NoiseKind>] = &[
    Row { name: "none", help: "no noise", settings: &[], make: NoiseKind::None },
    Row {
        name: "bernoulli",
        help: "each entry of a gradient is dropped with probability p, or divided by 1 - p",
        settings: &SETTINGS,
        make: NoiseKind::Bernoulli,
    },
    Row {
        name: "gaussian",
        help: "each entry of a gradient is multiplied by a draw from N(1, p / (1 - p))",
        settings: &SETTINGS,
        make: NoiseKind::Gaussian,
    },
];

/// How the level of the noise changes over meta-training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoiseSchedule {
    /// The same level in each step.
    #[default]
    Constant,
    /// Linear from 0 in step 0 to the full level in step `steps` - 1, and constant from there on.
    Linear {
        /// The number of meta-steps.
        steps: u64,
    },
}

/// DropGrad (Tseng et al., ACCV 2020): each entry of a gradient of adaptation is multiplied by an independent random
/// factor of mean 1. Biases and the parameters of norms get noise, too.
///
/// A linear schedule ramps the drop probability of Bernoulli noise, and the standard deviation sqrt(p / (1 - p)) of
/// Gaussian noise, as the published code does (hytseng0509/DropGrad).
///
/// ```
/// use autograd::{DType, Key, Shape};
/// use nn::meta::{GradientNoise, NoiseKind};
/// let noise = GradientNoise { kind: NoiseKind::Bernoulli, rate: 0.2, ..GradientNoise::default() };
/// let factor = noise.factor(&Shape::new(&[1000]), DType::F64, Key::new(0), 0).unwrap();
/// assert!(factor.to_vec::<f64>().iter().all(|n| [0.0, 1.0 / 0.8].contains(n)));
/// assert!((factor.mean(..).item() - 1.0).abs() < 0.05);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientNoise {
    /// The distribution.
    pub kind: NoiseKind,
    /// The rate p, in 0..1: the probability of dropping an entry.
    pub rate: f64,
    /// The level over time.
    pub schedule: NoiseSchedule,
}

/// No noise, at the published rate 0.1.
impl Default for GradientNoise {
    fn default() -> GradientNoise {
        GradientNoise { kind: NoiseKind::None, rate: 0.1, schedule: NoiseSchedule::Constant }
    }
}

impl GradientNoise {
    /// Checks the rate.
    ///
    /// # Errors
    /// If it is not in 0..1.
    pub fn check(&self) -> Result<(), Error> {
        if (0.0..1.0).contains(&self.rate) {
            return Ok(());
        }
        Err(Error::Config(format!("noise rate is {}; it must be from 0 to 1, below 1", self.rate)))
    }

    /// The level in a meta-step: the drop probability of Bernoulli noise, the standard deviation of Gaussian noise.
    pub fn level(&self, step: u64) -> f64 {
        let full = match self.kind {
            NoiseKind::None => 0.0,
            NoiseKind::Bernoulli => self.rate,
            NoiseKind::Gaussian => (self.rate / (1.0 - self.rate)).sqrt(),
        };
        match self.schedule {
            NoiseSchedule::Linear { steps } if step + 1 < steps => full * step as f64 / (steps - 1) as f64,
            _ => full,
        }
    }

    /// The factors of a gradient of this shape in a meta-step; `None` at level 0, where all are 1. The key determines
    /// the draws.
    pub fn factor(&self, shape: &Shape, dtype: DType, key: Key, step: u64) -> Option<Tensor> {
        let level = self.level(step);
        if level == 0.0 {
            return None;
        }
        Some(match self.kind {
            NoiseKind::Gaussian => Tensor::normal(*shape, dtype, key) * level + 1.0,
            _ => Tensor::ones(*shape, dtype).dropout(level, key),
        })
    }
}
