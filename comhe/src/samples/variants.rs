//! Samples of the variants: learned, grouped, bilateral, low-rank.
//!
//! Alternating modes are not among them: their gradient omits the dependence of P on W, and so is not the derivative of
//! the value. With P constant they are `rp`.

use autograd::{DType, Group, Input, Key, Sample, Tensor};

use super::energies;
use crate::adv::adversarial_energy;
use crate::ap::{Preserve, angle_preserving_energy};
use crate::bilateral::bilateral_energy;
use crate::energy::Energy;
use crate::error::Error;
use crate::group::{Grouping, Groups, group_energy};
use crate::learned::{InnerSteps, Mode};
use crate::low_rank::LowRank;

pub(super) fn samples() -> Vec<Sample> {
    let mut list = Vec::new();
    for (case, energy) in energies() {
        let add = |name: &str, own: &str, f: fn(&Energy, &[Tensor]) -> Result<Tensor, Error>| {
            let case = format!("{own}, {case}");
            sample(name, &case, vec![Input::normal([4, 6])], move |x| f(&energy, x))
        };
        list.push(add("ap", "cosine, 1 unrolled step", |energy, x| ap(energy, &x[0], Preserve::Cosine, 1)));
        list.push(add("adv", "1 unrolled step", |energy, x| adv(energy, &x[0], 1)));
        list.push(add("group", "contiguous", |energy, x| group(energy, &x[0], 2, Grouping::Contiguous)));
        list.push(add("bilateral", "gaussian", |energy, x| bilateral(energy, &x[0])));
    }
    for half_space in [false, true] {
        for (angular, s) in [(false, 2.0), (true, 1.0)] {
            let energy = Energy { half_space, angular, s, eps: 0.1, ..Energy::default() };
            let named = |case: &str| {
                let distance = if angular { "angle" } else { "chord" };
                let space = if half_space { "half-space" } else { "full space" };
                format!("{case}, {distance}, {space}")
            };
            list.extend(learned(&named, energy));
            list.extend(linear(&named, energy));
        }
    }
    list
}

/// Objectives, numbers of steps, shapes of AP and Adv.
fn learned(named: &dyn Fn(&str) -> String, energy: Energy) -> Vec<Sample> {
    let mut list = Vec::new();
    let shapes: [(&str, Vec<usize>); 4] = [
        ("convolution kernel", vec![4, 2, 3, 1]),
        ("one neuron", vec![1, 6]),
        ("k above d", vec![4, 3]),
        ("more neurons than dimensions", vec![5, 4]),
    ];
    for steps in [0, 1, 2] {
        for objective in Preserve::ALL {
            let case = named(&format!("{objective}, {steps} unrolled steps"));
            let inputs = vec![Input::normal([4, 6])];
            list.push(sample("ap", &case, inputs, move |x| ap(&energy, &x[0], objective, steps)));
        }
        let case = named(&format!("{steps} unrolled steps"));
        list.push(sample("adv", &case, vec![Input::normal([4, 6])], move |x| adv(&energy, &x[0], steps)));
    }
    // Row 2 nearly coincides with row 0, and row 3 with its antipode; in f32 differences need another scale.
    let near: fn(&Tensor) -> Tensor = |x| {
        let a = if x.dtype() == DType::F64 { 0.03 } else { 1.0 };
        let mix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.5, 0.0, a], [-1.0, a, 0.0]];
        Tensor::from(mix).to_dtype(x.dtype()).matmul(x)
    };
    for objective in Preserve::ALL {
        let case = named(&format!("{objective}, nearly coinciding"));
        list.push(sample("ap", &case, vec![Input::normal([3, 6])], move |x| {
            ap(&energy, &near(&x[0]), objective, 1)
        }));
    }
    let case = named("nearly coinciding");
    list.push(sample("adv", &case, vec![Input::normal([3, 6])], move |x| adv(&energy, &near(&x[0]), 1)));
    for (case, shape) in shapes {
        // A single neuron has only its antipodal pair: in f32 its angle, pi - 2 sqrt(eps) / |y|, is smooth for a large
        // eps.
        let energy = if shape[0] == 1 { Energy { eps: 1.0, ..energy } } else { energy };
        let inputs = || vec![Input::normal(shape.as_slice())];
        for objective in Preserve::ALL {
            let case = named(&format!("{objective}, {case}"));
            list.push(sample("ap", &case, inputs(), move |x| ap(&energy, &x[0], objective, 1)));
        }
        list.push(sample("adv", &named(case), inputs(), move |x| adv(&energy, &x[0], 1)));
    }
    list
}

