//! Gradcheck samples: every regulariser with every option.

mod variants;

use autograd::{Group, Input, Sample, Tensor};

use crate::energy::{Energy, Reduce, Scale};
use crate::projection::{Distribution, Projections, Variance};
use crate::random::projected_energy;

/// A function and inputs for each regulariser and option, at which `autograd::Sample::check` checks gradients.
pub fn samples() -> Vec<Sample> {
    let mut list = crate::pair_energy::samples();
    let mut add =
        |name: &str, case: String, inputs: Vec<Input>, f: fn(&[Tensor]) -> Tensor, energy: Energy, p| {
            list.push(sample(name, case, inputs, f, energy, p));
        };
    let rows = || vec![Input::normal([4, 6])];
    let own: fn(&[Tensor]) -> Tensor = |x| x[0].clone();
    let gaussian = Some(Projections { k: 5, c: 2, seed: 1, ..Projections::default() });
    for (case, energy) in energies() {
        add("mhe", case.clone(), rows(), own, energy, None);
        add("rp", format!("gaussian, {case}"), rows(), own, energy, gaussian);
    }
    let half = Energy { half_space: true, ..Energy::default() };
    for energy in [Energy::default(), half] {
        // A single neuron and the points of a line differ from their antipodes only through eps.
        let energy = Energy { eps: 0.1, ..energy };
        let space = if energy.half_space { ", half-space" } else { "" };
        let shapes: [(&str, Vec<usize>); 4] = [
            ("convolution kernel", vec![4, 2, 3, 1]),
            ("one neuron", vec![1, 4]),
            ("no neuron", vec![0, 4]),
            ("more neurons than dimensions", vec![9, 3]),
        ];
        for (case, shape) in shapes {
            let inputs = || vec![Input::normal(shape.as_slice())];
            add("mhe", format!("{case}{space}"), inputs(), own, energy, None);
            add("rp", format!("{case}{space}"), inputs(), own, energy, gaussian);
        }
        add("mhe", format!("one dimension{space}"), vec![Input::normal([3, 1])], own, energy, None);
        let dependent: fn(&[Tensor]) -> Tensor = |x| &x[0] + 0.3 * x[0].sum(autograd::keep(0)) * &x[1];
        let two = vec![Input::normal([4, 3]), Input::normal([3])];
        add("mhe", format!("rows that depend on one another{space}"), two, dependent, energy, None);
    }
    for distribution in Distribution::ALL {
        let p = Projections { k: 6, c: 3, distribution, seed: 3, ..Projections::default() };
        for (p, variance) in [(p, ""), (Projections { variance: Variance::Unit, ..p }, ", unit variance")] {
            let case = format!("{distribution}{variance}");
            add("rp", case, vec![Input::normal([4, 8])], own, half, Some(p));
        }
    }
    list.extend(variants::samples());
    list.extend(crate::peers::samples());
    list
}

/// Every combination of the energy's options.
fn energies() -> Vec<(String, Energy)> {
    let mut list = Vec::new();
    for s in [0.0, 0.5, 1.0, 2.0, 3.0] {
        for angular in [false, true] {
            for half_space in [false, true] {
                for scale in [Scale::Paper, Scale::Code] {
                    // The angle of an antipodal pair, pi - sqrt(2 eps) / |w|, needs a larger eps to be smooth in f32.
                    let small = if angular { 1e-2 } else { 1e-4 };
                    for (reduce, eps) in [(Reduce::Mean, small), (Reduce::Sum, 0.0)] {
                        let energy =
                            Energy { s, angular, half_space, scale, reduce, eps, ..Energy::default() };
                        let case = format!(
                            "s = {s}, {}, {}, eps = {eps}, {reduce:?}, {scale:?}",
                            if angular { "angle" } else { "chord" },
                            if half_space { "half-space" } else { "full space" },
                        );
                        list.push((case, energy));
                    }
                }
            }
        }
    }
    list
}

fn sample(
    name: &str,
    case: String,
    inputs: Vec<Input>,
    f: fn(&[Tensor]) -> Tensor,
    energy: Energy,
    projections: Option<Projections>,
) -> Sample {
    Sample::new(name, case, inputs, move |x| {
        let w = f(x);
        let value = match projections {
            None => energy.of(&w),
            Some(p) => {
                let d = w.shape()[1..].iter().product();
                // The same projection in both dtypes.
                let p = p.draw("sample", 0, d, autograd::DType::F64);
                p.and_then(|p| projected_energy(&energy, &w, &p.to_dtype(w.dtype())))
            }
        };
        value.unwrap_or_else(|e| panic!("the sample's options are valid: {e}"))
    })
    .group(Group::Regulariser)
}

#[cfg(test)]
mod tests {
    use autograd::DType;

    #[test]
    fn every_sample_passes_at_orders_1_and_2() {
        for dtype in [DType::F64, DType::F32] {
            let failed: Vec<String> = super::samples()
                .iter()
                .filter_map(|s| {
                    let report = s.check(dtype, 2);
                    (!report.pass()).then(|| format!("{} ({}), {dtype}:\n{report}", s.name, s.case))
                })
                .collect();
            assert!(failed.is_empty(), "{} failed\n{}", failed.len(), failed.join("\n"));
        }
    }
}
