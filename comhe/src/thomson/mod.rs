//! Thomson's problem: N points on the unit sphere of R^d with the least energy.
//!
//! Energy and gradient are those of [`Energy`] with eps = 0, minimised from random starts by L-BFGS on the sphere
//! (`lbfgs.rs`). Each start ends in a local minimum; the result is the lowest one, and their number measures how rugged
//! the energy is. Known optima are in `known.rs`.
//!
//! J. J. Thomson, On the structure of the atom, Phil. Mag. 7, 1904; Smale's seventh problem.

mod known;
mod lbfgs;

pub use known::{THOMSON, least_energy};

use autograd::{DType, Key, Tensor};

use crate::angle::smallest_angle;
use crate::energy::{Energy, Reduce};
use crate::error::Error;

/// Minima whose energies differ by less than this, relative to the energy (or N, if it is more), are one.
pub const SAME: f64 = 1e-9;
/// The largest gradient of a minimum, relative to the energy per point.
const TOLERANCE: f64 = 1e-11;
/// Above this gradient the minimisation has not converged. Energies are accurate to the square of the gradient.
const CONVERGED: f64 = 1e-7;
/// Steps of a minimisation.
const STEPS: usize = 5000;

/// The problem: the number of points, the dimension, the energy and the number of starts.
///
/// ```
/// use comhe::thomson::Thomson;
///
/// let found = Thomson { points: 5, restarts: 3, ..Thomson::default() }.solve()?;
/// assert!((found.energy - 6.474691495).abs() < 1e-8); // the triangular bipyramid
/// # Ok::<(), comhe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thomson {
    /// The points N, at least 1.
    pub points: usize,
    /// The dimension d of the space around the sphere, at least 2.
    pub dim: usize,
    /// The Riesz exponent s >= 0; 0 stands for the logarithm.
    pub s: f64,
    /// The 2N points {u, -u} instead of the N points u.
    pub half_space: bool,
    /// The seed of the random starts.
    pub seed: u64,
    /// The starts, at least 1.
    pub restarts: usize,
}

impl Default for Thomson {
    /// Twelve charges on the sphere of R^3, ten starts.
    fn default() -> Thomson {
        Thomson { points: 12, dim: 3, s: 1.0, half_space: false, seed: 0, restarts: 10 }
    }
}

/// A local minimum, by its energy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalMinimum {
    /// The energy, a sum over unordered pairs.
    pub energy: f64,
    /// The number of starts that ended in it.
    pub starts: usize,
}

/// The solution.
#[derive(Clone, Debug)]
pub struct Solution {
    /// The best points, N x d, of length 1.
    pub points: Tensor,
    /// Their energy, a sum over unordered pairs (in half-space of 2N points).
    pub energy: f64,
    /// Their mean energy over pairs.
    pub mean_energy: f64,
    /// The least energy, if it is known: a sum over unordered pairs.
    pub known: Option<f64>,
    /// The smallest angle between two points in radians (in half-space of 2N points); `None` for one point.
    pub min_angle: Option<f64>,
    /// The minima that were reached, lowest first; minima with the same energy up to [`SAME`] count as one.
    pub minima: Vec<LocalMinimum>,
    /// Starts that had not converged to a minimum when their steps were done; they are not among the minima.
    pub unconverged: usize,
}

impl Thomson {
    /// Checks that all options are in range.
    ///
    /// # Errors
    /// If there is no point, no start, d < 2, or s is negative, NaN or infinite.
    pub fn check(&self) -> Result<(), Error> {
        let least = [("points", self.points, 1), ("dim", self.dim, 2), ("restarts", self.restarts, 1)];
        for (name, value, least) in least {
            if value < least {
                return Err(Error::option(format!("{name} = {value}: it must be at least {least}")));
            }
        }
        self.energy().check()
    }

    /// The energy that is minimised: sums over ordered pairs.
    fn energy(&self) -> Energy {
        Energy { s: self.s, half_space: self.half_space, reduce: Reduce::Sum, eps: 0.0, ..Energy::default() }
    }

    /// Start number `i`: uniformly distributed points, up to their lengths.
    pub fn start(&self, i: u64) -> Tensor {
        let key = Key::new(self.seed).stream("thomson").step(i);
        Tensor::normal([self.points, self.dim], DType::F64, key)
    }

