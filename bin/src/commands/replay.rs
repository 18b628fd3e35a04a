//! `comhe replay`: makes a finished run again and compares the weights.

use std::fs;
use std::path::{Path, PathBuf};

use autograd::{DType, Tensor};
use clap::Args;
use nn::Archive;
use serde_json::{Value, json};

use super::{meta, train};
use crate::config::meta::{MetaConfig, MetaSchedule, Ramp};
use crate::config::{Config, Schedule};
use crate::failure::Failure;
use crate::hash::sha256;
use crate::run_folder::{
    self, FINAL, META, METRICS, inputs::Inputs, manifest, not_as_written, origin, unread,
};
use crate::{output, stop, system};

/// Make a finished run again, in a new folder, and compare the final weights byte by byte
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe replay runs/fashion14-lenet-rp-1
  comhe replay runs/cifar10-cnn9-none-1 --threads 8 --data-dir /data
  comhe replay runs/meta-sinusoid-maml-1

Settings come from the run's config.toml (of comhe meta, meta.toml), and the data must be those of its manifest.json, by their
SHA-256. Relative paths are looked for where the run began, then here. Says \"equal\" (exit code 0), or
which tensor and element is the first that differs (exit code 1); the last line printed is the new folder.")]
pub struct Replay {
    /// The run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The new run folder [default: runs/RUN-replay-1, or the next number that is free]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The folder that holds data sets, if it is now another
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Threads; results do not depend on them [default: as the run]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What the comparison found.
struct Verdict {
    tensors: usize,
    values: usize,
    differing: usize,
    /// The first tensor that differs, and how.
    first: Option<(String, String)>,
}

impl Replay {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        stop::on_signals()?;
        let path = &self.run;
        let of_meta = path.join(META).is_file();
        let half = || Failure::place(path, "is half there: it has no manifest.json; the run never began");
        let manifest = if of_meta { manifest::begun(path)? } else { manifest::load(path)? };
        let manifest = manifest.ok_or_else(half)?;
        let (was, _) = finished(path, &manifest)?;
        let out = self.out.clone().unwrap_or_else(|| {
            let whole = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            run_folder::fresh(&format!("{}-replay", whole.file_name().unwrap_or_default().to_string_lossy()))
        });
        if of_meta {
            self.meta(&manifest, &out)?
        } else {
            self.train(&manifest, &out)?
        }

        let file = out.join(FINAL);
        let now = fs::read(&file).map_err(|e| unread(&file, &e))?;
        let verdict = compared(&was, &now, path, &file)?;
        let equal = was == now;
        let step = if equal { None } else { first_difference(path, &out) };
        if self.json {
            output::json(&json!({
                "run": path.to_string_lossy(), "replay": out.to_string_lossy(), "equal": equal,
                "sha256": sha256(&was), "replay_sha256": sha256(&now),
                "tensors": verdict.tensors, "differing": verdict.differing,
                "first": verdict.first.as_ref().map(|(name, _)| name), "first_step": step,
            }))?;
        } else {
            output::line(&match &verdict.first {
                None if equal => format!(
                    "equal: the final weights are the same bytes ({} tensors, {} values, SHA-256 {})",
                    verdict.tensors,
                    verdict.values,
                    sha256(&was)
                ),
                None => "differs: the tensors are equal, the files' headers are not".to_string(),
                Some((name, how)) => format!(
                    "differs: {name} is the first tensor that does: {how} ({} of {} tensors differ)",
                    verdict.differing, verdict.tensors
                ),
            })?;
            output::line(&out.display().to_string())?;
        }
        if equal { Ok(()) } else { Err(Failure::unfinished(reasons(path, &manifest, step))) }
    }

