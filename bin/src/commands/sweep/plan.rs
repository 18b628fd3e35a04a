//! From a sweep's file to its runs: points, seeds, frozen settings.

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
    /// What is special about it, without what plays no part beside the rest.
    pub set: Table,
    /// All its settings, but for a seed.
    pub config: Config,
}

/// How long runs are: all of it, or a shorter round of halving.
pub type Length = Option<u64>;

/// One run: a point with a seed.
#[derive(Clone, Debug)]
pub struct Job {
    /// The name of its folder: what is special about it, and a hash of all its settings.
    pub name: String,
    /// Which point it is of.
    pub point: usize,
    pub seed: u64,
    pub config: Config,
    /// The frozen settings, as a file.
    pub text: String,
}

impl Point {
    /// The point in words.
    pub fn label(&self) -> String {
        let parts: Vec<String> =
            self.set.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect();
        if parts.is_empty() { "base".into() } else { parts.join(" ") }
    }
}

/// A value without quotation marks.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// Every point of a sweep, in the order of the file, each once.
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
    let mut idle: Vec<(String, String)> = Vec::new();
    for table in tables {
        let (point, dropped) = Point::new(file, table)?;
        idle.extend(dropped);
        if !points.iter().any(|other| other.config == point.config) {
            points.push(point);
        }
    }
    match idle.into_iter().find(|(key, _)| points.iter().all(|p| !p.set.contains_key(key))) {
        Some((_, said)) => Err(Failure::usage(said)),
        None => Ok(points),
    }
}

fn product(tables: &[Table], more: impl Iterator<Item = Vec<(String, Value)>> + Clone) -> Vec<Table> {
    let with = |table: &Table, extra: Vec<(String, Value)>| table.clone().into_iter().chain(extra).collect();
    tables.iter().flat_map(|table| more.clone().map(move |extra| with(table, extra))).collect()
}

impl Point {
    /// The point of some settings, and which of them play no part, with why.
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
}

impl Point {
    /// This one with other settings above it.
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

/// Settings of a run of another length.
fn with_length(config: &Config, length: Length) -> Config {
    match (length, config.steps) {
        (None, _) => config.clone(),
        (_, Some(_)) => Config { steps: length, ..config.clone() },
        (_, None) => Config { epochs: length, ..config.clone() },
    }
}

/// The runs of some points, seed by seed, so that all points have something early.
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
            // Names are those of sweeps whose files had no tables.
            let hash = hash(&flat.expect("a table of plain values"));
            let round = length.map(|n| format!("for{n}_")).unwrap_or_default();
            let name = format!("{}_{round}seed{seed}_{hash:08x}", slug(&points[point].label()));
            jobs.push(Job { name, point, seed, config, text });
        }
    }
    Ok(jobs)
}

/// How long the rounds of a sweep are; the last one is the whole length.
pub fn rounds(file: &SweepFile, points: &[Point]) -> Result<Vec<Length>, Failure> {
    let Some(halving) = &file.halving else { return Ok(vec![None]) };
    if points.iter().any(|point| point.set.contains_key("steps") || point.set.contains_key("epochs")) {
        return Err(Failure::usage("[halving] is for runs of one length: steps and epochs belong to [base]"));
    }
    let whole =
        points.iter().filter_map(|point| point.config.steps.or(point.config.epochs)).min().unwrap_or(0);
    if halving.start >= whole {
        return Err(Failure::usage(format_args!(
            "[halving] start is {}, and whole runs are {whole} long: there is no shorter round",
            halving.start
        )));
    }
    let shorter = std::iter::successors(Some(halving.start), |n| n.checked_mul(halving.eta));
    Ok(shorter.take_while(|&n| n < whole).map(Some).chain([None]).collect())
}

/// A text as part of a file's name: no characters that a shell would read, and not too many.
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

/// The files of a sweep.
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
