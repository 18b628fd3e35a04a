//! Energies against sums over explicit points, gradients against differences and closed forms.

use std::sync::Mutex;

use kernels::cosines::{COLS, CosineFunction, ROWS, Specialised, Visitor};
use kernels::random::Key;
use kernels::real::Plain;
use kernels::{Element, par};

use super::*;

/// The number of threads is a global setting: tests that set it run one at a time.
static THREADS: Mutex<()> = Mutex::new(());

/// f(c) and f'(c).
fn pair(e: PairEnergy, c: f64) -> (f64, f64) {
    struct At(f64);
    impl Visitor for At {
        type Output = (f64, f64);
        fn visit<F: Specialised>(self, f: F) -> (f64, f64) {
            f.at::<f64, Plain>(self.0)
        }
    }
    PairEnergy { half_space: false, ..e }.specialise(0.0, At(c))
}

/// Every form: exponents, distances, spaces.
fn forms() -> Vec<PairEnergy> {
    let mut all = vec![];
    for s in [0.0, 1.0, 2.0, 0.7, 3.0] {
        for half_space in [false, true] {
            all.push(PairEnergy { s, angular: false, offset: 0.0, half_space, floor: 1e-12, still: 1e-12 });
            all.push(PairEnergy { s, angular: true, offset: 0.0, half_space, floor: 1e-12, still: 1e-12 });
            all.push(PairEnergy { s, angular: true, offset: 3e-4, half_space, floor: 1e-12, still: 1e-12 });
        }
    }
    all
}

/// Random neurons of very different lengths.
fn random(n: usize, d: usize, seed: u64) -> Vec<f64> {
    let mut w = vec![0.0; n * d];
    Key::new(seed).fill_normal(&mut w);
    for (i, row) in w.chunks_mut(d).enumerate() {
        row.iter_mut().for_each(|v| *v *= 0.3 + (i % 5) as f64);
    }
    w
}

/// The points u = w / sqrt(|w|^2 + eps).
fn points(w: &[f64], eps: f64, d: usize) -> Vec<Vec<f64>> {
    let unit = |row: &[f64]| {
        let norm = (row.iter().map(|v| v * v).sum::<f64>() + eps).sqrt();
        row.iter().map(|v| v / norm).collect()
    };
    w.chunks(d).map(unit).collect()
}

/// The energy by its definition: all ordered pairs of all points.
fn definition(e: PairEnergy, w: &[f64], eps: f64, d: usize) -> f64 {
    let mut points = points(w, eps, d);
    if e.half_space {
        let negative: Vec<_> = points.iter().map(|p| p.iter().map(|v| -v).collect()).collect();
        points.extend::<Vec<_>>(negative);
    }
    let mut sum = 0.0;
    for (i, p) in points.iter().enumerate() {
        for (j, q) in points.iter().enumerate() {
            let c: f64 = p.iter().zip(q).map(|(p, q)| p * q).sum();
            let r = if e.angular {
                c.acos().max(e.floor) + e.offset
            } else {
                (2.0 - 2.0 * c).max(e.floor).sqrt()
            };
            if i != j {
                sum += if e.s == 0.0 { -r.ln() } else { r.powf(-e.s) };
            }
        }
    }
    sum
}

/// The value alone, by blocks.
fn value<T: Element>(e: PairEnergy, neurons: Vectors<T>) -> f64 {
    Sums(e).forward(neurons, &mut vec![0.0; neurons.n])
}

/// Value and gradient by every method: by blocks, from coefficients, at once.
fn gradients<T: Element>(e: PairEnergy, neurons: Vectors<T>) -> [(f64, Vec<T>); 3] {
    let Vectors { n, d, .. } = neurons;
    let mut lengths = vec![0.0; n];
    [0, 1, 2].map(|way| {
        let mut dw = vec![T::from_f64(f64::NAN); n * d];
        let mut k = vec![T::from_f64(f64::NAN); n * if way == 1 { n } else { d }];
        let f = match way {
            0 => Sums(e).forward(neurons, &mut lengths),
            1 => Sums(e).forward_with_coefficients(neurons, &mut lengths, &mut k),
            _ => Sums(e).forward_with_gradient(neurons, &mut lengths, &mut k),
        };
        let kept = [Kept::Nothing, Kept::Coefficients(&k[..]), Kept::Gradient(&k[..])][way];
        Sums(e).backward(kept, neurons, &lengths, T::ONE, &mut dw);
        (f, dw)
    })
}

