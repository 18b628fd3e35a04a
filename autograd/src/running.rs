//! The operation that a thread is computing, for errors raised deep inside it.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;

/// An operation in progress.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    pub op: &'static str,
    /// Whether it is its part of the reverse pass.
    pub backward: bool,
    /// The user's line that called the operation.
    pub site: &'static Location<'static>,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.backward { "the gradient of " } else { "" };
        write!(f, "{what}{} called at {}", self.op, self.site)
    }
}

thread_local! {
    static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
}

/// The operation that this thread computes, the outermost one.
pub(crate) fn running() -> Option<Running> {
    RUNNING.get()
}

/// Runs `f` as operation `op`.
#[inline]
#[track_caller]
pub(crate) fn run<R>(op: &'static str, f: impl FnOnce() -> R) -> R {
    run_as(Running { op, backward: false, site: Location::caller() }, f)
}

/// As [`run`].
#[inline]
pub(crate) fn run_as<R>(running: Running, f: impl FnOnce() -> R) -> R {
    /// Ends the operation, also when `f` panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            RUNNING.set(None);
        }
    }
    if RUNNING.get().is_some() {
        return f();
    }
    RUNNING.set(Some(running));
    let _end = End;
    f()
}
