//! One run of a comparison: a network is trained, evaluated and measured.

use comhe::{LayerReport, short};
use datasets::Dataset;
use nn::{Evaluation, Outcome};
use serde::{Deserialize, Deserializer, Serialize};

use super::arm::Arm;
use crate::config::Config;
use crate::failure::Failure;
use crate::run_folder::{LayerLine, Score};
use crate::setup::{self, Setup};
use crate::statistics::median;
use crate::{data, stop};

/// The default number of points of a curve after step 0.
const POINTS: u64 = 10;

/// The parameters of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What is compared.
    #[serde(flatten)]
    pub arm: Arm,
    /// The seed of initial weights, data order and projections.
    pub seed: u64,
    /// The factor of both weights of the regulariser.
    pub factor: f64,
    /// Whether the run is one of `--tune`, evaluated on held-out training examples instead of the test examples.
    pub tuning: bool,
}

/// The result of a run.
#[derive(Serialize, Deserialize)]
pub struct Run {
    #[serde(flatten)]
    pub job: Job,
    #[serde(flatten)]
    pub test: Test,
    #[serde(deserialize_with = "nan_for_null")]
    pub train_loss: f64,
    pub step_ms: f64,
    pub energy_before: Energies,
    pub energy_after: Energies,
    pub curve: Vec<Point>,
    pub layers: Vec<LayerLine>,
}

/// A point of the curves: evaluation and energies after `step` steps.
#[derive(Serialize, Deserialize)]
pub struct Point {
    pub step: u64,
    #[serde(flatten)]
    pub test: Test,
    #[serde(flatten)]
    pub energy: Energies,
}

/// An evaluation: the accuracy for classes, the errors for real targets.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Test {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_acc: Option<f64>,
    #[serde(deserialize_with = "nan_for_null")]
    pub test_loss: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_mae: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_r2: Option<f64>,
}

/// JSON has null in the place of NaN and infinities.
fn nan_for_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl Test {
    fn of(e: &Evaluation) -> Test {
        let errors = e.regression.as_ref();
        Test {
            test_acc: errors.is_none().then_some(e.accuracy),
            test_loss: e.loss,
            test_mae: errors.map(|errors| errors.mae()),
            test_r2: errors.map(|errors| errors.r2()),
        }
    }

    /// The score by which runs are compared.
    pub fn score(&self) -> Score {
        self.test_acc.map_or(Score::Loss(self.test_loss), Score::Accuracy)
    }
}

/// Mean energies of the layers, averaged over the layers.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Energies {
    pub full: f64,
    pub half_space: f64,
}

impl Energies {
    fn mean(layers: &[LayerReport]) -> Energies {
        let mean =
            |what: fn(&LayerReport) -> f64| layers.iter().map(what).sum::<f64>() / layers.len().max(1) as f64;
        Energies { full: mean(|l| l.full), half_space: mean(|l| l.half_space) }
    }
}

impl Job {
    /// The settings of the run, from those that all runs share.
    pub fn config(&self, shared: &Config) -> Result<Config, Failure> {
        let shared = &self.arm.config(shared);
        let head_weight = self.factor * setup::options(shared)?.classifier_weight(&shared.reg);
        Ok(Config {
            seed: self.seed,
            reg_weight: self.factor * shared.reg_weight,
            reg_head_weight: Some(head_weight),
            ..shared.clone()
        })
    }

    /// Trains the network; None if the user stopped it.
    ///
    /// # Errors
    /// If a loss in training, or that of the last evaluation, is not finite.
    pub fn run(&self, shared: &Config, dataset: &Dataset) -> Result<Option<Run>, Failure> {
        let config = self.config(shared)?;
        let mut setup = Setup::on(dataset.clone(), &config)?;
        let batches = setup.batches();
        let Setup { trainer, dtype, steps, .. } = &mut setup;
        let every = config.eval_every.unwrap_or(steps.div_ceil(POINTS)).max(1);
        let mut layers = Vec::new();
        let mut evaluate = |trainer: &mut nn::Trainer| {
            let step = trainer.step_count();
            layers = setup::energies(trainer)?;
            let test = trainer.evaluate(data::test(dataset, *dtype))?;
            trainer.judge(test.loss);
            let energy = Energies::mean(&layers);
            Ok::<Point, Failure>(Point { step, test: Test::of(&test), energy })
        };
        let mut curve = vec![evaluate(trainer)?];
        let (mut times, mut train_loss) = (Vec::new(), f64::NAN);
        let fitted = trainer.fit(batches, &stop::STOP, |trainer, m| {
            times.push(m.time.as_secs_f64() * 1e3);
            train_loss = m.fit;
            let done = m.step + 1;
            if done % every == 0 || done == *steps {
                curve.push(evaluate(trainer)?);
            }
            Ok::<(), Failure>(())
        });
        let outcome = fitted.map_err(|failure| setup::explained(&trainer.model, failure))?;
        let [Some(first), Some(last)] = [curve.first(), curve.last()] else { return Ok(None) };
        if outcome == Outcome::Stopped || stop::wanted() {
            return Ok(None);
        }
        if !last.test.test_loss.is_finite() {
            return Err(Failure::unfinished(format_args!(
                "step {}: the test loss is {}; the run diverged: try a smaller --lr (it was {})",
                last.step,
                last.test.test_loss,
                short(config.rate())
            )));
        }
        Ok(Some(Run {
            job: self.clone(),
            test: last.test,
            train_loss,
            step_ms: median(&times),
            energy_before: first.energy,
            energy_after: last.energy,
            layers: layers.into_iter().map(LayerLine::from).collect(),
            curve,
        }))
    }
}
