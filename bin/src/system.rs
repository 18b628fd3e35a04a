//! What a record of a run says about the machine and the time.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::Failure;

/// The commit that the command was built from.
pub const COMMIT: &str = env!("COMHE_COMMIT");

/// The processor's name, as far as the system tells.
pub fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or(std::env::consts::ARCH.to_string(), |(_, name)| name.trim().to_string())
}

/// The processor's instructions that the arithmetic knows how to use, as far as it has them.
pub fn cpu_features() -> Vec<&'static str> {
    let mut found: Vec<(&str, bool)> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        found.extend([
            ("sse4.2", has!("sse4.2")),
            ("avx", has!("avx")),
            ("avx2", has!("avx2")),
            ("fma", has!("fma")),
            ("avx512f", has!("avx512f")),
            ("avx512bw", has!("avx512bw")),
            ("avx512dq", has!("avx512dq")),
            ("avx512vl", has!("avx512vl")),
        ]);
    }
    #[cfg(target_arch = "aarch64")]
    found.push(("neon", std::arch::is_aarch64_feature_detected!("neon")));
    found.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

/// The instruction set that the kernels use.
pub fn instructions() -> String {
    format!("{:?}", kernels::simd::level()).to_lowercase()
}

/// This process's command, as a shell would take it.
pub fn command() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    let quoted = |word: String| match word.chars().all(plain) && !word.is_empty() {
        true => word,
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    std::env::args_os().map(|word| quoted(word.to_string_lossy().into_owned())).collect::<Vec<_>>().join(" ")
}

/// The most memory this process has held so far, in MiB; None where the system does not tell.
pub fn peak_memory() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? / 1024.0)
}

/// The memory this process holds now, in MiB; None where the system does not tell.
pub fn memory() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? / 1024.0)
}

/// The memory that could be had without swapping, in bytes; None where the system does not tell.
fn available_memory() -> Option<f64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? * 1024.0)
}

/// An error before anything is allocated, if `what` needs more bytes than there are.
pub fn check_memory(bytes: f64, what: &str, advice: &str) -> Result<(), Failure> {
    const GIB: f64 = (1u64 << 30) as f64;
    match available_memory() {
        Some(free) if bytes > free => Err(Failure::usage(format_args!(
            "{what} needs about {:.1} GiB of memory, and {:.1} GiB are free; {advice}",
            bytes / GIB,
            free / GIB
        ))),
        _ => Ok(()),
    }
}

/// The time now, in UTC: 2024-02-29T12:00:00Z.
pub fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    utc(seconds)
}

/// Seconds since 1970 as a date. Years are counted from March, so that a leap day comes last (Hinnant's
/// days-from-civil algorithm, backwards).
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let days = days + 719_468; // from 1 March of the year 0 on
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(utc(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(utc(1_735_689_600), "2025-01-01T00:00:00Z");
        assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
