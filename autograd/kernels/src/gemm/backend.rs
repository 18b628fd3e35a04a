//! The code that computes matrix products.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::environment;
use crate::simd::{self, Level};

/// The code that computes matrix products ([`gemm`](super::gemm), [`batched`](super::batched), [`gram`](crate::gram::gram)). The
/// kernels of convolutions are this crate's own in any case.
///
/// Every backend gives the same bits for any number of threads; different backends differ in rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Backend {
    /// This crate's kernels on x86-64 with AVX2 or AVX-512, [`Backend::Matrixmultiply`] on everything else.
    Auto = 1,
    /// This crate's kernels.
    Own = 2,
    /// The crate `matrixmultiply`, with the instruction set that it finds (AVX2, FMA, AVX, SSE2, NEON).
    Matrixmultiply = 3,
    /// A CBLAS: OpenBLAS, or the library that the environment variable `COMHE_BLAS` named when this crate was built. Only
    /// with the feature `blas`.
    Blas = 4,
}

/// All of them, with their names.
const NAMES: [(Backend, &str); 4] = [
    (Backend::Auto, "auto"),
    (Backend::Own, "own"),
    (Backend::Matrixmultiply, "matrixmultiply"),
    (Backend::Blas, "blas"),
];

impl Backend {
    /// Whether this build has it: all but [`Backend::Blas`], which needs the feature `blas`.
    pub fn is_available(self) -> bool {
        self != Backend::Blas || cfg!(feature = "blas")
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(NAMES[*self as usize - 1].1)
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(name: &str) -> Result<Backend, String> {
        let known = NAMES.iter().find(|(_, known)| *known == name);
        let (backend, _) = known.ok_or("is invalid; it must be auto, own, matrixmultiply or blas")?;
        if !backend.is_available() {
            return Err("needs a build with the feature blas (cargo build --features blas)".to_string());
        }
        Ok(*backend)
    }
}

/// The backend as a number; 0 until the first product or [`set_backend`].
static BACKEND: AtomicU8 = AtomicU8::new(0);

/// Sets the code that computes matrix products, from the next one on. [`Backend::Blas`] sets OpenBLAS to one thread in the whole
/// process: threads share blocks of a product instead. Without a call it is what the environment variable
/// `COMHE_GEMM` names (`auto`, `own`, `matrixmultiply`, `blas`), by default [`Backend::Auto`].
///
/// # Panics
/// If this build does not have it: see [`Backend::is_available`].
pub fn set_backend(backend: Backend) {
    assert!(backend.is_available(), "set_backend: {backend} needs a build with the feature blas");
    prepare(backend);
    BACKEND.store(backend as u8, Relaxed);
}

/// Settings of the library, before its first product.
fn prepare(backend: Backend) {
    #[cfg(feature = "blas")]
    if backend == Backend::Blas {
        super::cblas::prepare();
    }
    let _ = backend;
}

/// The backend that was set.
///
/// # Panics
/// If `COMHE_GEMM` is invalid ([`environment::check`] finds out beforehand).
pub fn backend() -> Backend {
    match BACKEND.load(Relaxed) {
        0 => {
            let wanted = environment::gemm().unwrap_or_else(|message| panic!("{message}"));
            prepare(wanted);
            // Unless set_backend was called concurrently.
            let _ = BACKEND.compare_exchange(0, wanted as u8, Relaxed, Relaxed);
            backend()
        }
        n => NAMES[usize::from(n) - 1].0,
    }
}

/// The backend that computes: [`backend`], with [`Backend::Auto`] resolved for this machine.
pub fn backend_in_use() -> Backend {
    match backend() {
        Backend::Auto if simd::level() == Level::Portable => Backend::Matrixmultiply,
        Backend::Auto => Backend::Own,
        backend => backend,
    }
}
