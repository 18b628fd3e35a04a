//! Archives that carry their own checksum, and the two checkpoints of a run: the last, and the one before it.

use std::fs;
use std::path::Path;

use nn::binary::Packed;
use nn::{Archive, write_atomic};

use crate::failure::Failure;
use crate::hash::sha256;

/// All that a resume needs.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The checkpoint before the last one.
pub const PREVIOUS: &str = "checkpoint-previous.safetensors";

/// What is said of an export where weights are needed.
pub const PACKED: &str = "is an export, a packed one-bit network without real weights and gradients; use the run that it was \
                          exported from";

/// The metadata's key of the checksum: the SHA-256 of the file with zeros in the checksum's place.
const SUM: &str = "sha256";
const DIGITS: usize = 64;

/// The bytes of a file that carries its own checksum.
pub fn sealed(mut archive: Archive) -> Result<Vec<u8>, Failure> {
    archive.metadata.insert(SUM.into(), "0".repeat(DIGITS));
    let mut bytes = archive.to_bytes()?;
    let at = place_of_sum(&bytes).expect("the checksum is in the header");
    let sum = sha256(&bytes);
    bytes[at..at + DIGITS].copy_from_slice(sum.as_bytes());
    Ok(bytes)
}

/// Reads a file of tensors, and checks the checksum if it carries one.
pub fn load(path: &Path) -> Result<Archive, Failure> {
    if let Some(kind) = path.extension().filter(|e| *e == "npz" || *e == "npy") {
        let kind = kind.to_string_lossy();
        return Err(Failure::place(
            path,
            format_args!("is a .{kind} file, and .safetensors is needed; comhe convert makes it"),
        ));
    }
    let mut bytes = fs::read(path).map_err(|e| Failure::place(path, format_args!("cannot be read: {e}")))?;
    if Packed::is_packed(&bytes) {
        return Err(Failure::place(path, PACKED));
    }
    if let Some(at) = place_of_sum(&bytes) {
        let carried = bytes[at..at + DIGITS].to_vec();
        bytes[at..at + DIGITS].fill(b'0');
        if sha256(&bytes).as_bytes() != carried {
            return Err(Failure::place(path, "is damaged: it does not have the SHA-256 that it carries"));
        }
    }
    Archive::from_bytes(&bytes).map_err(|e| Failure::place(path, e))
}

/// Where the checksum's digits are in a file, if its header has them.
fn place_of_sum(bytes: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(*bytes.first_chunk()?);
    let end = usize::try_from(length).ok()?.saturating_add(8).min(bytes.len());
    let key = format!("\"{SUM}\":\"");
    let at = 8 + bytes[8..end].windows(key.len()).position(|w| w == key.as_bytes())? + key.len();
    (at + DIGITS <= end).then_some(at)
}

/// Writes a checkpoint; the one that was the last becomes the one before it. Whatever happens meanwhile, one of the two
/// is whole.
pub fn write(folder: &Path, archive: Archive) -> Result<(), Failure> {
    let (last, previous) = (folder.join(CHECKPOINT), folder.join(PREVIOUS));
    let next = folder.join(format!(".{CHECKPOINT}.next"));
    write_atomic(&next, &sealed(archive)?)?;
    if last.exists() {
        fs::rename(&last, &previous).map_err(|e| cannot(&previous, &e))?;
    }
    fs::rename(&next, &last).map_err(|e| cannot(&last, &e))?;
    // Names are on the disk once the folder is; not every system lets a folder be opened.
    fs::File::open(folder).map_or(Ok(()), |folder| folder.sync_all()).map_err(|e| cannot(folder, &e))
}

/// Puts a checkpoint in place of the last one, and removes the one before it.
pub fn replace(folder: &Path, archive: Archive) -> Result<(), Failure> {
    write_atomic(&folder.join(CHECKPOINT), &sealed(archive)?)?;
    let previous = folder.join(PREVIOUS);
    match previous.exists() {
        true => fs::remove_file(&previous).map_err(|e| cannot(&previous, &e)),
        false => Ok(()),
    }
}

