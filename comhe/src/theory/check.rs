//! A check: measured against expected, within a tolerance that is stated.

use super::sample::Mean;

/// The relation between the measured and the expected value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Equal, within the tolerance.
    Equal,
    /// A lower bound: at most the tolerance below.
    AtLeast,
    /// An upper bound: at most the tolerance above.
    AtMost,
}

/// A measured value and its theoretical value.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The statement, "T1" to "T10".
    pub id: &'static str,
    /// Which part of the statement, for which sizes.
    pub case: String,
    /// The measured value.
    pub measured: f64,
    /// The theoretical value.
    pub expected: f64,
    /// The measurement's standard error; 0 if nothing is random.
    pub stderr: f64,
    /// The tolerance between the measured and the expected value.
    pub tolerance: f64,
    /// Their relation.
    pub relation: Relation,
    /// Whether the check passed.
    pub pass: bool,
}

/// The tolerance of a random measurement in standard errors: by chance 6 in 10 million are outside.
pub(super) const SIGMAS: f64 = 5.0;

impl Check {
    /// A number with an expected value and an absolute tolerance.
    pub(super) fn equal(
        id: &'static str,
        case: String,
        measured: f64,
        expected: f64,
        tolerance: f64,
    ) -> Check {
        let relation = Relation::Equal;
        Check { id, case, measured, expected, stderr: 0.0, tolerance, relation, pass: false }.judged()
    }

    /// A number that a bound limits.
    pub(super) fn bound(
        id: &'static str,
        case: String,
        measured: f64,
        relation: Relation,
        expected: f64,
        tolerance: f64,
    ) -> Check {
        Check { id, case, measured, expected, stderr: 0.0, tolerance, relation, pass: false }.judged()
    }

    /// A mean of samples: its tolerance is five standard errors, but at most `most`, so that a measurement that is too
    /// coarse fails.
    pub(super) fn mean(id: &'static str, case: String, mean: Mean, expected: f64, most: f64) -> Check {
        let check = Check::equal(id, case, mean.value, expected, mean.tolerance(most));
        Check { stderr: mean.stderr, ..check }
    }

    /// A mean of samples that a bound limits.
    pub(super) fn mean_bound(
        id: &'static str,
        case: String,
        mean: Mean,
        relation: Relation,
        expected: f64,
        most: f64,
    ) -> Check {
        let check = Check::bound(id, case, mean.value, relation, expected, mean.tolerance(most));
        Check { stderr: mean.stderr, ..check }
    }

    fn judged(self) -> Check {
        let above = self.measured - self.expected;
        let pass = match self.relation {
            Relation::Equal => above.abs() <= self.tolerance,
            Relation::AtLeast => above >= -self.tolerance,
            Relation::AtMost => above <= self.tolerance,
        };
        Check { pass, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let pass = |measured, relation| Check::bound("T1", String::new(), measured, relation, 1.0, 0.1).pass;
        assert_eq!([0.8, 0.95, 1.05, 1.2].map(|m| pass(m, Relation::Equal)), [false, true, true, false]);
        assert_eq!([0.8, 0.95, 1.05, 1.2].map(|m| pass(m, Relation::AtLeast)), [false, true, true, true]);
        assert_eq!([0.8, 0.95, 1.05, 1.2].map(|m| pass(m, Relation::AtMost)), [true, true, true, false]);
        for relation in [Relation::Equal, Relation::AtLeast, Relation::AtMost] {
            assert!(!pass(f64::NAN, relation), "NaN never passes");
        }
        // A coarse measurement does not pass because it is coarse.
        let coarse = Mean { value: 1.4, stderr: 1.0 };
        assert!(!Check::mean("T1", String::new(), coarse, 1.0, 0.1).pass);
    }
}