    /// The points with the least energy of all starts.
    ///
    /// # Errors
    /// As [`Thomson::check`].
    pub fn solve(&self) -> Result<Solution, Error> {
        self.check()?;
        let (energy, shape) = (self.energy(), [self.points, self.dim]);
        let f = |x: &[f64]| {
            let w = Tensor::new(x, shape).requires_grad();
            let e = energy.of(&w)? * 0.5;
            let value = e.item();
            Ok((value, e.backward()[&w].to_vec::<f64>()))
        };
        let mut best: Option<lbfgs::Minimum> = None;
        let (mut energies, mut unconverged) = (Vec::new(), 0);
        for i in 0..self.restarts as u64 {
            let found = lbfgs::minimise(f, self.start(i).to_vec(), self.dim, STEPS, TOLERANCE)?;
            if found.residual <= CONVERGED {
                energies.push(found.value);
            } else {
                unconverged += 1;
            }
            if best.as_ref().is_none_or(|best| found.value < best.value) {
                best = Some(found);
            }
        }
        let best = best.expect("there is a start");
        let points = Tensor::new(&best.x, shape);
        let pairs = energy.pairs(self.points) as f64 / 2.0;
        let known = least_energy(self.points, self.dim, self.s, self.half_space);
        let all = if self.half_space { Tensor::concat(&[&points, &(-&points)], 0) } else { points.clone() };
        Ok(Solution {
            energy: best.value,
            mean_energy: best.value / pairs.max(1.0),
            known: known.map(|mean| mean * pairs),
            min_angle: smallest_angle(&all)?,
            minima: distinct(energies, self.points),
            unconverged,
            points,
        })
    }
}

/// Energies in order, equal ones together.
fn distinct(mut energies: Vec<f64>, n: usize) -> Vec<LocalMinimum> {
    energies.sort_by(f64::total_cmp);
    let mut minima: Vec<LocalMinimum> = Vec::new();
    for energy in energies {
        match minima.last_mut() {
            Some(last) if energy - last.energy <= SAME * energy.abs().max(n as f64) => last.starts += 1,
            _ => minima.push(LocalMinimum { energy, starts: 1 }),
        }
    }
    minima
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: &Solution, what: &str) {
        let known = found.known.unwrap_or_else(|| panic!("{what}: no optimum is known"));
        let error = (found.energy - known).abs() / known.abs().max(1e-3);
        assert!(error < 1e-8, "{what}: {} is not {known}", found.energy);
        assert_eq!(found.unconverged, 0, "{what}");
    }

    #[test]
    fn thomson_energies_on_the_sphere() {
        for (points, energy) in THOMSON {
            let found = Thomson { points, ..Thomson::default() }.solve().unwrap();
            near(&found, &format!("N = {points}"));
            assert!((found.energy / energy - 1.0).abs() < 1e-8);
            assert!(found.minima[0].starts >= 1 && found.minima[0].energy <= found.energy * (1.0 + SAME));
        }
    }

    #[test]
    fn simplices_frames_polygons_and_other_optima_for_every_s() {
        let optima = [
            (3, 8, false),
            (9, 8, false),
            (27, 64, false),
            (1, 3, true),
            (5, 5, true),
            (12, 40, true),
            (7, 2, false),
            (5, 2, true),
            (10, 5, false),
            (12, 3, false),
            (6, 3, true),
        ];
        for s in [0.0, 0.5, 1.0, 2.0, 3.0] {
            for (points, dim, half_space) in optima {
                let found = Thomson { points, dim, s, half_space, ..Thomson::default() }.solve().unwrap();
                near(&found, &format!("N = {points}, d = {dim}, s = {s}, half-space {half_space}"));
            }
        }
    }

    #[test]
    fn a_start_is_no_minimum() {
        // A control: the tests above do not hold for points that were not moved.
        let problem = Thomson { points: 12, ..Thomson::default() };
        let energy = problem.energy().of(&problem.start(0)).unwrap().item() / 2.0;
        assert!(energy > 1.01 * problem.solve().unwrap().energy);
    }

    #[test]
    fn angles_and_minima() {
        let found = Thomson { points: 6, ..Thomson::default() }.solve().unwrap();
        assert!((found.min_angle.unwrap().to_degrees() - 90.0).abs() < 1e-6);
        assert_eq!(found.minima.len(), 1);
        // N = 16 is the first with two minima: 92.911655 and 92.920354.
        let found = Thomson { points: 16, restarts: 30, ..Thomson::default() }.solve().unwrap();
        let energies: Vec<f64> = found.minima.iter().map(|m| m.energy).collect();
        assert_eq!(found.minima.iter().map(|m| m.starts).sum::<usize>(), 30);
        assert!((energies[0] - 92.911655303).abs() < 1e-8, "{energies:?}");
        assert!(energies.len() == 2 && (energies[1] - 92.920353962).abs() < 1e-8, "{energies:?}");
        let one = Thomson { points: 1, ..Thomson::default() }.solve().unwrap();
        assert_eq!((one.energy, one.mean_energy, one.min_angle), (0.0, 0.0, None));
        let grouped = distinct(vec![2.0, 1.0, 2.0 + 1e-12, 1.1], 1);
        assert_eq!(grouped.iter().map(|m| m.starts).collect::<Vec<_>>(), [1, 1, 2]);
    }

    #[test]
    fn options_out_of_range_are_named() {
        let fails = |problem: Thomson, text: &str| {
            let error = problem.solve().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        let fine = Thomson::default();
        fails(Thomson { points: 0, ..fine }, "points = 0");
        fails(Thomson { dim: 1, ..fine }, "dim = 1");
        fails(Thomson { restarts: 0, ..fine }, "restarts = 0");
        fails(Thomson { s: -1.0, ..fine }, "s = -1");
        fails(Thomson { s: f64::NAN, ..fine }, "s = NaN");
    }
}
