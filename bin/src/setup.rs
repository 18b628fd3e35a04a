//! From settings to a trainer and its data.

mod training;

use std::path::Path;

use autograd::{ConvAlgorithm, DType, Key, set_conv_algorithm, set_threads};
use comhe::peers::Poles;
use comhe::{
    Energy, Groups, LayerReport, Learning, Mode, Objective, Options, Projections, REGULARISERS, Scale,
};
use datasets::{Dataset, Loader};
use nn::{Archive, ConsistencyPenalty, Model, Ramp, Spectral, Trainer, load_state_dict};

use crate::config::{Config, Constants, Conv, InnerMode, Precision, Schedule};
use crate::data::{self, Stream};
use crate::failure::Failure;
use crate::statistics::count;
use crate::{memory, run_folder};
use training::taught;
pub use training::{Length, attack, frozen_loss, input_penalty, loss, method, optimizer, spectral, teachers};

/// Evaluations without improvement that the learning rate waits for by default.
pub const PLATEAU_PATIENCE: u64 = 5;

/// A run that is ready to go.
pub struct Setup {
    /// The settings, with the loss that suits the data.
    pub config: Config,
    /// The data.
    pub dataset: Dataset,
    /// Makes the training batches.
    pub loader: Loader,
    /// The network with all that changes it.
    pub trainer: Trainer,
    /// The arithmetic.
    pub dtype: DType,
    /// The length of the run.
    pub steps: u64,
    /// The length of an epoch.
    pub epoch: u64,
}

impl Setup {
    /// Loads the data and builds the network. The settings have been checked and settled.
    pub fn new(config: &Config) -> Result<Setup, Failure> {
        // What needs no data comes first.
        objective(config)?;
        Setup::on(data::load(config)?, config)
    }

    /// The same on data that are already there.
    pub fn on(mut dataset: Dataset, config: &Config) -> Result<Setup, Failure> {
        if dataset.is_regression() && config.loss.is_none() {
            dataset.notes.push("the targets are real values; the loss is mse (--loss)".into());
        }
        let config = data::with_loss(config, &dataset)?;
        apply(&config);
        let dtype = dtype(&config);
        let loader = data::training(&dataset, &config)?;
        let epoch = loader.steps() as u64;
        let steps = config.steps.unwrap_or_else(|| config.epochs.unwrap_or(0).saturating_mul(epoch));
        let mut model = model(&dataset, &config)?;
        if let Some(path) = &config.init {
            load_weights(&mut model, run_folder::load(path)?, path)?;
        }
        check_groups(&config, &model)?;
        check_effects(&config, &model)?;
        let images = config.batch_size.min(loader.split().len());
        memory::check(&model, config.width, images, dtype)?;
        check_batch_norm(&model, &loader)?;
        let length = Some(Length { steps, epoch });
        let mut trainer = trainer(model, &config, length)?.schedule(schedule(&config, steps));
        if let Some(weight) = config.isda_unlabelled.filter(|_| config.has_loss("isda")) {
            let (lambda, ramp) = (config.isda_lambda, Some(Ramp::new(steps)));
            let inputs = data::unlabelled(&dataset, &config)?;
            trainer.penalties.push(Box::new(ConsistencyPenalty { weight, lambda, ramp, inputs }));
        }
        trainer.plateau = config
            .plateau
            .map(|factor| nn::Plateau::new(factor, config.plateau_patience.unwrap_or(PLATEAU_PATIENCE)));
        trainer.early_stopping = config.early_stopping.map(nn::EarlyStopping::new);
        if let Some(path) = &config.init {
            // Weights without an energy, as those with a zero row, show before the run.
            energies(&trainer).map_err(|e| Failure::place(path, e.message().unwrap_or_default()))?;
        }
        Ok(Setup { config, dataset, loader, trainer, dtype, steps, epoch })
    }

    /// The batches from the trainer's present step on.
    pub fn batches(&self) -> Stream {
        Stream::new(self.loader.clone(), self.dtype, self.trainer.step_count(), self.steps)
    }
}

/// A trainer with all parts of the settings, at a constant learning rate. Without a length nothing grows or falls over
/// the run.
pub fn trainer(model: Model, config: &Config, length: Option<Length>) -> Result<Trainer, Failure> {
    let spectral = spectral(config, length)?;
    let optimizer = optimizer(config, &spectral);
    let method = taught(method(config, length)?, config, &model)?;
    let mut trainer = Trainer::new(model, optimizer, config.rate(), Key::new(config.seed));
    trainer.loss = loss(config, length)?;
    trainer.penalties.extend(input_penalty(config)?);
    if let Some(Spectral::Penalty(penalty)) = spectral {
        trainer.penalties.push(Box::new(penalty));
    }
    trainer.method = method;
    Ok(trainer.regulariser(objective(config)?))
}

