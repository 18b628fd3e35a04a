//! `comhe data`: what data sets there are, whether they are whole, and how to get them.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use datasets::catalogue::{self, CATALOGUE, File, Known, Origin};
use datasets::{Split, Targets};
use serde_json::json;

use crate::download::{fetch, sha256};
use crate::failure::{Failure, one_of};
use crate::output::{self, Table};
use crate::statistics::count;
use crate::stop;

/// Data sets: what is known, what is there, whether it is whole, and how to get it
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe data list                          all data sets, and which are there
  comhe data info cifar10                  files, sizes, checksums, terms
  comhe data info file:DATA.npz            shape, classes or real targets of your own file
  comhe data check --data-dir data         the SHA-256 of every file that is there
  comhe data download fashion-mnist --data-dir data

A download resumes where it was interrupted, and counts once its SHA-256 is right. http:// is spoken
here; https:// is left to curl, if it is installed. Nothing is ever downloaded by another command.")]
pub struct Data {
    #[command(subcommand)]
    action: Action,
    /// The folder that holds data sets [default: the environment variable COMHE_DATA]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// All data sets, and which are there
    List,
    /// Files, sizes, checksums and terms of a data set
    Info {
        /// Which; file:PATH describes the arrays of a file of your own
        name: String,
    },
    /// Compare files with their checksums; exit code 1 if one is damaged, or a named set is not there
    Check {
        /// Which [default: all that are there]
        name: Option<String>,
    },
    /// Get the files of a data set
    Download {
        /// Which
        name: String,
        /// Take the files from this address instead, a folder of a mirror
        #[arg(long, value_name = "URL")]
        from: Option<String>,
    },
}

impl Data {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let from_environment = || std::env::var_os(datasets::DATA_VARIABLE).filter(|v| !v.is_empty());
        let dir = self.data_dir.or_else(|| from_environment().map(PathBuf::from));
        // Only a download makes it.
        let made = matches!(self.action, Action::Download { .. });
        if let Some(dir) = dir.as_ref().filter(|dir| !dir.is_dir() && (!made || dir.exists())) {
            return Err(Failure::place(
                dir,
                "is not a folder; --data-dir names the folder that holds data sets",
            ));
        }
        let dir = dir.as_deref();
        match self.action {
            Action::List => list(dir, self.json),
            Action::Info { name } if name.starts_with("file:") && name != "file:DATA.npz" => {
                contents(&name, self.json)
            }
            Action::Info { name } => info(find(&name)?, dir, self.json),
            Action::Check { name } => check(name.as_deref().map(find).transpose()?, dir, self.json),
            Action::Download { name, from } => download(find(&name)?, dir, from.as_deref(), self.json),
        }
    }
}

fn find(name: &str) -> Result<&'static Known, Failure> {
    Ok(catalogue::find(name)?)
}

/// Where a file lies, if it is there.
fn place(known: &Known, file: &File, dir: Option<&Path>) -> Option<PathBuf> {
    let base = |folder: &&&str| dir.is_some() || folder.starts_with('/');
    let folders = known.folders.iter().filter(base);
    folders
        .map(|folder| dir.unwrap_or(Path::new("")).join(folder).join(file.name))
        .find(|path| path.is_file())
}

/// Whether a run would find its files, in a few words.
fn state(known: &Known, dir: Option<&Path>) -> String {
    let there = known.files.iter().filter(|file| place(known, file, dir).is_some()).count();
    match known.origin {
        Origin::BuiltIn => "built in".into(),
        Origin::Generated => "made when asked for".into(),
        Origin::Yours => "your files".into(),
        Origin::Files => match found(known, dir) {
            Ok(files) => format!("there, {} file{}", files.len(), if files.len() == 1 { "" } else { "s" }),
            Err(_) if there == 0 => "not there".into(),
            Err(_) => "some files are missing".into(),
        },
    }
}

/// The files that a run would read.
fn found(known: &Known, dir: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    let options = datasets::Options { data_dir: dir.map(Path::to_path_buf), ..datasets::Options::default() };
    let files = datasets::sources(known.name, &options)?;
    match files.iter().find(|file| !file.is_file()) {
        Some(missing) => Err(Failure::place(missing, "is missing")),
        None => Ok(files),
    }
}

/// Shape and numbers of examples; a set that is drawn is drawn for that.
fn size(known: &Known) -> Result<[String; 2], Failure> {
    if known.origin != Origin::Generated {
        return Ok([known.shape.into(), known.examples.into()]);
    }
    let data = datasets::load(known.name, &datasets::Options::default())?;
    let [c, h, w] = data.shape();
    Ok([format!("{c} x {h} x {w}"), format!("{} + {}", data.train.len(), data.test.len())])
}

