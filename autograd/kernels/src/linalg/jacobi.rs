//! Eigenvalues of symmetric matrices and singular values, by Jacobi's rotations in f64: slower than tridiagonal methods,
//! and at least as accurate.
//!
//! Golub and Van Loan, Matrix Computations, 4th edition, sections 8.5 and 8.6.3.

/// More sweeps than any matrix needs: convergence is quadratic, and ten sweeps are rarely needed.
const SWEEPS: usize = 60;

/// The power of two next to the largest absolute value, by which a matrix is divided so that its squares are numbers; 1
/// for zeros, and `None` if an element is not finite.
fn scale(a: &[f64]) -> Option<f64> {
    let largest = a.iter().fold(0.0f64, |most, v| if v.is_nan() { f64::INFINITY } else { most.max(v.abs()) });
    if !largest.is_finite() {
        return None;
    }
    let binade = f64::from_bits(largest.to_bits() & f64::INFINITY.to_bits());
    // The reciprocal of a subnormal number may overflow.
    Some(if largest == 0.0 { 1.0 } else { binade.max(f64::MIN_POSITIVE) })
}

/// The tangent, cosine and sine of the rotation that makes an off-diagonal element 0, from the difference of the diagonal
/// ones over twice that element.
fn rotation(theta: f64) -> (f64, f64, f64) {
    let t = if theta.abs() > 1e150 {
        0.5 / theta
    } else {
        1f64.copysign(theta) / (theta.abs() + (theta * theta + 1.0).sqrt())
    };
    let c = 1.0 / (t * t + 1.0).sqrt();
    (t, c, t * c)
}

/// Rows p < q of a matrix of rows of length n.
fn two_rows(a: &mut [f64], n: usize, p: usize, q: usize) -> (&mut [f64], &mut [f64]) {
    let (above, below) = a.split_at_mut(q * n);
    (&mut above[p * n..(p + 1) * n], &mut below[..n])
}

fn rotate(x: &mut [f64], y: &mut [f64], c: f64, s: f64) {
    for (x, y) in x.iter_mut().zip(y) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

/// Makes the first of the largest elements of a vector positive, and returns whether that changed it.
fn oriented(v: &mut [f64]) -> bool {
    let largest = v.iter().fold(0.0f64, |most: f64, &v| if v.abs() > most.abs() { v } else { most });
    if largest < 0.0 {
        v.iter_mut().for_each(|v| *v = -*v);
    }
    largest < 0.0
}

/// The eigenvalues, in ascending order, and in the rows of `vectors` the eigenvectors of the symmetric n x n matrix `a`,
/// which is overwritten. The first of the largest elements of an eigenvector is positive. All are NaN if an element is not
/// finite.
///
/// # Panics
/// If a slice does not have its size.
pub fn eigh(a: &mut [f64], n: usize, values: &mut [f64], vectors: &mut [f64]) {
    assert!(a.len() == n * n && vectors.len() == n * n, "eigh: {n} x {n} elements");
    assert_eq!(values.len(), n, "eigh: {n} values");
    let Some(scale) = scale(a) else {
        values.fill(f64::NAN);
        vectors.fill(f64::NAN);
        return;
    };
    a.iter_mut().for_each(|v| *v /= scale);
    let mut rows = vec![0.0; n * n];
    (0..n).for_each(|i| rows[i * n + i] = 1.0);
    for sweep in 0..SWEEPS {
        let mut rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                let (app, aqq, apq) = (a[p * n + p], a[q * n + q], a[p * n + q]);
                // Below the last place of both diagonal elements, after the first sweeps have separated the magnitudes.
                let nothing = |d: f64| d.abs() + 100.0 * apq.abs() == d.abs();
                if apq == 0.0 || (sweep > 3 && nothing(app) && nothing(aqq)) {
                    (a[p * n + q], a[q * n + p]) = (0.0, 0.0);
                    continue;
                }
                rotated = true;
                let (t, c, s) = rotation((aqq - app) / (2.0 * apq));
                let (x, y) = two_rows(a, n, p, q);
                rotate(x, y, c, s);
                (x[p], x[q], y[p], y[q]) = (app - t * apq, 0.0, 0.0, aqq + t * apq);
                for k in (0..n).filter(|&k| k != p && k != q) {
                    (a[k * n + p], a[k * n + q]) = (a[p * n + k], a[q * n + k]);
                }
                let (x, y) = two_rows(&mut rows, n, p, q);
                rotate(x, y, c, s);
            }
        }
        if !rotated {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[i * n + i].total_cmp(&a[j * n + j]));
    for (to, &from) in order.iter().enumerate() {
        values[to] = a[from * n + from] * scale;
        let vector = &mut vectors[to * n..(to + 1) * n];
        vector.copy_from_slice(&rows[from * n..(from + 1) * n]);
        oriented(vector);
    }
}

