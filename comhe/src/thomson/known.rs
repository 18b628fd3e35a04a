//! Known least energies.
//!
//! - N <= d + 1 points: the regular simplex, for every s, with mean energy (2N / (N - 1))^(-s/2). In half-space,
//!   N <= d: the orthonormal frame.
//! - Universally optimal configurations, for every s >= 0 (Cohn and Kumar, J. Amer. Math. Soc. 20, 2007): regular
//!   polygons (d = 2), cross-polytopes (N = 2d) and the icosahedron (N = 12, d = 3), of which those that hold each
//!   point's antipode are optimal in half-space, too.
//! - On the sphere of R^3 with s = 1, Thomson's problem: the least known energies (Thomson 1904; Wales and Ulker, Phys.
//!   Rev. B 74, 2006). They are proven for N = 2..6 and 12 only.

use std::f64::consts::PI;

/// Thomson's energies, sums over unordered pairs: N and E.
pub const THOMSON: [(usize, f64); 13] = [
    (2, 0.5),
    (3, 1.732050808),
    (4, 3.674234614),
    (5, 6.474691495),
    (6, 9.985281374),
    (7, 14.452977414),
    (8, 19.675287861),
    (9, 25.759986531),
    (10, 32.716949460),
    (11, 40.596450510),
    (12, 49.165253058),
    (24, 223.347074052),
    (32, 412.261274651),
];

/// The least mean energy (chords, eps = 0) of `n` points on the unit sphere of R^`d`, or in half-space of the 2n
/// points {u, -u}, if it is known. No pair: 0.
///
/// ```
/// // Four points in space: the regular tetrahedron.
/// let least = comhe::thomson::least_energy(4, 3, 2.0, false).unwrap();
/// assert!((least - 3.0 / 8.0).abs() < 1e-15);
/// ```
pub fn least_energy(n: usize, d: usize, s: f64, half_space: bool) -> Option<f64> {
    let points = if half_space { 2 * n } else { n };
    if points < 2 {
        return Some(0.0);
    }
    if d == 2 {
        let squares = (1..points).map(|k| (1.0, (2.0 * (PI * k as f64 / points as f64).sin()).powi(2)));
        return Some(mean(s, squares));
    }
    let icosahedron = || {
        let cosine = 0.2f64.sqrt();
        mean(s, [(5.0, 2.0 - 2.0 * cosine), (5.0, 2.0 + 2.0 * cosine), (1.0, 4.0)])
    };
    // From each point of a frame or cross-polytope: its antipode, and all others at right angles.
    let cross = || mean(s, [(1.0, 4.0), ((points - 2) as f64, 2.0)]);
    match (half_space, n) {
        (false, n) if n <= d + 1 => Some(mean(s, [(1.0, 2.0 * n as f64 / (n - 1) as f64)])),
        (false, n) if n == 2 * d => Some(cross()),
        (true, n) if n <= d => Some(cross()),
        (false, 12) | (true, 6) if d == 3 => Some(icosahedron()),
        (false, n) if d == 3 && s == 1.0 => {
            let (_, sum) = THOMSON.iter().find(|(known, _)| *known == n)?;
            Some(sum / (n * (n - 1) / 2) as f64)
        }
        _ => None,
    }
}

/// The mean of r^-s, or of log(1/r) for s = 0, over weighted squared distances.
fn mean(s: f64, squares: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let f = |square: f64| if s == 0.0 { -0.5 * square.ln() } else { square.powf(-0.5 * s) };
    let (sum, weight) =
        squares.into_iter().fold((0.0, 0.0), |(sum, weight), (w, square)| (sum + w * f(square), weight + w));
    sum / weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_meet_where_they_overlap() {
        let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 3e-10, "{a} {b}");
        let pairs = |n: usize| (n * (n - 1) / 2) as f64;
        // The octahedron and the icosahedron are Thomson's solutions for N = 6 and 12, simplices those up to 4.
        for (n, energy) in THOMSON.iter().filter(|(n, _)| [2, 3, 4, 6, 12].contains(n)) {
            near(least_energy(*n, 3, 1.0, false).unwrap() * pairs(*n), *energy);
        }
        for s in [0.0, 1.0, 2.5] {
            // In the plane simplex and cross-polytope are polygons, and half-space is the polygon of twice the points.
            near(least_energy(3, 2, s, false).unwrap(), mean(s, [(1.0, 3.0)]));
            near(least_energy(2, 2, s, true).unwrap(), mean(s, [(1.0, 4.0), (2.0, 2.0)]));
            near(least_energy(2, 5, s, false).unwrap(), mean(s, [(1.0, 4.0)]));
            // The frame in half-space is the cross-polytope in full space.
            near(least_energy(4, 4, s, true).unwrap(), least_energy(8, 4, s, false).unwrap());
            // The formula of the specification of the frame.
            let (n, f) = (4.0, |r: f64| if s == 0.0 { -r.ln() } else { r.powf(-s) });
            let frame = (n * f(2.0) + (n * (2.0 * n - 1.0) - n) * f(2f64.sqrt())) / (n * (2.0 * n - 1.0));
            near(least_energy(4, 6, s, true).unwrap(), frame);
        }
        assert_eq!(least_energy(1, 3, 1.0, false), Some(0.0));
        assert_eq!(least_energy(1, 3, 1.0, true), Some(0.5));
        assert_eq!(least_energy(7, 3, 2.0, false), None);
        assert_eq!(least_energy(4, 3, 1.0, true), None);
    }
}
