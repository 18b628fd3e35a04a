//! The beginning of a run, in a new folder or where it stopped.

use std::path::Path;

use serde_json::Value;
use toml::Table;

use crate::config::kinds;
use crate::config::{self, Config, Settings};
use crate::failure::Failure;
use crate::run_folder::identity::{self, SETTINGS};
use crate::run_folder::inputs::Inputs;
use crate::run_folder::{self, CONFIG, RunFolder, manifest, origin};
use crate::setup::{self, Setup};
use crate::watch::Watch;

/// A run that is ready to go, and where it goes.
pub struct Begun {
    pub setup: Setup,
    pub folder: RunFolder,
    pub config: Config,
    pub inputs: Inputs,
    pub watch: Watch,
    /// The manifest's entries of where it began.
    pub origin: [(&'static str, Value); 2],
}

impl Begun {
    /// In a new folder. The settings have been checked and settled.
    pub fn fresh(config: Config, path: &Path) -> Result<Begun, Failure> {
        // What needs no data comes first: a wrong name should not leave a folder behind.
        setup::objective(&config)?;
        let (mut setup, inputs, folder) = run_folder::unless_empty(path, || {
            run_folder::prepare(path)?;
            let setup = Setup::new(&config)?;
            let folder = RunFolder::create(path, &setup.config)?;
            Ok((setup, Inputs::of(&config)?, folder))
        })?;
        let config = setup.config.clone();
        let watch = Watch::new(&config, &mut setup.trainer);
        let origin = origin::entries(&origin::here(), &config);
        Ok(Begun { setup, folder, config, inputs, watch, origin })
    }

    /// From the last checkpoint of a run folder, with these settings and the names of all that were given.
    pub fn resumed(path: &Path, (mut own, mut given): (Table, Vec<String>)) -> Result<Begun, Failure> {
        let manifest = manifest::load(path)?;
        let began = run_folder::settings(path)?;
        // What is said again changes nothing.
        let (then, now) = (
            config::table(&began)?,
            config::table(&Config::from_table(own.clone()).map_err(Failure::usage)?)?,
        );
        own.retain(|key, _| then.get(key) != now.get(key));
        given.retain(|key| own.contains_key(key) || !now.contains_key(key));
        let changeable = Config::changeable();
        let may = |key: &str| kinds::part(key).is_none() || changeable.contains(&key);
        if let Some(key) = given.iter().find(|key| !may(key)) {
            return Err(Failure::usage(format_args!(
                "--{key} cannot change when a run resumes; only {} can",
                changeable.iter().map(|name| format!("--{name}")).collect::<Vec<_>>().join(", ")
            )));
        }
        let mut config = began.with(own, &given)?;
        if given.iter().any(|key| key == "data-dir") {
            config.data_dir = config.data_dir.as_deref().map(origin::named_now);
        }
        config.check()?;
        let config = config.settled();
        if let Some(then) = manifest.as_ref().and_then(|manifest| manifest.get(SETTINGS)) {
            unchanged(then, &config, path)?;
        }
        run_folder::writable(path)?;
        let lock = run_folder::lock(path)?;
        let checkpoint = run_folder::latest(path)?;
        let mut read = manifest.as_ref().map_or(config.clone(), |then| origin::right_here(&config, then));
        if checkpoint.is_some() {
            // It has the weights by now.
            read.init = None;
        }
        let origin = origin::entries(&manifest.as_ref().map_or_else(origin::here, origin::of), &read);
        let mut inputs = Inputs::of(&read)?;
        if let Some(manifest) = manifest {
            let then = manifest::inputs(&manifest, path)?;
            inputs.check(&then)?;
            inputs.init = then.init;
        }
        let mut setup = Setup::new(&read)?;
        let folder = match &checkpoint {
            None if path.join(run_folder::FINAL).exists() => {
                let text = "has final weights but no checkpoint to resume from";
                return Err(Failure::place(path, text));
            }
            None => {
                eprintln!("{}: has no checkpoint yet; beginning at step 0", path.display());
                drop(lock);
                RunFolder::create(path, &config)?
            }
            Some((archive, name)) => {
                let another = |what: &str| {
                    let text = format_args!("is not of the run that {CONFIG} describes: {what}");
                    Failure::place(&path.join(name), text)
                };
                setup.trainer.restore(archive).map_err(|e| another(&e.to_string()))?;
                if let Some(then) = archive.metadata.get(SETTINGS)
                    && let then = serde_json::from_str(then).unwrap_or_default()
                    && let Some(what) = identity::difference(&then, &config)?
                {
                    return Err(another(&what));
                }
                comhe::check_factors(&setup.trainer.model)?;
                let (made, steps) = (setup.trainer.step_count(), setup.steps);
                if made > steps {
                    return Err(Failure::place(
                        path,
                        format_args!(
                            "has made {made} steps, which cannot become {steps}; give --steps {made} or more, or begin a run \
                             of {steps} with another --out"
                        ),
                    ));
                }
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
        Ok(Begun { setup, folder, config, inputs, watch, origin })
    }
}

/// Makes sure that the settings of a run are those that it began with.
fn unchanged(then: &Value, now: &Config, path: &Path) -> Result<(), Failure> {
    let Some(what) = identity::difference(then, now)? else { return Ok(()) };
    let file = path.join(CONFIG);
    let text = format_args!(
        "has changed since the run began: {what} ({} has all of them); set it back, or begin another run with: comhe train \
         --config {}",
        run_folder::MANIFEST,
        file.display()
    );
    Err(Failure::place(&file, text))
}
