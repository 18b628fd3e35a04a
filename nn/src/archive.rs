//! Named tensors in a file: the safetensors format.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use autograd::{DType, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::Error;

/// The contents of a safetensors file: named tensors and text metadata.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    /// The tensors. A file is read in the order of their names.
    pub tensors: Vec<(String, Tensor)>,
    /// Metadata by key.
    pub metadata: BTreeMap<String, String>,
    /// The names of the tensors that a file held as integers.
    pub integers: BTreeSet<String>,
}

impl Archive {
    /// An archive of these tensors, without metadata.
    pub fn of(tensors: Vec<(String, Tensor)>) -> Archive {
        Archive { tensors, ..Archive::default() }
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(n, _)| n == name).map(|(_, t)| t)
    }

    /// Adds tensors, each name preceded by `prefix` and a dot.
    pub fn add(&mut self, prefix: &str, tensors: impl IntoIterator<Item = (String, Tensor)>) {
        self.tensors.extend(tensors.into_iter().map(|(name, t)| (format!("{prefix}.{name}"), t)));
    }

    /// The tensors whose names start with `prefix` and a dot, without it.
    pub fn part(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let inside = |name: &str| Some(name.strip_prefix(prefix)?.strip_prefix('.')?.to_string());
        self.tensors.iter().filter_map(|(name, t)| Some((inside(name)?, t.clone()))).collect()
    }

    /// The bytes of the file, which are the same for equal archives.
    ///
    /// # Errors
    /// If a name comes twice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut tensors: Vec<&(String, Tensor)> = self.tensors.iter().collect();
        // Larger element types first, so that every tensor is aligned; then by name.
        tensors.sort_by_key(|(name, t)| (std::cmp::Reverse(t.dtype().bytes()), name.clone()));
        let mut header: Vec<String> = Vec::new();
        if !self.metadata.is_empty() {
            let text: Vec<String> =
                self.metadata.iter().map(|(k, v)| format!("{}:{}", json(k), json(v))).collect();
            header.push(format!("\"__metadata__\":{{{}}}", text.join(",")));
        }
        let mut names = HashSet::new();
        let mut data: Vec<u8> = Vec::new();
        for (name, t) in tensors {
            if !names.insert(name) || name == "__metadata__" {
                return Err(Error::Format(format!("a tensor cannot be named {name:?}: the name is taken")));
            }
            let start = data.len();
            let dtype = match t.dtype() {
                DType::F32 => {
                    t.data::<f32>().iter().for_each(|v| data.extend(v.to_le_bytes()));
                    "F32"
                }
                DType::F64 => {
                    t.data::<f64>().iter().for_each(|v| data.extend(v.to_le_bytes()));
                    "F64"
                }
            };
            let (name, shape, end) = (json(name), t.shape(), data.len());
            header.push(format!(
                "{name}:{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}"
            ));
        }
        let mut header = format!("{{{}}}", header.join(","));
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.into_bytes());
        bytes.extend(data);
        Ok(bytes)
    }

    /// Reads the bytes of a file. Tensors of halves and short integers become f32; 32- and 64-bit integers
    /// become f64.
    ///
    /// # Errors
    /// If the bytes are not a safetensors file, or a tensor has more than six axes or an unsupported element type.
    pub fn from_bytes(bytes: &[u8]) -> Result<Archive, Error> {
        let not = |e: &dyn std::fmt::Display| Error::Format(format!("not a safetensors file: {e}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| not(&e))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| not(&e))?;
        let (mut tensors, mut integers) = (Vec::with_capacity(file.len()), BTreeSet::new());
        for (name, view) in file.iter() {
            tensors.push((name.to_string(), tensor(name, &view)?));
            if !matches!(view.dtype(), Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                integers.insert(name.to_string());
            }
        }
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(Archive { tensors, metadata, integers })
    }

    /// Writes the file atomically: see [`write_atomic`].
    ///
    /// # Errors
    /// If a name comes twice or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        write_atomic(path, &self.to_bytes().map_err(|e| e.in_file(path))?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or as [`Archive::from_bytes`].
    pub fn load(path: impl AsRef<Path>) -> Result<Archive, Error> {
        let path = path.as_ref();
        let bytes = fs::read(path)
            .map_err(|e| Error::File { path: path.to_path_buf(), problem: format!("cannot be read: {e}") })?;
        Archive::from_bytes(&bytes).map_err(|e| e.in_file(path))
    }
}

fn tensor(name: &str, view: &TensorView<'_>) -> Result<Tensor, Error> {
    let (shape, data) = (view.shape(), view.data());
    if shape.len() > autograd::MAX_RANK {
        let most = autograd::MAX_RANK;
        return Err(Error::Format(format!(
            "tensor {name:?} has {} axes; at most {most} are supported",
            shape.len()
        )));
    }
    let small =
        |decode: fn([u8; 2]) -> f32| -> Vec<f32> { data.as_chunks().0.iter().map(|b| decode(*b)).collect() };
    Ok(match view.dtype() {
        Dtype::F32 => Tensor::new(&decode(data, f32::from_le_bytes), shape),
        Dtype::F64 => Tensor::new(&decode(data, f64::from_le_bytes), shape),
        Dtype::BF16 => Tensor::new(&small(|b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)), shape),
        Dtype::F16 => Tensor::new(&small(|b| from_f16(u16::from_le_bytes(b))), shape),
        Dtype::I64 => Tensor::new(&decode(data, |b| i64::from_le_bytes(b) as f64), shape),
        Dtype::I32 => Tensor::new(&decode(data, |b| f64::from(i32::from_le_bytes(b))), shape),
        Dtype::I16 => Tensor::new(&decode(data, |b| f32::from(i16::from_le_bytes(b))), shape),
        Dtype::I8 => Tensor::new(&decode(data, |[b]| f32::from(b as i8)), shape),
        Dtype::U8 | Dtype::BOOL => Tensor::new(&decode(data, |[b]| f32::from(b)), shape),
        other => {
            return Err(Error::Format(format!(
                "tensor {name:?} is of type {other}; f32, f64, f16, bf16, i64, i32, i16, i8, u8 and bool can be read"
            )));
        }
    })
}

