//! Energies against sums over explicit points, gradients against differences and closed forms.

use super::*;
use crate::random::Key;

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

/// Random rows of length a little below 1, as an epsilon in the norm leaves them.
fn directions(n: usize, d: usize, seed: u64) -> Vec<f64> {
    let mut u = vec![0.0; n * d];
    Key::new(seed).fill_normal(&mut u);
    for row in u.chunks_mut(d) {
        let norm = (row.iter().map(|v| v * v).sum::<f64>() * 1.01).sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    }
    u
}

/// The energy by its definition: all ordered pairs of all points.
fn definition(e: &PairEnergy, u: &[f64], d: usize) -> f64 {
    let mut points: Vec<Vec<f64>> = u.chunks(d).map(<[f64]>::to_vec).collect();
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

fn to_f32(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&v| v as f32).collect()
}

#[test]
fn the_sum_is_that_of_its_definition() {
    for (n, d) in [(0, 3), (1, 3), (2, 2), (5, 40), (19, 3), (70, 27)] {
        let u = directions(n, d, 1);
        for e in forms() {
            let want = definition(&e, &u, d);
            let tolerance = 1e-12 * (1.0 + want.abs());
            let mut slopes = vec![f64::NAN; n * n];
            assert!((e.forward(Points::new(&u, n, d)) - want).abs() < tolerance, "{e:?} {n}");
            assert!(
                (e.forward_with_slopes(Points::new(&u, n, d), &mut slopes) - want).abs() < tolerance,
                "{e:?} {n}"
            );
            let narrow = e.forward(Points::new(&to_f32(&u), n, d));
            assert!((narrow - want).abs() < 1e-4 * (1.0 + want.abs()), "{e:?} {n}: {narrow}, not {want}");
        }
    }
}

#[test]
fn gradients_agree_with_differences() {
    let (n, d) = (23, 5);
    let u = directions(n, d, 2);
    let v = directions(n, d, 3);
    for e in forms() {
        let h = 1e-6;
        let at = |t: f64| {
            let moved: Vec<f64> = u.iter().zip(&v).map(|(u, v)| u + t * v).collect();
            definition(&e, &moved, d)
        };
        // Richardson's extrapolation of central differences.
        let central = |h: f64| (at(h) - at(-h)) / (2.0 * h);
        let want = (4.0 * central(h) - central(2.0 * h)) / 3.0;
        let (mut du, mut kept) = (vec![f64::NAN; n * d], vec![f64::NAN; n * d]);
        e.backward(Points::new(&u, n, d), 0.5, &mut du);
        let mut slopes = vec![f64::NAN; n * n];
        e.forward_with_slopes(Points::new(&u, n, d), &mut slopes);
        e.backward_from_slopes(&slopes, Points::new(&u, n, d), 0.5, &mut kept);
        for du in [du, kept] {
            let got = 2.0 * du.iter().zip(&v).map(|(g, v)| g * v).sum::<f64>();
            assert!((got - want).abs() < 1e-6 * (1.0 + want.abs()), "{e:?}: {got}, not {want}");
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
            let u = [x.cos(), x.sin(), y.cos(), y.sin()];
            let slope = |a: f64| {
                let (r, dr) =
                    if e.angular { (a + e.offset, 1.0) } else { (2.0 * (a / 2.0).sin(), (a / 2.0).cos()) };
                if e.s == 0.0 { -dr / r } else { -e.s * r.powf(-e.s - 1.0) * dr }
            };
            let pi = std::f64::consts::PI;
            let want = if e.half_space { 4.0 * (slope(a) - slope(pi - a)) } else { 2.0 * slope(a) };
            let mut du = [f64::NAN; 4];
            e.backward(Points::new(&u, 2, 2), 1.0, &mut du);
            let got = -x.sin() * du[0] + x.cos() * du[1];
            assert!((got / want - 1.0).abs() < 1e-10, "{e:?} at {a}: {got}, not {want}");
            let energy = |t: f64| if e.s == 0.0 { -t.ln() } else { t.powf(-e.s) };
            let distance = |a: f64| if e.angular { a + e.offset } else { 2.0 * (a / 2.0).sin() };
            let f = |a: f64| energy(distance(a));
            let want = if e.half_space { 4.0 * (f(a) + f(pi - a) + f(pi)) } else { 2.0 * f(a) };
            let got = e.forward(Points::new(&u, 2, 2));
            assert!((got / want - 1.0).abs() < 1e-11, "{e:?} at {a}: {got}, not {want}");
        }
    }
}