fn to_f32(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&v| v as f32).collect()
}

#[test]
fn the_sum_is_that_of_its_definition() {
    for (n, d) in [(0, 3), (1, 3), (2, 2), (5, 40), (19, 3), (70, 27)] {
        let w = random(n, d, 1);
        for e in forms() {
            let eps = 0.01;
            let want = definition(e, &w, eps, d);
            let tolerance = 1e-12 * (1.0 + want.abs());
            for (got, _) in gradients(e, Vectors { w: &w, eps, n, d }) {
                assert!((got - want).abs() < tolerance, "{e:?} {n}: {got}, not {want}");
            }
            let narrow = value(e, Vectors { w: &to_f32(&w), eps, n, d });
            assert!((narrow - want).abs() < 1e-4 * (1.0 + want.abs()), "{e:?} {n}: {narrow}, not {want}");
        }
    }
}

#[test]
fn gradients_agree_with_differences() {
    let (n, d, eps) = (23, 5, 0.02);
    let w = random(n, d, 2);
    let v = random(n, d, 3);
    for e in forms() {
        let h = 1e-6;
        let at = |t: f64| {
            let moved: Vec<f64> = w.iter().zip(&v).map(|(w, v)| w + t * v).collect();
            definition(e, &moved, eps, d)
        };
        // Richardson's extrapolation of central differences.
        let central = |h: f64| (at(h) - at(-h)) / (2.0 * h);
        let want = (4.0 * central(h) - central(2.0 * h)) / 3.0;
        for (_, dw) in gradients(e, Vectors { w: &w, eps, n, d }) {
            let got = dw.iter().zip(&v).map(|(g, v)| g * v).sum::<f64>();
            assert!((got - want).abs() < 1e-6 * (1.0 + want.abs()), "{e:?}: {got}, not {want}");
        }
    }
}

#[test]
fn lengths_do_not_matter_however_extreme() {
    // With neurons or with copies as their points, and in single precision too.
    let (n, d) = (9, 4);
    let w = random(n, d, 7);
    for e in forms() {
        let [(f, want), ..] = gradients(e, Vectors { w: &w, eps: 0.0, n, d });
        let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for scale in [1e-250, 1e-70, 1e-5, 1e40, 1e100, 1e250] {
            let scaled: Vec<f64> = w.iter().map(|w| w * scale).collect();
            for (g, dw) in gradients(e, Vectors { w: &scaled, eps: 0.0, n, d }) {
                assert!((g - f).abs() < 1e-12 * f.abs(), "{e:?} at {scale}: {g}, not {f}");
                let same = dw.iter().zip(&want).all(|(a, b)| (a * scale - b).abs() < 1e-11 * size);
                assert!(same, "{e:?} at {scale}: {dw:?}");
            }
        }
        for scale in [1e-30f32, 1e-12, 1e-3, 1e12, 1e30] {
            let scaled: Vec<f32> = w.iter().map(|&w| w as f32 * scale).collect();
            for (g, dw) in gradients(e, Vectors { w: &scaled, eps: 0.0, n, d }) {
                assert!((g - f).abs() < 1e-4 * f.abs(), "{e:?} at {scale}: {g}, not {f}");
                let mut wide = dw.iter().map(|&v| f64::from(v) * f64::from(scale)).zip(&want);
                assert!(wide.all(|(a, b)| (a - b).abs() < 1e-3 * size), "{e:?} at {scale}: {dw:?}");
            }
        }
    }
}