/// The last checkpoint that is whole, with its file's name; None if none was ever written. One that is damaged is named
/// on standard error.
pub fn latest(folder: &Path) -> Result<Option<(Archive, &'static str)>, Failure> {
    let mut damaged = Vec::new();
    for name in [CHECKPOINT, PREVIOUS] {
        let path = folder.join(name);
        if !path.exists() {
            continue;
        }
        if path.is_dir() {
            return Err(Failure::place(&path, "is a folder, where the run keeps a file; move it away"));
        }
        match load(&path) {
            Ok(archive) if archive.metadata.contains_key(SUM) => {
                if !damaged.is_empty() {
                    let step = archive.metadata.get("step").map_or("unknown", String::as_str);
                    let bad = damaged.concat();
                    eprintln!("{bad}; going on from the one before it, {name} (step {step})");
                }
                return Ok(Some((archive, name)));
            }
            Ok(_) => damaged.push(format!("{}: carries no checksum", path.display())),
            Err(failure) => damaged.push(failure.message().unwrap_or_default().to_string()),
        }
    }
    if damaged.is_empty() {
        return Ok(None);
    }
    let (command, settings) = super::made_by(folder);
    Err(Failure::usage(format_args!(
        "{}; no other checkpoint is left; begin again with: comhe {command} --config {}/{settings}",
        damaged.join("; "),
        folder.display()
    )))
}

/// The step of the last checkpoint that is whole, and its file's name.
pub fn last_good(folder: &Path) -> Option<(String, &'static str)> {
    [CHECKPOINT, PREVIOUS].into_iter().find_map(|name| {
        let archive = load(&folder.join(name)).ok()?;
        Some((archive.metadata.get("step")?.clone(), name))
    })
}

fn cannot(path: &Path, e: &std::io::Error) -> Failure {
    Failure::place(path, format_args!("cannot be written: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::Tensor;

    fn archive(step: u64) -> Archive {
        let mut archive = Archive::of(vec![("w".into(), Tensor::from([step as f64, 2.0, 3.0]))]);
        archive.metadata.insert("step".into(), step.to_string());
        archive
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let bytes = sealed(archive(1)).unwrap();
        fs::write(&path, &bytes).unwrap();
        assert_eq!(load(&path).unwrap().get("w").unwrap().to_vec::<f64>(), [1.0, 2.0, 3.0]);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            // A header that lost the word sha256 is well-formed, but no longer a checkpoint.
            let whole = load(&path).is_ok_and(|archive| archive.metadata.contains_key(SUM));
            assert!(!whole, "byte {at}");
            fs::write(&path, &bytes[..at]).unwrap();
            assert!(load(&path).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_one_before_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let step = || latest(here).unwrap().map(|(archive, name)| (archive.metadata["step"].clone(), name));
        assert_eq!(step(), None);
        write(here, archive(1)).unwrap();
        write(here, archive(2)).unwrap();
        write(here, archive(3)).unwrap();
        assert_eq!(step(), Some(("3".into(), CHECKPOINT)));
        assert_eq!(fs::read_dir(here).unwrap().count(), 2);
        let bytes = fs::read(here.join(CHECKPOINT)).unwrap();
        fs::write(here.join(CHECKPOINT), &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(step(), Some(("2".into(), PREVIOUS)));
        assert_eq!(last_good(here), Some(("2".into(), PREVIOUS)));
        // Between the two renames.
        fs::remove_file(here.join(CHECKPOINT)).unwrap();
        assert_eq!(step(), Some(("2".into(), PREVIOUS)));
        fs::write(here.join(PREVIOUS), "").unwrap();
        let line = latest(here).unwrap_err();
        assert!(line.message().unwrap().contains("checkpoint-previous.safetensors: not a safetensors file"));
    }
}