/// Kinds of groups, shapes of both sides, the parametrisation.
fn linear(named: &dyn Fn(&str) -> String, energy: Energy) -> Vec<Sample> {
    let mut list = Vec::new();
    for kind in Grouping::ALL {
        let inputs = vec![Input::normal([4, 5, 2, 1])];
        let case = named(&format!("{kind}"));
        list.push(sample("group", &case, inputs, move |x| group(&energy, &x[0], 3, kind)));
    }
    for (case, shape) in [("convolution kernel", vec![4, 2, 3, 1]), ("one neuron", vec![1, 6])] {
        // All combinations of one neuron lie on its line, and differ only through eps.
        let energy = if shape[0] == 1 { Energy { eps: 1.0, ..energy } } else { energy };
        let inputs = vec![Input::normal(shape.as_slice())];
        list.push(sample("bilateral", &named(case), inputs, move |x| bilateral(&energy, &x[0])));
    }
    let factors = || vec![Input::normal([2, 4]), Input::normal([5, 2])];
    list.push(sample("low-rank", &named("energy of the factors"), factors(), move |x| {
        low_rank(x)?.energy(&energy)
    }));
    if !energy.angular && !energy.half_space {
        list.push(sample("low-rank", "weight", factors(), |x| low_rank(x)?.weight()));
        let inputs = [factors(), vec![Input::normal([3, 5])]].concat();
        list.push(sample("low-rank", "layer", inputs, |x| low_rank(&x[..2])?.forward(&x[2])));
    }
    list
}

fn ap(energy: &Energy, w: &Tensor, objective: Preserve, count: usize) -> Result<Tensor, Error> {
    angle_preserving_energy(energy, w, &constant("P", &[5, width(w)], w), objective, steps(count))
}

fn adv(energy: &Energy, w: &Tensor, count: usize) -> Result<Tensor, Error> {
    adversarial_energy(energy, w, &constant("P", &[5, width(w)], w), steps(count))
}

fn steps(count: usize) -> InnerSteps {
    InnerSteps { count, rate: 0.05, decay: 0.01, mode: Mode::Unrolled }
}

fn group(energy: &Energy, w: &Tensor, count: usize, kind: Grouping) -> Result<Tensor, Error> {
    group_energy(energy, w, &Groups { count, kind, seed: 1 }.of(w.shape(), "sample", 0)?)
}

fn bilateral(energy: &Energy, w: &Tensor) -> Result<Tensor, Error> {
    let (p1, p2) = (constant("P1", &[2, 5, width(w)], w), constant("P2", &[2, w.shape()[0], 5], w));
    bilateral_energy(energy, w, &p1, &p2)
}

fn low_rank(x: &[Tensor]) -> Result<LowRank, Error> {
    let (y1, y2) = (x[0].clone(), x[1].clone());
    // A P1 under which the sample's Y2 is far from singular.
    let p1 = Tensor::eye(2, y1.dtype()).pad(&[(0, 0), (0, 3)], autograd::Padding::Constant(0.0));
    Ok(LowRank { p1: p1 + constant("P1", &[2, 5], &y1) * 0.3, y1, y2 })
}

/// Normal numbers, the same in both dtypes.
fn constant(name: &str, shape: &[usize], like: &Tensor) -> Tensor {
    Tensor::normal(shape, DType::F64, Key::new(5).stream(name)).to_dtype(like.dtype())
}

fn width(w: &Tensor) -> usize {
    w.shape()[1..].iter().product()
}

fn sample(
    name: &str,
    case: &str,
    inputs: Vec<Input>,
    f: impl Fn(&[Tensor]) -> Result<Tensor, Error> + Send + Sync + 'static,
) -> Sample {
    let f = move |x: &[Tensor]| f(x).unwrap_or_else(|e| panic!("the sample's options are valid: {e}"));
    Sample::new(name, case, inputs, f).group(Group::Regulariser)
}
