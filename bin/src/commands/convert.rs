//! `comhe convert`: weights between kinds of files and names.

use std::path::PathBuf;

use autograd::{DType, Tensor};
use clap::Args;

use crate::config::Precision;
use crate::failure::Failure;
use crate::run_folder::Trained;
use crate::{output, tensor_file};

/// Weights from one kind of file to another, with other names if need be
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe convert runs/fashion14-lenet-none-1 lenet.npz             a run's last weights for numpy and JAX
  comhe convert w.npz w.safetensors                               and back
  comhe convert net.safetensors w.safetensors --rename module.=   weights saved inside DataParallel
  comhe convert net.safetensors w.safetensors --rename linear.=fc. --rename shortcut.=downsample.
  comhe convert pointnet.safetensors w.safetensors --conv1d       PyTorch's Conv1d as 1 x 1 convolutions

Layouts are PyTorch's on both sides: conv (out, in, height, width), linear (out, in). Names of resnet18, resnet34,
resnet50 are torchvision's, so that their files need no conversion: comhe train --init, comhe eval and comhe grad take
them as they are. Counters of batches are passed over. A .pt file is written by PyTorch alone: save it there with
safetensors.torch.save_file(model.state_dict(), 'w.safetensors').")]
pub struct Convert {
    /// A run folder, or a file of weights
    #[arg(value_name = "DIR|FILE")]
    from: PathBuf,
    /// The new file
    #[arg(value_name = "FILE.npz|.safetensors")]
    to: PathBuf,
    /// Replace OLD by NEW in all names where it begins a part between dots; may be given several times
    #[arg(long, value_name = "OLD=NEW")]
    rename: Vec<String>,
    /// Give weights of 1-d convolutions (out, in, k) a second axis: (out, in, k, 1)
    #[arg(long)]
    conv1d: bool,
    /// Convert numbers [default: as they are]
    #[arg(long, value_enum)]
    dtype: Option<Precision>,
}

impl Convert {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        tensor_file::check_name(&self.to)?;
        let trained = Trained::find(&self.from)?;
        let mut tensors = match trained.file.extension().is_some_and(|e| e == "safetensors") {
            true => trained.archive()?.tensors,
            false => tensor_file::read(&trained.file)?,
        };
        let model: Vec<(String, Tensor)> = tensors
            .iter()
            .filter_map(|(name, t)| Some((name.strip_prefix("model.")?.to_string(), t.clone())))
            .collect();
        // A checkpoint holds a state dict among other things.
        if tensors.iter().any(|(name, _)| name.starts_with("optimizer.")) && !model.is_empty() {
            tensors = model;
        }
        tensors.retain(|(name, _)| !name.ends_with("num_batches_tracked"));
        for rule in &self.rename {
            let Some((old, new)) = rule.split_once('=').filter(|(old, _)| !old.is_empty()) else {
                return Err(Failure::usage(format_args!("--rename {rule} is not OLD=NEW")));
            };
            let mut changed = 0;
            for (name, _) in &mut tensors {
                let renamed = replaced(name, old, new);
                changed += usize::from(renamed != *name);
                *name = renamed;
            }
            if changed == 0 {
                let first = tensors.first().map_or("", |(name, _)| name);
                return Err(Failure::usage(format_args!(
                    "--rename {rule}: no name has {old} (the first is {first})"
                )));
            }
        }
        let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Failure::usage(format_args!("after renaming two tensors are called {}", pair[0])));
        }
        for (_, t) in &mut tensors {
            if self.conv1d && t.rank() == 3 {
                let shape = [t.shape()[0], t.shape()[1], t.shape()[2], 1];
                *t = t.reshape(shape);
            }
            match self.dtype {
                Some(Precision::F32) => *t = t.to_dtype(DType::F32),
                Some(Precision::F64) => *t = t.to_dtype(DType::F64),
                None => {}
            }
        }
        tensor_file::write(&self.to, &tensors)?;
        let numbers: usize = tensors.iter().map(|(_, t)| t.numel()).sum();
        output::line(&format!("{}: {} tensors, {numbers} numbers", self.to.display(), tensors.len()))
    }
}

/// `old` replaced by `new` wherever it stands at the beginning of `name` or behind a dot.
fn replaced(name: &str, old: &str, new: &str) -> String {
    let (mut result, mut rest, mut begins) = (String::new(), name, true);
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(old).filter(|_| begins) {
            result += new;
            rest = after;
            begins = old.ends_with('.');
        } else {
            result.push(first);
            rest = &rest[first.len_utf8()..];
            begins = first == '.';
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn names_change_at_dots_alone() {
        assert_eq!(replaced("module.fc.weight", "module.", ""), "fc.weight");
        assert_eq!(replaced("linear.weight", "linear.", "fc."), "fc.weight");
        assert_eq!(
            replaced("layer1.0.shortcut.0.weight", "shortcut.", "downsample."),
            "layer1.0.downsample.0.weight"
        );
        assert_eq!(replaced("nonlinear.weight", "linear.", "fc."), "nonlinear.weight");
        assert_eq!(replaced("a.a.b", "a.", "c."), "c.c.b");
    }
}
