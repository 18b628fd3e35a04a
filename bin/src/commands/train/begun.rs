//! The beginning of a run, in a new folder or where it stopped.

use std::path::Path;

use clap::ArgMatches;

use crate::config::{self, Config};
use crate::failure::Failure;
use crate::low_rank;
use crate::run_folder::inputs::Inputs;
use crate::run_folder::{self, RunFolder, manifest};
use crate::setup::{self, Setup};
use crate::watch::Watch;

/// A run that is ready to go, and where it goes.
pub struct Begun {
    pub setup: Setup,
    pub folder: RunFolder,
    pub config: Config,
    pub inputs: Inputs,
    pub watch: Watch,
}

/// What may change when a run goes on: nothing that the steps depend on, but how many there are.
const CHANGEABLE: [&str; 10] = [
    "threads",
    "steps",
    "epochs",
    "eval-every",
    "energy-every",
    "watch",
    "watch-every",
    "checkpoint-every",
    "data-dir",
    "tensorboard",
];

impl Begun {
    /// In a new folder. The settings have been checked and settled.
    pub fn fresh(config: Config, path: &Path) -> Result<Begun, Failure> {
        // What needs no data comes first: a wrong name should not leave a folder behind.
        setup::objective(&config)?;
        let made: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        run_folder::prepare(path)?;
        let begun = Setup::new(&config)
            .and_then(|setup| Ok((setup, Inputs::of(&config)?, RunFolder::create(path, &config)?)));
        if begun.is_err() {
            // Only succeeds on empty folders, which is all that was asked.
            made.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
        }
        let (mut setup, inputs, folder) = begun?;
        let watch = Watch::new(&config, &mut setup.trainer);
        Ok(Begun { setup, folder, config, inputs, watch })
    }

    /// From the last checkpoint of a run folder.
    pub fn resumed(path: &Path, flags: &Config, matches: &ArgMatches) -> Result<Begun, Failure> {
        let asks = |key: &&String| !["resume", "tui"].contains(&key.as_str());
        let given = config::given(matches);
        if let Some(key) = given.iter().filter(asks).find(|key| !CHANGEABLE.contains(&key.as_str())) {
            return Err(Failure::usage(format_args!(
                "--{key} cannot change when a run goes on; only {} can",
                CHANGEABLE.map(|name| format!("--{name}")).join(", ")
            )));
        }
        let manifest = manifest::load(path)?;
        let config = run_folder::settings(path)?.with_flags(flags, matches)?;
        config.check()?;
        let config = config.settled();
        run_folder::writable(path)?;
        let lock = run_folder::lock(path)?;
        let checkpoint = run_folder::latest(path)?;
        // The checkpoint has the weights by now.
        let read =
            if checkpoint.is_some() { Config { init: None, ..config.clone() } } else { config.clone() };
        let mut inputs = Inputs::of(&read)?;
        if let Some(manifest) = manifest {
            let then = manifest::inputs(&manifest, path)?;
            inputs.check(&then)?;
            inputs.init = then.init;
        }
        let mut setup = Setup::new(&read)?;
        let folder = match &checkpoint {
            None if path.join(run_folder::FINAL).exists() => {
                let text = "is half there: it has final weights, but no checkpoint to go on from";
                return Err(Failure::place(path, text));
            }
            None => {
                eprintln!("{}: has no checkpoint yet; beginning at step 0", path.display());
                drop(lock);
                RunFolder::create(path, &config)?
            }
            Some((archive, name)) => {
                setup.trainer.restore(archive).map_err(|e| {
                    Failure::place(
                        &path.join(name),
                        format_args!("is not of the run that {} describes: {e}", run_folder::CONFIG),
                    )
                })?;
                low_rank::check(&setup.trainer.model)?;
                let folder = RunFolder::reopen(path, &config, archive, name, lock)?;
                if setup.trainer.step_count() < setup.steps {
                    folder.not_final()?;
                }
                folder
            }
        };
        let mut watch = Watch::new(&config, &mut setup.trainer);
        if let Some((archive, _)) = &checkpoint {
            watch.resume(archive);
        }
        Ok(Begun { setup, folder, config, inputs, watch })
    }
}
