//! `comhe gradcheck --config`: the derivatives of the loss of given settings, on a small batch in f64.

use autograd::{DType, Key, Tensor};
use clap::ArgMatches;
use comhe::REGULARISERS;
use nn::{Batch, BatchLoss, Distillation, Module, Plain, Regulariser, Targets};
use serde::Serialize;

use super::derivatives::{self, Check, TOLERANCES, Term};
use crate::config::kinds::{Part, Reads};
use crate::config::layers::Layers;
use crate::config::{Config, InnerMode, Precision};
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::setup::{self, Setup};
use crate::statistics::count;

/// The settings that the loss of a batch depends on; the size of inner steps may be the learning rate.
pub const READS: Reads = Reads {
    parts: &[
        Part::Data,
        Part::TrainingData,
        Part::Network,
        Part::Regulariser,
        Part::Loss,
        Part::Penalties,
        Part::Method,
        Part::Attack,
        Part::Machine,
    ],
    and: &["seed", "batch-size", "lr"],
    without: &["temperature-factor", "temperature-every"],
};

/// Examples in the batch by default.
const EXAMPLES: usize = 8;
/// The weights are moved at random by this share of their size: initial ones may lie at a kink exactly.
const MOVED: f64 = 1e-3;

/// A line of the result: a term by all parameters, or all terms by one tensor.
#[derive(Serialize)]
struct Row {
    name: String,
    part: &'static str,
    entries: usize,
    order_1: f64,
    order_2: f64,
    tolerance_1: f64,
    tolerance_2: f64,
    pass: bool,
}

/// Runs the check of the settings.
pub fn run(layers: &Layers, flags: &Config, matches: &ArgMatches, json: bool) -> Result<(), Failure> {
    let (_, given) = layers.own(flags, matches)?;
    if let Some(key) = READS.first_unread(&given) {
        return Err(Failure::usage(format_args!("--{key} has no effect in comhe gradcheck")));
    }
    let config = layers.resolve(flags, matches)?.settled();
    let named = |key: &str| given.iter().any(|name| name == key);
    if named("dtype") && config.dtype != Precision::F64 {
        return Err(Failure::usage("--dtype f32 has no effect on the check of a network, which is in f64"));
    }
    let batch_size = if named("batch-size") { config.batch_size } else { EXAMPLES };
    let setup = Setup::new(&Config { dtype: Precision::F64, batch_size, ..config })?;
    let batch = setup.batches().next().expect("a run has a step");
    let (loss, notes) = function(&setup, batch)?;
    let rows = rows(&loss, Key::new(setup.config.seed).stream("gradcheck"))?;
    if json {
        notes.iter().for_each(|note| eprintln!("{note}"));
        rows.iter().try_for_each(output::json)?;
    } else {
        print(&rows, &notes)?;
        output::line(&format!(
            "{} on {} of {} in f64, seed {}: each term by all parameters, and their sum by each tensor",
            setup.config.model,
            count(loss.batch.len(), "example"),
            setup.dataset.name,
            setup.config.seed
        ))?;
    }
    let failed: Vec<&str> = rows.iter().filter(|row| !row.pass).map(|row| row.name.as_str()).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::unfinished(format_args!(
            "{} of {} failed: {}",
            failed.len(),
            count(rows.len(), "check"),
            failed.join(", ")
        ))),
    }
}

/// The table, the tensor of the largest error, and the notes.
fn print(rows: &[Row], notes: &[String]) -> Result<(), Failure> {
    let head = ["name", "of", "entries", "order 1", "tolerance", "order 2", "tolerance", "pass"];
    let mut table = Table::new(head);
    rows.iter().for_each(|row| table.row(row.cells()));
    output::line(&table.text())?;
    let tensors = rows.iter().filter(|row| row.part == "tensor");
    if let Some(row) = tensors.max_by(|a, b| a.excess().total_cmp(&b.excess())) {
        let (name, first, second) = (&row.name, row.order_1, row.order_2);
        output::line(&format!("largest error of a tensor: {name} ({first:.0e} and {second:.0e})"))?;
    }
    notes.iter().try_for_each(|note| output::line(&format!("Note: {note}.")))
}

impl Row {
    fn new(name: &str, part: &'static str, entries: usize, [order_1, order_2]: [f64; 2]) -> Row {
        let [tolerance_1, tolerance_2] = TOLERANCES;
        // Not-a-number fails.
        let pass = order_1 <= tolerance_1 && order_2 <= tolerance_2;
        Row { name: name.into(), part, entries, order_1, order_2, tolerance_1, tolerance_2, pass }
    }

    /// The larger error in units of its tolerance.
    fn excess(&self) -> f64 {
        let [a, b] = [self.order_1 / self.tolerance_1, self.order_2 / self.tolerance_2];
        if a.is_nan() { a } else { a.max(b) }
    }

