//! The settings of a training run: one list of fields is the flags, the TOML file and the defaults.

mod check;
pub mod choice;
mod choices;
pub mod file;
pub mod kinds;
pub mod layers;
pub mod meta;
pub mod parts;
mod preset;
pub mod settings;
pub mod tables;

use std::path::{Path, PathBuf};

use clap::Args;
use comhe::{REGULARISERS, Rate};
use nn::models::MODELS;
use nn::{AttackSpec, LossSpec, MethodSpec, OptimizerSpec, PenaltySpec, SpectralSpec};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::watch::Instrument;
pub use choice::Choice;
use choice::rows;
pub use choices::{Constants, Conv, InnerMode, Precision, Schedule};
use kinds::Class;
pub use kinds::keys;
use preset::preset;
pub use settings::{Settings, given, table};

/// What a run is a function of. The texts of the fields are those of `--help`.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[group(skip)]
pub struct Config {
    /// Training and test examples
    #[arg(long, default_value = "fashion14", value_parser = choice::names(kinds::datasets()), help_heading = "Data")]
    pub dataset: String,
    /// Number of training examples to use [default: all]
    #[arg(long, value_name = "N", help_heading = "Training data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_size: Option<usize>,
    /// Give this share of the training labels another, random class
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Training data")]
    pub label_noise: f64,
    /// Hold out this share of the training examples, each class in proportion: evaluations are on them, and the test
    /// examples are left to comhe eval
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Training data")]
    pub hold_out: f64,
    /// For subsets, label noise, held-out and synthetic data; the run's seed does not change the data
    #[arg(long, value_name = "SEED", default_value_t = 0, help_heading = "Data")]
    pub data_seed: u64,
    /// images:DIR: height and width of every picture
    #[arg(long, value_name = "PIXELS", default_value_t = 32, help_heading = "Data")]
    pub image_size: usize,
    /// images:DIR: one grey channel
    #[arg(long, help_heading = "Data")]
    pub grey: bool,
    /// modelnet10, clouds:DIR: points drawn of each shape
    #[arg(long, value_name = "N", default_value_t = 1024, help_heading = "Data")]
    pub points: usize,
    /// none, or parts joined by "-": crop or zerocrop, flip, cutout; for clouds rotate, jitter
    #[arg(long, value_name = "PARTS", default_value = "none", help_heading = "Training data")]
    pub augment: String,
    /// Keep the order of the data in every epoch
    #[arg(long, help_heading = "Training data")]
    pub no_shuffle: bool,

    /// Architecture
    #[arg(long, default_value = "lenet", value_parser = choice::names(rows(MODELS)), help_heading = "Network")]
    pub model: String,
    /// Multiplies the filters: 16, 32 and 64 times WIDTH for cnn and resnet
    #[arg(long, value_name = "WIDTH", default_value_t = 1, help_heading = "Network")]
    pub width: usize,
    /// Hidden weights of rank R, as products of factors through a fixed random projection; the regulariser is for the
    /// factors (with mhe and hs-mhe: CoMHE's bilateral projection as a layer). Layers of R neurons or dimensions or
    /// fewer stay as they are
    #[arg(long, value_name = "R", help_heading = "Network")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_rank: Option<usize>,
    /// Start from these weights
    #[arg(long, value_name = "FILE.safetensors", help_heading = "Network")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Arithmetic
    #[arg(long, value_enum, default_value_t, help_heading = "Network")]
    pub dtype: Precision,
    /// Algorithm of 3x3 convolutions in f32 (f2, f4: Winograd; auto does 5x5 ones so, too); f64 is always direct
    #[arg(long, value_enum, default_value_t, help_heading = "Network")]
    pub conv: Conv,

