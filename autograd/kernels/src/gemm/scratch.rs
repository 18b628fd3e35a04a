//! Working memory that is kept from call to call.

use std::cell::RefCell;

use crate::aligned::Aligned;
use crate::real::Element;

thread_local! {
    static IDLE: RefCell<Vec<Aligned<u32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `len` numbers of this thread's working memory, aligned to 64 bytes.
///
/// They hold stale values from earlier calls. Calls may nest: each gets its own memory.
pub fn with<T: Element, O>(len: usize, f: impl FnOnce(&mut [T]) -> O) -> O {
    let words = len * size_of::<T>() / size_of::<u32>();
    let mut memory = IDLE.with_borrow_mut(|idle| idle.pop()).unwrap_or_else(|| Aligned::zeroed(0));
    // Never zero bytes: an empty allocation is not aligned.
    if memory.len() < words.max(1) {
        drop(memory);
        memory = Aligned::zeroed(words.max(1));
    }
    // SAFETY: the memory is aligned to 64 bytes, initialised, long enough, and any bits are a valid number.
    let out = f(unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), len) });
    IDLE.with_borrow_mut(|idle| idle.push(memory));
    out
}
