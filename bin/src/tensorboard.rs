//! TensorBoard's event files: records of TFRecord's framing, each a protobuf message `Event`.
//!
//! A record is its length (u64, little-endian), the masked CRC-32C of those eight bytes, the message, and the masked
//! CRC-32C of the message. Of the messages (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto)
//! these fields are written: Event { 1: wall_time, 2: step, 3: file_version, 5: summary, 7: session_log },
//! Summary { 1: repeated value }, Value { 1: tag, 2: simple_value }, SessionLog { 1: status }.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::run_folder::unwritten;

const PREFIX: &str = "events.out.tfevents.";

/// An event file that is being written.
pub struct Events {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Events {
    /// Whether a folder has event files.
    pub fn exist(folder: &Path) -> bool {
        let named = |entry: std::io::Result<fs::DirEntry>| {
            entry.is_ok_and(|e| e.file_name().to_string_lossy().starts_with(PREFIX))
        };
        fs::read_dir(folder).is_ok_and(|mut entries| entries.any(named))
    }

    /// A new file in a folder, behind all others there: readers take them in the order of their names. If there
    /// are, what those have of step `from` and later is void.
    pub fn create(folder: &Path, from: Option<u64>) -> Result<Events, Failure> {
        let mut seconds = now() as u64;
        let named = |seconds: u64| folder.join(format!("{PREFIX}{seconds:010}.comhe"));
        while named(seconds).exists() {
            seconds += 1;
        }
        let path = named(seconds);
        let file = BufWriter::new(File::create(&path).map_err(|e| unwritten(&path, &e))?);
        let mut events = Events { path, file };
        events.record(&message(0, |m| bytes(m, 3, b"brain.Event:2")))?;
        if let Some(from) = from {
            const START: u64 = 1;
            events.record(&message(from, |m| {
                let mut log = Vec::new();
                number(&mut log, 1, START);
                bytes(m, 7, &log);
            }))?;
        }
        events.flush()?;
        Ok(events)
    }

    /// The numbers of a line of the log, as one event.
    pub fn line(&mut self, line: &Map<String, Value>) -> Result<(), Failure> {
        let step = line.get("step").and_then(Value::as_u64).unwrap_or(0);
        let values = scalars(line);
        if values.is_empty() {
            return Ok(());
        }
        self.record(&message(step, |m| {
            let mut summary = Vec::new();
            for (tag, value) in &values {
                let mut entry = Vec::new();
                bytes(&mut entry, 1, tag.as_bytes());
                key(&mut entry, 2, 5);
                entry.extend((*value as f32).to_le_bytes());
                bytes(&mut summary, 1, &entry);
            }
            bytes(m, 5, &summary);
        }))
    }

    fn record(&mut self, message: &[u8]) -> Result<(), Failure> {
        let mut record = (message.len() as u64).to_le_bytes().to_vec();
        record.extend(masked(&record).to_le_bytes());
        record.extend(message);
        record.extend(masked(message).to_le_bytes());
        self.file.write_all(&record).map_err(|e| unwritten(&self.path, &e))
    }

    /// Gives all to the system.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.file.flush().map_err(|e| unwritten(&self.path, &e))
    }
}

/// The tags and values of a line: train/loss, test/acc, full/conv1, ...
fn scalars(line: &Map<String, Value>) -> Vec<(String, f64)> {
    let mut values = Vec::new();
    for (key, value) in line.iter().filter(|(key, _)| !["step", "epoch"].contains(&key.as_str())) {
        if let Some(number) = value.as_f64() {
            let tag = key.strip_prefix("test_").map_or(format!("train/{key}"), |key| format!("test/{key}"));
            values.push((tag, number));
        }
    }
    for layer in line.get("layers").and_then(Value::as_array).into_iter().flatten() {
        let name = layer["name"].as_str().unwrap_or_default();
        let constant = ["n", "d", "weight"];
        for (key, value) in layer.as_object().into_iter().flatten() {
            if let Some(number) = value.as_f64().filter(|_| !constant.contains(&key.as_str())) {
                values.push((format!("{key}/{name}"), number));
            }
        }
    }
    values
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// An event with its time, its step, and what `fill` adds.
fn message(step: u64, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = Vec::new();
    key(&mut message, 1, 1);
    message.extend(now().to_le_bytes());
    number(&mut message, 2, step);
    fill(&mut message);
    message
}

/// A field's number and wire type (0 varint, 1 eight bytes, 2 counted bytes, 5 four bytes).
fn key(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    key(out, field, 0);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    key(out, field, 2);
    varint(out, content.len() as u64);
    out.extend(content);
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// TFRecord's mask: a checksum of data that hold checksums would be weak.
fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Castagnoli's polynomial, reflected; a table of what a byte does.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ (if crc & 1 == 1 { 0x82f6_3b78 } else { 0 });
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc: u32, &byte| crc >> 8 ^ TABLE[(crc as u8 ^ byte) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4, and the catalogue's check value.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn numbers_are_varints() {
        let mut out = Vec::new();
        varint(&mut out, 300);
        assert_eq!(out, [0xac, 0x02]);
    }

    #[test]
    fn tags_are_grouped() {
        let line = r#"{"step":3,"epoch":1,"loss":2.0,"test_acc":0.5,"layers":[{"name":"fc1","n":4,"full":1.5,"penalty":null}]}"#;
        let tags = scalars(&serde_json::from_str(line).unwrap());
        let expected = [("train/loss", 2.0), ("test/acc", 0.5), ("full/fc1", 1.5)];
        assert_eq!(tags, expected.map(|(tag, value)| (tag.to_string(), value)));
    }
}
