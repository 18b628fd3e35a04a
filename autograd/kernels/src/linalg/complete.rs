//! Elimination with complete pivoting, which determines the rank reliably.

/// For an n x n matrix A: matrices `left` and `right` for which `left` A `right` is diagonal but for rounding, with
/// elements of sizes from 1 to 2 and then zeros, and the factor f with det A = f det(`left` A `right`). They exist for
/// every finite matrix, of any rank: rows and columns are exchanged so that each pivot is the largest element left.
/// Elimination ends where that is at most `tolerance` times the largest element of A: what is left is rounding, or
/// counts as it is.
///
/// # Panics
/// If a slice does not have its size.
pub fn diagonalise(a: &[f64], n: usize, tolerance: f64, left: &mut [f64], right: &mut [f64]) -> f64 {
    assert!(
        a.len() == n * n && left.len() == n * n && right.len() == n * n,
        "diagonalise: {n} x {n} elements"
    );
    let least = tolerance * a.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    let mut a = a.to_vec();
    let identity = |out: &mut [f64]| (0..n * n).for_each(|i| out[i] = if i / n == i % n { 1.0 } else { 0.0 });
    identity(left);
    // Its transpose, so that columns are rows.
    identity(right);
    let (mut sign, mut exponent, mut rank) = (1.0, 0, 0);
    let exchange = |a: &mut [f64], i: usize, j: usize| (0..n).for_each(|k| a.swap(i * n + k, j * n + k));
    for k in 0..n {
        let rest = (k * n..n * n).filter(|i| i % n >= k);
        let largest = rest.max_by(|&i, &j| a[i].abs().total_cmp(&a[j].abs())).expect("a pivot");
        let (row, column) = (largest / n, largest % n);
        if a[largest].abs() <= least {
            break;
        }
        if row != k {
            exchange(&mut a, k, row);
            exchange(left, k, row);
            sign = -sign;
        }
        if column != k {
            (0..n).for_each(|i| a.swap(i * n + k, i * n + column));
            exchange(right, k, column);
            sign = -sign;
        }
        rank += 1;
        let pivot = a[k * n + k];
        for i in k + 1..n {
            let (below, beside) = (a[i * n + k] / pivot, a[k * n + i] / pivot);
            (0..n).for_each(|j| {
                left[i * n + j] -= below * left[k * n + j];
                right[i * n + j] -= beside * right[k * n + j];
            });
            (k + 1..n).for_each(|j| a[i * n + j] -= below * a[k * n + j]);
        }
    }
    for k in 0..rank {
        let power = (a[k * n + k].to_bits() >> 52 & 0x7ff) as i32 - 1023;
        // Zeros, and numbers so small that the reciprocal of their power of two overflows.
        if power > -1023 {
            left[k * n..(k + 1) * n].iter_mut().for_each(|v| *v /= 2f64.powi(power));
            exponent += power;
        }
    }
    for i in 0..n {
        (0..i).for_each(|j| right.swap(i * n + j, j * n + i));
    }
    // In two factors, since 2^1024 is not representable.
    sign * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
}