#[test]
fn gradients_of_tiny_neurons_are_scaled_before_they_are_divided() {
    // Before the mean is taken, the gradient overflows f32.
    let (n, d) = (257, 2);
    let w: Vec<f32> = random(n, d, 8).iter().map(|&w| w as f32 * 1e-30).collect();
    let e = PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: true, floor: 1e-12, still: 1e-12 };
    let neurons = Vectors { w: &w, eps: 0.0, n, d };
    let (mut lengths, mut kept, mut dw) = (vec![0.0; n], vec![0.0; n * d], vec![0.0; n * d]);
    Sums(e).forward_with_gradient(neurons, &mut lengths, &mut kept);
    Sums(e).backward(Kept::Gradient(&kept), neurons, &lengths, 1e-5, &mut dw);
    assert!(dw.iter().all(|v| v.is_finite()) && dw.iter().any(|v| v.abs() > 3e33), "{dw:?}");
}

#[test]
fn one_neuron_and_its_antipode() {
    // In half-space E = 2 f(-|u|^2): with s = 2 1 / (1 + q), q = 1 - lack, whose gradient is
    // -2 w lack / (n^2 (1 + q)^2), with lack = eps / n^2; and with angles 2 / (pi - acos q)^s.
    for size in [1.0f64, 10.0, 1e3, 1e5] {
        let (eps, w) = (1e-4f64, [0.6 * size, 0.8 * size]);
        let square = size * size + eps;
        let (lack, q) = (eps / square, size * size / square);
        let chord =
            PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: true, floor: 1e-12, still: 1e-12 };
        let angle = PairEnergy { s: 1.0, angular: true, ..chord };
        let t = std::f64::consts::PI - 2.0 * (lack / (2.0 - lack)).sqrt().atan();
        let sine = (lack * (2.0 - lack)).sqrt();
        for (e, want) in [
            (chord, -2.0 * lack / square / ((1.0 + q) * (1.0 + q))),
            (angle, -4.0 / (t * t * sine) * lack / square),
        ] {
            for (_, dw) in gradients(e, Vectors { w: &w, eps, n: 1, d: 2 }) {
                assert!((dw[1] / (want * w[1]) - 1.0).abs() < 1e-12, "{e:?}: {dw:?}, not {want} w");
            }
            let narrow = [w[0] as f32, w[1] as f32];
            for (_, dw) in gradients(e, Vectors { w: &narrow, eps, n: 1, d: 2 }) {
                assert!((f64::from(dw[1]) / (want * w[1]) - 1.0).abs() < 1e-6, "{e:?}: {dw:?}, not {want} w");
            }
        }
    }
}

#[test]
fn a_neuron_without_length_is_at_rest() {
    let w = [1.0, 0.0, 0.0, 0.0, 0.6, 0.8];
    for e in forms() {
        for (f, dw) in gradients(e, Vectors { w: &w, eps: 0.0, n: 3, d: 2 }) {
            assert!(f.is_finite() && dw.iter().all(|v| v.is_finite()), "{e:?}: {f} {dw:?}");
            assert_eq!(dw[2..4], [0.0; 2], "{e:?}");
        }
    }
}

