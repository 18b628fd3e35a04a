//! NumPy's .npy arrays of plain numbers, either byte order, C or Fortran order.

use std::path::{Path, PathBuf};

use npyz::{DType, Deserialize, NpyFile, Order, TypeChar};

use crate::error::Error;
use crate::files;
use crate::zip::Archive;

/// Far more than the header of an array of plain numbers takes.
const LONGEST_HEADER: usize = 4096;

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
    /// float32.
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

/// Reads .npy bytes; `place` is for messages.
pub fn decode(bytes: &[u8], place: &Path) -> Result<Array, Error> {
    check_header(bytes, place)?;
    let broken = |e: std::io::Error| Error::unusable(place, format_args!("not a usable .npy header: {e}"));
    let mut data = bytes;
    let header = npyz::NpyHeader::from_reader(&mut data).map_err(broken)?;
    let file = NpyFile::with_header(header, data);
    let unsupported = |found: &str| {
        let message = format!("element type {found} is not supported; float32, float64 and integers are");
        Err(Error::unusable(place, message))
    };
    let DType::Plain(element) = file.dtype() else {
        return unsupported(&file.dtype().descr());
    };
    let size = element.num_bytes().unwrap_or(0) as u128;
    let expected = file.shape().iter().map(|&d| u128::from(d)).product::<u128>() * size;
    if data.len() as u128 != expected {
        return Err(Error::unusable(
            place,
            format_args!(
                "{} bytes of data, but shape {:?} of {element} takes {expected}{}",
                data.len(),
                file.shape(),
                if (data.len() as u128) < expected { " (truncated?)" } else { "" }
            ),
        ));
    }
    let shape: Vec<usize> = file.shape().iter().map(|&d| d as usize).collect();
    let values = match (element.type_char(), element.size_field()) {
        (TypeChar::Float, 4) => Values::F32(elements(file, place)?),
        (TypeChar::Float, 8) => Values::F64(elements(file, place)?),
        (TypeChar::Uint, 1) => Values::U8(elements(file, place)?),
        (TypeChar::Uint, 2) => Values::I64(widen(elements::<u16>(file, place)?)),
        (TypeChar::Uint, 4) => Values::I64(widen(elements::<u32>(file, place)?)),
        (TypeChar::Int, 1) => Values::I64(widen(elements::<i8>(file, place)?)),
        (TypeChar::Int, 2) => Values::I64(widen(elements::<i16>(file, place)?)),
        (TypeChar::Int, 4) => Values::I64(widen(elements::<i32>(file, place)?)),
        (TypeChar::Int, 8) => Values::I64(elements(file, place)?),
        _ => return unsupported(&element.to_string()),
    };
    Ok(Array { shape, values })
}

/// Refuses headers that no array of plain numbers has: they are a dictionary with one tuple, the shape, whose
/// element count fits 64 bits by far.
fn check_header(bytes: &[u8], place: &Path) -> Result<(), Error> {
    let length = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => {
            10 + usize::from(u16::from_le_bytes([*a, *b]))
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            12 + u32::from_le_bytes([*a, *b, *c, *d]) as usize
        }
        _ => {
            return Err(Error::unusable(
                place,
                "not a .npy array: it does not start with \\x93NUMPY and a version",
            ));
        }
    };
    if length > LONGEST_HEADER {
        return Err(Error::unusable(
            place,
            format_args!("a header of {length} bytes is not of a plain array"),
        ));
    }
    let Some(header) = bytes.get(10..length) else {
        return Err(Error::unusable(place, format_args!("truncated: the header ends at byte {length}")));
    };
    let count = |c: u8| header.iter().filter(|&&b| b == c).count();
    if count(b'(') > 1 || count(b'[') > 0 || count(b'{') > 1 {
        return Err(Error::unusable(
            place,
            "has a structured element type; float32, float64 and integers are read",
        ));
    }
    let shape = header.split(|&b| b == b'(').nth(1).unwrap_or(&[]);
    let shape = shape.split(|&b| b == b')').next().unwrap_or(&[]);
    let digits = shape.iter().filter(|b| b.is_ascii_digit()).count();
    if digits > 18 || shape.iter().any(|b| !b"0123456789, ".contains(b)) {
        return Err(Error::unusable(
            place,
            format_args!(
                "the shape ({}) is not a tuple of sizes that fit memory",
                String::from_utf8_lossy(shape)
            ),
        ));
    }
    Ok(())
}

/// All elements, row-major.
fn elements<T: Deserialize + Copy>(file: NpyFile<&[u8]>, place: &Path) -> Result<Vec<T>, Error> {
    let (order, shape) = (file.order(), file.shape().to_vec());
    let stored: Vec<T> = file.into_vec().map_err(|e| Error::io(place, "decode", &e))?;
    if order == Order::C || shape.len() < 2 {
        return Ok(stored);
    }
    // In Fortran order the first axis moves fastest.
    let strides: Vec<usize> = shape
        .iter()
        .scan(1, |stride, &d| {
            let this = *stride;
            *stride *= d as usize;
            Some(this)
        })
        .collect();
    let at = |mut i: usize| {
        let mut position = 0;
        for (&d, stride) in shape.iter().zip(&strides).rev() {
            position += i % d as usize * stride;
            i /= d as usize;
        }
        position
    };
    Ok((0..stored.len()).map(|i| stored[at(i)]).collect())
}

fn widen<T: Into<i64>>(values: Vec<T>) -> Vec<i64> {
    values.into_iter().map(Into::into).collect()
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
        fails(&encode("<f2", false, "(1,)", &[0; 2]), "element type <f2 is not supported");
        fails(&encode("|b1", false, "(1,)", &[0]), "element type |b1 is not supported");
        fails(&encode("|O", false, "(1,)", &[0]), "|O");
        fails(&encode("<U3", false, "(1,)", &[0; 12]), "element type <U3 is not supported");
        fails(
            &encode("<f4", false, "(99999999999999999999,)", &[0; 8]),
            "not a tuple of sizes that fit memory",
        );
        fails(&encode("<f4", false, "(0xffffffffff, 0xffffffffff)", &[0; 8]), "not a tuple of sizes");
        fails(&encode("<f4", false, &" ".repeat(5000), &[0; 8]), "is not of a plain array");
        fails(&encode("<f4", false, "((((", &[0; 8]), "structured");
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
