//! Operations that move, repeat or add elements: each a linear map, given by its rows.

use autograd::{DType, Index, Padding, Scalar, Tensor};
use proptest::prelude::*;

use crate::common::*;
use crate::{Rows, check_linear};

#[derive(Clone, Debug)]
enum Op {
    Permute(Vec<usize>),
    Transpose(isize, isize),
    SliceStep { axis: isize, start: usize, end: usize, step: usize },
    Select { axis: isize, index: isize },
    Flip(Vec<isize>),
    Roll { axis: isize, shift: isize },
    Pad { widths: Vec<(usize, usize)>, padding: Padding },
    BroadcastTo(Vec<usize>),
    Cumsum(isize),
    Gather { axis: isize, index_dims: Vec<usize> },
    IndexSelect { axis: isize, count: usize },
    Take { count: usize },
    Tril(isize),
    Triu(isize),
    Diagonal(isize),
    AvgPool { kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], count_include_pad: bool },
    AdaptiveAvgPool([usize; 2]),
}

/// The operation on a tensor of shape `dims`.
#[derive(Clone, Debug)]
struct Case {
    dims: Vec<usize>,
    op: Op,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let numbers = [0..8usize, 0..8, 0..8, 0..8, 0..8, 0..8, 0..8, 0..8];
    (prop::collection::vec(1..6usize, 2..5), 0..17usize, numbers, any::<bool>(), 0..1000u64)
        .prop_flat_map(|(dims, which, numbers, flag, seed)| {
            let axes = Just((0..dims.len()).collect::<Vec<_>>()).prop_shuffle();
            (Just((dims, which, numbers, flag, seed)), axes)
        })
        .prop_map(|((dims, which, numbers, flag, seed), axes)| {
            let op = op(&dims, which, numbers, flag, axes);
            Case { dims, op, seed }
        })
}

/// An operation that fits the shape, made of any numbers.
fn op(dims: &[usize], which: usize, numbers: [usize; 8], flag: bool, axes: Vec<usize>) -> Op {
    let rank = dims.len();
    let signed = |a: usize| if flag { (a % rank) as isize - rank as isize } else { (a % rank) as isize };
    let [a, b, c, d, ..] = numbers;
    let (axis, n) = (signed(a), dims[a % rank]);
    let window = |a: usize| {
        let kernel = 1 + numbers[a] % dims[rank - 2 + a];
        (kernel, 1 + numbers[2 + a] % 3, numbers[4 + a] % (kernel / 2 + 1))
    };
    let (down, right) = (window(0), window(1));
    match which {
        0 => Op::Permute(axes),
        1 => Op::Transpose(axis, signed(b)),
        2 => Op::SliceStep { axis, start: b.min(c).min(n), end: b.max(c).min(n), step: 1 + d },
        3 => Op::Select { axis, index: if flag { (b % n) as isize - n as isize } else { (b % n) as isize } },
        4 => Op::Flip(axes[..b % (rank + 1)].iter().map(|&a| signed(a)).collect()),
        5 => Op::Roll { axis, shift: b as isize - 4 },
        6 => {
            let padding = [Padding::Constant(0.0), Padding::Reflect, Padding::Replicate][a % 3];
            let most = |n: usize| if padding == Padding::Reflect { n - 1 } else { 3 };
            let width = |i: usize| (numbers[i].min(most(dims[i])), numbers[4 + i].min(most(dims[i])));
            Op::Pad { widths: (0..rank).map(width).collect(), padding }
        }
        7 => {
            let repeated = |(&n, &times): (&usize, &usize)| if n == 1 { times } else { n };
            let lead = (rank < 4 && flag).then_some(b);
            Op::BroadcastTo(lead.into_iter().chain(dims.iter().zip(&numbers).map(repeated)).collect())
        }
        8 => Op::Cumsum(axis),
        9 => {
            let longest = |i: usize| if i == a % rank { numbers[i] } else { numbers[i].min(dims[i]) };
            Op::Gather { axis, index_dims: (0..rank).map(longest).collect() }
        }
        10 => Op::IndexSelect { axis, count: b },
        11 => Op::Take { count: b * 3 },
        12 => Op::Tril(b as isize - 4),
        13 => Op::Triu(b as isize - 4),
        14 => Op::Diagonal(b as isize - 4),
        15 => Op::AvgPool {
            kernel: [down.0, right.0],
            stride: [down.1, right.1],
            padding: [down.2, right.2],
            count_include_pad: flag,
        },
        _ => Op::AdaptiveAvgPool([b, c]),
    }
}

