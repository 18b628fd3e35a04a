//! Factors against the matrices they came from, determinants against Laplace's expansion.

use super::*;
use crate::random::Key;
use crate::{par, simd};

const SIZES: [usize; 7] = [0, 1, 2, 3, 7, 65, 130];

fn random<T: Element>(len: usize, seed: u64) -> Vec<T> {
    let mut x = vec![T::ZERO; len];
    Key::new(seed).fill_normal(&mut x);
    x
}

/// op(a) b for n x n and n x m.
fn product<T: Element>(a: &[T], transposed: bool, b: &[T], n: usize, m: usize) -> Vec<T> {
    let mut out = vec![T::ZERO; n * m];
    for i in 0..n {
        for j in 0..m {
            let at = |k: usize| if transposed { a[k * n + i] } else { a[i * n + k] };
            out[i * m + j] = (0..n).map(|k| at(k) * b[k * m + j]).sum();
        }
    }
    out
}

fn assert_close<T: Element>(got: &[T], want: &[T], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len());
    for (a, b) in got.iter().zip(want) {
        let (a, b) = (a.to_f64(), b.to_f64());
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}: {a}, not {b}");
    }
}

/// A matrix whose condition number is below ten.
fn tame<T: Element>(n: usize, seed: u64) -> Vec<T> {
    let mut a: Vec<T> = random(n * n, seed);
    let size = T::from_f64(3.0 * (n as f64).sqrt());
    // Off the diagonal, so that pivots move.
    (0..n).for_each(|i| a[i * n + (i + 1) % n] = a[i * n + (i + 1) % n] + size);
    a
}

fn lu_solves<T: Element>(tolerance: f64) {
    for n in SIZES {
        for m in [0, 1, 5, 70] {
            let a: Vec<T> = tame(n, 1);
            let x: Vec<T> = random(n * m, 2);
            let (mut factors, mut pivots) = (a.clone(), vec![0; n]);
            lu(&mut factors, n, &mut pivots).unwrap();
            for transposed in [false, true] {
                let mut b = product(&a, transposed, &x, n, m);
                lu_solve(&factors, &pivots, n, transposed, &mut b, m);
                assert_close(&b, &x, tolerance, "solution");
            }
            let mut inverse = vec![T::NAN; n * n];
            lu_inverse(&factors, &pivots, n, &mut inverse);
            let unit: Vec<T> = (0..n * n).map(|i| if i / n == i % n { T::ONE } else { T::ZERO }).collect();
            assert_close(&product(&a, false, &inverse, n, n), &unit, tolerance, "inverse");
        }
    }
}

#[test]
fn lu_solves_and_inverts() {
    lu_solves::<f32>(1e-4);
    lu_solves::<f64>(1e-12);
}

fn determinant(a: &[f64], n: usize) -> f64 {
    let (mut factors, mut pivots) = (a.to_vec(), vec![0; n]);
    lu(&mut factors, n, &mut pivots).unwrap();
    let (sign, log) = lu_determinant(&factors, &pivots, n);
    sign * log.exp()
}

/// Laplace's expansion along the first row.
fn laplace(a: &[f64], n: usize) -> f64 {
    if n == 0 {
        return 1.0;
    }
    let minor = |j: usize| -> Vec<f64> { (n..n * n).filter(|i| i % n != j).map(|i| a[i]).collect() };
    (0..n).map(|j| if j % 2 == 0 { 1.0 } else { -1.0 } * a[j] * laplace(&minor(j), n - 1)).sum()
}

#[test]
fn determinants_have_their_sign() {
    for n in 0..6 {
        for seed in 0..8 {
            let a = random(n * n, 10 + seed);
            let want = laplace(&a, n);
            assert!((determinant(&a, n) - want).abs() < 1e-12 * (1.0 + want.abs()), "{n}");
        }
    }
}

#[test]
fn singular_matrices_are_errors() {
    let mut pivots = [0; 3];
    // The second column is twice the first, and halves are exact.
    let mut twins = [1.0, 2.0, 3.0, 2.0, 4.0, 7.0, 4.0, 8.0, 1.0];
    assert_eq!(lu(&mut twins, 3, &mut pivots), Err(1));
    // Here thirds leave a rest.
    let mut twins = [1.0, 2.0, 3.0, 2.0, 4.0, 7.0, 3.0, 6.0, 1.0];
    let passed = lu(&mut twins, 3, &mut pivots).is_ok();
    assert!(!passed || lu_pivot_ratio(&twins, 3) < 1e-15);
    assert_eq!(lu_pivot_ratio(&[4.0f32, 1.0, 0.5, -2.0], 2), 0.5);
    assert_eq!(lu_pivot_ratio::<f32>(&[], 0), 1.0);
    assert_eq!(lu(&mut [0.0f32; 9], 3, &mut pivots), Err(0));
    assert_eq!(lu(&mut [1.0, 0.0, 0.0, f64::NAN], 2, &mut pivots[..2]), Err(1));
    assert_eq!(lu(&mut [f64::NAN, 1.0, 2.0, 1.0], 2, &mut pivots[..2]), Err(0));
}

