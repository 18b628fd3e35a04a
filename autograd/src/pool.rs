//! The buffer pool: dropped buffers are reused by size, so that the second step of a training loop allocates nothing.
//!
//! Small buffers are kept by the thread that dropped them. Large ones go to a pool that all threads share. It holds at
//! most twice the recent peak of the bytes in use. Buffers of one size cannot be reused for another, so a loop may need
//! more buffers than it uses at once. Above the limit, the least recently used sizes are freed first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use crate::buffer::Storage;
use crate::dtype::Stored;
use crate::running;

/// Kind and length of a buffer, in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shelf(u64);

impl Shelf {
    pub fn of<T: Stored>(len: usize) -> Shelf {
        // f32 and u32 have different poison bits, hence different kinds.
        let kind = if size_of::<T>() == 8 {
            2
        } else {
            u64::from(std::any::TypeId::of::<T>() == std::any::TypeId::of::<u32>())
        };
        Shelf((len as u64) << 2 | kind)
    }

    fn bytes(self) -> usize {
        (self.0 >> 2) as usize * if self.0 & 3 == 2 { 8 } else { 4 }
    }
}

impl std::hash::Hash for Shelf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// A hash for keys that are already well distributed: one multiplication.
#[derive(Default)]
pub(crate) struct OneMultiply(u64);

impl Hasher for OneMultiply {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only used for u64 and usize keys")
    }
    fn write_u64(&mut self, v: u64) {
        self.0 = v.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
    fn write_usize(&mut self, v: usize) {
        self.write_u64(v as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type FastHash = BuildHasherDefault<OneMultiply>;

/// Free buffers, by kind and length.
#[derive(Default)]
struct Shelves {
    /// Those of short buffers, by number, and all others.
    short: Vec<Row>,
    rows: HashMap<Shelf, Row, FastHash>,
    bytes: usize,
    /// Counts the buffers stored and taken.
    clock: u64,
}

/// The buffers of a shelf, and when it was last used.
#[derive(Default)]
struct Row {
    buffers: Vec<Arc<Storage>>,
    used: u64,
}

impl Shelves {
    fn row(&mut self, shelf: Shelf) -> &mut Row {
        const SHORT: u64 = 4 * 1024;
        if shelf.0 >= SHORT {
            return self.rows.entry(shelf).or_default();
        }
        let number = shelf.0 as usize;
        if number >= self.short.len() {
            self.short.resize_with(number + 1, Row::default);
        }
        &mut self.short[number]
    }

    fn take(&mut self, shelf: Shelf) -> Option<Arc<Storage>> {
        let clock = self.clock + 1;
        let row = self.row(shelf);
        let storage = row.buffers.pop()?;
        row.used = clock;
        self.clock = clock;
        self.bytes -= shelf.bytes();
        Some(storage)
    }

    /// Keeps `storage`. If the total then exceeds `limit`, buffers are freed, least recently used shelves first.
    fn keep(&mut self, storage: Arc<Storage>, limit: usize) -> Vec<Arc<Storage>> {
        self.bytes += storage.bytes();
        self.clock += 1;
        let clock = self.clock;
        let row = self.row(storage.shelf());
        row.used = clock;
        row.buffers.push(storage);
        let mut surplus = Vec::new();
        while self.bytes > limit {
            let filled =
                self.short.iter_mut().chain(self.rows.values_mut()).filter(|row| !row.buffers.is_empty());
            let Some(storage) = filled.min_by_key(|row| row.used).and_then(|row| row.buffers.pop()) else {
                break;
            };
            self.bytes -= storage.bytes();
            // The shelf of a size that is not used again is removed.
            let shelf = storage.shelf();
            if self.rows.get(&shelf).is_some_and(|row| row.buffers.is_empty()) {
                self.rows.remove(&shelf);
            }
            surplus.push(storage);
        }
        surplus
    }
}

/// Buffers up to this size are cached by the thread that drops them.
const SMALL: usize = 4096;
/// The most bytes of such buffers that a thread caches.
const FRONT_LIMIT: usize = 16 << 20;

/// One thread's small buffers, and its share of the live count. Only the thread itself writes its counters, so counting
/// needs no atomic read-modify-write.
struct Front {
    shelves: Shelves,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    buffers: AtomicIsize,
    bytes: AtomicIsize,
}

impl Counters {
    fn add(&self, buffers: isize, bytes: isize) {
        self.buffers.store(self.buffers.load(Relaxed) + buffers, Relaxed);
        self.bytes.store(self.bytes.load(Relaxed) + bytes, Relaxed);
    }
}

/// The counters of every thread that runs, and the sum of those of threads that have ended.
#[derive(Default)]
struct Census {
    threads: Vec<Arc<Counters>>,
    ended: Counters,
}

static CENSUS: LazyLock<Mutex<Census>> = LazyLock::new(Mutex::default);
static BACK: LazyLock<Mutex<Back>> = LazyLock::new(Mutex::default);
/// Allocations from the system, ever.
static FRESH: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static FRONT: RefCell<Front> = RefCell::new(Front::new());
}

fn census() -> MutexGuard<'static, Census> {
    CENSUS.lock().expect("counting cannot panic")
}

fn back() -> MutexGuard<'static, Back> {
    BACK.lock().expect("the pool cannot panic")
}

