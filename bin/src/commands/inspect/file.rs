//! The tensors of a file, a line each.

use std::path::Path;

use autograd::{DType, Tensor};
use comhe::{Energy, smallest_angle};
use nn::global_norm;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::{self, Table};
use crate::run_folder::Trained;
use crate::tensor_file;

/// What is said of a tensor.
#[derive(Serialize)]
struct Line {
    name: String,
    /// As the file has it.
    dtype: String,
    shape: Vec<usize>,
    norm: f64,
    min: f64,
    max: f64,
    finite: bool,
    /// Mean hyperspherical energies and smallest angle in radians, of weights.
    full: Option<f64>,
    half_space: Option<f64>,
    smallest_angle: Option<f64>,
}

/// Prints a table of the tensors of a run folder or file, and the file's own texts.
pub fn show(path: &Path, json: bool) -> Result<(), Failure> {
    let trained = Trained::find(path)?;
    let file = &trained.file;
    let (tensors, dtypes, texts) = match file.extension().is_some_and(|e| e == "safetensors") {
        true => {
            let archive = trained.archive()?;
            (archive.tensors, dtypes(file), archive.metadata)
        }
        false => (tensor_file::read(file)?, Value::Null, Default::default()),
    };
    let lines: Vec<Line> = tensors.iter().map(|(name, t)| line(name, t, &dtypes)).collect();
    if json {
        return lines.iter().try_for_each(output::json);
    }
    let head = [
        "tensor",
        "dtype",
        "shape",
        "norm",
        "min",
        "max",
        "finite",
        "energy",
        "half-space",
        "smallest angle",
    ];
    let mut table = Table::new(head);
    let digits = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:.4}"));
    for l in &lines {
        let angle = l.smallest_angle.map_or(String::new(), |a| format!("{:.1}", a.to_degrees()));
        let finite = if l.finite { "yes" } else { "NO" };
        let [norm, min, max] = [l.norm, l.min, l.max].map(|v| format!("{v:.4}"));
        let shape = format!("{:?}", l.shape);
        let numbers = [shape, norm, min, max, finite.into(), digits(l.full), digits(l.half_space), angle];
        table.row([l.name.clone(), l.dtype.clone()].into_iter().chain(numbers));
    }
    let count: usize = tensors.iter().map(|(_, t)| t.numel()).sum();
    output::line(&format!("{}: {} tensors, {count} numbers\n", file.display(), lines.len()))?;
    output::line(&table.text())?;
    if !texts.is_empty() {
        output::line("\nmetadata")?;
        texts.iter().try_for_each(|(key, text)| output::line(&format!("  {key}: {text}")))?;
    }
    Ok(())
}

fn line(name: &str, t: &Tensor, dtypes: &Value) -> Line {
    let values = t.to_vec::<f64>();
    let least =
        |sign: f64| values.iter().fold(f64::INFINITY, |m, v| if v.is_nan() { m } else { m.min(sign * v) });
    let finite = t.is_finite();
    // A bias has no neurons to spread, and a momentum or projection is none.
    let kept = ["optimizer.", "regulariser.", "watch."].iter().any(|part| name.starts_with(part));
    let weight = finite && !kept && [2, 4].contains(&t.rank()) && t.numel() > 0;
    let energy = |half_space| {
        let energy = Energy { half_space, ..Energy::default() };
        weight.then(|| energy.of(t).ok().map(|e| e.item())).flatten()
    };
    Line {
        name: name.into(),
        dtype: dtypes[name]["dtype"].as_str().map_or_else(
            || if t.dtype() == DType::F32 { "F32".into() } else { "F64".into() },
            str::to_string,
        ),
        shape: t.shape().to_vec(),
        norm: global_norm([t].into_iter()),
        min: least(1.0),
        max: -least(-1.0),
        finite,
        full: energy(false),
        half_space: energy(true),
        smallest_angle: weight.then(|| smallest_angle(t).ok().flatten()).flatten(),
    }
}

/// The header of a safetensors file that has been read: eight bytes of length, then JSON with each tensor's type.
fn dtypes(file: &Path) -> Value {
    let bytes = std::fs::read(file).unwrap_or_default();
    let length = bytes.first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b) as usize);
    bytes
        .get(8..8usize.saturating_add(length))
        .and_then(|text| serde_json::from_slice(text).ok())
        .unwrap_or_default()
}
