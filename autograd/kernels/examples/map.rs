//! Times of elementwise loops: `cargo run --release -p kernels --example map`.

use std::hint::black_box;
use std::time::Instant;

use kernels::map::{self, Map, Strided};
use kernels::{MAX_RANK, Real};

macro_rules! maps {
    ($($name:ident $n:literal |$x:pat_param| $y:expr;)*) => {$(
        struct $name;
        impl Map<$n> for $name {
            #[inline(always)]
            fn call<R: Real>(&self, $x: [R; $n]) -> R {
                $y
            }
        }
    )*};
}
maps! {
    Add 2 |[a, b]| a + b;
    Relu 1 |[a]| a.relu();
    Tanh 1 |[a]| a.tanh();
    Scale 3 |[a, b, c]| a * b + c;
}

/// The shortest time of a call in many, in nanoseconds.
fn fastest(repeats: usize, mut f: impl FnMut()) -> f64 {
    (0..30)
        .map(|_| {
            let start = Instant::now();
            (0..repeats).for_each(|_| f());
            start.elapsed().as_secs_f64() * 1e9 / repeats as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    let n = 1 << 24;
    let a: Vec<f32> = (0..n).map(|i| (i % 2003) as f32 * 1e-3 - 1.0).collect();
    let mut out = vec![0.0f32; n];
    println!("{:<36} {:>12} {:>10}", "f32", "ns", "GB/s");
    let row =
        |name: &str, ns: f64, bytes: usize| println!("{name:<36} {ns:>12.1} {:>10.1}", bytes as f64 / ns);
    for n in [8, 1000, n] {
        let (a, out) = (&a[..n], &mut out[..n]);
        let repeats = if n < 10_000 { 10_000 } else { 1 };
        let ns = fastest(repeats, || map::flat(&Add, black_box([Some(a), Some(a)]), out));
        row(&format!("{n}: a + b"), ns, 12 * n);
        let ns = fastest(repeats, || map::flat(&Relu, black_box([Some(a)]), out));
        row(&format!("{n}: relu(a)"), ns, 8 * n);
        let ns = fastest(repeats, || map::flat(&Tanh, black_box([Some(a)]), out));
        row(&format!("{n}: tanh(a)"), ns, 8 * n);
        let ns = fastest(repeats, || map::flat(&Scale, black_box([None, Some(a), Some(a)]), out));
        row(&format!("{n}: out = out a + a"), ns, 16 * n);
    }
    type Strides = [usize; 3];
    let cases: [(&str, [usize; 3], [Strides; 2]); 7] = [
        ("(128, 64, 1024) + channel", [128, 64, 1024], [[65536, 1024, 1], [0, 1, 0]]),
        ("(128, 512, 4) + channel", [128, 512, 4], [[2048, 4, 1], [0, 1, 0]]),
        ("(1024, 64, 256) + row of 256", [1024, 64, 256], [[16384, 256, 1], [0, 0, 1]]),
        ("(1, 4096, 10) + row of 10", [1, 4096, 10], [[40960, 10, 1], [0, 0, 1]]),
        ("(1, 4096, 10) + column", [1, 4096, 10], [[40960, 10, 1], [0, 1, 0]]),
        ("(1, 2048, 2048) transposed", [1, 2048, 2048], [[0, 2048, 1], [0, 1, 2048]]),
        ("(1, 1, 8) + scalar", [1, 1, 8], [[0, 0, 1], [0, 0, 0]]),
    ];
    for (name, dims, strides) in cases {
        let n: usize = dims.iter().product();
        let out = &mut out[..n];
        let [p, q] = strides.map(|s| {
            let mut strides = [0; MAX_RANK];
            strides[..3].copy_from_slice(&s);
            Strided { data: &a[..], strides }
        });
        let repeats = if n < 10_000 { 10_000 } else { 1 };
        let ns = fastest(repeats, || map::broadcast(&Add, black_box([p, q]), &dims, out));
        row(name, ns, 8 * n);
        let ns = fastest(repeats, || map::broadcast(&Scale, black_box([p, q, q]), &dims, out));
        row("   * c + c", ns, 8 * n);
    }
}
