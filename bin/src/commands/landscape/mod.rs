//! `comhe landscape`: the loss around trained weights.

mod contour;
mod picture;

use std::path::{Path, PathBuf};

use autograd::Key;
use clap::{ArgMatches, Args};
use datasets::{Loader, LoaderConfig};
use nn::instruments::{filter_normalised, moved};
use nn::{Batch, evaluate_loss, write_atomic};

use crate::config::kinds::{Part, Reads};
use crate::config::{Config, given};
use crate::data::{self, Stream};
use crate::failure::Failure;
use crate::run_folder::{self, Trained};
use crate::{output, setup, stop};

/// The loss around trained weights, along random directions: a picture and its numbers
#[derive(Args, Debug)]
#[group(skip)]
#[command(after_help = "Examples:
  comhe landscape runs/fashion14-lenet-none-1                     a curve through the weights
  comhe landscape runs/fashion14-lenet-none-1 --dim 2             a map around them
  comhe landscape weights.safetensors --model cnn9 --dataset cifar10 --data-dir data --out maps

Each direction is random, and every filter of it is brought to the length of the network's own
filter; biases and the parameters of batch norm stay (Li et al. 2018, arXiv 1712.09913). The loss
is the mean cross-entropy, without label smoothing and regulariser (of real targets the mean squared
error), on a fixed random choice of images, with batch norm's running statistics; in the middle it is
that of the weights themselves.

Writes landscape-1d or landscape-2d with .svg, .png and .csv (a, b, loss and, of classes, accuracy),
and prints their paths. Weights in a run folder are taken with the folder's settings; flags win.")]
pub struct Landscape {
    /// A run folder, or a file of weights (a state dict or a checkpoint)
    #[arg(value_name = "DIR|FILE.safetensors")]
    path: PathBuf,
    /// Directions: 1 is a curve, 2 a map
    #[arg(long, value_name = "1|2", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    dim: u8,
    /// Points along each direction, odd, so that one is the middle [default: 51; for --dim 2: 21]
    #[arg(long, value_name = "N")]
    side: Option<usize>,
    /// How far to go to either side; at 1 the step is as long as the weights
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    range: f64,
    /// Images that the loss is the mean of
    #[arg(long, value_name = "N", default_value_t = 500)]
    images: usize,
    /// Test images instead of training images
    #[arg(long)]
    test: bool,
    /// Where the files go [default: the run folder; for a file: its folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: Config,
}

/// The settings that have an effect: those of the data, of which training examples are chosen, and of the network, whose
/// weights are those of PATH. The seed is that of the directions.
pub const READS: Reads = Reads {
    parts: &[Part::Data, Part::Network, Part::Machine],
    and: &["train-size", "seed", "loss"],
    without: &["init"],
};

/// So many points there may be along a direction.
const MOST: usize = 1001;
/// Images in a batch.
const BATCH: usize = 250;

/// A place and what was found there.
pub struct Sample {
    /// Steps along the directions; the second is 0 if there is one.
    pub at: [f64; 2],
    /// The mean loss.
    pub loss: f64,
    /// The share of images that are classified right; `None` of real targets.
    pub accuracy: Option<f64>,
}