#[test]
fn the_pair_function_has_its_derivative() {
    for e in forms() {
        for c in [-0.9f64, -0.1, 0.3, 0.99] {
            let h = 1e-6;
            let difference = (e.pair(c + h).0 - e.pair(c - h).0) / (2.0 * h);
            assert!((e.pair(c).1 / difference - 1.0).abs() < 1e-6, "{e:?} at {c}");
        }
    }
}

#[test]
fn coinciding_points_are_finite_and_at_rest() {
    for e in forms() {
        let (f, df) = e.pair(1.0);
        let t = if e.angular { e.floor + e.offset } else { e.floor.sqrt() };
        let want = if e.s == 0.0 { -t.ln() } else { t.powf(-e.s) };
        assert!((f / want - 1.0).abs() < 1e-12 && df == 0.0, "{e:?}");
        assert_eq!(e.pair(1.0 + 1e-15), (f, df), "beyond 1 by rounding");
        assert!(e.pair(-1.0 - 1e-15).0.is_finite() && e.pair(-1.0 - 1e-15).1.is_finite());
        assert!(e.pair(f64::NAN).0.is_nan());
        // Equal and opposite rows, in both types.
        let u = [1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.6, 0.8];
        let (mut wide, mut narrow) = ([f64::NAN; 8], [f32::NAN; 8]);
        e.backward(Points::new(&u, 4, 2), 1.0, &mut wide);
        e.backward(Points::new(&to_f32(&u), 4, 2), 1.0, &mut narrow);
        assert!(wide.iter().all(|v| v.is_finite() && v.abs() < 1e3), "{e:?} {wide:?}");
        assert!(narrow.iter().all(|v| v.is_finite() && v.abs() < 1e3), "{e:?} {narrow:?}");
        assert!(e.forward(Points::new(&u, 4, 2)).is_finite());
    }
}

#[test]
fn optima_have_their_known_energy() {
    // The orthonormal frame: N pairs at distance 2, the others at sqrt 2.
    let n = 7;
    let mut u = vec![0.0; n * n];
    (0..n).for_each(|i| u[i * n + i] = 1.0);
    for s in [1.0, 2.0] {
        let e = PairEnergy { s, angular: false, offset: 0.0, half_space: true, floor: 1e-12, still: 1e-12 };
        let n = n as f64;
        let want = 2.0 * (n * 2f64.powf(-s) + (n * (2.0 * n - 1.0) - n) * 2f64.powf(-s / 2.0));
        assert!((e.forward(Points::new(&u, 7, 7)) - want).abs() < 1e-12 * want);
    }
    // The regular simplex: all cosines -1 / (N - 1); here N = 3 in the plane.
    let e = PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: false, floor: 1e-12, still: 1e-12 };
    let h = 3f64.sqrt() / 2.0;
    assert!((e.forward(Points::new(&[1.0, 0.0, -0.5, h, -0.5, -h], 3, 2)) - 6.0 / 3.0).abs() < 1e-14);
}

#[test]
fn blocks_agree_with_one_piece_for_any_number_of_threads() {
    let _turn = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let (n, d) = (COLS + ROWS + 37, 3);
    let u = directions(n, d, 4);
    let e = PairEnergy { s: 1.0, angular: false, offset: 0.0, half_space: true, floor: 1e-12, still: 1e-12 };
    let mut slopes = vec![0.0; n * n];
    let want = e.forward_with_slopes(Points::new(&u, n, d), &mut slopes);
    let mut want_du = vec![0.0; n * d];
    e.backward_from_slopes(&slopes, Points::new(&u, n, d), 1.0, &mut want_du);
    let run = |threads| {
        par::set_threads(threads);
        let mut du = vec![f64::NAN; n * d];
        e.backward(Points::new(&u, n, d), 1.0, &mut du);
        (e.forward(Points::new(&u, n, d)), du)
    };
    let one = run(1);
    assert!((one.0 / want - 1.0).abs() < 1e-13);
    let largest = want_du.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    assert!(one.1.iter().zip(&want_du).all(|(a, b)| (a - b).abs() < 1e-11 * largest));
    assert!(one == run(2) && one == run(7));
}

