//! `comhe grad`: loss and gradients of one batch, as files that other programs read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use autograd::{DType, Tensor};
use clap::{ArgMatches, Args};
use nn::{Archive, Batch, Gradient, Model, Module, Numbers, Role, Targets, Trainer, Weight};
use serde_json::json;

use crate::config::Config;
use crate::config::kinds::{Part, Reads};
use crate::failure::Failure;
use crate::{data, output, setup, tensor_file};

/// Compute the loss and gradients of one batch, to compare with another program
#[derive(Args, Debug)]
#[group(skip)]
#[command(after_help = "Examples:
  comhe grad --model cnn9 --init w.safetensors --batch batch.npz --out grads.npz
  comhe grad --model resnet18 --init w.safetensors --batch batch.npz --out grads.safetensors --dtype f64 --reg rp
  comhe grad --model mlp --init w.npz --batch batch.npz --out grads.npz --loss mse --method sam --reg orthoreg

The batch holds x (N x C x H x W, used as it is) and y: N integers are classes from 0; N or N x D floats are real
targets, or with --loss cross-entropy class distributions. The output holds an array for each parameter, under its
name, and loss = fit + reg, each term of fit as fit/NAME, logits and, of classes, accuracy; with --attack the inputs
that were used, as inputs; of regularisers that learn, the projections and poles after their own steps as state/NAME.
Batch norm uses the statistics of the batch. The loss is the mean of --loss (by default cross-entropy; of real targets
mse) plus penalties and the regulariser; the gradients are those of --method, before clipping and weight decay. The
estimate of --loss isda is that of this batch, its lambda does not grow. Without --init the weights are drawn from
--seed; --weights writes those that were used. docs/bridges.md has five lines of Python.")]
pub struct Grad {
    /// The batch: arrays or tensors x and y
    #[arg(long, value_name = "FILE.npz|.safetensors")]
    batch: PathBuf,
    /// Where gradients, loss and logits go
    #[arg(long, value_name = "FILE.npz|.safetensors")]
    out: PathBuf,
    /// Write the weights, as they were before the batch, too
    #[arg(long, value_name = "FILE.npz|.safetensors")]
    weights: Option<PathBuf>,
    /// How many classes there are [default: as the last layer of --init has; else as the labels need]
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// The numbers on standard output as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Config,
}

/// The settings that the gradient of a given batch depends on. Gradients of the factors of --low-rank have no counterpart
/// in other programs; temperatures of one-bit networks are among the weights.
pub const READS: Reads = Reads {
    parts: &[Part::Network, Part::Regulariser, Part::Loss, Part::Penalties, Part::Method, Part::Attack],
    and: &["threads", "seed"],
    without: &["low-rank", "isda-unlabelled", "temperature-factor", "temperature-every"],
};

/// A tensor with its name.
type Named = (String, Tensor);

/// The state of the regulariser of which the penalty is a function: projections and poles after their own steps.
fn learned(trainer: &Trainer) -> Result<Vec<Named>, Failure> {
    let Some(mut regulariser) = trainer.regulariser.clone() else { return Ok(Vec::new()) };
    let weights: Vec<Weight> = trainer.model.weights().iter().map(Weight::detached).collect();
    let _ = regulariser.penalty(&weights, trainer.now())?;
    Ok(regulariser.state().into_iter().map(|(name, t)| (format!("state/{name}"), t)).collect())
}

