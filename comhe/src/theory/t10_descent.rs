//! T10: the paper's motivation. Minimising the full energy directly in high dimension is said to stall; through
//! projections it is said to reach lower, and the energy to have ever more local minima as N grows.
//!
//! The experiment: N neurons in R^d start at random directions and follow the gradient of a regulariser, normalised
//! after each step, for a fixed number of steps; the step size is tuned for each regulariser on the same grid, by the
//! full-space energy at the end. And: how many distinct local minima are found on the sphere of R^3 as N grows.
//!
//! The results are data, whether or not they confirm this. Only what must hold is checked: every regulariser lowers the
//! full-space energy, none below its least value (T2).
//!
//! Source: Lin et al., CVPR 2020.

use autograd::{DType, Tensor, parallel_map};
use nn::{Regulariser, Step, Weight};

use super::{Check, Relation, Setting};
use crate::adv::Adversarial;
use crate::ap::{AnglePreserving, Preserve};
use crate::bilateral::Bilateral;
use crate::energy::Energy;
use crate::error::Error;
use crate::group::{GroupEnergy, Groups};
use crate::learned::{Learning, Rate};
use crate::projection::Projections;
use crate::random::RandomProjection;

use crate::thomson::{THOMSON, Thomson, least_energy};

/// A regulariser that the descent minimises.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Its name in tables and plots.
    pub name: &'static str,
    /// Makes it, with its random numbers from the seed.
    pub make: fn(u64) -> Box<dyn Regulariser>,
}

/// The energy of every variant: s = 2, full space, eps = 0.
const ENERGY: Energy = Energy {
    s: 2.0,
    angular: false,
    half_space: false,
    reduce: crate::energy::Reduce::Mean,
    eps: 0.0,
    floor: 1e-12,
    scale: crate::energy::Scale::Paper,
};

/// The regularisers that are compared; a new one is one line.
pub const VARIANTS: [Variant; 7] = [
    Variant { name: "mhe", make: |_| Box::new(ENERGY) },
    Variant { name: "rp k=40", make: |seed| random_projection(40, seed) },
    Variant { name: "rp k=10", make: |seed| random_projection(10, seed) },
    Variant { name: "ap", make: |seed| made(AnglePreserving::new(ENERGY, Preserve::Cosine, learning(seed))) },
    Variant { name: "adv", make: |seed| made(Adversarial::new(ENERGY, learning(seed))) },
    Variant {
        name: "group",
        make: |seed| made(GroupEnergy::new(ENERGY, Groups { seed, ..Groups::default() }, 1)),
    },
    Variant { name: "bilateral", make: |seed| made(Bilateral::new(ENERGY, projections(30, seed), 1)) },
];

fn made<R: Regulariser + 'static>(regulariser: Result<R, Error>) -> Box<dyn Regulariser> {
    Box::new(regulariser.expect("the options are in range"))
}

/// The published k = 30, with a separate inner rate: the step sizes for the neurons here are far larger.
fn learning(seed: u64) -> Learning {
    Learning { rate: Rate::Fixed(0.1), seed, ..Learning::default() }
}

/// The published C = 20.
fn projections(k: usize, seed: u64) -> Projections {
    Projections { k, c: 20, seed, ..Projections::default() }
}

/// Projections that are redrawn every step.
fn random_projection(k: usize, seed: u64) -> Box<dyn Regulariser> {
    made(RandomProjection::new(ENERGY, projections(k, seed), 1))
}

/// Step sizes, as multiples of N: the gradient of a mean over pairs with respect to a neuron is of size 1/N.
/// Projections that are redrawn or learned add noise, and small steps average over it, so the grid has small ones.
const RATES: [f64; 8] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];

/// A descent: the numbers of neurons, dimensions and steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descent {
    /// Neurons.
    pub n: usize,
    /// Dimensions.
    pub d: usize,
    /// Steps.
    pub steps: usize,
    /// The seed of the start and of all projections.
    pub seed: u64,
}