/// The singular values, in descending order, of the matrix whose n columns of length m >= n are the rows of `columns`, which
/// become the left singular vectors; the right ones become the rows of `right`, n x n. The first of the largest elements of
/// a left singular vector is positive. All are NaN if an element is not finite.
///
/// # Panics
/// If a slice does not have its size, or m < n.
pub fn svd(columns: &mut [f64], m: usize, n: usize, values: &mut [f64], right: &mut [f64]) {
    assert!(m >= n, "svd: {m} x {n}: more columns than rows");
    assert!(columns.len() == m * n && right.len() == n * n, "svd: {m} x {n} elements");
    assert_eq!(values.len(), n, "svd: {n} values");
    let Some(scale) = scale(columns) else {
        [columns, values, right].into_iter().for_each(|out| out.fill(f64::NAN));
        return;
    };
    columns.iter_mut().for_each(|v| *v /= scale);
    let mut rows = vec![0.0; n * n];
    (0..n).for_each(|i| rows[i * n + i] = 1.0);
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                let (x, y) = two_rows(columns, m, p, q);
                let (xx, yy, xy) = (dot(x, x), dot(y, y), dot(x, y));
                if xy.abs() <= f64::EPSILON * xx.sqrt() * yy.sqrt() {
                    continue;
                }
                rotated = true;
                let (_, c, s) = rotation((yy - xx) / (2.0 * xy));
                rotate(x, y, c, s);
                let (x, y) = two_rows(&mut rows, n, p, q);
                rotate(x, y, c, s);
            }
        }
        if !rotated {
            break;
        }
    }
    let norms: Vec<f64> = columns.chunks(m.max(1)).map(|column| dot(column, column).sqrt()).collect();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| norms[j].total_cmp(&norms[i]));
    let mut left = vec![0.0; m * n];
    for (to, &from) in order.iter().enumerate() {
        values[to] = norms[from] * scale;
        right[to * n..(to + 1) * n].copy_from_slice(&rows[from * n..(from + 1) * n]);
        let (done, rest) = left.split_at_mut(to * m);
        let vector = &mut rest[..m];
        if norms[from] > 0.0 {
            vector.iter_mut().zip(&columns[from * m..]).for_each(|(out, v)| *out = v / norms[from]);
        } else {
            complete(done, m, vector);
        }
        if oriented(vector) {
            right[to * n..(to + 1) * n].iter_mut().for_each(|v| *v = -*v);
        }
    }
    columns.copy_from_slice(&left);
}

