//! Resuming a run.

use std::path::Path;

use serde_json::Value;
use toml::Table;

use super::folder::Folder;
use super::session::Session;
use super::setup::{tasks, trainer};
use crate::config::meta::MetaConfig;
use crate::config::{self, Settings, file, layers};
use crate::failure::Failure;
use crate::run_folder::identity::{self, SETTINGS};
use crate::run_folder::inputs::Inputs;
use crate::run_folder::{self, FINAL, META, manifest};

impl Session {
    /// From the last checkpoint of a folder, with these settings above those of the run.
    pub fn resumed(path: &Path, own: Table) -> Result<Session, Failure> {
        let began = Folder::settings(path)?;
        let manifest = manifest::begun(path)?;
        if let Some(manifest) = &manifest {
            unchanged(manifest, &began, path)?;
        }
        let config = above(&began, own)?;
        run_folder::writable(path)?;
        let lock = run_folder::lock(path)?;
        let checkpoint = run_folder::latest(path)?;
        let tasks = tasks(&config)?;
        let mut trainer = trainer(&config, &tasks)?;
        let inputs = Inputs::of_files(&tasks.files)?;
        if let Some(manifest) = &manifest {
            inputs.check(&manifest::inputs(manifest, path)?)?;
        }
        let folder = match &checkpoint {
            None if path.join(FINAL).exists() => {
                return Err(Failure::place(path, "has final weights but no checkpoint to resume from"));
            }
            None => {
                eprintln!("{}: has no checkpoint yet; beginning at step 0", path.display());
                drop(lock);
                Folder::create(path, &config)?
            }
            Some((archive, name)) => {
                let another = |what: &str| {
                    Failure::place(
                        &path.join(name),
                        format_args!("is not of the run that {META} describes: {what}"),
                    )
                };
                trainer.restore(archive).map_err(|e| another(&e.to_string()))?;
                if let Some(then) = archive.metadata.get(SETTINGS)
                    && let then = serde_json::from_str(then).unwrap_or_default()
                    && let Some(what) = identity::difference(&then, &config)?
                {
                    return Err(another(&what));
                }
                let (made, steps) = (trainer.step_count(), config.sizes().meta_steps);
                if made > steps {
                    return Err(Failure::place(
                        path,
                        format_args!(
                            "has made {made} steps, which cannot become {steps}; give --meta-steps {made} or more, or \
                             begin a run of {steps} with another --out"
                        ),
                    ));
                }
                let folder = Folder::reopen(path, &config, archive, name, lock)?;
                if made < steps {
                    folder.not_final()?;
                }
                folder
            }
        };
        Ok(Session { config, tasks, trainer, folder, inputs })
    }
}

/// The settings of a run with others above them that may change.
fn above(began: &MetaConfig, mut own: Table) -> Result<MetaConfig, Failure> {
    // What is said again changes nothing.
    let said: MetaConfig = file::from_table(own.clone()).map_err(Failure::usage)?;
    let (then, now) = (config::table(began)?, config::table(&said.rooted())?);
    own.retain(|key, _| then.get(key) != now.get(key));
    let changeable = MetaConfig::changeable();
    if let Some(key) = own.keys().find(|key| !changeable.contains(&key.as_str())) {
        return Err(Failure::usage(format_args!(
            "--{key} cannot change when a run resumes; only {} can",
            changeable.iter().map(|name| format!("--{name}")).collect::<Vec<_>>().join(", ")
        )));
    }
    let given: Vec<String> = own.keys().cloned().collect();
    let config = layers::with(began.clone(), own, &given)?.rooted();
    config.check()?;
    Ok(config.settled())
}

/// Makes sure that the settings of a run are those that it began with.
pub fn unchanged(manifest: &Value, now: &MetaConfig, path: &Path) -> Result<(), Failure> {
    let file = path.join(META);
    match manifest.get(SETTINGS).map(|then| identity::difference(then, now)).transpose()?.flatten() {
        None => Ok(()),
        Some(what) => Err(Failure::place(
            &file,
            format_args!(
                "has changed since the run began: {what} ({} has all of them); set it back, or begin another run with: \
                 comhe meta --config {}",
                run_folder::MANIFEST,
                file.display()
            ),
        )),
    }
}
