//! Every kernel of this folder against its definition by multi-indices, and every adjoint by <Ax, y> = <x, A'y>.

use super::*;
use crate::random::Key;

/// All indices of a shape in row-major order.
fn indices(dims: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &n in dims {
        all = all.iter().flat_map(|i| (0..n).map(move |k| [&i[..], &[k]].concat())).collect();
    }
    all
}

fn flat(dims: &[usize], index: &[usize]) -> usize {
    dims.iter().zip(index).fold(0, |at, (n, i)| at * n + i)
}

fn size(dims: &[usize]) -> usize {
    dims.iter().product()
}

fn count(dims: &[usize]) -> Vec<u32> {
    (0..size(dims) as u32).collect()
}

fn random(len: usize, seed: u64) -> Vec<f64> {
    let mut x = vec![0.0; len];
    Key::new(seed).fill_normal(&mut x);
    x
}

fn random_indices(len: usize, bound: usize, seed: u64) -> Vec<u32> {
    random(len, seed).iter().map(|v| (v.abs() * 1e6) as u32 % bound as u32).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// <Ax, y> = <x, A'y> for random x and y; outputs start as NaN, so an element left unwritten fails.
fn assert_adjoint(
    name: &str,
    from: usize,
    to: usize,
    forward: impl Fn(&[f64], &mut [f64]),
    adjoint: impl Fn(&[f64], &mut [f64]),
) {
    let (x, y) = (random(from, 1), random(to, 2));
    let (mut ax, mut ay) = (vec![f64::NAN; to], vec![f64::NAN; from]);
    forward(&x, &mut ax);
    adjoint(&y, &mut ay);
    let (left, right) = (dot(&ax, &y), dot(&x, &ay));
    assert!((left - right).abs() <= 1e-12 * (to as f64 + 1.0), "{name}: {left} and {right}");
}

#[test]
fn permute_follows_its_definition() {
    let shapes: [(&[usize], &[usize]); 14] = [
        (&[], &[]),
        (&[5], &[0]),
        (&[0, 3], &[1, 0]),
        (&[1, 7], &[1, 0]),
        (&[33, 50], &[1, 0]),
        (&[128, 64], &[1, 0]),
        (&[300, 257], &[1, 0]),
        (&[2, 19, 3, 21], &[0, 2, 3, 1]),
        (&[2, 19, 3, 21], &[3, 1, 0, 2]),
        (&[2, 19, 8, 21], &[2, 3, 1, 0]),
        (&[4, 3, 40], &[0, 2, 1]),
        (&[4, 40, 3], &[0, 2, 1]),
        (&[2, 3, 2, 5, 2, 4], &[5, 3, 1, 0, 2, 4]),
        (&[9, 9, 2, 9, 1, 9], &[3, 5, 0, 4, 1, 2]),
    ];
    for (dims, axes) in shapes {
        let x = count(dims);
        let out_dims: Vec<usize> = axes.iter().map(|&a| dims[a]).collect();
        let mut out = vec![u32::MAX; x.len()];
        permute(&x, dims, axes, &mut out);
        for i in indices(dims) {
            let j: Vec<usize> = axes.iter().map(|&a| i[a]).collect();
            assert_eq!(out[flat(&out_dims, &j)], x[flat(dims, &i)], "{dims:?} by {axes:?}");
        }
        let wide: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        let mut wide_out = vec![f64::NAN; x.len()];
        permute(&wide, dims, axes, &mut wide_out);
        assert!(wide_out.iter().zip(&out).all(|(a, &b)| *a == f64::from(b)));
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let _turn = crate::simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let (rows, cols) = (517, 301);
    let x = random(rows * cols, 3);
    let index = random_indices(rows, 7, 4);
    let run = |threads| {
        crate::par::set_threads(threads);
        let mut transposed = vec![0.0; x.len()];
        permute(&x, &[rows, cols], &[1, 0], &mut transposed);
        let mut added = vec![0.0; 7 * cols];
        index_add(&x, 0, &index, &[7, cols], &mut added);
        let mut padded = vec![0.0; (rows + 4) * cols];
        pad(&x, &[rows, cols], &[2, 0], &[2, 0], Fill::Reflect, &mut padded);
        (transposed, added, padded)
    };
    let one = run(1);
    assert!(one == run(2) && one == run(7));
}

#[test]
fn broadcast_to_repeats() {
    for (dims, out_dims) in
        [(&[3, 1, 4][..], &[2, 3, 5, 4][..]), (&[1], &[0]), (&[], &[2, 2]), (&[6, 1], &[6, 70]), (&[2], &[2])]
    {
        let x = count(dims);
        let mut out = vec![u32::MAX; size(out_dims)];
        broadcast_to(&x, dims, out_dims, &mut out);
        for i in indices(out_dims) {
            let own = &i[out_dims.len() - dims.len()..];
            let j: Vec<usize> = own.iter().zip(dims).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect();
            assert_eq!(out[flat(out_dims, &i)], x[flat(dims, &j)]);
        }
    }
}

#[test]
fn slices_and_their_adjoint() {
    let cases = [
        (&[10][..], &[9][..], &[-1][..], &[10][..]),
        (&[5, 7, 6], &[1, 6, 0], &[2, -3, 1], &[2, 3, 6]),
        (&[5, 7], &[4, 2], &[-2, 1], &[3, 5]),
        (&[5, 40], &[0, 0], &[1, 1], &[5, 40]),
        (&[5, 4], &[5, 0], &[1, 1], &[0, 4]),
        (&[3, 4], &[2, 3], &[0, 5], &[1, 1]),
    ];
    for (dims, starts, steps, out_dims) in cases {
        let x = random(size(dims), 5);
        let mut out = vec![f64::NAN; size(out_dims)];
        strided_slice(&x, dims, starts, steps, out_dims, &mut out);
        for i in indices(out_dims) {
            let j: Vec<usize> =
                (0..dims.len()).map(|a| (starts[a] as isize + i[a] as isize * steps[a]) as usize).collect();
            assert_eq!(out[flat(out_dims, &i)], x[flat(dims, &j)]);
        }
        assert_adjoint(
            "slice",
            x.len(),
            out.len(),
            |x, out| strided_slice(x, dims, starts, steps, out_dims, out),
            |g, out| slice_scatter(g, out_dims, starts, steps, dims, out),
        );
    }
}

#[test]
#[should_panic(expected = "leave axis 1 of length 7")]
fn a_slice_stays_inside() {
    strided_slice(&[0.0; 35], &[5, 7], &[0, 5], &[1, 2], &[5, 2], &mut [0.0; 10]);
}

#[test]
fn joining_and_splitting_are_inverse() {
    for axis in 0..3 {
        let part = |n: usize| {
            let mut dims = [3, 4, 5];
            dims[axis] = n;
            dims
        };
        let (a_dims, b_dims, dims) = (part(2), part(6), part(8));
        let (a, b) = (random(size(&a_dims), 6), random(size(&b_dims), 7));
        let mut out = vec![f64::NAN; size(&dims)];
        copy_into(&mut out, &dims, axis, 0, &a, &a_dims);
        copy_into(&mut out, &dims, axis, 2, &b, &b_dims);
        for i in indices(&dims) {
            let mut j = i.clone();
            let v = if i[axis] < 2 {
                a[flat(&a_dims, &j)]
            } else {
                j[axis] -= 2;
                b[flat(&b_dims, &j)]
            };
            assert_eq!(out[flat(&dims, &i)], v);
        }
        let mut back = vec![f64::NAN; b.len()];
        copy_from(&out, &dims, axis, 2, &mut back, &b_dims);
        assert_eq!(back, b);
    }
    copy_into(&mut [0.0f32; 0], &[0, 3], 0, 0, &[], &[0, 3]);
}

#[test]
fn padding_and_its_adjoint() {
    let cases: [(&[usize], &[usize], &[usize]); 7] = [
        (&[2, 3, 8, 9], &[0, 0, 4, 4], &[0, 0, 4, 4]),
        (&[3, 4], &[2, 1], &[0, 3]),
        (&[4, 3], &[1, 0], &[3, 0]),
        (&[7], &[0], &[6]),
        (&[2, 5], &[0, 0], &[0, 0]),
        (&[0, 5], &[0, 1], &[0, 2]),
        (&[], &[], &[]),
    ];
    for (dims, before, after) in cases {
        let out_dims: Vec<usize> = (0..dims.len()).map(|a| before[a] + dims[a] + after[a]).collect();
        for fill in [Fill::Constant(0.0), Fill::Constant(7.0), Fill::Reflect, Fill::Replicate] {
            let x = random(size(dims), 8);
            let mut out = vec![f64::NAN; size(&out_dims)];
            pad(&x, dims, before, after, fill, &mut out);
            for i in indices(&out_dims) {
                // Walk outwards in from the place asked for.
                let j = (0..dims.len()).map(|a| {
                    let (i, n) = (i[a] as isize - before[a] as isize, dims[a] as isize);
                    let inside = (0..n).contains(&i);
                    match fill {
                        _ if inside => Some(i as usize),
                        Fill::Constant(_) => None,
                        Fill::Reflect => Some(if i < 0 { -i } else { n - 1 - (i - (n - 1)) } as usize),
                        Fill::Replicate => Some(if i < 0 { 0 } else { n - 1 } as usize),
                    }
                });
                let want = match j.collect::<Option<Vec<_>>>() {
                    Some(j) => x[flat(dims, &j)],
                    None => 0.0 + if let Fill::Constant(v) = fill { v } else { unreachable!() },
                };
                assert_eq!(out[flat(&out_dims, &i)], want, "{fill:?} {dims:?}");
            }
            if fill != Fill::Constant(7.0) {
                assert_adjoint(
                    "pad",
                    x.len(),
                    out.len(),
                    |x, out| pad(x, dims, before, after, fill, out),
                    |g, out| pad_adjoint(g, dims, before, after, fill, out),
                );
            }
        }
    }
    let mut out = [f64::NAN; 3];
    pad(&[], &[0], &[1], &[2], Fill::Constant(5.0), &mut out);
    assert_eq!(out, [5.0; 3]);
}

#[test]
fn gather_follows_its_definition() {
    let cases: [(&[usize], usize, &[usize]); 6] = [
        (&[4, 5, 6], 0, &[7, 5, 6]),
        (&[4, 5, 6], 1, &[4, 9, 6]),
        (&[4, 5, 6], 2, &[3, 4, 11]),
        (&[6], 0, &[20]),
        (&[6, 2], 1, &[0, 2]),
        (&[3, 50], 1, &[3, 1]),
    ];
    for (dims, axis, index_dims) in cases {
        let index = random_indices(size(index_dims), dims[axis], 9);
        let x = random(size(dims), 10);
        let mut out = vec![f64::NAN; index.len()];
        gather(&x, dims, axis, &index, index_dims, &mut out);
        for i in indices(index_dims) {
            let mut j = i.clone();
            j[axis] = index[flat(index_dims, &i)] as usize;
            assert_eq!(out[flat(index_dims, &i)], x[flat(dims, &j)]);
        }
        assert_adjoint(
            "gather",
            x.len(),
            index.len(),
            |x, out| gather(x, dims, axis, &index, index_dims, out),
            |g, out| scatter_add(g, index_dims, axis, &index, dims, out),
        );
    }
}

#[test]
fn select_take_and_their_adjoints() {
    for (dims, axis, n) in [(&[5, 3, 300][..], 1, 9), (&[10, 4], 0, 30), (&[3, 7], 1, 4), (&[3, 7], 1, 0)] {
        let index = random_indices(n, dims[axis], 11);
        let mut out_dims = dims.to_vec();
        out_dims[axis] = n;
        let x = random(size(dims), 12);
        let mut out = vec![f64::NAN; size(&out_dims)];
        index_select(&x, dims, axis, &index, &mut out);
        for i in indices(&out_dims) {
            let mut j = i.clone();
            j[axis] = index[i[axis]] as usize;
            assert_eq!(out[flat(&out_dims, &i)], x[flat(dims, &j)]);
        }
        assert_adjoint(
            "index_select",
            x.len(),
            out.len(),
            |x, out| index_select(x, dims, axis, &index, out),
            |g, out| index_add(g, axis, &index, dims, out),
        );
    }
    let index = random_indices(40_000, 100, 13);
    let x = random(100, 14);
    let mut out = vec![f64::NAN; index.len()];
    take(&x, &index, &mut out);
    assert!(out.iter().zip(&index).all(|(&v, &i)| v == x[i as usize]));
    assert_adjoint("take", 100, 40_000, |x, out| take(x, &index, out), |g, out| put_add(g, &index, out));
}

#[test]
fn indices_are_checked() {
    assert_eq!(check_indices(&[0, 3, 9, 1, 8], 8), Err((2, 9)));
    assert_eq!(check_indices(&[0, 3], 4), Ok(()));
    assert_eq!(check_indices(&[], 0), Ok(()));
}

#[test]
#[should_panic(expected = "take: index 5 at position 1 is not below 5")]
fn an_index_out_of_range_is_named() {
    take(&[0.0; 5], &[4, 5], &mut [0.0; 2]);
}

#[test]
fn one_hot_rows() {
    let mut out = [f32::NAN; 6];
    one_hot(&[2, 0], 3, &mut out);
    assert_eq!(out, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    one_hot::<f32>(&[], 3, &mut []);
}

#[test]
fn triangles_and_diagonals() {
    for (rows, cols) in [(4, 4), (3, 6), (6, 3), (1, 1), (1, 5), (0, 3)] {
        let x = random(2 * rows * cols, 15);
        for k in -7..=7isize {
            let (mut low, mut high) = (vec![f64::NAN; x.len()], vec![f64::NAN; x.len()]);
            tril(&x, rows, cols, k, &mut low);
            triu(&x, rows, cols, k, &mut high);
            let mut on_diagonal = vec![];
            for i in indices(&[2, rows, cols]) {
                let at = flat(&[2, rows, cols], &i);
                let d = i[2] as isize - i[1] as isize;
                assert_eq!(low[at], if d <= k { x[at] } else { 0.0 });
                assert_eq!(high[at], if d >= k { x[at] } else { 0.0 });
                if d == k {
                    on_diagonal.push(x[at]);
                }
            }
            let matrices = if rows * cols == 0 { 0 } else { 2 };
            let len = matrices * diagonal_len(rows, cols, k);
            let mut out = vec![f64::NAN; len];
            diagonal(&x, rows, cols, k, &mut out);
            assert_eq!(out, on_diagonal, "diagonal {k} of {rows} x {cols}");
            assert_adjoint(
                "diagonal",
                x.len(),
                len,
                |x, out| diagonal(x, rows, cols, k, out),
                |g, out| diagonal_embed(g, rows, cols, k, out),
            );
        }
    }
}
