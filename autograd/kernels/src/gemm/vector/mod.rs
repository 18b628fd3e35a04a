//! One SIMD register of f32 or f64, for the kernels that the compiler does not vectorise well.

use std::marker::PhantomData;

use crate::real::Element;
use crate::simd::{FUSED, Level};

#[cfg(target_arch = "x86_64")]
mod x86;

/// A register of [`Vector::LANES`] numbers of type `T`.
///
/// Only unsafe functions create values; they require the instruction set. So arithmetic on an existing value is safe.
pub trait Vector<T>: Copy {
    /// Numbers in a register; a power of two.
    const LANES: usize;
    /// `v` in every lane.
    ///
    /// # Safety
    /// The machine must have the instruction set.
    unsafe fn splat(v: T) -> Self;
    /// The numbers from `p` on, at any alignment.
    ///
    /// # Safety
    /// The machine must have the instruction set, and `LANES` numbers must be readable at `p`.
    unsafe fn load(p: *const T) -> Self;
    /// Writes the numbers from `p` on.
    ///
    /// # Safety
    /// `LANES` numbers must be writable at `p`.
    unsafe fn store(self, p: *mut T);
    /// self + b.
    fn add(self, b: Self) -> Self;
    /// self - b.
    fn sub(self, b: Self) -> Self;
    /// self * b.
    fn mul(self, b: Self) -> Self;
    /// self * b + c.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// The larger of `self` and |b|, lane by lane; NaN is larger than infinity. `self` must not be negative.
    fn max_abs(self, b: Self) -> Self;
    /// The lanes of both taken in turns: (a0 b0 a1 b1 ..., the second halves likewise).
    fn zip(self, b: Self) -> (Self, Self);
    /// Writes the transpose of the `LANES` x `LANES` matrix at `src` to `dst`; rows are `ld` and `ldd` apart.
    ///
    /// # Safety
    /// As [`Vector::load`] and [`Vector::store`], for every row.
    unsafe fn transpose(src: *const T, ld: usize, dst: *mut T, ldd: usize);
}

/// A computation written for registers and tiles of `R` rows, compiled once for each instruction set.
pub trait TileKernel<T> {
    /// The computation. Implementations must be `#[inline(always)]`, and so must what they call.
    ///
    /// # Safety
    /// The machine must have the instruction set of `V`.
    unsafe fn run<V: Vector<T>, const R: usize>(self);
}

/// Rows and columns of the register tile at `level`, as given to [`TileKernel::run`] (columns: two registers).
pub fn tile<T>(level: Level) -> (usize, usize) {
    match level {
        Level::Avx512 => (8, 128 / size_of::<T>()),
        Level::Avx2 => (4, 64 / size_of::<T>()),
        Level::Portable => (4, 8),
    }
}

/// Runs `kernel` with the instructions of `level`.
///
/// # Safety
/// The machine must have them: `level` comes from [`crate::simd::level`].
#[inline]
pub unsafe fn dispatch<T: Element, K: TileKernel<T>>(level: Level, kernel: K) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn avx512<T: Element, K: TileKernel<T>>(kernel: K) {
            // SAFETY: the instruction set is switched on.
            unsafe { kernel.run::<x86::Avx512<T>, 8>() }
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<T: Element, K: TileKernel<T>>(kernel: K) {
            // SAFETY: as above.
            unsafe { kernel.run::<x86::Avx2<T>, 4>() }
        }
        match level {
            // SAFETY: the caller's promise.
            Level::Avx512 => return unsafe { avx512(kernel) },
            // SAFETY: as above.
            Level::Avx2 => return unsafe { avx2(kernel) },
            Level::Portable => {}
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = level;
    // SAFETY: plain arithmetic runs everywhere.
    unsafe { kernel.run::<Portable<T>, 4>() }
}

/// The transpose of R rows of numbers, as a sequence of registers: rotating the bits of every index by
/// log2 R, one perfect shuffle per bit.
#[inline(always)]
pub fn transposed<T, V: Vector<T>, const R: usize>(mut rows: [V; R]) -> [V; R] {
    let mut bit = 1;
    while bit < R {
        let old = rows;
        for i in 0..R / 2 {
            (rows[2 * i], rows[2 * i + 1]) = old[i].zip(old[i + R / 2]);
        }
        bit *= 2;
    }
    rows
}

/// [`Vector::transpose`] for `R` = `LANES`.
#[inline(always)]
unsafe fn square<T: Element, V: Vector<T>, const R: usize>(
    src: *const T,
    ld: usize,
    dst: *mut T,
    ldd: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut rows = [V::splat(T::ZERO); R];
        for i in 0..R {
            rows[i] = V::load(src.add(i * ld));
        }
        let columns = transposed::<T, V, R>(rows);
        for i in 0..R {
            columns[i].store(dst.add(i * ldd));
        }
    }
}

/// Four numbers, left to the compiler.
#[derive(Clone, Copy)]
pub struct Portable<T>([T; 4], PhantomData<T>);

impl<T: Element> Portable<T> {
    #[inline(always)]
    fn zip_with(self, b: Self, f: impl Fn(T, T) -> T) -> Self {
        Portable(std::array::from_fn(|i| f(self.0[i], b.0[i])), PhantomData)
    }
}

impl<T: Element> Vector<T> for Portable<T> {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn splat(v: T) -> Self {
        Portable([v; 4], PhantomData)
    }
    #[inline(always)]
    unsafe fn load(p: *const T) -> Self {
        // SAFETY: the caller's promise.
        Portable(unsafe { p.cast::<[T; 4]>().read() }, PhantomData)
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut T) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[T; 4]>().write(self.0) }
    }
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        self.zip_with(b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        self.zip_with(b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        self.zip_with(b, |a, b| a * b)
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        let fused =
            |i: usize| if FUSED { self.0[i].fma(b.0[i], c.0[i]) } else { self.0[i] * b.0[i] + c.0[i] };
        Portable(std::array::from_fn(fused), PhantomData)
    }
    #[inline(always)]
    fn max_abs(self, b: Self) -> Self {
        self.zip_with(b, |a, b| {
            let b = if b < T::ZERO { -b } else { b };
            if b <= a || a.partial_cmp(&a).is_none() { a } else { b }
        })
    }
    #[inline(always)]
    fn zip(self, b: Self) -> (Self, Self) {
        let (a, b) = (self.0, b.0);
        (Portable([a[0], b[0], a[1], b[1]], PhantomData), Portable([a[2], b[2], a[3], b[3]], PhantomData))
    }
    #[inline(always)]
    unsafe fn transpose(src: *const T, ld: usize, dst: *mut T, ldd: usize) {
        // SAFETY: the caller's promise.
        unsafe { square::<T, Self, 4>(src, ld, dst, ldd) }
    }
}
