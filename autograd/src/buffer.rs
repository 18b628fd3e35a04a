//! Shared memory of tensors. A dropped buffer is returned to the buffer pool ([`crate::pool`]) and reused.
//!
//! Reused memory keeps its old contents; with debug assertions, or the crate feature `poison` (which the workspace's
//! tests switch on), it is filled with NaN instead, so that a kernel that leaves an element unwritten fails loudly.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use kernels::aligned::{Aligned, BLOCK, Zeroable};

use crate::dtype::{DType, Stored};
use crate::pool::{self, Shelf};

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

    pub fn bytes(&self) -> usize {
        match self {
            Storage::F32(v) => v.len() * 4,
            Storage::F64(v) => v.len() * 8,
            Storage::U32(v) => v.len() * 4,
        }
    }

    /// The key of this kind and length in the buffer pool.
    pub fn shelf(&self) -> Shelf {
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
    /// An uninitialised buffer: it holds stale values, or NaN in checked builds.
    #[track_caller]
    pub fn uninit<T: Stored + Zeroable>(len: usize) -> Buffer {
        Buffer::uninit_of::<T>(&[len])
    }

    /// As [`Buffer::uninit`], for a tensor of shape `dims`.
    #[track_caller]
    fn uninit_of<T: Stored + Zeroable>(dims: &[usize]) -> Buffer {
        let len = dims.iter().product();
        let storage = match pool::take(Shelf::of::<T>(len)) {
            Some(mut storage) => {
                if cfg!(any(debug_assertions, feature = "poison")) {
                    let unique = Arc::get_mut(&mut storage).expect("pooled buffers have one owner");
                    T::memory_mut(unique).fill(T::POISON);
                }
                storage
            }
            None => {
                let memory = Aligned::try_zeroed(len).or_else(|| {
                    pool::release_memory();
                    Aligned::try_zeroed(len)
                });
                Arc::new(T::wrap(memory.unwrap_or_else(|| pool::out_of_memory::<T>(dims))))
            }
        };
        Buffer(Some(storage))
    }

    /// A buffer written by `write`, which must set every element.
    #[inline]
    #[track_caller]
    pub fn build<T: Stored + Zeroable>(len: usize, write: impl FnOnce(&mut [T])) -> Buffer {
        Buffer::build_of(&[len], write)
    }

    /// As [`Buffer::build`], for a tensor of shape `dims`.
    #[inline]
    #[track_caller]
    pub fn build_of<T: Stored + Zeroable>(dims: &[usize], write: impl FnOnce(&mut [T])) -> Buffer {
        let mut buffer = Buffer::uninit_of::<T>(dims);
        write(buffer.unique_mut().expect("new buffers have one owner"));
        buffer
    }

    /// As [`Buffer::build_of`], in whole blocks: what is written after the elements has no effect.
    #[inline]
    #[track_caller]
    pub fn build_blocks<T: Stored + Zeroable>(
        dims: &[usize],
        write: impl FnOnce(&mut [[T; BLOCK]]),
    ) -> Buffer {
        let mut buffer = Buffer::uninit_of::<T>(dims);
        write(buffer.unique_blocks_mut().expect("new buffers have one owner"));
        buffer
    }

    /// A copy of a slice.
    #[track_caller]
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

    /// The elements for writing, if this buffer is not shared.
    #[inline]
    pub fn unique_mut<T: Stored>(&mut self) -> Option<&mut [T]> {
        Arc::get_mut(self.0.as_mut().expect("alive")).map(|storage| &mut **T::memory_mut(storage))
    }

    /// The memory in whole blocks for writing, if this buffer is not shared.
    #[inline]
    pub fn unique_blocks_mut<T: Stored>(&mut self) -> Option<&mut [[T; BLOCK]]> {
        Arc::get_mut(self.0.as_mut().expect("alive")).map(|storage| T::memory_mut(storage).blocks_mut())
    }

    /// The elements for writing: in place if this buffer is not shared, in a copy otherwise.
    #[track_caller]
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
        let Some(storage) = self.0.take() else { return };
        if Arc::strong_count(&storage) == 1 {
            // No other owner exists that could clone it. The fence orders the writes of previous owners before the next
            // use.
            fence(Ordering::Acquire);
            pool::keep(storage);
        } else if let Some(storage) = Arc::into_inner(storage) {
            // The other owners dropped it concurrently; exactly one owner reaches this line.
            pool::keep(Arc::new(storage));
        }
    }
}