fn list(dir: Option<&Path>, json: bool) -> Result<(), Failure> {
    if json {
        return CATALOGUE.iter().try_for_each(|known| {
            let [shape, examples] = size(known)?;
            output::json(&json!({"name": known.name, "about": known.about, "shape": shape,
                "examples": examples, "licence": known.licence, "state": state(known, dir)}))
        });
    }
    let mut table = Table::new(["name", "shape", "train + test", "state", "what it is"]);
    for known in CATALOGUE {
        let [shape, examples] = size(known)?;
        table.row([known.name, &shape, &examples, &state(known, dir), known.about]);
    }
    output::line(&table.text())?;
    output::line(&match dir {
        Some(dir) => format!("data folder: {}", dir.display()),
        None => "no data folder: give --data-dir DIR, or set COMHE_DATA".into(),
    })
}

fn info(known: &Known, dir: Option<&Path>, json: bool) -> Result<(), Failure> {
    let [shape, examples] = size(known)?;
    if json {
        let file = |file: &File| {
            let versions: Vec<_> =
                file.versions.iter().map(|(bytes, sum)| json!({"bytes": bytes, "sha256": sum})).collect();
            json!({"name": file.name, "versions": versions, "url": file.url, "path": place(known, file, dir).map(|path| path.display().to_string())})
        };
        return output::json(&json!({"name": known.name, "about": known.about, "shape": shape,
            "examples": examples, "licence": known.licence, "source": known.source, "state": state(known, dir),
            "files": known.files.iter().map(file).collect::<Vec<_>>()}));
    }
    let lines = [
        ("what", known.about),
        ("shape", &shape),
        ("train + test", &examples),
        ("licence", known.licence),
        ("source", known.source),
        ("state", &state(known, dir)),
    ];
    for (name, text) in lines {
        output::line(&format!("{name:<13} {text}"))?;
    }
    for file in known.files {
        let there = place(known, file, dir).map_or("not there".into(), |path| path.display().to_string());
        output::line(&format!("\n{}: {there}", file.name))?;
        for (bytes, sum) in file.versions {
            output::line(&format!("  {bytes:>11} bytes, SHA-256 {sum}"))?;
        }
        output::line(&format!("  {}", file.url.unwrap_or("no address is known")))?;
    }
    Ok(())
}

/// What is in a file of the user's: shape, examples, and the classes or the statistics of real targets.
fn contents(name: &str, json: bool) -> Result<(), Failure> {
    let data = datasets::load(name, &datasets::Options::default())?;
    let splits: [(&str, &Split); 2] = [("train", &data.train), ("test", &data.test)];
    if json {
        let about = |split: &Split| match &split.targets {
            Targets::Values(rows) => {
                let column = |s: datasets::ColumnStatistics| json!({"mean": s.mean, "std": s.std, "min": s.min, "max": s.max});
                json!({"examples": split.len(), "targets": rows.statistics().into_iter().map(column).collect::<Vec<_>>()})
            }
            _ => json!({"examples": split.len(), "classes": split.counts(data.classes.len())}),
        };
        return output::json(&json!({"name": data.name, "shape": data.shape(), "outputs": data.outputs(),
            "regression": data.is_regression(), "train": about(&data.train), "test": about(&data.test)}));
    }
    let [c, h, w] = data.shape();
    output::line(&format!("{}: images of {c} x {h} x {w}, values used as they are", data.name))?;
    for (part, split) in splits {
        match &split.targets {
            Targets::Values(rows) => {
                let targets = count(rows.width, "real target");
                output::line(&format!("{part}: {} examples with {targets} each", split.len()))?;
                let lines = rows.statistics().into_iter().enumerate();
                lines.into_iter().try_for_each(|(k, s)| output::line(&format!("  output {k}: {s}")))?;
            }
            _ => {
                let counts =
                    split.counts(data.classes.len()).iter().map(usize::to_string).collect::<Vec<_>>();
                let (n, classes) = (split.len(), count(counts.len(), "class"));
                output::line(&format!("{part}: {n} examples in {classes}: {}", counts.join(", ")))?;
            }
        }
    }
    Ok(())
}

