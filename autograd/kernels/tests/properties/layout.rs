//! Moving elements by position against plain indexing, and adjoints by the identity of inner products.

use kernels::layout::*;
use proptest::prelude::*;

use crate::common::*;

/// Distinct numbers, so that every element shows where it is from.
fn numbered(len: usize) -> Vec<f64> {
    (0..len).map(|i| i as f64 + 1.0).collect()
}

fn size(dims: &[usize]) -> usize {
    dims.iter().product()
}

/// The shape `dims` with its axes in the order `axes`.
#[derive(Clone, Debug)]
struct Permute {
    dims: Vec<usize>,
    axes: Vec<usize>,
}

fn permutes() -> impl Strategy<Value = Permute> {
    let length = || prop_oneof![6 => 0..6usize, 1 => 0..40usize];
    prop::collection::vec(length(), 0..7).prop_filter("small", |dims| size(dims) < 20_000).prop_flat_map(
        |dims| {
            let axes = Just((0..dims.len()).collect::<Vec<_>>()).prop_shuffle();
            (Just(dims), axes).prop_map(|(dims, axes)| Permute { dims, axes })
        },
    )
}

/// Element i along axis a of the part is element starts\[a\] + i steps\[a\] of the shape `dims`.
#[derive(Clone, Debug)]
struct Slice {
    dims: Vec<usize>,
    starts: Vec<usize>,
    steps: Vec<isize>,
    out_dims: Vec<usize>,
}

fn slices() -> impl Strategy<Value = Slice> {
    let axis = (1..9usize, 0..8usize, -3..4isize, 0..9usize);
    prop::collection::vec(axis, 0..5).prop_map(|axes| {
        let mut slice = Slice { dims: vec![], starts: vec![], steps: vec![], out_dims: vec![] };
        for (n, start, step, count) in axes {
            let start = start.min(n - 1);
            // A step of 0 would write one place twice.
            let step = if step == 0 { 1 } else { step };
            let most =
                if step > 0 { (n - 1 - start) / step as usize } else { start / step.unsigned_abs() } + 1;
            slice.dims.push(n);
            slice.starts.push(start);
            slice.steps.push(step);
            slice.out_dims.push(count.min(most));
        }
        slice
    })
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Constant,
    Reflect,
    Replicate,
}

#[derive(Clone, Debug)]
struct Pad {
    dims: Vec<usize>,
    before: Vec<usize>,
    after: Vec<usize>,
    mode: Mode,
    seed: u64,
}

fn pads() -> impl Strategy<Value = Pad> {
    let mode = prop::sample::select(vec![Mode::Constant, Mode::Reflect, Mode::Replicate]);
    let axis = (0..7usize, 0..5usize, 0..5usize);
    (prop::collection::vec(axis, 0..5), mode, 0..1000u64).prop_map(|(axes, mode, seed)| {
        let mut pad = Pad { dims: vec![], before: vec![], after: vec![], mode, seed };
        for (n, before, after) in axes {
            let most = match mode {
                Mode::Constant => usize::MAX,
                Mode::Reflect => n.saturating_sub(1),
                Mode::Replicate => {
                    if n == 0 {
                        0
                    } else {
                        usize::MAX
                    }
                }
            };
            pad.dims.push(n);
            pad.before.push(before.min(most));
            pad.after.push(after.min(most));
        }
        pad
    })
}

/// One block of `length` along an axis, from `offset` on.
#[derive(Clone, Debug)]
struct Block {
    dims: Vec<usize>,
    axis: usize,
    offset: usize,
    length: usize,
}

fn blocks() -> impl Strategy<Value = Block> {
    (prop::collection::vec(0..6usize, 1..5), 0..4usize, 0..6usize, 0..6usize).prop_map(
        |(dims, axis, offset, length)| {
            let axis = axis % dims.len();
            let offset = offset.min(dims[axis]);
            Block { length: length.min(dims[axis] - offset), dims, axis, offset }
        },
    )
}

