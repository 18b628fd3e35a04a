//! Which vector instructions this machine has, detected at run time.

use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::environment;
use crate::real::{Arithmetic, Fused, Plain};

/// An instruction set that kernels are compiled for. Higher is wider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// The instructions that the target guarantees (SSE2 on x86-64, NEON on aarch64).
    Portable = 1,
    /// AVX2 with FMA: 8 f32 lanes.
    Avx2 = 2,
    /// AVX-512 F, BW, DQ, VL: 16 f32 lanes.
    Avx512 = 3,
}

impl FromStr for Level {
    type Err = String;

    fn from_str(name: &str) -> Result<Level, String> {
        match name {
            "portable" => Ok(Level::Portable),
            "avx2" => Ok(Level::Avx2),
            "avx512" => Ok(Level::Avx512),
            _ => Err("is invalid; it must be portable, avx2 or avx512".to_string()),
        }
    }
}

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The instruction set in use: the widest that the machine has, unless [`set_level`] or the environment
/// variable `COMHE_SIMD` (`portable`, `avx2`, `avx512`) requests a narrower one. Below AVX2, matrix products are those
/// of the crate matrixmultiply, which detects the instruction set itself (see [`crate::gemm::Backend`]).
///
/// # Panics
/// If `COMHE_SIMD` is invalid ([`environment::check`] finds out beforehand).
#[inline]
pub fn level() -> Level {
    match LEVEL.load(Relaxed) {
        1 => Level::Portable,
        2 => Level::Avx2,
        3 => Level::Avx512,
        _ => {
            let best = detect();
            let wanted = environment::simd().unwrap_or_else(|message| panic!("{message}"));
            let level = wanted.map_or(best, |wanted| wanted.min(best));
            // Unless set_level was called concurrently.
            let _ = LEVEL.compare_exchange(0, level as u8, Relaxed, Relaxed);
            self::level()
        }
    }
}

/// Uses `level`, or the widest below it that this machine has, from the next kernel on; returns what is used.
pub fn set_level(level: Level) -> Level {
    let level = level.min(detect());
    LEVEL.store(level as u8, Relaxed);
    level
}

/// Prefetches the cache lines of `count` numbers from `p` on, which may be any address. The hardware prefetcher
/// restarts at every 4 KiB page and needs some misses to do so.
#[inline(always)]
pub(crate) fn prefetch<T>(p: *const T, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for i in (0..count).step_by(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch affects only the timing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(i).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (p, count);
}

/// The widest instruction set that this machine has.
pub fn detect() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if avx2 && avx512 {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
    }
    Level::Portable
}

/// A computation that is compiled once for each instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The computation. Implementations must be `#[inline(always)]`, so that they are compiled inside the
    /// function that has the instruction set enabled.
    fn run<A: Arithmetic>(self) -> Self::Output;
}

/// Runs `kernel` with the instruction set in use.
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn avx512<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Fused>()
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Fused>()
        }
        match level() {
            // SAFETY: level() returns only what the machine has.
            Level::Avx512 => return unsafe { avx512(kernel) },
            // SAFETY: as above.
            Level::Avx2 => return unsafe { avx2(kernel) },
            Level::Portable => {}
        }
    }
    if FUSED { kernel.run::<Fused>() } else { kernel.run::<Plain>() }
}

/// Whether a multiply-add is one instruction on every machine of the target, as on aarch64.
pub(crate) const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// The level and the number of threads belong to the process: tests that set them or compare bits take turns.
#[cfg(test)]
pub(crate) static SETTINGS: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names() {
        assert_eq!("avx2".parse(), Ok(Level::Avx2));
        assert!("sse".parse::<Level>().unwrap_err().contains("portable, avx2 or avx512"));
    }

    /// All tests of this crate, with each instruction set that this machine has but would not use.
    #[test]
    fn every_test_passes_with_narrower_instruction_sets() {
        // Other machines have portable loops alone.
        if std::env::var_os("COMHE_SIMD").is_some() || !cfg!(target_arch = "x86_64") {
            return;
        }
        for level in ["avx2", "portable"] {
            let tests = std::env::current_exe().unwrap();
            let output = std::process::Command::new(tests).env("COMHE_SIMD", level).output().unwrap();
            let out = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && out.contains("test result: ok."), "{level}:\n{out}");
        }
    }
}
