//! The runs of a sweep: points, seeds, frozen settings.

use std::path::{Path, PathBuf};

use autograd::Key;
use rand::RngExt;
use toml::{Table, Value};

use super::file::SweepFile;
use crate::config::{self, Config, parts};
use crate::failure::Failure;
use crate::setup;

/// One combination of settings.
#[derive(Clone, Debug)]
pub struct Point {
    /// The settings that the sweep varies, without those that have no effect beside the others.
    pub set: Table,
    /// All settings except the seed.
    pub config: Config,
}

/// The length of the runs of a halving round; `None` for the whole length.
pub type Length = Option<u64>;

/// One run: a point with a seed.
#[derive(Clone, Debug)]
pub struct Job {
    /// The name of its folder: the varied settings, the seed, and a hash of all settings.
    pub name: String,
    /// The index of its point.
    pub point: usize,
    pub seed: u64,
    pub config: Config,
    /// The frozen settings as TOML.
    pub text: String,
}

impl Point {
    /// The varied settings as text: "lr=0.02 reg=rp".
    pub fn label(&self) -> String {
        let parts: Vec<String> =
            self.set.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect();
        if parts.is_empty() { "base".into() } else { parts.join(" ") }
    }

    /// A failure that names the point.
    pub fn named(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Usage(text) if !self.set.is_empty() => {
                Failure::Usage(format!("{}: {text}", self.label()))
            }
            other => other,
        }
    }
}

/// A value without quotation marks. Long numbers are in exponent notation; others are as in TOML, since the names of
/// existing run folders contain them.
fn plain(value: &Value) -> String {
    const LONG: usize = 12;
    let text = value.as_str().map_or_else(|| value.to_string(), String::from);
    let short =
        value.as_float().map(comhe::short).filter(|short| text.len() > LONG && short.len() < text.len());
    short.unwrap_or(text)
}

/// The points of a sweep in the order of the file, without duplicates.
pub fn points(file: &SweepFile) -> Result<Vec<Point>, Failure> {
    let mut tables: Vec<Table> = if file.point.is_empty() { vec![Table::new()] } else { file.point.clone() };
    for (key, values) in &file.grid {
        tables = product(&tables, values.iter().map(|v| vec![(key.clone(), v.clone())]));
    }
    if let Some(random) = &file.random {
        let key = Key::new(random.seed).stream("sweep");
        let sample = |i: u64| -> Vec<(String, Value)> {
            let draw = |name: &str| key.stream(name).rng(i).random::<f64>();
            random.of.iter().map(|(name, d)| (name.clone(), d.at(draw(name)))).collect()
        };
        tables = product(&tables, (0..random.samples).map(sample));
    }
    let mut points: Vec<Point> = Vec::new();
    let mut unused: Vec<(String, String)> = Vec::new();
    for table in tables {
        let (point, dropped) = Point::new(file, table)?;
        unused.extend(dropped);
        if !points.iter().any(|other| other.is(&point)) {
            points.push(point);
        }
    }
    // A setting that has no effect in any point is a mistake.
    match unused.into_iter().find(|(key, _)| points.iter().all(|p| !p.set.contains_key(key))) {
        Some((_, reason)) => Err(Failure::usage(reason)),
        None => Ok(points),
    }
}

fn product(tables: &[Table], more: impl Iterator<Item = Vec<(String, Value)>> + Clone) -> Vec<Table> {
    let with = |table: &Table, extra: Vec<(String, Value)>| table.clone().into_iter().chain(extra).collect();
    tables.iter().flat_map(|table| more.clone().map(move |extra| with(table, extra))).collect()
}

impl Point {
    /// The point with these settings, and those of them that have no effect, with the reason.
    pub fn new(file: &SweepFile, set: Table) -> Result<(Point, Vec<(String, String)>), Failure> {
        let config = settings(file, &set)?;
        let mut dropped = Vec::new();
        let kept = set.into_iter().filter(|(key, _)| {
            match parts::check(&config, std::slice::from_ref(key), std::slice::from_ref(&config.reg)) {
                Ok(()) => true,
                Err(failure) => {
                    dropped.push((key.clone(), failure.message().unwrap_or_default().to_string()));
                    false
                }
            }
        });
        let set: Table = kept.collect();
        setup::objective(&config)?;
        let config = settings(file, &set)?;
        Ok((Point { set, config }, dropped))
    }

