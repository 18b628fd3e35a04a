//! `comhe energy`: the hyperspherical energy of tensors in a file.

use std::path::PathBuf;

use autograd::{DType, Tensor};
use clap::{Args, ValueEnum};
use comhe::{
    Bilateral, Energy, Groups, InnerSteps, Learning, Mode, Projections, Reduce, adversarial_energy,
    angle_preserving_energy, bilateral_energy, group_energy, projected_energy,
};
use serde::Serialize;

use crate::config::{InnerMode, Precision};
use crate::failure::{Failure, one_of};
use crate::{output, tensor_file};

/// The hyperspherical energy of the tensors in a file, one JSON object a line
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe energy weights.npy                                  mean energy, s = 2, full space
  comhe energy model.safetensors --half-space --s 1         every 2-d and 4-d tensor of the file
  comhe energy model.safetensors --tensor fc1.weight --grad gradient.npy
  comhe energy weights.npy --variant rp --k 40 --c 20 --seed 1
  comhe energy weights.npy --variant rp --projection p.npy  p is k x d or C x k x d
  comhe energy weights.npy --variant ap --projection p.npy --inner-steps 2 --objective angle
  comhe energy weights.npy --variant bilateral --projection p1.npy --projection2 p2.npy

The raw rows are projected, then normalised with EPS. The inner losses of ap and adv are in full
space, without weight decay; adv's is the mean energy with the same exponent and distance.")]
pub struct EnergyOf {
    /// .npy, .npz or .safetensors; a 2-d tensor is N x d, a 4-d one [C_out, C_in, kh, kw] counts as C_out rows
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only this tensor
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// mhe; rp (random projections), ap (learns to preserve angles), adv (learns to raise the energy), group (of
    /// coordinates), bilateral (fewer dimensions + fewer neurons)
    #[arg(long, default_value = "mhe", value_name = "NAME")]
    variant: String,
    /// Riesz exponent; 0 stands for the logarithm. At most 200, in f32 20: beyond, powers of ordinary distances overflow
    #[arg(long, default_value_t = 2.0, value_name = "S")]
    s: f64,
    /// Angles instead of chords
    #[arg(long)]
    angular: bool,
    /// The 2N points u and -u instead of the N points u
    #[arg(long)]
    half_space: bool,
    /// Over ordered pairs
    #[arg(long, value_enum, default_value_t)]
    reduce: Reduction,
    /// Inside every norm: sqrt(sum of squares + EPS)
    #[arg(long, default_value = "1e-4", value_name = "EPS")]
    eps: f64,
    /// On 2 - 2c, or on the angle: at or below it a pair has the floor's energy and no gradient. Raised where that
    /// energy, times the number of pairs, would overflow
    #[arg(long, default_value = "1e-12", value_name = "FLOOR")]
    floor: f64,
    /// rp, ap, adv, bilateral: explicit projections, k x d or (not ap, adv) C x k x d, instead of drawn ones
    #[arg(long, value_name = "P.npy", conflicts_with_all = ["k", "c", "distribution", "variance", "seed"])]
    projection: Option<PathBuf>,
    /// bilateral: the second projection, N x k or C x N x k
    #[arg(long, value_name = "P.npy", requires = "projection")]
    projection2: Option<PathBuf>,
    /// Dimensions after projection; bilateral: also the number of combined neurons [default: 40; ap, adv: 30]
    #[arg(long, value_name = "K")]
    k: Option<usize>,
    /// rp, bilateral: projections [default: 20]
    #[arg(long, value_name = "C")]
    c: Option<usize>,
    /// rp, bilateral: gaussian, rademacher, sparse, uniform, orthonormal [default: gaussian]
    #[arg(long, value_name = "NAME")]
    distribution: Option<String>,
    /// rp, bilateral: of the projections' entries, reciprocal (1/k) or unit (1) [default: reciprocal]
    #[arg(long, value_name = "NAME")]
    variance: Option<String>,
    /// For drawn projections and random groups [default: 0]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// ap: cosine (Frobenius norm of the difference of the cosines) or angle (sum over ordered pairs of squared
    /// differences) [default: cosine]
    #[arg(long, value_name = "NAME")]
    objective: Option<String>,
    /// ap, adv: steps of the projection from the given one [default: 1]
    #[arg(long, value_name = "T")]
    inner_steps: Option<usize>,
    /// ap, adv: their size [default: 0.1]
    #[arg(long, value_name = "ETA")]
    inner_lr: Option<f64>,
    /// ap, adv: whether the gradient sees that the projection depends on the weight [default: unrolled]
    #[arg(long, value_enum)]
    mode: Option<InnerMode>,
    /// group: how many [default: 4]
    #[arg(long, value_name = "G")]
    groups: Option<usize>,
    /// group: contiguous, strided, overlapping, channels, random [default: contiguous]
    #[arg(long, value_name = "NAME")]
    group_kind: Option<String>,
    /// Arithmetic; a file of the other type is converted
    #[arg(long, value_enum, default_value = "f64")]
    dtype: Precision,
    /// Write dE/dW of the one tensor here, in its shape
    #[arg(long, value_name = "OUT.npy")]
    grad: Option<PathBuf>,
}

