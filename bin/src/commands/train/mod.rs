//! `comhe train`: one network, one run folder.

mod begun;
mod session;
mod steps;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args};

use super::sanity::Sanity;
use crate::config::Config;
use crate::config::layers::Layers;
use crate::failure::Failure;
use crate::{output, run_folder, stop};
use begun::Begun;

/// Train one network; every flag can also come from a TOML file
#[derive(Args, Debug)]
#[group(skip)]
#[command(after_help = "Examples:
  comhe train                                        a small net on built-in images
  comhe train --reg rp --seed 3 --out runs/rp3       with RP-CoMHE
  comhe train --dataset fashion-mnist --epochs 12
  comhe train --dataset cifar10 --data-dir data --model cnn9 --width 2 --augment crop-flip \\
              --lr 0.1 --steps 6000 --milestones 3000,4500
  comhe train --config run.toml --threads 1          keys of the file are names of flags
  comhe train --config run.toml --set lr=0.1         the same as --lr 0.1, for scripts
  comhe train --model cnn9 --dry                     shapes, parameters, FLOPs, memory, one step
  comhe train --overfit 1                            overfit one batch, to check a setup
  comhe train --low-rank 8 --reg hs-mhe              hidden weights of rank 8, energies of their factors
  comhe train --watch grad,update,cosine --reg rp    instruments on every tenth step
  comhe train --watch noise,sharpness --watch-every 100
  comhe train --resume runs/rp3                      resume where it stopped
  comhe train --tui --epochs 40                      live curves on the terminal

--watch takes, for the network and for each layer (docs/instruments.md has the formulas and costs):
  grad       norm of the gradient, and dead units     update     |w_new - w_old| / |w_old|, and dead units
  dead       share of ReLU units 0 on the batch       cosine     with the gradient before; data to regulariser
  energy     hyperspherical energies                  angles     smallest angle between two neurons
  noise      gradient noise scale (a pass an image)   sharpness  top Hessian eigenvalue (up to 40 products);
                                                      sharpness-layers: of each layer's block, too
They look on: weights, order of data and random draws are the same without them, to the byte.

The last line printed is the run folder: config.toml, metrics.jsonl (a line a step, one an
evaluation and one a measurement of energies and angles, in one line where both fall together, whose
\"step\" counts the steps done), the same as metrics.csv and layers.csv, checkpoint.safetensors and the
one before it, best.safetensors (the weights of the best accuracy; of real targets, the smallest loss), final.safetensors,
manifest.json (what the run was made with, from and by), and the curves: loss.svg, accuracy.svg,
energy.svg (with the penalties, as the regulariser sees them), angle.svg.

A run that was stopped, killed or ran out of disk resumes with --resume, and ends with the same bytes as if
nothing had happened; comhe replay makes a finished run again and compares the weights.

The cnn nets keep running statistics over about 1,000 batches (batch norm's momentum is 0.001):
what they say on test images means little before some thousand steps.")]
pub struct Train {
    /// The run folder [default: a new one in runs/]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "out"])]
    resume: Option<PathBuf>,
    /// Live curves on the whole terminal
    #[arg(long)]
    tui: bool,
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    sanity: Sanity,
    #[command(flatten)]
    settings: Config,
}

impl Train {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        if self.tui && !std::io::stderr().is_terminal() {
            return Err(Failure::usage(
                "--tui draws on standard error, which is no terminal here; leave it out for plain lines",
            ));
        }
        stop::on_signals()?;
        if self.sanity.wanted() {
            return self.sanity.run(&self.resolved(matches)?);
        }
        let begun = match &self.resume {
            Some(path) => Begun::resumed(path, self.layers.own(&self.settings, matches)?)?,
            None => {
                let config = self.resolved(matches)?;
                let path = self.out.clone().unwrap_or_else(|| run_folder::fresh(&name(&config)));
                Begun::fresh(config, &path)?
            }
        };
        let folder = begun.train(self.tui)?;
        output::line(&folder.display().to_string())
    }

    /// The settings, checked and settled.
    fn resolved(&self, matches: &ArgMatches) -> Result<Config, Failure> {
        Ok(self.layers.resolve(&self.settings, matches)?.settled())
    }
}

/// Trains a network in a new folder, as the command does.
pub fn train(config: Config, path: &Path) -> Result<(), Failure> {
    Begun::fresh(config, path)?.train(false).map(drop)
}

/// The name of a run's folder, without its number.
fn name(config: &Config) -> String {
    let data = config.dataset.split(':').next().unwrap_or_default();
    format!("{data}-{}-{}", config.model, config.reg)
}