impl Grad {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        let given = crate::config::given(matches);
        if let Some(key) = READS.first_unread(&given) {
            return Err(Failure::usage(format_args!("--{key} has no effect in comhe grad")));
        }
        let read = [("--batch", Some(&self.batch)), ("--init", self.settings.init.as_ref())];
        let written = [("--weights", self.weights.as_ref()), ("--out", Some(&self.out))];
        written.iter().filter_map(|(_, path)| *path).try_for_each(|path| tensor_file::check_name(path))?;
        tensor_file::check_apart(&read, &written)?;
        let config = Config::default().with_flags(&self.settings, matches)?;
        config.check()?;
        setup::apply(&config);
        let dtype = setup::dtype(&config);
        let batch = self.batch(&config, dtype)?;
        let real = matches!(batch.targets, Targets::Values(_));
        let config = data::suited(&config, real, &self.batch.display().to_string())?;
        let mut model = self.model(&config, &batch)?;
        let largest = batch.targets.classes().and_then(|labels| labels.iter().max());
        if let Some(label) = largest.filter(|&&label| label as usize >= model.classes) {
            let classes = model.classes;
            return Err(Failure::place(
                &self.batch,
                format_args!("y has the label {label}, the network {classes} classes"),
            ));
        }
        if let Some(path) = &self.init_file() {
            let archive = Archive::of(tensor_file::read(path)?);
            setup::load_weights(&mut model, archive, path)?;
        }
        if let Some(path) = &self.weights {
            tensor_file::write(path, &model.state_dict())?;
        }
        if let (1, Some(layer)) = (batch.len(), setup::alone_in_batch_norm(&model)) {
            return Err(Failure::place(
                &self.batch,
                format_args!("holds one item, from which {layer} cannot take a variance; two are needed"),
            ));
        }
        let mut trainer = setup::trainer(model, &config, None)?;
        let mut extra = learned(&trainer)?;
        if let Some(attack) = setup::attack(&config)? {
            extra.push(("inputs".into(), attack.inputs(&trainer.batch_loss(&batch))?));
        }
        let gradient = trainer.gradient(&batch).map_err(|e| Failure::from(e).mid_run())?;
        self.write(gradient, extra, dtype)
    }

    fn init_file(&self) -> Option<PathBuf> {
        self.settings.init.clone()
    }

    /// x and y of the file, as `comhe train` reads those of a data set.
    fn batch(&self, config: &Config, dtype: DType) -> Result<Batch, Failure> {
        let bad = |what: String| Failure::place(&self.batch, what);
        let mut arrays = tensor_file::arrays(&self.batch)?;
        let held = arrays.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ");
        let mut take = |name: &str| match arrays.iter().position(|(n, _)| n == name) {
            Some(at) => Ok(arrays.swap_remove(at).1),
            None => Err(bad(format!("has no {name}; x and y are needed, it holds: {held}"))),
        };
        let (y, x) = (take("y")?, take("x")?);
        let x = tensor_file::tensor(x, &self.batch)?;
        if x.rank() != 4 || x.numel() == 0 {
            return Err(bad(format!("x has shape {}; N x C x H x W is needed", x.shape())));
        }
        if !x.is_finite() {
            return Err(bad("x has a value that is not finite".into()));
        }
        if !x.to_dtype(dtype).is_finite() {
            return Err(bad(format!("x has a value that {dtype} cannot hold; use --dtype f64")));
        }
        let place = PathBuf::from(format!("{}[y]", self.batch.display()));
        let targets = datasets::targets(y, x.shape()[0], data::reading(config), &place)?;
        Ok(Batch::new(x.to_dtype(dtype), data::tensors(targets, dtype)))
    }

    /// The network for the batch.
    fn model(&self, config: &Config, batch: &Batch) -> Result<Model, Failure> {
        let shape = batch.inputs.shape();
        let build = |classes: usize| setup::model_of([shape[1], shape[2], shape[3]], classes, config);
        if let Targets::Values(y) | Targets::Distributions(y) = &batch.targets {
            let width = y.shape()[1];
            return match self.classes.filter(|classes| *classes != width) {
                Some(classes) => {
                    Err(Failure::usage(format_args!("--classes is {classes}; y has {width} columns")))
                }
                None => build(width),
            };
        }
        let largest = batch.targets.classes().and_then(|labels| labels.iter().max());
        let needed = largest.map_or(1, |&most| most as usize + 1).max(2);
        let classes = match (&self.classes, &self.init_file()) {
            (Some(classes), _) => *classes,
            (None, None) => needed,
            (None, Some(path)) => {
                // The name of the last layer depends on the network alone.
                let weights = build(needed)?.weights();
                let name = weights.iter().find(|w| w.role == Role::Classifier).map(|w| w.name.clone());
                let tensors = tensor_file::read(path)?;
                let of = |wanted: &String| {
                    let found = tensors.iter().find(|(n, _)| n == wanted || *n == format!("model.{wanted}"));
                    found.and_then(|(_, t)| t.shape().first().copied())
                };
                name.as_ref().and_then(of).unwrap_or(needed)
            }
        };
        build(classes)
    }

    fn write(&self, gradient: Gradient, extra: Vec<Named>, dtype: DType) -> Result<(), Failure> {
        let Gradient { numbers, outputs, parameters, .. } = gradient;
        let Numbers { loss, fit, reg, accuracy, terms } = numbers;
        // Real targets have no accuracy.
        let accuracy = (!accuracy.is_nan()).then_some(accuracy);
        let numbers = [("loss", loss), ("fit", fit), ("reg", reg)];
        let numbers = numbers.into_iter().chain(accuracy.map(|accuracy| ("accuracy", accuracy)));
        let scalar = |(name, value): (&str, f64)| (name.to_string(), Tensor::full([], value, DType::F64));
        let norm = |t: &Tensor| t.to_vec::<f64>().iter().map(|v| v * v).sum::<f64>();
        let length = parameters.values().map(norm).sum::<f64>().sqrt();
        let count = parameters.len();
        let mut tensors: Vec<Named> = numbers.map(scalar).collect();
        tensors.extend(terms.iter().map(|(name, term)| scalar((&format!("fit/{name}"), *term))));
        tensors.extend(extra);
        tensors.push(("logits".into(), outputs.to_dtype(dtype)));
        tensors.extend(parameters);
        tensor_file::write(&self.out, &tensors)?;
        if self.json {
            let mut line = json!({"loss": loss, "fit": fit, "reg": reg, "terms": terms.iter().cloned().collect::<BTreeMap<_, _>>(),
                "gradient_norm": length, "parameters": count, "out": self.out.to_string_lossy()});
            if let Some(accuracy) = accuracy {
                line["accuracy"] = json!(accuracy);
            }
            return output::json(&line);
        }
        output::line(&format!(
            "loss {loss:.9} (fit {fit:.9}, reg {reg:.9}){}, gradient of {count} parameters, length {length:.6}\n{}",
            accuracy.map_or(String::new(), |accuracy| format!(", accuracy {accuracy:.3}")),
            self.out.display()
        ))
    }
}
