//! One run of a comparison: a network, trained, measured on the way.

use comhe::LayerReport;
use datasets::Dataset;
use nn::{Evaluation, Outcome};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::failure::Failure;
use crate::run_folder::{LayerLine, Score};
use crate::setup::{self, Setup};
use crate::statistics::median;
use crate::{data, stop};

/// Points of a curve after its start, unless told.
const POINTS: u64 = 10;

/// Which of the comparison's runs one is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The regulariser.
    pub reg: String,
    /// Weights, order of the data and projections follow from it.
    pub seed: u64,
    /// What both weights of the regulariser are multiplied by.
    pub factor: f64,
    /// Judged on training examples that were held out, instead of on test examples.
    pub tuning: bool,
}

/// One trained network.
#[derive(Serialize, Deserialize)]
pub struct Run {
    #[serde(flatten)]
    pub job: Job,
    #[serde(flatten)]
    pub test: Test,
    pub train_loss: f64,
    pub step_ms: f64,
    pub energy_before: Energies,
    pub energy_after: Energies,
    pub curve: Vec<Point>,
    pub layers: Vec<LayerLine>,
}

/// A network between two steps.
#[derive(Serialize, Deserialize)]
pub struct Point {
    pub step: u64,
    #[serde(flatten)]
    pub test: Test,
    #[serde(flatten)]
    pub energy: Energies,
}

/// An evaluation: an accuracy of classes, errors of real targets.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Test {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_acc: Option<f64>,
    pub test_loss: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_mae: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_r2: Option<f64>,
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

    /// What runs are compared by.
    pub fn score(&self) -> Score {
        self.test_acc.map_or(Score::Loss(self.test_loss), Score::Accuracy)
    }
}

/// Mean energies, averaged over the layers.
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
    /// The settings of this run, from those that all share.
    pub fn config(&self, shared: &Config) -> Result<Config, Failure> {
        let head_weight = self.factor * setup::options(shared)?.classifier_weight(&self.reg);
        Ok(Config {
            reg: self.reg.clone(),
            seed: self.seed,
            reg_weight: self.factor * shared.reg_weight,
            reg_head_weight: Some(head_weight),
            ..shared.clone()
        })
    }

    /// Trains the network; None if the user stopped it.
    pub fn run(&self, shared: &Config, dataset: &Dataset) -> Result<Option<Run>, Failure> {
        let config = self.config(shared)?;
        let mut setup = Setup::on(dataset.clone(), &config)?;
        let batches = setup.batches();
        let Setup { trainer, dtype, steps, .. } = &mut setup;
        let every = config.eval_every.unwrap_or(steps.div_ceil(POINTS)).max(1);
        let mut layers = Vec::new();
        let mut look = |trainer: &mut nn::Trainer| {
            let step = trainer.step_count();
            layers = setup::energies(trainer)?;
            let test = trainer.evaluate(data::test(dataset, *dtype))?;
            trainer.judge(test.loss);
            let energy = Energies::mean(&layers);
            Ok::<Point, Failure>(Point { step, test: Test::of(&test), energy })
        };
        let mut curve = vec![look(trainer)?];
        let (mut times, mut train_loss) = (Vec::new(), f64::NAN);
        let fitted = trainer.fit(batches, &stop::STOP, |trainer, m| {
            times.push(m.time.as_secs_f64() * 1e3);
            train_loss = m.fit;
            let done = m.step + 1;
            if done % every == 0 || done == *steps {
                curve.push(look(trainer)?);
            }
            Ok::<(), Failure>(())
        });
        let outcome = fitted.map_err(|failure| setup::explained(&trainer.model, failure))?;
        let [Some(first), Some(last)] = [curve.first(), curve.last()] else { return Ok(None) };
        if outcome == Outcome::Stopped || stop::wanted() {
            return Ok(None);
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
