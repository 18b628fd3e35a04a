//! Pooling against loops over padded images.

use super::*;
use crate::random::Key;
use crate::real::Element;

const GEOMETRIES: [Pool2d; 14] = [
    Pool2d { planes: 3, input: [8, 8], kernel: [2, 2], stride: [2, 2], padding: [0, 0] },
    Pool2d { planes: 2, input: [9, 71], kernel: [2, 2], stride: [2, 2], padding: [0, 0] },
    Pool2d { planes: 3, input: [14, 14], kernel: [2, 2], stride: [2, 2], padding: [0, 0] },
    Pool2d { planes: 3, input: [5, 23], kernel: [2, 2], stride: [2, 2], padding: [0, 0] },
    Pool2d { planes: 40, input: [32, 32], kernel: [2, 2], stride: [2, 2], padding: [0, 0] },
    Pool2d { planes: 2, input: [7, 9], kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
    Pool2d { planes: 2, input: [6, 5], kernel: [3, 2], stride: [1, 3], padding: [0, 1] },
    Pool2d { planes: 1, input: [1, 1], kernel: [1, 1], stride: [1, 1], padding: [0, 0] },
    Pool2d { planes: 0, input: [4, 4], kernel: [2, 2], stride: [2, 2], padding: [0, 0] },
    Pool2d { planes: 2, input: [5, 5], kernel: [5, 5], stride: [1, 1], padding: [2, 2] },
    Pool2d { planes: 2, input: [32, 32], kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
    Pool2d { planes: 2, input: [6, 13], kernel: [3, 3], stride: [1, 2], padding: [0, 0] },
    Pool2d { planes: 2, input: [6, 21], kernel: [3, 4], stride: [2, 1], padding: [1, 2] },
    Pool2d { planes: 2, input: [6, 40], kernel: [2, 3], stride: [2, 3], padding: [1, 1] },
];

/// Values with many ties, so that the order of a window matters.
fn ties<T: Element>(len: usize, seed: u64) -> Vec<T> {
    let mut x = vec![T::ZERO; len];
    Key::new(seed).fill_uniform(&mut x);
    x.iter().map(|v| T::from_f64((v.to_f64() * 4.0).floor() - 2.0)).collect()
}

/// The elements of every window in row-major order, `None` in the border.
fn windows(p: &Pool2d) -> Vec<Vec<Option<usize>>> {
    let ([h, w], [oh, ow]) = (p.input, p.output());
    let mut all = vec![];
    for plane in 0..p.planes {
        for i in 0..oh {
            for j in 0..ow {
                let mut window = vec![];
                for a in 0..p.kernel[0] {
                    for b in 0..p.kernel[1] {
                        let r = (i * p.stride[0] + a).checked_sub(p.padding[0]).filter(|&r| r < h);
                        let c = (j * p.stride[1] + b).checked_sub(p.padding[1]).filter(|&c| c < w);
                        window.push(r.zip(c).map(|(r, c)| (plane * h + r) * w + c));
                    }
                }
                all.push(window);
            }
        }
    }
    all
}

fn max_agrees<T: Element>() {
    for p in GEOMETRIES {
        let x: Vec<T> = ties(p.input_len(), 1);
        let (mut out, mut winners) = (vec![T::NAN; p.output_len()], vec![u32::MAX; p.output_len()]);
        p.max(&x, &mut out, &mut winners);
        for (o, window) in windows(&p).iter().enumerate() {
            let mut best = None;
            for &at in window.iter().flatten() {
                if best.is_none_or(|b| x[at] > x[b]) {
                    best = Some(at);
                }
            }
            let best = best.unwrap();
            assert_eq!((out[o], winners[o] as usize), (x[best], best), "{p:?} output {o}");
        }
        let g: Vec<T> = ties(p.output_len(), 2);
        let mut dx = vec![T::NAN; p.input_len()];
        p.max_adjoint(&g, &winners, &mut dx);
        let mut want = vec![T::ZERO; p.input_len()];
        g.iter().zip(&winners).for_each(|(&g, &at)| want[at as usize] = want[at as usize] + g);
        assert_eq!(dx, want, "{p:?}");
    }
}

#[test]
fn maxima_win_as_defined() {
    max_agrees::<f32>();
    max_agrees::<f64>();
}

#[test]
fn nan_and_infinity() {
    for input in [[2, 2], [2, 40]] {
        let p = Pool2d { planes: 1, input, kernel: [2, 2], stride: [2, 2], padding: [0, 0] };
        let (mut out, mut winners) = (vec![0.0f32; p.output_len()], vec![0; p.output_len()]);
        let mut x = vec![f32::NEG_INFINITY; p.input_len()];
        p.max(&x, &mut out, &mut winners);
        assert_eq!((out[0], winners[0]), (f32::NEG_INFINITY, 0));
        (x[0], x[1], x[input[1]]) = (f32::NAN, 5.0, f32::NAN);
        p.max(&x, &mut out, &mut winners);
        assert!(out[0].is_nan() && winners[0] as usize == input[1], "the last NaN wins");
    }
}

#[test]
fn nan_wins_overlapping_windows_too() {
    let p = Pool2d { planes: 1, input: [3, 40], kernel: [3, 3], stride: [2, 2], padding: [1, 1] };
    let mut x = vec![1.0f32; p.input_len()];
    (x[40 + 11], x[80 + 11]) = (f32::NAN, f32::NAN);
    let (mut out, mut winners) = (vec![0.0; p.output_len()], vec![0; p.output_len()]);
    p.max(&x, &mut out, &mut winners);
    let nan: Vec<usize> = (0..out.len()).filter(|&i| out[i].is_nan()).collect();
    assert_eq!(nan, [5, 6, 25, 26]);
    assert_eq!(nan.iter().map(|&i| winners[i]).collect::<Vec<_>>(), [51, 51, 91, 91]);
}

#[test]
#[should_panic(expected = "lies outside its window")]
fn winners_belong_to_their_windows() {
    let p = Pool2d { planes: 1, input: [2, 80], kernel: [2, 2], stride: [2, 2], padding: [0, 0] };
    p.max_adjoint(&[1.0f32; 40], &[0; 40], &mut [0.0; 160]);
}

fn average_agrees<T: Element>(tolerance: f64) {
    for p in GEOMETRIES {
        for count_border in [true, false] {
            let x: Vec<T> = ties(p.input_len(), 3);
            let g: Vec<T> = ties(p.output_len(), 4);
            let (mut out, mut dx) = (vec![T::NAN; p.output_len()], vec![T::NAN; p.input_len()]);
            p.average(&x, count_border, &mut out);
            p.average_adjoint(&g, count_border, &mut dx);
            let mut want_dx = vec![0.0; p.input_len()];
            for (o, window) in windows(&p).iter().enumerate() {
                let inside: Vec<usize> = window.iter().copied().flatten().collect();
                let count = if count_border { window.len() } else { inside.len() } as f64;
                let want = inside.iter().map(|&at| x[at].to_f64()).sum::<f64>() / count;
                assert!((out[o].to_f64() - want).abs() < tolerance, "{p:?} output {o}");
                inside.iter().for_each(|&at| want_dx[at] += g[o].to_f64() / count);
            }
            assert!(dx.iter().zip(&want_dx).all(|(a, b)| (a.to_f64() - b).abs() < tolerance), "{p:?}");
        }
    }
}

#[test]
fn averages_agree_with_sums_over_windows() {
    average_agrees::<f32>(1e-5);
    average_agrees::<f64>(1e-13);
}

#[test]
fn adaptive_windows_divide_the_image() {
    for (input, output) in
        [([7, 5], [3, 2]), ([8, 8], [1, 1]), ([4, 4], [4, 4]), ([3, 2], [5, 7]), ([4, 4], [0, 2])]
    {
        let planes = 3;
        let x: Vec<f64> = ties(planes * input[0] * input[1], 5);
        let g: Vec<f64> = ties(planes * output[0] * output[1], 6);
        let (mut out, mut dx) = (vec![f64::NAN; g.len()], vec![f64::NAN; x.len()]);
        adaptive_average(&x, planes, input, output, &mut out);
        adaptive_average_adjoint(&g, planes, input, output, &mut dx);
        let inside = |axis: usize, o: usize, i: usize| {
            // floor(o m / n) <= i < ceil((o + 1) m / n), without rounding
            let (m, n) = (input[axis], output[axis]);
            (i + 1) * n > o * m && i * n < (o + 1) * m
        };
        let mut want_dx = vec![0.0; x.len()];
        for o in 0..out.len() {
            let (plane, i, j) = (o / (output[0] * output[1]), o / output[1] % output[0], o % output[1]);
            let places: Vec<usize> = (0..x.len())
                .filter(|at| {
                    let (p, r, c) = (at / (input[0] * input[1]), at / input[1] % input[0], at % input[1]);
                    p == plane && inside(0, i, r) && inside(1, j, c)
                })
                .collect();
            let want = places.iter().map(|&at| x[at]).sum::<f64>() / places.len() as f64;
            assert!((out[o] - want).abs() < 1e-13, "{input:?} to {output:?}");
            places.iter().for_each(|&at| want_dx[at] += g[o] / places.len() as f64);
        }
        assert!(dx.iter().zip(&want_dx).all(|(a, b)| (a - b).abs() < 1e-13));
    }
}