    fn cells(&self) -> [String; 8] {
        [
            self.name.clone(),
            self.part.into(),
            self.entries.to_string(),
            format!("{:.1e}", self.order_1),
            format!("{:.0e}", self.tolerance_1),
            format!("{:.1e}", self.order_2),
            format!("{:.0e}", self.tolerance_2),
            if self.pass { "yes" } else { "NO" }.into(),
        ]
    }
}

/// The loss of the last step as a function of the weights alone, and what about it is worth a note: attacked inputs,
/// predictions of teachers and estimates are fixed, inner steps are done, and terms whose gradient is no derivative are
/// left out.
fn function(setup: &Setup, batch: Batch) -> Result<(BatchLoss, Vec<String>), Failure> {
    let Setup { config, trainer, steps, .. } = setup;
    if nn::binary::Packed::new(&trainer.model).is_ok() {
        return Err(Failure::usage(format_args!(
            "--model {}: the gradients of signs are estimates (straight-through), and no derivatives to check",
            config.model
        )));
    }
    let mut notes = Vec::new();
    let mut loss = trainer.batch_loss(&batch);
    // What grows over the run has its full size.
    loss.step.index = *steps;
    let teachers = setup::teachers(config, &trainer.model)?;
    if !teachers.is_empty() {
        notes.push("the predictions of teachers are constants".into());
        let teaching = Distillation { teachers, inner: Box::new(Plain) };
        loss.batch.targets = Targets::Distributions(teaching.targets(&batch, trainer.model.classes)?);
    }
    if let Some(attack) = setup::attack(config)? {
        loss = loss.on(attack.inputs(&loss)?);
        notes.push("the attacked inputs are constants".into());
    }
    if config.method != Default::default() {
        notes.push(format!(
            "the gradient of {} is that of no function; checked is the loss that it evaluates",
            config.method
        ));
    }
    let after = loss.after(&loss.gradient().map_err(|e| Failure::from(e).mid_run())?);
    let estimates = after.loss.state();
    if !estimates.is_empty() {
        loss.loss = setup::frozen_loss(config)?;
        loss.loss.load_state(&estimates)?;
        notes.push(format!("the estimates of {} are constants, those after the batch", loss.loss.name()));
    }
    let iterated = config.spectral.name == "penalty";
    loss.penalties.retain(|penalty| {
        let held = match penalty.name() {
            "adversarial" => "perturbations",
            "consistency" => "predictions",
            "spectral" if iterated => "singular vectors",
            _ => return true,
        };
        notes.push(format!("{} is left out: its {held} are constants for the gradient", penalty.name()));
        false
    });
    let learned = after.regulariser.map_or(Vec::new(), |r| r.state());
    if !learned.is_empty() {
        // Without further steps, and with the projections and poles after those of this step.
        let mut fixed = setup::objective(&Config { reg_inner_steps: Some(0), ..config.clone() })?;
        fixed.load_state(&learned)?;
        loss.regulariser = Some(Box::new(fixed));
        let reads =
            registry::find(REGULARISERS, "regulariser", &config.reg).is_ok_and(|row| row.reads("mode"));
        let unrolled = reads && config.reg_mode == InnerMode::Unrolled;
        let unrolled = if unrolled { ", but for unrolled steps" } else { "" };
        notes.push(format!("what {} learns is constant{unrolled}", config.reg));
    }
    Ok((loss, notes))
}

/// The checks of every term by all parameters, and of the sum by each tensor.
fn rows(loss: &BatchLoss, key: Key) -> Result<Vec<Row>, Failure> {
    let trained: Vec<(String, Tensor)> = loss
        .model
        .named_parameters()
        .into_iter()
        .filter(|(_, p)| p.is_leaf())
        .map(|(n, p)| (n, p.detach()))
        .collect();
    let moved = |(i, (_, p)): (usize, &(String, Tensor))| {
        let entry = derivatives::size(p) / (p.numel().max(1) as f64).sqrt();
        p + Tensor::normal(p.shape(), DType::F64, key.stream("moved").step(i as u64)) * (MOVED * entry)
    };
    let at: Vec<Tensor> = trained.iter().enumerate().map(moved).collect();
    let pass = loss.pass()?;
    let mut terms: Vec<(String, Term)> =
        pass.terms.iter().enumerate().map(|(i, (name, _))| (name.clone(), Term::Fit(i))).collect();
    if pass.regulariser.as_ref().is_some_and(Tensor::is_tracked) {
        terms.push(("regulariser".into(), Term::Regulariser));
    }
    let entries = at.iter().map(Tensor::numel).sum();
    let mut rows = Vec::new();
    for (name, term) in terms {
        let errors = Check::new(loss, term, &at, key)?.together()?;
        rows.push(Row::new(&name, "term", entries, errors));
    }
    let errors = Check::new(loss, Term::Sum, &at, key)?.by_tensor()?;
    rows.extend(
        trained.iter().zip(errors).map(|((name, p), found)| Row::new(name, "tensor", p.numel(), found)),
    );
    Ok(rows)
}