#[test]
fn small_and_large_angles_keep_their_digits() {
    // Two unit vectors at angle a in a plane: the force along the circle is 2 f'(a), in closed form. Half-space
    // adds the pair at angle pi - a, twice.
    for a in [1e-4, 1e-3, 0.5, 3.0, std::f64::consts::PI - 1e-4] {
        for e in forms() {
            let turn: f64 = 0.3;
            let (x, y) = (turn + a, turn);
            // Of other lengths than 1, which divide the forces.
            let w = [2.0 * x.cos(), 2.0 * x.sin(), 0.5 * y.cos(), 0.5 * y.sin()];
            let slope = |a: f64| {
                let (r, dr) =
                    if e.angular { (a + e.offset, 1.0) } else { (2.0 * (a / 2.0).sin(), (a / 2.0).cos()) };
                if e.s == 0.0 { -dr / r } else { -e.s * r.powf(-e.s - 1.0) * dr }
            };
            let pi = std::f64::consts::PI;
            let want = if e.half_space { 4.0 * (slope(a) - slope(pi - a)) } else { 2.0 * slope(a) };
            let found = gradients(e, Vectors { w: &w, eps: 0.0, n: 2, d: 2 });
            for (_, dw) in &found {
                let got = 2.0 * (-x.sin() * dw[0] + x.cos() * dw[1]);
                assert!((got / want - 1.0).abs() < 1e-10, "{e:?} at {a}: {got}, not {want}");
            }
            let energy = |t: f64| if e.s == 0.0 { -t.ln() } else { t.powf(-e.s) };
            let distance = |a: f64| if e.angular { a + e.offset } else { 2.0 * (a / 2.0).sin() };
            let f = |a: f64| energy(distance(a));
            let want = if e.half_space { 4.0 * (f(a) + f(pi - a) + f(pi)) } else { 2.0 * f(a) };
            for (got, _) in found {
                assert!((got / want - 1.0).abs() < 1e-11, "{e:?} at {a}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn the_pair_function_has_its_derivative() {
    for e in forms() {
        for c in [-0.9f64, -0.1, 0.3, 0.99] {
            let h = 1e-6;
            let difference = (pair(e, c + h).0 - pair(e, c - h).0) / (2.0 * h);
            assert!((pair(e, c).1 / difference - 1.0).abs() < 1e-6, "{e:?} at {c}");
        }
    }
}

#[test]
fn coinciding_points_are_finite_and_at_rest() {
    for e in forms() {
        let (f, df) = pair(e, 1.0);
        let t = if e.angular { e.floor + e.offset } else { e.floor.sqrt() };
        let want = if e.s == 0.0 { -t.ln() } else { t.powf(-e.s) };
        assert!((f / want - 1.0).abs() < 1e-12 && df == 0.0, "{e:?}");
        assert_eq!(pair(e, 1.0 + 1e-15), (f, df), "beyond 1 by rounding");
        assert!(pair(e, -1.0 - 1e-15).0.is_finite() && pair(e, -1.0 - 1e-15).1.is_finite());
        assert!(pair(e, f64::NAN).0.is_nan());
        // Equal and opposite rows, in both types.
        let w: [f64; 8] = [1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.6, 0.8];
        for (f, wide) in gradients(e, Vectors { w: &w, eps: 0.0, n: 4, d: 2 }) {
            assert!(f.is_finite(), "{e:?}");
            assert!(wide.iter().all(|v| v.is_finite() && v.abs() < 1e3), "{e:?} {wide:?}");
        }
        for (f, narrow) in gradients(e, Vectors { w: &to_f32(&w), eps: 0.0, n: 4, d: 2 }) {
            assert!(f.is_finite(), "{e:?}");
            assert!(narrow.iter().all(|v| v.is_finite() && v.abs() < 1e3), "{e:?} {narrow:?}");
        }
    }
}

#[test]
fn optima_have_their_known_energy() {
    // The orthonormal frame: N pairs at distance 2, the others at sqrt 2.
    let n = 7;
    let mut w = vec![0.0; n * n];
    (0..n).for_each(|i| w[i * n + i] = 1.0 + i as f64);
    for s in [1.0, 2.0] {
        let e = PairEnergy { s, angular: false, offset: 0.0, half_space: true, floor: 1e-12, still: 1e-12 };
        let n = n as f64;
        let want = 2.0 * (n * 2f64.powf(-s) + (n * (2.0 * n - 1.0) - n) * 2f64.powf(-s / 2.0));
        assert!((value(e, Vectors { w: &w, eps: 0.0, n: 7, d: 7 }) - want).abs() < 1e-12 * want);
    }
    // The regular simplex: all cosines -1 / (N - 1); here N = 3 in the plane.
    let e = PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: false, floor: 1e-12, still: 1e-12 };
    let h = 3f64.sqrt() / 2.0;
    let simplex = Vectors { w: &[1.0, 0.0, -0.5, h, -0.5, -h], eps: 0.0, n: 3, d: 2 };
    assert!((value(e, simplex) - 6.0 / 3.0).abs() < 1e-14);
}

#[test]
fn blocks_agree_with_one_piece_for_any_number_of_threads() {
    let _turn = THREADS.lock().unwrap_or_else(|e| e.into_inner());
    let (n, d) = (COLS + ROWS + 37, 3);
    let w = random(n, d, 4);
    let neurons = Vectors { w: &w, eps: 0.1, n, d };
    let e = PairEnergy { s: 1.0, angular: false, offset: 0.0, half_space: true, floor: 1e-12, still: 1e-12 };
    let mut want: Option<[(f64, Vec<f64>); 3]> = None;
    for threads in [1, 2, 7] {
        par::set_threads(threads);
        let found = gradients(e, neurons);
        assert!(want.get_or_insert_with(|| found.clone()) == &found, "{threads} threads");
    }
    par::set_threads(2);
    let [(f, dw), whole, at_once] = want.unwrap();
    assert_eq!(whole, at_once);
    assert!((f / whole.0 - 1.0).abs() < 1e-13);
    let largest = dw.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    assert!(dw.iter().zip(&whole.1).all(|(a, b)| (a - b).abs() < 1e-11 * largest));
}

#[test]
fn a_batch_is_one_matrix_after_the_other() {
    let _turn = THREADS.lock().unwrap_or_else(|e| e.into_inner());
    let e = PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: true, floor: 1e-12, still: 1e-12 };
    // Small matrices are distributed to the threads as a whole; each large one is shared by all threads.
    for (batch, n, d) in [(0, 3, 2), (3, 0, 2), (5, 7, 3), (2, 260, 250)] {
        let (w, eps) = (random(batch * n, d, 5), 0.01);
        let all = Vectors { w: &w, eps, n, d };
        let scales: Vec<f64> = (0..batch).map(|b| 1.0 + b as f64).collect();
        let nan = |len: usize| vec![f64::NAN; len];
        let (mut kept, mut lengths) = (nan(batch * n * n), nan(batch * n));
        let mut sums = [nan(batch), nan(batch), nan(batch)];
        let (mut gradients, mut dw) = (nan(w.len()), [nan(w.len()), nan(w.len()), nan(w.len())]);
        Sums(e).forward_batch(all, Some(&mut kept), &mut lengths, &mut sums[0]);
        Sums(e).backward_batch(Kept::Coefficients(&kept), all, &lengths, &scales, &mut dw[0]);
        Sums(e).forward_batch(all, None, &mut lengths, &mut sums[1]);
        Sums(e).backward_batch(Kept::Nothing, all, &lengths, &scales, &mut dw[1]);
        Sums(e).forward_batch_with_gradients(all, &mut gradients, &mut lengths, &mut sums[2]);
        Sums(e).backward_batch(Kept::Gradient(&gradients), all, &lengths, &scales, &mut dw[2]);
        for b in 0..batch {
            let own = Vectors { w: &w[b * n * d..][..n * d], eps, n, d };
            let (mut k, mut g, mut lengths, mut want) = (nan(n * n), nan(n * d), nan(n), nan(n * d));
            let here = b * n * d..(b + 1) * n * d;
            assert_eq!(sums[0][b], Sums(e).forward_with_coefficients(own, &mut lengths, &mut k));
            assert!(kept[b * n * n..][..n * n] == k);
            Sums(e).backward(Kept::Coefficients(&k), own, &lengths, scales[b], &mut want);
            assert!(dw[0][here.clone()] == want);
            assert_eq!(sums[1][b], Sums(e).forward(own, &mut lengths));
            Sums(e).backward(Kept::Nothing, own, &lengths, scales[b], &mut want);
            assert!(dw[1][here.clone()] == want);
            assert_eq!(sums[2][b], Sums(e).forward_with_gradient(own, &mut lengths, &mut g));
            Sums(e).backward(Kept::Gradient(&g), own, &lengths, scales[b], &mut want);
            assert!(dw[2][here] == want);
        }
    }
}

#[test]
fn coefficients_are_symmetric_whatever_their_number() {
    let _turn = THREADS.lock().unwrap_or_else(|e| e.into_inner());
    let e = PairEnergy { s: 0.0, angular: false, offset: 0.0, half_space: false, floor: 1e-12, still: 1e-12 };
    for n in [1, 15, 16, 17, 600] {
        let w = random(n, 2, 6);
        let neurons = Vectors { w: &w, eps: 0.0, n, d: 2 };
        let (mut k, mut lengths) = (vec![f64::NAN; n * n], vec![f64::NAN; n]);
        let sum = Sums(e).forward_with_coefficients(neurons, &mut lengths, &mut k);
        assert!((sum - Sums(e).forward(neurons, &mut lengths)).abs() <= 1e-10 * sum.abs(), "{n}");
        assert!((0..n * n).all(|at| k[at] == k[at % n * n + at / n]), "{n}");
    }
}

/// Two neurons at a small angle and a third across, of length 1.
fn near_rows<T: Element>(angle: f64) -> Vec<T> {
    let w = [[1.0, 0.0, 0.0], [angle.cos(), angle.sin(), 0.0], [0.0, 0.0, 1.0]];
    w.as_flattened().iter().map(|&v| T::from_f64(v)).collect()
}

#[test]
fn near_neurons_keep_their_digits() {
    for (angle, eps) in [(1e-6f64, 0.0f64), (1e-6, 1e-12), (1e-9, 1e-17), (1e-9, 1e-20), (1e-9, 0.0)] {
        let w = near_rows::<f64>(angle);
        let neurons = Vectors { w: &w, eps, n: 3, d: 3 };
        // Closed forms: 2 - 2c = 2 - 2 cos(a) / (1 + eps) for the pair, 2 for the others.
        let x = (4.0 * (0.5 * angle).sin().powi(2) + 2.0 * eps) / (1.0 + eps);
        let form =
            PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: false, floor: 1e-30, still: 1e-30 };
        let want = 2.0 / x + 2.0;
        // Across w_1, dE/dw_1 = 2 f'(c) u_2 / n, with f' = 2 / x^2.
        let slope = 4.0 / (x * x) * angle.sin() / (1.0 + eps);
        for (got, dw) in gradients(form, neurons) {
            assert!((got - want).abs() < 1e-12 * want, "{angle} {eps}: {got} for {want}");
            assert!((dw[1] - slope).abs() < 1e-12 * slope, "{angle} {eps}: {} for {slope}", dw[1]);
        }
        // The angle between the shortened rows: tan(t / 2) = sqrt(x / y).
        let form =
            PairEnergy { s: 1.0, angular: true, offset: 0.0, half_space: true, floor: 1e-30, still: 1e-30 };
        let t = 2.0 * (x / (4.0 - x)).sqrt().atan();
        let antipodes = if eps == 0.0 { 0.0 } else { 2.0 * (eps / (1.0 + eps)).sqrt().asin() };
        let quarter = std::f64::consts::FRAC_PI_2;
        let pi = 2.0 * quarter;
        let want = 4.0 * (1.0 / t + 1.0 / (pi - t) + 4.0 / quarter) + 6.0 / (pi - antipodes);
        for (got, _) in gradients(form, neurons) {
            assert!((got - want).abs() < 1e-12 * want, "{angle} {eps}: {got} for {want}");
        }
    }
    // In single precision they are as accurate as the rows: to e / a. Other lengths elsewhere have no effect on this.
    let w = near_rows::<f32>(1e-3);
    let form =
        PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: false, floor: 1e-30, still: 1e-30 };
    let x = (4.0 * 5e-4f64.sin().powi(2) + 2e-4) / (1.0 + 1e-4);
    for (got, _) in gradients(form, Vectors { w: &w, eps: 1e-4, n: 3, d: 3 }) {
        assert!((got - 2.0 / x - 2.0).abs() < 1e-6 * got, "{got} for {}", 2.0 / x + 2.0);
    }
}

