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

/// The sum over ordered pairs of points u = w / sqrt(|w|^2 + eps), and of -u with antipodes.
fn definition(f: Square, w: &[f64], eps: f64, d: usize) -> f64 {
    let unit = |row: &[f64]| -> Vec<f64> {
        let length = (row.iter().map(|v| v * v).sum::<f64>() + eps).sqrt();
        row.iter().map(|v| v / length).collect()
    };
    let mut points: Vec<Vec<f64>> = w.chunks(d).map(unit).collect();
    if f.antipodes {
        points.extend(points.clone().into_iter().map(|p| p.iter().map(|v| -v).collect()));
    }
    let cosine = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(p, q)| p * q).sum::<f64>();
    let pair = |i: usize, j: usize| if i == j { 0.0 } else { (1.0 + cosine(&points[i], &points[j])).powi(2) };
    (0..points.len()).flat_map(|i| (0..points.len()).map(move |j| (i, j))).map(|(i, j)| pair(i, j)).sum()
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
            for at in (0..n * d).step_by(7) {
                let moved = |by: f64| {
                    let mut w = w.clone();
                    w[at] += by;
                    definition(f, &w, eps, d)
                };
                // Richardson's extrapolation of central differences.
                let central = |h: f64| (moved(h) - moved(-h)) / (2.0 * h);
                let difference = (4.0 * central(3e-4) - central(6e-4)) / 3.0;
                for dw in &dw {
                    let error = (dw[at] - difference).abs();
                    assert!(
                        error <= 1e-7 * (1.0 + difference.abs()),
                        "{f:?} {n} x {d}: {} for {difference}",
                        dw[at]
                    );
                }
            }
        }
    }
}
