//! `comhe bench`: how long training steps and single operations take here.

use std::time::Instant;

use autograd::{DType, GemmBackend, Key, Tensor, gemm_backend, set_gemm_backend};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::config::{Config, Conv, Precision, parts};
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::statistics::median;
use crate::{memory, setup, system};
use peak::Peak;

mod diff;
mod growth;
mod methods;
mod networks;
mod ops;
mod peak;
mod profile;

/// Time training steps and single operations
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe bench step --model cnn9 --batch-size 128 --json
  comhe bench step --model lenet --reg rp --threads 1
  comhe bench step --model cnn9 --profile        where the time of a step goes, by operation
  comhe bench ops --threads 2
  comhe bench networks --json > before.jsonl
  comhe bench diff before.jsonl after.jsonl      what became faster, what slower
  comhe bench methods                            what each method, loss and penalty costs a step
  comhe bench growth                             how cost grows: neurons, dimensions, batch, width, threads
  comhe bench peak

Shares of the peak are of what this machine was measured to do at most, just then: multiply-adds in
registers, and a[i] = b[i] + 3 c[i] in memory. FLOPs and bytes are those that a profile counts.
Convolutions count as sums of products: where Winograd's algorithm does with fewer, GFLOP/s can
exceed the peak. Bytes count every input, output and kept tensor once: what stays in caches can
exceed the memory's rate.")]
pub struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Step(StepBench),
    Ops(ops::OpsBench),
    Networks(networks::NetworksBench),
    Methods(methods::MethodsBench),
    Growth(growth::GrowthBench),
    Peak(peak::PeakBench),
    Diff(diff::Diff),
}

/// A training step on fixed random images: forward, cross-entropy, backward, SGD with momentum and weight decay
#[derive(Args, Debug)]
struct StepBench {
    /// lenet (1 x 28 x 28 images, 10 classes) or any other (3 x 32 x 32, 100 classes)
    #[arg(long, value_name = "NAME", default_value = "cnn9")]
    model: String,
    /// Multiplies the filters [default: 4 for cnn, 1 otherwise]
    #[arg(long, value_name = "WIDTH")]
    width: Option<usize>,
    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch_size: usize,
    /// A regulariser, at its published setting
    #[arg(long, value_name = "NAME", default_value = "none")]
    reg: String,
    /// Arithmetic
    #[arg(long, value_enum, default_value_t)]
    dtype: Precision,
    /// Algorithm of 3x3 convolutions (5x5 ones: auto or direct)
    #[arg(long, value_enum, default_value_t)]
    conv: Conv,
    /// A table of one more step, by operation
    #[arg(long)]
    profile: bool,
    #[command(flatten)]
    timing: Timing,
}

/// How it is timed.
#[derive(Args, Debug)]
struct Timing {
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Timed repetitions, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 9)]
    repeat: usize,
    /// Repetitions before those
    #[arg(long, value_name = "N", default_value_t = 2)]
    warm_up: usize,
    /// JSON: one object a line
    #[arg(long)]
    json: bool,
}

impl Bench {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Step(bench) => bench.run(),
            What::Ops(bench) => bench.run(),
            What::Networks(bench) => bench.run(),
            What::Methods(bench) => bench.run(),
            What::Growth(bench) => bench.run(),
            What::Peak(bench) => bench.run(),
            What::Diff(diff) => diff.run(),
        }
    }
}

impl Timing {
    fn check(&self, batch_size: usize) -> Result<(), Failure> {
        for (name, value) in [("repeat", self.repeat), ("batch-size", batch_size)] {
            if value == 0 {
                return Err(Failure::usage(format_args!("--{name} is 0; it must be at least 1")));
            }
        }
        Ok(())
    }

    /// Milliseconds a call, sorted.
    fn measure(&self, mut f: impl FnMut()) -> Vec<f64> {
        (0..self.warm_up).for_each(|_| f());
        let mut once = || {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64() * 1e3
        };
        let mut times: Vec<f64> = (0..self.repeat).map(|_| once()).collect();
        times.sort_by(f64::total_cmp);
        times
    }
}

