use super::*;
use crate::simd::{self, Level};
use crate::{aligned::Aligned, par};
use winograd::transform::Winograd;

/// Numbers in -1..1 that f32 holds exactly, the same on every run.
fn noise<T: Element>(len: usize, seed: u64) -> Aligned<T> {
    let mut out = Aligned::zeroed(len);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for v in out.iter_mut() {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *v = T::from_f64((state >> 44) as f64 / (1u64 << 19) as f64 - 1.0);
    }
    out
}

/// One slot, fast or by definition: (x, w, y) -> the result.
fn slot<T: Element>(s: &Conv2d, slot: usize, fast: bool, x: &[T], w: &[T], y: &[T]) -> Vec<T> {
    // NaN reveals every element that is read before it is written, or not written.
    let mut out = vec![T::NAN; [y.len(), x.len(), w.len()][slot]];
    match (slot, fast) {
        (0, true) => s.forward(x, w, &mut out),
        (0, false) => definition::forward(s, x, w, &mut out),
        (1, true) => s.grad_input(y, w, &mut out),
        (1, false) => definition::grad_input(s, y, w, &mut out),
        (2, true) => s.grad_weight(x, y, &mut out),
        _ => definition::grad_weight(s, x, y, &mut out),
    }
    out
}

/// (x, w, y) of the right sizes.
fn operands<T: Element>(s: &Conv2d) -> [Aligned<T>; 3] {
    let [oh, ow] = s.output();
    let x = noise(s.batch * s.in_channels * s.input[0] * s.input[1], 1);
    [x, noise(s.weights(), 2), noise(s.batch * s.out_channels * oh * ow, 3)]
}

/// What a slot is by definition, in f64.
fn wanted(s: &Conv2d, which: usize) -> Vec<f64> {
    let [x, w, y] = operands::<f64>(s);
    slot(s, which, false, &x, &w, &y)
}

/// The largest difference from the expected values, in units of their root mean square.
fn error<T: Element>(s: &Conv2d, which: usize, want: &[f64]) -> f64 {
    let [x, w, y] = operands::<T>(s);
    let got = slot::<T>(s, which, true, &x, &w, &y);
    let rms = (want.iter().map(|v| v * v).sum::<f64>() / want.len().max(1) as f64).sqrt().max(1e-3);
    assert!(got.iter().all(|v| v.is_finite()), "{s:?}: slot {which} left an element unwritten");
    got.iter().zip(want).map(|(g, w)| (g.to_f64() - w).abs()).fold(0.0, f64::max) / rms
}

fn shape(batch: usize, channels: [usize; 2], input: [usize; 2], kernel: [usize; 2]) -> Conv2d {
    let [in_channels, out_channels] = channels;
    let (stride, padding, dilation) = ([1, 1], [0, 0], [1, 1]);
    Conv2d { batch, groups: 1, in_channels, out_channels, input, kernel, stride, padding, dilation }
}

/// Strides x paddings x dilations x groups over sizes that divide nothing, and numbers of channels that fill tiles or not.
fn grid() -> Vec<Conv2d> {
    let mut shapes = vec![];
    let channels =
        [(1, [3, 5]), (1, [17, 9]), (2, [6, 4]), (2, [16, 4]), (4, [4, 4]), (3, [3, 6]), (1, [1, 1])];
    for (groups, channels) in channels {
        for (input, kernel) in [([9, 7], [3, 3]), ([1, 13], [1, 4]), ([8, 5], [5, 2]), ([6, 6], [1, 1])] {
            for stride in [[1, 1], [2, 2], [3, 1]] {
                for padding in [[0, 0], [1, 1], [0, 3]] {
                    for dilation in [[1, 1], [2, 1]] {
                        let s =
                            Conv2d { groups, stride, padding, dilation, ..shape(2, channels, input, kernel) };
                        let fits = |i| dilation[i] * (kernel[i] - 1) < input[i] + 2 * padding[i];
                        if fits(0) && fits(1) {
                            shapes.push(s);
                        }
                    }
                }
            }
        }
    }
    shapes
}

/// Rows of places that are whole registers on some machines, alone or with those of other images, sums of several slabs, and
/// paddings of which whole rows of taps see nothing else.
fn whole_rows() -> Vec<Conv2d> {
    let mut shapes = vec![];
    for channels in [[3, 5], [88, 9], [90, 9], [9, 90]] {
        for input in [[2, 8], [4, 16], [3, 24], [3, 32]] {
            for (padding, stride, dilation) in [
                ([1, 1], [1, 1], [1, 1]),
                ([4, 1], [1, 1], [1, 1]),
                ([2, 2], [1, 1], [2, 2]),
                ([1, 1], [2, 2], [1, 1]),
                ([3, 0], [2, 1], [1, 1]),
            ] {
                shapes.push(Conv2d { padding, stride, dilation, ..shape(5, channels, input, [3, 3]) });
            }
        }
    }
    // So many channels of x are cut in two, of which the second does not fill a tile.
    shapes.push(Conv2d { padding: [1, 1], ..shape(2, [236, 3], [4, 5], [3, 3]) });
    shapes
}

