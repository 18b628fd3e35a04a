//! Sums of a polynomial of cosines against their definition. Energies, which are steep, are tested where they are defined.

use super::*;
use crate::random::Key;
use crate::real::Arithmetic;

/// f(c) = (1 + c)^2.
#[derive(Clone, Copy, Debug)]
struct Square {
    antipodes: bool,
}

impl CosineFunction for Square {
    fn antipodes(&self) -> bool {
        self.antipodes
    }
    fn two_ended(&self) -> bool {
        false
    }
    fn steepest(&self) -> f64 {
        4.0
    }
    fn at_chords(&self, _: f64, y: f64) -> (f64, f64) {
        // y = 2 + 2c
        (0.25 * y * y, y)
    }
    #[inline(always)]
    fn specialise<V: Visitor>(&self, _: f64, visitor: V) -> V::Output {
        visitor.visit(*self)
    }
}

impl Specialised for Square {
    #[inline(always)]
    fn at<T: Element, A: Arithmetic>(&self, c: T) -> (T, T) {
        let two = T::from_f64(2.0);
        if self.antipodes {
            // (1 + c)^2 + (1 - c)^2
            return (two + two * c * c, two * two * c);
        }
        ((T::ONE + c) * (T::ONE + c), two * (T::ONE + c))
    }
}

/// The directions u = w / n and the lengths n = sqrt(|w|^2 + eps).
fn directions(w: &[f64], eps: f64, d: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let length = |row: &[f64]| (row.iter().map(|v| v * v).sum::<f64>() + eps).sqrt();
    w.chunks(d).map(|row| (row.iter().map(|v| v / length(row)).collect::<Vec<f64>>(), length(row))).unzip()
}

fn cosine(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p * q).sum()
}

/// The sum over ordered pairs of the points u, and of -u with antipodes.
fn definition(f: Square, w: &[f64], eps: f64, d: usize) -> f64 {
    let mut points = directions(w, eps, d).0;
    if f.antipodes {
        points.extend(points.clone().into_iter().map(|p| p.iter().map(|v| -v).collect()));
    }
    let mut sum = 0.0;
    for (i, p) in points.iter().enumerate() {
        sum += points[..i].iter().map(|q| 2.0 * (1.0 + cosine(p, q)).powi(2)).sum::<f64>();
    }
    sum
}

/// Its gradient: dE/du_i = sum over j of 4 (1 + c_ij) u_j, and with antipodes of 16 c_ij u_j, less 8 (1 - |u_i|^2) u_i;
/// dE/dw = (dE/du - u (u . dE/du)) / n.
fn gradient(f: Square, w: &[f64], eps: f64, d: usize) -> Vec<f64> {
    let (u, lengths) = directions(w, eps, d);
    let row = |i: usize| {
        let mut du = vec![0.0; d];
        for (j, other) in u.iter().enumerate() {
            let c = cosine(&u[i], other);
            let slope = match (i == j, f.antipodes) {
                (false, false) => 4.0 * (1.0 + c),
                (false, true) => 16.0 * c,
                (true, false) => 0.0,
                (true, true) => -8.0 * (1.0 - c),
            };
            du.iter_mut().zip(other).for_each(|(du, v)| *du += slope * v);
        }
        let along = cosine(&u[i], &du);
        (0..d).map(|k| (du[k] - u[i][k] * along) / lengths[i]).collect::<Vec<f64>>()
    };
    (0..u.len()).flat_map(row).collect()
}

#[test]
fn sums_and_gradients_are_those_of_the_definition() {
    for (n, d) in [(0, 3), (1, 3), (2, 2), (19, 3), (70, 27)] {
        let mut w = vec![0.0; n * d];
        Key::new(1).fill_normal(&mut w);
        if n > 4 {
            // Two rows coincide and two are opposite.
            w.copy_within(0..d, 2 * d);
            (0..d).for_each(|k| w[3 * d + k] = -2.0 * w[k]);
        }
        let eps = 0.02;
        for f in [Square { antipodes: false }, Square { antipodes: true }] {
            let want = definition(f, &w, eps, d);
            let vectors = Vectors { w: &w[..], eps, n, d };
            let (mut lengths, mut k, mut dw) =
                (vec![0.0; n], vec![f64::NAN; n * n], [vec![f64::NAN; n * d], vec![f64::NAN; n * d]]);
            let sums = [
                Sums(f).forward(vectors, &mut lengths),
                Sums(f).forward_with_coefficients(vectors, &mut lengths, &mut k),
            ];
            for sum in sums {
                assert!((sum - want).abs() <= 1e-13 * want, "{f:?} {n} x {d}: {sum}, not {want}");
            }
            Sums(f).backward(Kept::Nothing, vectors, &lengths, 1.0, &mut dw[0]);
            Sums(f).backward(Kept::Coefficients(&k), vectors, &lengths, 1.0, &mut dw[1]);
            let exact = gradient(f, &w, eps, d);
            let size = exact.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
            for dw in &dw {
                let close = dw.iter().zip(&exact).all(|(a, b)| (a - b).abs() <= 1e-12 * size);
                assert!(close, "{f:?} {n} x {d}: {dw:?}, not {exact:?}");
            }
        }
    }
}
