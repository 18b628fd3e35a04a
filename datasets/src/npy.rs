//! NumPy's .npy arrays of plain numbers, either byte order, C or Fortran order.
//!
//! The format: numpy.org/doc/stable/reference/generated/numpy.lib.format.html.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files;
use crate::zip::Archive;

/// An array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The size of each axis.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub values: Values,
}

/// Elements; integers of every size but bytes are widened.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// uint8.
    U8(Vec<u8>),
    /// Any other integer type.
    I64(Vec<i64>),
    /// float32, or float16 widened.
    F32(Vec<f32>),
    /// float64.
    F64(Vec<f64>),
}

/// Reads a .npy file.
pub fn read(path: &Path) -> Result<Array, Error> {
    decode(&files::read_up_to(files::open(path)?, u64::MAX, path)?, path)
}

/// Reads every array of a .npz archive, in its order.
pub fn read_archive(path: &Path) -> Result<Vec<(String, Array)>, Error> {
    let mut archive = Archive::open(path)?;
    let entries: Vec<String> = archive.names().map(String::from).collect();
    let read = |entry: String| {
        let name = entry.trim_end_matches(".npy").to_string();
        let place = PathBuf::from(format!("{}[{name}]", path.display()));
        Ok((name, decode(&archive.read(&entry)?, &place)?))
    };
    entries.into_iter().map(read).collect()
}

/// The bytes of a .npz archive with these .npy files, by name without ending.
///
/// # Errors
/// If it would be larger than 4 GiB.
pub fn archive(arrays: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>, String> {
    let entries: Vec<(String, Vec<u8>)> =
        arrays.into_iter().map(|(name, bytes)| (format!("{name}.npy"), bytes)).collect();
    crate::zip::write::archive(&entries)
}

/// Reads .npy bytes; `place` is for messages.
pub fn decode(bytes: &[u8], place: &Path) -> Result<Array, Error> {
    let (header, data) = split(bytes, place)?;
    let Header { element, fortran, shape } = header_of(header, place)?;
    let unsupported = || {
        let message =
            format!("element type {element} is not supported; float16, float32, float64 and integers are");
        Error::unusable(place, message)
    };
    let size = match element.get(1..) {
        Some("u1" | "i1") => 1,
        Some("f2" | "u2" | "i2") => 2,
        Some("f4" | "u4" | "i4") => 4,
        Some("f8" | "i8") => 8,
        _ => return Err(unsupported()),
    };
    let expected = shape.iter().fold(size as u128, |n, &d| n.saturating_mul(d as u128));
    if data.len() as u128 != expected {
        return Err(Error::unusable(
            place,
            format_args!(
                "{} bytes of data, but shape {shape:?} of {element} takes {expected}{}",
                data.len(),
                if (data.len() as u128) < expected { " (truncated?)" } else { "" }
            ),
        ));
    }
    let stored = Stored { data, big: element.starts_with('>'), fortran, shape: &shape };
    let values = match &element[1..] {
        "f2" => Values::F32(stored.read(half)),
        "f4" => Values::F32(stored.read(f32::from_le_bytes)),
        "f8" => Values::F64(stored.read(f64::from_le_bytes)),
        "u1" => Values::U8(stored.read(u8::from_le_bytes)),
        "u2" => Values::I64(stored.read(|b| u16::from_le_bytes(b).into())),
        "u4" => Values::I64(stored.read(|b| u32::from_le_bytes(b).into())),
        "i1" => Values::I64(stored.read(|b| i8::from_le_bytes(b).into())),
        "i2" => Values::I64(stored.read(|b| i16::from_le_bytes(b).into())),
        "i4" => Values::I64(stored.read(|b| i32::from_le_bytes(b).into())),
        "i8" => Values::I64(stored.read(i64::from_le_bytes)),
        _ => return Err(unsupported()),
    };
    Ok(Array { shape, values })
}

/// The header's text and the elements' bytes.
fn split<'a>(bytes: &'a [u8], place: &Path) -> Result<(&'a str, &'a [u8]), Error> {
    let (start, length) = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => (10, u16::from_le_bytes([*a, *b]).into()),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize)
        }
        _ => {
            return Err(Error::unusable(
                place,
                "not a .npy array: it does not start with \\x93NUMPY and a version",
            ));
        }
    };
    let Some((header, data)) = bytes[start..].split_at_checked(length) else {
        let end = start + length;
        return Err(Error::unusable(place, format_args!("truncated: the header ends at byte {end}")));
    };
    let header = std::str::from_utf8(header).map_err(|_| no_header(place, "it is not text"))?;
    Ok((header, data))
}

