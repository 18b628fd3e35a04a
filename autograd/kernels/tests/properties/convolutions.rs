//! Convolution in its three slots against plain loops.

use kernels::Element;
use kernels::conv::{Algorithm, Conv2d, set_algorithm};
use proptest::prelude::*;

use crate::common::*;

/// What is computed from the other two of x, w and y.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Forward,
    GradInput,
    GradWeight,
}

#[derive(Clone, Debug)]
struct Case {
    slot: Slot,
    sizes: Conv2d,
    seed: u64,
}

fn slots() -> impl Strategy<Value = Slot> {
    prop::sample::select(vec![Slot::Forward, Slot::GradInput, Slot::GradWeight])
}

/// The same property of the vertical and of the horizontal axis.
fn both(values: std::ops::Range<usize>) -> impl Strategy<Value = [usize; 2]> {
    [values.clone(), values]
}

fn convolutions() -> impl Strategy<Value = Case> {
    let channels = prop_oneof![(1..4usize, 1..7usize, 1..7usize), (Just(1usize), 1..20usize, 1..20usize)];
    let window = (both(1..6), both(1..4), both(0..5), both(1..4));
    (slots(), 0..4usize, channels, both(1..15), window, 0..1000u64)
        .prop_map(|(slot, batch, (groups, inputs, outputs), input, window, seed)| {
            let (kernel, stride, padding, dilation) = window;
            let [in_channels, out_channels] = [inputs, outputs].map(|c| c * groups);
            let sizes =
                Conv2d { batch, groups, in_channels, out_channels, input, kernel, stride, padding, dilation };
            Case { slot, sizes, seed }
        })
        .prop_filter("the kernel fits into the padded input", |Case { sizes: s, .. }| {
            (0..2).all(|a| s.dilation[a] * (s.kernel[a] - 1) < s.input[a] + 2 * s.padding[a])
        })
}

/// Convolutions that Winograd's algorithm takes.
fn winograd_cases() -> impl Strategy<Value = (Algorithm, Case)> {
    let algorithm = prop::sample::select(vec![Algorithm::Auto, Algorithm::F2, Algorithm::F4]);
    let kernel = prop::sample::select(vec![3usize, 5]);
    (algorithm, slots(), 1..4usize, both(1..33), both(3..15), both(0..3), kernel, 0..1000u64)
        .prop_map(|(algorithm, slot, batch, [in_channels, out_channels], input, padding, kernel, seed)| {
            let (kernel, stride, dilation, groups) = ([kernel; 2], [1, 1], [1, 1], 1);
            let sizes =
                Conv2d { batch, groups, in_channels, out_channels, input, kernel, stride, padding, dilation };
            (algorithm, Case { slot, sizes, seed })
        })
        .prop_filter("the kernel fits into the padded input", |(_, Case { sizes: s, .. })| {
            (0..2).all(|a| s.kernel[a] <= s.input[a] + 2 * s.padding[a])
        })
}

/// Calls `f` with the indices (x, w, y) of every product in the sums.
fn products(s: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
    let output: [usize; 2] = std::array::from_fn(|a| {
        (s.input[a] + 2 * s.padding[a] - s.dilation[a] * (s.kernel[a] - 1) - 1) / s.stride[a] + 1
    });
    let [inputs, outputs] = [s.in_channels / s.groups, s.out_channels / s.groups];
    let y_dims = [s.batch, s.out_channels, output[0], output[1]];
    let w_dims = [s.out_channels, inputs, s.kernel[0], s.kernel[1]];
    let x_dims = [s.batch, s.in_channels, s.input[0], s.input[1]];
    for y in 0..y_dims.iter().product() {
        let place = unravel(y, &y_dims);
        let (n, k) = (place[0], place[1]);
        for tap in 0..inputs * s.kernel[0] * s.kernel[1] {
            let tap = unravel(tap, &w_dims[1..]);
            let at = |a: usize| {
                let at = place[2 + a] * s.stride[a] + tap[1 + a] * s.dilation[a];
                at.checked_sub(s.padding[a]).filter(|&at| at < s.input[a])
            };
            if let (Some(row), Some(column)) = (at(0), at(1)) {
                let x = ravel(&[n, k / outputs * inputs + tap[0], row, column], &x_dims);
                f(x, ravel(&[k, tap[0], tap[1], tap[2]], &w_dims), y);
            }
        }
    }
}

