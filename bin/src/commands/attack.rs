//! `comhe attack`: the accuracy of trained weights on attacked images.

use std::path::PathBuf;

use autograd::Key;
use clap::{ArgMatches, Args, ValueEnum};
use nn::{Attack, Batch, robust_accuracy};
use serde_json::json;

use crate::config::kinds::{Part, Reads};
use crate::config::{Config, given};
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::picture::chart;
use crate::plot::Curve;
use crate::run_folder::{self, Trained};
use crate::{data, setup};

/// Accuracy of trained weights on test images under attacks (PGD) of given radii
#[derive(Args, Debug)]
#[group(skip)]
#[command(
    mut_arg("steps", |arg| arg.help("Number of steps per attack [default: 20]")),
    after_help = "Examples:
  comhe attack runs/fashion14-lenet-none-1                          l2, three radii
  comhe attack runs/fashion14-lenet-none-1 --norm linf --eps 0.02,0.05,0.1 --steps 40
  comhe attack weights.safetensors --model lenet --dataset fashion14 --eps 0.5,1,2 --out robust
  comhe attack runs/fashion14-lenet-none-1 --json                   one object per radius

An attack is projected gradient ascent on the cross-entropy of each image, in a ball around it
(Madry et al., arXiv 1706.06083). Radii are in units of the network's input: of pixels after
standardisation, so that 1 is one standard deviation of the training pixels; x + d is not clipped.
robust_acc is the share of images that are classified correctly both as they are and attacked; an
upper bound, since the attack need not find the worst perturbation. --out writes attack.svg,
attack.png and attack.json."
)]
pub struct AttackOf {
    /// A run folder, or a file of weights (a state dict or a checkpoint)
    #[arg(value_name = "DIR|FILE.safetensors")]
    path: PathBuf,
    /// Norm of the perturbation of an image
    #[arg(long, value_name = "NORM", default_value = "l2")]
    norm: NormName,
    /// Radii, in units of the network's input
    #[arg(long, value_name = "E,..", value_delimiter = ',', default_value = "0.1,0.5,1")]
    eps: Vec<f64>,
    /// Length of a step [default: 1.5 EPS/N in l2, 2.5 EPS/N in linf, where it starts at random]
    #[arg(long, value_name = "L")]
    step: Option<f64>,
    /// Number of test images, the first ones [default: all]
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Folder for the curve and the table
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object per radius
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Config,
}

/// Names of norms.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum NormName {
    L2,
    Linf,
}

impl NormName {
    fn text(self) -> &'static str {
        match self {
            NormName::L2 => "l2",
            NormName::Linf => "linf",
        }
    }
}

/// The settings that it depends on: those of an evaluation, the seed of random starts, and the number of steps.
pub const READS: Reads =
    Reads { parts: &[Part::Data, Part::Network, Part::Machine], and: &["seed", "steps"], without: &["init"] };

/// Steps per attack by default.
const STEPS: u64 = 20;