#[test]
fn near_neurons_of_a_batch_for_any_number_of_threads() {
    let _turn = THREADS.lock().unwrap_or_else(|e| e.into_inner());
    let (n, d, batch, eps) = (70, 5, 3, 1e-3);
    let mut w = random(batch * n, d, 9);
    for b in 0..batch {
        // In each matrix two neurons nearly coincide.
        let first = b * n * d;
        w.copy_within(first..first + d, first + 7 * d);
        w[first + 7 * d] += 1e-6;
    }
    let all = Vectors { w: &w, eps, n, d };
    for form in forms() {
        let mut want: Option<(Vec<f64>, Vec<f64>, Vec<f64>)> = None;
        for threads in [1, 2, 7] {
            par::set_threads(threads);
            let (mut sums, mut kept, mut lengths) =
                (vec![0.0; batch], vec![0.0; batch], vec![0.0; batch * n]);
            let (mut k, mut dw) = (vec![0.0; batch * n * n], vec![0.0; w.len()]);
            Sums(form).forward_batch(all, None, &mut lengths, &mut sums);
            Sums(form).forward_batch(all, Some(&mut k), &mut lengths, &mut kept);
            Sums(form).backward_batch(Kept::Nothing, all, &lengths, &[1.0; 3], &mut dw);
            let mut from_k = vec![0.0; w.len()];
            Sums(form).backward_batch(Kept::Coefficients(&k), all, &lengths, &[1.0; 3], &mut from_k);
            for b in 0..batch {
                let alone = value(form, Vectors { w: &w[b * n * d..(b + 1) * n * d], eps, n, d });
                assert_eq!(sums[b], alone);
                assert!((kept[b] - alone).abs() <= 1e-12 * alone.abs());
            }
            let size = dw.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for (a, b) in dw.iter().zip(&from_k) {
                assert!((a - b).abs() <= 1e-10 * size, "{form:?}: {a} {b}");
            }
            let found = (sums, k, dw);
            assert!(want.get_or_insert_with(|| found.clone()) == &found, "{form:?} on {threads} threads");
        }
    }
    par::set_threads(2);
}

