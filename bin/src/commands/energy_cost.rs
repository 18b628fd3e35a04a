//! `comhe energy-cost`: a model of the energy that a network takes for one image.

use std::path::{Path, PathBuf};

use autograd::{DType, Key};
use clap::Args;
use nn::Model;
use nn::binary::{Coefficients, Cost, Design, Twin, costs};
use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Table};
use crate::run_folder::Trained;
use crate::{data, setup};

/// Bits moved, operations and modelled energy of a network for one image, layer by layer
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe energy-cost --model boolnet18-k4                         224 x 224 images in 1000 classes
  comhe energy-cost --model boolnet-small-k4 --input 1x14x14 --classes 10
  comhe energy-cost runs/fashion14-boolnet-small-k4-none-1
  comhe energy-cost --model boolnet18-k4 --coefficients sram.toml

The energy is weight_bit x bits of weights + map_bit x (bits read + bits written) + binary_op x
products of signs + real_op x products of reals + compare x comparisons. The coefficients, in pJ, are
assumptions: from the 45 nm table of Horowitz (ISSCC 2014), with weights and maps in DRAM. A TOML
file replaces any of weight_bit (20), map_bit (20), binary_op (0.003125), real_op (4.6), compare (0.1).
One-bit networks are compared with their twin of one slice with 32-bit maps and shortcuts.")]
pub struct EnergyCost {
    /// A run folder
    #[arg(value_name = "DIR", required_unless_present = "model", conflicts_with = "model")]
    run: Option<PathBuf>,
    /// A network by name
    #[arg(long)]
    model: Option<String>,
    /// --model: shape of an image
    #[arg(long, value_name = "CxHxW", value_parser = super::inspect::shape, default_value = "3x224x224")]
    input: [usize; 3],
    /// --model: number of classes
    #[arg(long, value_name = "N", default_value_t = 1000)]
    classes: usize,
    /// --model: factor of the number of filters
    #[arg(long, value_name = "N", default_value_t = 1)]
    width: usize,
    /// Energies in pJ that replace the defaults
    #[arg(long, value_name = "FILE.toml")]
    coefficients: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// The keys of a file of coefficients.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Given {
    weight_bit: Option<f64>,
    map_bit: Option<f64>,
    binary_op: Option<f64>,
    real_op: Option<f64>,
    compare: Option<f64>,
}

fn coefficients(path: &Path) -> Result<Coefficients, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::place(path, format_args!("cannot be read: {e}")))?;
    let given: Given = toml::from_str(&text).map_err(|e| Failure::place(path, e.message()))?;
    let default = Coefficients::default();
    let or = |key: &str, value: Option<f64>, default: f64| match value {
        Some(v) if !(v >= 0.0 && v.is_finite()) => {
            Err(Failure::place(path, format_args!("{key} is {v}; it must be finite and not negative")))
        }
        value => Ok(value.unwrap_or(default)),
    };
    Ok(Coefficients {
        weight_bit: or("weight_bit", given.weight_bit, default.weight_bit)?,
        map_bit: or("map_bit", given.map_bit, default.map_bit)?,
        binary_op: or("binary_op", given.binary_op, default.binary_op)?,
        real_op: or("real_op", given.real_op, default.real_op)?,
        compare: or("compare", given.compare, default.compare)?,
    })
}

impl EnergyCost {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let e = self.coefficients.as_deref().map(coefficients).transpose()?.unwrap_or_default();
        let model = self.network()?;
        let layers = costs(&model, Twin::Binary);
        let mut total = Cost { layer: "total".to_string(), ..Cost::default() };
        layers.iter().for_each(|cost| total += cost);
        let twin = Design::named(&model.name).map(|_| {
            let twin = costs(&model, Twin::RealShortcuts);
            twin.iter().map(|cost| cost.energy(&e).total()).sum::<f64>() / 1e9
        });
        let energy = total.energy(&e).total() / 1e9;
        let all = layers.iter().chain([&total]);
        if self.json {
            let row = |cost: &Cost| {
                json!({
                    "layer": cost.layer,
                    "weight_bits": cost.weight_bits,
                    "read_bits": cost.read_bits,
                    "written_bits": cost.written_bits,
                    "binary_ops": cost.binary_ops,
                    "real_ops": cost.real_ops,
                    "compares": cost.compares,
                    "energy_mj": cost.energy(&e).total() / 1e9,
                })
            };
            return output::json(&json!({
                "model": model.name,
                "layers": layers.iter().map(row).collect::<Vec<_>>(),
                "total": row(&total),
                "twin_energy_mj": twin,
                "ratio": twin.map(|twin| twin / energy),
            }));
        }
        let head = ["layer", "weight bits", "read", "written", "binary ops", "real ops", "compares", "uJ"];
        let mut table = Table::new(head);
        for cost in all {
            let numbers = [
                cost.weight_bits,
                cost.read_bits,
                cost.written_bits,
                cost.binary_ops,
                cost.real_ops,
                cost.compares,
            ];
            let uj = format!("{:.3}", cost.energy(&e).total() / 1e6);
            table.row([cost.layer.clone()].into_iter().chain(numbers.map(|n| n.to_string())).chain([uj]));
        }
        output::line(table.text().trim_end())?;
        let parts = total.energy(&e);
        let share = |part: f64| 100.0 * part / parts.total().max(f64::MIN_POSITIVE);
        output::line(&format!(
            "\n{energy:.4} mJ for one image: weights {:.0} %, maps {:.0} %, arithmetic {:.0} %\ncoefficients in pJ \
             (assumptions): weight_bit {}, map_bit {}, binary_op {}, real_op {}, compare {}",
            share(parts.weights),
            share(parts.maps),
            share(parts.arithmetic),
            e.weight_bit,
            e.map_bit,
            e.binary_op,
            e.real_op,
            e.compare
        ))?;
        match twin {
            Some(twin) => output::line(&format!(
                "its twin of one slice with 32-bit maps and shortcuts: {twin:.4} mJ, {:.2} times as much",
                twin / energy
            )),
            None => Ok(()),
        }
    }

    fn network(&self) -> Result<Model, Failure> {
        match (&self.run, &self.model) {
            (Some(run), _) => {
                let config = Trained::find(run)?.settings()?;
                let dataset = data::load(&config)?;
                setup::model(&dataset, &config)
            }
            (None, name) => {
                let name = name.as_deref().unwrap_or_default();
                let width = self.width;
                Ok(nn::models::build(name, self.input, self.classes, width, Key::new(0), DType::F32)?)
            }
        }
    }
}