fn levels() -> Vec<Level> {
    [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|l| *l <= simd::detect()).collect()
}

#[test]
fn every_slot_is_what_the_definition_says() {
    let _settings = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    for s in grid().into_iter().chain(whole_rows()) {
        for which in 0..3 {
            let want = wanted(&s, which);
            for level in levels() {
                simd::set_level(level);
                let (e32, e64) = (error::<f32>(&s, which, &want), error::<f64>(&s, which, &want));
                assert!(e32 < 1e-5, "f32 {level:?} slot {which} {s:?}: {e32}");
                assert!(e64 < 1e-13, "f64 {level:?} slot {which} {s:?}: {e64}");
            }
        }
    }
}

#[test]
fn an_empty_batch_has_zero_weight_gradient() {
    let _settings = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let s = shape(0, [2, 3], [5, 5], [3, 3]);
    let [x, w, y] = operands::<f32>(&s);
    assert!(slot(&s, 0, true, &x, &w, &y).is_empty());
    assert!(slot(&s, 1, true, &x, &w, &y).is_empty());
    assert!(slot(&s, 2, true, &x, &w, &y).iter().all(|&v| v == 0.0));
}

#[test]
#[should_panic(expected = "more than the padded input")]
fn a_kernel_larger_than_the_padded_input_is_refused() {
    let s = shape(1, [1, 1], [2, 5], [3, 3]);
    s.forward::<f32>(&[0.0; 10], &[0.0; 9], &mut []);
}

#[test]
fn bits_do_not_depend_on_threads() {
    let _settings = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let before = par::threads();
    let padding = [1, 1];
    for s in [
        shape(5, [16, 24], [12, 12], [3, 3]),
        shape(1, [32, 40], [20, 20], [3, 3]),
        shape(9, [3, 8], [7, 9], [5, 5]),
        shape(9, [24, 24], [11, 9], [5, 5]),
        // Several parts of the batch with separate sums.
        shape(5, [40, 40], [60, 60], [3, 3]),
    ] {
        let s = Conv2d { padding, ..s };
        let [x, w, y] = operands::<f32>(&s);
        for which in 0..3 {
            let mut results = [1, 2, 7].map(|n| {
                par::set_threads(n);
                slot(&s, which, true, &x, &w, &y)
            });
            let last = results[2].split_off(0);
            assert!(results[0] == results[1] && results[1] == last, "slot {which} {s:?}");
        }
    }
    par::set_threads(before);
}

/// Shapes that every Winograd tile must handle: remainders of all kinds, every padding, few and many channels.
fn winograd_shapes() -> Vec<Conv2d> {
    let mut shapes = vec![];
    for channels in [[1, 1], [3, 5], [16, 16], [17, 40], [33, 16]] {
        for input in [[3, 3], [4, 5], [9, 7], [16, 16], [13, 30], [1, 40]] {
            for padding in [[0, 0], [1, 1], [2, 2], [1, 0]] {
                for kernel in [3, 5] {
                    if (0..2).all(|i| input[i] + 2 * padding[i] >= kernel) {
                        shapes.push(Conv2d { padding, ..shape(3, channels, input, [kernel; 2]) });
                    }
                }
            }
        }
    }
    shapes
}

/// One slot in f64 by minimal filtering, which is otherwise for f32 only.
fn winograd_slot<F: Winograd<M, K, A>, const M: usize, const K: usize, const A: usize>(
    s: &Conv2d,
    which: usize,
) -> Vec<f64> {
    let [x, w, y] = operands::<f64>(s);
    let mut out = vec![f64::NAN; [y.len(), x.len(), w.len()][which]];
    match which {
        0 => winograd::pass::forward::<_, F, M, K, A>(s, &x, &w, &mut out),
        1 => winograd::pass::grad_input::<_, F, M, K, A>(s, &y, &w, &mut out),
        _ => winograd::weight::grad_weight::<_, F, M, K, A>(s, &x, &y, &mut out),
    }
    out
}

#[test]
fn winograd_is_algebraically_exact() {
    let _settings = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    for s in winograd_shapes() {
        for which in 0..3 {
            let want = wanted(&s, which);
            for level in levels() {
                simd::set_level(level);
                let results = match s.kernel[0] {
                    3 => vec![
                        ("F2", winograd_slot::<F2, 2, 3, 4>(&s, which)),
                        ("F4", winograd_slot::<F4, 4, 3, 6>(&s, which)),
                    ],
                    _ => vec![("F2 of 5", winograd_slot::<F2Of5, 2, 5, 6>(&s, which))],
                };
                for (tile, got) in results {
                    let exact = got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-12);
                    assert!(exact, "{level:?} {tile} slot {which} {s:?}");
                }
            }
        }
    }
}

