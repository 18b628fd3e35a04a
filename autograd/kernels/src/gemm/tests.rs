use super::*;
use crate::par;
use crate::simd::{self, Level};

/// Numbers in -1..1, the same on every run.
fn noise<T: Element>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        T::from_f64((state >> 33) as f64 / (1u64 << 30) as f64 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}

/// What a product is, in f64.
fn definition<T: Element>([m, n, k]: [usize; 3], a: &[T], at: bool, b: &[T], bt: bool) -> Vec<f64> {
    let element = |i: usize, j: usize| {
        let a = |p: usize| a[if at { p * m + i } else { i * k + p }].to_f64();
        let b = |p: usize| b[if bt { j * k + p } else { p * n + j }].to_f64();
        (0..k).map(|p| a(p) * b(p)).sum()
    };
    (0..m * n).map(|e| element(e / n, e % n)).collect()
}

fn check<T: Element>(size: [usize; 3], tolerance: f64) {
    let [m, n, k] = size;
    let (a, b, c) = (noise::<T>(m * k, 1), noise::<T>(k * n, 2), noise::<T>(m * n, 3));
    for (at, bt) in [(false, false), (false, true), (true, false), (true, true)] {
        let product = definition(size, &a, at, &b, bt);
        for (alpha, beta) in [(1.0, 0.0), (-0.5, 1.0), (2.0, -1.5)] {
            let mut out = c.clone();
            if beta == 0.0 {
                out.fill(T::NAN);
            }
            gemm(m, n, k, T::from_f64(alpha), &a, at, &b, bt, T::from_f64(beta), &mut out);
            for i in 0..m * n {
                let want = alpha * product[i] + beta * c[i].to_f64();
                let error = (out[i].to_f64() - want).abs();
                assert!(
                    error <= tolerance * (1.0 + k as f64).sqrt(),
                    "{size:?} {at} {bt} {alpha} {beta} at {i}: {error}"
                );
            }
        }
    }
}

/// Runs `f` with every backend of this build, and with every instruction set for this crate's own kernels.
fn with_every_backend(f: impl Fn()) {
    let _settings = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let before = backend();
    set_backend(Backend::Own);
    for level in [Level::Portable, Level::Avx2, Level::Avx512] {
        simd::set_level(level);
        f();
    }
    for library in [Backend::Matrixmultiply, Backend::Blas] {
        if library.is_available() {
            set_backend(library);
            f();
        }
    }
    set_backend(before);
}

#[test]
fn backends_have_names() {
    for name in ["auto", "own", "matrixmultiply"] {
        assert_eq!(name.parse::<Backend>().unwrap().to_string(), name);
    }
    assert_eq!("blas".parse::<Backend>().is_ok(), cfg!(feature = "blas"));
    assert!("mkl".parse::<Backend>().unwrap_err().contains("own, matrixmultiply or blas"));
}

#[test]
fn targets_without_kernels_of_their_own_use_matrixmultiply() {
    let _settings = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let (before, level) = (backend(), simd::level());
    set_backend(Backend::Auto);
    for level in [Level::Portable, Level::Avx2, Level::Avx512] {
        let expected = match simd::set_level(level) {
            Level::Portable => Backend::Matrixmultiply,
            _ => Backend::Own,
        };
        assert_eq!(backend_in_use(), expected, "{level:?}");
    }
    simd::set_level(level);
    set_backend(before);
}

#[test]
fn gemm_is_what_the_definition_says() {
    with_every_backend(|| {
        let sizes = [0, 1, 3, 8, 17, 33];
        for m in sizes {
            for n in sizes {
                for k in sizes {
                    check::<f32>([m, n, k], 2e-6);
                    check::<f64>([m, n, k], 4e-15);
                }
            }
        }
        for size in [
            [130, 70, 300],
            [5, 400, 600],
            [257, 9, 20],
            [64, 64, 1000],
            [200, 260, 40],
            [9, 2100, 40],
            [2100, 9, 40],
            [300, 40, 290],
        ] {
            check::<f32>(size, 3e-6);
            check::<f64>(size, 6e-15);
        }
    });
}