#[test]
fn coinciding_rows_have_the_energy_of_the_floor_and_no_gradient() {
    let form =
        PairEnergy { s: 1.0, angular: false, offset: 0.0, half_space: false, floor: 1e-4, still: 1e-4 };
    let u = Tensor::from([[[0.6, 0.8], [0.6, 0.8]]]).requires_grad();
    let e = pair_energy(&u, form, 0.0).0.sum(..);
    assert!((e.item() - 2.0 * 100.0).abs() < 1e-9, "{}", e.item());
    assert_eq!(e.backward()[&u].to_vec::<f64>(), [0.0; 4]);
}

#[test]
fn a_profile_counts_the_products_of_pairs() {
    let form =
        PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: true, floor: 1e-12, still: 1e-12 };
    let w = Tensor::normal([3, 5, 7], DType::F32, autograd::Key::new(1)).requires_grad();
    let profile = autograd::profile(|| pair_energy(&w, form, 0.0).0.sum(..).backward()).1;
    let of =
        |backward| profile.rows.iter().find(|r| r.op == "pair_energy" && r.backward == backward).unwrap();
    assert_eq!([false, true].map(|backward| of(backward).flops), [3 * 10 * 2 * 7; 2]);
}

#[test]
#[should_panic(expected = "pair_energy: expected neurons of shape [B, N, d], found [2, 3]")]
fn neurons_come_in_batches() {
    let form =
        PairEnergy { s: 1.0, angular: false, offset: 0.0, half_space: false, floor: 1e-4, still: 1e-4 };
    let _ = pair_energy(&Tensor::zeros([2, 3], DType::F64), form, 0.0);
}
