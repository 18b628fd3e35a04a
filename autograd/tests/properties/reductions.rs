//! Reductions as users call them: any axes, negative ones too, kept or not.

use autograd::{Axes, Scalar, Tensor, keep};
use proptest::prelude::*;

use crate::check_linear;
use crate::common::*;

#[derive(Clone, Debug)]
struct Case {
    dims: Vec<usize>,
    axes: Vec<isize>,
    kept: bool,
    seed: u64,
}

fn cases(shortest: usize) -> impl Strategy<Value = Case> {
    let length = prop_oneof![6 => shortest..6, 1 => shortest..80];
    (prop::collection::vec((length, any::<(bool, bool)>()), 0..5), any::<bool>(), 0..1000u64).prop_map(
        |(axes, kept, seed)| {
            let rank = axes.len() as isize;
            let signed = |(a, &(_, (reduced, negative))): (usize, &(usize, (bool, bool)))| {
                reduced.then_some(if negative { a as isize - rank } else { a as isize })
            };
            Case {
                axes: axes.iter().enumerate().filter_map(signed).collect(),
                dims: axes.iter().map(|(n, _)| *n).collect(),
                kept,
                seed,
            }
        },
    )
}

impl Case {
    fn axes(&self) -> Axes {
        if self.kept { keep(&self.axes[..]) } else { Axes::from(&self.axes[..]) }
    }

    /// The shape of the result, and the elements that each of its elements is made of.
    fn groups(&self) -> (Vec<usize>, Vec<Vec<usize>>) {
        let reduced =
            |a: usize| self.axes.iter().any(|axis| axis.rem_euclid(self.dims.len() as isize) == a as isize);
        let ones: Vec<usize> =
            (0..self.dims.len()).map(|a| if reduced(a) { 1 } else { self.dims[a] }).collect();
        let mut groups = vec![vec![]; ones.iter().product()];
        for i in 0..self.dims.iter().product() {
            let place = unravel(i, &self.dims);
            let place: Vec<usize> = (0..place.len()).map(|a| if reduced(a) { 0 } else { place[a] }).collect();
            groups[ravel(&place, &ones)].push(i);
        }
        let left = (0..self.dims.len()).filter(|&a| self.kept || !reduced(a)).map(|a| ones[a]);
        (left.collect(), groups)
    }

    fn input<T: Scalar>(&self, values: Vec<T>) -> Tensor {
        Tensor::new(&values, &self.dims[..])
    }
}

fn sum_and_mean<T: Scalar>(case: &Case) -> TestResult {
    let (dims, groups) = case.groups();
    let x = case.input(noise::<T>(case.dims.iter().product(), case.seed, 1.0));
    let g = noise::<T>(groups.len(), case.seed + 1, 1.0);
    let rows = |factor: f64| groups.iter().map(|g| g.iter().map(|&i| (i, factor)).collect()).collect();
    let sum = x.sum(case.axes());
    prop_assert_eq!(&sum.shape()[..], &dims[..], "shape of the sum");
    check_linear::<T>("sum", |x| x.sum(case.axes()), &x, &g, &rows(1.0), 0)?;
    let count = groups.first().map_or(1, Vec::len);
    if count > 0 {
        check_linear::<T>("mean", |x| x.mean(case.axes()), &x, &g, &rows(1.0 / count as f64), 2)?;
    }
    Ok(())
}

fn extrema<T: Scalar>(case: &Case) -> TestResult {
    let (_, groups) = case.groups();
    let values: Vec<T> = ties(case.dims.iter().product(), case.seed, false);
    let g = noise::<T>(groups.len(), case.seed + 1, 1.0);
    let rows = |better: fn(T, T) -> bool| -> Vec<_> {
        let best = |best: usize, &i: &usize| if better(values[i], values[best]) { i } else { best };
        groups.iter().map(|g| vec![(g.iter().fold(g[0], best), 1.0)]).collect()
    };
    let x = case.input(values.clone());
    let (largest, smallest) = (rows(|new, old| new > old), rows(|new, old| new < old));
    check_linear::<T>("max", |x| x.max(case.axes()), &x, &g, &largest, 0)?;
    check_linear::<T>("min", |x| x.min(case.axes()), &x, &g, &smallest, 0)?;
    if let [axis] = case.axes[..] {
        let a = axis.rem_euclid(case.dims.len() as isize) as usize;
        let places = |rows: &[Vec<(usize, f64)>]| -> Vec<usize> {
            rows.iter().map(|row| unravel(row[0].0, &case.dims)[a]).collect()
        };
        prop_assert_eq!(x.argmax(axis).to_vec(), places(&largest), "argmax");
        prop_assert_eq!(x.argmin(axis).to_vec(), places(&smallest), "argmin");
    }
    Ok(())
}

/// The deviations from the mean of N numbers |x| <= 1 are off by at most e = gamma(N + 1) + u, their squares, which are
/// at most 4, by 4 e + e^2 and gamma(N + 3) relative.
fn variance<T: Scalar>(case: &Case) -> TestResult {
    let (_, groups) = case.groups();
    let values: Vec<T> = noise(case.dims.iter().product(), case.seed, 1.0);
    let v = to_f64(&values);
    let var = case.input(values).var(case.axes(), 0);
    check("var", var.data::<T>(), |o| {
        let n = groups[o].len();
        let mean = groups[o].iter().map(|&i| v[i]).sum::<f64>() / n as f64;
        let var = groups[o].iter().map(|&i| (v[i] - mean).powi(2)).sum::<f64>() / n as f64;
        (var, 5.0 * gamma::<T>(n + 2) + gamma::<T>(n + 3) * var)
    })
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn sum_and_mean_over_any_axes(case in cases(0)) {
        sum_and_mean::<f32>(&case)?;
        sum_and_mean::<f64>(&case)?;
    }

    #[test]
    fn extrema_are_the_first_best_and_take_the_gradient(case in cases(1)) {
        extrema::<f32>(&case)?;
        extrema::<f64>(&case)?;
    }

    #[test]
    fn variance_is_the_mean_square_deviation(case in cases(1)) {
        variance::<f32>(&case)?;
        variance::<f64>(&case)?;
    }
}