    /// Penalty on the weights
    #[arg(long, default_value = "none", value_parser = choice::names(rows(REGULARISERS)), help_heading = "Regulariser")]
    pub reg: String,
    /// A published setting, regulariser included; flags win (--help lists them with their sources)
    #[arg(long, value_name = "NAME", long_help = preset::listing(), help_heading = "Regulariser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Weight of the energy of each hidden layer
    #[arg(long, value_name = "WEIGHT", default_value_t = 1.0, help_heading = "Regulariser")]
    pub reg_weight: f64,
    /// Weight of the classifier's energy (full space, not projected) [default: 10; so to decay: as --reg-weight]
    #[arg(long, value_name = "WEIGHT", help_heading = "Regulariser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reg_head_weight: Option<f64>,
    /// Riesz exponent of the energy, 0 for the logarithm; at most 20, in f64 200: beyond, powers of ordinary distances
    /// overflow
    #[arg(long, value_name = "S", default_value_t = 2.0, help_heading = "Regulariser")]
    pub reg_s: f64,
    /// Angles instead of chords
    #[arg(long, help_heading = "Regulariser")]
    pub reg_angular: bool,
    /// Half-space for hidden layers or not [default: as the name says: not for mhe, mhs, mgd, mhp, mhc, else yes]
    #[arg(long, value_name = "true|false", help_heading = "Regulariser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reg_half_space: Option<bool>,
    /// Inside every norm: sqrt(sum of squares + EPS)
    #[arg(long, value_name = "EPS", default_value = "1e-4", help_heading = "Regulariser")]
    pub reg_eps: f64,
    /// Constants of logarithmic and angular energies: those of the paper or of the published code; mhs, mgd, mhp, mhc: the
    /// code normalises rows twice
    #[arg(long, value_enum, default_value_t, help_heading = "Regulariser")]
    pub reg_scale: Constants,
    /// rp, ap, adv, bilateral: dimensions after projection; a layer with fewer gets the half-space energy instead
    /// [default: 40; ap, adv: 30]
    #[arg(long, value_name = "K", help_heading = "Regulariser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reg_k: Option<usize>,
    /// rp, bilateral: projections averaged
    #[arg(long, value_name = "C", default_value_t = 20, help_heading = "Regulariser")]
    pub reg_c: usize,
    /// rp, bilateral, random groups: steps between two draws
    #[arg(long, value_name = "STEPS", default_value_t = 1, help_heading = "Regulariser")]
    pub reg_redraw: u64,
    /// rp, bilateral: gaussian, rademacher, sparse, uniform, orthonormal
    #[arg(long, value_name = "NAME", default_value = "gaussian", help_heading = "Regulariser")]
    pub reg_distribution: String,
    /// rp, bilateral: variance of the projections' entries, reciprocal (1/k, the paper's) or unit (1, the published
    /// code's); beside unit ones eps counts for k times less
    #[arg(long, value_name = "NAME", default_value = "reciprocal", help_heading = "Regulariser")]
    pub reg_variance: String,
    /// ap: preserve cosine or angle
    #[arg(long, value_name = "NAME", default_value = "cosine", help_heading = "Regulariser")]
    pub reg_objective: String,
    /// ap, adv: steps of the projection before each energy, which it keeps; mhp, mhc: of the pole; with 0 it stays at its
    /// start [default: 10, ap 1]
    #[arg(long, value_name = "M", help_heading = "Regulariser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reg_inner_steps: Option<usize>,
    /// ap, adv, mhp, mhc: their size, or network: the learning rate of the moment
    #[arg(long, value_name = "ETA", default_value = "network", help_heading = "Regulariser")]
    pub reg_inner_lr: String,
    /// ap, adv: weight decay of the projection
    #[arg(long, value_name = "DECAY", default_value = "5e-7", help_heading = "Regulariser")]
    pub reg_inner_decay: f64,
    /// ap, adv: whether gradients flow through further steps of the projection, or it is a constant
    #[arg(long, value_enum, default_value_t, help_heading = "Regulariser")]
    pub reg_mode: InnerMode,
    /// ap, adv, unrolled: how many such steps
    #[arg(long, value_name = "T", default_value_t = 1, help_heading = "Regulariser")]
    pub reg_unroll: usize,
    /// group: how many
    #[arg(long, value_name = "G", default_value_t = 4, help_heading = "Regulariser")]
    pub reg_groups: usize,
    /// group: contiguous, strided, overlapping, channels, random
    #[arg(long, value_name = "NAME", default_value = "contiguous", help_heading = "Regulariser")]
    pub reg_group_kind: String,
    /// mgd: gamma of its kernel exp(-gamma |u - v|^2)
    #[arg(long, value_name = "GAMMA", default_value_t = 1.0, help_heading = "Regulariser")]
    pub reg_gamma: f64,
    /// ocnn: stride at which kernels are compared with themselves [default: each layer's own]
    #[arg(long, value_name = "STRIDE", help_heading = "Regulariser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reg_stride: Option<usize>,
    /// mhc: gamma of its soft minimum; orthoreg: lambda of log(1 + exp(lambda (c - 1)))
    #[arg(long, value_name = "GAMMA", default_value_t = 10.0, help_heading = "Regulariser")]
    pub reg_sharpness: f64,
    /// mhp, mhc: momentum coefficient of the pole
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, help_heading = "Regulariser")]
    pub reg_pole_momentum: f64,
    /// mhp, mhc: weight decay of the pole
    #[arg(long, value_name = "DECAY", default_value = "5e-4", help_heading = "Regulariser")]
    pub reg_pole_decay: f64,

    /// What training minimises, besides penalties and the regulariser [default: cross-entropy; of real targets: mse]
    #[arg(long, value_parser = choice::chosen::<LossSpec>(), help_heading = "Loss")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Choice<LossSpec>>,
    /// Label smoothing: target = (1 - A) one-hot + A / classes
    #[arg(long, value_name = "A", default_value_t = 0.0, help_heading = "Loss")]
    pub label_smoothing: f64,
    /// Minimise -sum t log(softmax + F); the published MHE and CoMHE code has 1e-4
    #[arg(long, value_name = "F", default_value_t = 0.0, help_heading = "Loss")]
    pub loss_floor: f64,
    /// Train on the mean prediction of these trained networks, with commas between, in place of the labels
    #[arg(long, value_name = "DIR|FILE,..", value_delimiter = ',', help_heading = "Loss")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teacher: Vec<PathBuf>,
    /// isda: strength of the augmentation; it grows from 0 to this over the run
    #[arg(long, value_name = "L", default_value_t = 0.5, help_heading = "Loss")]
    pub isda_lambda: f64,
    /// isda: covariances of the features of a class, full or diagonal
    #[arg(long, value_name = "NAME", default_value = "full", help_heading = "Loss")]
    pub isda_covariance: String,
    /// isda: weight of the consistency of predictions for unlabelled images, those that --train-size leaves out; as many a
    /// step as labelled ones
    #[arg(long, value_name = "WEIGHT", help_heading = "Loss")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isda_unlabelled: Option<f64>,

    /// Penalty on the network as a function of its inputs
    #[arg(long, default_value_t, value_parser = choice::chosen::<PenaltySpec>(), help_heading = "Penalties")]
    pub input_penalty: Choice<PenaltySpec>,
    /// Factor of the penalty [default: 0.1; adversarial: 1]
    #[arg(long, value_name = "WEIGHT", help_heading = "Penalties")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_weight: Option<f64>,
    /// adversarial: radius of the perturbation [default: 0.1]
    #[arg(long, value_name = "EPS", help_heading = "Penalties")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_eps: Option<f64>,
    /// adversarial: ascent steps [default: 5]
    #[arg(long, value_name = "N", help_heading = "Penalties")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_steps: Option<usize>,
    /// Control of the spectral norms of weights
    #[arg(long, default_value_t, value_parser = choice::chosen::<SpectralSpec>(), help_heading = "Penalties")]
    pub spectral: Choice<SpectralSpec>,
    /// Factor of the sum of squared spectral norms
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.01, help_heading = "Penalties")]
    pub spectral_weight: f64,
    /// constraint: the largest spectral norm at the end, tau (1 + 4 exp(-epoch / kappa)) before
    #[arg(long, value_name = "TAU", default_value_t = 1.5, help_heading = "Penalties")]
    pub spectral_tau: f64,
    /// constraint: epochs in which the bound falls
    #[arg(long, value_name = "KAPPA", default_value_t = 2.0, help_heading = "Penalties")]
    pub spectral_kappa: f64,
    /// penalty: products of the power iteration per step
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Penalties")]
    pub spectral_steps: usize,

    /// How the gradient that the optimiser gets is made
    #[arg(long, default_value_t, value_parser = choice::chosen::<MethodSpec>(), help_heading = "Method")]
    pub method: Choice<MethodSpec>,
    /// Radius of the method's moves [default: the method's]
    #[arg(long, value_name = "EPS", help_heading = "Method")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method_eps: Option<f64>,
    /// amp: size of an ascent step [default: 1]
    #[arg(long, value_name = "RATE", help_heading = "Method")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method_lr: Option<f64>,
    /// amp, awp: ascent steps [default: 1]
    #[arg(long, value_name = "N", help_heading = "Method")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method_steps: Option<usize>,
    /// amp, rmp: global (one ball for all parameters, the paper's) or tensor (one each, the published code's)
    #[arg(long, value_name = "NAME", default_value = "global", help_heading = "Method")]
    pub method_scope: String,
    /// asam: added to the size of each weight [default: 0.01]
    #[arg(long, value_name = "ETA", help_heading = "Method")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method_eta: Option<f64>,
    /// asam: biases move as in sam
    #[arg(long, help_heading = "Method")]
    pub method_plain_biases: bool,
    /// Passes that move running statistics: clean (at the weights themselves) or every (the published AMP code's)
    #[arg(long, value_name = "NAME", default_value = "clean", help_heading = "Method")]
    pub bn_stats: String,
    /// Dropout masks of further passes: same or renewed
    #[arg(long, value_name = "NAME", default_value = "same", help_heading = "Method")]
    pub method_masks: String,
    /// Clip the gradient of each pass to this norm [default: no limit]
    #[arg(long, value_name = "NORM", help_heading = "Method")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method_pass_clip: Option<f64>,
    /// One-bit networks: what the temperature T of weights clip(W/T, -1, 1) is multiplied by every so many steps
    /// [default: 0.965; in a run of n < 400 steps 0.965^(400/n)]
    #[arg(long, value_name = "FACTOR", help_heading = "Method")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_factor: Option<f64>,
    /// One-bit networks: steps between two changes of the temperature [default: a 400th of the run]
    #[arg(long, value_name = "N", help_heading = "Method")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_every: Option<u64>,
    /// Train on attacked inputs
    #[arg(long, default_value_t, value_parser = choice::chosen::<AttackSpec>(), help_heading = "Attack")]
    pub attack: Choice<AttackSpec>,
    /// Radius of the attack, in the units of the inputs [default: 0.1]
    #[arg(long, value_name = "EPS", help_heading = "Attack")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack_eps: Option<f64>,
    /// Steps of the attack [default: 5]
    #[arg(long, value_name = "N", help_heading = "Attack")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack_steps: Option<usize>,
    /// Size of a step [default: l2 1.5 eps / steps, l-inf 0.01]
    #[arg(long, value_name = "SIZE", help_heading = "Attack")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack_step: Option<f64>,

    /// How gradients change weights
    #[arg(long, default_value_t, value_parser = choice::chosen::<OptimizerSpec>(), help_heading = "Optimiser")]
    pub optimizer: Choice<OptimizerSpec>,
    /// Learning rate [default: the optimiser's]
    #[arg(long, value_name = "RATE", help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// sgd: momentum coefficient
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, help_heading = "Optimiser")]
    pub momentum: f64,
    /// sgd: Nesterov's momentum
    #[arg(long, help_heading = "Optimiser")]
    pub nesterov: bool,
    /// Clip the gradient to this norm over all parameters
    #[arg(long, value_name = "NORM", help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Keep the exponential moving average of the weights, of which this share stays in each step; evaluations and
    /// final.safetensors are of the average
    #[arg(long, value_name = "DECAY", help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Weight decay: added to the gradient of every parameter, times the parameter (adamw, muon: decoupled)
    #[arg(long, value_name = "DECAY", default_value_t = 5e-4, help_heading = "Optimiser")]
    pub weight_decay: f64,
    /// Learning rate over time
    #[arg(long, value_enum, default_value_t, help_heading = "Optimiser")]
    pub schedule: Schedule,
    /// step: where the rate is divided by 10, in steps, with commas between
    #[arg(long, value_name = "STEPS", value_delimiter = ',', help_heading = "Optimiser")]
    pub milestones: Vec<u64>,
    /// Multiply the rate by FACTOR when the loss of evaluations has not fallen for more than --plateau-patience of them
    #[arg(long, value_name = "FACTOR", help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plateau: Option<f64>,
    /// Evaluations without improvement that --plateau waits for [default: 5]
    #[arg(long, value_name = "N", help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plateau_patience: Option<u64>,
    /// Steps over which the rate rises from near 0
    #[arg(long, value_name = "STEPS", default_value_t = 0, help_heading = "Optimiser")]
    pub warmup: u64,
    /// Length of the run in steps
    #[arg(long, value_name = "N", conflicts_with = "epochs", help_heading = "Length")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Length of the run in passes over the data [default: 10]
    #[arg(long, value_name = "N", help_heading = "Length")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// End the run after N evaluations in which the loss has not fallen
    #[arg(long, value_name = "N", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<u64>,
    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 128, help_heading = "Run")]
    pub batch_size: usize,
    /// For initial weights, order, augmentation and projections
    #[arg(long, value_name = "SEED", default_value_t = 0, help_heading = "Run")]
    pub seed: u64,
    /// The folder that holds data sets [default: the environment variable COMHE_DATA]
    #[arg(long, value_name = "DIR", help_heading = "Machine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Threads; results do not depend on them [default: one a core]
    #[arg(long, value_name = "N", help_heading = "Machine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Steps between two evaluations on the test set [default: one epoch]
    #[arg(long, value_name = "STEPS", help_heading = "Log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<u64>,
    /// Steps between two measurements of energies and angles [default: with evaluations, at least 100 steps apart]
    #[arg(long, value_name = "STEPS", help_heading = "Log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_every: Option<u64>,
    /// Log what these say of watched steps, per layer, with commas between; see comhe train --help. They change nothing
    #[arg(
        long,
        value_enum,
        value_name = "NAMES",
        value_delimiter = ',',
        hide_possible_values = true,
        help_heading = "Log"
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watch: Vec<Instrument>,
    /// Steps between two watched ones; step 0 is the first [default: 10]
    #[arg(long, value_name = "STEPS", help_heading = "Log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_every: Option<u64>,
    /// Steps between two checkpoints
    #[arg(long, value_name = "STEPS", default_value_t = 1000, help_heading = "Log")]
    pub checkpoint_every: u64,
    /// Write the log as TensorBoard's events, too
    #[arg(long, help_heading = "Log")]
    pub tensorboard: bool,
}

