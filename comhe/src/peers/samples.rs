//! Gradcheck samples: every peer, on more and on fewer neurons than dimensions, and on the smallest layers.

use autograd::{DType, Group, Input, Key, Sample, Tensor};

use super::{
    PeerOptions, decay, dso, mc, mgd, mhc, mhp, mhp_relaxed, mhs, mma, ocnn, orthoreg, placed, so,
    sphereface_plus, srip,
};
use crate::energy::Scale;
use crate::error::Error;

type Function = fn(&Tensor) -> Result<Tensor, Error>;

/// Larger than the default, so that the gradient of a single neuron's direction is above rounding errors in f32.
const EPS: f64 = 0.1;

/// A function and inputs for each peer, at which `autograd::Sample::check` checks gradients.
pub fn samples() -> Vec<Sample> {
    let peers: [(&str, Function); 14] = [
        ("so", so),
        ("dso", dso),
        ("mc", |w| mc(w, EPS)),
        ("srip", srip_with_a_fixed_b),
        ("mma", |w| mma(w, EPS)),
        ("mhs", |w| mhs(w, EPS)),
        ("mgd", |w| mgd(w, 1.0, EPS)),
        ("mhp", |w| mhp(w, &pole(w), EPS)),
        ("mhc", |w| mhc(w, &pole(w), 10.0, EPS)),
        ("mhp-relaxed", mhp_relaxed),
        ("sphereface-plus", |w| sphereface_plus(w, EPS)),
        ("orthoreg", |w| orthoreg(w, 2.0, EPS)),
        ("ocnn", |w| ocnn(w, [1, 1])),
        ("decay", decay),
    ];
    let half_space: [(&str, Function); 4] = [
        ("mhs", |w| mhs(&doubled(w)?, EPS)),
        ("mgd", |w| mgd(&doubled(w)?, 1.0, EPS)),
        ("mhp", |w| mhp(&doubled(w)?, &pole(w), EPS)),
        ("mhc", |w| mhc(&doubled(w)?, &pole(w), 10.0, EPS)),
    ];
    let shapes: [(&str, &[usize]); 6] = [
        ("fewer neurons than dimensions", &[4, 6]),
        ("more neurons than dimensions", &[6, 3]),
        ("convolution kernel", &[3, 2, 3, 2]),
        ("one neuron", &[1, 4]),
        ("one dimension", &[3, 1]),
        ("no neuron", &[0, 4]),
    ];
    let mut list = Vec::new();
    for (name, f) in peers {
        for (case, shape) in shapes {
            list.push(sample(name, case, shape, f));
        }
    }
    for (name, f) in half_space {
        list.push(sample(name, "half-space, rows normalised twice", &[4, 6], f));
    }
    list.push(sample("orthoreg", "lambda = 10", &[4, 6], |w| orthoreg(w, 10.0, 0.0)));
    list.push(by_pole("mhp", |w, v| mhp(w, v, EPS)));
    list.push(by_pole("mhc", |w, v| mhc(w, v, 3.0, EPS)));
    list.push(sample("mc", "eps = 0", &[4, 6], |w| mc(w, 0.0)));
    list.push(sample("mgd", "wide kernel", &[4, 6], |w| mgd(w, 0.3, 0.0)));
    list.push(sample("ocnn", "stride 2", &[3, 2, 3, 3], |w| ocnn(w, [2, 2])));
    list.push(sample("ocnn", "stride 3 and 1, even kernel", &[2, 2, 4, 4], |w| ocnn(w, [3, 1])));
    list
}

fn srip_with_a_fixed_b(w: &Tensor) -> Result<Tensor, Error> {
    let d: usize = w.shape()[1..].iter().product();
    let b = Tensor::normal([d.min(w.shape()[0])], DType::F64, Key::new(5)).to_dtype(w.dtype());
    srip(w, &b)
}

/// A constant pole, the same in both dtypes.
fn pole(w: &Tensor) -> Tensor {
    let d: usize = w.shape()[1..].iter().product();
    Tensor::normal([d], DType::F64, Key::new(6)).to_dtype(w.dtype())
}

/// The rows of the published code in half-space.
fn doubled(w: &Tensor) -> Result<Tensor, Error> {
    placed(w, &PeerOptions { half_space: true, scale: Scale::Code, eps: EPS, ..PeerOptions::default() })
}

/// The gradients of neurons and pole.
fn by_pole(name: &str, f: fn(&Tensor, &Tensor) -> Result<Tensor, Error>) -> Sample {
    Sample::new(name, "neurons and pole", [Input::normal([4, 6]), Input::normal([6])], move |x| {
        f(&x[0], &x[1]).unwrap_or_else(|e| panic!("the sample is a valid weight: {e}"))
    })
    .group(Group::Regulariser)
}

fn sample(name: &str, case: &str, shape: &[usize], f: Function) -> Sample {
    Sample::new(name, case, [Input::normal(shape)], move |x| {
        f(&x[0]).unwrap_or_else(|e| panic!("the sample is a valid weight: {e}"))
    })
    .group(Group::Regulariser)
}
