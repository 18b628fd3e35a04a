//! `comhe meta`: meta-learning, one run folder.

mod folder;
mod session;
mod settings;

pub use folder::SETTINGS;

use std::path::PathBuf;

use clap::{ArgMatches, Args};

use crate::config::given;
use crate::failure::Failure;
use crate::{run_folder, stop};
use session::Session;
use settings::Settings;

/// Meta-learning: find weights from which a few steps of gradient descent solve a new task
#[derive(Args, Debug)]
#[group(skip)]
#[command(after_help = "Examples:
  comhe meta                                            MAML on sine waves
  comhe meta --pool 20 --noise bernoulli                twenty training tasks, with DropGrad
  comhe meta --task omniglot --data-dir data --shot 1 --learner first-order
  comhe meta --task digits --learner anil --json
  comhe meta --resume runs/meta-sinusoid-maml-1         resume a stopped run

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
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// The flags that do not change the results, so that a resumed run can have others.
const CHANGEABLE: [&str; 4] = ["resume", "json", "threads", "data-dir"];

impl Meta {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        stop::on_signals()?;
        let session = match &self.resume {
            Some(path) => {
                if let Some(key) = given(matches).iter().find(|key| !CHANGEABLE.contains(&key.as_str())) {
                    return Err(Failure::usage(format_args!(
                        "--{key} cannot change in a resumed run; only --threads and --data-dir can"
                    )));
                }
                Session::resumed(path, &self.settings)?
            }
            None => {
                let settings = self.settings.clone().of_task(&given(matches)).resolved()?;
                let path = self.out.clone().unwrap_or_else(|| run_folder::fresh(&settings.name()));
                Session::fresh(settings, &path)?
            }
        };
        session.run(self.json)
    }
}
