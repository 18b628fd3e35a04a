//! The folder itself: whether a run may be written there, by whom, and what a killed one left.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{BEST, CHECKPOINT, CONFIG, FINAL, MANIFEST, META, METRICS};
use crate::failure::Failure;

/// Makes sure that a new run can be written to `path`, before any work: makes the folder, and tries a file in it.
pub fn prepare(path: &Path) -> Result<(), Failure> {
    for name in [CONFIG, META, METRICS, CHECKPOINT] {
        if path.join(name).exists() {
            return Err(Failure::place(
                path,
                format_args!(
                    "holds a run already ({name}); resume it with --resume, or choose another --out"
                ),
            ));
        }
    }
    made(path)
}

/// Does what a folder is made for, and leaves none behind that is empty if that fails.
pub fn unless_empty<T>(path: &Path, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let made: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    let result = work();
    if result.is_err() {
        // Only succeeds on empty folders, which is all that was asked.
        made.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }
    result
}

/// Makes a folder, if it is not there, and makes sure that files can be written to it.
pub fn made(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|e| Failure::place(path, format_args!("cannot be made: {e}")))?;
    writable(path)
}

/// Makes sure that files can be written to a folder.
pub fn writable(path: &Path) -> Result<(), Failure> {
    let probe = path.join(format!(".probe.{}", std::process::id()));
    let tried = File::create(&probe).and_then(|mut f| f.write_all(b"comhe").and_then(|()| f.sync_all()));
    let removed = fs::remove_file(&probe);
    tried.and(removed).map_err(|e| Failure::place(path, format_args!("cannot be written to: {e}")))
}

/// The first folder `runs/NAME-1`, `runs/NAME-2`, ... that does not exist.
pub fn fresh(name: &str) -> PathBuf {
    let numbered = |i: u64| Path::new("runs").join(format!("{name}-{i}"));
    (1..).map(numbered).find(|path| !path.exists()).expect("numbers do not end")
}

/// Makes sure that nobody else writes to a folder as long as the file is held. The system lets go of it when the process
/// ends, however it does; None where it knows of no such thing.
pub fn lock(path: &Path) -> Result<Option<File>, Failure> {
    let Ok(folder) = File::open(path) else { return Ok(None) };
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::place(path, "is being written to by another comhe; wait for it, or stop it"))
        }
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Removes the temporary files of a process that was killed while it wrote: ".NAME.PID" and ".NAME.next".
pub fn remove_leftovers(folder: &Path) {
    let ours = |name: &str| {
        name.strip_prefix('.').and_then(|name| name.rsplit_once('.')).is_some_and(|(name, end)| {
            let named =
                [CONFIG, META, METRICS, CHECKPOINT, FINAL, BEST, MANIFEST].iter().any(|n| name.contains(n));
            (named || name == "probe" || name.ends_with(".svg"))
                && (end == "next" || end.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if ours(&entry.file_name().to_string_lossy()) {
            // What cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}