impl Landscape {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        if let Some(key) = READS.first_unread(&given(matches)) {
            return Err(Failure::usage(format_args!(
                "--{key} has no effect on a landscape; see comhe landscape --help"
            )));
        }
        let steps = self.steps()?;
        let trained = Trained::find(&self.path)?;
        trained.refuse_packed()?;
        let out = self.out.clone().unwrap_or_else(|| trained.folder.clone());
        let out = if out.as_os_str().is_empty() { Path::new(".") } else { &out };
        run_folder::unless_empty(out, || {
            run_folder::made(out)?;
            self.drawn(&steps, &trained, out, matches)
        })
    }

    /// Evaluates the network at every step, and writes what was found.
    fn drawn(
        &self,
        steps: &[f64],
        trained: &Trained,
        out: &Path,
        matches: &ArgMatches,
    ) -> Result<(), Failure> {
        let base = trained.settings()?;
        let seed = if given(matches).contains(&"seed".to_string()) { self.settings.seed } else { 0 };
        let config = Config { label_noise: 0.0, ..base.with_flags(&self.settings, matches)? };
        config.check()?;
        setup::apply(&config);
        trained.check_data(&config, &given(matches))?;
        let dataset = data::load(&config)?;
        let config = data::with_loss(&config, &dataset)?;
        let model = trained.network(dataset.shape(), dataset.outputs(), &config)?;
        let split = if self.test { &dataset.test } else { &dataset.train };
        let key = Key::new(seed).stream("landscape");
        let images = self.chosen(split, setup::dtype(&config));
        let directions = ["first", "second"].map(|name| filter_normalised(&model, key.stream(name)));
        let across = if self.dim == 2 { steps } else { &[0.0] };
        eprintln!(
            "{} losses of {} images",
            steps.len() * across.len(),
            images.iter().map(|b| b.len()).sum::<usize>()
        );
        stop::on_signals()?;
        let loss = setup::loss(&config, None)?;
        let mut samples = Vec::new();
        for &b in across {
            for &a in steps {
                if stop::wanted() {
                    return Err(Failure::unfinished("stopped; nothing was written"));
                }
                let there = moved(&model, &[(a, &directions[0]), (b, &directions[1])]);
                let found = evaluate_loss(&there, &*loss, images.iter().cloned())?;
                let accuracy = found.regression.is_none().then_some(found.accuracy);
                samples.push(Sample { at: [a, b], loss: found.loss, accuracy });
            }
        }
        self.write(out, &samples, steps.len())
    }

    /// From -range to range, with an exact 0.
    fn steps(&self) -> Result<Vec<f64>, Failure> {
        let n = self.side.unwrap_or(if self.dim == 2 { 21 } else { 51 });
        if n < 3 || n.is_multiple_of(2) {
            return Err(Failure::usage(format_args!("--side is {n}; it must be odd and at least 3")));
        }
        if n > MOST {
            return Err(Failure::usage(format_args!("--side is {n}; it can be at most {MOST}")));
        }
        if !(self.range > 0.0 && self.range.is_finite()) {
            return Err(Failure::usage(format_args!("--range is {}; it must be above 0", self.range)));
        }
        if self.images == 0 {
            return Err(Failure::usage("--images is 0; the loss is a mean of some"));
        }
        let half = (n / 2) as f64;
        Ok((0..n).map(|i| self.range * (i as f64 - half) / half).collect())
    }

    /// The same images every time, whatever the weights and directions: classes may lie one after the other in the
    /// data, so that the first ones would not do.
    fn chosen(&self, split: &std::sync::Arc<datasets::Split>, dtype: autograd::DType) -> Vec<Batch> {
        let settings = LoaderConfig {
            batch_size: BATCH.min(split.len()),
            shuffle: true,
            seed: 0,
            ..LoaderConfig::default()
        };
        let loader = Loader::new(split.clone(), settings);
        let wanted = self.images.min(split.len());
        let steps = wanted.div_ceil(loader.config().batch_size) as u64;
        let mut left = wanted;
        let cut = |batch: Batch| {
            let n = batch.len().min(left);
            left -= n;
            batch.part(0..n)
        };
        Stream::new(loader, dtype, 0, steps).map(cut).collect()
    }

    fn write(&self, folder: &Path, samples: &[Sample], points: usize) -> Result<(), Failure> {
        let name = format!("landscape-{}d", self.dim);
        let mut csv = String::from(if self.dim == 2 { "a,b,loss" } else { "a,loss" });
        csv += if samples.iter().any(|s| s.accuracy.is_some()) { ",accuracy\n" } else { "\n" };
        for Sample { at: [a, b], loss, accuracy } in samples {
            csv += &match self.dim {
                2 => format!("{a},{b},{loss}"),
                _ => format!("{a},{loss}"),
            };
            csv += &accuracy.map_or("\n".into(), |accuracy| format!(",{accuracy}\n"));
        }
        write_atomic(&folder.join(format!("{name}.csv")), csv.as_bytes())?;
        let drawn = if self.dim == 2 { picture::map(samples, points) } else { picture::curve(samples) };
        match drawn {
            Some(picture) => picture.write(folder, &name)?,
            None => return Err(Failure::unfinished("no loss is finite: there is nothing to draw")),
        }
        for extension in ["csv", "svg", "png"] {
            output::line(&folder.join(format!("{name}.{extension}")).display().to_string())?;
        }
        Ok(())
    }
}
