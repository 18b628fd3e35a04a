//! Metrics of predictions.
//!
//! Of classes: logits are [N, classes], labels N class numbers. The predicted class is the one with the largest logit,
//! the first of equals. A row with NaN in it counts as wrong.

use std::fmt;

use autograd::{DType, Scalar, Tensor};

/// The part of the rows whose predicted class is the label; NaN without rows.
///
/// # Panics
/// If the logits are not [N, classes] for N labels, or a label is no class.
#[track_caller]
pub fn accuracy(logits: &Tensor, labels: &[u32]) -> f64 {
    top_k_accuracy(logits, labels, 1)
}

/// The part of the rows whose label is among the `k` largest logits; NaN without rows.
///
/// # Panics
/// As [`accuracy`].
///
/// ```
/// # use autograd::Tensor;
/// let logits = Tensor::from([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]]);
/// assert_eq!(nn::top_k_accuracy(&logits, &[2, 0], 1), 0.5);
/// assert_eq!(nn::top_k_accuracy(&logits, &[2, 0], 2), 1.0);
/// ```
#[track_caller]
pub fn top_k_accuracy(logits: &Tensor, labels: &[u32], k: usize) -> f64 {
    let ranks = label_ranks(logits, labels);
    ranks.iter().filter(|&&rank| rank < k).count() as f64 / ranks.len() as f64
}

/// For each row, how many classes come before the label; `usize::MAX` for a row with NaN.
#[track_caller]
pub(crate) fn label_ranks(logits: &Tensor, labels: &[u32]) -> Vec<usize> {
    fn ranks<T: Scalar>(logits: &[T], classes: usize, labels: &[u32]) -> Vec<usize> {
        let rank = |(row, &label): (&[T], &u32)| {
            let own = row[label as usize];
            if row.iter().any(|v| v.to_f64().is_nan()) {
                return usize::MAX;
            }
            row.iter().enumerate().filter(|&(c, &v)| v > own || (v == own && c < label as usize)).count()
        };
        logits.chunks(classes.max(1)).zip(labels).map(rank).collect()
    }
    let classes = check(logits, labels);
    match logits.dtype() {
        DType::F32 => ranks(logits.data::<f32>(), classes, labels),
        DType::F64 => ranks(logits.data::<f64>(), classes, labels),
    }
}

/// The number of classes of logits that fit the labels.
#[track_caller]
fn check(logits: &Tensor, labels: &[u32]) -> usize {
    let shape = logits.shape();
    assert!(
        shape.rank() == 2 && shape[0] == labels.len(),
        "logits {shape} must be [{}, classes], a row a label",
        labels.len()
    );
    let classes = shape[1];
    if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
        panic!("label {label} is not one of the {classes} classes of logits {shape}");
    }
    classes
}

/// The confusion matrix of a classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// An empty matrix.
    pub fn new(classes: usize) -> ConfusionMatrix {
        ConfusionMatrix { classes, counts: vec![0; classes * classes] }
    }

    /// Counts the predictions of some rows. A row with NaN in it has no predicted class and is not counted.
    ///
    /// # Panics
    /// As [`accuracy`], or if the number of classes is another.
    #[track_caller]
    pub fn add(&mut self, logits: &Tensor, labels: &[u32]) {
        let classes = check(logits, labels);
        assert!(classes == self.classes, "ConfusionMatrix: {classes} classes, not {}", self.classes);
        let logits = logits.to_vec::<f64>();
        for (row, &label) in logits.chunks(classes.max(1)).zip(labels) {
            if row.iter().all(|v| !v.is_nan()) {
                let best = (1..classes).fold(0, |best, c| if row[c] > row[best] { c } else { best });
                self.counts[label as usize * classes + best] += 1;
            }
        }
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The number of items of class `label` that were predicted to be of class `predicted`.
    ///
    /// # Panics
    /// If either is no class.
    pub fn count(&self, label: usize, predicted: usize) -> u64 {
        assert!(predicted < self.classes, "class {predicted} is not one of {}", self.classes);
        self.counts[label * self.classes + predicted]
    }

    /// The number of items counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The part of the items on the diagonal; NaN without items.
    pub fn accuracy(&self) -> f64 {
        (0..self.classes).map(|c| self.count(c, c)).sum::<u64>() as f64 / self.total() as f64
    }

    /// The part of each class's items that were predicted to be of it (recall); NaN for a class without
    /// items.
    pub fn recall(&self) -> Vec<f64> {
        let row = |c: usize| (0..self.classes).map(|p| self.count(c, p)).sum::<u64>();
        (0..self.classes).map(|c| self.count(c, c) as f64 / row(c) as f64).collect()
    }

    /// The part of the predictions of each class that were right (precision); NaN for a class never
    /// predicted.
    pub fn precision(&self) -> Vec<f64> {
        let column = |c: usize| (0..self.classes).map(|l| self.count(l, c)).sum::<u64>();
        (0..self.classes).map(|c| self.count(c, c) as f64 / column(c) as f64).collect()
    }
}

impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.counts.iter().map(|c| c.to_string().len()).max().unwrap_or(1).max(4);
        write!(f, "{:>8}", "label")?;
        (0..self.classes).try_for_each(|c| write!(f, " {c:>width$}"))?;
        for label in 0..self.classes {
            write!(f, "\n{label:>8}")?;
            (0..self.classes).try_for_each(|c| write!(f, " {:>width$}", self.count(label, c)))?;
        }
        Ok(())
    }
}

/// The errors of real-valued predictions p of targets y, both N x D: a running sum over batches.
///
///   mae = mean |p - y|,   r2 = 1 - sum (p - y)^2 / sum (y - m)^2
///
/// over all N D elements, with the mean m of each output over the rows: the coefficient of determination over all outputs
/// (scikit-learn's `r2_score` with `multioutput="variance_weighted"`). As there, r2 of constant targets is 1 if the
/// predictions are exact and 0 otherwise.
///
/// ```
/// # use autograd::Tensor;
/// let mut errors = nn::RegressionErrors::default();
/// errors.add(&Tensor::from([[1.0], [2.0], [4.0]]), &Tensor::from([[1.0], [3.0], [5.0]]));
/// assert_eq!(errors.mae(), 2.0 / 3.0);
/// assert_eq!(errors.r2(), 1.0 - 2.0 / 8.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegressionErrors {
    rows: usize,
    absolute: f64,
    squared: f64,
    /// The mean of each output's targets, and the sum of their squared distances from it.
    outputs: Vec<[f64; 2]>,
}

impl RegressionErrors {
    /// Adds predictions and targets, [N, D] or targets `[N]` with D = 1.
    ///
    /// # Panics
    /// If the number of elements differs, or D is another than before.
    #[track_caller]
    pub fn add(&mut self, predictions: &Tensor, targets: &Tensor) {
        let (p, y) = (predictions.to_vec::<f64>(), targets.to_vec::<f64>());
        assert!(p.len() == y.len(), "predictions {}, targets {}", predictions.shape(), targets.shape());
        let width = predictions.shape().iter().skip(1).product::<usize>();
        if self.outputs.is_empty() {
            self.outputs = vec![[0.0; 2]; width];
        }
        assert!(self.outputs.len() == width, "RegressionErrors: {width} outputs, not {}", self.outputs.len());
        for (p, y) in p.chunks(width.max(1)).zip(y.chunks(width.max(1))) {
            self.rows += 1;
            for ((p, y), [mean, scatter]) in p.iter().zip(y).zip(&mut self.outputs) {
                self.absolute += (p - y).abs();
                self.squared += (p - y) * (p - y);
                // Welford's update: the mean is not known before the end.
                let from = y - *mean;
                *mean += from / self.rows as f64;
                *scatter += from * (y - *mean);
            }
        }
    }

    /// The mean absolute error; NaN without rows.
    pub fn mae(&self) -> f64 {
        self.absolute / (self.rows * self.outputs.len()) as f64
    }