    /// Makes the run of `comhe train` again.
    fn train(&self, manifest: &Value, out: &Path) -> Result<(), Failure> {
        let path = &self.run;
        let config = run_folder::settings(path)?;
        one_length(path, manifest, (config.schedule == Schedule::Cosine).then_some("the cosine schedule"))?;
        if let Some(model) = manifest["model"]["name"].as_str().filter(|model| *model != config.model) {
            return Err(Failure::place(
                path,
                format_args!(
                    "is of two runs: {} is of {}, {} of {model}",
                    run_folder::CONFIG,
                    config.model,
                    run_folder::MANIFEST
                ),
            ));
        }
        let then = manifest::inputs(manifest, path)?;
        let data_dir = self.data_dir.as_deref().map(origin::named_now).or(config.data_dir.clone());
        let threads = self.threads.or(config.threads);
        let mut config = origin::right_here(&Config { data_dir, threads, ..config }, manifest);
        config.check()?;
        // The replay's log is the run's, at least.
        config.tensorboard = false;
        Inputs::of(&config)?.check(&then)?;
        train::train(config, out)
    }

    /// Makes the run of `comhe meta` again.
    fn meta(&self, manifest: &Value, out: &Path) -> Result<(), Failure> {
        let config = meta::settings(&self.run)?;
        let ramp = config.noise_schedule == Ramp::Linear && config.noise.name != "none";
        let follows = [
            (config.meta_schedule == MetaSchedule::Cosine, "the cosine schedule"),
            (ramp, "the schedule of the noise"),
        ];
        let follows = follows.into_iter().find_map(|(does, what)| does.then_some(what));
        one_length(&self.run, manifest, follows)?;
        let machine =
            MetaConfig { data_dir: self.data_dir.clone(), threads: self.threads, ..MetaConfig::default() };
        meta::again(&self.run, manifest, machine, out)
    }
}

/// The final weights of a run that is finished, as it wrote them, with their hash.
fn finished(path: &Path, manifest: &Value) -> Result<(Vec<u8>, String), Failure> {
    let file = path.join(FINAL);
    let Some(wrote) = manifest["final"]["sha256"].as_str().filter(|_| file.is_file()) else {
        return Err(Failure::place(
            path,
            format_args!(
                "is not finished, so that there is nothing to compare with; finish it with: comhe {} --resume {}",
                run_folder::made_by(path).0,
                path.display()
            ),
        ));
    };
    let bytes = fs::read(&file).map_err(|e| unread(&file, &e))?;
    let sum = sha256(&bytes);
    if sum != wrote {
        return Err(Failure::place(&file, not_as_written(&sum, wrote)));
    }
    Ok((bytes, sum))
}

