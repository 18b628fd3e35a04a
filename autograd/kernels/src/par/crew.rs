//! The worker threads, which stay for the life of the process and take one job at a time.
//!
//! A job is announced at a gate. Workers that are awake go in and take pieces until there are none; the caller takes
//! pieces as well, then closes the gate and waits for those inside, so that a worker who comes late costs nothing.
//! Between jobs a worker looks at the gate for a while before it sleeps: kernels that follow each other closely
//! neither call the operating system nor wait for it.
//!
//! Everybody begins with a share of consecutive pieces, the same in every job, and takes from the others' shares when that
//! is done: what a thread has written in one kernel it mostly reads in the next, from its own caches.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long a worker without a job, or a caller whose last piece is with a worker, stays awake.
const AWAKE: Duration = Duration::from_micros(50);

/// The gate's word: workers inside, whether it is open, whether the caller sleeps, and the number of the job.
const INSIDE: u64 = 0xffff;
const OPEN: u64 = 1 << 16;
const ASLEEP: u64 = 1 << 17;
const JOB: u64 = 1 << 18;

/// All workers, and the job of the moment.
pub(super) struct Crew {
    /// Held by the caller whose job it is.
    workers: Mutex<Vec<Worker>>,
    gate: AtomicU64,
    /// Written by the caller while the gate is closed and nobody is inside; read by those inside.
    job: UnsafeCell<Job>,
    /// The next piece of each share.
    next: [Next; SHARES],
    /// What a worker's piece panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Where a caller sleeps until the last worker has left.
    left: (Mutex<()>, Condvar),
}

/// Shares at most; more threads begin two by two.
const SHARES: usize = 64;

/// On a cache line of its own.
#[repr(align(128))]
struct Next(AtomicUsize);

/// What is to be done, by which workers (the first `workers`).
#[derive(Clone, Copy)]
struct Job {
    f: *const (dyn Fn(usize) + Sync),
    pieces: usize,
    workers: usize,
}

impl Job {
    fn shares(self) -> usize {
        (self.workers + 1).min(self.pieces).min(SHARES)
    }

    /// The pieces of a share.
    fn share(self, i: usize) -> Range<usize> {
        i * self.pieces / self.shares()..(i + 1) * self.pieces / self.shares()
    }
}

// SAFETY: `job` is the one field that is not Sync by itself. It is written under the lock with the gate closed and
// empty, and read inside only; the function that it points to is Sync.
unsafe impl Sync for Crew {}

struct Worker {
    thread: Thread,
    asleep: Arc<AtomicBool>,
}

impl Crew {
    pub(super) const fn new() -> Crew {
        let nothing: &(dyn Fn(usize) + Sync) = &|_| ();
        Crew {
            workers: Mutex::new(Vec::new()),
            gate: AtomicU64::new(0),
            job: UnsafeCell::new(Job { f: nothing, pieces: 0, workers: 0 }),
            next: [const { Next(AtomicUsize::new(0)) }; SHARES],
            panic: Mutex::new(None),
            left: (Mutex::new(()), Condvar::new()),
        }
    }