/// Broadcasts the last axes of `out_dims`; those marked have length 1 before.
#[derive(Clone, Debug)]
struct Broadcast {
    dims: Vec<usize>,
    out_dims: Vec<usize>,
}

fn broadcasts() -> impl Strategy<Value = Broadcast> {
    (prop::collection::vec((0..6usize, any::<bool>()), 0..6), 0..3usize).prop_map(|(axes, missing)| {
        let out_dims: Vec<usize> = axes.iter().map(|(n, _)| *n).collect();
        let dims = axes.iter().skip(missing).map(|&(n, repeated)| if repeated { 1 } else { n }).collect();
        Broadcast { dims, out_dims }
    })
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn permute_moves_every_axis(Permute { dims, axes } in permutes()) {
        let x = numbered(size(&dims));
        let out_dims: Vec<usize> = axes.iter().map(|&a| dims[a]).collect();
        let mut want = vec![0.0; x.len()];
        for (i, &v) in x.iter().enumerate() {
            let place = unravel(i, &dims);
            let place: Vec<usize> = axes.iter().map(|&a| place[a]).collect();
            want[ravel(&place, &out_dims)] = v;
        }
        let mut out = vec![f64::NAN; x.len()];
        permute(&x, &dims, &axes, &mut out);
        check_exact("permute", &out, &want)?;
        let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<_>>();
        let mut out = vec![f32::NAN; x.len()];
        permute(&narrow(&x), &dims, &axes, &mut out);
        check_exact("permute", &out, &narrow(&want))?;
    }

    #[test]
    fn broadcast_repeats_axes(Broadcast { dims, out_dims } in broadcasts()) {
        let x = numbered(size(&dims));
        let new = out_dims.len() - dims.len();
        let source = |i: usize| {
            let place = unravel(i, &out_dims);
            let at = |(&n, &i): (&usize, &usize)| if n == 1 { 0 } else { i };
            x[ravel(&dims.iter().zip(&place[new..]).map(at).collect::<Vec<_>>(), &dims)]
        };
        let want: Vec<f64> = (0..size(&out_dims)).map(source).collect();
        let mut out = vec![f64::NAN; want.len()];
        broadcast_to(&x, &dims, &out_dims, &mut out);
        check_exact("broadcast_to", &out, &want)?;
    }

    #[test]
    fn slices_are_strided(Slice { dims, starts, steps, out_dims } in slices()) {
        let x = numbered(size(&dims));
        let source = |i: usize| {
            let place = unravel(i, &out_dims);
            let at = |a: usize| (starts[a] as isize + place[a] as isize * steps[a]) as usize;
            ravel(&(0..dims.len()).map(at).collect::<Vec<_>>(), &dims)
        };
        let sources: Vec<usize> = (0..size(&out_dims)).map(source).collect();
        let want: Vec<f64> = sources.iter().map(|&i| x[i]).collect();
        let mut out = vec![f64::NAN; want.len()];
        strided_slice(&x, &dims, &starts, &steps, &out_dims, &mut out);
        check_exact("strided_slice", &out, &want)?;
        let (g, mut want, mut back) = (numbered(out.len()), vec![0.0; x.len()], vec![f64::NAN; x.len()]);
        sources.iter().zip(&g).for_each(|(&i, &g)| want[i] = g);
        slice_scatter(&g, &out_dims, &starts, &steps, &dims, &mut back);
        check_exact("slice_scatter", &back, &want)?;
    }

    #[test]
    fn blocks_are_copied_in_and_out(Block { dims, axis, offset, length } in blocks()) {
        let mut part = dims.clone();
        part[axis] = length;
        let whole = numbered(size(&dims));
        let at = |i: usize| {
            let mut place = unravel(i, &part);
            place[axis] += offset;
            ravel(&place, &dims)
        };
        let mut out = vec![f64::NAN; size(&part)];
        let want: Vec<f64> = (0..out.len()).map(|i| whole[at(i)]).collect();
        copy_from(&whole, &dims, axis, offset, &mut out, &part);
        check_exact("copy_from", &out, &want)?;
        let (x, mut into, mut want) = (noise::<f64>(out.len(), 1, 1.0), whole.clone(), whole.clone());
        x.iter().enumerate().for_each(|(i, &v)| want[at(i)] = v);
        copy_into(&mut into, &dims, axis, offset, &x, &part);
        check_exact("copy_into", &into, &want)?;
    }

    #[test]
    fn pads_are_filled_by_their_mode(case in pads()) {
        let Pad { dims, before, after, mode, seed } = &case;
        let x = numbered(size(dims));
        let out_dims: Vec<usize> = (0..dims.len()).map(|a| before[a] + dims[a] + after[a]).collect();
        let fill = match mode {
            Mode::Constant => Fill::Constant(-7.0),
            Mode::Reflect => Fill::Reflect,
            Mode::Replicate => Fill::Replicate,
        };
        let source = |i: usize| -> Option<usize> {
            let place = unravel(i, &out_dims);
            let at = |a: usize| {
                let (i, n) = (place[a] as isize - before[a] as isize, dims[a] as isize);
                let i = match mode {
                    Mode::Constant => i,
                    Mode::Reflect => (n - 1) - ((n - 1) - i.abs()).abs(),
                    Mode::Replicate => i.clamp(0, n - 1),
                };
                (0..n).contains(&i).then_some(i as usize)
            };
            let place: Option<Vec<usize>> = (0..dims.len()).map(at).collect();
            place.map(|place| ravel(&place, dims))
        };
        let sources: Vec<Option<usize>> = (0..size(&out_dims)).map(source).collect();
        let want: Vec<f64> = sources.iter().map(|s| s.map_or(-7.0, |i| x[i])).collect();
        let mut out = vec![f64::NAN; want.len()];
        pad(&x, dims, before, after, fill, &mut out);
        check_exact("pad", &out, &want)?;
        // Integers, so that the sums are exact.
        let g: Vec<f64> = ties(out.len(), *seed, false);
        let (mut want, mut back) = (vec![0.0; x.len()], vec![f64::NAN; x.len()]);
        sources.iter().zip(&g).for_each(|(source, g)| if let Some(i) = source { want[*i] += g });
        pad_adjoint(&g, dims, before, after, fill, &mut back);
        check_exact("pad_adjoint", &back, &want)?;
    }

    #[test]
    fn triangles_and_diagonals_depend_on_column_minus_row(
        matrices in 0..4usize, k in -10..11isize, rows in 1..9usize, cols in 1..9usize,
    ) {
        let x = numbered(matrices * rows * cols);
        let offset = |i: usize| (i % cols) as isize - (i / cols % rows) as isize;
        let keep = |kept: &dyn Fn(isize) -> bool| -> Vec<f64> {
            x.iter().enumerate().map(|(i, &v)| if kept(offset(i)) { v } else { 0.0 }).collect()
        };
        let mut out = vec![f64::NAN; x.len()];
        tril(&x, rows, cols, k, &mut out);
        check_exact("tril", &out, &keep(&|o| o <= k))?;
        triu(&x, rows, cols, k, &mut out);
        check_exact("triu", &out, &keep(&|o| o >= k))?;
        let want: Vec<f64> = keep(&|o| o == k).into_iter().filter(|v| *v != 0.0).collect();
        prop_assert_eq!(matrices * diagonal_len(rows, cols, k), want.len());
        let mut on = vec![f64::NAN; want.len()];
        diagonal(&x, rows, cols, k, &mut on);
        check_exact("diagonal", &on, &want)?;
        diagonal_embed(&want, rows, cols, k, &mut out);
        check_exact("diagonal_embed", &out, &keep(&|o| o == k))?;
    }
}
