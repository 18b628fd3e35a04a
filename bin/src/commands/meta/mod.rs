//! `comhe meta`: meta-learning, one run folder.

mod folder;
mod resume;
mod session;
mod setup;

pub use folder::RESULT;

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args};
use serde_json::{Value, json};

use crate::config::Settings;
use crate::config::layers::Layers;
use crate::config::meta::MetaConfig;
use crate::failure::Failure;
use crate::run_folder::inputs::Inputs;
use crate::run_folder::{self, manifest};
use crate::{output, stop};
use folder::Folder;
use session::Session;

/// Meta-learning: find weights from which a few steps of gradient descent solve a new task
#[derive(Args, Debug)]
#[group(skip)]
#[command(after_help = "Examples:
  comhe meta                                            MAML on sine waves
  comhe meta --pool 20 --noise bernoulli                twenty training tasks, with DropGrad
  comhe meta --task omniglot --data-dir data --shot 1 --learner first-order
  comhe meta --task digits --learner anil --json
  comhe meta --config run.toml --set noise.rate=0.2     settings of a file, others above them
  comhe meta --resume runs/meta-sinusoid-maml-1         resume a stopped run
  comhe meta --resume runs/meta-sinusoid-maml-1 --meta-steps 5000
  comhe report runs                                     all runs in a folder, paired by seed

A task has support examples, to adapt to, and query examples. A step adapts a copy of the network to each
task of a meta-batch by --inner-steps of gradient descent on the support loss, and updates the network by
the gradient of the sum of the query losses. At the end the network adapts to test tasks, without noise.

The last line printed is the run folder: meta.toml (the settings), metrics.jsonl (for each step: query_loss
and query_acc after adaptation, and support_loss; means over the meta-batch), checkpoint.safetensors and the
one before it, final.safetensors (the weights before adaptation), result.json (the test tasks) and
manifest.json. A resumed run ends with the same bytes as an uninterrupted one.")]
pub struct Meta {
    /// The run folder [default: a new one in runs/]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Resume the run in this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "out"])]
    resume: Option<PathBuf>,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    settings: MetaConfig,
}

impl Meta {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        stop::on_signals()?;
        let mut session = match &self.resume {
            Some(path) => Session::resumed(path, self.layers.own(&self.settings, matches)?.0)?,
            None => {
                let config = self.layers.resolve(&self.settings, matches)?.settled().rooted();
                let path = self.out.clone().unwrap_or_else(|| run_folder::fresh(&setup::name(&config)));
                Session::fresh(config, &path)?
            }
        };
        let mut result = session.run()?;
        let folder = session.folder.path.display().to_string();
        if self.json {
            result["folder"] = json!(folder);
            return output::json(&result);
        }
        output::line(&session::text(&result))?;
        output::line(&folder)
    }
}

/// The settings of the run in a folder.
pub fn settings(folder: &Path) -> Result<MetaConfig, Failure> {
    Folder::settings(folder)
}

/// Makes the run of a manifest again, in a new folder, as the command does, perhaps with other threads and data folder.
pub fn again(folder: &Path, manifest: &Value, machine: MetaConfig, out: &Path) -> Result<(), Failure> {
    let config = settings(folder)?;
    resume::unchanged(manifest, &config, folder)?;
    let machine = machine.rooted();
    let config = MetaConfig {
        data_dir: machine.data_dir.or(config.data_dir.clone()),
        threads: machine.threads.or(config.threads),
        ..config
    };
    config.check()?;
    Inputs::of_files(&setup::tasks(&config)?.files)?.check(&manifest::inputs(manifest, folder)?)?;
    Session::fresh(config.settled(), out)?.run().map(drop)
}