    /// Calls `f` once for each piece, with the help of `workers` workers; without, if they are at another job (which
    /// may be the one that this call is part of).
    ///
    /// # Panics
    /// If a piece does, once all that were begun are done.
    pub(super) fn run(&'static self, workers: usize, pieces: usize, f: &(dyn Fn(usize) + Sync)) {
        let mut crew = match self.workers.try_lock() {
            Ok(crew) => crew,
            // Somebody could not hire; those that were hired still work.
            Err(TryLockError::Poisoned(crew)) => crew.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..pieces).for_each(f),
        };
        let workers = workers.min(INSIDE as usize);
        while crew.len() < workers {
            let worker = self.hire(crew.len());
            crew.push(worker);
        }
        // SAFETY: only the lifetime changes: the pointer is used inside the gate alone, which is closed and empty
        // before this function ends.
        let f: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(f) };
        let job = Job { f, pieces, workers };
        // SAFETY: the gate is closed and empty, and the lock held.
        unsafe { *self.job.get() = job };
        for (share, next) in self.next[..job.shares()].iter().enumerate() {
            next.0.store(job.share(share).start, Relaxed);
        }
        self.gate.fetch_add(JOB + OPEN, SeqCst);
        for worker in &crew[..workers] {
            // A worker looks at the gate once more after it has said that it sleeps: one of the two sees the other.
            if worker.asleep.load(SeqCst) && worker.asleep.swap(false, Relaxed) {
                worker.thread.unpark();
            }
        }
        let own = catch_unwind(AssertUnwindSafe(|| self.take_pieces(0, job)));
        self.gate.fetch_and(!OPEN, AcqRel);
        self.wait_until_empty();
        let theirs = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(crew);
        if let Some(panic) = own.err().or(theirs) {
            resume_unwind(panic);
        }
    }

    /// Takes pieces, from the share of this thread on.
    fn take_pieces(&self, thread: usize, job: Job) {
        // SAFETY: the caller of `run` waits for all that are inside.
        let f = unsafe { &*job.f };
        for share in 0..job.shares() {
            let share = (thread + share) % job.shares();
            let (next, end) = (&self.next[share].0, job.share(share).end);
            while next.load(Relaxed) < end {
                let i = next.fetch_add(1, Relaxed);
                if i < end {
                    f(i);
                }
            }
        }
    }

    fn wait_until_empty(&self) {
        let empty = || self.gate.load(Acquire) & INSIDE == 0;
        if stay_awake_until(empty) {
            return;
        }
        let (lock, left) = &self.left;
        let mut guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.gate.fetch_or(ASLEEP, AcqRel);
        while !empty() {
            guard = left.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.gate.fetch_and(!ASLEEP, AcqRel);
    }

    fn hire(&'static self, index: usize) -> Worker {
        let asleep = Arc::new(AtomicBool::new(false));
        let work = {
            let asleep = Arc::clone(&asleep);
            move || self.work(index, &asleep)
        };
        let thread = thread::Builder::new()
            .name(format!("kernels-{index}"))
            .spawn(work)
            .expect("the operating system refused to start a worker thread");
        Worker { thread: thread.thread().clone(), asleep }
    }

    /// A worker's life.
    fn work(&self, index: usize, asleep: &AtomicBool) {
        let (mut last, mut wanted) = (0, true);
        loop {
            let new = || {
                let gate = self.gate.load(SeqCst);
                gate & OPEN != 0 && gate / JOB != last
            };
            if !(wanted && stay_awake_until(new)) {
                asleep.store(true, SeqCst);
                while !new() && asleep.load(Relaxed) {
                    thread::park();
                }
                asleep.store(false, Relaxed);
                wanted = true;
                continue;
            }
            let gate = self.gate.fetch_add(1, AcqRel);
            if gate & OPEN != 0 {
                last = gate / JOB;
                wanted = self.help(index);
            }
            let gate = self.gate.fetch_sub(1, AcqRel);
            if gate & ASLEEP != 0 && gate & INSIDE == 1 {
                drop(self.left.0.lock().unwrap_or_else(PoisonError::into_inner));
                self.left.1.notify_one();
            }
        }
    }

    /// Takes pieces of the job, from inside the gate, unless it is for fewer workers.
    fn help(&self, index: usize) -> bool {
        // SAFETY: the gate was open when this worker went in, so the job stays until it is out.
        let job = unsafe { *self.job.get() };
        if index >= job.workers {
            return false;
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.take_pieces(index + 1, job))) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        true
    }
}

/// Whether `done` comes true while this thread stays awake for it.
fn stay_awake_until(done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..64 {
            if done() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() > AWAKE {
            return false;
        }
        // Where there are more threads than cores, the one that is waited for may need this core.
        thread::yield_now();
    }
}
