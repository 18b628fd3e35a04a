//! Eigenvalues and eigenvectors of a small symmetric matrix.

/// An eigenvalue with its eigenvector.
#[derive(Clone, Debug, PartialEq)]
pub struct Eigen {
    /// The eigenvalue.
    pub value: f64,
    /// The eigenvector, of length 1.
    pub vector: Vec<f64>,
}

/// All eigenvalues of a symmetric matrix, given by its rows, from the largest to the smallest: Jacobi's rotations
/// (1846; Golub and Van Loan, Matrix Computations, section 8.5), to full precision.
///
/// # Panics
/// If the matrix is not square.
pub fn eigen(rows: &[Vec<f64>]) -> Vec<Eigen> {
    /// Convergence is quadratic: ten sweeps are enough. The limit also ends the loop if a number is not finite.
    const ROUNDS: usize = 50;
    let n = rows.len();
    assert!(rows.iter().all(|row| row.len() == n), "eigen: the matrix must be square");
    let mut a = rows.to_vec();
    // Row i of v is the vector of the i-th value.
    let mut v: Vec<Vec<f64>> =
        (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let size: f64 = a.iter().flatten().map(|x| x * x).sum();
    for _ in 0..ROUNDS {
        let beside = |i: usize| (0..n).filter(move |&j| j != i);
        let off: f64 =
            (0..n).flat_map(|i| beside(i).map(move |j| (i, j))).map(|(i, j)| a[i][j].powi(2)).sum();
        if off <= size * f64::EPSILON * f64::EPSILON {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, p, q);
            }
        }
    }
    let mut found: Vec<Eigen> =
        v.into_iter().enumerate().map(|(i, vector)| Eigen { value: a[i][i], vector }).collect();
    found.sort_by(|a, b| b.value.total_cmp(&a.value));
    found
}

/// Rotates the plane of p and q so that a[p][q] becomes 0.
fn rotate(a: &mut [Vec<f64>], v: &mut [Vec<f64>], p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for row in a.iter_mut() {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
    for m in [a, v] {
        let (before, from) = m.split_at_mut(q);
        for (x, y) in before[p].iter_mut().zip(&mut from[0]) {
            (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
        }
    }
}