/// What a header says.
struct Header<'a> {
    /// Byte order, kind and size, as in "<f4".
    element: &'a str,
    /// Whether the first axis moves fastest.
    fortran: bool,
    shape: Vec<usize>,
}

/// Reads a header, which is a Python dictionary of three entries in any order.
fn header_of<'a>(text: &'a str, place: &Path) -> Result<Header<'a>, Error> {
    let entry = |key: &str| -> Result<&'a str, Error> {
        let quoted = [format!("'{key}'"), format!("\"{key}\"")];
        let after = quoted.iter().find_map(|key| text.split_once(key.as_str()));
        let value = after.and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
        value.map(str::trim_start).ok_or_else(|| no_header(place, format_args!("it has no {key}")))
    };
    let element = entry("descr")?;
    let element = match element.chars().next() {
        Some(quote @ ('\'' | '"')) => element[1..].split(quote).next().unwrap_or_default(),
        _ => {
            return Err(Error::unusable(
                place,
                "has a structured element type; float16, float32, float64 and integers are read",
            ));
        }
    };
    let order = entry("fortran_order")?;
    let fortran = order.starts_with("True");
    if !fortran && !order.starts_with("False") {
        return Err(no_header(place, "fortran_order is neither True nor False"));
    }
    let tuple = entry("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let sizes = tuple.map(|(sizes, _)| sizes.trim().trim_end_matches(','));
    let size = |size: &str| size.trim().parse::<usize>().ok();
    let shape = match sizes {
        Some("") => Some(Vec::new()),
        Some(sizes) => sizes.split(',').map(size).collect(),
        None => None,
    };
    let shape = shape.ok_or_else(|| no_header(place, "the shape is not a tuple of sizes that fit memory"))?;
    Ok(Header { element, fortran, shape })
}

fn no_header(place: &Path, what: impl std::fmt::Display) -> Error {
    Error::unusable(place, format_args!("not a usable .npy header: {what}"))
}

/// Elements as they lie in a file.
struct Stored<'a> {
    data: &'a [u8],
    big: bool,
    fortran: bool,
    shape: &'a [usize],
}

impl Stored<'_> {
    /// All elements, row-major, each from its bytes in little-endian order.
    fn read<T: Copy, const N: usize>(&self, from: impl Fn([u8; N]) -> T) -> Vec<T> {
        let element = |bytes: &[u8; N]| {
            let mut bytes = *bytes;
            if self.big {
                bytes.reverse();
            }
            from(bytes)
        };
        let stored: Vec<T> = self.data.as_chunks().0.iter().map(element).collect();
        if !self.fortran || self.shape.len() < 2 || stored.is_empty() {
            return stored;
        }
        // In Fortran order the first axis moves fastest.
        let mut strides = vec![1; self.shape.len()];
        for axis in 1..strides.len() {
            strides[axis] = strides[axis - 1] * self.shape[axis - 1];
        }
        let at = |mut i: usize| {
            let mut position = 0;
            for (&d, stride) in self.shape.iter().zip(&strides).rev() {
                position += i % d * stride;
                i /= d;
            }
            position
        };
        (0..stored.len()).map(|i| stored[at(i)]).collect()
    }
}

