//! Reductions over any axes, running sums and inner products against loops.

use kernels::Element;
use kernels::reduce;
use proptest::prelude::*;

use crate::common::*;

/// x has the shape `dims`; the axes marked in `axes` are reduced.
#[derive(Clone, Debug)]
struct Case {
    dims: Vec<usize>,
    axes: Vec<bool>,
    seed: u64,
}

fn axes_of(shortest: usize) -> impl Strategy<Value = Case> {
    let length = move || prop_oneof![4 => shortest..6, 1 => shortest..140];
    (prop::collection::vec((length(), any::<bool>()), 0..6), 0..1000u64)
        .prop_map(|(axes, seed)| {
            let (dims, axes) = axes.into_iter().unzip();
            Case { dims, axes, seed }
        })
        .prop_filter("small", |c| c.dims.iter().product::<usize>() < 40_000)
}

impl Case {
    fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// The elements of x, in order, that each result is made of.
    fn groups(&self) -> Vec<Vec<usize>> {
        let kept = |of: &[usize]| -> Vec<usize> {
            of.iter().zip(&self.axes).filter(|(_, reduced)| !**reduced).map(|(&n, _)| n).collect()
        };
        let dims = kept(&self.dims);
        let mut groups = vec![vec![]; dims.iter().product()];
        for i in 0..self.len() {
            groups[ravel(&kept(&unravel(i, &self.dims)), &dims)].push(i);
        }
        groups
    }

    /// The most passes over neighbouring axes, or over blocks of a long one, that a reduction takes.
    fn passes(&self) -> f64 {
        self.dims.len() as f64 + 1.0
    }
}

fn sum_property<T: Element>(case: &Case) -> TestResult {
    let x: Vec<T> = noise(case.len(), case.seed, 1.0);
    let groups = case.groups();
    let terms: Vec<Terms> = groups.iter().map(|g| g.iter().map(|&i| x[i].to_f64()).collect()).collect();
    let most = groups.iter().map(Vec::len).max().unwrap_or(0);
    at_every_level(|| {
        let mut out = vec![T::NAN; groups.len()];
        reduce::sum(&x, &case.dims, &case.axes, &mut out);
        check_sums("sum", &out, &terms, most)
    })
}

/// With t = max x - x, the exponentials of n elements have relative errors of u t, from the difference, and 2.2 u;
/// t e^-t is at most 1/e, so their sum has one of at most (1.4 n + 3) u; the logarithm adds 2 u ln n, the sum
/// with the maximum u |result|. Together at most u (2 n + 6 + |result|). Errors of a pass go through the next one
/// undiminished, but not increased.
fn logsumexp_property<T: Element>(case: &Case) -> TestResult {
    let mut x: Vec<T> = noise(case.len(), case.seed, 20.0);
    x.iter_mut().step_by(7).for_each(|v| *v = -T::INFINITY);
    let groups = case.groups();
    let expected = |o: usize| {
        let values = groups[o].iter().map(|&i| x[i].to_f64());
        let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
        if max == f64::NEG_INFINITY {
            return (max, 0.0);
        }
        let value = max + values.map(|v| (v - max).exp()).sum::<f64>().ln();
        let (n, u) = (groups[o].len() as f64, unit::<T>() + unit::<f64>());
        (value, case.passes() * u * (2.0 * n + 6.0 + max.abs().max(value.abs())))
    };
    at_every_level(|| {
        let mut out = vec![T::NAN; groups.len()];
        reduce::logsumexp(&x, &case.dims, &case.axes, &mut out);
        check("logsumexp", &out, expected)
    })
}

/// The sum of n squares has a relative error of gamma(n), its root of half of that and one rounding; scaled entries
/// have two more in each pass.
fn norm_property<T: Element>(case: &Case, magnitude: i32) -> TestResult {
    let x: Vec<T> = noise(case.len(), case.seed, 10f64.powi(magnitude));
    let groups = case.groups();
    let expected = |o: usize| {
        let values = groups[o].iter().map(|&i| x[i].to_f64());
        let value = values.fold(0.0, f64::hypot);
        (value, gamma::<T>(groups[o].len() + 4 * case.dims.len() + 4) * value + tiny::<T>())
    };
    at_every_level(|| {
        let mut out = vec![T::NAN; groups.len()];
        reduce::norm(&x, &case.dims, &case.axes, &mut out);
        check("norm", &out, expected)
    })
}