impl Case {
    fn axis(&self, axis: isize) -> usize {
        if axis < 0 { (axis + self.dims.len() as isize) as usize } else { axis as usize }
    }

    /// The index of a gather, index_select or take.
    fn index(&self) -> Index {
        let (shape, bound) = match &self.op {
            Op::Gather { axis, index_dims } => (index_dims.clone(), self.dims[self.axis(*axis)]),
            Op::IndexSelect { axis, count } => (vec![*count], self.dims[self.axis(*axis)]),
            Op::Take { count } => (vec![*count], self.dims.iter().product()),
            _ => (vec![], 1),
        };
        Index::new(&indices(shape.iter().product(), self.seed, bound), &shape[..])
    }

    fn apply(&self, x: &Tensor) -> Tensor {
        match &self.op {
            Op::Permute(axes) => x.permute(axes),
            Op::Transpose(a, b) => x.transpose(*a, *b),
            &Op::SliceStep { axis, start, end, step } => x.slice_step(axis, start..end, step),
            &Op::Select { axis, index } => x.select(axis, index),
            Op::Flip(axes) => x.flip(&axes[..]),
            &Op::Roll { axis, shift } => x.roll(axis, shift),
            Op::Pad { widths, padding } => x.pad(widths, *padding),
            Op::BroadcastTo(dims) => x.broadcast_to(&dims[..]),
            Op::Cumsum(axis) => x.cumsum(*axis),
            Op::Gather { axis, .. } => x.gather(*axis, &self.index()),
            Op::IndexSelect { axis, .. } => x.index_select(*axis, &self.index()),
            Op::Take { .. } => x.take(&self.index()),
            Op::Tril(k) => x.tril(*k),
            Op::Triu(k) => x.triu(*k),
            Op::Diagonal(k) => x.diagonal(*k),
            &Op::AvgPool { kernel, stride, padding, count_include_pad } => {
                x.avg_pool2d(kernel, stride, padding, count_include_pad)
            }
            Op::AdaptiveAvgPool(output) => x.adaptive_avg_pool2d(*output),
        }
    }

    /// The shape of the result.
    fn output(&self) -> Vec<usize> {
        let dims = &self.dims;
        let with = |axis: isize, n: usize| {
            let mut out = dims.clone();
            out[self.axis(axis)] = n;
            out
        };
        let images = |size: [usize; 2]| [&dims[..dims.len() - 2], &size].concat();
        match &self.op {
            Op::Permute(axes) => axes.iter().map(|&a| dims[a]).collect(),
            Op::Transpose(a, b) => {
                let mut out = dims.clone();
                out.swap(self.axis(*a), self.axis(*b));
                out
            }
            &Op::SliceStep { axis, start, end, step } => with(axis, (end - start).div_ceil(step)),
            Op::Select { axis, .. } => {
                let mut out = dims.clone();
                out.remove(self.axis(*axis));
                out
            }
            Op::Pad { widths, .. } => dims.iter().zip(widths).map(|(n, (b, a))| n + b + a).collect(),
            Op::BroadcastTo(dims) => dims.clone(),
            Op::Gather { index_dims, .. } => index_dims.clone(),
            Op::IndexSelect { axis, count } => with(*axis, *count),
            Op::Take { count } => vec![*count],
            Op::Diagonal(k) => {
                let [rows, cols] = [dims[dims.len() - 2] as isize, dims[dims.len() - 1] as isize];
                let len = (0..rows).filter(|i| (0..cols).contains(&(i + k))).count();
                [&dims[..dims.len() - 2], &[len]].concat()
            }
            Op::AvgPool { kernel, stride, padding, .. } => images(std::array::from_fn(|a| {
                (dims[dims.len() - 2 + a] + 2 * padding[a] - kernel[a]) / stride[a] + 1
            })),
            Op::AdaptiveAvgPool(output) => images(*output),
            Op::Flip(_) | Op::Roll { .. } | Op::Cumsum(_) | Op::Tril(_) | Op::Triu(_) => dims.clone(),
        }
    }