/// The course of the full-space energy under one regulariser, at its best step size.
#[derive(Clone, Debug)]
pub struct Course {
    /// The regulariser's name.
    pub name: &'static str,
    /// The step size, as a multiple of N.
    pub rate: f64,
    /// The mean full-space energy before each step, and after the last.
    pub energies: Vec<f64>,
}

impl Course {
    /// The energy at the end.
    pub fn last(&self) -> f64 {
        *self.energies.last().expect("there is a start")
    }
}

/// The results of the experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Each descent with the courses of all variants.
    pub descents: Vec<(Descent, Vec<Course>)>,
    /// Points on the sphere of R^3 (s = 1), distinct minima found, and the lowest energy.
    pub minima: Vec<Minima>,
}

/// Local minima on the sphere of R^3 for s = 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minima {
    /// Points.
    pub points: usize,
    /// Random starts.
    pub restarts: usize,
    /// Distinct minima that they ended in.
    pub distinct: usize,
    /// The lowest energy, a sum over unordered pairs.
    pub energy: f64,
}

impl Descent {
    /// The least mean energy, if it is known.
    pub fn least(&self) -> Option<f64> {
        least_energy(self.n, self.d, ENERGY.s, false)
    }

    /// No neurons have a smaller mean energy: squared distances have a mean of at most 2N / (N - 1), and f is convex
    /// in them (Jensen). Simplices reach it; more than d + 1 neurons do not.
    fn bound(&self) -> f64 {
        let n = self.n as f64;
        (2.0 * n / (n - 1.0)).powf(-0.5 * ENERGY.s)
    }

    /// The course under one variant with one step size, a multiple of N.
    fn follow(&self, variant: &Variant, rate: f64) -> Course {
        let key = autograd::Key::new(self.seed).stream("T10");
        let mut regulariser = (variant.make)(self.seed);
        let mut w = Tensor::normal([self.n, self.d], DType::F64, key).normalize_rows(0.0);
        let lr = rate * self.n as f64;
        let full = |w: &Tensor| ENERGY.of(w).expect("rows have length 1").item();
        let mut energies = vec![full(&w)];
        for index in 0..self.steps as u64 {
            let leaf = w.requires_grad();
            let layer = [Weight::new("neurons", &leaf)];
            let penalty = regulariser.penalty(&layer, Step { index, lr }).expect("rows have length 1");
            let g = penalty.backward()[&leaf].clone();
            w = (&w - g * lr).normalize_rows(0.0);
            energies.push(full(&w));
        }
        Course { name: variant.name, rate, energies }
    }

    /// The course under one variant, with the step size that ends lowest.
    pub fn course(&self, variant: &Variant) -> Course {
        let courses = RATES.iter().map(|&rate| self.follow(variant, rate));
        courses.min_by(|a, b| a.last().total_cmp(&b.last())).expect("there are step sizes")
    }
}

impl Experiment {
    /// Measures.
    pub fn run(setting: Setting) -> Experiment {
        let seed = setting.seed;
        let sizes = setting.pick(
            vec![(64, 64, 60), (128, 32, 60)],
            vec![(64, 64, 300), (128, 256, 300), (256, 64, 300), (100, 1000, 300)],
        );
        let descents = sizes.into_iter().map(|(n, d, steps)| {
            let descent = Descent { n, d, steps, seed };
            (descent, parallel_map(VARIANTS.len(), |i| descent.course(&VARIANTS[i])))
        });
        let points =
            setting.pick(vec![8, 12, 16, 24, 32, 50], vec![8, 12, 16, 24, 32, 50, 64, 80, 100, 122, 150]);
        let restarts = setting.pick(30, 300);
        let minima = |i: usize| {
            let points = points[i];
            let found = Thomson { points, restarts, seed, ..Thomson::default() }.solve();
            let found = found.expect("the options are in range");
            Minima { points, restarts, distinct: found.minima.len(), energy: found.energy }
        };
        Experiment { descents: descents.collect(), minima: parallel_map(points.len(), minima) }
    }