/// The energies of all layers of the network as it is, by the objective that it is trained with.
pub fn energies(trainer: &Trainer) -> Result<Vec<LayerReport>, Failure> {
    let objective: &Objective = trainer.regulariser_as().expect("`trainer` gives every run one");
    Ok(objective.report(&trainer.model.weights(), trainer.now())?)
}

/// Puts the settings of the whole process in force: threads, and the algorithm of convolutions.
pub fn apply(config: &Config) {
    set_threads(config.threads.unwrap_or_else(cores));
    set_conv_algorithm(match config.conv {
        Conv::Auto => ConvAlgorithm::Auto,
        Conv::Direct => ConvAlgorithm::Direct,
        Conv::F2 => ConvAlgorithm::F2,
        Conv::F4 => ConvAlgorithm::F4,
    });
}

/// How many threads run at once here.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The arithmetic of the settings.
pub fn dtype(config: &Config) -> DType {
    match config.dtype {
        Precision::F32 => DType::F32,
        Precision::F64 => DType::F64,
    }
}

/// The network of the settings for the data, with drawn weights.
pub fn model(dataset: &Dataset, config: &Config) -> Result<Model, Failure> {
    model_of(dataset.shape(), dataset.outputs(), config)
}

/// The network of the settings for images of a shape, with as many outputs as classes, with drawn weights.
pub fn model_of(shape: [usize; 3], classes: usize, config: &Config) -> Result<Model, Failure> {
    let key = Key::new(config.seed).stream("weights");
    let of_width = |width: usize| nn::models::build(&config.model, shape, classes, width, key, dtype(config));
    memory::check_weights(config.width, dtype(config), of_width)?;
    let model = of_width(config.width)?;
    match config.low_rank {
        Some(r) => comhe::factored(&model, r, config.seed)
            .map_err(|e| Failure::usage(format_args!("--low-rank: {e}"))),
        None => Ok(model),
    }
}

/// Takes up the weights of a file: a state dict, or a checkpoint, which holds one. They must all be finite.
pub fn load_weights(model: &mut Model, archive: Archive, file: &Path) -> Result<(), Failure> {
    let inner = archive.part("model");
    let tensors = if inner.is_empty() { archive.tensors } else { inner };
    for (name, t) in &tensors {
        comhe::check_finite(t).map_err(|e| Failure::place(file, format_args!("tensor {name}: {e}")))?;
    }
    load_state_dict(model, &tensors).map_err(|e| {
        let ([c, h, w], name) = (model.input, &model.name);
        let outputs = count(model.classes, "output");
        Failure::place(
            file,
            format_args!("is not of this network, {name} for {c} x {h} x {w} with {outputs}: {e}"),
        )
    })?;
    comhe::check_factors(model).map_err(|e| Failure::place(file, e))
}

/// The failure of a run: a weight of low rank that could not be made explains a loss that is not finite.
pub fn explained(model: &Model, failure: Failure) -> Failure {
    comhe::check_factors(model).err().map_or(failure, Failure::from)
}

/// The regularising part of the settings.
pub fn objective(config: &Config) -> Result<Objective, Failure> {
    Ok(Objective::new(&config.reg, &options(config)?)?)
}