fn extrema_property<T: Element>(case: &Case, nan: bool) -> TestResult {
    let x: Vec<T> = ties(case.len(), case.seed, nan);
    let groups = case.groups();
    // The first of equal elements, or the first NaN.
    let places = |better: fn(f64, f64) -> bool| -> Vec<usize> {
        let best = |best: usize, &i: &usize| {
            let (new, old) = (x[i].to_f64(), x[best].to_f64());
            if !old.is_nan() && (new.is_nan() || better(new, old)) { i } else { best }
        };
        groups.iter().map(|g| g.iter().fold(g[0], best)).collect()
    };
    let (largest, smallest) = (places(|new, old| new > old), places(|new, old| new < old));
    at_every_level(|| {
        for (op, places) in [("max", &largest), ("min", &smallest)] {
            let values: Vec<T> = places.iter().map(|&i| x[i]).collect();
            let (mut out, mut winners) = (vec![T::ZERO; groups.len()], vec![u32::MAX; groups.len()]);
            let reduce = if op == "max" { reduce::max } else { reduce::min };
            reduce(&x, &case.dims, &case.axes, &mut out, &mut winners);
            check_exact(op, &out, &values)?;
            for (o, (&found, &place)) in winners.iter().zip(places).enumerate() {
                prop_assert_eq!(found as usize, place, "winner of element {} of {}", o, op);
            }
        }
        Ok(())
    })
}

/// x is (outer, len, inner).
#[derive(Clone, Debug)]
struct Cumsum {
    outer: usize,
    len: usize,
    inner: usize,
    reverse: bool,
    seed: u64,
}

fn cumsum_property<T: Element>(case: &Cumsum) -> TestResult {
    let &Cumsum { outer, len, inner, reverse, seed } = case;
    let x: Vec<T> = noise(outer * len * inner, seed, 1.0);
    let element = |e: usize| {
        let (o, i, j) = (e / (len * inner), e / inner % len, e % inner);
        let range = if reverse { i..len } else { 0..i + 1 };
        range.map(|i| x[(o * len + i) * inner + j].to_f64()).collect()
    };
    let terms: Vec<Terms> = (0..x.len()).map(element).collect();
    let mut out = vec![T::NAN; x.len()];
    reduce::cumsum(&x, outer, len, inner, reverse, &mut out);
    check_sums("cumsum", &out, &terms, len)
}

#[derive(Clone, Debug)]
struct Dot {
    len: usize,
    seed: u64,
}

fn dot_property<T: Element>(&Dot { len, seed }: &Dot) -> TestResult {
    let [x, y]: [Vec<T>; 2] = [noise(len, seed, 1.0), noise(len, seed + 1, 1.0)];
    let products: Terms = x.iter().zip(&y).map(|(x, y)| x.to_f64() * y.to_f64()).collect();
    let squares: Terms = x.iter().map(|x| x.to_f64() * x.to_f64()).collect();
    let sums: Vec<T> = x.iter().zip(&y).map(|(&x, &y)| x + y).collect();
    at_every_level(|| {
        check_sums("dot", &[reduce::dot(&x, &y)], &[products], len)?;
        check_sums("sum_squares", &[reduce::sum_squares(&x)], &[squares], len)?;
        let mut out = x.clone();
        reduce::add_assign(&mut out, &y);
        check_exact("add_assign", &out, &sums)
    })
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn sum_adds_all_elements(case in axes_of(0)) {
        sum_property::<f32>(&case)?;
        sum_property::<f64>(&case)?;
    }

    #[test]
    fn logsumexp_is_the_logarithm_of_a_sum(case in axes_of(0)) {
        logsumexp_property::<f32>(&case)?;
        logsumexp_property::<f64>(&case)?;
    }

    #[test]
    fn norm_is_the_root_of_a_sum_of_squares(case in axes_of(0), magnitude in -30..31i32) {
        norm_property::<f32>(&case, magnitude)?;
        norm_property::<f64>(&case, 5 * magnitude)?;
    }

    #[test]
    fn extrema_are_the_first_best(case in axes_of(1), nan in any::<bool>()) {
        extrema_property::<f32>(&case, nan)?;
        extrema_property::<f64>(&case, nan)?;
    }

    #[test]
    fn cumsum_adds_what_precedes(
        case in (0..4usize, 0..40usize, 0..40usize, any::<bool>(), 0..1000u64)
            .prop_map(|(outer, len, inner, reverse, seed)| Cumsum { outer, len, inner, reverse, seed })
    ) {
        cumsum_property::<f32>(&case)?;
        cumsum_property::<f64>(&case)?;
    }

    #[test]
    fn dot_is_a_sum_of_products(
        case in (prop_oneof![8 => 0..3000usize, 1 => 32_700..70_000usize], 0..1000u64)
            .prop_map(|(len, seed)| Dot { len, seed })
    ) {
        dot_property::<f32>(&case)?;
        dot_property::<f64>(&case)?;
    }
}
