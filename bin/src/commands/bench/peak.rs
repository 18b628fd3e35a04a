//! `comhe bench peak`: what this machine does at most.

use std::fmt;

use autograd::{DType, machine};
use clap::Args;
use serde_json::json;

use crate::config::Config;
use crate::failure::Failure;
use crate::{output, setup, system};

/// Multiply-adds in registers, and bytes through memory, of all threads together; a cache line to another core and back
#[derive(Args, Debug)]
pub struct PeakBench {
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// JSON
    #[arg(long)]
    json: bool,
}

impl PeakBench {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let config = Config { threads: self.threads, ..Config::default() };
        config.check()?;
        setup::apply(&config);
        let peak = Peak::measured();
        if self.json {
            return output::json(&json!({
                "gflops_f32": peak.single,
                "gflops_f64": peak.double,
                "gb_s": peak.gb_s,
                "round_trip_ns": peak.round_trip_ns,
                "threads": peak.threads,
                "cpu": system::cpu(),
            }));
        }
        output::line(&format!("{}: {peak}", system::cpu()))
    }
}

/// What this machine does at most, with the threads in force.
pub struct Peak {
    threads: usize,
    single: f64,
    double: f64,
    /// Bytes through memory, in 10^9 a second.
    pub gb_s: f64,
    /// A cache line to another core and back, with more than one thread and a core for each.
    round_trip_ns: Option<f64>,
}

impl Peak {
    /// Measures it: half a second.
    pub fn measured() -> Peak {
        const TRIES: usize = 5;
        Peak {
            threads: autograd::threads(),
            single: machine::flops_f32(TRIES) / 1e9,
            double: machine::flops_f64(TRIES) / 1e9,
            gb_s: machine::bandwidth(TRIES) / 1e9,
            round_trip_ns: (autograd::threads() > 1)
                .then(|| machine::round_trip(10 * TRIES))
                .flatten()
                .map(|seconds| 1e9 * seconds),
        }
    }

    /// Floating-point operations in 10^9 a second.
    pub fn gflops(&self, dtype: DType) -> f64 {
        if dtype == DType::F32 { self.single } else { self.double }
    }
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} GFLOP/s in f32, {:.0} in f64, {:.1} GB/s, with {} thread{}",
            self.single,
            self.double,
            self.gb_s,
            self.threads,
            if self.threads == 1 { "" } else { "s" }
        )?;
        match self.round_trip_ns {
            Some(ns) => write!(f, "; {ns:.0} ns to another core and back"),
            None => Ok(()),
        }
    }
}
