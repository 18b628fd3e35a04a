//! The IDX format of the MNIST family: unsigned bytes in any number of dimensions.
//!
//! Big-endian: two zero bytes, a byte for the element type, a byte for the number of dimensions, each
//! dimension as 4 bytes, then the elements, row-major. gzip on top is recognised by its own magic bytes.

use std::io::Read;
use std::path::Path;

use crate::error::Error;
use crate::files;

/// An array of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// The size of each dimension.
    pub dims: Vec<usize>,
    /// The elements, row-major.
    pub data: Vec<u8>,
}

/// Reads an IDX file, packed or not.
pub fn read(path: &Path) -> Result<Idx, Error> {
    decode(files::open(path)?, path)
}

/// Reads unpacked IDX from a stream; `place` is for messages.
pub fn decode(mut stream: impl Read, place: &Path) -> Result<Idx, Error> {
    let magic = files::read_up_to(&mut stream, 4, place)?;
    let &[0, 0, kind, rank @ 1..=8] = &magic[..] else {
        return Err(Error::unusable(
            place,
            format_args!(
                "not an IDX file: it starts with {magic:02x?}, expected 00 00 08 and the number of dimensions"
            ),
        ));
    };
    if kind != 0x08 {
        let name = match kind {
            0x09 => "signed byte",
            0x0b => "16-bit integer",
            0x0c => "32-bit integer",
            0x0d => "32-bit float",
            0x0e => "64-bit float",
            _ => "unknown",
        };
        return Err(Error::unusable(
            place,
            format_args!(
                "IDX element type 0x{kind:02x} ({name}) at byte 2; only 0x08 (unsigned byte) is read"
            ),
        ));
    }
    let header = 4 * u64::from(rank);
    let sizes = files::read_up_to(&mut stream, header, place)?;
    if (sizes.len() as u64) < header {
        let at = 4 + sizes.len();
        return Err(Error::unusable(
            place,
            format_args!("truncated: the header of {rank} dimensions ends at byte {at}"),
        ));
    }
    let dims: Vec<u32> = sizes.chunks(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
    let count = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::from(d))).filter(|&n| n < 1 << 48);
    let Some(count) = count else {
        return Err(Error::unusable(
            place,
            format_args!("the dimensions {dims:?} in the header are too large to be true"),
        ));
    };
    let data = files::read_up_to(&mut stream, count, place)?;
    if (data.len() as u64) < count {
        return Err(Error::unusable(
            place,
            format_args!(
                "truncated: {} of the {count} bytes that its dimensions {dims:?} ask for",
                data.len()
            ),
        ));
    }
    if !files::read_up_to(&mut stream, 1, place)?.is_empty() {
        return Err(Error::unusable(
            place,
            format_args!("is longer than the {count} bytes of its dimensions {dims:?}"),
        ));
    }
    Ok(Idx { dims: dims.into_iter().map(|d| d as usize).collect(), data })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    /// The bytes of an IDX file.
    pub(crate) fn encode(dims: &[usize], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        dims.iter().for_each(|&d| bytes.extend((d as u32).to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn fails(bytes: &[u8], expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-ubyte");
        std::fs::write(&path, bytes).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("x-ubyte") && message.contains(expected), "{message}");
    }

    #[test]
    fn round_trip_packed_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let bytes = encode(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        for contents in [bytes.clone(), gzip(&bytes)] {
            std::fs::write(&path, contents).unwrap();
            assert_eq!(read(&path).unwrap(), Idx { dims: vec![2, 3], data: vec![1, 2, 3, 4, 5, 6] });
        }
        assert_eq!(decode(&encode(&[0, 3], &[])[..], &path).unwrap().data, []);
    }

    #[test]
    fn broken_files_say_where() {
        let good = encode(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        fails(b"", "not an IDX file");
        fails(b"\x89PNG....", "not an IDX file: it starts with [89, 50, 4e, 47]");
        fails(&[0, 0, 0x0d, 1, 0, 0, 0, 0], "0x0d (32-bit float) at byte 2");
        fails(&good[..9], "ends at byte 9");
        fails(&good[..16], "truncated: 4 of the 6 bytes");
        fails(&[&good[..], &[7]].concat(), "is longer than the 6 bytes");
        fails(&[[0, 0, 8, 4].as_slice(), &[255; 16]].concat(), "too large");
        let packed = gzip(&encode(&[50, 50], &(0..2500).map(|i| (i * i % 251) as u8).collect::<Vec<_>>()));
        fails(&packed[..packed.len() / 2], "truncated or corrupt?");
        let mut flipped = packed;
        let end = flipped.len() - 6;
        flipped[end] ^= 1;
        fails(&flipped, "corrupt");
        assert!(
            read(Path::new("/nowhere/x")).unwrap_err().to_string().starts_with("/nowhere/x: cannot open it")
        );
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64), idx in any::<bool>()) {
            let mut bytes = bytes;
            if idx && bytes.len() > 4 {
                bytes[..3].copy_from_slice(&[0, 0, 8]);
            }
            let _ = decode(&bytes[..], Path::new("x"));
        }
    }
}