/// A string as JSON writes it.
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|u| out += &format!("\\u{u:04x}"))
            }
            c => out.push(c),
        }
    }
    out + "\""
}

fn decode<const N: usize, T>(data: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks().0.iter().map(|b| f(*b)).collect()
}

/// An IEEE half: 1 sign, 5 exponent and 10 fraction bits.
fn from_f16(half: u16) -> f32 {
    let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(half >> 10 & 31), f32::from(half & 1023));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        e => (1024.0 + fraction) * 2f32.powi(e - 25),
    }
}

/// Writes a file atomically: the file is never incomplete, even after a crash. The bytes are written to a temporary
/// file in the same folder, which is renamed once they are on the disk.
///
/// # Errors
/// If the folder is missing or not writable, or the disk is full; an existing file is then unchanged.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // The rename is durable only after the folder is synced; not every system can open a folder.
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
    };
    write().map_err(|e: std::io::Error| {
        let _ = fs::remove_file(&temporary);
        Error::File { path: path.to_path_buf(), problem: format!("cannot be written: {e}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Archive {
        let mut a = Archive::of(vec![
            ("w".into(), Tensor::from([[1.0f32, -2.5], [f32::MIN_POSITIVE, 0.1]])),
            ("deep.name.ü".into(), Tensor::from([1.0f64, f64::MAX, -0.0])),
            ("scalar".into(), Tensor::from(4.0f64)),
            ("none".into(), Tensor::zeros([0, 3], DType::F32)),
        ]);
        a.metadata.insert("step".into(), "7".into());
        a.metadata.insert("text".into(), "a \"quoted\" \\ line\nand\tmore \u{7f} 😀".into());
        a
    }

    fn assert_same(a: &Archive, b: &Archive) {
        assert_eq!(a.metadata, b.metadata);
        assert_eq!(a.tensors.len(), b.tensors.len());
        for (name, t) in &a.tensors {
            let u = b.get(name).unwrap();
            assert_eq!((t.shape(), t.dtype()), (u.shape(), u.dtype()), "{name}");
            let bits = |t: &Tensor| t.to_vec::<f64>().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(t), bits(u), "{name}");
        }
    }

    #[test]
    fn bytes_and_files_come_back_as_they_were() {
        let a = example();
        let bytes = a.to_bytes().unwrap();
        assert_same(&a, &Archive::from_bytes(&bytes).unwrap());
        assert_eq!(bytes, Archive::from_bytes(&bytes).unwrap().to_bytes().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        a.save(&path).unwrap();
        a.save(&path).unwrap(); // over itself
        assert_same(&a, &Archive::load(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
        assert_same(
            &Archive::default(),
            &Archive::from_bytes(&Archive::default().to_bytes().unwrap()).unwrap(),
        );
    }

    #[test]
    fn parts_have_prefixes() {
        let mut a = Archive::default();
        a.add("model", vec![("fc.weight".to_string(), Tensor::from(1.0))]);
        a.add("model2", vec![("fc.weight".to_string(), Tensor::from(2.0))]);
        assert_eq!(a.part("model").len(), 1);
        assert_eq!(a.part("model")[0].0, "fc.weight");
    }

    #[test]
    fn names_must_differ() {
        let mut a = example();
        a.tensors.push(("w".into(), Tensor::from(1.0)));
        assert!(a.to_bytes().unwrap_err().to_string().contains("\"w\""));
    }

    #[test]
    fn every_corruption_is_an_error() {
        let bytes = example().to_bytes().unwrap();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for cut in [0, 4, 8, 9, header - 1, header, bytes.len() - 1] {
            let error = Archive::from_bytes(&bytes[..cut]).unwrap_err().to_string();
            assert!(error.starts_with("not a safetensors file"), "{error}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Archive::from_bytes(&longer).is_err());
        let mut huge = bytes.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Archive::from_bytes(&huge).is_err());
        let swap = |from: &str, to: &str| {
            let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
            let mut bytes = bytes.clone();
            bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
            Archive::from_bytes(&bytes)
        };
        assert!(swap("\"F32\"", "\"F31\"").is_err());
        assert!(swap("\"shape\":[2, 2]", "\"shape\":[2, 3]").is_err());
        assert!(swap("{\"dtype\"", "[\"dtype\"").is_err());
    }

    #[test]
    fn files_that_cannot_be_name_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no-folder/a.safetensors");
        for error in [example().save(&missing).unwrap_err(), Archive::load(&missing).unwrap_err()] {
            assert!(error.to_string().contains("no-folder/a.safetensors: cannot be "), "{error}");
        }
    }

    #[test]
    fn other_number_types_are_converted() {
        let file = |dtype, shape: Vec<usize>, data: &[u8]| {
            let view = TensorView::new(dtype, shape, data).unwrap();
            Archive::from_bytes(&safetensors::serialize([("x", view)], None).unwrap())
        };
        let values = |dtype, data: &[u8], n| file(dtype, vec![n], data).unwrap().tensors[0].1.to_vec::<f64>();
        assert_eq!(values(Dtype::I64, &(-3i64).to_le_bytes(), 1), [-3.0]);
        assert_eq!(values(Dtype::U8, &[1, 255], 2), [1.0, 255.0]);
        assert_eq!(values(Dtype::BF16, &[0x80, 0x3f, 0x20, 0xc0], 2), [1.0, -2.5]);
        let halves = [0x3c00u16, 0xc100, 0x0001, 0x7bff, 0x8000].map(u16::to_le_bytes);
        assert_eq!(values(Dtype::F16, halves.as_flattened(), 5), [1.0, -2.5, 2f64.powi(-24), 65504.0, 0.0]);
        assert!(from_f16(0x7c01).is_nan() && from_f16(0xfc00) == f32::NEG_INFINITY);
        let error = file(Dtype::U64, vec![1], &[0; 8]).unwrap_err().to_string();
        assert!(error.contains("\"x\"") && error.contains("U64"), "{error}");
        assert!(file(Dtype::U8, vec![1; 7], &[0]).unwrap_err().to_string().contains("7 axes"));
    }
}