    /// What the element at `place` of the result is made of: places of the input, and a factor for all of them.
    fn sources(&self, place: &[usize], at: usize) -> (Vec<Vec<usize>>, f64) {
        let (dims, rank) = (&self.dims, self.dims.len());
        let moved = |axis: isize, to: usize| {
            let mut place = place.to_vec();
            place[self.axis(axis)] = to;
            (vec![place], 1.0)
        };
        let kept = |kept: bool| (if kept { vec![place.to_vec()] } else { vec![] }, 1.0);
        let windows = |rows: Vec<usize>, cols: Vec<usize>, count: usize| {
            let lead = &place[..place.len() - 2];
            let places = rows.iter().flat_map(|&r| cols.iter().map(move |&c| [lead, &[r, c]].concat()));
            (places.collect(), 1.0 / count as f64)
        };
        match &self.op {
            Op::Permute(axes) => {
                let mut from = vec![0; rank];
                axes.iter().zip(place).for_each(|(&a, &i)| from[a] = i);
                (vec![from], 1.0)
            }
            Op::Transpose(a, b) => {
                let mut from = place.to_vec();
                from.swap(self.axis(*a), self.axis(*b));
                (vec![from], 1.0)
            }
            &Op::SliceStep { axis, start, step, .. } => moved(axis, start + place[self.axis(axis)] * step),
            &Op::Select { axis, index } => {
                let mut from = place.to_vec();
                let a = self.axis(axis);
                from.insert(a, index.rem_euclid(dims[a] as isize) as usize);
                (vec![from], 1.0)
            }
            Op::Flip(axes) => {
                let mut from = place.to_vec();
                axes.iter().map(|&a| self.axis(a)).for_each(|a| from[a] = dims[a] - 1 - from[a]);
                (vec![from], 1.0)
            }
            &Op::Roll { axis, shift } => {
                let a = self.axis(axis);
                moved(axis, (place[a] as isize - shift).rem_euclid(dims[a] as isize) as usize)
            }
            Op::Pad { widths, padding } => {
                let source = |a: usize| {
                    let (i, n) = (place[a] as isize - widths[a].0 as isize, dims[a] as isize);
                    let i = match padding {
                        Padding::Constant(_) => i,
                        Padding::Reflect => (n - 1) - ((n - 1) - i.abs()).abs(),
                        Padding::Replicate => i.clamp(0, n - 1),
                    };
                    (0..n).contains(&i).then_some(i as usize)
                };
                ((0..rank).map(source).collect::<Option<_>>().into_iter().collect(), 1.0)
            }
            Op::BroadcastTo(_) => {
                let last = &place[place.len() - rank..];
                (vec![dims.iter().zip(last).map(|(&n, &i)| if n == 1 { 0 } else { i }).collect()], 1.0)
            }
            Op::Cumsum(axis) => {
                let a = self.axis(*axis);
                ((0..place[a] + 1).map(|i| moved(*axis, i).0.remove(0)).collect(), 1.0)
            }
            Op::Gather { axis, .. } => moved(*axis, self.index().to_vec()[at]),
            Op::IndexSelect { axis, .. } => moved(*axis, self.index().to_vec()[place[self.axis(*axis)]]),
            Op::Take { .. } => (vec![unravel(self.index().to_vec()[at], dims)], 1.0),
            Op::Tril(k) => kept(place[rank - 1] as isize - place[rank - 2] as isize <= *k),
            Op::Triu(k) => kept(place[rank - 1] as isize - place[rank - 2] as isize >= *k),
            Op::Diagonal(k) => {
                let i = place[rank - 2] + (-k).max(0) as usize;
                (vec![[&place[..rank - 2], &[i, (i as isize + k) as usize]].concat()], 1.0)
            }
            Op::AvgPool { kernel, stride, padding, count_include_pad } => {
                let covered = |a: usize| -> Vec<usize> {
                    let start = place[rank - 2 + a] * stride[a];
                    (start..start + kernel[a])
                        .filter_map(|i| i.checked_sub(padding[a]))
                        .filter(|&i| i < dims[rank - 2 + a])
                        .collect()
                };
                let (rows, cols) = (covered(0), covered(1));
                let count = if *count_include_pad { kernel[0] * kernel[1] } else { rows.len() * cols.len() };
                windows(rows, cols, count)
            }
            Op::AdaptiveAvgPool(output) => {
                let covered = |a: usize| -> Vec<usize> {
                    let (o, n, count) = (place[rank - 2 + a], dims[rank - 2 + a], output[a]);
                    (o * n / count..((o + 1) * n).div_ceil(count)).collect()
                };
                let (rows, cols) = (covered(0), covered(1));
                let count = rows.len() * cols.len();
                windows(rows, cols, count)
            }
        }
    }