/// Mean or sum.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Reduction {
    #[default]
    Mean,
    Sum,
}

/// A line of output.
#[derive(Serialize)]
struct Line<'a> {
    tensor: &'a str,
    n: usize,
    d: usize,
    variant: &'a str,
    energy: f64,
}

/// A tensor of a file, with its name.
type Named = (String, Tensor);

/// The variants that can be computed.
const VARIANTS: [&str; 6] = ["mhe", "rp", "ap", "adv", "group", "bilateral"];

/// The options of all variants.
struct Settings {
    energy: Energy,
    projections: Projections,
    learning: Learning,
    steps: InnerSteps,
    objective: comhe::Preserve,
    groups: Groups,
    dtype: DType,
    /// Explicit projections.
    given: Option<Tensor>,
    given2: Option<Tensor>,
}

impl EnergyOf {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        self.check_flags()?;
        let read = [
            ("the file that is read", Some(&self.file)),
            ("--projection", self.projection.as_ref()),
            ("--projection2", self.projection2.as_ref()),
        ];
        tensor_file::check_apart(&read, &[("--grad", self.grad.as_ref())])?;
        let settings = self.settings()?;
        let (tensors, skipped) = self.chosen()?;
        if self.grad.is_some() && tensors.len() != 1 {
            return Err(Failure::usage(format_args!(
                "--grad is for one tensor; choose with --tensor among {}",
                tensors.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
            )));
        }
        if !skipped.is_empty() {
            eprintln!("skipped (neither 2-d nor 4-d): {}", skipped.join(", "));
        }
        for (name, tensor) in &tensors {
            let w = tensor.to_dtype(settings.dtype).requires_grad();
            if tensor.is_finite() && !w.is_finite() {
                let problem = format_args!("tensor {name} has elements beyond f32; take --dtype f64");
                return Err(Failure::place(&self.file, problem));
            }
            // The error may be about either.
            let given: Vec<String> =
                self.projection.iter().chain(&self.projection2).map(|p| p.display().to_string()).collect();
            let beside = if given.is_empty() {
                String::new()
            } else {
                format!(" (projections: {})", given.join(", "))
            };
            let place =
                |e: comhe::Error| Failure::place(&self.file, format_args!("tensor {name}: {e}{beside}"));
            let value = self.energy(&settings, name, &w).map_err(place)?;
            let beyond = |what: &str| {
                let cure = if settings.dtype == DType::F32 { "take --dtype f64" } else { "scale the weight" };
                let problem = format_args!("tensor {name}: the {what} is beyond {}; {cure}", settings.dtype);
                Failure::place(&self.file, problem)
            };
            if !value.is_finite() {
                return Err(beyond("energy"));
            }
            if let Some(path) = &self.grad {
                let gradient = value.grad(&[&w]).remove(0);
                if !gradient.is_finite() {
                    return Err(beyond("gradient"));
                }
                tensor_file::write_npy(path, &gradient)?;
            }
            let (n, d) = (w.shape()[0], w.shape()[1..].iter().product());
            // The empty sum is -0.
            output::json(&Line { tensor: name, n, d, variant: &self.variant, energy: value.item() + 0.0 })?;
        }
        Ok(())
    }

    /// The energy of one tensor.
    fn energy(&self, settings: &Settings, name: &str, w: &Tensor) -> Result<Tensor, comhe::Error> {
        let Settings { energy, projections, learning, steps, given, .. } = settings;
        let rows = comhe::checked_rows(&w.detach())?;
        let (d, dtype) = (rows.shape()[1], settings.dtype);
        let drawn = || learning.check().map(|()| learning.start(name, d, dtype));
        let start = || given.clone().map_or_else(drawn, Ok);
        match self.variant.as_str() {
            "mhe" => energy.of(w),
            "rp" => {
                let p = given.clone().map_or_else(|| projections.draw(name, 0, d, dtype), Ok)?;
                projected_energy(energy, w, &p)
            }
            "ap" => angle_preserving_energy(energy, w, &start()?, settings.objective, *steps),
            "adv" => adversarial_energy(energy, w, &start()?, *steps),
            "group" => group_energy(energy, w, &settings.groups.of(w.shape(), name, 0)?),
            _ => {
                let (p1, p2) = match (given, &settings.given2) {
                    (Some(p1), Some(p2)) => (p1.clone(), p2.clone()),
                    _ => Bilateral::draw(projections, name, 0, &rows)?,
                };
                bilateral_energy(energy, w, &p1, &p2)
            }
        }
    }

    /// Whether the variant exists and every flag belongs to it.
    fn check_flags(&self) -> Result<(), Failure> {
        let variant = self.variant.as_str();
        if !VARIANTS.contains(&variant) {
            return Err(Failure::usage(registry::unknown("variant", variant, &VARIANTS)));
        }
        // Groups draw only when they are random.
        let random =
            if self.group_kind.as_deref() == Some("random") { "group" } else { "group --group-kind random" };
        let flags: [(&str, bool, &[&str]); 13] = [
            ("projection", self.projection.is_some(), &["rp", "ap", "adv", "bilateral"]),
            ("projection2", self.projection2.is_some(), &["bilateral"]),
            ("k", self.k.is_some(), &["rp", "ap", "adv", "bilateral"]),
            ("c", self.c.is_some(), &["rp", "bilateral"]),
            ("distribution", self.distribution.is_some(), &["rp", "bilateral"]),
            ("variance", self.variance.is_some(), &["rp", "bilateral"]),
            ("objective", self.objective.is_some(), &["ap"]),
            ("inner-steps", self.inner_steps.is_some(), &["ap", "adv"]),
            ("inner-lr", self.inner_lr.is_some(), &["ap", "adv"]),
            ("mode", self.mode.is_some(), &["ap", "adv"]),
            ("groups", self.groups.is_some(), &["group"]),
            ("group-kind", self.group_kind.is_some(), &["group"]),
            ("seed", self.seed.is_some(), &["rp", "ap", "adv", "bilateral", random]),
        ];
        for (flag, given, variants) in flags {
            if given && !variants.contains(&variant) {
                return Err(Failure::usage(format_args!(
                    "--{flag} has no effect with --variant {variant}; use it with --variant {}",
                    one_of(variants)
                )));
            }
        }
        if variant == "bilateral" && self.projection.is_some() && self.projection2.is_none() {
            return Err(Failure::usage("--variant bilateral needs --projection2 beside --projection"));
        }
        Ok(())
    }

    /// The flags as options.
    fn settings(&self) -> Result<Settings, Failure> {
        let energy = Energy {
            s: self.s,
            angular: self.angular,
            half_space: self.half_space,
            reduce: if matches!(self.reduce, Reduction::Sum) { Reduce::Sum } else { Reduce::Mean },
            eps: self.eps,
            floor: self.floor,
            ..Energy::default()
        };
        energy.check()?;
        let parsed = |name: &Option<String>, default: &str| name.clone().unwrap_or_else(|| default.into());
        let (usual, learning, seed) = (Projections::default(), Learning::default(), self.seed.unwrap_or(0));
        let projections = Projections {
            k: self.k.unwrap_or(usual.k),
            c: self.c.unwrap_or(usual.c),
            distribution: parsed(&self.distribution, "gaussian").parse()?,
            variance: parsed(&self.variance, "reciprocal").parse()?,
            seed,
        };
        projections.check()?;
        let mode = if matches!(self.mode, Some(InnerMode::Alternating)) {
            Mode::Alternating
        } else {
            Mode::Unrolled
        };
        let steps = InnerSteps {
            count: self.inner_steps.unwrap_or(1),
            rate: self.inner_lr.unwrap_or(0.1),
            decay: 0.0,
            mode,
        };
        steps.check()?;
        let kind = parsed(&self.group_kind, "contiguous").parse()?;
        let groups = Groups { count: self.groups.unwrap_or(4), kind, seed };
        groups.check()?;
        let dtype = if self.dtype == Precision::F32 { DType::F32 } else { DType::F64 };
        let read = |path: &Option<PathBuf>| {
            path.as_deref().map(|path| tensor_file::read_npy(path, dtype)).transpose()
        };
        Ok(Settings {
            energy,
            projections,
            learning: Learning { k: self.k.unwrap_or(learning.k), seed, ..learning },
            steps,
            objective: parsed(&self.objective, "cosine").parse()?,
            groups,
            dtype,
            given: read(&self.projection)?,
            given2: read(&self.projection2)?,
        })
    }

    /// The tensors that are asked for and can be rows of neurons, and the names of the others.
    fn chosen(&self) -> Result<(Vec<Named>, Vec<String>), Failure> {
        let all = tensor_file::read(&self.file)?;
        let fits = |t: &Tensor| [2, 4].contains(&t.rank());
        let rule = "2-d (N x d) and 4-d (C_out x C_in x kh x kw) tensors have an energy";
        if let Some(wanted) = &self.tensor {
            let Some((name, t)) = all.iter().find(|(name, _)| name == wanted) else {
                let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
                return Err(Failure::place(&self.file, registry::unknown("tensor", wanted, &names)));
            };
            if !fits(t) {
                return Err(Failure::place(
                    &self.file,
                    format_args!("tensor {name} has shape {}; {rule}", t.shape()),
                ));
            }
            return Ok((vec![(name.clone(), t.clone())], Vec::new()));
        }
        let (chosen, skipped): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, t)| fits(t));
        let skipped: Vec<String> = skipped.iter().map(|(name, t)| format!("{name} {}", t.shape())).collect();
        if chosen.is_empty() {
            let found = if skipped.is_empty() { "nothing".into() } else { skipped.join(", ") };
            return Err(Failure::place(&self.file, format_args!("{rule}; it holds {found}")));
        }
        Ok((chosen, skipped))
    }
}
