//! The reference numbers of tests/fixtures and the inputs they were made from; see the README there.
#![allow(dead_code)]

pub mod meta;

use autograd::{DType, Key, Shape, Tensor};
use nn::{Archive, Model, Module, load_state_dict, models};

/// The fixture file of a family.
pub fn fixture(family: &str) -> Archive {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");
    Archive::load(format!("{folder}/{family}.safetensors")).unwrap()
}

/// Uniform numbers on [0, 1) that belong to a name.
fn unit(name: &str) -> impl Iterator<Item = f64> {
    let hash =
        name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
    (1u64..).map(move |i| {
        let z = hash.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    })
}

/// The tensor that belongs to a name, on [-1, 1).
pub fn formula(name: &str, shape: impl Into<Shape>) -> Tensor {
    let mut draws = unit(name);
    Tensor::from_fn(shape, DType::F64, |_| 2.0 * draws.next().unwrap() - 1.0)
}

/// A network for ten classes with the parameters of the fixtures, and with their running statistics or as it begins.
pub fn model(name: &str, input: [usize; 3], statistics: bool) -> Model {
    let mut model = models::build(name, input, 10, 1, Key::new(0), DType::F64).unwrap();
    let start = |(key, t): (String, Tensor)| {
        let f = || formula(&format!("{name}/{key}"), t.shape());
        let value = match t.rank() {
            _ if key.contains("running") && !statistics => t,
            _ if key.ends_with("running_mean") => f() * 0.1,
            _ if key.ends_with("running_var") => f() * 0.5 + 1.0,
            1 if key.ends_with("weight") => f() * 0.1 + 1.0,
            1 => f() * 0.1,
            _ => f() * (6.0 / t.shape()[1..].iter().product::<usize>() as f64).sqrt(),
        };
        (key, value)
    };
    let state: Vec<(String, Tensor)> = model.state_dict().into_iter().map(start).collect();
    load_state_dict(&mut model, &state).unwrap();
    model
}

/// `count` integers below `m` that belong to a name.
pub fn below(name: &str, m: u32, count: usize) -> Vec<u32> {
    unit(name).take(count).map(|u| (u * f64::from(m)) as u32).collect()
}

/// Panics unless two numbers agree to a relative tolerance.
#[track_caller]
pub fn assert_close(measured: f64, expected: f64, tolerance: f64, what: &str) {
    let error = (measured - expected).abs() / expected.abs().max(f64::MIN_POSITIVE);
    assert!(
        measured == expected || error <= tolerance,
        "{what}: {measured:e}, not {expected:e}; off by {error:e}"
    );
}

/// Panics unless a tensor has the digest that a fixture holds under `name`.
#[track_caller]
pub fn assert_digest(t: &Tensor, fixture: &Archive, name: &str, tolerance: f64) {
    let digest = fixture.get(&format!("{name}.digest")).unwrap_or_else(|| panic!("no digest of {name}"));
    let digest = digest.to_vec::<f64>();
    let dot = |other: &Tensor| (t * other).sum(..).item();
    let probe = |i: usize| dot(&formula(&format!("{name}/probe{i}"), t.shape()));
    let size = digest[1].sqrt();
    assert_close(dot(t), digest[1], tolerance, &format!("{name}: sum of squares"));
    for (measured, expected) in [(t.sum(..).item(), digest[0]), (probe(0), digest[2]), (probe(1), digest[3])]
    {
        let error = (measured - expected).abs();
        assert!(error <= tolerance * size, "{name}: {measured:e}, not {expected:e}; size {size:e}");
    }
}
