//! `comhe inspect`: what a network, a training step's graph or a file of tensors is made of.

mod file;
mod graph;

use std::path::PathBuf;

use clap::{ArgMatches, Args};
use nn::Model;
use serde_json::json;

use crate::config::kinds::{Part, Reads};
use crate::config::{Config, given};
use crate::failure::Failure;
use crate::{data, output, setup};

/// What a network, the graph of a training step, or a file of tensors is made of
#[derive(Args, Debug)]
#[group(skip)]
#[command(after_help = "Examples:
  comhe inspect --model cnn9 --width 2 --input 3x32x32          layers, shapes, parameters, FLOPs
  comhe inspect --model resnet20 --dataset cifar10 --data-dir data
  comhe inspect --model lenet --graph step.html                 the graph of one training step
  comhe inspect --model lenet --reg rp --graph step.dot         for Graphviz; .txt is a table
  comhe inspect runs/fashion14-lenet-none-1                     the tensors of a run's last weights
  comhe inspect checkpoint.safetensors --json                   also .npy and .npz

FLOPs are those of the forward pass of one image; a multiplication and an addition are two. The
graph is that of the loss on a batch of --batch-size random images, as the reverse pass will walk
it: what each operation gives, keeps, costs, and the line of source that asked for it.")]
pub struct Inspect {
    /// A run folder or a file of tensors; without one, the network of the settings
    #[arg(value_name = "DIR|FILE")]
    path: Option<PathBuf>,
    /// Write the graph of a training step: .html, .dot or .txt
    #[arg(long, value_name = "FILE", conflicts_with = "path")]
    graph: Option<PathBuf>,
    /// Shape of an image, in place of that of the data, which are then not needed
    #[arg(long, value_name = "CxHxW", value_parser = shape, conflicts_with = "path")]
    input: Option<[usize; 3]>,
    /// --input: number of classes
    #[arg(long, value_name = "N", default_value_t = 10, requires = "input")]
    classes: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Config,
}

/// The settings that the network and the loss of a step depend on. Weights are drawn, not read.
pub const READS: Reads = Reads {
    parts: &[Part::Data, Part::Network, Part::Regulariser, Part::Loss, Part::Machine],
    and: &["batch-size", "seed"],
    without: &["init"],
};

/// `3x32x32` as numbers.
pub fn shape(text: &str) -> Result<[usize; 3], String> {
    let numbers: Option<Vec<usize>> = text.split('x').map(|n| n.parse().ok().filter(|&n| n > 0)).collect();
    numbers
        .and_then(|n| n.try_into().ok())
        .ok_or_else(|| "channels x height x width is needed, as 3x32x32".into())
}

impl Inspect {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        let given = given(matches);
        let unread = match self.path {
            Some(_) => given.iter().find(|key| !["path", "json"].contains(&key.as_str())),
            None => READS.first_unread(&given),
        };
        if let Some(key) = unread {
            let what = if self.path.is_some() { "a file is inspected" } else { "a network is inspected" };
            return Err(Failure::usage(format_args!("--{key} has no effect where {what}")));
        }
        if let Some(path) = &self.path {
            return file::show(path, self.json);
        }
        if self.input.is_some() && given.iter().any(|key| key == "dataset") {
            return Err(Failure::usage("--input stands in for --dataset; give one of them"));
        }
        let config = Config::default().with_flags(&self.settings, matches)?;
        config.check()?;
        let config = config.settled();
        setup::apply(&config);
        let (model, config) = self.model(config)?;
        match &self.graph {
            Some(path) => graph::write(path, model, &config),
            None => self.table(&model, config.has_loss("mse")),
        }
    }

    /// The network, and the settings with the loss that suits the data.
    fn model(&self, config: Config) -> Result<(Model, Config), Failure> {
        if let Some(input) = self.input {
            return Ok((setup::model_of(input, self.classes, &config)?, config));
        }
        let dataset = data::load(&config)?;
        let config = data::with_loss(&config, &dataset)?;
        Ok((setup::model(&dataset, &config)?, config))
    }

    fn table(&self, model: &Model, real: bool) -> Result<(), Failure> {
        let summary = model.summary();
        if self.json {
            for row in &summary.rows {
                output::json(&json!({
                    "name": row.name,
                    "layer": row.layer,
                    "output": row.output.to_vec(),
                    "parameters": row.parameters,
                    "flops": row.flops,
                }))?;
            }
            return Ok(());
        }
        let [c, h, w] = model.input;
        let what = if real { "outputs" } else { "classes" };
        output::line(&format!("{} for images of {c} x {h} x {w}, {} {what}\n", model.name, model.classes))?;
        output::line(summary.to_string().trim_end())
    }
}
