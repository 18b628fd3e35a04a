//! Energy and gradient of many neurons, with time and memory: the N x N cosines are never held at once.
//!
//! `cargo run --release -p comhe --example many_neurons -- 100000 16`

use std::time::Instant;

use autograd::{DType, Key, Tensor};
use comhe::Energy;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<usize> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    let (n, d) = (arguments.first().copied().unwrap_or(100_000), arguments.get(1).copied().unwrap_or(16));
    if n < 2 || d < 4 {
        return Err("two neurons or more, of four dimensions or more, are needed".into());
    }
    let w = Tensor::normal([n, d], DType::F32, Key::new(6)).requires_grad();
    let start = Instant::now();
    let energy = Energy { half_space: true, eps: 0.0, ..Energy::default() }.of(&w)?;
    let (value, forward) = (energy.item(), start.elapsed());
    let gradient = energy.backward()[&w].norm(..).item();
    println!("N = {n}, d = {d}, f32, half-space, s = 2, {} threads", autograd::threads());
    // For uniform directions, with the antipodes, the mean of 1 / r^2 is (d - 2) / (2 (d - 3)).
    let expected = (d as f64 - 2.0) / (2.0 * (d as f64 - 3.0));
    println!("energy {:.6} (uniform directions: {expected:.6}), |gradient| {gradient:.3e}", value);
    println!("forward {forward:.1?}, with gradient {:.1?}", start.elapsed());
    if let Some(line) =
        std::fs::read_to_string("/proc/self/status")?.lines().find_map(|l| l.strip_prefix("VmHWM:"))
    {
        println!("peak memory {} (all cosines would take {:.1} GB)", line.trim(), (n * n * 4) as f64 / 1e9);
    }
    Ok(())
}