#[test]
fn a_batch_is_one_matrix_after_the_other() {
    let _turn = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let e = PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: true, floor: 1e-12, still: 1e-12 };
    // Small matrices are shared out whole, large ones each among all threads.
    for (batch, n, d) in [(0, 3, 2), (3, 0, 2), (5, 7, 3), (2, 260, 250)] {
        let u = directions(batch * n, d, 5);
        let scales: Vec<f64> = (0..batch).map(|b| 1.0 + b as f64).collect();
        let (mut kept, mut sums) =
            (vec![f64::NAN; batch * n * n], [vec![f64::NAN; batch], vec![f64::NAN; batch]]);
        e.forward_batch(Points::new(&u, n, d), Some(&mut kept), &mut sums[0]);
        e.forward_batch(Points::new(&u, n, d), None, &mut sums[1]);
        let mut du = [vec![f64::NAN; u.len()], vec![f64::NAN; u.len()]];
        e.backward_batch(Some(&kept), Points::new(&u, n, d), &scales, &mut du[0]);
        e.backward_batch(None, Points::new(&u, n, d), &scales, &mut du[1]);
        let (mut gradients, mut own_sums) = (vec![f64::NAN; u.len()], vec![f64::NAN; batch]);
        e.forward_batch_with_gradients(Points::new(&u, n, d), &mut gradients, &mut own_sums);
        assert_eq!(own_sums, sums[0]);
        for b in 0..batch {
            let own = &u[b * n * d..][..n * d];
            let (mut slopes, mut want) = (vec![f64::NAN; n * n], vec![f64::NAN; n * d]);
            assert_eq!(sums[0][b], e.forward_with_slopes(Points::new(own, n, d), &mut slopes));
            assert_eq!(sums[1][b], e.forward(Points::new(own, n, d)));
            assert!(kept[b * n * n..][..n * n] == slopes);
            // A scale is applied to the finished sums: the same numbers, up to its own rounding.
            e.backward_from_slopes(&slopes, Points::new(own, n, d), 1.0, &mut want);
            assert!(gradients[b * n * d..][..n * d] == want);
            e.backward_from_slopes(&slopes, Points::new(own, n, d), scales[b], &mut want);
            assert!(du[0][b * n * d..][..n * d] == want);
            e.backward(Points::new(own, n, d), scales[b], &mut want);
            assert!(du[1][b * n * d..][..n * d] == want);
        }
    }
}

#[test]
fn kept_slopes_are_symmetric_whatever_their_number() {
    let _turn = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let e = PairEnergy { s: 0.0, angular: false, offset: 0.0, half_space: false, floor: 1e-12, still: 1e-12 };
    for n in [1, 15, 16, 17, 600] {
        let u = directions(n, 2, 6);
        let mut slopes = vec![f64::NAN; n * n];
        let sum = e.forward_with_slopes(Points::new(&u, n, 2), &mut slopes);
        assert!((sum - e.forward(Points::new(&u, n, 2))).abs() <= 1e-10 * sum.abs(), "{n}");
        assert!((0..n * n).all(|at| slopes[at] == slopes[at % n * n + at / n]), "{n}");
    }
}

/// Two rows at a small angle and a third across, all w / sqrt(1 + eps) of rows of length 1: the rows, what they lack.
fn near_rows<T: Element>(angle: f64, eps: f64) -> (Vec<T>, Vec<T>) {
    let w = [[1.0, 0.0, 0.0], [angle.cos(), angle.sin(), 0.0], [0.0, 0.0, 1.0]];
    let u = w.as_flattened().iter().map(|v| T::from_f64(v / (1.0 + eps).sqrt()));
    (u.collect(), vec![T::from_f64(eps / (1.0 + eps)); 3])
}

