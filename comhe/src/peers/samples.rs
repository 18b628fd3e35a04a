//! Gradcheck samples: every peer, on more and on fewer neurons than dimensions, and on the smallest layers.

use autograd::{DType, Group, Input, Key, Sample, Tensor};

use super::{decay, dso, mc, mgd, mhs, mma, ocnn, so, srip};
use crate::error::Error;

type Function = fn(&Tensor) -> Result<Tensor, Error>;

/// Larger than the default, so that the gradient of a single neuron's direction is above rounding errors in f32.
const EPS: f64 = 0.1;

/// A function and inputs for each peer, at which `autograd::Sample::check` checks gradients.
pub fn samples() -> Vec<Sample> {
    let peers: [(&str, Function); 9] = [
        ("so", so),
        ("dso", dso),
        ("mc", |w| mc(w, EPS)),
        ("srip", srip_with_a_fixed_b),
        ("mma", |w| mma(w, EPS)),
        ("mhs", |w| mhs(w, EPS)),
        ("mgd", |w| mgd(w, 1.0, EPS)),
        ("ocnn", |w| ocnn(w, [1, 1])),
        ("decay", decay),
    ];
    let shapes: [(&str, &[usize]); 5] = [
        ("fewer neurons than dimensions", &[4, 6]),
        ("more neurons than dimensions", &[6, 3]),
        ("convolution kernel", &[3, 2, 3, 2]),
        ("one neuron", &[1, 4]),
        ("no neuron", &[0, 4]),
    ];
    let mut list = Vec::new();
    for (name, f) in peers {
        for (case, shape) in shapes {
            list.push(sample(name, case, shape, f));
        }
    }
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

fn sample(name: &str, case: &str, shape: &[usize], f: Function) -> Sample {
    Sample::new(name, case, [Input::normal(shape)], move |x| {
        f(&x[0]).unwrap_or_else(|e| panic!("the sample is a valid weight: {e}"))
    })
    .group(Group::Regulariser)
}