/// So many threads a command may have.
pub const MOST_THREADS: usize = 1024;

/// Passes over the data of a run by default.
const EPOCHS: u64 = 10;

impl Default for Config {
    /// What an empty command line gives.
    fn default() -> Config {
        settings::defaults()
    }
}

impl Config {
    /// Whether the loss of this name is asked for.
    pub fn has_loss(&self, name: &str) -> bool {
        self.loss.is_some_and(|loss| loss.name == name)
    }

    /// The learning rate, or the optimiser's default.
    pub fn rate(&self) -> f64 {
        self.lr.unwrap_or(self.optimizer.make.lr)
    }

    /// The same settings with what depends on others spelt out: learning rate and length.
    pub fn settled(self) -> Config {
        let epochs = if self.steps.is_none() { Some(self.epochs.unwrap_or(EPOCHS)) } else { None };
        Config { lr: Some(self.rate()), epochs, ..self }
    }

    /// The size of inner steps, if it is one.
    pub fn inner_rate(&self) -> Option<Rate> {
        match self.reg_inner_lr.as_str() {
            "network" => Some(Rate::Network),
            number => number.parse().ok().filter(|eta| (0.0..=f64::MAX).contains(eta)).map(Rate::Fixed),
        }
    }

    /// The settings as a file.
    pub fn to_toml(&self) -> Result<String, Failure> {
        settings::to_toml(self)
    }
}

impl Settings for Config {
    const COMMAND: &'static str = "train";

    fn paths(&self) -> Vec<(&'static str, &Path)> {
        let all = [("data-dir", &self.data_dir), ("init", &self.init)];
        let one = all.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?)));
        one.chain(self.teacher.iter().map(|path| ("teacher", path.as_path()))).collect()
    }

    fn check(&self) -> Result<(), Failure> {
        Config::check(self)
    }

    fn check_effects(&self, given: &[String]) -> Result<(), Failure> {
        parts::check(self, given, std::slice::from_ref(&self.reg))
    }

    /// Nothing that the steps depend on, but how many there are.
    fn changeable() -> Vec<&'static str> {
        kinds::of_classes(&[Class::Length, Class::Machine, Class::Log])
    }

    fn below(settings: &toml::Table) -> Result<toml::Table, String> {
        match settings.get("preset").and_then(|name| name.as_str()) {
            Some(name) => preset(name),
            None => Ok(toml::Table::new()),
        }
    }
}

#[cfg(test)]
mod tests;