impl Case {
    fn lengths(&self) -> [usize; 3] {
        let s = &self.sizes;
        let [oh, ow] = s.output();
        [
            s.batch * s.in_channels * s.input[0] * s.input[1],
            s.out_channels * (s.in_channels / s.groups) * s.kernel[0] * s.kernel[1],
            s.batch * s.out_channels * oh * ow,
        ]
    }

    /// x, w and y.
    fn operands<T: Element>(&self) -> [Vec<T>; 3] {
        let lengths = self.lengths();
        std::array::from_fn(|i| noise(lengths[i], self.seed + i as u64, 1.0))
    }

    /// The terms of every element of the slot, and the most terms of an element.
    fn definition<T: Element>(&self, operands: &[Vec<T>; 3]) -> (Vec<Terms>, usize) {
        let [x, w, y] = operands.each_ref().map(|v| to_f64(v));
        let result = match self.slot {
            Slot::Forward => 2,
            Slot::GradInput => 0,
            Slot::GradWeight => 1,
        };
        let len = self.lengths()[result];
        let (mut terms, mut counts) = (vec![Terms::default(); len], vec![0; len]);
        products(&self.sizes, |i, j, k| {
            let (at, term) = match self.slot {
                Slot::Forward => (k, x[i] * w[j]),
                Slot::GradInput => (i, y[k] * w[j]),
                Slot::GradWeight => (j, x[i] * y[k]),
            };
            terms[at].add(term);
            counts[at] += 1;
        });
        (terms, counts.into_iter().max().unwrap_or(0))
    }

    fn compute<T: Element>(&self, [x, w, y]: &[Vec<T>; 3]) -> Vec<T> {
        // NaN shows every element that is not written.
        let [mut dx, mut dw, mut out] = self.lengths().map(|len| vec![T::NAN; len]);
        match self.slot {
            Slot::Forward => {
                self.sizes.forward(x, w, &mut out);
                out
            }
            Slot::GradInput => {
                self.sizes.grad_input(y, w, &mut dx);
                dx
            }
            Slot::GradWeight => {
                self.sizes.grad_weight(x, y, &mut dw);
                dw
            }
        }
    }
}

fn direct_property<T: Element>(case: &Case) -> TestResult {
    let operands = case.operands::<T>();
    let (terms, count) = case.definition(&operands);
    at_every_level(|| {
        set_algorithm(Algorithm::Direct);
        let found = case.compute(&operands);
        set_algorithm(Algorithm::Auto);
        check_sums("conv2d", &found, &terms, count)
    })
}

/// Winograd's transforms mix the elements of a tile, so errors are relative to the root mean square of all results:
/// that which the sum of the squares of the terms leads to expect, since of a few results all may be small.
fn winograd_property(algorithm: Algorithm, case: &Case) -> TestResult {
    let operands = case.operands::<f32>();
    let (terms, _) = case.definition(&operands);
    let squares = operands.each_ref().map(|v| v.iter().map(|v| v * v).collect());
    let (variances, _) = case.definition(&squares);
    let mean = variances.iter().map(|v| v.value).sum::<f64>() / terms.len() as f64;
    let tolerance = algorithm.bound() * mean.sqrt();
    at_every_level(|| {
        set_algorithm(algorithm);
        let found = case.compute(&operands);
        set_algorithm(Algorithm::Auto);
        check("conv2d", &found, |i| (terms[i].value, tolerance))
    })
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn direct_convolution_is_a_sum_of_products(case in convolutions()) {
        direct_property::<f32>(&case)?;
        direct_property::<f64>(&case)?;
    }

    #[test]
    fn winograd_keeps_its_bound((algorithm, case) in winograd_cases()) {
        winograd_property(algorithm, &case)?;
    }
}