impl StepBench {
    fn run(self) -> Result<(), Failure> {
        self.timing.check(self.batch_size)?;
        let width = self.width.unwrap_or(if self.model.starts_with("cnn") { 4 } else { 1 });
        let config = Config {
            model: self.model.clone(),
            width,
            batch_size: self.batch_size,
            reg: self.reg.clone(),
            dtype: self.dtype,
            conv: self.conv,
            threads: self.timing.threads,
            lr: Some(0.01),
            ..Config::default()
        };
        config.check()?;
        if self.conv != Conv::Auto {
            parts::check(&config, &["conv".to_string()], &[])?;
        }
        setup::apply(&config);
        let dtype = setup::dtype(&config);
        let (shape, classes) = if self.model == "lenet" { ([1, 28, 28], 10) } else { ([3, 32, 32], 100) };
        let model = nn::models::build(&self.model, shape, classes, width, Key::new(0), dtype)?;
        memory::check(&model, width, self.batch_size, dtype)?;
        if self.batch_size == 1
            && let Some(alone) = setup::alone_in_batch_norm(&model)
        {
            return Err(Failure::usage(format_args!(
                "--batch-size is 1; {alone} cannot take a variance of one value"
            )));
        }
        let mut trainer = setup::trainer(model, &config, None)?;
        let [c, h, w] = shape;
        let images = Tensor::normal([self.batch_size, c, h, w], dtype, Key::new(1));
        let labels: Vec<u32> = (0..self.batch_size as u32).map(|i| i * 7 % classes as u32).collect();
        let batch = nn::Batch::new(images, labels);
        let mut failed = None;
        let times = self.timing.measure(|| {
            if failed.is_none() {
                failed = trainer.step(&batch).err();
            }
        });
        if let Some(error) = failed {
            return Err(Failure::from(error).mid_run());
        }
        let step_ms = median(&times);
        let memory = system::peak_memory();
        let profile = autograd::profile(|| trainer.step(&batch)).1;
        let gflops = profile.flops() as f64 / (step_ms * 1e6);
        let peak = Peak::measured();
        let mut result = json!({
            "model": self.model,
            "width": width,
            "batch_size": self.batch_size,
            "reg": self.reg,
            "dtype": dtype.to_string(),
            "conv": self.conv,
            "threads": autograd::threads(),
            "step_ms": step_ms,
            "step_ms_min": times[0],
            "images_per_s": self.batch_size as f64 / step_ms * 1e3,
            "gflops": gflops,
            "of_peak": gflops / peak.gflops(dtype),
            "peak_gflops": peak.gflops(dtype),
            "peak_gb_s": peak.gb_s,
            "peak_rss_mb": memory,
            "cpu": system::cpu(),
        });
        if self.profile {
            result["profile"] = json!(profile::rows(&profile));
        }
        if self.timing.json {
            return output::json(&result);
        }
        let mut table = Table::new(["what", "value"]);
        let values = result.as_object().into_iter().flatten().filter(|(key, _)| *key != "profile");
        for (key, value) in values {
            let text = match value.as_f64() {
                Some(number) if !value.is_u64() && number < 10.0 => format!("{number:.3}"),
                Some(number) if !value.is_u64() => format!("{number:.1}"),
                _ => value.as_str().map_or_else(|| value.to_string(), String::from),
            };
            table.row([key.clone(), text]);
        }
        output::line(&table.text())?;
        match self.profile {
            true => output::line(&format!("\n{}", profile::table(&profile, &peak, dtype))),
            false => Ok(()),
        }
    }
}

/// A timed operation.
#[derive(Serialize)]
struct Row {
    op: String,
    ms: f64,
    ms_min: f64,
    /// Floating-point operations in 10^9 a second, where they are what takes the time.
    gflops: Option<f64>,
    /// Bytes of inputs and outputs in 10^9 a second, where moving them is what takes the time.
    gb_s: Option<f64>,
    /// The share of what this machine does at most.
    of_peak: Option<f64>,
    /// How many times as long the crate matrixmultiply takes for the same product, the median of runs in turn.
    over_matrixmultiply: Option<f64>,
    threads: usize,
}

