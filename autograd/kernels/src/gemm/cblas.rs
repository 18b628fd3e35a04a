//! The two functions of CBLAS, and operands in its terms.
//!
//! The library is linked by the build script: `openblas`, or what `COMHE_BLAS` names (`blis`, `mkl_rt`, `cblas`,
//! `framework=Accelerate`). Its integers must have 32 bits (LP64).

use std::ffi::c_int;
use std::sync::Once;

use super::pack::Source;

/// Rows or columns of a matrix one after another.
#[repr(C)]
pub(super) enum Layout {
    RowMajor = 101,
}

/// Whether an operand is used as it is stored, or its transpose.
#[repr(C)]
pub(super) enum Order {
    NoTrans = 111,
    Trans = 112,
}

macro_rules! declare {
    ($name:ident, $t:ty) => {
        pub(super) fn $name(
            layout: Layout,
            a_order: Order,
            b_order: Order,
            m: c_int,
            n: c_int,
            k: c_int,
            alpha: $t,
            a: *const $t,
            lda: c_int,
            b: *const $t,
            ldb: c_int,
            beta: $t,
            c: *mut $t,
            ldc: c_int,
        );
    };
}

unsafe extern "C" {
    declare!(cblas_sgemm, f32);
    declare!(cblas_dgemm, f64);
    #[cfg(blas_is_openblas)]
    fn openblas_set_num_threads(threads: c_int);
}

/// Sets OpenBLAS to one thread per call, once. Other libraries have an environment variable for that
/// (`BLIS_NUM_THREADS`, `MKL_NUM_THREADS`).
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    #[cfg(blas_is_openblas)]
    // SAFETY: it sets a number.
    ONCE.call_once(|| unsafe { openblas_set_num_threads(1) });
    #[cfg(not(blas_is_openblas))]
    ONCE.call_once(|| ());
}

/// A size as a CBLAS integer.
///
/// # Panics
/// If it is 2^31 or more.
pub(super) fn int(n: usize) -> c_int {
    c_int::try_from(n).unwrap_or_else(|_| panic!("gemm by blas: a matrix has a side of {n}, 2^31 or more"))
}

/// How an m x k left operand lies, and the distance of its rows, or columns if transposed.
pub(super) fn left<T>(a: Source<T>, m: usize, k: usize) -> (Order, c_int) {
    // With one row or step any distance will do, but it has to be at least the length of a line.
    if a.depth == 1 {
        (Order::NoTrans, int(a.line.max(k).max(1)))
    } else {
        (Order::Trans, int(a.depth.max(m).max(1)))
    }
}

/// As [`left`], of a k x n right operand.
pub(super) fn right<T>(b: Source<T>, k: usize, n: usize) -> (Order, c_int) {
    if b.line == 1 {
        (Order::NoTrans, int(b.depth.max(n).max(1)))
    } else {
        (Order::Trans, int(b.line.max(k).max(1)))
    }
}
