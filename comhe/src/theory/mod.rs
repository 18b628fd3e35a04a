//! Theoretical statements about the energy, checked numerically.
//!
//! One file per statement, T1 to T10, each with its formula and source. A statement gives [`Check`]s: the measured
//! value, the theoretical value, the standard error of the measurement, and the tolerance. Random numbers are a
//! function of the seed. Every check can fail, which its file's tests show by a negative control: the same check with
//! one ingredient changed.

mod check;
mod sample;
mod special;
pub mod t10_descent;
mod t1_uniform;
mod t2_optima;
mod t3_mean;
mod t4_subgaussian;
mod t5_gaussian;
mod t6_johnson_lindenstrauss;
mod t7_marginals;
mod t8_dynamics;
mod t9_invariances;

pub use check::{Check, Relation};

/// The amount of measurements, and the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The seed of all draws.
    pub seed: u64,
    /// Whether to measure more cases and samples, in minutes instead of seconds.
    pub full: bool,
}

impl Setting {
    /// The first number in quick mode, the second in full mode.
    fn pick<T>(self, quick: T, full: T) -> T {
        if self.full { full } else { quick }
    }

    /// The random numbers for a purpose.
    fn key(self, purpose: &str) -> autograd::Key {
        autograd::Key::new(self.seed).stream("theory").stream(purpose)
    }
}

/// A statement and its checks.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// "T1" to "T10".
    pub id: &'static str,
    /// A short title.
    pub title: &'static str,
    /// The measurement.
    pub run: fn(Setting) -> Vec<Check>,
}

/// All statements in order.
pub const STATEMENTS: [Statement; 10] = [
    Statement { id: "T1", title: "energy of the uniform distribution", run: t1_uniform::run },
    Statement { id: "T2", title: "least energies", run: t2_optima::run },
    Statement { id: "T3", title: "random projections keep angles in the mean", run: t3_mean::run },
    Statement { id: "T4", title: "angles under sub-Gaussian projections", run: t4_subgaussian::run },
    Statement { id: "T5", title: "angles under Gaussian projections", run: t5_gaussian::run },
    Statement { id: "T6", title: "Johnson-Lindenstrauss", run: t6_johnson_lindenstrauss::run },
    Statement { id: "T7", title: "projections determine the distribution", run: t7_marginals::run },
    Statement { id: "T8", title: "training dynamics", run: t8_dynamics::run },
    Statement { id: "T9", title: "invariances of the energy", run: t9_invariances::run },
    Statement { id: "T10", title: "descent by projections, and minima", run: t10_descent::run },
];
