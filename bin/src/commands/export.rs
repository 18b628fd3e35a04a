//! `comhe export`: a trained one-bit network as signs and thresholds.

use std::path::PathBuf;

use clap::Args;
use nn::Module;
use nn::binary::Packed;
use serde_json::json;

use crate::failure::Failure;
use crate::run_folder::Trained;
use crate::{data, output, setup};

/// Pack a trained one-bit network (basenet*, boolnet*) for inference with XNOR and popcount
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe export runs/fashion14-boolnet-small-k4-none-1 --out net.safetensors
  comhe eval net.safetensors --dataset fashion14                  the packed network on the test images

The file holds a bit for each weight, an integer threshold for each channel and slice, and the real stem and head. Its
outputs are those of the network that was trained, bit for bit.")]
pub struct Export {
    /// A run folder
    #[arg(value_name = "DIR")]
    run: PathBuf,
    /// The new file
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Export {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let trained = Trained::find(&self.run)?;
        trained.refuse_packed()?;
        let config = trained.settings()?;
        setup::apply(&config);
        let dataset = data::load(&config)?;
        let model = trained.network(dataset.shape(), dataset.outputs(), &config)?;
        let packed = Packed::new(&model)?;
        packed.save(&self.out)?;
        let (bytes, real) = (packed.to_bytes()?.len(), model.parameter_count() * model.dtype().bytes());
        if self.json {
            return output::json(&json!({
                "file": self.out.to_string_lossy(),
                "model": packed.name(),
                "bytes": bytes,
                "parameter_bytes": real,
            }));
        }
        let times = real as f64 / bytes as f64;
        output::line(&format!(
            "{}: {bytes} bytes for {real} bytes of parameters, 1/{times:.1}",
            self.out.display()
        ))
    }
}
