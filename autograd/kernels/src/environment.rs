//! Settings that come from environment variables, for experiments with a program that has no flag for them.

use std::str::FromStr;

use crate::gemm::Backend;
use crate::simd::Level;

/// Checks `COMHE_SIMD` and `COMHE_GEMM`, for programs that report an error before they compute anything.
///
/// # Errors
/// If one of them is invalid: one line that says which, and what is possible.
pub fn check() -> Result<(), String> {
    simd()?;
    gemm().map(drop)
}

/// The instruction set that `COMHE_SIMD` requests.
pub(crate) fn simd() -> Result<Option<Level>, String> {
    read("COMHE_SIMD")
}

/// The backend that `COMHE_GEMM` requests.
pub(crate) fn gemm() -> Result<Backend, String> {
    Ok(read("COMHE_GEMM")?.unwrap_or(Backend::Auto))
}

fn read<T: FromStr<Err = String>>(name: &str) -> Result<Option<T>, String> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = value.to_string_lossy();
    value.parse().map(Some).map_err(|message| format!("environment variable {name}: {value:?} {message}"))
}