    fn check<T: Scalar>(&self) -> TestResult {
        let x = Tensor::new(&noise::<T>(self.dims.iter().product(), self.seed, 1.0), &self.dims[..]);
        let output = self.output();
        let y = self.apply(&x);
        prop_assert_eq!(&y.shape()[..], &output[..], "shape of the result");
        let row = |at: usize| {
            let (places, factor) = self.sources(&unravel(at, &output), at);
            places.iter().map(|place| (ravel(place, &self.dims), factor)).collect()
        };
        let rows: Rows = (0..output.iter().product()).map(row).collect();
        let g = noise::<T>(rows.len(), self.seed + 1, 1.0);
        // A mean is a division, or a product with a rounded reciprocal.
        check_linear::<T>(&format!("{:?}", self.op), |x| self.apply(x), &x, &g, &rows, 2)
    }
}

/// Tensors that differ in length along `axis`.
#[derive(Clone, Debug)]
struct Join {
    dims: Vec<usize>,
    axis: usize,
    lengths: Vec<usize>,
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn linear_operations_and_their_adjoints(case in cases()) {
        case.check::<f32>()?;
        case.check::<f64>()?;
    }

    #[test]
    fn split_undoes_concat(
        case in (prop::collection::vec(1..5usize, 1..4), 0..3usize, prop::collection::vec(0..4usize, 1..4))
            .prop_map(|(dims, axis, lengths)| Join { axis: axis % dims.len(), dims, lengths })
    ) {
        let Join { dims, axis, lengths } = case;
        let part = |i: usize| {
            let mut shape = dims.clone();
            shape[axis] = lengths[i];
            let data: Vec<f64> = noise(shape.iter().product(), i as u64, 1.0);
            Tensor::new(&data, &shape[..]).requires_grad()
        };
        let parts: Vec<Tensor> = (0..lengths.len()).map(part).collect();
        let inputs: Vec<&Tensor> = parts.iter().collect();
        let whole = Tensor::concat(&inputs, axis as isize);
        let starts: Vec<usize> = (0..lengths.len()).map(|i| lengths[..i].iter().sum()).collect();
        for (at, &v) in whole.data::<f64>().iter().enumerate() {
            let mut place = unravel(at, whole.shape());
            let of = (0..lengths.len()).rfind(|&i| starts[i] <= place[axis] && lengths[i] > 0).unwrap();
            place[axis] -= starts[of];
            prop_assert_eq!(v, parts[of].at(&place), "element {} of concat", at);
        }
        for (i, again) in whole.split(axis as isize, &lengths).iter().enumerate() {
            check_exact(&format!("part {i}"), again.data::<f64>(), parts[i].data::<f64>())?;
        }
        // The gradients of concat are the parts of the cotangent.
        let g = Tensor::new(&noise::<f64>(whole.numel(), 77, 1.0), *whole.shape());
        let cut = g.split(axis as isize, &lengths);
        for (found, expected) in whole.vjp(&g, &inputs).iter().zip(&cut) {
            prop_assert_eq!(found.dtype(), DType::F64);
            check_exact("concat vjp", found.data::<f64>(), expected.data::<f64>())?;
        }
    }
}
