//! `comhe energy`: the hyperspherical energy of tensors in a file.

use std::path::PathBuf;

use autograd::{DType, Tensor};
use clap::{Args, ValueEnum};
use comhe::{Energy, Projections, Reduce, projected_energy};
use serde::Serialize;

use crate::config::Precision;
use crate::failure::{Failure, unknown};
use crate::{output, tensor_file};

/// The hyperspherical energy of the tensors in a file, one JSON object a line
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe energy weights.npy                                  mean energy, s = 2, full space
  comhe energy model.safetensors --half-space --s 1         every 2-d and 4-d tensor of the file
  comhe energy model.safetensors --tensor fc1.weight --grad gradient.npy
  comhe energy weights.npy --variant rp --k 40 --c 20 --seed 1
  comhe energy weights.npy --variant rp --projection p.npy  p is k x d or C x k x d")]
pub struct EnergyOf {
    /// .npy, .npz or .safetensors; a 2-d tensor is N x d, a 4-d one [C_out, C_in, kh, kw] counts as C_out rows
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only this tensor
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// mhe, or rp: the mean over random projections
    #[arg(long, default_value = "mhe", value_name = "NAME")]
    variant: String,
    /// Riesz exponent; 0 stands for the logarithm
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
    #[arg(long, default_value_t = 1e-4, value_name = "EPS")]
    eps: f64,
    /// On 2 - 2c, or on the angle
    #[arg(long, default_value_t = 1e-12, value_name = "FLOOR")]
    floor: f64,
    /// rp: explicit projections, k x d or C x k x d, instead of drawn ones
    #[arg(long, value_name = "P.npy", conflicts_with_all = ["k", "c", "distribution"])]
    projection: Option<PathBuf>,
    /// bilateral: the second projection
    #[arg(long, value_name = "P.npy", hide = true)]
    projection2: Option<PathBuf>,
    /// rp: dimensions after projection
    #[arg(long, default_value_t = 40, value_name = "K")]
    k: usize,
    /// rp: projections
    #[arg(long, default_value_t = 20, value_name = "C")]
    c: usize,
    /// rp: gaussian, rademacher, sparse, uniform, orthonormal
    #[arg(long, default_value = "gaussian", value_name = "NAME")]
    distribution: String,
    /// rp: for drawn projections
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    seed: u64,
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
const VARIANTS: [&str; 2] = ["mhe", "rp"];

impl EnergyOf {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        if !VARIANTS.contains(&self.variant.as_str()) {
            return Err(Failure::usage(unknown("variant", &self.variant, &VARIANTS)));
        }
        if self.variant == "mhe" && self.projection.is_some() {
            return Err(Failure::usage("--projection belongs to --variant rp"));
        }
        if self.projection2.is_some() {
            return Err(Failure::usage("--projection2 belongs to no variant that there is (mhe, rp)"));
        }
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
        let projections =
            Projections { k: self.k, c: self.c, distribution: self.distribution.parse()?, seed: self.seed };
        projections.check()?;
        let dtype = if self.dtype == Precision::F32 { DType::F32 } else { DType::F64 };
        let given = self.projection.as_deref().map(|path| tensor_file::read_npy(path, dtype)).transpose()?;

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
            let w = tensor.to_dtype(dtype).requires_grad();
            let place = |e: comhe::Error| Failure::place(&self.file, format_args!("tensor {name}: {e}"));
            let d: usize = w.shape()[1..].iter().product();
            let value = match (self.variant.as_str(), &given) {
                ("mhe", _) => energy.of(&w),
                (_, Some(p)) => projected_energy(&energy, &w, p),
                (_, None) => {
                    projections.draw(name, 0, d, dtype).and_then(|p| projected_energy(&energy, &w, &p))
                }
            }
            .map_err(place)?;
            if let Some(path) = &self.grad {
                tensor_file::write_npy(path, &value.grad(&[&w]).remove(0))?;
            }
            let n = w.shape()[0];
            output::json(&Line { tensor: name, n, d, variant: &self.variant, energy: value.item() })?;
        }
        Ok(())
    }

    /// The tensors that are asked for and can be rows of neurons, and the names of the others.
    fn chosen(&self) -> Result<(Vec<Named>, Vec<String>), Failure> {
        let all = tensor_file::read(&self.file)?;
        let fits = |t: &Tensor| [2, 4].contains(&t.rank());
        let rule = "2-d (N x d) and 4-d (C_out x C_in x kh x kw) tensors have an energy";
        if let Some(wanted) = &self.tensor {
            let Some((name, t)) = all.iter().find(|(name, _)| name == wanted) else {
                let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
                return Err(Failure::place(&self.file, unknown("tensor", wanted, &names)));
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
            return Err(Failure::place(&self.file, format_args!("{rule}; it holds {}", skipped.join(", "))));
        }
        Ok((chosen, skipped))
    }
}