/// What takes an operation's time.
#[derive(Clone, Copy)]
enum Work {
    /// So many floating-point operations of a type.
    Flops(f64, DType),
    /// Moving so many bytes.
    Bytes(f64),
    /// Something else.
    Other,
}

/// Times operations and shows them: a table at the end, or an object a line at once.
struct Rows<'a> {
    timing: &'a Timing,
    peak: Peak,
    rows: Vec<Row>,
}

impl<'a> Rows<'a> {
    /// Puts the number of threads in force, and measures what the machine does with it.
    fn new(timing: &'a Timing, batch_size: usize) -> Result<Rows<'a>, Failure> {
        timing.check(batch_size)?;
        let config = Config { threads: timing.threads, ..Config::default() };
        config.check()?;
        setup::apply(&config);
        Ok(Rows { timing, peak: Peak::measured(), rows: Vec::new() })
    }

    /// Times an operation.
    fn time(&mut self, op: impl Into<String>, work: Work, f: impl FnMut()) -> Result<(), Failure> {
        let times = self.timing.measure(f);
        self.add(op.into(), work, &times, None)
    }

    /// Times an operation and, in turn with it, the same by the crate matrixmultiply.
    fn time_product(
        &mut self,
        op: impl Into<String>,
        work: Work,
        mut f: impl FnMut(),
    ) -> Result<(), Failure> {
        let own = gemm_backend();
        let mut once = |backend| {
            set_gemm_backend(backend);
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64() * 1e3
        };
        let mut pair = || [own, GemmBackend::Matrixmultiply].map(&mut once);
        (0..self.timing.warm_up).for_each(|_| {
            pair();
        });
        let pairs: Vec<[f64; 2]> = (0..self.timing.repeat).map(|_| pair()).collect();
        set_gemm_backend(own);
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        let times = sorted(pairs.iter().map(|[own, _]| *own).collect());
        let ratios = sorted(pairs.iter().map(|[own, other]| other / own).collect());
        self.add(op.into(), work, &times, Some(median(&ratios)))
    }

    /// A row, from the sorted times in milliseconds.
    fn add(
        &mut self,
        op: String,
        work: Work,
        times: &[f64],
        over_matrixmultiply: Option<f64>,
    ) -> Result<(), Failure> {
        let ms = median(times);
        let (gflops, gb_s, of_peak) = match work {
            Work::Flops(flops, dtype) => {
                let rate = flops / (ms * 1e6);
                (Some(rate), None, Some(rate / self.peak.gflops(dtype)))
            }
            Work::Bytes(bytes) => {
                let rate = bytes / (ms * 1e6);
                (None, Some(rate), Some(rate / self.peak.gb_s))
            }
            Work::Other => (None, None, None),
        };
        let threads = autograd::threads();
        let row = Row { op, ms, ms_min: times[0], gflops, gb_s, of_peak, over_matrixmultiply, threads };
        if self.timing.json {
            output::json(&row)?;
        }
        self.rows.push(row);
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        if self.timing.json {
            return Ok(());
        }
        let mut head = vec!["operation", "ms", "ms (min)", "GFLOP/s", "GB/s", "% of peak"];
        // Only where something was compared.
        let compared = self.rows.iter().any(|row| row.over_matrixmultiply.is_some());
        head.extend(compared.then_some("x matrixmultiply"));
        let mut table = Table::new(head);
        for row in self.rows {
            let number = |v: Option<f64>, digits: usize| v.map_or(String::new(), |v| format!("{v:.digits$}"));
            let mut cells = vec![
                row.op,
                format!("{:.3}", row.ms),
                format!("{:.3}", row.ms_min),
                number(row.gflops, 0),
                number(row.gb_s, 1),
                number(row.of_peak.map(|share| 100.0 * share), 0),
            ];
            cells.extend(compared.then(|| number(row.over_matrixmultiply, 2)));
            table.row(cells);
        }
        output::line(&table.text())?;
        if compared {
            output::line(
                "\nx matrixmultiply: how many times as long that crate takes for the product, in turn with it",
            )?;
        }
        output::line(&format!("\npeak: {}", self.peak))
    }
}