impl AttackOf {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        if let Some(key) = READS.first_unread(&given(matches)) {
            return Err(Failure::usage(format_args!(
                "--{key} has no effect on an attack; these have: {}",
                READS.flags()
            )));
        }
        let attacks = self.attacks()?;
        let trained = Trained::find(&self.path)?;
        trained.refuse_packed()?;
        // The number of steps is that of an attack, not that of the run.
        let of_run = trained.settings()?;
        let steps = of_run.steps;
        let mut config = Config { steps, ..of_run.with_flags(&self.settings, matches)? };
        // Noise and subsets concern the training images, which have no effect.
        (config.label_noise, config.train_size, config.hold_out) = (0.0, None, 0.0);
        config.check()?;
        setup::apply(&config);
        let dataset = data::load(&config)?;
        if dataset.is_regression() {
            let name = &dataset.name;
            return Err(Failure::usage(format_args!("{name} has real targets; an attack needs classes")));
        }
        let model = trained.network(dataset.shape(), dataset.outputs(), &config)?;
        let batches = || limited(data::test(&dataset, setup::dtype(&config)), self.images);
        let key = Key::new(config.seed).stream("attack");
        let norm = self.norm.text();
        let mut table = Table::new(["norm", "eps", "steps", "clean_acc", "robust_acc"]);
        let (mut rows, mut points, mut images, mut clean) = (Vec::new(), Vec::new(), 0, 0.0);
        for attack in attacks {
            let found = robust_accuracy(&model, attack, batches(), key)?;
            let row = json!({
                "norm": norm,
                "eps": attack.eps,
                "steps": attack.steps,
                "clean_acc": found.clean,
                "robust_acc": found.robust,
            });
            if self.json {
                output::json(&row)?;
            }
            let percent = |share: f64| format!("{:.2} %", 100.0 * share);
            let numbers = [attack.eps.to_string(), attack.steps.to_string()];
            table.row(
                [norm.to_string()].into_iter().chain(numbers).chain([found.clean, found.robust].map(percent)),
            );
            points.push((attack.eps, 100.0 * found.robust));
            rows.push(row);
            (images, clean) = (found.images, found.clean);
        }
        if let Some(out) = &self.out {
            let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
            let title = format!("{name} on {images} test images of {}, {norm} attack", dataset.name);
            // Without a perturbation the accuracy is the clean one.
            if self.eps.iter().all(|&eps| eps != 0.0) {
                points.push((0.0, 100.0 * clean));
            }
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let curve = Curve { name: "robust accuracy, %".into(), points, spread: Vec::new() };
            run_folder::made(out)?;
            if let Some(picture) = chart::of_curves(&title, "radius", &[curve]) {
                picture.write(out, "attack")?;
            }
            nn::write_atomic(&out.join("attack.json"), (output::to_json(&rows) + "\n").as_bytes())?;
        }
        if self.json {
            return Ok(());
        }
        output::line(&format!("{images} test images\n{}", table.text()))
    }

    /// An attack for each radius.
    fn attacks(&self) -> Result<Vec<Attack>, Failure> {
        let steps = self.settings.steps.unwrap_or(STEPS) as usize;
        if self.images == Some(0) {
            return Err(Failure::usage("--images is 0; at least 1 is needed"));
        }
        if let Some((_, eps)) = self.eps.iter().enumerate().find(|(i, eps)| self.eps[..*i].contains(eps)) {
            return Err(Failure::usage(format_args!("--eps names {eps} twice")));
        }
        let attack = |&eps: &f64| {
            let attack = match self.norm {
                NormName::L2 => Attack::l2(eps).steps(steps),
                // From anywhere in the cube the steps reach all of it.
                NormName::Linf => {
                    Attack { step: 2.5 * eps / steps.max(1) as f64, ..Attack::linf(eps).steps(steps) }
                }
            };
            let attack = Attack { step: self.step.unwrap_or(attack.step), ..attack };
            match attack.check() {
                Ok(()) if attack.step == 0.0 && eps > 0.0 => {
                    Err(Failure::usage("--step is 0; it must be above 0, or nothing moves"))
                }
                Ok(()) => Ok(attack),
                Err(_) if steps == 0 => Err(Failure::usage("--steps is 0; at least 1 is needed")),
                Err(_) if attack.eps >= 0.0 && attack.eps.is_finite() => {
                    let step = attack.step;
                    Err(Failure::usage(format_args!("--step is {step}; it must be finite and not negative")))
                }
                Err(_) => {
                    Err(Failure::usage(format_args!("--eps is {eps}; it must be finite and not negative")))
                }
            }
        };
        self.eps.iter().map(attack).collect()
    }
}

/// The first `images` images of some batches; all by default.
fn limited(batches: impl Iterator<Item = Batch>, images: Option<usize>) -> impl Iterator<Item = Batch> {
    let mut left = images.unwrap_or(usize::MAX);
    batches.map_while(move |batch| {
        let count = batch.len().min(left);
        left -= count;
        (count > 0).then(|| if count < batch.len() { batch.part(0..count) } else { batch })
    })
}
