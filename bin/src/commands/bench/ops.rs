//! `comhe bench ops`: single operations.

use std::hint::black_box;

use autograd::{ConvOptions, DType, Key, Tensor, profile, set_threads, tiny_operations};
use clap::Args;
use nn::{Activation, BatchNorm, Context, MaxPool2d, Module};

use super::{Rows, Timing, Work};
use crate::failure::Failure;

/// Matrix products, convolutions, batch norm, pooling, and a chain of tiny operations
#[derive(Args, Debug)]
pub struct OpsBench {
    /// Images a batch
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch_size: usize,
    #[command(flatten)]
    timing: Timing,
}

impl OpsBench {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut rows = Rows::new(&self.timing, self.batch_size)?;
        products(&mut rows)?;
        self.convolutions(&mut rows)?;
        self.maps(&mut rows)?;
        chain(&mut rows)?;
        rows.finish()
    }

    /// Convolutions with both gradients.
    fn convolutions(&self, rows: &mut Rows<'_>) -> Result<(), Failure> {
        let shapes = [
            (3, 64, 32),
            (64, 64, 32),
            (64, 128, 16),
            (128, 128, 16),
            (128, 256, 8),
            (256, 256, 8),
            (16, 16, 32),
            (32, 32, 16),
            (64, 64, 8),
        ];
        for (from, to, size) in shapes {
            let n = self.batch_size;
            let normal = |shape: [usize; 4], key| Tensor::normal(shape, DType::F32, Key::new(key));
            let x = normal([n, from, size, size], 1);
            let w = normal([to, from, 3, 3], 2);
            let g = normal([n, to, size, size], 3);
            let options = ConvOptions { padding: [1, 1], ..ConvOptions::default() };
            let work = Work::Flops(2.0 * (n * size * size * from * to * 9) as f64, DType::F32);
            let name =
                |what: &str| format!("conv3x3 {from}->{to} @{size}, batch {}, {what}", self.batch_size);
            rows.time(name("forward"), work, || drop(black_box(x.conv2d(&w, options))))?;
            let (xg, wg) = (x.requires_grad(), w.requires_grad());
            let y = xg.conv2d(&w, options);
            rows.time(name("input gradient"), work, || drop(black_box(y.vjp(&g, &[&xg]))))?;
            let y = x.conv2d(&wg, options);
            rows.time(name("weight gradient"), work, || drop(black_box(y.vjp(&g, &[&wg]))))?;
        }
        Ok(())
    }

    /// Layers that are bound by memory, forward alone and with the reverse pass.
    fn maps(&self, rows: &mut Rows<'_>) -> Result<(), Failure> {
        let shape = [self.batch_size, 64, 32, 32];
        let x = Tensor::normal(shape, DType::F32, Key::new(1)).requires_grad();
        let mut norm = BatchNorm::new(64, DType::F32).relu();
        let eval = |pool: MaxPool2d| pool.clone().forward(&x, &mut Context::eval());
        let mut overlapping = MaxPool2d::new(3);
        (overlapping.stride, overlapping.padding) = ([2, 2], [1, 1]);
        let layers: [(&str, Layer<'_>); 4] = [
            ("batch norm, relu", Box::new(|| norm.forward(&x, &mut Context::train(Key::new(0))))),
            ("relu", Box::new(|| Activation::Relu.forward(&x, &mut Context::eval()))),
            ("max pool 2x2", Box::new(|| eval(MaxPool2d::new(2)))),
            ("max pool 3x3/2", Box::new(|| overlapping.forward(&x, &mut Context::eval()))),
        ];
        for (name, mut f) in layers {
            let g = Tensor::normal(f().shape(), DType::F32, Key::new(2));
            let name = format!("{name} {}x64x32x32", self.batch_size);
            let bytes = profile(&mut f).1.bytes() as f64;
            rows.time(format!("{name} forward"), Work::Bytes(bytes), || drop(black_box(f())))?;
            let mut both = || drop(black_box(f().vjp(&g, &[&x])));
            let bytes = profile(&mut both).1.bytes() as f64;
            rows.time(format!("{name} forward and backward"), Work::Bytes(bytes), both)?;
        }
        Ok(())
    }
}

/// Computes a layer's output.
type Layer<'a> = Box<dyn FnMut() -> Tensor + 'a>;

/// Matrix products: squares, and those that whole-batch convolutions are.
fn products(rows: &mut Rows<'_>) -> Result<(), Failure> {
    let shapes = [
        [128; 3],
        [512; 3],
        [1024; 3],
        [2048; 3],
        [64, 576, 131_072],
        [128, 1152, 32_768],
        [256, 2304, 8192],
    ];
    for dtype in [DType::F32, DType::F64] {
        for [m, k, n] in shapes {
            let a = Tensor::normal([m, k], dtype, Key::new(1));
            let b = Tensor::normal([k, n], dtype, Key::new(2));
            let work = Work::Flops(2.0 * (m * k * n) as f64, dtype);
            rows.time_product(format!("matmul {m}x{k}x{n} {dtype}"), work, || drop(black_box(a.matmul(&b))))?;
        }
    }
    Ok(())
}

/// Ten thousand operations on eight elements, forward and backward: what an operation costs apart from its work.
fn chain(rows: &mut Rows<'_>) -> Result<(), Failure> {
    const OPS: usize = 10_000;
    set_threads(1);
    rows.time(format!("chain of {OPS} on 8 elements, forward and backward"), Work::Other, || {
        drop(black_box(tiny_operations(OPS, 8).backward()));
    })
}
