//! Throughput of the elementary functions on one thread, beside the standard library's and libm's:
//! `cargo run --release -p kernels --example math`.

use std::hint::black_box;
use std::time::Instant;

use kernels::map::{self, Map};
use kernels::{Element, Real, par, softmax};

/// The shortest time of a call in many, in nanoseconds for each of `n` elements.
fn fastest(n: usize, mut f: impl FnMut()) -> f64 {
    (0..200)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64() * 1e9 / n as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn row<T: Element>(name: &str, f: impl Map<1>, std: fn(T) -> T, x: &[T]) {
    let mut out = x.to_vec();
    let ours = fastest(x.len(), || map::flat(&f, [Some(black_box(x))], &mut out));
    let theirs = fastest(x.len(), || black_box(x).iter().zip(&mut out).for_each(|(&x, out)| *out = std(x)));
    println!("{:<12} {:>6} {ours:>8.2} {theirs:>8.2}", name, T::NAME);
}

macro_rules! rows {
    ($($name:ident |$x:ident| $y:expr, $single:expr, $double:expr;)*) => {
        $(
            #[allow(non_camel_case_types)]
            #[derive(Clone, Copy)]
            struct $name;
            impl Map<1> for $name {
                #[inline(always)]
                fn call<R: Real>(&self, [$x]: [R; 1]) -> R {
                    $y
                }
            }
        )*
        fn all(single: &[f32], double: &[f64]) {
            $(
                row(stringify!($name), $name, $single, single);
                row(stringify!($name), $name, $double, double);
            )*
        }
    };
}
rows! {
    exp |x| x.exp(), f32::exp, f64::exp;
    ln |x| x.ln(), f32::ln, f64::ln;
    ln_1p |x| x.ln_1p(), f32::ln_1p, f64::ln_1p;
    tanh |x| x.tanh(), f32::tanh, f64::tanh;
    sigmoid |x| x.sigmoid(), |x| 1.0 / (1.0 + (-x).exp()), |x| 1.0 / (1.0 + (-x).exp());
    softplus |x| x.softplus(), |x| x.exp().ln_1p(), |x| x.exp().ln_1p();
    erf |x| x.erf(), libm::erff, libm::erf;
    sin |x| x.sin(), f32::sin, f64::sin;
    cos |x| x.cos(), f32::cos, f64::cos;
    powf |x| x.powf(-1.5), |x| x.powf(-1.5), |x| x.powf(-1.5);
}

fn main() {
    par::set_threads(1);
    // 4096 numbers in 0.001..4.1: they stay in the first-level cache.
    let double: Vec<f64> = (1..=4096).map(|i| f64::from(i) * 1e-3).collect();
    let single: Vec<f32> = double.iter().map(|&v| v as f32).collect();
    println!("{:<12} {:>6} {:>8} {:>8}  ns an element", "", "", "here", "std/libm");
    all(&single, &double);
    for classes in [10, 100, 1000] {
        let x: Vec<f32> = single[..4000].to_vec();
        let mut y = x.clone();
        let softmax = fastest(x.len(), || softmax::softmax_forward(black_box(&x), classes, &mut y));
        let log = fastest(x.len(), || softmax::log_softmax_forward(black_box(&x), classes, &mut y));
        println!("softmax of {classes:>4}: {softmax:.2}, log-softmax: {log:.2}");
    }
}