    /// What must hold.
    pub fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for (descent, courses) in &self.descents {
            courses.iter().for_each(|course| checks.extend(of_course(descent, course)));
        }
        checks.extend(self.minima.iter().flat_map(of_minima));
        checks
    }
}

/// The energy falls, by a hundredth of the way to its lower bound at least, and not below the bound.
fn of_course(descent: &Descent, course: &Course) -> [Check; 2] {
    let Descent { n, d, steps, .. } = descent;
    let case = format!("{}, N = {n}, d = {d}, {steps} steps of {} N", course.name, course.rate);
    let (start, bound) = (course.energies[0], descent.bound());
    let enough = start - 0.01 * (start - bound);
    let falls = format!("energy at the end, against the start, {case}");
    let lowest = course.energies.iter().copied().fold(f64::INFINITY, f64::min);
    let above = format!("lowest energy, against its bound, {case}");
    [
        Check::bound("T10", falls, course.last(), Relation::AtMost, enough, 0.0),
        Check::bound("T10", above, lowest, Relation::AtLeast, bound, 1e-12),
    ]
}

/// At least one minimum, and none below Thomson's.
fn of_minima(found: &Minima) -> Vec<Check> {
    let case = format!("N = {}, d = 3, s = 1, {} starts", found.points, found.restarts);
    let distinct = format!("distinct minima, {case}");
    let mut checks = vec![Check::bound("T10", distinct, found.distinct as f64, Relation::AtLeast, 1.0, 0.0)];
    if let Some((_, least)) = THOMSON.iter().find(|(points, _)| *points == found.points) {
        let case = format!("lowest minimum, against Thomson's, {case}");
        checks.push(Check::equal("T10", case, found.energy, *least, 1e-8 * least));
    }
    checks
}

/// Runs the checks.
pub(super) fn run(setting: Setting) -> Vec<Check> {
    Experiment::run(setting).checks()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascent_and_impossible_energies_fail() {
        let descent = Descent { n: 12, d: 16, steps: 20, seed: 1 };
        let course = descent.course(&VARIANTS[0]);
        let passes = |course: &Course| of_course(&descent, course).iter().map(|c| c.pass).collect::<Vec<_>>();
        assert_eq!(passes(&course), [true, true]);
        assert_eq!(passes(&descent.follow(&VARIANTS[0], -0.3)), [false, true], "ascent");
        assert_eq!(passes(&descent.follow(&VARIANTS[1], 0.0)), [false, true], "standing still");
        let mut impossible = course.clone();
        impossible.energies[7] = 0.9 * descent.bound();
        assert_eq!(passes(&impossible), [true, false]);
        // The bound is the simplex's energy, and holds for more neurons, too.
        assert!((descent.bound() - descent.least().unwrap()).abs() < 1e-15);
        let crowded = Descent { n: 30, d: 4, ..descent };
        let course = crowded.follow(&VARIANTS[0], 0.3);
        assert!(
            of_course(&crowded, &course).iter().all(|c| c.pass) && course.last() > crowded.bound() + 1e-3
        );
        let minima = Minima { points: 12, restarts: 3, distinct: 1, energy: 49.165253058 };
        assert!(of_minima(&minima).iter().all(|c| c.pass));
        assert!(of_minima(&Minima { distinct: 0, energy: 49.2, ..minima }).iter().all(|c| !c.pass));
    }

    #[test]
    fn courses_repeat_and_every_variant_descends() {
        let descent = Descent { n: 12, d: 16, steps: 20, seed: 1 };
        for variant in &VARIANTS {
            let (a, b) = (descent.follow(variant, 1.0), descent.follow(variant, 1.0));
            assert_eq!(a.energies, b.energies);
            // At its best step size: learned projections may overshoot at others.
            let best = descent.course(variant);
            assert!(best.energies.len() == 21 && best.last() < best.energies[0], "{}", variant.name);
        }
    }
}
