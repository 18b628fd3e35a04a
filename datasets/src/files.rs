//! Reading files: gzip by its magic bytes, and finding the first of several candidates.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::Error;

/// Opens a file, and unpacks it on the way if it starts as gzip does, whatever its name.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Read>, Error> {
    let file = File::open(path).map_err(|e| Error::io(path, "open", &e))?;
    unpack(BufReader::with_capacity(1 << 16, file)).map_err(|e| Error::io(path, "read", &e))
}

/// The unpacked stream of something that may be gzip.
pub(crate) fn unpack<'a>(mut reader: impl BufRead + 'a) -> std::io::Result<Box<dyn Read + 'a>> {
    let gzip = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzip { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) })
}

/// Reads up to `limit` bytes: fewer if the stream ends early.
pub(crate) fn read_up_to(reader: impl Read, limit: u64, place: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    match reader.take(limit).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(e) => Err(Error::unusable(
            place,
            format_args!("reading failed after byte {} (truncated or corrupt?): {e}", bytes.len()),
        )),
    }
}

/// The first of `names` that is a file in `dir`.
pub(crate) fn first_file(dir: &Path, names: &[String]) -> Option<PathBuf> {
    names.iter().map(|n| dir.join(n)).find(|p| p.is_file())
}

/// Names as a user reads them: "a, b".
pub(crate) fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}