fn cholesky_agrees<T: Element>(tolerance: f64) {
    for n in SIZES {
        let root: Vec<T> = random(n * n, 3);
        let mut a = product(&root, true, &root, n, n);
        (0..n).for_each(|i| a[i * n + i] = a[i * n + i] + T::from_f64(n as f64));
        let mut l = a.clone();
        // What is above the diagonal is not read.
        (0..n).for_each(|i| l[i * n + i + 1..(i + 1) * n].fill(T::NAN));
        cholesky(&mut l, n).unwrap();
        let transposed: Vec<T> = (0..n * n).map(|i| l[i % n * n + i / n]).collect();
        assert_close(&product(&l, false, &transposed, n, n), &a, tolerance, "L L'");
        assert!((0..n).all(|i| l[i * n + i + 1..(i + 1) * n].iter().all(|&v| v == T::ZERO)));
        let x: Vec<T> = random(n * 5, 4);
        let mut b = product(&a, false, &x, n, 5);
        cholesky_solve(&l, n, &mut b, 5);
        assert_close(&b, &x, 10.0 * tolerance, "solution");
        let (mut factors, mut pivots) = (a.clone(), vec![0; n]);
        lu(&mut factors, n, &mut pivots).unwrap();
        let (sign, log) = lu_determinant(&factors, &pivots, n);
        assert!(sign == T::ONE);
        assert_close(&[cholesky_log_determinant(&l, n)], &[log], tolerance, "log det");
    }
}

#[test]
fn cholesky_factors_solves_and_measures() {
    cholesky_agrees::<f32>(1e-4);
    cholesky_agrees::<f64>(1e-12);
}

#[test]
fn indefinite_matrices_are_errors() {
    assert_eq!(cholesky(&mut [1.0, 0.0, 0.0, -1.0], 2), Err(1));
    assert_eq!(cholesky(&mut [1.0f32, 0.0, 1.0, 1.0], 2), Err(1));
    assert_eq!(cholesky(&mut [f64::NAN], 1), Err(0));
}

#[test]
fn triangles_are_solved_in_every_reading() {
    for n in SIZES {
        for bits in 0..8 {
            let triangle = Triangle { lower: bits & 1 > 0, unit: bits & 2 > 0, transposed: bits & 4 > 0 };
            let mut t: Vec<f64> = random(n * n, 5);
            t.iter_mut().for_each(|v| *v *= 0.1 / (n as f64).sqrt());
            (0..n).for_each(|i| t[i * n + i] += 2.0);
            let mut whole = t.clone();
            for i in 0..n {
                for j in 0..n {
                    if i != j && (j < i) != triangle.lower {
                        whole[i * n + j] = 0.0;
                        t[i * n + j] = f64::NAN;
                    }
                }
                if triangle.unit {
                    whole[i * n + i] = 1.0;
                    t[i * n + i] = f64::NAN;
                }
            }
            let x: Vec<f64> = random(n * 67, 6);
            let mut b = product(&whole, triangle.transposed, &x, n, 67);
            triangle.solve(&t, n, &mut b, 67).unwrap();
            assert_close(&b, &x, 1e-12, "triangle");
        }
    }
    let upper = Triangle { lower: false, unit: false, transposed: false };
    assert_eq!(upper.solve(&[1.0, 5.0, 0.0, 0.0], 2, &mut [1.0; 2], 1), Err(1));
}

#[test]
fn results_do_not_depend_on_threads() {
    let _turn = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let n = 301;
    let a: Vec<f64> = tame(n, 7);
    let mut square = product(&a, true, &a, n, n);
    (0..n).for_each(|i| square[i * n + i] += 1.0);
    let run = |threads| {
        par::set_threads(threads);
        let (mut factors, mut pivots, mut inverse) = (a.clone(), vec![0; n], vec![0.0; n * n]);
        lu(&mut factors, n, &mut pivots).unwrap();
        lu_inverse(&factors, &pivots, n, &mut inverse);
        let mut l = square.clone();
        cholesky(&mut l, n).unwrap();
        (factors, inverse, l)
    };
    let one = run(1);
    assert!(one == run(2) && one == run(7));
}