/// Writes a unit vector that is orthogonal to the orthonormal rows `done`: the unit vector with the largest remainder,
/// without its components along them.
fn complete(done: &[f64], m: usize, out: &mut [f64]) {
    let kept = |i: usize| done.chunks(m).map(|row| row[i] * row[i]).sum::<f64>();
    let best = (0..m).min_by(|&i, &j| kept(i).total_cmp(&kept(j))).expect("fewer rows than columns");
    out.fill(0.0);
    out[best] = 1.0;
    // Twice, since the first pass leaves rounding errors.
    for _ in 0..2 {
        for row in done.chunks(m) {
            let part: f64 = row.iter().zip(out.iter()).map(|(a, b)| a * b).sum();
            out.iter_mut().zip(row).for_each(|(out, v)| *out -= part * v);
        }
    }
    let norm = out.iter().map(|v| v * v).sum::<f64>().sqrt();
    out.iter_mut().for_each(|v| *v /= norm);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;

    fn random(len: usize, seed: u64) -> Vec<f64> {
        let mut x = vec![0.0; len];
        Key::new(seed).fill_normal(&mut x);
        x
    }

    /// The largest difference of the rows' products from the identity.
    fn off_orthonormal(rows: &[f64], count: usize) -> f64 {
        let m = rows.len() / count.max(1);
        let mut worst = 0.0f64;
        for i in 0..count {
            for j in 0..count {
                let dot: f64 = (0..m).map(|k| rows[i * m + k] * rows[j * m + k]).sum();
                worst = worst.max((dot - if i == j { 1.0 } else { 0.0 }).abs());
            }
        }
        worst
    }

    #[test]
    fn eigenvectors_are_orthonormal_and_give_the_matrix_back() {
        for n in [0, 1, 2, 3, 8, 40] {
            for size in [1e-300, 1.0, 1e300] {
                let x = random(n * n, n as u64);
                let a: Vec<f64> = (0..n * n).map(|i| (x[i] + x[i % n * n + i / n]) * size).collect();
                let (mut values, mut vectors) = (vec![0.0; n], vec![0.0; n * n]);
                eigh(&mut a.clone(), n, &mut values, &mut vectors);
                let off = off_orthonormal(&vectors, n);
                // A row takes part in n rotations per sweep, of a few roundings each.
                assert!(
                    values.is_sorted() && off <= 10.0 * n as f64 * f64::EPSILON,
                    "{n}, {size:e}: {off:e}"
                );
                for i in 0..n {
                    for j in 0..n {
                        let sum: f64 =
                            (0..n).map(|k| values[k] / size * vectors[k * n + i] * vectors[k * n + j]).sum();
                        assert!((sum - a[i * n + j] / size).abs() < 1e-13, "{n}: {sum} {}", a[i * n + j]);
                    }
                }
            }
        }
    }

    #[test]
    fn the_second_difference_has_its_known_eigenvalues() {
        let n = 30usize;
        let mut a: Vec<f64> = (0..n * n)
            .map(|i| match (i / n).abs_diff(i % n) {
                0 => 2.0,
                1 => -1.0,
                _ => 0.0,
            })
            .collect();
        let (mut values, mut vectors) = (vec![0.0; n], vec![0.0; n * n]);
        eigh(&mut a, n, &mut values, &mut vectors);
        for (k, value) in values.iter().enumerate() {
            let angle = (k + 1) as f64 * std::f64::consts::PI / (n + 1) as f64;
            assert!((value - (2.0 - 2.0 * angle.cos())).abs() < 1e-14);
        }
    }

    #[test]
    fn singular_vectors_are_orthonormal_and_give_the_matrix_back() {
        for (m, n, rank) in
            [(0, 0, 0), (3, 0, 0), (1, 1, 1), (4, 2, 2), (7, 7, 7), (30, 20, 20), (6, 4, 2), (3, 3, 0)]
        {
            for size in [1e-300, 1.0, 1e300] {
                let (x, y) = (random(rank * m, 1), random(rank * n, 2));
                let columns: Vec<f64> = (0..n * m)
                    .map(|i| (0..rank).map(|k| x[k * m + i % m] * y[k * n + i / m]).sum::<f64>() * size)
                    .collect();
                let (mut left, mut values, mut right) = (columns.clone(), vec![0.0; n], vec![0.0; n * n]);
                svd(&mut left, m, n, &mut values, &mut right);
                assert!(values.is_sorted_by(|a, b| a >= b) && values.iter().all(|&v| v >= 0.0));
                let off = [off_orthonormal(&left, n), off_orthonormal(&right, n)];
                assert!(off.iter().all(|&e| e < 1e-13), "{m} x {n}, rank {rank}: {off:?}");
                for i in 0..n * m {
                    let sum: f64 =
                        (0..n).map(|k| values[k] / size * left[k * m + i % m] * right[k * n + i / m]).sum();
                    assert!((sum - columns[i] / size).abs() < 1e-12, "{m} x {n}, rank {rank}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_has_no_vectors() {
        for bad in [f64::NAN, f64::INFINITY] {
            let (mut values, mut vectors) = ([0.0; 2], [0.0; 4]);
            eigh(&mut [1.0, bad, bad, 1.0], 2, &mut values, &mut vectors);
            assert!(values.iter().chain(&vectors).all(|v| v.is_nan()));
            let mut columns = [1.0, bad, 2.0, 1.0];
            svd(&mut columns, 2, 2, &mut values, &mut vectors);
            assert!(values.iter().chain(&vectors).chain(&columns).all(|v| v.is_nan()));
        }
    }
}