    /// Whether two points have the same settings. Where no loss is named, classes choose the default.
    pub fn is(&self, other: &Point) -> bool {
        let named =
            |config: &Config| Config { loss: Some(config.loss.unwrap_or_default()), ..config.clone() };
        named(&self.config) == named(&other.config)
    }

    /// The point with some settings replaced.
    pub fn with(&self, file: &SweepFile, settings: &Table) -> Result<Point, Failure> {
        let set = self.set.clone().into_iter().chain(settings.clone()).collect();
        Ok(Point::new(file, set)?.0)
    }
}

/// The settings of a point, without a seed.
fn settings(file: &SweepFile, set: &Table) -> Result<Config, Failure> {
    let mut table = file.base.clone();
    if set.contains_key("steps") || set.contains_key("epochs") {
        table.remove("steps");
        table.remove("epochs");
    }
    table.extend(set.clone());
    let config = Config::from_table(table).map_err(Failure::usage)?;
    config.check()?;
    Ok(config.settled())
}

/// The settings with another length.
fn with_length(config: &Config, length: Length) -> Config {
    match (length, config.steps) {
        (None, _) => config.clone(),
        (_, Some(_)) => Config { steps: length, ..config.clone() },
        (_, None) => Config { epochs: length, ..config.clone() },
    }
}

/// The runs of some points in the order of the seeds, so that every point has a result early.
pub fn jobs(
    file: &SweepFile,
    points: &[Point],
    which: &[usize],
    length: Length,
) -> Result<Vec<Job>, Failure> {
    let mut jobs = Vec::new();
    for seed in file.seed_list() {
        for &point in which {
            let config = Config { seed, ..with_length(&points[point].config, length) };
            let (text, flat) = (config.to_toml()?, toml::to_string(&config::table(&config)?));
            // The hash is that of flat keys, so that existing run folders keep their names.
            let hash = hash(&flat.expect("a table of plain values"));
            let round = length.map(|n| format!("for{n}_")).unwrap_or_default();
            let name = format!("{}_{round}seed{seed}_{hash:08x}", slug(&points[point].label()));
            jobs.push(Job { name, point, seed, config, text });
        }
    }
    Ok(jobs)
}

/// The lengths of the rounds of a sweep; the last one is the whole length.
pub fn rounds(file: &SweepFile, points: &[Point]) -> Result<Vec<Length>, Failure> {
    let Some(halving) = &file.halving else { return Ok(vec![None]) };
    if points.iter().any(|point| point.set.contains_key("steps") || point.set.contains_key("epochs")) {
        return Err(Failure::usage("[halving] needs runs of one length: steps and epochs belong to [base]"));
    }
    let whole =
        points.iter().filter_map(|point| point.config.steps.or(point.config.epochs)).min().unwrap_or(0);
    if halving.start >= whole {
        return Err(Failure::usage(format_args!(
            "[halving] start is {}; it must be below the length of the runs, {whole}",
            halving.start
        )));
    }
    let shorter = std::iter::successors(Some(halving.start), |n| n.checked_mul(halving.eta));
    Ok(shorter.take_while(|&n| n < whole).map(Some).chain([None]).collect())
}

/// A text as part of a file name, without characters that are special to a shell, and of at most 80 characters.
fn slug(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "=.-+".contains(c) { c } else { '_' };
    text.chars().map(safe).take(80).collect()
}

/// FNV-1a, folded to 32 bits.
fn hash(text: &str) -> u32 {
    let step = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    let h = text.bytes().fold(0xCBF2_9CE4_8422_2325, step);
    (h ^ (h >> 32)) as u32
}

/// The folder of a sweep.
pub struct Place(pub PathBuf);

impl Place {
    pub fn run(&self, job: &Job) -> PathBuf {
        self.0.join("runs").join(&job.name)
    }
    pub fn config(&self, job: &Job) -> PathBuf {
        self.0.join("configs").join(format!("{}.toml", job.name))
    }
    pub fn log(&self, job: &Job) -> PathBuf {
        self.0.join("logs").join(format!("{}.log", job.name))
    }
    pub fn test(&self, job: &Job) -> PathBuf {
        self.0.join("test").join(format!("{}.json", job.name))
    }
    pub fn root(&self) -> &Path {
        &self.0
    }
}