#[test]
fn near_rows_told_what_they_lack_keep_their_digits() {
    for (angle, eps) in [(1e-6f64, 0.0f64), (1e-6, 1e-12), (1e-9, 1e-17), (1e-9, 1e-20), (1e-9, 0.0)] {
        let (u, lack) = near_rows::<f64>(angle, eps);
        let points = Points { u: &u, lack: Some(&lack), n: 3, d: 3 };
        // Closed forms: 2 - 2c = 2 - 2 cos(a) / (1 + eps) for the pair, 2 for the others.
        let x = (4.0 * (0.5 * angle).sin().powi(2) + 2.0 * eps) / (1.0 + eps);
        let form =
            PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: false, floor: 1e-30, still: 1e-30 };
        let want = 2.0 / x + 2.0;
        let got = form.forward(points);
        assert!((got - want).abs() < 1e-12 * want, "{angle} {eps}: {got} for {want}");
        // dE/du_1 = 2 sum over j of f'(c) u_j, with f' = 2 / x^2.
        let mut du = [0.0; 9];
        form.backward(points, 1.0, &mut du);
        let want = 4.0 / (x * x) * u[3];
        assert!((du[0] - want).abs() < 1e-12 * want, "{angle} {eps}: {} for {want}", du[0]);
        // The angle between the shortened rows: tan(t / 2) = sqrt(x / y).
        let form =
            PairEnergy { s: 1.0, angular: true, offset: 0.0, half_space: true, floor: 1e-30, still: 1e-30 };
        let t = 2.0 * (x / (4.0 - x)).sqrt().atan();
        let antipodes = if eps == 0.0 { 0.0 } else { 2.0 * (eps / (1.0 + eps)).sqrt().asin() };
        let quarter = std::f64::consts::FRAC_PI_2;
        let pi = 2.0 * quarter;
        let want = 4.0 * (1.0 / t + 1.0 / (pi - t) + 4.0 / quarter) + 6.0 / (pi - antipodes);
        let got = form.forward(points);
        assert!((got - want).abs() < 1e-12 * want, "{angle} {eps}: {got} for {want}");
    }
    // Single precision knows them as well as the rows do: to e / a.
    let (u, lack) = near_rows::<f32>(1e-3, 1e-4);
    let form =
        PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: false, floor: 1e-30, still: 1e-30 };
    let x = (4.0 * 5e-4f64.sin().powi(2) + 2e-4) / (1.0 + 1e-4);
    let got = form.forward(Points { u: &u, lack: Some(&lack), n: 3, d: 3 });
    assert!((got - 2.0 / x - 2.0).abs() < 1e-6 * got, "{got} for {}", 2.0 / x + 2.0);
}

#[test]
fn what_rows_lack_belongs_to_their_matrix_for_any_number_of_threads() {
    let _turn = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let (n, d, batch) = (70, 5, 3);
    let mut u = directions(batch * n, d, 9);
    for b in 0..batch {
        // In each matrix two rows nearly coincide.
        let first = b * n * d;
        u.copy_within(first..first + d, first + 7 * d);
        u[first + 7 * d] += 1e-6;
    }
    let lack: Vec<f64> = (0..batch * n).map(|i| 1e-3 / (1.0 + i as f64)).collect();
    let all = Points { u: &u, lack: Some(&lack), n, d };
    for form in forms() {
        let mut want: Option<(Vec<f64>, Vec<f64>, Vec<f64>)> = None;
        for threads in [1, 2, 7] {
            crate::par::set_threads(threads);
            let (mut sums, mut kept) = (vec![0.0; batch], vec![0.0; batch]);
            let (mut slopes, mut du) = (vec![0.0; batch * n * n], vec![0.0; u.len()]);
            form.forward_batch(all, None, &mut sums);
            form.forward_batch(all, Some(&mut slopes), &mut kept);
            form.backward_batch(None, all, &[1.0; 3], &mut du);
            let mut from_slopes = vec![0.0; u.len()];
            form.backward_batch(Some(&slopes), all, &[1.0; 3], &mut from_slopes);
            for b in 0..batch {
                let (u, lack) = (&u[b * n * d..(b + 1) * n * d], &lack[b * n..(b + 1) * n]);
                let alone = form.forward(Points { u, lack: Some(lack), n, d });
                assert_eq!(sums[b], alone);
                assert!((kept[b] - alone).abs() <= 1e-12 * alone.abs());
            }
            let size = du.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for (a, b) in du.iter().zip(&from_slopes) {
                assert!((a - b).abs() <= 1e-10 * size, "{form:?}: {a} {b}");
            }
            let found = (sums, slopes, du);
            assert!(want.get_or_insert_with(|| found.clone()) == &found, "{form:?} on {threads} threads");
        }
    }
    crate::par::set_threads(2);
}
