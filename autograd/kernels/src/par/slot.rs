//! One job at a time for each calling thread, with the threads of a rayon pool as helpers.
//!
//! A read-write lock protects the job. Helpers work on it under read guards, so the write lock that clears it is
//! granted once the last of them has left. A helper that starts late finds no job and returns. So, unlike at the end of a
//! `rayon::scope`, the caller waits for no thread to wake up and runs no unrelated task of the pool in the meantime, and a
//! caller from outside the pool pays no more than one inside. (See "Threads" in
//! docs/performance.md.)
//!
//! Every thread starts with a share of consecutive pieces, the same in every job, and then takes from the others' shares:
//! what it wrote in one kernel it mostly reads in the next, from its own caches.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::pool::Pool;

/// How long a helper spin-waits for the next job, and a caller for its helpers: kernels that follow one another closely
/// start no new helpers and make no system call.
const SPIN: Duration = Duration::from_micros(50);
/// After how long a helper returns to its pool, between two jobs, so that other tasks can run.
const MAX_STAY: Duration = Duration::from_millis(1);
/// The largest number of shares; further threads start in the same ones.
const SHARES: usize = 64;

/// The job of a calling thread, and what its helpers share.
pub(super) struct Slot {
    job: RwLock<Option<Job>>,
    /// The number of jobs so far: what an idle helper watches.
    jobs: Line<AtomicUsize>,
    /// Helpers that were started and have not returned.
    helpers: Line<AtomicUsize>,
    /// The next piece of each share.
    next: [Line<AtomicUsize>; SHARES],
    /// The panic of a helper's piece.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A value on its own cache line, which avoids false sharing between values that are polled and values that are
/// written.
#[repr(align(128))]
struct Line<T>(T);

#[derive(Clone, Copy)]
struct Job {
    f: &'static (dyn Fn(usize) + Sync),
    pieces: usize,
    shares: usize,
}

thread_local! {
    static SLOT: Arc<Slot> = Arc::new(Slot {
        job: RwLock::new(None),
        jobs: Line(AtomicUsize::new(0)),
        helpers: Line(AtomicUsize::new(0)),
        next: [const { Line(AtomicUsize::new(0)) }; SHARES],
        panic: Mutex::new(None),
    });
    /// Whether this thread is working on pieces.
    static WORKING: Cell<bool> = const { Cell::new(false) };
}

/// Calls `f` once for each piece, on this thread and on up to `threads - 1` of the pool; called from within a piece, on
/// this thread alone.
///
/// # Panics
/// If a piece does, once all pieces that were started are done.
pub(super) fn run(threads: usize, pieces: usize, f: &(dyn Fn(usize) + Sync)) {
    if WORKING.get() {
        return (0..pieces).for_each(f);
    }
    SLOT.with(|slot| {
        // SAFETY: only the lifetime changes. Helpers use the job under a read guard, and it is cleared, which waits for
        // these, when `published` is dropped, in a panic too.
        let f = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(f) };
        let job = Job { f, pieces, shares: threads.min(pieces).min(SHARES) };
        // Before the job is published: starting threads may fail.
        let pool = Pool::of_this_thread();
        let published = slot.publish(job);
        slot.ask(&pool, (threads - 1).min(pool.helpers()));
        let own = slot.work(job);
        drop(published);
        let helpers = slot.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = own.err().or(helpers) {
            resume_unwind(panic);
        }
    });
}

impl Job {
    /// The pieces of a share.
    fn share(self, i: usize) -> Range<usize> {
        i * self.pieces / self.shares..(i + 1) * self.pieces / self.shares
    }
}

impl Slot {
    /// Makes the job visible to helpers until the guard is dropped.
    fn publish(&self, job: Job) -> Published<'_> {
        for (share, next) in self.next[..job.shares].iter().enumerate() {
            next.0.store(job.share(share).start, Relaxed);
        }
        *self.job.write().unwrap_or_else(PoisonError::into_inner) = Some(job);
        self.jobs.0.fetch_add(1, SeqCst);
        Published(self)
    }

    /// Starts helpers until there are `count`.
    fn ask(self: &Arc<Self>, pool: &Pool, count: usize) {
        for _ in self.helpers.0.load(SeqCst)..count {
            let (slot, waits) = (Arc::clone(self), pool.is_own());
            pool.spawn(move || slot.help(waits));
            // Only this thread reads the number, so it does not matter that the helper may have returned by now.
            self.helpers.0.fetch_add(1, SeqCst);
        }
    }

    /// What a helper does: works on the job, if there is one, and on those that follow closely. Without a job at first,
    /// it waits for one if `waits`.
    fn help(self: Arc<Self>, waits: bool) {
        // In a pool of the program's, the calling thread itself may execute the task, and then has nothing to wait for.
        let own = SLOT.with(|own| Arc::ptr_eq(own, &self));
        let (start, mut last) = (Instant::now(), None);
        loop {
            let mut stays = !own;
            while stays && start.elapsed() < MAX_STAY && spin_until(|| Some(self.jobs.0.load(SeqCst)) != last)
            {
                let first = last.is_none();
                last = Some(self.jobs.0.load(SeqCst));
                stays = self.take_part() || !first || waits;
            }
            self.helpers.0.fetch_sub(1, SeqCst);
            // A job that was published before this point relies on this helper; one published after it does not.
            let last_seen = last.replace(self.jobs.0.load(SeqCst));
            if own || last_seen == last {
                return;
            }
            self.helpers.0.fetch_add(1, SeqCst);
            self.take_part();
        }
    }

    /// Works on the job, if there is one.
    fn take_part(&self) -> bool {
        let Ok(guard) = self.job.try_read() else { return false };
        let Some(job) = *guard else { return false };
        if let Err(panic) = self.work(job) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        true
    }

    /// Takes pieces, from this thread's share on, until there are none.
    fn work(&self, job: Job) -> thread::Result<()> {
        // A caller outside the pool takes the last share: its pool has one thread less.
        let first = rayon::current_thread_index().unwrap_or(job.shares - 1);
        let take = || {
            for share in 0..job.shares {
                let share = (first + share) % job.shares;
                let (next, end) = (&self.next[share].0, job.share(share).end);
                while next.load(Relaxed) < end {
                    let i = next.fetch_add(1, Relaxed);
                    if i < end {
                        (job.f)(i);
                    }
                }
            }
        };
        // A piece that waits for a loop of rayon's may help with another thread's job meanwhile.
        let outer = WORKING.replace(true);
        let done = catch_unwind(AssertUnwindSafe(take));
        WORKING.set(outer);
        done
    }
}

/// Clears the job when dropped, once all helpers have left it.
struct Published<'a>(&'a Slot);

impl Drop for Published<'_> {
    fn drop(&mut self) {
        let job = &self.0.job;
        let cleared = || job.try_write().is_ok_and(|mut job| job.take().is_some());
        if !spin_until(cleared) {
            *job.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// Whether `done` becomes true within [`SPIN`].
fn spin_until(done: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..64 {
            if done() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() > SPIN {
            return false;
        }
        // With more threads than cores, the thread that is waited for may need this core.
        thread::yield_now();
    }
}