fn check(named: Option<&'static Known>, dir: Option<&Path>, json: bool) -> Result<(), Failure> {
    let mut table = Table::new(["data set", "file", "bytes", "verdict"]);
    let (mut checked, mut damaged) = (0, Vec::new());
    for known in CATALOGUE.iter().filter(|known| named.is_none_or(|named| named.name == known.name)) {
        for file in known.files {
            let Some(path) = place(known, file, dir) else { continue };
            let (sum, bytes) = sha256(&path)?;
            let right = file.versions.contains(&(bytes, &sum));
            checked += 1;
            if !right {
                damaged.push(path.display().to_string());
            }
            let verdict = if right { "whole" } else { "DAMAGED, or another version" };
            if json {
                output::json(
                    &json!({"name": known.name, "path": path.to_string_lossy(), "bytes": bytes, "sha256": sum, "pass": right}),
                )?;
            }
            table.row([known.name, &path.display().to_string(), &bytes.to_string(), verdict]);
        }
    }
    if !json && checked > 0 {
        output::line(&table.text())?;
    }
    match named {
        Some(known) if known.origin != Origin::Files => match json {
            true => output::json(&json!({"name": known.name, "state": state(known, dir), "pass": true})),
            false => {
                output::line(&format!("{}: {}; there are no files to check", known.name, state(known, dir)))
            }
        },
        _ if checked == 0 => {
            let place = dir.map_or("a data folder (give --data-dir DIR, or set COMHE_DATA)".into(), |dir| {
                dir.display().to_string()
            });
            Err(Failure::unfinished(match named {
                Some(known) => format!("{} is not there: none of its files is in {place}", known.name),
                None => format!("no data set that is known has a file in {place}; see comhe data list"),
            }))
        }
        _ if !damaged.is_empty() => Err(Failure::unfinished(format_args!(
            "{} of {checked} files are damaged, or of a version that is not known: {}; remove them and get them anew",
            damaged.len(),
            damaged.join(", ")
        ))),
        Some(known) if found(known, dir).is_err() => {
            let failure = found(known, dir).err();
            let why = failure.as_ref().and_then(Failure::message).unwrap_or_default();
            Err(Failure::unfinished(format_args!("{checked} files checked, all whole, but {why}")))
        }
        _ if json => Ok(()),
        _ => output::line(&format!("{checked} files checked, all whole")),
    }
}

fn download(known: &Known, dir: Option<&Path>, from: Option<&str>, json: bool) -> Result<(), Failure> {
    // Files without an address are others in another form, or are all there is: a mirror may have them.
    let addressed = known.files.iter().any(|file| file.url.is_some());
    let wanted: Vec<&File> = known
        .files
        .iter()
        .filter(|file| if addressed { file.url.is_some() } else { from.is_some() })
        .collect();
    if wanted.is_empty() {
        return Err(Failure::usage(match known.origin {
            Origin::Files => {
                format!(
                    "no address is known of {}; give one by --from, and see comhe data info {}",
                    known.name, known.name
                )
            }
            _ => format!("{} needs no download: {}", known.name, state(known, dir)),
        }));
    }
    if let Some(base) = from.filter(|base| !base.starts_with("http://") && !base.starts_with("https://")) {
        return Err(Failure::usage(format_args!(
            "--from {base} is no address; it begins with http:// or https://"
        )));
    }
    let Some(dir) = dir else {
        return Err(Failure::usage(
            "there is no data folder to download to: give --data-dir DIR, or set COMHE_DATA",
        ));
    };
    stop::on_signals()?;
    for file in wanted {
        if let Some(path) = place(known, file, Some(dir)) {
            let (found, length) = sha256(&path)?;
            if !file.versions.contains(&(length, &found)) {
                return Err(Failure::place(
                    &path,
                    "is there, but damaged or of another version; remove it, and the same command gets it anew",
                ));
            }
            match json {
                true => output::json(
                    &json!({"path": path.to_string_lossy(), "bytes": length, "sha256": found, "new": false}),
                )?,
                false => output::line(&format!("{}: already there", path.display()))?,
            }
            continue;
        }
        let mirrored = from.map(|base| format!("{}/{}", base.trim_end_matches('/'), file.name));
        let url = mirrored.or(file.url.map(str::to_string)).unwrap_or_default();
        let path = dir.join(known.folders[0]).join(file.name);
        eprintln!(
            "{url}: {} bytes",
            one_of(&file.versions.iter().map(|v| v.0.to_string()).collect::<Vec<_>>())
        );
        let (bytes, sum) = fetch(&url, &path, file.versions)?;
        match json {
            true => output::json(
                &json!({"path": path.to_string_lossy(), "bytes": bytes, "sha256": sum, "new": true}),
            )?,
            false => output::line(&format!("{}: {bytes} bytes, SHA-256 as it should be", path.display()))?,
        }
    }
    Ok(())
}
