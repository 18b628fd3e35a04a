//! Reduction of the learning rate and early stopping when the evaluation loss does not improve.

use autograd::{DType, Tensor};

use crate::error::Error;

/// Counts for how long a number has not improved.
#[derive(Clone, Debug, PartialEq)]
struct Wait {
    best: f64,
    since: u64,
}

impl Wait {
    const NEW: Wait = Wait { best: f64::INFINITY, since: 0 };

    /// Takes one value; returns whether no value was below `best` (1 - threshold) for more than `patience` values.
    fn over(&mut self, value: f64, threshold: f64, patience: u64) -> bool {
        if value < self.best - threshold * self.best.abs().min(f64::MAX) {
            *self = Wait { best: value, since: 0 };
        } else {
            self.since += 1;
        }
        self.since > patience
    }
}

/// Multiplies the learning rate by a factor when the evaluation loss does not improve: PyTorch's `ReduceLROnPlateau`,
/// with its relative threshold of 1e-4.
///
/// ```
/// use nn::Plateau;
/// let mut plateau = Plateau::new(0.1, 1);
/// for loss in [1.0, 0.5, 0.5, 0.5] {
///     plateau.judge(loss);
/// }
/// assert_eq!(plateau.scale(), 0.1); // two evaluations without improvement are more than one
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plateau {
    factor: f64,
    patience: u64,
    wait: Wait,
    scale: f64,
}

impl Plateau {
    /// Multiplies by `factor` after more than `patience` evaluations without improvement.
    pub fn new(factor: f64, patience: u64) -> Plateau {
        Plateau { factor, patience, wait: Wait::NEW, scale: 1.0 }
    }

    /// Takes the loss of an evaluation.
    pub fn judge(&mut self, loss: f64) {
        if self.wait.over(loss, 1e-4, self.patience) {
            self.scale *= self.factor;
            self.wait.since = 0;
        }
    }

    /// The current factor of the learning rate.
    pub fn scale(&self) -> f64 {
        self.scale
    }
}

/// Early stopping: ends training when the evaluation loss has not improved for a number of evaluations.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyStopping {
    patience: u64,
    wait: Wait,
}

impl EarlyStopping {
    /// Ends training after `patience` evaluations without improvement.
    pub fn new(patience: u64) -> EarlyStopping {
        EarlyStopping { patience, wait: Wait::NEW }
    }

    /// Takes the loss of an evaluation.
    pub fn judge(&mut self, loss: f64) {
        self.wait.over(loss, 0.0, self.patience);
    }

    /// Whether training should stop.
    pub fn ended(&self) -> bool {
        self.wait.since >= self.patience.max(1)
    }
}

/// The state of both, by name.
pub(super) fn state(plateau: &Option<Plateau>, stopping: &Option<EarlyStopping>) -> Vec<(String, Tensor)> {
    let mut list = Vec::new();
    let mut put = |name: &str, value: f64| list.push((name.to_string(), Tensor::scalar(value, DType::F64)));
    if let Some(Plateau { wait, scale, .. }) = plateau {
        put("plateau.best", wait.best);
        put("plateau.since", wait.since as f64);
        put("plateau.scale", *scale);
    }
    if let Some(EarlyStopping { wait, .. }) = stopping {
        put("early_stopping.best", wait.best);
        put("early_stopping.since", wait.since as f64);
    }
    list
}

/// Restores what [`state`] returned.
pub(super) fn load_state(
    plateau: &mut Option<Plateau>,
    stopping: &mut Option<EarlyStopping>,
    state: &[(String, Tensor)],
) -> Result<(), Error> {
    let get = |name: &str| {
        let found = state.iter().find(|(known, t)| known == name && t.numel() == 1);
        found
            .map(|(_, t)| t.item())
            .ok_or_else(|| Error::Mismatch(vec![format!("monitor.{name} is missing")]))
    };
    let wait = |name: &str| -> Result<Wait, Error> {
        Ok(Wait { best: get(&format!("{name}.best"))?, since: get(&format!("{name}.since"))? as u64 })
    };
    if let Some(plateau) = plateau {
        (plateau.wait, plateau.scale) = (wait("plateau")?, get("plateau.scale")?);
    }
    if let Some(stopping) = stopping {
        stopping.wait = wait("early_stopping")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_pytorch() {
        // torch.optim.lr_scheduler.ReduceLROnPlateau(factor=0.5, patience=2) on these losses: the rate after each.
        let losses = [1.0, 0.9, 0.95, 0.89999, 0.91, 0.92, 0.93, 0.94, 0.5, f64::NAN, 0.6, 0.55];
        let rates = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125];
        let mut plateau = Plateau::new(0.5, 2);
        for (loss, rate) in losses.into_iter().zip(rates) {
            plateau.judge(loss);
            assert_eq!(plateau.scale(), rate, "after {loss}");
        }
    }

    #[test]
    fn the_end_comes_after_so_many_evaluations_without_improvement() {
        let mut stopping = EarlyStopping::new(2);
        let ended = [3.0, 2.0, 2.0, 1.0, 1.5, 1.0].map(|loss| {
            stopping.judge(loss);
            stopping.ended()
        });
        assert_eq!(ended, [false, false, false, false, false, true]);
    }
}