impl Front {
    fn new() -> Front {
        let counters = Arc::<Counters>::default();
        census().threads.push(Arc::clone(&counters));
        Front { shelves: Shelves::default(), counters }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let mut census = census();
        census.threads.retain(|counters| !Arc::ptr_eq(counters, &self.counters));
        census.ended.add(self.counters.buffers.load(Relaxed), self.counters.bytes.load(Relaxed));
    }
}

/// The free large buffers, and the number of bytes in use.
#[derive(Default)]
struct Back {
    shelves: Shelves,
    live: usize,
    /// The most bytes in use at once, in this period and in the one before.
    peak: [usize; 2],
    /// Bytes handed out in this period.
    turnover: usize,
}

impl Back {
    /// A period ends when this multiple of the peak has been handed out. It is longer than a step of any loop, so that
    /// a loop keeps its buffers, and a peak that does not recur expires.
    const PERIOD: usize = 8;

    fn take(&mut self, shelf: Shelf) -> Option<Arc<Storage>> {
        self.live += shelf.bytes();
        self.turnover += shelf.bytes();
        self.peak[0] = self.peak[0].max(self.live);
        if self.turnover > Back::PERIOD * self.recent_peak() {
            self.peak = [self.live, self.peak[0]];
            self.turnover = 0;
        }
        self.shelves.take(shelf)
    }

    fn keep(&mut self, storage: Arc<Storage>) -> Vec<Arc<Storage>> {
        self.live -= storage.bytes();
        self.shelves.keep(storage, 2 * self.recent_peak())
    }

    fn recent_peak(&self) -> usize {
        self.peak[0].max(self.peak[1])
    }
}

/// A buffer from the pool; if there is none, the caller allocates one. It is counted in either case.
pub(crate) fn take(shelf: Shelf) -> Option<Arc<Storage>> {
    let (bytes, small) = (shelf.bytes() as isize, shelf.bytes() <= SMALL);
    let front = FRONT.try_with(|f| {
        let mut front = f.borrow_mut();
        front.counters.add(1, bytes);
        if small { front.shelves.take(shelf) } else { None }
    });
    if front.is_err() {
        census().ended.add(1, bytes);
    }
    let found = if small { front.ok().flatten() } else { back().take(shelf) };
    if found.is_none() {
        FRESH.fetch_add(1, Relaxed);
    }
    found
}

/// Undoes the count of a buffer that could not be allocated.
pub(crate) fn uncount(shelf: Shelf) {
    census().ended.add(-1, -(shelf.bytes() as isize));
    if shelf.bytes() > SMALL {
        back().live -= shelf.bytes();
    }
}

/// Panics because the memory for a tensor of shape `dims` cannot be allocated.
#[cold]
#[track_caller]
pub(crate) fn out_of_memory<T: Stored>(dims: &[usize]) -> ! {
    // The buffer was counted when it was requested.
    uncount(Shelf::of::<T>(dims.iter().product()));
    let bytes = dims.iter().product::<usize>() * size_of::<T>();
    let kind = std::any::type_name::<T>();
    let by = running::running().map_or(String::new(), |running| format!(" as the result of {running}"));
    panic!("out of memory: {bytes} bytes are needed for a tensor {kind} {dims:?}{by}");
}