/// Sizes that cross strips, slabs and blocks, for which the definition would take too long.
#[test]
fn own_kernels_agree_with_matrixmultiply() {
    fn check<T: Element>([m, n, k]: [usize; 3], unit: f64) {
        let (a, b) = (noise::<T>(m * k, 1), noise::<T>(k * n, 2));
        let magnitudes = |v: &[T]| v.iter().map(|&v| if v < T::ZERO { -v } else { v }).collect::<Vec<T>>();
        for (at, bt) in [(false, false), (false, true), (true, false), (true, true)] {
            let product = |backend, a: &[T], b: &[T]| {
                set_backend(backend);
                let mut c = vec![T::NAN; m * n];
                gemm(m, n, k, T::ONE, a, at, b, bt, T::ZERO, &mut c);
                c
            };
            let (own, theirs) = (product(Backend::Own, &a, &b), product(Backend::Matrixmultiply, &a, &b));
            let sizes = product(Backend::Matrixmultiply, &magnitudes(&a), &magnitudes(&b));
            for i in 0..m * n {
                // Each sum of k products is off by at most k roundings of the sum of their magnitudes.
                let bound = 2.0 * k as f64 * unit * sizes[i].to_f64();
                let error = (own[i].to_f64() - theirs[i].to_f64()).abs();
                assert!(error <= bound, "{m} x {k} x {n}, {at} {bt}, {i}: {:?}, {:?}", own[i], theirs[i]);
            }
        }
    }
    let _settings = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let before = backend();
    for size in [[700, 900, 520], [STRIP + 75, 40, 300], [40, STRIP + 75, 300], [65, 33, 9000]] {
        check::<f32>(size, f64::from(f32::EPSILON));
        check::<f64>(size, f64::EPSILON);
    }
    set_backend(before);
}

#[test]
fn batched_repeats_single_operands() {
    with_every_backend(batched_repeats);
}

fn batched_repeats() {
    for (batch, [m, n, k]) in
        [(0, [2, 3, 4]), (1, [2, 3, 4]), (5, [7, 9, 8]), (3, [70, 80, 90]), (4, [3, 0, 2]), (4, [3, 2, 0])]
    {
        for (one_a, one_b) in [(false, false), (true, false), (false, true), (true, true)] {
            let a = noise::<f64>(m * k * if one_a { 1 } else { batch }, 1);
            let b = noise::<f64>(k * n * if one_b { 1 } else { batch }, 2);
            let mut c = vec![f64::NAN; batch * m * n];
            batched(batch, m, n, k, 1.0, &a, false, &b, true, 0.0, &mut c);
            for i in 0..batch {
                let a = if one_a { &a[..] } else { &a[i * m * k..][..m * k] };
                let b = if one_b { &b[..] } else { &b[i * k * n..][..k * n] };
                for (got, want) in
                    c[i * m * n..][..m * n].iter().zip(definition([m, n, k], a, false, b, true))
                {
                    assert!((got - want).abs() < 1e-12, "{batch} {m} {n} {k} {got} {want}");
                }
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    with_every_backend(bits_of_threads);
}

fn bits_of_threads() {
    let before = par::threads();
    for [m, n, k] in [[150, 310, 700], [40, 3000, 300], [3000, 40, 300]] {
        let (a, b) = (noise::<f32>(m * k, 1), noise::<f32>(k * n, 2));
        let [first, second, third] = [1, 2, 7].map(|threads| {
            par::set_threads(threads);
            let mut c = vec![0.0; m * n];
            gemm(m, n, k, 1.0, &a, false, &b, false, 0.0, &mut c);
            c
        });
        assert!(first == second && second == third);
    }
    par::set_threads(before);
}

#[test]
fn the_upper_triangle_of_a_gram_matrix_is_that_of_the_product() {
    fn check<T: Element>(n: usize, k: usize) {
        let a = noise::<T>(n * k, 7);
        let (mut all, mut upper) = (vec![T::NAN; n * n], vec![T::NAN; n * n]);
        gemm(n, n, k, T::ONE, &a, false, &a, true, T::ZERO, &mut all);
        gram_upper(n, k, &a, &mut upper);
        let differs = |&at: &usize| at % n >= at / n && upper[at] != all[at];
        assert_eq!((0..n * n).find(differs), None, "{n} x {k}");
    }
    with_every_backend(|| {
        for (n, k) in [(0, 3), (1, 1), (2, 0), (17, 5), (65, 33), (130, 700), (STRIP + 75, 3)] {
            check::<f32>(n, k);
            check::<f64>(n, k);
        }
    });
}
