//! The loss of classifiers.

use autograd::{Index, Tensor};
use registry::{Row, Setting};

use super::{Loss, LossSpec, Outputs};
use crate::error::Error;
use crate::train::{Step, Targets};

/// The mean cross-entropy of logits z [N, K] and targets t, classes (one-hot) or distributions:
///
///   - sum_k w_k t'_k log softmax(z)_k,   t' = (1 - a) t + a / K
///
/// with label smoothing a (Szegedy et al. 2016, arXiv 1512.00567) and class weights w (PyTorch's: with classes the mean
/// divides by the sum of the labels' weights). With a floor F it is - sum_k t'_k log(softmax(z)_k + F), the loss of the
/// published MHE and CoMHE code with F = 1e-4: the loss of a confident mistake is at most -log F.
///
/// ```
/// use autograd::Tensor;
/// use nn::{CrossEntropy, Loss, Outputs, Step};
/// let logits = Outputs::new(Tensor::from([[0.0, 3f64.ln()]]));
/// let loss = CrossEntropy::default().loss(&logits, &vec![1].into(), Step::default())?;
/// assert!((loss.item() - (4.0f64 / 3.0).ln()).abs() < 1e-15);
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// Label smoothing a, in 0..=1.
    pub smoothing: f64,
    /// Class weights; all 1 by default.
    pub class_weights: Option<Vec<f64>>,
    /// Added to each probability before the logarithm.
    pub floor: f64,
}

pub(super) const ROW: Row<LossSpec> = Row {
    name: "cross-entropy",
    help: "of the softmax of the outputs",
    settings: &[Setting::new("label-smoothing"), Setting::new("floor")],
    make: |options| {
        let (smoothing, floor) = (options.smoothing, options.floor);
        Box::new(CrossEntropy { smoothing, floor, ..CrossEntropy::default() })
    },
};

impl CrossEntropy {
    /// With label smoothing.
    pub fn smoothed(smoothing: f64) -> CrossEntropy {
        CrossEntropy { smoothing, ..CrossEntropy::default() }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// If a number is out of range, or a floor is combined with class weights.
    pub fn check(&self) -> Result<(), Error> {
        let CrossEntropy { smoothing, class_weights, floor } = self;
        let bad = |text: String| Err(Error::Config(format!("cross-entropy: {text}")));
        if !(0.0..=1.0).contains(smoothing) {
            return bad(format!("label smoothing is {smoothing}; it must be from 0 to 1"));
        }
        if !(*floor >= 0.0 && floor.is_finite()) {
            return bad(format!("the floor is {floor}; it must be finite and not negative"));
        }
        if let Some(w) = class_weights.iter().flatten().find(|w| !(**w >= 0.0 && w.is_finite())) {
            return bad(format!("a class weight is {w}; it must be finite and not negative"));
        }
        if *floor > 0.0 && class_weights.is_some() {
            return bad("a floor cannot be combined with class weights".to_string());
        }
        Ok(())
    }

    fn options(&self) -> autograd::CrossEntropy {
        autograd::CrossEntropy {
            label_smoothing: self.smoothing,
            class_weights: self.class_weights.clone(),
            ..autograd::CrossEntropy::default()
        }
    }

    /// The definition with a floor.
    fn with_floor(&self, logits: &Tensor, targets: &Tensor) -> Tensor {
        let (a, classes) = (self.smoothing, logits.shape()[1]);
        let smoothed = targets * (1.0 - a) + a / classes as f64;
        -((logits.softmax(1) + self.floor).log() * smoothed).sum(1).mean(..)
    }
}

/// The number of classes of logits that fit the targets.
///
/// # Errors
/// If they do not fit: which shape or label is wrong.
pub(super) fn classes(logits: &Tensor, targets: &Targets) -> Result<usize, Error> {
    let shape = logits.shape();
    if shape.rank() != 2 {
        return Err(Error::Config(format!("the outputs have shape {shape}; [N, classes] is needed")));
    }
    let classes = shape[1];
    match targets {
        Targets::Classes(labels) => {
            if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
                return Err(Error::Config(format!(
                    "the batch has a label {label}, the model {classes} classes"
                )));
            }
        }
        Targets::Distributions(t) if t.shape() == shape => {}
        Targets::Distributions(t) => {
            return Err(Error::Config(format!(
                "the targets have shape {}, the outputs {shape}; they must be the same",
                t.shape()
            )));
        }
        Targets::Values(_) => {
            return Err(Error::Config("the targets are real values; classes are needed".to_string()));
        }
    }
    Ok(classes)
}

impl Loss for CrossEntropy {
    fn name(&self) -> &str {
        "cross-entropy"
    }

    fn loss(&mut self, outputs: &Outputs, targets: &Targets, _: Step) -> Result<Tensor, Error> {
        self.check()?;
        let logits = &outputs.values;
        let classes = classes(logits, targets)?;
        if let Some(w) = self.class_weights.as_ref().filter(|w| w.len() != classes) {
            return Err(Error::Config(format!("{} class weights for {classes} classes", w.len())));
        }
        let index = |labels: &[u32]| Index::new(labels, [labels.len()]);
        Ok(match targets {
            Targets::Classes(labels) if self.floor > 0.0 => {
                self.with_floor(logits, &index(labels).one_hot(classes, logits.dtype()))
            }
            Targets::Classes(labels) => logits.cross_entropy(&index(labels), self.options()),
            Targets::Distributions(t) | Targets::Values(t) if self.floor > 0.0 => self.with_floor(logits, t),
            Targets::Distributions(t) | Targets::Values(t) => logits.cross_entropy_soft(t, self.options()),
        })
    }

    /// Without smoothing, weights and floor.
    fn evaluation(&self) -> Box<dyn Loss> {
        Box::new(CrossEntropy::default())
    }
}
