//! Streaming covariances of features, one for each class.

use autograd::{DType, Shape, Tensor};

use crate::error::Error;
use crate::named::named;

/// The form of a covariance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Covariance {
    /// A matrix [d, d].
    #[default]
    Full,
    /// The variances of the features, `[d]`.
    Diagonal,
}

named!(Covariance, "covariance": Full = "full", Diagonal = "diagonal");

/// Mean and population covariance of the features of each class, of all examples seen so far, without forgetting.
///
/// One example x of a class after n others changes them by (Welford 1962), with w = 1 / (n + 1):
///
///   covariance <- (1 - w) (covariance + w (x - mean)(x - mean)')
///   mean       <- mean + w (x - mean)
///
/// which is the update of the published ISDA code for a batch, one example at a time: the result does not depend on how
/// the stream is cut into batches, to the last bit. All numbers are f64, and constants.
///
/// ```
/// use autograd::Tensor;
/// use nn::{ClassCovariance, Covariance};
/// let mut estimate = ClassCovariance::new(Covariance::Full);
/// estimate.update(&Tensor::from([[1.0, 0.0], [3.0, 2.0], [7.0, 7.0]]), &[0, 0, 1], 2)?;
/// assert_eq!(estimate.covariance(0).to_vec::<f64>(), [1.0, 1.0, 1.0, 1.0]);
/// assert_eq!(estimate.covariance(1).to_vec::<f64>(), [0.0; 4]); // one example
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ClassCovariance {
    form: Covariance,
    classes: Vec<Moments>,
}

/// The estimate of one class.
#[derive(Clone, Debug)]
struct Moments {
    count: u64,
    mean: Tensor,
    covariance: Tensor,
}

impl ClassCovariance {
    /// An estimate that has seen nothing.
    pub fn new(form: Covariance) -> ClassCovariance {
        ClassCovariance { form, classes: Vec::new() }
    }

    /// The form of the covariances.
    pub fn form(&self) -> Covariance {
        self.form
    }

    /// The number of classes; 0 before the first update.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// The number of examples of a class.
    ///
    /// # Panics
    /// If there is no such class; as [`ClassCovariance::mean`] and [`ClassCovariance::covariance`].
    pub fn count(&self, class: usize) -> u64 {
        self.classes[class].count
    }

    /// The mean of a class, `[d]`; 0 without examples.
    pub fn mean(&self, class: usize) -> &Tensor {
        &self.classes[class].mean
    }

    /// The covariance of a class, [d, d] or `[d]`; 0 without examples.
    pub fn covariance(&self, class: usize) -> &Tensor {
        &self.classes[class].covariance
    }

