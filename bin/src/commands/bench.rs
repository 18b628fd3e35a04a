//! `comhe bench`: how long training steps and single operations take here.

use std::hint::black_box;
use std::time::Instant;

use autograd::{ConvOptions, DType, Key, Tensor, set_threads};
use clap::{Args, Subcommand};
use nn::{Activation, BatchNorm, Context, MaxPool2d, Module, Rule, Trainer};
use serde::Serialize;
use serde_json::json;

use crate::config::{Config, Precision};
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::penalty::Penalty;
use crate::statistics::median;
use crate::{setup, system};

/// Time training steps and single operations
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe bench step --model cnn9 --batch-size 128 --json
  comhe bench step --model lenet --reg rp --threads 1
  comhe bench ops --threads 2

Convolutions count as sums of products: where Winograd's algorithm does with fewer, GFLOP/s can
exceed what the machine has.")]
pub struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Step(StepBench),
    Ops(OpsBench),
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
    /// Algorithm of 3x3 convolutions
    #[arg(long, value_enum, default_value_t)]
    conv: crate::config::Conv,
    #[command(flatten)]
    timing: Timing,
}

/// Convolutions, matrix products, batch norm, pooling, and a chain of tiny operations
#[derive(Args, Debug)]
struct OpsBench {
    /// Images a batch
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch_size: usize,
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
        setup::apply(&config);
        let dtype = setup::dtype(&config);
        let (shape, classes) = if self.model == "lenet" { ([1, 28, 28], 10) } else { ([3, 32, 32], 100) };
        let model = nn::models::build(&self.model, shape, classes, width, Key::new(0), dtype)?;
        setup::check_memory(&model, width, self.batch_size, dtype)?;
        let forward = model.summary().flops();
        let optimizer = nn::Optimizer::new(Rule::sgd(config.momentum)).weight_decay(config.weight_decay);
        let mut trainer = Trainer::new(model, optimizer, config.rate(), Key::new(0));
        if self.reg != "none" {
            let objective = setup::objective(&config)?;
            trainer = trainer.regulariser(Penalty {
                objective,
                lr: config.rate(),
                schedule: nn::Schedule::Constant,
            });
        }
        let [c, h, w] = shape;
        let images = Tensor::normal([self.batch_size, c, h, w], dtype, Key::new(1));
        let labels = (0..self.batch_size as u32).map(|i| i * 7 % classes as u32).collect();
        let batch = nn::Batch { images, labels, epoch: 0 };
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
        // The reverse pass has two products for each one of the forward pass.
        let gflops = 3.0 * forward as f64 * self.batch_size as f64 / (step_ms * 1e6);
        let result = json!({
            "model": self.model,
            "width": width,
            "batch_size": self.batch_size,
            "reg": self.reg,
            "dtype": dtype.to_string(),
            "threads": autograd::threads(),
            "step_ms": step_ms,
            "step_ms_min": times[0],
            "images_per_s": self.batch_size as f64 / step_ms * 1e3,
            "gflops": gflops,
            "peak_rss_mb": system::peak_memory(),
            "cpu": system::cpu(),
        });
        if self.timing.json {
            return output::json(&result);
        }
        let mut table = Table::new(["what", "value"]);
        for (key, value) in result.as_object().into_iter().flatten() {
            let text = match value.as_f64() {
                Some(number) if !value.is_u64() => format!("{number:.1}"),
                _ => value.as_str().map_or_else(|| value.to_string(), String::from),
            };
            table.row([key.clone(), text]);
        }
        output::line(&table.text())
    }
}

/// A timed operation.
#[derive(Serialize)]
struct OpTime {
    op: String,
    ms: f64,
    ms_min: f64,
    /// Floating-point operations in 10^9 a second, where they are what takes the time.
    gflops: Option<f64>,
    threads: usize,
}

impl OpsBench {
    fn run(self) -> Result<(), Failure> {
        self.timing.check(self.batch_size)?;
        let config = Config { threads: self.timing.threads, ..Config::default() };
        config.check()?;
        setup::apply(&config);
        let mut rows = Vec::new();
        let mut time = |op: String, flops: f64, f: &mut dyn FnMut()| -> Result<(), Failure> {
            let times = self.timing.measure(f);
            let ms = median(&times);
            let gflops = (flops > 0.0).then(|| flops / (ms * 1e6));
            let row = OpTime { op, ms, ms_min: times[0], gflops, threads: autograd::threads() };
            if self.timing.json {
                output::json(&row)?;
            }
            rows.push(row);
            Ok(())
        };
        self.products(&mut time)?;
        self.maps(&mut time)?;
        chain(&mut time)?;
        if self.timing.json {
            return Ok(());
        }
        let mut table = Table::new(["operation", "ms", "ms (min)", "GFLOP/s"]);
        for row in rows {
            let gflops = row.gflops.map_or(String::new(), |v| format!("{v:.0}"));
            table.row([row.op, format!("{:.3}", row.ms), format!("{:.3}", row.ms_min), gflops]);
        }
        output::line(&table.text())
    }