/// Returns a buffer to the pool and counts it.
pub(crate) fn keep(storage: Arc<Storage>) {
    let (bytes, small) = (storage.bytes() as isize, storage.bytes() <= SMALL);
    let mut storage = Some(storage);
    // What exceeds the limit is freed here, outside of lock and borrow.
    let front = FRONT.try_with(|f| {
        let mut front = f.borrow_mut();
        front.counters.add(-1, -bytes);
        storage.take_if(|_| small).map(|storage| front.shelves.keep(storage, FRONT_LIMIT))
    });
    if front.is_err() {
        census().ended.add(-1, -bytes);
    }
    if !small {
        let _surplus = storage.map(|storage| back().keep(storage));
    }
}

/// What tensor memory is in use. See [`memory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Buffers held by a tensor or a graph node.
    pub live_buffers: isize,
    /// Their bytes.
    pub live_bytes: isize,
    /// Buffers ever requested from the system rather than from the pool.
    pub allocations: usize,
}

/// Counts the tensor memory of the whole process, over all threads.
///
/// ```
/// let before = autograd::memory();
/// let x = autograd::Tensor::zeros([1000], autograd::DType::F32);
/// assert_eq!(autograd::memory().live_buffers, before.live_buffers + 1);
/// drop(x);
/// assert_eq!(autograd::memory().live_buffers, before.live_buffers);
/// ```
pub fn memory() -> Memory {
    let census = census();
    let counters = || census.threads.iter().map(|c| &**c).chain([&census.ended]);
    Memory {
        live_buffers: counters().map(|c| c.buffers.load(Relaxed)).sum(),
        live_bytes: counters().map(|c| c.bytes.load(Relaxed)).sum(),
        allocations: FRESH.load(Relaxed),
    }
}

/// Returns the free memory of the shared pool and of the calling thread's cache to the system.
pub fn release_memory() {
    let shared = {
        let mut back = back();
        back.peak = [back.live, 0];
        std::mem::take(&mut back.shelves)
    };
    let own = FRONT.try_with(|f| std::mem::take(&mut f.borrow_mut().shelves));
    drop((shared, own));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use crate::tensor::Tensor;
    use kernels::aligned::Aligned;

    #[test]
    fn threads_that_have_ended_leave_nothing() {
        for _ in 0..1000 {
            std::thread::spawn(|| drop(Tensor::zeros([10], DType::F32))).join().unwrap();
        }
        assert!(census().threads.len() < 500, "{} threads are counted", census().threads.len());
    }

    /// A buffer of `len` numbers from the pool, or a new one; whether it is new.
    fn get(back: &mut Back, len: usize) -> (Arc<Storage>, bool) {
        match back.take(Shelf::of::<f32>(len)) {
            Some(storage) => (storage, false),
            None => (Arc::new(Storage::F32(Aligned::zeroed(len))), true),
        }
    }

    #[test]
    fn a_peak_that_does_not_come_again_is_forgotten() {
        let mut back = Back::default();
        let (large, _) = get(&mut back, 1 << 20);
        drop(back.keep(large));
        let mut sizes = (0..4000).map(|i| (1 << 14) + 16 * i);
        for len in sizes.by_ref() {
            let (storage, new) = get(&mut back, len);
            assert!(new);
            drop(back.keep(storage));
        }
        let last = 4 * ((1 << 14) + 16 * 3999);
        assert!(back.shelves.bytes <= 2 * last, "{} bytes wait in the pool", back.shelves.bytes);
        assert!(back.shelves.rows.len() <= 4, "{} sizes are remembered", back.shelves.rows.len());
    }

    #[test]
    fn a_loop_keeps_its_memory() {
        let mut back = Back::default();
        for step in 0..100 {
            // The forward pass keeps everything; the backward pass frees it while it allocates and frees as many
            // gradients.
            let mut kept = Vec::new();
            let mut fresh = 0;
            for layer in 0..50 {
                let (storage, new) = get(&mut back, 2000 + 100 * layer);
                fresh += usize::from(new);
                kept.push(storage);
            }
            for storage in kept.into_iter().rev() {
                let Storage::F32(memory) = &*storage else { unreachable!("f32") };
                let (gradient, new) = get(&mut back, memory.len());
                fresh += usize::from(new);
                drop(back.keep(storage));
                drop(back.keep(gradient));
            }
            assert!(step == 0 || fresh == 0, "step {step}: {fresh} new buffers");
            assert_eq!(back.live, 0);
        }
    }
}
