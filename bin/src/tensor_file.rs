//! Tensors in files of other programs: .npy, .npz and .safetensors.

use std::path::{Path, PathBuf};

use autograd::{DType, Tensor};
use datasets::npy::{Array, Values};
use nn::{Archive, write_atomic};

use crate::failure::Failure;
use crate::run_folder;

/// The named tensors of a file; that of a .npy is named after the file.
pub fn read(path: &Path) -> Result<Vec<(String, Tensor)>, Failure> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("npy") => {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Ok(vec![(name, tensor(datasets::npy::read(path)?, path)?)])
        }
        Some("npz") => datasets::npy::read_archive(path)?
            .into_iter()
            .map(|(name, array)| Ok((name, tensor(array, path)?)))
            .collect(),
        Some("safetensors") => Ok(run_folder::load(path)?.tensors),
        _ => {
            Err(Failure::place(path, "is of no known kind: its name must end in .npy, .npz or .safetensors"))
        }
    }
}

/// The named arrays of a file, with their element types as far as integers and floats differ.
pub fn arrays(path: &Path) -> Result<Vec<(String, Array)>, Failure> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("npz") => Ok(datasets::npy::read_archive(path)?),
        Some("safetensors") => {
            let archive = run_folder::load(path)?;
            let array = |(name, t): &(String, Tensor)| {
                let values = match (archive.integers.contains(name), t.dtype()) {
                    (true, _) => Values::I64(t.to_vec::<f64>().into_iter().map(|v| v as i64).collect()),
                    (_, DType::F32) => Values::F32(t.to_vec()),
                    (_, DType::F64) => Values::F64(t.to_vec()),
                };
                (name.clone(), Array { shape: t.shape().to_vec(), values })
            };
            Ok(archive.tensors.iter().map(array).collect())
        }
        _ => Err(Failure::place(path, "is of no known kind: its name must end in .npz or .safetensors")),
    }
}

/// The one tensor of a .npy file, in a dtype.
pub fn read_npy(path: &Path, dtype: DType) -> Result<Tensor, Failure> {
    Ok(tensor(datasets::npy::read(path)?, path)?.to_dtype(dtype))
}

/// An array as a tensor.
pub fn tensor(array: Array, path: &Path) -> Result<Tensor, Failure> {
    let Array { shape, values } = array;
    if shape.len() > autograd::MAX_RANK {
        let problem =
            format!("an array has {} axes; at most {} are supported", shape.len(), autograd::MAX_RANK);
        return Err(Failure::place(path, problem));
    }
    let widened = |v: Vec<i64>| v.into_iter().map(|v| v as f64).collect::<Vec<_>>();
    Ok(match values {
        Values::F32(v) => Tensor::new(&v, &shape[..]),
        Values::F64(v) => Tensor::new(&v, &shape[..]),
        Values::U8(v) => Tensor::new(&widened(v.into_iter().map(i64::from).collect()), &shape[..]),
        Values::I64(v) => Tensor::new(&widened(v), &shape[..]),
    })
}

/// Whether a file of this name can be written by [`write`].
pub fn check_name(path: &Path) -> Result<(), Failure> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("npz" | "safetensors") => Ok(()),
        _ => Err(Failure::place(
            path,
            "is of no kind that is written here: its name must end in .npz or .safetensors",
        )),
    }
}

/// Makes sure that no file that is written, each with the flag that names it, is one of those that are read, or another one
/// that is written.
pub fn check_apart(
    read: &[(&str, Option<&PathBuf>)],
    written: &[(&str, Option<&PathBuf>)],
) -> Result<(), Failure> {
    // A file that does not exist yet is known by its folder.
    let whole = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let inside = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
        path.canonicalize().ok().or_else(inside).unwrap_or_else(|| path.to_path_buf())
    };
    let mut taken: Vec<(&str, PathBuf)> = Vec::new();
    for (i, (flag, path)) in read.iter().chain(written).enumerate() {
        let Some(path) = path else { continue };
        let file = whole(path);
        if let Some((other, _)) = taken.iter().find(|(_, known)| i >= read.len() && *known == file) {
            return Err(Failure::place(
                path,
                format_args!("is both {other} and {flag}; what is written needs a file of its own"),
            ));
        }
        taken.push((flag, file));
    }
    Ok(())
}

/// Writes named tensors as .npz or .safetensors, by the ending of the name; whole or not at all.
pub fn write(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), Failure> {
    check_name(path)?;
    if path.extension().is_some_and(|e| e == "safetensors") {
        return Ok(Archive::of(tensors.to_vec()).save(path)?);
    }
    let arrays = tensors.iter().map(|(name, t)| (name.clone(), npy(t))).collect();
    let bytes = datasets::npy::archive(arrays).map_err(|e| Failure::place(path, e))?;
    Ok(write_atomic(path, &bytes)?)
}

/// Writes a tensor as .npy (version 1.0, little-endian, C order), whole or not at all.
pub fn write_npy(path: &Path, t: &Tensor) -> Result<(), Failure> {
    Ok(write_atomic(path, &npy(t))?)
}

fn npy(t: &Tensor) -> Vec<u8> {
    let dims: Vec<String> = t.shape().iter().map(usize::to_string).collect();
    let shape = match dims.as_slice() {
        [one] => format!("({one},)"),
        more => format!("({})", more.join(", ")),
    };
    let descr = if t.dtype() == DType::F32 { "<f4" } else { "<f8" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // The data begin at a multiple of 64 bytes, behind a line break.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.into_bytes());
    match t.dtype() {
        DType::F32 => t.data::<f32>().iter().for_each(|v| bytes.extend(v.to_le_bytes())),
        DType::F64 => t.data::<f64>().iter().for_each(|v| bytes.extend(v.to_le_bytes())),
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        for shape in [&[][..], &[3], &[2, 3], &[2, 1, 3, 2], &[0, 4]] {
            for dtype in [DType::F32, DType::F64] {
                let t = Tensor::from_fn(shape, dtype, |i| i as f64 / 8.0 - 1.0);
                write_npy(&path, &t).unwrap();
                let (name, back) = read(&path).unwrap().remove(0);
                assert_eq!((name.as_str(), back.shape(), back.dtype()), ("a", t.shape(), dtype));
                assert_eq!(back.to_vec::<f64>(), t.to_vec::<f64>());
                assert_eq!(npy(&t).len() % 64, t.numel() * dtype.bytes() % 64);
            }
        }
    }

    #[test]
    fn other_files_are_refused_with_their_name() {
        let message = |name: &str| read(Path::new(name)).unwrap_err().message().unwrap().to_string();
        assert!(message("a.txt").contains("a.txt: is of no known kind"));
        assert!(message("/none/a.npy").contains("/none/a.npy"));
        assert!(message("/none/a.npz").contains("/none/a.npz"));
        assert!(message("/none/a.safetensors").contains("/none/a.safetensors"));
    }
}