    /// Adds the features [N, d] of examples of these classes, of `classes` in all.
    ///
    /// # Errors
    /// If the shapes do not fit one another, or the features and classes before.
    pub fn update(&mut self, features: &Tensor, labels: &[u32], classes: usize) -> Result<(), Error> {
        let shape = features.shape();
        let bad = |what: String| Err(Error::Config(format!("covariance estimate: {what}")));
        if shape.rank() != 2 || shape[0] != labels.len() {
            return bad(format!("the features have shape {shape} for {} labels", labels.len()));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
            return bad(format!("there is a label {label}, but only {classes} classes"));
        }
        let d = shape[1];
        if self.classes.is_empty() {
            let covariance: &[usize] = if self.form == Covariance::Full { &[d, d] } else { &[d] };
            let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F64);
            let none = Moments { count: 0, mean: zeros(&[d]), covariance: zeros(covariance) };
            self.classes = vec![none; classes];
        }
        if self.classes.len() != classes || self.classes.iter().any(|class| class.mean.numel() != d) {
            let (before, width) = (self.classes.len(), self.classes[0].mean.numel());
            return bad(format!(
                "{d} features of {classes} classes do not continue {width} features of {before} classes"
            ));
        }
        let x = features.to_vec::<f64>();
        for (class, moments) in self.classes.iter_mut().enumerate() {
            let rows = labels.iter().zip(x.chunks(d.max(1))).filter(|(label, _)| **label as usize == class);
            let rows: Vec<&[f64]> = rows.map(|(_, row)| row).collect();
            // Copies, sharing untouched, only what changes.
            if !rows.is_empty() {
                moments.update(&rows);
            }
        }
        Ok(())
    }

    /// The state, by name: `count` `[C]`, `mean` [C, d], `covariance` [C, d, d] or [C, d]; nothing before the first
    /// update.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        if self.classes.is_empty() {
            return Vec::new();
        }
        let counts: Vec<f64> = self.classes.iter().map(|class| class.count as f64).collect();
        let stack =
            |of: fn(&Moments) -> &Tensor| Tensor::stack(&self.classes.iter().map(of).collect::<Vec<_>>(), 0);
        vec![
            ("count".to_string(), Tensor::new(&counts, [counts.len()])),
            ("mean".to_string(), stack(|class| &class.mean)),
            ("covariance".to_string(), stack(|class| &class.covariance)),
        ]
    }

    /// Restores what [`ClassCovariance::state`] gave.
    ///
    /// # Errors
    /// If the tensors are not such a state, or of the other form.
    pub fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        let bad = |what: String| Err(Error::Mismatch(vec![format!("covariance estimate: {what}")]));
        let get = |name: &str| state.iter().find(|(known, _)| known == name).map(|(_, t)| t);
        self.classes = match (state.len(), get("count"), get("mean"), get("covariance")) {
            (0, ..) => Vec::new(),
            (3, Some(count), Some(mean), Some(covariance)) if mean.rank() == 2 => {
                let [classes, d] = [mean.shape()[0], mean.shape()[1]];
                let full: &[usize] = if self.form == Covariance::Full { &[d] } else { &[] };
                if count.shape() != &Shape::new(&[classes])
                    || covariance.shape() != &Shape::new(&[&[classes, d], full].concat())
                {
                    let [count, mean, covariance] = [count, mean, covariance].map(|t| t.shape());
                    return bad(format!(
                        "count {count}, mean {mean} and covariance {covariance} are not of one {} estimate",
                        self.form
                    ));
                }
                let part = |t: &Tensor, class: usize| t.to_dtype(DType::F64).select(0, class as isize);
                let moments = |class| Moments {
                    count: count.at(&[class]) as u64,
                    mean: part(mean, class),
                    covariance: part(covariance, class),
                };
                (0..classes).map(moments).collect()
            }
            _ => {
                let names: Vec<&str> = state.iter().map(|(name, _)| name.as_str()).collect();
                return bad(format!("count, mean and covariance are needed, not {}", names.join(", ")));
            }
        };
        Ok(())
    }
}

impl Moments {
    /// Adds examples, one after the other.
    fn update(&mut self, rows: &[&[f64]]) {
        let Moments { count, mean, covariance } = self;
        let full = covariance.rank() == 2;
        mean.update::<f64>(|mean| {
            covariance.update::<f64>(|covariance| {
                let mut delta = vec![0.0; mean.len()];
                for row in rows {
                    *count += 1;
                    let w = 1.0 / *count as f64;
                    for ((delta, mean), x) in delta.iter_mut().zip(mean.iter_mut()).zip(*row) {
                        *delta = x - *mean;
                        *mean += w * *delta;
                    }
                    if full {
                        for (out, a) in covariance.chunks_mut(delta.len()).zip(&delta) {
                            out.iter_mut().zip(&delta).for_each(|(s, b)| *s = (1.0 - w) * (*s + w * (a * b)));
                        }
                    } else {
                        covariance
                            .iter_mut()
                            .zip(&delta)
                            .for_each(|(s, a)| *s = (1.0 - w) * (*s + w * (a * a)));
                    }
                }
            });
        });
    }
}