#[test]
fn every_algorithm_keeps_its_bound() {
    let _settings = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    for (batch, channels, side, kernel) in [
        (2, [16, 16], 30, 3),
        (2, [64, 64], 32, 3),
        (4, [128, 128], 16, 3),
        (6, [256, 256], 8, 3),
        (3, [32, 64], 14, 5),
        (4, [256, 256], 8, 5),
        (1, [512, 512], 8, 3),
    ] {
        let s = Conv2d { padding: [kernel / 2; 2], ..shape(batch, channels, [side; 2], [kernel; 2]) };
        for which in 0..3 {
            let want = wanted(&s, which);
            for level in levels() {
                simd::set_level(level);
                for a in [Algorithm::Direct, Algorithm::F2, Algorithm::F4, Algorithm::Auto] {
                    set_algorithm(a);
                    let e = error::<f32>(&s, which, &want);
                    set_algorithm(Algorithm::Auto);
                    assert!(e < a.bound(), "{level:?} {a:?} slot {which} {s:?}: {e}");
                }
            }
        }
    }
}

/// Checks one slot of given operands in f32 against the definition in f64: what is not finite must be the same, and the error
/// small relative to the absolute values of the terms of each result alone.
fn agrees_locally(s: &Conv2d, which: usize, operands: &[Aligned<f32>; 3], what: &str) {
    let exact = |f: fn(f64) -> f64| {
        let [x, w, y] = operands.each_ref().map(|v| v.iter().map(|&v| f(f64::from(v))).collect::<Vec<_>>());
        slot(s, which, false, &x, &w, &y)
    };
    let (want, size) = (exact(|v| v), exact(f64::abs));
    let [x, w, y] = operands;
    for level in levels() {
        simd::set_level(level);
        let got = slot(s, which, true, x, w, y);
        for (i, ((&got, &want), &size)) in got.iter().zip(&want).zip(&size).enumerate() {
            let got = f64::from(got);
            let same = if want.is_finite() {
                (got - want).abs() <= 2e-5 * size
            } else {
                got.is_nan() == want.is_nan() && (got == want || want.is_nan())
            };
            assert!(same, "{level:?} slot {which} {s:?}, {what}: element {i} is {got}, truly {want}");
        }
    }
}

/// Shapes that `Auto` does with each of the tiles.
fn tiled_shapes() -> [Conv2d; 4] {
    [
        Conv2d { padding: [1, 1], ..shape(3, [16, 20], [16, 16], [3, 3]) },
        Conv2d { padding: [1, 1], ..shape(17, [16, 12], [7, 7], [3, 3]) },
        Conv2d { padding: [1, 1], ..shape(1, [64, 16], [6, 6], [3, 3]) },
        Conv2d { padding: [2, 2], ..shape(3, [16, 16], [14, 14], [5, 5]) },
    ]
}

#[test]
fn a_bad_number_reaches_no_more_results_than_see_it() {
    let _settings = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    for s in tiled_shapes() {
        for bad in [f32::NAN, f32::INFINITY, 1e8] {
            for (which, operand) in [(0, 0), (1, 2), (2, 0), (2, 2), (0, 1), (1, 1)] {
                // All results of a channel depend on a large weight, with numbers large and small.
                if operand == 1 && bad.is_finite() {
                    continue;
                }
                let mut operands = operands::<f32>(&s);
                // In the middle of an image, or of a kernel.
                let [h, w] = [s.input, s.kernel, s.output()][operand];
                operands[operand][3 * h * w + h / 2 * w + w / 2] = bad;
                agrees_locally(&s, which, &operands, &format!("{bad} in operand {operand}"));
            }
        }
    }
    simd::set_level(simd::detect());
}

#[test]
fn what_is_finite_directly_is_finite_by_tiles() {
    let _settings = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    for s in tiled_shapes() {
        for scales in [[1e37, 1e-10, 1e-10], [1e-10, 1e37, 1e-10], [1e-10, 1e-10, 1e37], [1e18, 1e18, 1e18]] {
            for which in 0..3 {
                let mut operands = operands::<f32>(&s);
                for (v, scale) in operands.iter_mut().zip(scales) {
                    v.iter_mut().for_each(|v| *v *= scale);
                }
                agrees_locally(&s, which, &operands, &format!("{scales:?}"));
            }
        }
    }
    simd::set_level(simd::detect());
}