/// What depends on the run's length must have known it from the beginning.
fn one_length(path: &Path, manifest: &Value, follows: Option<&str>) -> Result<(), Failure> {
    let sessions = manifest["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lengths: Vec<u64> = sessions.iter().filter_map(|s| s["steps"].as_u64()).collect();
    let changed = lengths.windows(2).find(|pair| pair[0] != pair[1]);
    match changed.zip(follows) {
        Some((pair, what)) => Err(Failure::place(
            path,
            format_args!(
                "cannot be made again by one command: its length changed from {} to {} steps, and {what} with it",
                pair[0], pair[1]
            ),
        )),
        None => Ok(()),
    }
}

/// Compares two files of weights, tensor by tensor.
fn compared(was: &[u8], now: &[u8], run: &Path, file: &Path) -> Result<Verdict, Failure> {
    let read = |bytes: &[u8], path: &Path| Archive::from_bytes(bytes).map_err(|e| Failure::place(path, e));
    let (was, now) = (read(was, &run.join(FINAL))?, read(now, file)?);
    let mut verdict = Verdict { tensors: was.tensors.len(), values: 0, differing: 0, first: None };
    for (name, a) in &was.tensors {
        verdict.values += a.numel();
        let how = match now.get(name) {
            None => Some("the replay does not have it".to_string()),
            Some(b) if (a.shape(), a.dtype()) != (b.shape(), b.dtype()) => Some(format!(
                "it is {:?} {}, and in the replay {:?} {}",
                a.dtype(),
                a.shape(),
                b.dtype(),
                b.shape()
            )),
            Some(b) => different(a, b),
        };
        if let Some(how) = how {
            verdict.differing += 1;
            verdict.first.get_or_insert((name.clone(), how));
        }
    }
    if let Some((name, _)) = now.tensors.iter().find(|(name, _)| was.get(name).is_none()) {
        verdict.first.get_or_insert((name.clone(), "only the replay has it".into()));
        verdict.differing += 1;
    }
    Ok(verdict)
}

/// How two tensors of a shape differ, if they do: bit by bit, so that 0 is not -0.
fn different(a: &Tensor, b: &Tensor) -> Option<String> {
    let unlike: Vec<usize> = match a.dtype() {
        DType::F32 => {
            let (a, b) = (a.data::<f32>(), b.data::<f32>());
            (0..a.len()).filter(|&i| a[i].to_bits() != b[i].to_bits()).collect()
        }
        DType::F64 => {
            let (a, b) = (a.data::<f64>(), b.data::<f64>());
            (0..a.len()).filter(|&i| a[i].to_bits() != b[i].to_bits()).collect()
        }
    };
    let first = *unlike.first()?;
    let value = |t: &Tensor| t.to_vec::<f64>()[first];
    Some(format!(
        "element {first} is {:e}, and {:e} in the replay ({} of its {} values differ)",
        value(a),
        value(b),
        unlike.len(),
        a.numel()
    ))
}

/// The step of the first line in which two logs differ.
fn first_difference(run: &Path, replay: &Path) -> Option<u64> {
    let log = |path: &Path| fs::read_to_string(path.join(METRICS)).ok();
    let (was, now) = (log(run)?, log(replay)?);
    let (_, line) = was.lines().zip(now.lines()).find(|(a, b)| a != b)?;
    serde_json::from_str::<Value>(line).ok()?["step"].as_u64()
}

/// That the weights differ, and what may be why.
fn reasons(path: &Path, manifest: &Value, step: Option<u64>) -> String {
    let mut text = format!("the replay differs from {}", path.display());
    if let Some(step) = step {
        text += &format!("; their logs do from step {step} on");
    }
    let sessions = manifest["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let here = [
        ("version", env!("CARGO_PKG_VERSION").to_string()),
        ("commit", system::COMMIT.to_string()),
        ("cpu", system::cpu()),
        ("instructions", system::instructions()),
        ("gemm", autograd::gemm_backend_in_use().to_string()),
    ];
    for (key, now) in here {
        let other = sessions.iter().filter_map(|s| s[key].as_str()).find(|then| *then != now);
        if let Some(then) = other {
            text += &format!("; {key} was {then}, and is {now}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_to_the_bit() {
        let file = |values: [f32; 3], more: bool| {
            let mut tensors =
                vec![("a".to_string(), Tensor::from(values)), ("b".into(), Tensor::from([1.0f64]))];
            if more {
                tensors.push(("c".into(), Tensor::from([1.0f32])));
            }
            Archive::of(tensors).to_bytes().unwrap()
        };
        let verdict = |a: Vec<u8>, b: Vec<u8>| compared(&a, &b, Path::new("run"), Path::new("x")).unwrap();
        let same = verdict(file([1.0, 2.0, 3.0], false), file([1.0, 2.0, 3.0], false));
        assert_eq!((same.differing, same.values, same.first), (0, 4, None));
        let zero = verdict(file([1.0, 0.0, 3.0], false), file([1.0, -0.0, 4.0], false));
        let (name, how) = zero.first.unwrap();
        assert_eq!((name.as_str(), zero.differing), ("a", 1));
        assert_eq!(how, "element 1 is 0e0, and -0e0 in the replay (2 of its 3 values differ)");
        let more = verdict(file([1.0, 2.0, 3.0], true), file([1.0, 2.0, 3.0], false));
        assert_eq!(more.first.unwrap(), ("c".into(), "the replay does not have it".into()));
    }
}
