//! `comhe eval`: how good trained weights are, and how spread.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args};
use comhe::LayerReport;
use nn::{Evaluation, Step, evaluate_loss};
use serde_json::json;

use crate::config::kinds::{Part, Reads};
use crate::config::{Config, given};
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::run_folder::{LayerLine, Trained};
use crate::{data, setup};

/// Accuracy, confusion matrix and energies of trained weights on the test examples; of real targets the errors
#[derive(Args, Debug)]
#[group(skip)]
#[command(after_help = "Examples:
  comhe eval runs/fashion14-lenet-none-1                   a run folder: its last weights
  comhe eval weights.safetensors --model cnn9 --width 2 --dataset cifar10 --data-dir data

Weights in a run folder are evaluated with the folder's settings; flags win. Of real targets it gives
the mean squared error, the mean absolute error and R2 (docs/training.md).")]
pub struct Eval {
    /// A run folder, or a file of weights (a state dict or a checkpoint)
    #[arg(value_name = "DIR|FILE.safetensors")]
    path: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Config,
}

/// The settings that an evaluation depends on: the weights are those of PATH.
pub const READS: Reads =
    Reads { parts: &[Part::Data, Part::Network, Part::Machine], and: &["loss"], without: &["init"] };

impl Eval {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        let given = given(matches);
        if let Some(key) = READS.first_unread(&given) {
            return Err(Failure::usage(format_args!(
                "--{key} has no effect on an evaluation; these have: {}",
                READS.flags()
            )));
        }
        let trained = Trained::find(&self.path)?;
        let mut config = trained.settings()?.with_flags(&self.settings, matches)?;
        // Noise and subsets are of the training images, which have no effect here.
        (config.label_noise, config.train_size, config.hold_out) = (0.0, None, 0.0);
        config.check()?;
        setup::apply(&config);
        trained.check_network(&given)?;
        trained.check_data(&config, &given)?;
        let dataset = data::load(&config)?;
        let config = data::with_loss(&config, &dataset)?;
        let model = trained.network(dataset.shape(), dataset.outputs(), &config)?;
        let loss = setup::loss(&config, None)?;
        let result = evaluate_loss(&model, &*loss, data::test(&dataset, model.dtype()))?;
        let objective = setup::objective(&config)?;
        let layers = objective.report(&model.weights(), Step::default())?;
        if self.json {
            json(&trained.file, &dataset.name, result, layers)
        } else {
            text(&dataset.classes, result, layers)
        }
    }
}

fn json(file: &Path, dataset: &str, result: Evaluation, layers: Vec<LayerReport>) -> Result<(), Failure> {
    let layers = layers.into_iter().map(LayerLine::from).collect::<Vec<_>>();
    if let Some(errors) = &result.regression {
        return output::json(&json!({
            "file": file.to_string_lossy(),
            "dataset": dataset,
            "images": result.images,
            "loss": result.loss,
            "mae": errors.mae(),
            "r2": errors.r2(),
            "layers": layers,
        }));
    }
    let matrix = &result.confusion;
    let row = |label: usize| (0..matrix.classes()).map(|p| matrix.count(label, p)).collect::<Vec<_>>();
    let confusion: Vec<Vec<u64>> = (0..matrix.classes()).map(row).collect();
    output::json(&json!({
        "file": file.to_string_lossy(),
        "dataset": dataset,
        "images": result.images,
        "loss": result.loss,
        "accuracy": result.accuracy,
        "top5": result.top5,
        "recall": matrix.recall(),
        "precision": matrix.precision(),
        "confusion": confusion,
        "layers": layers,
    }))
}

fn text(classes: &[String], result: Evaluation, layers: Vec<LayerReport>) -> Result<(), Failure> {
    if let Some(errors) = &result.regression {
        output::line(&format!(
            "{} test examples: mean squared error {:.6}, mean absolute error {:.6}, R2 {:.6}",
            result.images,
            result.loss,
            errors.mae(),
            errors.r2()
        ))?;
        return output::line(&format!("\nEnergies (mean over pairs):\n{}", energies(&layers).text()));
    }
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    output::line(&format!(
        "{} test examples: accuracy {}, top-5 {}, loss {:.4}",
        result.images,
        percent(result.accuracy),
        percent(result.top5),
        result.loss
    ))?;

    // Beyond this many classes the matrix fits no terminal; --json has it.
    const SHOWN: usize = 20;
    if classes.len() <= SHOWN {
        let matrix = &result.confusion;
        let head = ["label", "", "recall"].map(String::from).into_iter();
        let mut table = Table::new(head.chain((0..classes.len()).map(|c| c.to_string())));
        let recall = matrix.recall();
        for (label, name) in classes.iter().enumerate() {
            let counts = (0..classes.len()).map(|p| matrix.count(label, p).to_string());
            // A class without examples has none.
            let recall = if recall[label].is_nan() { "-".into() } else { percent(recall[label]) };
            let head = [label.to_string(), name.clone(), recall];
            table.row(head.into_iter().chain(counts));
        }
        output::line(&format!("\nPredicted classes, a row a label:\n{}", table.text()))?;
    }

    // An export has none.
    match layers.is_empty() {
        true => Ok(()),
        false => output::line(&format!("\nEnergies (mean over pairs):\n{}", energies(&layers).text())),
    }
}

/// The table of energies of a network's layers.
pub fn energies(layers: &[LayerReport]) -> Table {
    let mut table = Table::new(["layer", "neurons", "dimension", "full", "half-space", "smallest angle"]);
    for l in layers {
        let angle = l.smallest_angle.map_or("-".into(), |a| format!("{:.1}", a.to_degrees()));
        let numbers =
            [l.n.to_string(), l.d.to_string(), format!("{:.4}", l.full), format!("{:.4}", l.half_space)];
        table.row([l.name.clone()].into_iter().chain(numbers).chain([angle]));
    }
    table
}
