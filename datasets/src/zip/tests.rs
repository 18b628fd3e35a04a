use super::*;
use flate2::{Compression, write::DeflateEncoder};
use proptest::prelude::*;
use std::io::Write;

/// How [`encode`] writes the archive.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Style {
    Stored,
    Deflated,
    /// Stored, with every size and offset as a 64-bit field.
    Large,
}

/// The bytes of a zip file.
pub(crate) fn encode(files: &[(&str, &[u8])], style: Style) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let packed = if style == Style::Deflated {
            let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(bytes).unwrap();
            packer.finish().unwrap()
        } else {
            bytes.to_vec()
        };
        let mut crc = Crc::new();
        crc.update(bytes);
        let method = if style == Style::Deflated { 8u16 } else { 0 };
        let large = style == Style::Large;
        let field = |v: usize| if large { u32::MAX } else { v as u32 }.to_le_bytes();
        let offset = out.len();
        let extra: Vec<u8> = if large {
            let values = [bytes.len() as u64, packed.len() as u64, offset as u64];
            [&[9, 9, 2, 0, 0, 0, 1, 0, 24, 0][..], &values.map(u64::to_le_bytes).concat()].concat()
        } else {
            vec![]
        };
        let common = [&[0, 0][..], &method.to_le_bytes(), &[0; 4], &crc.sum().to_le_bytes()].concat();
        let sizes = [field(packed.len()), field(bytes.len())].concat();
        let name_length = (name.len() as u16).to_le_bytes();
        out.extend(
            [&LOCAL[..], &[20, 0], &common, &sizes, &name_length, &[0, 0], name.as_bytes(), &packed].concat(),
        );
        let extra_length = (extra.len() as u16).to_le_bytes();
        directory
            .extend([&DIRECTORY[..], &[20, 0, 20, 0], &common, &sizes, &name_length, &extra_length].concat());
        directory.extend([&[0; 10][..], &field(offset), name.as_bytes(), &extra].concat());
    }
    let (count, size, offset) = (files.len() as u16, directory.len() as u64, out.len() as u64);
    out.extend(&directory);
    if style == Style::Large {
        let end = out.len() as u64;
        let count = u64::from(count);
        out.extend(
            [&END_64[..], &[0; 20], &[count, count, size, offset].map(u64::to_le_bytes).concat()].concat(),
        );
        out.extend([&LOCATOR_64[..], &[0; 4], &end.to_le_bytes(), &[1, 0, 0, 0]].concat());
        out.extend([&END[..], &[0xff; 16], &[0; 2]].concat());
    } else {
        let count = count.to_le_bytes();
        let place = [(size as u32).to_le_bytes(), (offset as u32).to_le_bytes()].concat();
        out.extend([&END[..], &[0; 4], &count, &count, &place, &[3, 0], b"abc"].concat());
    }
    out
}

fn open(bytes: &[u8]) -> (tempfile::TempDir, Result<Archive, Error>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npz");
    std::fs::write(&path, bytes).unwrap();
    let archive = Archive::open(&path);
    (dir, archive)
}

const FILES: [(&str, &[u8]); 2] = [("one.npy", &[7; 300]), ("two.npy", b"abc")];

#[test]
fn round_trip_in_every_style() {
    for style in [Style::Stored, Style::Deflated, Style::Large] {
        let (_dir, archive) = open(&encode(&FILES, style));
        let mut archive = archive.unwrap();
        assert_eq!(archive.names().collect::<Vec<_>>(), ["one.npy", "two.npy"]);
        for (name, bytes) in FILES {
            assert_eq!(archive.read(name).unwrap(), bytes);
        }
        assert!(archive.read("three.npy").unwrap_err().to_string().contains("has no entry three.npy"));
    }
    assert_eq!(open(&encode(&[], Style::Stored)).1.unwrap().names().count(), 0);
}

#[test]
fn broken_archives_say_how() {
    let fails = |bytes: &[u8], expected: &str| {
        let (_dir, archive) = open(bytes);
        let message = archive.and_then(|mut a| a.read("one.npy")).unwrap_err().to_string();
        assert!(message.contains("a.npz: ") && message.contains(expected), "{message}");
    };
    let good = encode(&FILES, Style::Stored);
    let change = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    fails(b"", "not a zip file");
    fails(b"\x93NUMPY", "not a zip file");
    fails(&good[..good.len() - 1], "not a zip file, or truncated");
    fails(&good[100..], "truncated");
    fails(&change(50, 8), "its checksum is");
    fails(&change(0, 0), "entry one.npy is not at byte 0");
    let directory = good.windows(4).position(|w| w == DIRECTORY).unwrap();
    fails(&change(directory, 0), "entry 0 of the directory is corrupt");
    fails(&change(directory + 8, 1), "is encrypted");
    fails(&change(directory + 10, 99), "compression method 99");
    fails(&change(directory + 25, 200), "is truncated: 300 of");
    let mut packed = encode(&FILES, Style::Deflated);
    packed[37..41].fill(0xff);
    fails(&packed, "is corrupt");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn never_panics_on_changed_bytes(large in any::<bool>(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = encode(&FILES, if large { Style::Large } else { Style::Deflated });
        let at = at.index(bytes.len());
        bytes[at] = value;
        let (_dir, archive) = open(&bytes);
        if let Ok(mut archive) = archive {
            FILES.iter().for_each(|(name, _)| drop(archive.read(name)));
        }
    }
}
