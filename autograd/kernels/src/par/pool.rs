//! Which rayon pool is used: the one that the calling thread belongs to, else the engine's own.

use std::cell::Cell;
use std::sync::{Arc, PoisonError, RwLock};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The engine's own pool, for callers that belong to none. They work too, so it has one thread less than compute.
static OWN: RwLock<Option<Arc<ThreadPool>>> = RwLock::new(None);

/// The stack of a thread of the engine's own pool: as large as that of most programs' first thread.
const STACK: usize = 8 << 20;

thread_local! {
    /// Whether this thread belongs to the engine's own pool.
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// The number of threads of the program's rayon pool that the calling thread belongs to, if it belongs to one.
pub(super) fn current_size() -> Option<usize> {
    rayon::current_thread_index().filter(|_| !IS_OWN.get()).map(|_| rayon::current_num_threads())
}

/// Where helpers come from.
pub(super) enum Pool {
    /// The program's pool, which the calling thread belongs to.
    Current,
    Own(Arc<ThreadPool>),
}

impl Pool {
    /// The pool that helps the calling thread.
    ///
    /// # Panics
    /// If it is the engine's own and the operating system refuses to start its threads.
    pub fn of_this_thread() -> Pool {
        match rayon::current_thread_index() {
            Some(_) => Pool::Current,
            None => Pool::Own(own(helpers(super::threads()))),
        }
    }

    /// Whether it is the engine's own.
    pub fn is_own(&self) -> bool {
        matches!(self, Pool::Own(_))
    }

    /// The largest number of helpers that it has for a caller.
    pub fn helpers(&self) -> usize {
        match self {
            Pool::Current => rayon::current_num_threads().saturating_sub(1),
            Pool::Own(pool) => pool.current_num_threads(),
        }
    }

    /// Runs `f` on some thread of the pool.
    pub fn spawn(&self, f: impl FnOnce() + Send + 'static) {
        match self {
            Pool::Current => rayon::spawn(f),
            Pool::Own(pool) => pool.spawn(f),
        }
    }
}

/// The helpers of a caller outside of pools: one less than compute, and no more than a few for each processor, since
/// more would only wait for one another.
fn helpers(threads: usize) -> usize {
    (threads.max(2) - 1).min(4 * super::available())
}

/// The engine's own pool, with `n` threads. One of another size ends with its last task.
fn own(n: usize) -> Arc<ThreadPool> {
    let sized = |pool: &Option<Arc<ThreadPool>>| pool.clone().filter(|pool| pool.current_num_threads() == n);
    if let Some(pool) = sized(&OWN.read().unwrap_or_else(PoisonError::into_inner)) {
        return pool;
    }
    let mut place = OWN.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = sized(&place) {
        return pool;
    }
    let builder =
        ThreadPoolBuilder::new().num_threads(n).stack_size(STACK).start_handler(|_| IS_OWN.set(true));
    let pool = builder.thread_name(|i| format!("kernels-{i}")).build().unwrap_or_else(|error| {
        panic!(
            "the operating system refused to start {n} threads ({error}); use fewer (--threads, set_threads)"
        )
    });
    Arc::clone(place.insert(Arc::new(pool)))
}