    /// Matrix products and convolutions, with both gradients of the latter.
    fn products(&self, time: &mut Timed) -> Result<(), Failure> {
        for n in [128, 512, 1024] {
            let [a, b] = [1, 2].map(|key| Tensor::normal([n, n], DType::F32, Key::new(key)));
            time(format!("matmul {n}"), 2.0 * (n as f64).powi(3), &mut || drop(black_box(a.matmul(&b))))?;
        }
        let shapes = [(3, 64, 32), (64, 64, 32), (64, 128, 16), (128, 128, 16), (128, 256, 8), (256, 256, 8)];
        for (from, to, size) in shapes {
            let n = self.batch_size;
            let normal = |shape: [usize; 4], key| Tensor::normal(shape, DType::F32, Key::new(key));
            let x = normal([n, from, size, size], 1);
            let w = normal([to, from, 3, 3], 2);
            let g = normal([n, to, size, size], 3);
            let options = ConvOptions { padding: [1, 1], ..ConvOptions::default() };
            let flops = 2.0 * (n * size * size * from * to * 9) as f64;
            let name = |what: &str| format!("conv3x3 {from}->{to} @{size} {what}");
            time(name("forward"), flops, &mut || drop(black_box(x.conv2d(&w, options))))?;
            let (xg, wg) = (x.requires_grad(), w.requires_grad());
            let y = xg.conv2d(&w, options);
            time(name("input gradient"), flops, &mut || drop(black_box(y.vjp(&g, &[&xg]))))?;
            let y = x.conv2d(&wg, options);
            time(name("weight gradient"), flops, &mut || drop(black_box(y.vjp(&g, &[&wg]))))?;
        }
        Ok(())
    }

    /// Layers that are bound by memory, forward alone and with the reverse pass.
    fn maps(&self, time: &mut Timed) -> Result<(), Failure> {
        let shape = [self.batch_size, 64, 32, 32];
        let x = Tensor::normal(shape, DType::F32, Key::new(1)).requires_grad();
        let mut norm = BatchNorm::new(64, DType::F32);
        let pool = MaxPool2d::new(2);
        let mut layers: [(&str, Layer<'_>); 3] = [
            (
                "batch norm, relu",
                Box::new(|| {
                    let y = norm.forward(&x, &mut Context::train(Key::new(0)));
                    Activation::Relu.forward(&y, &mut Context::eval())
                }),
            ),
            ("relu", Box::new(|| Activation::Relu.forward(&x, &mut Context::eval()))),
            ("max pool 2x2", Box::new(|| pool.clone().forward(&x, &mut Context::eval()))),
        ];
        for (name, f) in &mut layers {
            let g = Tensor::normal(f().shape(), DType::F32, Key::new(2));
            let size = self.batch_size;
            time(format!("{name} {size}x64x32x32 forward"), 0.0, &mut || drop(black_box(f())))?;
            let both = format!("{name} {size}x64x32x32 forward and backward");
            time(both, 0.0, &mut || drop(black_box(f().vjp(&g, &[&x]))))?;
        }
        Ok(())
    }
}

/// Times an operation of a name and a number of floating-point operations.
type Timed<'a> = dyn FnMut(String, f64, &mut dyn FnMut()) -> Result<(), Failure> + 'a;

/// Computes a layer's output.
type Layer<'a> = Box<dyn FnMut() -> Tensor + 'a>;

/// Ten thousand operations on eight elements, forward and backward: what an operation costs apart from its work.
fn chain(time: &mut Timed) -> Result<(), Failure> {
    const OPS: usize = 10_000;
    let leaf = |v: f64| Tensor::full([8], v, DType::F32).requires_grad();
    let [x, a, b, c] = [0.5, 1.0001, 0.001, 0.0005].map(leaf);
    set_threads(1);
    time(format!("chain of {OPS} on 8 elements, forward and backward"), 0.0, &mut || {
        let mut t = x.clone();
        for _ in 0..OPS / 4 {
            t = (&t * &a + &b).sin() - &c;
        }
        drop(black_box(t.sum(..).backward()));
    })
}
