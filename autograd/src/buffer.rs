//! Shared memory of tensors, recycled: a dropped buffer goes to a pool and comes back by its size, so that the
//! second step of a training loop allocates nothing.
//!
//! Small buffers are kept by the thread that dropped them; large ones go to a pool that all threads share,
//! which never holds more than twice the bytes that were ever in use at once (buffers of one size are no use for
//! another, so a loop may need more than it ever has in use). What is over the limit is taken from the sizes that
//! have been of no use for longest: a program that turns to other sizes finds room for them. Recycled memory keeps its old contents; with
//! debug assertions, or the crate feature `poison` (which the workspace's tests switch on), it is filled with
//! NaN instead, so that a kernel that leaves an element unwritten fails loudly.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering, Ordering::Relaxed, fence};
use std::sync::{Arc, LazyLock, Mutex};

use kernels::aligned::{Aligned, BLOCK, Zeroable};

use crate::dtype::{DType, Stored};

/// The memory itself.
pub(crate) enum Storage {
    F32(Aligned<f32>),
    F64(Aligned<f64>),
    U32(Aligned<u32>),
}

impl Storage {
    pub fn name(&self) -> &'static str {
        match self {
            Storage::F32(_) => "f32",
            Storage::F64(_) => "f64",
            Storage::U32(_) => "index",
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Storage::F32(v) => v.len() * 4,
            Storage::F64(v) => v.len() * 8,
            Storage::U32(v) => v.len() * 4,
        }
    }

    /// Where buffers of this kind and length are kept.
    fn shelf(&self) -> Shelf {
        match self {
            Storage::F32(v) => Shelf::of::<f32>(v.len()),
            Storage::F64(v) => Shelf::of::<f64>(v.len()),
            Storage::U32(v) => Shelf::of::<u32>(v.len()),
        }
    }
}

/// A shared, fixed-length array of f32, f64 or u32. Cloning shares; writing needs sole ownership.
#[derive(Clone)]
pub(crate) struct Buffer(Option<Arc<Storage>>); // None only while being dropped

impl Buffer {
    /// A buffer whose contents are yet to be written: old numbers, or NaN in checked builds.
    pub fn uninit<T: Stored + Zeroable>(len: usize) -> Buffer {
        let shelf = Shelf::of::<T>(len);
        let storage = match take(shelf) {
            Some(mut storage) => {
                if cfg!(any(debug_assertions, feature = "poison")) {
                    let unique = Arc::get_mut(&mut storage).expect("pooled buffers have one owner");
                    T::memory_mut(unique).fill(T::POISON);
                }
                storage
            }
            None => {
                FRESH.fetch_add(1, Relaxed);
                Arc::new(T::wrap(Aligned::zeroed(len)))
            }
        };
        Buffer(Some(storage))
    }

    /// A buffer written by `write`, which must set every element.
    #[inline]
    pub fn build<T: Stored + Zeroable>(len: usize, write: impl FnOnce(&mut [T])) -> Buffer {
        let mut buffer = Buffer::uninit::<T>(len);
        write(buffer.unique_mut().expect("new buffers have one owner"));
        buffer
    }

    /// As [`Buffer::build`], in whole blocks: what is written after the elements is of no use.
    #[inline]
    pub fn build_blocks<T: Stored + Zeroable>(len: usize, write: impl FnOnce(&mut [[T; BLOCK]])) -> Buffer {
        let mut buffer = Buffer::uninit::<T>(len);
        write(buffer.unique_blocks_mut().expect("new buffers have one owner"));
        buffer
    }

    /// A copy of a slice.
    pub fn copy_of<T: Stored + Zeroable>(data: &[T]) -> Buffer {
        Buffer::build(data.len(), |out: &mut [T]| out.copy_from_slice(data))
    }

    fn storage(&self) -> &Arc<Storage> {
        self.0.as_ref().expect("alive")
    }

    #[inline]
    pub fn as_slice<T: Stored>(&self) -> &[T] {
        T::memory(self.storage())
    }

    /// The memory in whole blocks, for elementwise loops.
    #[inline]
    pub fn blocks<T: Stored>(&self) -> &[[T; BLOCK]] {
        T::memory(self.storage()).blocks()
    }

    /// The elements for writing, if nobody else holds this buffer.
    #[inline]
    pub fn unique_mut<T: Stored>(&mut self) -> Option<&mut [T]> {
        Arc::get_mut(self.0.as_mut().expect("alive")).map(|storage| &mut **T::memory_mut(storage))
    }

    /// The memory in whole blocks for writing, if nobody else holds this buffer.
    #[inline]
    pub fn unique_blocks_mut<T: Stored>(&mut self) -> Option<&mut [[T; BLOCK]]> {
        Arc::get_mut(self.0.as_mut().expect("alive")).map(|storage| T::memory_mut(storage).blocks_mut())
    }

    /// The elements for writing: in place if nobody else holds this buffer, in a copy otherwise.
    pub fn make_mut<T: Stored + Zeroable>(&mut self) -> &mut [T] {
        if Arc::get_mut(self.0.as_mut().expect("alive")).is_none() {
            *self = Buffer::copy_of::<T>(self.as_slice());
        }
        self.unique_mut().expect("just made unique")
    }

    pub fn shares(&self, other: &Buffer) -> bool {
        Arc::ptr_eq(self.storage(), other.storage())
    }

    pub fn len(&self) -> usize {
        match &**self.storage() {
            Storage::F32(v) => v.len(),
            Storage::F64(v) => v.len(),
            Storage::U32(v) => v.len(),
        }
    }

