//! Just enough of the zip format for .npz files: stored or deflated entries, found by the central directory.
//!
//! Layout (little-endian): entries, each behind a local header; the central directory, one header an entry;
//! the end record, which says where the directory is. Fields of all ones stand for 64-bit values kept elsewhere.

pub mod write;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::error::Error;

const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const DIRECTORY: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";

/// An open archive.
pub(crate) struct Archive {
    file: File,
    place: PathBuf,
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    encrypted: bool,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
}

impl Archive {
    /// Opens a zip file and reads its directory.
    pub(crate) fn open(path: &Path) -> Result<Archive, Error> {
        let file = File::open(path).map_err(|e| Error::io(path, "open", &e))?;
        let mut archive = Archive { file, place: path.to_owned(), entries: Vec::new() };
        archive.read_directory()?;
        Ok(archive)
    }

    /// The names of the entries.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|e| e.name.as_str())
    }

    /// Unpacks an entry and checks its size and checksum.
    pub(crate) fn read(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        let found = self.entries.iter().find(|e| e.name == name);
        let Some(&Entry { encrypted, method, crc, packed, size, offset, .. }) = found else {
            return Err(self.bad(format!("has no entry {name}")));
        };
        if encrypted {
            return Err(self.bad(format!("entry {name} is encrypted")));
        }
        let local = self.bytes(offset, 30)?;
        if local[..4] != LOCAL {
            return Err(self.bad(format!("entry {name} is not at byte {offset}, where the directory says")));
        }
        let data = offset + 30 + u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
        self.file.seek(SeekFrom::Start(data)).map_err(|e| Error::io(&self.place, "read", &e))?;
        let stream = (&self.file).take(packed);
        let mut bytes = Vec::new();
        let unpacked = match method {
            0 => stream.take(size).read_to_end(&mut bytes),
            8 => DeflateDecoder::new(stream).take(size).read_to_end(&mut bytes),
            _ => {
                let message =
                    format!("entry {name} has compression method {method}; only 0 and 8 (deflate) are read");
                return Err(self.bad(message));
            }
        };
        if let Err(e) = unpacked {
            return Err(self.bad(format!("entry {name} is corrupt after byte {}: {e}", bytes.len())));
        }
        if bytes.len() as u64 != size {
            return Err(self.bad(format!("entry {name} is truncated: {} of {size} bytes", bytes.len())));
        }
        let mut check = Crc::new();
        check.update(&bytes);
        if check.sum() != crc {
            return Err(self.bad(format!(
                "entry {name} is corrupt: its checksum is {:08x}, not {crc:08x}",
                check.sum()
            )));
        }
        Ok(bytes)
    }

    fn read_directory(&mut self) -> Result<(), Error> {
        let length = self.file.metadata().map_err(|e| Error::io(&self.place, "read", &e))?.len();
        // The end record is 22 bytes and a comment of up to 65,535.
        let start = length.saturating_sub(22 + 65_535);
        let tail = self.bytes(start, (length - start) as usize)?;
        let is_end = |&at: &usize| {
            tail[at..at + 4] == END && at + 22 + usize::from(u16_at(&tail, at + 20)) == tail.len()
        };
        let Some(at) = (0..(tail.len() + 1).saturating_sub(22)).rev().find(is_end) else {
            return Err(self.bad("not a zip file, or truncated: it has no end record".into()));
        };
        let mut count = u64::from(u16_at(&tail, at + 10));
        let mut size = u64::from(u32_at(&tail, at + 12));
        let mut offset = u64::from(u32_at(&tail, at + 16));
        if at >= 20 && tail[at - 20..at - 16] == LOCATOR_64 {
            let end = self.bytes(u64_at(&tail, at - 12), 56)?;
            if end[..4] != END_64 {
                return Err(self.bad("the 64-bit end record is not where its locator says".into()));
            }
            (count, size, offset) = (u64_at(&end, 32), u64_at(&end, 40), u64_at(&end, 48));
        }
        if size > length || offset > length - size {
            return Err(
                self.bad(format!("truncated: the directory at byte {offset} is beyond the end, {length}"))
            );
        }
        let directory = self.bytes(offset, size as usize)?;
        let mut rest = &directory[..];
        for number in 0..count {
            let entry = Entry::parse(&mut rest);
            self.entries
                .push(entry.ok_or_else(|| self.bad(format!("entry {number} of the directory is corrupt")))?);
        }
        Ok(())
    }

    /// `length` bytes from `offset` on.
    fn bytes(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| (&self.file).take(length as u64).read_to_end(&mut bytes))
            .map_err(|e| Error::io(&self.place, "read", &e))?;
        if bytes.len() == length {
            return Ok(bytes);
        }
        Err(self.bad(format!(
            "truncated: {length} bytes were expected at byte {offset}, {} are there",
            bytes.len()
        )))
    }

    fn bad(&self, message: String) -> Error {
        Error::unusable(&self.place, message)
    }
}

impl Entry {
    /// Takes one header off the directory; None if it is corrupt.
    fn parse(directory: &mut &[u8]) -> Option<Entry> {
        let (header, rest) = directory.split_at_checked(46)?;
        if header[..4] != DIRECTORY {
            return None;
        }
        let (name, rest) = rest.split_at_checked(u16_at(header, 28).into())?;
        let (mut extra, rest) = rest.split_at_checked(u16_at(header, 30).into())?;
        *directory = rest.split_at_checked(u16_at(header, 32).into())?.1;
        let mut large: &[u8] = &[];
        while let Some((head, rest)) = extra.split_at_checked(4) {
            let (body, rest) = rest.split_at_checked(u16_at(head, 2).into())?;
            if u16_at(head, 0) == 1 {
                large = body;
            }
            extra = rest;
        }
        // The 64-bit values stand in this order, those that are needed only.
        let mut field = |at| match u32_at(header, at) {
            u32::MAX => {
                let (value, rest) = large.split_at_checked(8)?;
                large = rest;
                Some(u64_at(value, 0))
            }
            small => Some(u64::from(small)),
        };
        let size = field(24)?;
        let packed = field(20)?;
        let offset = field(42)?;
        Some(Entry {
            name: String::from_utf8_lossy(name).into_owned(),
            encrypted: u16_at(header, 8) & 1 == 1,
            method: u16_at(header, 10),
            crc: u32_at(header, 16),
            packed,
            size,
            // Far beyond any file, and safe to add to.
            offset: offset.min(1 << 62),
        })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
pub(crate) mod tests;
