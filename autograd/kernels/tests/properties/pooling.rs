//! Pooling and its adjoints against loops over windows.

use kernels::Element;
use kernels::pool::{Pool2d, adaptive_average, adaptive_average_adjoint};
use proptest::prelude::*;

use crate::common::*;

#[derive(Clone, Debug)]
struct Case {
    pool: Pool2d,
    nan: bool,
    count_border: bool,
    seed: u64,
}

fn pools() -> impl Strategy<Value = Case> {
    let general = (1..6usize, 1..5usize, 0..3usize);
    // Windows of 2 that tile the image have loops of their own.
    let axis = || (1..70usize, prop_oneof![2 => general.clone(), 1 => Just((2, 2, 0))]);
    (0..5usize, axis(), axis(), any::<(bool, bool)>(), 0..1000u64)
        .prop_map(|(planes, (h, down), (w, right), (nan, count_border), seed)| {
            let ([kernel, stride, padding], input) =
                ([[down.0, right.0], [down.1, right.1], [down.2, right.2]], [h.min(20), w]);
            Case { pool: Pool2d { planes, input, kernel, stride, padding }, nan, count_border, seed }
        })
        .prop_filter("windows fit into the padded image, and hold an element", |Case { pool: p, .. }| {
            (0..2).all(|a| p.padding[a] <= p.kernel[a] / 2 && p.kernel[a] <= p.input[a] + 2 * p.padding[a])
        })
}

/// The elements of every window in row-major order, without the border.
fn windows(p: &Pool2d) -> Vec<Vec<usize>> {
    let [oh, ow] = [0, 1].map(|a| (p.input[a] + 2 * p.padding[a] - p.kernel[a]) / p.stride[a] + 1);
    let inside = |a: usize, o: usize| {
        (0..p.kernel[a])
            .filter_map(move |k| (o * p.stride[a] + k).checked_sub(p.padding[a]))
            .filter(move |&at| at < p.input[a])
    };
    let window = |o: usize| {
        let place = unravel(o, &[p.planes, oh, ow]);
        let rows = inside(0, place[1]);
        rows.flat_map(|r| inside(1, place[2]).map(move |c| (r, c)))
            .map(|(r, c)| (place[0] * p.input[0] + r) * p.input[1] + c)
            .collect()
    };
    (0..p.planes * oh * ow).map(window).collect()
}

fn max_property<T: Element>(case: &Case) -> TestResult {
    let pool = &case.pool;
    let x: Vec<T> = ties(pool.input_len(), case.seed, case.nan);
    let windows = windows(pool);
    // The first of equal elements; the last NaN.
    let best = |window: &Vec<usize>| {
        let wins = |&best: &usize, at: usize| x[at] > x[best] || x[at].to_f64().is_nan();
        window.iter().fold(window[0], |best, &at| if wins(&best, at) { at } else { best })
    };
    let places: Vec<usize> = windows.iter().map(best).collect();
    let values: Vec<T> = places.iter().map(|&at| x[at]).collect();
    // Integers, so that the sums are exact.
    let g: Vec<T> = ties(windows.len(), case.seed + 1, false);
    let mut dx = vec![T::ZERO; x.len()];
    g.iter().zip(&places).for_each(|(&g, &at)| dx[at] = dx[at] + g);
    at_every_level(|| {
        let (mut out, mut winners) = (vec![T::NAN; g.len()], vec![u32::MAX; g.len()]);
        pool.max(&x, &mut out, &mut winners);
        check_exact("max pool", &out, &values)?;
        for (o, (&found, &place)) in winners.iter().zip(&places).enumerate() {
            prop_assert_eq!(found as usize, place, "winner of element {}", o);
        }
        let mut found = vec![T::NAN; x.len()];
        pool.max_adjoint(&g, &winners, &mut found);
        check_exact("max pool adjoint", &found, &dx)
    })
}

