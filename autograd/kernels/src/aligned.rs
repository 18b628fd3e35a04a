//! A fixed-length heap slice on a 64-byte boundary: one cache line, one AVX-512 register.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A heap slice of numbers aligned to 64 bytes, zero-initialised.
///
/// A plain `Vec` starts 16 bytes into a page when it is large, so that every 64-byte load would straddle
/// two cache lines. The memory is whole blocks of numbers: a loop over them has no remainder.
pub struct Aligned<T: Copy> {
    ptr: NonNull<T>,
    len: usize,
}

/// The boundary, in bytes.
pub const ALIGN: usize = 64;
/// Numbers of a block: enough for every register width.
pub const BLOCK: usize = 16;

impl<T: Copy> Aligned<T> {
    /// `len` zeros (all bits clear). Only used with types for which that is a value: numbers.
    ///
    /// # Panics
    /// If there is no memory for them.
    #[track_caller]
    pub fn zeroed(len: usize) -> Self
    where
        T: Zeroable,
    {
        let bytes = len * size_of::<T>();
        Self::try_zeroed(len).unwrap_or_else(|| panic!("out of memory: {bytes} bytes are needed"))
    }

    /// As [`Aligned::zeroed`], or `None` if there is no memory for them.
    pub fn try_zeroed(len: usize) -> Option<Self>
    where
        T: Zeroable,
    {
        if len == 0 {
            return Some(Aligned { ptr: NonNull::dangling(), len });
        }
        let layout = Self::layout(len);
        // SAFETY: the layout has a non-zero size, since T is a number and len > 0.
        let raw = unsafe { alloc_zeroed(layout) }.cast::<T>();
        NonNull::new(raw).map(|ptr| Aligned { ptr, len })
    }

    /// The memory in whole blocks: after the elements, the rest of the last block holds arbitrary values.
    #[inline]
    pub fn blocks(&self) -> &[[T; BLOCK]] {
        // SAFETY: the layout has room for whole blocks, all of them initialised.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr().cast(), self.len.div_ceil(BLOCK)) }
    }

    /// As [`Aligned::blocks`], for writing, the rest included.
    #[inline]
    pub fn blocks_mut(&mut self) -> &mut [[T; BLOCK]] {
        // SAFETY: as in blocks, and we have exclusive access.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr().cast(), self.len.div_ceil(BLOCK)) }
    }

    fn layout(len: usize) -> Layout {
        let whole = len.checked_next_multiple_of(BLOCK);
        let bytes = whole.and_then(|len| len.checked_mul(size_of::<T>()));
        let bytes = bytes.expect("allocation larger than the address space");
        Layout::from_size_align(bytes, ALIGN).expect("allocation larger than the address space")
    }
}

/// Number types for which all-zero bits are the value 0.
///
/// # Safety
/// All-zero bits must be a valid value.
pub unsafe trait Zeroable: Copy {}
// SAFETY: zero bits are 0 for each of these.
unsafe impl Zeroable for f32 {}
// SAFETY: as above.
unsafe impl Zeroable for f64 {}
// SAFETY: as above.
unsafe impl Zeroable for u32 {}

impl<T: Copy> Drop for Aligned<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in `zeroed` with the same layout.
            unsafe { dealloc(self.ptr.as_ptr().cast(), Self::layout(self.len)) }
        }
    }
}

impl<T: Copy> Deref for Aligned<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: ptr points to len initialised elements, or len is 0.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for Aligned<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in deref, and we have exclusive access.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

// SAFETY: Aligned owns its memory like a Vec.
unsafe impl<T: Copy + Send> Send for Aligned<T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Sync> Sync for Aligned<T> {}