/// What the settings say about the regulariser besides its name.
pub fn options(config: &Config) -> Result<Options, Failure> {
    let (projections, learning) = (Projections::default(), Learning::default());
    let seed = config.seed;
    let rate = config.inner_rate().ok_or_else(|| Failure::usage("--reg-inner-lr is no rate"))?;
    Ok(Options {
        energy: Energy {
            s: config.reg_s,
            angular: config.reg_angular,
            eps: config.reg_eps,
            scale: if config.reg_scale == Constants::Code { Scale::Code } else { Scale::Paper },
            ..Energy::default()
        },
        half_space: config.reg_half_space,
        weight: config.reg_weight,
        head_weight: config.reg_head_weight,
        projections: Projections {
            k: config.reg_k.unwrap_or(projections.k),
            c: config.reg_c,
            distribution: config.reg_distribution.parse()?,
            variance: config.reg_variance.parse()?,
            seed,
        },
        redraw: config.reg_redraw,
        preserve: config.reg_objective.parse()?,
        learning: Learning {
            k: config.reg_k.unwrap_or(learning.k),
            plain: config.reg_inner_steps,
            unrolled: config.reg_unroll,
            mode: match config.reg_mode {
                InnerMode::Unrolled => Mode::Unrolled,
                InnerMode::Alternating => Mode::Alternating,
            },
            rate,
            decay: config.reg_inner_decay,
            seed,
        },
        groups: Groups { count: config.reg_groups, kind: config.reg_group_kind.parse()?, seed },
        gamma: config.reg_gamma,
        stride: config.reg_stride,
        sharpness: config.reg_sharpness,
        poles: Poles {
            steps: config.reg_inner_steps.unwrap_or(Poles::default().steps),
            rate,
            momentum: config.reg_pole_momentum,
            decay: config.reg_pole_decay,
        },
        ..Options::default()
    })
}

fn schedule(config: &Config, steps: u64) -> nn::Schedule {
    let schedule = match config.schedule {
        Schedule::Step => nn::Schedule::Step { milestones: config.milestones.clone(), gamma: 0.1 },
        Schedule::Cosine => nn::Schedule::Cosine { steps, min: 0.0 },
        Schedule::Constant => nn::Schedule::Constant,
    };
    if config.warmup > 0 { schedule.warmup(config.warmup) } else { schedule }
}

/// Groups that are more than any hidden layer can be put into would leave the variant out altogether.
pub fn check_groups(config: &Config, model: &Model) -> Result<(), Failure> {
    let read = registry::find(REGULARISERS, "regulariser", &config.reg).is_ok_and(|row| row.reads("groups"));
    let groups = options(config)?.groups;
    let weights = model.weights();
    let hidden = weights.iter().filter(|weight| weight.role != nn::Role::Classifier);
    match hidden.map(|weight| groups.parts(weight.value.shape()).0).max() {
        Some(most) if read && groups.count > most => Err(Failure::usage(format_args!(
            "--reg-groups is {}; no hidden layer of {} can be put into more than {most}",
            groups.count, model.name
        ))),
        _ => Ok(()),
    }
}

/// Settings that have no effect on this network, or that its inputs cannot have. A preset may set what a network lacks.
fn check_effects(config: &Config, model: &Model) -> Result<(), Failure> {
    let [c, h, w] = model.input;
    if ["deformation", "tangent"].contains(&config.input_penalty.name) && h.min(w) < 2 {
        return Err(Failure::usage(format_args!(
            "--input-penalty {} deforms images; the inputs of {} are {c} x {h} x {w}",
            config.input_penalty, config.dataset
        )));
    }
    let has = |layer: &str| model.summary().rows.iter().any(|row| row.layer.starts_with(layer));
    let without = |key: &str, value: &str, what: &str| {
        let name = &model.name;
        Err(Failure::usage(format_args!("--{key} {value} has no effect on {name}, which has no {what}")))
    };
    match () {
        () if config.preset.is_some() => Ok(()),
        () if config.bn_stats == "every" && !has("BatchNorm") => without("bn-stats", "every", "batch norm"),
        () if config.method_masks == "renewed" && !has("Dropout") => {
            without("method-masks", "renewed", "dropout")
        }
        () => Ok(()),
    }
}

/// Batch norm needs two values a channel in every training batch, the last of an epoch among them.
fn check_batch_norm(model: &Model, loader: &Loader) -> Result<(), Failure> {
    let (images, batch) = (loader.split().len(), loader.config().batch_size);
    let smallest = if images.is_multiple_of(batch) { batch } else { images % batch };
    match alone_in_batch_norm(model) {
        Some(layer) if smallest == 1 => Err(Failure::usage(format_args!(
            "{images} images in batches of {batch} leave one of a single image, from which {layer} cannot take a variance; \
             choose another --batch-size",
        ))),
        _ => Ok(()),
    }
}

/// The layer, if there is one, that normalises over the images of a batch alone.
pub fn alone_in_batch_norm(model: &Model) -> Option<String> {
    let alone =
        |row: &nn::Row| row.layer.starts_with("BatchNorm") && row.output[2..].iter().product::<usize>() == 1;
    let rows = model.summary().rows;
    rows.iter().find(|row| alone(row)).map(|row| format!("{} ({})", row.name, row.layer))
}