/// A number of 16 bits: a sign, 5 bits of exponent, 10 of fraction.
fn half(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let (exponent, fraction) = (bits >> 10 & 31, bits & 1023);
    let magnitude = match exponent {
        0 => fraction as f32 * f32::powi(0.5, 24),
        31 if fraction == 0 => f32::INFINITY,
        31 => f32::NAN,
        // The exponent's bias is 15 here and 127 there.
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes of a .npy file, version 1.
    pub(crate) fn encode(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let order = if fortran { "True" } else { "False" };
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        while (11 + header.len()) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    fn numbers<const N: usize>(values: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
        values.into_iter().flatten().collect()
    }

    fn decoded(bytes: &[u8]) -> Result<Array, Error> {
        decode(bytes, Path::new("a.npy"))
    }

    #[test]
    fn every_element_type() {
        let check = |descr: &str, data: Vec<u8>, values: Values| {
            let array = decoded(&encode(descr, false, "(2,)", &data)).unwrap();
            assert_eq!(array, Array { shape: vec![2], values }, "{descr}");
        };
        check("<f4", numbers([1.5f32, -2.0].map(f32::to_le_bytes)), Values::F32(vec![1.5, -2.0]));
        check(">f4", numbers([1.5f32, -2.0].map(f32::to_be_bytes)), Values::F32(vec![1.5, -2.0]));
        check("<f8", numbers([1.5f64, -2.0].map(f64::to_le_bytes)), Values::F64(vec![1.5, -2.0]));
        let halves = numbers([0x3E00u16, 0xC000].map(u16::to_le_bytes));
        check("<f2", halves, Values::F32(vec![1.5, -2.0]));
        let halves = numbers([1u16, 0xFBFF].map(u16::to_be_bytes));
        check(">f2", halves, Values::F32(vec![5.960_464_5e-8, -65504.0]));
        let halves = numbers([0x7C00u16, 0x8000].map(u16::to_le_bytes));
        check("<f2", halves, Values::F32(vec![f32::INFINITY, -0.0]));
        check("|u1", vec![3, 255], Values::U8(vec![3, 255]));
        check("|i1", vec![3, 255], Values::I64(vec![3, -1]));
        check(">i2", numbers([3i16, -1].map(i16::to_be_bytes)), Values::I64(vec![3, -1]));
        check("<i4", numbers([3i32, -1].map(i32::to_le_bytes)), Values::I64(vec![3, -1]));
        check("<i8", numbers([3i64, -1].map(i64::to_le_bytes)), Values::I64(vec![3, -1]));
        check("<u2", numbers([3u16, 65535].map(u16::to_le_bytes)), Values::I64(vec![3, 65535]));
        check("<u4", numbers([3u32, u32::MAX].map(u32::to_le_bytes)), Values::I64(vec![3, 4294967295]));
    }

    #[test]
    fn fortran_order_and_degenerate_shapes() {
        // The 2 x 3 array 0..6, column by column.
        let array = decoded(&encode("|u1", true, "(2, 3)", &[0, 3, 1, 4, 2, 5])).unwrap();
        assert_eq!(array, Array { shape: vec![2, 3], values: Values::U8(vec![0, 1, 2, 3, 4, 5]) });
        assert_eq!(decoded(&encode("|u1", true, "(0, 3)", &[])).unwrap().shape, [0, 3]);
        assert_eq!(decoded(&encode("|u1", false, "()", &[8])).unwrap().values, Values::U8(vec![8]));
    }

    #[test]
    fn broken_arrays_say_how() {
        let fails = |bytes: &[u8], expected: &str| {
            let message = decoded(bytes).unwrap_err().to_string();
            assert!(message.starts_with("a.npy: ") && message.contains(expected), "{message}");
        };
        let good = encode("<f4", false, "(2,)", &[0; 8]);
        fails(b"PK\x03\x04", "not a .npy array");
        fails(&good[..60], "truncated: the header ends at byte");
        fails(&good[..good.len() - 1], "7 bytes of data, but shape [2] of <f4 takes 8 (truncated?)");
        fails(&[&good[..], &[0]].concat(), "9 bytes of data");
        fails(&encode("<c8", false, "(1,)", &[0; 8]), "element type <c8 is not supported");
        fails(&encode("<f16", false, "(1,)", &[0; 16]), "element type <f16 is not supported");
        fails(&encode("|b1", false, "(1,)", &[0]), "element type |b1 is not supported");
        fails(&encode("|O", false, "(1,)", &[0]), "|O");
        fails(&encode("<U3", false, "(1,)", &[0; 12]), "element type <U3 is not supported");
        fails(
            &encode("<f4", false, "(99999999999999999999,)", &[0; 8]),
            "not a tuple of sizes that fit memory",
        );
        fails(&encode("<f4", false, "(0xffffffffff, 0xffffffffff)", &[0; 8]), "not a tuple of sizes");
        fails(&encode("<f4", false, "((((", &[0; 8]), "not a tuple of sizes");
        fails(&encode("<f4", false, "(-2,)", &[0; 8]), "not a tuple of sizes");
        fails(&encode("'<f4'", false, "(2,)", &[0; 8]), "element type  is not supported");
        fails(&encode("<f4", false, "'x'", &[0; 8]), "not a usable .npy header");
        assert!(read(Path::new("/nowhere/a.npy")).unwrap_err().to_string().contains("cannot open it"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn never_panics_on_changed_bytes(at in any::<prop::sample::Index>(), value in any::<u8>()) {
            let mut bytes = encode("<f4", true, "(2, 3)", &[1; 24]);
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = decoded(&bytes);
        }

        #[test]
        fn never_panics_on_any_header(descr in "[<>|=]?[a-zA-Z][0-9]{0,20}", shape in "[-+0-9xfj,'{} :()]{0,60}") {
            let _ = decoded(&encode(&descr, false, &shape, &[1; 24]));
            let _ = decoded(&encode(&descr, true, &format!("({shape})"), &[1; 24]));
        }
    }
}