    pub fn bytes(&self) -> usize {
        self.storage().bytes()
    }

    #[inline]
    pub fn dtype(&self) -> DType {
        match &**self.storage() {
            Storage::F32(_) => DType::F32,
            Storage::F64(_) => DType::F64,
            Storage::U32(_) => panic!("an index buffer has no dtype"),
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({}; {})", self.storage().name(), self.len())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(storage) = self.0.take()
            && Arc::strong_count(&storage) == 1
        {
            // Nobody else can clone what only we hold. What other owners did comes before what the next will do.
            fence(Ordering::Acquire);
            keep(storage);
        }
    }
}

// ---------------------------------------------------------------------------------------------- the pool

/// Kind and length of a buffer, in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shelf(u64);

impl Shelf {
    fn of<T: Stored>(len: usize) -> Shelf {
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

/// A hash for keys that are already well-spread numbers: one multiplication.
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

/// Buffers waiting to be used again, by kind and length.
#[derive(Default)]
struct Shelves {
    /// Those of short buffers, by number, and all others.
    short: Vec<Row>,
    rows: HashMap<Shelf, Row, FastHash>,
    bytes: usize,
    /// Counts the buffers kept and taken.
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

    /// Keeps `storage`. What the total then has beyond `limit` is given back, from the shelves that were used
    /// longest ago.
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
            surplus.push(storage);
        }
        surplus
    }
}

/// Buffers up to this size stay with the thread that drops them.
const SMALL: usize = 4096;
/// How much a thread keeps of them.
const FRONT_LIMIT: usize = 16 << 20;

/// One thread's small buffers, and its share of the live count. Only the thread itself writes its counters,
/// so counting costs no locked instruction.
struct Front {
    shelves: Shelves,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    buffers: AtomicIsize,
    bytes: AtomicIsize,
}

static COUNTERS: Mutex<Vec<Arc<Counters>>> = Mutex::new(Vec::new());
static BACK: LazyLock<Mutex<Shelves>> = LazyLock::new(Mutex::default);
/// Allocations from the system, ever.
static FRESH: AtomicUsize = AtomicUsize::new(0);
/// The most bytes of large buffers in use at once, ever, and those in use now.
static LARGE_PEAK: AtomicIsize = AtomicIsize::new(0);
static LARGE_LIVE: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static FRONT: RefCell<Front> = RefCell::new(Front {
        shelves: Shelves::default(),
        counters: {
            let counters = Arc::<Counters>::default();
            COUNTERS.lock().expect("counting cannot panic").push(Arc::clone(&counters));
            counters
        },
    });
}

impl Counters {
    fn add(&self, buffers: isize, bytes: isize) {
        self.buffers.store(self.buffers.load(Relaxed) + buffers, Relaxed);
        self.bytes.store(self.bytes.load(Relaxed) + bytes, Relaxed);
    }
}

/// Counts buffers where this thread can no longer: it is ending, and has given up its front.
fn count_orphan(buffers: isize, bytes: isize) {
    let orphan = Counters { buffers: buffers.into(), bytes: bytes.into() };
    COUNTERS.lock().expect("counting cannot panic").push(Arc::new(orphan));
}

/// A buffer from the pool, if there is one. Counts it in any case.
fn take(shelf: Shelf) -> Option<Arc<Storage>> {
    let (bytes, small) = (shelf.bytes() as isize, shelf.bytes() <= SMALL);
    let front = FRONT.try_with(|f| {
        let mut front = f.borrow_mut();
        front.counters.add(1, bytes);
        if small { front.shelves.take(shelf) } else { None }
    });
    if front.is_err() {
        count_orphan(1, bytes);
    }
    if small {
        return front.ok().flatten();
    }
    let live = LARGE_LIVE.fetch_add(bytes, Relaxed) + bytes;
    LARGE_PEAK.fetch_max(live, Relaxed);
    BACK.lock().expect("the pool cannot panic").take(shelf)
}

/// Gives a buffer back, counted.
fn keep(storage: Arc<Storage>) {
    let (bytes, small) = (storage.bytes() as isize, storage.bytes() <= SMALL);
    let mut storage = Some(storage);
    // What does not fit is freed here, outside of lock and borrow.
    let front = FRONT.try_with(|f| {
        let mut front = f.borrow_mut();
        front.counters.add(-1, -bytes);
        storage.take_if(|_| small).map(|storage| front.shelves.keep(storage, FRONT_LIMIT))
    });
    if front.is_err() {
        count_orphan(-1, -bytes);
    }
    if small {
        return;
    }
    LARGE_LIVE.fetch_sub(bytes, Relaxed);
    let limit = 2 * LARGE_PEAK.load(Relaxed).max(0) as usize;
    let _surplus = storage.map(|storage| BACK.lock().expect("the pool cannot panic").keep(storage, limit));
}

/// What tensor memory is in use. See [`memory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Buffers that some tensor or graph node holds.
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
    let counters = COUNTERS.lock().expect("counting cannot panic");
    Memory {
        live_buffers: counters.iter().map(|c| c.buffers.load(Relaxed)).sum(),
        live_bytes: counters.iter().map(|c| c.bytes.load(Relaxed)).sum(),
        allocations: FRESH.load(Relaxed),
    }
}

/// Gives the memory that waits in the shared pool, and in the calling thread's, back to the system.
pub fn release_memory() {
    let back = std::mem::take(&mut *BACK.lock().expect("the pool cannot panic"));
    let front = FRONT.with(|f| std::mem::take(&mut f.borrow_mut().shelves));
    drop((back, front));
}
