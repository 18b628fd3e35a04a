//! Ctrl-C and SIGTERM: the work ends at the next point where nothing is lost.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::failure::Failure;

/// Set once the user wants the command to end.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// From now on the first signal sets [`STOP`]; a second one ends the process at once.
pub fn on_signals() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Relaxed) {
            crate::tui::restore();
            std::process::exit(130);
        }
    })
    .map_err(|e| Failure::unfinished(format_args!("signals cannot be handled: {e}")))
}

/// Whether the user wants the command to end.
pub fn wanted() -> bool {
    STOP.load(Relaxed)
}
