//! Times the convolution slots and matrix products of common networks.
//!
//! `cargo run --release -p kernels --example conv [direct|f2|f4|auto] [cnn9|resnet|lenet|other|gemm] [batch]`:
//! one line per shape with the fastest of several runs of each slot, in milliseconds and in direct GFLOP/s.

use std::time::Instant;

use kernels::aligned::Aligned;
use kernels::conv::{Algorithm, Conv2d, set_algorithm};
use kernels::gemm::{batched, gemm};

fn fastest(mut f: impl FnMut()) -> f64 {
    f();
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    let mut runs = 0;
    while runs < 5 || (start.elapsed().as_millis() < 300 && runs < 1000) {
        let now = Instant::now();
        f();
        best = best.min(now.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

fn filled(len: usize) -> Aligned<f32> {
    let mut v = Aligned::zeroed(len);
    v.iter_mut().enumerate().for_each(|(i, v)| *v = (i * 7919 % 1013) as f32 / 500.0 - 1.0);
    v
}

fn conv(
    name: &str,
    batch: usize,
    groups: usize,
    channels: [usize; 2],
    size: usize,
    kernel: usize,
    stride: usize,
) {
    let s = Conv2d {
        batch,
        groups,
        in_channels: channels[0],
        out_channels: channels[1],
        input: [size; 2],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        dilation: [1; 2],
    };
    let [oh, ow] = s.output();
    let mut x = filled(batch * channels[0] * size * size);
    let mut w = filled(channels[1] * channels[0] / groups * kernel * kernel);
    let mut y = filled(batch * channels[1] * oh * ow);
    let times = [
        fastest(|| s.forward(&x, &w, &mut y)),
        fastest(|| s.grad_input(&y, &w, &mut x)),
        fastest(|| s.grad_weight(&x, &y, &mut w)),
    ];
    let cells = times.map(|t| format!("{:8.2} ms {:7.0}", t * 1e3, s.flops() as f64 / t * 1e-9));
    let shape = format!("{}->{}@{size} k{kernel} s{stride} b{batch}", channels[0], channels[1]);
    println!("{name:10} {shape:24} {}", cells.join("  "));
}

fn product(batch: usize, m: usize, n: usize, k: usize) {
    let (a, b, mut c) = (filled(batch * m * k), filled(batch * k * n), filled(batch * m * n));
    let mut cells = vec![];
    for (at, bt) in [(false, false), (false, true), (true, false)] {
        let t = fastest(|| match batch {
            1 => gemm(m, n, k, 1.0, &a, at, &b, bt, 0.0, &mut c),
            _ => batched(batch, m, n, k, 1.0, &a, at, &b, bt, 0.0, &mut c),
        });
        cells.push(format!("{:8.1} us {:7.0}", t * 1e6, (2 * batch * m * n * k) as f64 / t * 1e-9));
    }
    println!("gemm       {:24} {}", format!("{batch} x {m}x{n}x{k}"), cells.join("  "));
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let algorithm = match arguments.next().as_deref() {
        Some("direct") => Algorithm::Direct,
        Some("f2") => Algorithm::F2,
        Some("f4") => Algorithm::F4,
        _ => Algorithm::Auto,
    };
    let name = arguments.next().unwrap_or_default();
    let batch = arguments.next().map_or(128, |b| b.parse().expect("the batch is a number"));
    set_algorithm(algorithm);
    println!(
        "{algorithm:?}: milliseconds and GFLOP/s of forward, grad_input, grad_weight (gemm: NN, NT, TN)"
    );
    let wanted = |group: &str| name.is_empty() || name == group;
    if wanted("cnn9") {
        for (channels, size) in [
            ([3, 64], 32),
            ([64, 64], 32),
            ([64, 128], 16),
            ([128, 128], 16),
            ([128, 256], 8),
            ([256, 256], 8),
        ] {
            conv("cnn9", batch, 1, channels, size, 3, 1);
        }
    }
    if wanted("resnet") {
        for (channels, size) in [([16, 16], 32), ([32, 32], 16), ([64, 64], 8)] {
            conv("resnet", batch, 1, channels, size, 3, 1);
        }
        for (channels, size, kernel) in [([16, 32], 32, 3), ([16, 32], 32, 1), ([32, 64], 16, 3)] {
            conv("resnet", batch, 1, channels, size, kernel, 2);
        }
    }
    if wanted("lenet") {
        conv("lenet", batch / 2, 1, [1, 32], 28, 5, 1);
        conv("lenet", batch / 2, 1, [32, 64], 14, 5, 1);
    }
    if wanted("other") {
        conv("one image", 1, 1, [64, 64], 32, 3, 1);
        conv("depthwise", batch, 64, [64, 64], 32, 3, 1);
        conv("groups", batch, 4, [64, 64], 32, 3, 1);
    }
    if wanted("gemm") {
        for (batch, m, n, k) in [
            (1, 1024, 1024, 1024),
            (1, 64, 131072, 576),
            (1, 256, 8192, 2304),
            (1, 256, 800, 2304),
            (1, 256, 2304, 800),
            (1, 128, 256, 4096),
            (20, 256, 256, 40),
            (20, 256, 40, 256),
            (20, 64, 40, 64),
            (1, 128, 4096, 256),
            (1, 4096, 256, 128),
            (1, 128, 10, 256),
            (1, 64, 64, 64),
            (1, 8, 8, 8),
            (1000, 8, 8, 8),
            (64, 64, 64, 64),
        ] {
            product(batch, m, n, k);
        }
    }
}
