//! Runs the command as a user would.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a run of the command gave.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// The command, without a data folder from the environment.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_comhe"));
    command.env_remove("COMHE_DATA").stdin(Stdio::null());
    command
}

/// Runs the command in a folder.
pub fn comhe_in(folder: &Path, arguments: &[impl AsRef<OsStr>]) -> Ran {
    let output = command().current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs the command with arguments separated by spaces; it must succeed.
pub fn succeeds(folder: &Path, arguments: &str) -> Ran {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let ran = comhe_in(folder, &arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
    ran
}

/// Runs the command with arguments separated by spaces; it must refuse them with one line, which is returned.
pub fn refuses(folder: &Path, arguments: &str) -> String {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let ran = comhe_in(folder, &arguments);
    assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
    assert_eq!(ran.err.lines().count(), 1, "{arguments:?}: one line, not {}", ran.err);
    assert!(ran.err.starts_with("comhe: ") && ran.out.is_empty(), "{arguments:?}: {ran:?}");
    ran.err.trim().to_string()
}

/// The values of a key in the lines of a log that have it.
pub fn column(log: &str, key: &str) -> Vec<f64> {
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter_map(|line| line[key].as_f64()).collect()
}

/// The numbers of a name, as the fixtures have them: FNV-1a and splitmix64, in [0, 1).
pub fn uniform(name: &str) -> impl Iterator<Item = f64> {
    let h =
        name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    (1u64..).map(move |i| {
        let mut z = h.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    })
}

/// The same in [-1, 1).
pub fn formula(name: &str, n: usize) -> Vec<f64> {
    uniform(name).take(n).map(|u| 2.0 * u - 1.0).collect()
}

/// The folder of the fixtures.
pub fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// A .npy file of doubles.
pub fn npy(path: &Path, shape: &[usize], values: &[f64]) {
    std::fs::write(path, npy_bytes("<f8", shape, values.iter().flat_map(|v| v.to_le_bytes()))).unwrap();
}

/// The bytes of a .npy file of an element type.
pub fn npy_bytes(descr: &str, shape: &[usize], data: impl Iterator<Item = u8>) -> Vec<u8> {
    let dims: String = shape.iter().map(|d| format!("{d}, ")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

/// A zip file of stored entries, which a .npz is.
pub fn zip(path: &Path, entries: &[(&str, Vec<u8>)]) {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let offset = file.len() as u32;
        // Version, flags, method, time, date; checksum; sizes; lengths of name and extra.
        let mut header = [20u16, 0, 0, 0, 0].map(u16::to_le_bytes).concat();
        let numbers = [crc.sum(), data.len() as u32, data.len() as u32, name.len() as u32];
        header.extend(numbers.map(u32::to_le_bytes).concat());
        file.extend(b"PK\x03\x04");
        file.extend(&header);
        file.extend(name.bytes().chain(data.iter().copied()));
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&header);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.bytes());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let end = [directory.len() as u32, file.len() as u32].map(u32::to_le_bytes).concat();
    file.extend(&directory);
    file.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &end, &[0, 0]].concat());
    std::fs::write(path, file).unwrap();
}