    /// The coefficient of determination; NaN without rows, or if an error or target is NaN or infinite.
    pub fn r2(&self) -> f64 {
        let total: f64 = self.outputs.iter().map(|[_, scatter]| scatter).sum();
        match (self.rows, total) {
            (0, _) => f64::NAN,
            // Constant targets: as scikit-learn.
            (_, 0.0) if self.squared == 0.0 => 1.0,
            (_, 0.0) if self.squared.is_finite() => 0.0,
            _ => 1.0 - self.squared / total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(dtype: DType) -> Tensor {
        let rows = [[1.0, 5.0, 3.0], [2.0, 2.0, 1.0], [0.0, f64::NAN, 9.0], [-1.0, -3.0, -2.0]];
        Tensor::from(rows).to_dtype(dtype)
    }

    #[test]
    fn ranks_ties_and_nan() {
        for dtype in [DType::F32, DType::F64] {
            assert_eq!(label_ranks(&logits(dtype), &[2, 0, 2, 1]), [1, 0, usize::MAX, 2]);
            assert_eq!(label_ranks(&logits(dtype), &[1, 1, 0, 0]), [0, 1, usize::MAX, 0]);
            assert_eq!(accuracy(&logits(dtype), &[1, 1, 2, 0]), 0.5);
            assert_eq!(top_k_accuracy(&logits(dtype), &[1, 1, 2, 0], 2), 0.75);
            assert_eq!(top_k_accuracy(&logits(dtype), &[1, 1, 2, 0], 3), 0.75);
        }
        assert!(accuracy(&Tensor::zeros([0, 3], DType::F32), &[]).is_nan());
    }

    #[test]
    fn confusion() {
        let mut m = ConfusionMatrix::new(3);
        m.add(&logits(DType::F64), &[2, 0, 2, 1]);
        m.add(&logits(DType::F32), &[1, 0, 2, 0]);
        assert_eq!((m.total(), m.accuracy()), (6, 4.0 / 6.0));
        assert_eq!((m.count(2, 1), m.count(0, 0), m.count(1, 0), m.count(2, 2)), (1, 3, 1, 0));
        assert_eq!(m.recall(), [1.0, 0.5, 0.0]);
        assert_eq!(m.precision()[..2], [0.75, 0.5]);
        assert!(m.precision()[2].is_nan());
        assert_eq!(m.to_string().lines().nth(1), Some("       0    3    0    0"));
    }

    #[test]
    fn errors_of_real_values() {
        // By NumPy: abs(p - y).mean(), 1 - ((p - y)**2).sum() / ((y - y.mean(0))**2).sum().
        let y = Tensor::from([[0.5, 1.0], [-1.0, 1.0], [7.0, -6.0]]);
        let p = Tensor::from([[0.0, 2.0], [-1.0, 2.0], [8.0, -5.0]]);
        let mut errors = RegressionErrors::default();
        assert!(errors.mae().is_nan() && errors.r2().is_nan());
        errors.add(&p, &y);
        assert!((errors.mae() - 0.75).abs() < 1e-15, "{}", errors.mae());
        assert!((errors.r2() - 0.938_256_658_595_641_7).abs() < 1e-14, "{}", errors.r2());
        // Batches of one and two rows.
        let mut parts = RegressionErrors::default();
        for range in [0..1, 1..3] {
            parts.add(&p.slice_axis(0, range.clone()).to_dtype(DType::F32), &y.slice_axis(0, range));
        }
        assert!((parts.mae() - errors.mae()).abs() < 1e-15 && (parts.r2() - errors.r2()).abs() < 1e-14);
        // Constant targets, far from 0.
        let constant = |p: [f64; 2]| {
            let mut errors = RegressionErrors::default();
            errors.add(&Tensor::from(p).reshape([2, 1]), &Tensor::from([1e9, 1e9]));
            errors.r2()
        };
        assert_eq!((constant([1e9, 1e9]), constant([1e9, 0.0])), (1.0, 0.0));
        assert!(constant([f64::NAN, 1e9]).is_nan());
    }

    #[test]
    #[should_panic(expected = "label 3 is not one of the 3 classes of logits [1, 3]")]
    fn labels_must_be_classes() {
        accuracy(&Tensor::zeros([1, 3], DType::F32), &[3]);
    }
}
