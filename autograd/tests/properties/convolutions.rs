//! Convolution with options, and max pooling.

use autograd::{ConvOptions, Scalar, Tensor};
use proptest::prelude::*;

use crate::check_linear;
use crate::common::*;

/// Input [batch, channels, height, width], weight [filters, channels / groups, kernel].
#[derive(Clone, Debug)]
struct Conv {
    batch: usize,
    channels: usize,
    filters: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    options: ConvOptions,
    seed: u64,
}

fn both(values: std::ops::Range<usize>) -> impl Strategy<Value = [usize; 2]> {
    [values.clone(), values]
}

fn convs() -> impl Strategy<Value = Conv> {
    let options = (both(1..4), both(0..4), both(1..3));
    (1..4usize, [1..4usize, 1..4], 1..4usize, both(1..9), both(1..4), options, 0..1000u64)
        .prop_map(|(batch, [c, f], groups, input, kernel, (stride, padding, dilation), seed)| Conv {
            batch,
            channels: c * groups,
            filters: f * groups,
            input,
            kernel,
            options: ConvOptions { stride, padding, dilation, groups },
            seed,
        })
        .prop_filter("the kernel fits into the padded input", |c| {
            let o = &c.options;
            (0..2).all(|a| o.dilation[a] * (c.kernel[a] - 1) < c.input[a] + 2 * o.padding[a])
        })
}

fn conv_property<T: Scalar>(case: &Conv) -> TestResult {
    let o = &case.options;
    let [c, f] = [case.channels / o.groups, case.filters / o.groups];
    let output: [usize; 2] = std::array::from_fn(|a| {
        (case.input[a] + 2 * o.padding[a] - o.dilation[a] * (case.kernel[a] - 1) - 1) / o.stride[a] + 1
    });
    let dims = [
        [case.batch, case.channels, case.input[0], case.input[1]],
        [case.filters, c, case.kernel[0], case.kernel[1]],
        [case.batch, case.filters, output[0], output[1]],
    ];
    let [x, w, g] = [0, 1, 2].map(|i| noise::<T>(dims[i].iter().product(), case.seed + i as u64, 1.0));
    let [fx, fw, fg] = [&x, &w, &g].map(|v| to_f64(v));
    let [mut dx, mut dw, mut y] = [&x, &w, &g].map(|v| vec![Terms::default(); v.len()]);
    let mut counts = [&x, &w, &g].map(|v| vec![0; v.len()]);
    for at in 0..y.len() {
        let place = unravel(at, &dims[2]);
        for tap in 0..c * case.kernel[0] * case.kernel[1] {
            let tap = unravel(tap, &dims[1][1..]);
            let source = |a: usize| {
                let i = place[2 + a] * o.stride[a] + tap[1 + a] * o.dilation[a];
                i.checked_sub(o.padding[a]).filter(|&i| i < case.input[a])
            };
            let (Some(row), Some(col)) = (source(0), source(1)) else { continue };
            let i = ravel(&[place[0], place[1] / f * c + tap[0], row, col], &dims[0]);
            let j = ravel(&[place[1], tap[0], tap[1], tap[2]], &dims[1]);
            y[at].add(fx[i] * fw[j]);
            dx[i].add(fg[at] * fw[j]);
            dw[j].add(fg[at] * fx[i]);
            [i, j, at].iter().zip(&mut counts).for_each(|(&i, counts)| counts[i] += 1);
        }
    }
    let [by_x, by_w, by_y] = counts.map(|counts| counts.into_iter().max().unwrap_or(0));
    let [x, w, g] = [(&x, 0), (&w, 1), (&g, 2)].map(|(v, i)| Tensor::new(v, dims[i]));
    let [x, w] = [x, w].map(|t| t.requires_grad());
    // Fewer than 12 channels: never Winograd's algorithm, whose errors are not those of a sum.
    let found = x.conv2d(&w, case.options);
    prop_assert_eq!(found.shape(), &dims[2], "shape of the result");
    check_sums("conv2d", found.data::<T>(), &y, by_y)?;
    let grads = found.vjp(&g, &[&x, &w]);
    check_sums("conv2d vjp, input", grads[0].data::<T>(), &dx, by_x)?;
    check_sums("conv2d vjp, weight", grads[1].data::<T>(), &dw, by_w)?;
    // The transposed convolution is the adjoint; what no window reaches is output padding.
    let reach = |a: usize| (output[a] - 1) * o.stride[a] + o.dilation[a] * (case.kernel[a] - 1) + 1;
    let left = [0, 1].map(|a| case.input[a] + 2 * o.padding[a] - reach(a));
    let back = g.conv_transpose2d(&w, left, case.options);
    prop_assert_eq!(back.shape(), &dims[0], "shape of the transposed convolution");
    check_sums("conv_transpose2d", back.data::<T>(), &dx, by_x)
}

/// Windows over `images` images.
#[derive(Clone, Debug)]
struct MaxPool {
    images: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    seed: u64,
}

fn max_pool_property<T: Scalar>(case: &MaxPool) -> TestResult {
    let &MaxPool { images, input, kernel, stride, padding, seed } = case;
    let dims = [images, input[0], input[1]];
    let output: [usize; 2] = std::array::from_fn(|a| (input[a] + 2 * padding[a] - kernel[a]) / stride[a] + 1);
    let x: Vec<T> = ties(dims.iter().product(), seed, false);
    let row = |at: usize| {
        let place = unravel(at, &[images, output[0], output[1]]);
        let covered = |a: usize| {
            let start = place[1 + a] * stride[a];
            (start..start + kernel[a])
                .filter_map(move |i| i.checked_sub(padding[a]))
                .filter(move |&i| i < input[a])
        };
        let places = covered(0).flat_map(|r| covered(1).map(move |c| (r, c)));
        let mut places = places.map(|(r, c)| ravel(&[place[0], r, c], &dims));
        let first = places.next().unwrap();
        // The first of equal elements takes the whole gradient.
        vec![(places.fold(first, |best, i| if x[i] > x[best] { i } else { best }), 1.0)]
    };
    let rows: Vec<_> = (0..images * output[0] * output[1]).map(row).collect();
    let g = noise::<T>(rows.len(), seed + 1, 1.0);
    let pool = |x: &Tensor| x.max_pool2d(kernel, stride, padding);
    check_linear::<T>("max_pool2d", pool, &Tensor::new(&x, dims), &g, &rows, 0)
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn conv2d_is_a_sum_of_products(case in convs()) {
        conv_property::<f32>(&case)?;
        conv_property::<f64>(&case)?;
    }

    #[test]
    fn max_pool_is_the_maximum_of_each_window(
        case in (0..4usize, both(1..12), both(1..5), both(1..4), both(0..3), 0..1000u64)
            .prop_map(|(images, input, kernel, stride, padding, seed)| MaxPool {
                images, input, kernel, stride, padding: [0, 1].map(|a| padding[a].min(kernel[a] / 2)), seed,
            })
            .prop_filter("windows fit", |c| (0..2).all(|a| c.kernel[a] <= c.input[a] + 2 * c.padding[a]))
    ) {
        max_pool_property::<f32>(&case)?;
        max_pool_property::<f64>(&case)?;
    }
}