/// The mean of each window, as terms, and the adjoint; `count` is what a window of some elements divides by.
fn means(
    x: &[f64],
    g: &[f64],
    windows: &[Vec<usize>],
    count: impl Fn(usize) -> usize,
) -> ([Vec<Terms>; 2], usize) {
    let (mut dx, mut met) = (vec![Terms::default(); x.len()], vec![0; x.len()]);
    let mut most = 0;
    let mut forward = vec![];
    for (window, g) in windows.iter().zip(g) {
        let count = count(window.len()) as f64;
        forward.push(window.iter().map(|&at| x[at] / count).collect());
        most = most.max(window.len());
        for &at in window {
            dx[at].add(g / count);
            met[at] += 1;
            most = most.max(met[at]);
        }
    }
    ([forward, dx], most)
}

fn average_property<T: Element>(case: &Case) -> TestResult {
    let pool = &case.pool;
    let x: Vec<T> = noise(pool.input_len(), case.seed, 1.0);
    let windows = windows(pool);
    let g: Vec<T> = noise(windows.len(), case.seed + 1, 1.0);
    let count = |covered| if case.count_border { pool.kernel[0] * pool.kernel[1] } else { covered };
    let ([forward, adjoint], most) = means(&to_f64(&x), &to_f64(&g), &windows, count);
    at_every_level(|| {
        let (mut out, mut dx) = (vec![T::NAN; g.len()], vec![T::NAN; x.len()]);
        pool.average(&x, case.count_border, &mut out);
        pool.average_adjoint(&g, case.count_border, &mut dx);
        // A sum, and a division or a product with a rounded reciprocal.
        check_sums("average pool", &out, &forward, most + 2)?;
        check_sums("average pool adjoint", &dx, &adjoint, most + 2)
    })
}

/// Windows that divide an image into a given number.
#[derive(Clone, Debug)]
struct Adaptive {
    planes: usize,
    input: [usize; 2],
    output: [usize; 2],
    seed: u64,
}

fn adaptive_property<T: Element>(case: &Adaptive) -> TestResult {
    let &Adaptive { planes, input, output, seed } = case;
    let x: Vec<T> = noise(planes * input[0] * input[1], seed, 1.0);
    let g: Vec<T> = noise(planes * output[0] * output[1], seed + 1, 1.0);
    // floor(o m / n) to ceil((o + 1) m / n)
    let span = |a: usize, o: usize| o * input[a] / output[a]..((o + 1) * input[a]).div_ceil(output[a]);
    let window = |o: usize| {
        let place = unravel(o, &[planes, output[0], output[1]]);
        let rows = span(0, place[1]);
        rows.flat_map(|r| span(1, place[2]).map(move |c| (r, c)))
            .map(|(r, c)| (place[0] * input[0] + r) * input[1] + c)
            .collect()
    };
    let windows: Vec<Vec<usize>> = (0..g.len()).map(window).collect();
    let ([forward, adjoint], most) = means(&to_f64(&x), &to_f64(&g), &windows, |covered| covered);
    at_every_level(|| {
        let (mut out, mut dx) = (vec![T::NAN; g.len()], vec![T::NAN; x.len()]);
        adaptive_average(&x, planes, input, output, &mut out);
        adaptive_average_adjoint(&g, planes, input, output, &mut dx);
        check_sums("adaptive average", &out, &forward, most + 2)?;
        check_sums("adaptive average adjoint", &dx, &adjoint, most + 2)
    })
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn max_pool_is_the_maximum_of_each_window(case in pools()) {
        max_property::<f32>(&case)?;
        max_property::<f64>(&case)?;
    }

    #[test]
    fn average_pool_is_the_mean_of_each_window(case in pools()) {
        average_property::<f32>(&case)?;
        average_property::<f64>(&case)?;
    }

    #[test]
    fn adaptive_average_is_the_mean_of_each_window(
        case in (0..4usize, [1..12usize, 1..12], [0..9usize, 0..9], 0..1000u64)
            .prop_map(|(planes, input, output, seed)| Adaptive { planes, input, output, seed })
    ) {
        adaptive_property::<f32>(&case)?;
        adaptive_property::<f64>(&case)?;
    }
}
