//! Moving elements by index against plain loops.

use kernels::layout::*;
use proptest::prelude::*;

use crate::common::*;

/// An index of shape `index_dims` into axis `axis` of the shape `dims`.
#[derive(Clone, Debug)]
struct Gather {
    dims: Vec<usize>,
    axis: usize,
    index_dims: Vec<usize>,
    seed: u64,
}

fn gathers() -> impl Strategy<Value = Gather> {
    let axis = (1..6usize, 0..6usize);
    (prop::collection::vec(axis, 1..5), 0..4usize, 0..1000u64).prop_map(|(axes, axis, seed)| {
        let axis = axis % axes.len();
        let (dims, mut index_dims): (Vec<usize>, Vec<usize>) = axes.into_iter().unzip();
        (0..dims.len()).filter(|&a| a != axis).for_each(|a| index_dims[a] = index_dims[a].min(dims[a]));
        Gather { dims, axis, index_dims, seed }
    })
}

/// `count` slabs of axis `axis` of the shape `dims`.
#[derive(Clone, Debug)]
struct Select {
    dims: Vec<usize>,
    axis: usize,
    count: usize,
    seed: u64,
}

fn selects() -> impl Strategy<Value = Select> {
    let length = prop_oneof![6 => 1..6usize, 1 => 1..400usize];
    (prop::collection::vec(length, 1..4), 0..4usize, 0..8usize, 0..1000u64)
        .prop_map(|(dims, axis, count, seed)| Select { axis: axis % dims.len(), dims, count, seed })
        .prop_filter("small", |c| c.dims.iter().product::<usize>() < 20_000)
}

/// Copies from and adds to the places that `sources` names, in order.
fn by_places(x: &[f64], g: &[f64], sources: &[usize]) -> (Vec<f64>, Vec<f64>) {
    let mut back = vec![0.0; x.len()];
    sources.iter().zip(g).for_each(|(&i, g)| back[i] += g);
    (sources.iter().map(|&i| x[i]).collect(), back)
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn gather_reads_and_scatter_adds_by_index(Gather { dims, axis, index_dims, seed } in gathers()) {
        let (len, size) = (dims.iter().product(), index_dims.iter().product());
        let index = indices(size, seed, dims[axis]);
        let source = |i: usize| {
            let mut place = unravel(i, &index_dims);
            place[axis] = index[i] as usize;
            ravel(&place, &dims)
        };
        let (x, g): (Vec<f64>, Vec<f64>) = (noise(len, seed + 1, 1.0), noise(size, seed + 2, 1.0));
        let (want, back) = by_places(&x, &g, &(0..size).map(source).collect::<Vec<_>>());
        let (mut out, mut dx) = (vec![f64::NAN; size], vec![f64::NAN; len]);
        gather(&x, &dims, axis, &index, &index_dims, &mut out);
        check_exact("gather", &out, &want)?;
        scatter_add(&g, &index_dims, axis, &index, &dims, &mut dx);
        check_exact("scatter_add", &dx, &back)?;
    }

    #[test]
    fn index_select_copies_slabs(Select { dims, axis, count, seed } in selects()) {
        let index = indices(count, seed, dims[axis]);
        let mut out_dims = dims.clone();
        out_dims[axis] = count;
        let (len, size) = (dims.iter().product(), out_dims.iter().product());
        let source = |i: usize| {
            let mut place = unravel(i, &out_dims);
            place[axis] = index[place[axis]] as usize;
            ravel(&place, &dims)
        };
        let (x, g): (Vec<f64>, Vec<f64>) = (noise(len, seed + 1, 1.0), noise(size, seed + 2, 1.0));
        let (want, back) = by_places(&x, &g, &(0..size).map(source).collect::<Vec<_>>());
        let (mut out, mut dx) = (vec![f64::NAN; size], vec![f64::NAN; len]);
        index_select(&x, &dims, axis, &index, &mut out);
        check_exact("index_select", &out, &want)?;
        index_add(&g, axis, &index, &dims, &mut dx);
        check_exact("index_add", &dx, &back)?;
    }

    #[test]
    fn take_and_put_add_are_flat(len in 1..40usize, count in 0..60usize, seed in 0..1000u64) {
        let index = indices(count, seed, len);
        let (x, g): (Vec<f64>, Vec<f64>) = (noise(len, seed + 1, 1.0), noise(count, seed + 2, 1.0));
        let (want, back) = by_places(&x, &g, &index.iter().map(|&i| i as usize).collect::<Vec<_>>());
        let (mut out, mut dx) = (vec![f64::NAN; count], vec![f64::NAN; len]);
        take(&x, &index, &mut out);
        check_exact("take", &out, &want)?;
        put_add(&g, &index, &mut dx);
        check_exact("put_add", &dx, &back)?;
    }

    #[test]
    fn one_hot_has_a_1_in_each_row(rows in 0..20usize, classes in 1..20usize, seed in 0..1000u64) {
        let index = indices(rows, seed, classes);
        let want = (0..rows * classes).map(|i| f64::from(index[i / classes] as usize == i % classes));
        let mut out = vec![f64::NAN; rows * classes];
        one_hot(&index, classes, &mut out);
        check_exact("one_hot", &out, &want.collect::<Vec<_>>())?;
        // The first index that is too large is named.
        let bound = classes / 2;
        let wrong = index.iter().position(|&i| i as usize >= bound).map(|at| (at, index[at]));
        prop_assert_eq!(check_indices(&index, bound).err(), wrong);
    }
}
