//! What a data set is: named splits of equally large images with their targets.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A data set for classification or regression.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The name it was asked for by.
    pub name: String,
    /// The examples to fit.
    pub train: Arc<Split>,
    /// Examples held out of `train`, if asked for. Their labels carry no label noise.
    pub validation: Option<Arc<Split>>,
    /// The examples of `train` that a subset leaves out, if asked for: images whose labels are not to be used.
    pub rest: Option<Arc<Split>>,
    /// The examples to judge by.
    pub test: Arc<Split>,
    /// The name of each class; a label is an index into this. Empty for real targets.
    pub classes: Vec<String>,
    /// What a reader of results should know: where the data came from, what is missing, what was changed.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Channels, height and width of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.train.shape
    }

    /// The number of outputs that a network for it needs: the classes, or the width of real targets.
    pub fn outputs(&self) -> usize {
        match &self.train.targets {
            Targets::Values(rows) => rows.width,
            _ => self.classes.len(),
        }
    }

    /// Whether the targets are real values.
    pub fn is_regression(&self) -> bool {
        matches!(self.train.targets, Targets::Values(_))
    }

    /// How pixels become network input.
    pub fn standardisation(&self) -> &Standardisation {
        &self.train.standardisation
    }
}

/// Images of one shape with their targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// All images, one after the other, each as planes: C x H x W, row-major.
    pub pixels: Pixels,
    /// One target per image.
    pub targets: Targets,
    /// Applied when a batch is made; the pixels here are raw.
    pub standardisation: Standardisation,
}

/// What the outputs of a network are compared with, one for each image.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// The class of each image.
    Classes(Vec<u32>),
    /// A distribution over the classes for each image: rows of probabilities that sum to 1.
    Distributions(Rows),
    /// Real values, used as they are.
    Values(Rows),
}

/// A row-major matrix with a row per image.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Values in a row; at least 1.
    pub width: usize,
    /// The rows, one after the other.
    pub values: Vec<f64>,
}

/// What is said about a column of [`Rows`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColumnStatistics {
    /// The mean.
    pub mean: f64,
    /// The population standard deviation.
    pub std: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl fmt::Display for ColumnStatistics {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // Four significant digits.
        let number = |v: f64| format!("{v:.3e}").parse().unwrap_or(v);
        let ColumnStatistics { mean, std, min, max } = self;
        let [mean, std, min, max] = [mean, std, min, max].map(|v| number(*v));
        write!(f, "mean {mean}, std {std}, from {min} to {max}")
    }
}

impl Rows {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Row `i`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// Mean, (population) standard deviation and range of each column.
    pub fn statistics(&self) -> Vec<ColumnStatistics> {
        let column = |k: usize| {
            let values = || self.values.iter().skip(k).step_by(self.width).copied();
            let n = self.len() as f64;
            let mean = values().sum::<f64>() / n;
            let std = (values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt();
            let (min, max) =
                (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
            ColumnStatistics { mean, std, min, max }
        };
        (0..self.width).map(column).collect()
    }

    fn select(&self, indices: &[usize]) -> Rows {
        let values = indices.iter().flat_map(|&i| self.row(i)).copied().collect();
        Rows { width: self.width, values }
    }
}

impl Targets {
    /// The number of targets.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes(labels) => labels.len(),
            Targets::Distributions(rows) | Targets::Values(rows) => rows.len(),
        }
    }

    /// Whether there are no targets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The classes, if that is what they are.
    pub fn classes(&self) -> Option<&[u32]> {
        match self {
            Targets::Classes(labels) => Some(labels),
            _ => None,
        }
    }

    /// The targets with these indices, in this order.
    pub fn select(&self, indices: &[usize]) -> Targets {
        match self {
            Targets::Classes(labels) => Targets::Classes(indices.iter().map(|&i| labels[i]).collect()),
            Targets::Distributions(rows) => Targets::Distributions(rows.select(indices)),
            Targets::Values(rows) => Targets::Values(rows.select(indices)),
        }
    }

    /// The strata of a stratified split: the class, the most probable class of a distribution (the first of equals), one
    /// stratum for all real values.
    pub(crate) fn strata(&self) -> Cow<'_, [u32]> {
        match self {
            Targets::Classes(labels) => Cow::Borrowed(labels),
            Targets::Distributions(rows) => {
                let mode = |row: &[f64]| (0..row.len()).rev().max_by(|&i, &j| row[i].total_cmp(&row[j]));
                Cow::Owned((0..rows.len()).map(|i| mode(rows.row(i)).unwrap_or(0) as u32).collect())
            }
            Targets::Values(rows) => Cow::Owned(vec![0; rows.len()]),
        }
    }
}

impl From<Vec<u32>> for Targets {
    fn from(labels: Vec<u32>) -> Targets {
        Targets::Classes(labels)
    }
}

/// Pixel values as they came: bytes stay bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// Bytes.
    U8(Vec<u8>),
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

/// One image of [`Pixels`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Raw<'a> {
    /// Bytes.
    U8(&'a [u8]),
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
}

impl Raw<'_> {
    /// The value at `at`, exactly.
    pub fn get(&self, at: usize) -> f64 {
        match self {
            Raw::U8(v) => f64::from(v[at]),
            Raw::F32(v) => f64::from(v[at]),
            Raw::F64(v) => v[at],
        }
    }
}

impl Pixels {
    /// The number of values.
    pub fn len(&self) -> usize {
        match self {
            Pixels::U8(v) => v.len(),
            Pixels::F32(v) => v.len(),
            Pixels::F64(v) => v.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn slice(&self, range: Range<usize>) -> Raw<'_> {
        match self {
            Pixels::U8(v) => Raw::U8(&v[range]),
            Pixels::F32(v) => Raw::F32(&v[range]),
            Pixels::F64(v) => Raw::F64(&v[range]),
        }
    }

    /// The blocks of `size` values with these numbers, in this order.
    fn gather(&self, size: usize, blocks: &[usize]) -> Pixels {
        fn pick<T: Copy>(v: &[T], size: usize, blocks: &[usize]) -> Vec<T> {
            blocks.iter().flat_map(|&b| &v[b * size..][..size]).copied().collect()
        }
        match self {
            Pixels::U8(v) => Pixels::U8(pick(v, size, blocks)),
            Pixels::F32(v) => Pixels::F32(pick(v, size, blocks)),
            Pixels::F64(v) => Pixels::F64(pick(v, size, blocks)),
        }
    }
}

impl Split {
    /// Images of `shape` (C, H, W) with one target each.
    ///
    /// # Panics
    /// If the counts of pixels, targets and standardised channels do not fit together.
    pub fn new(
        shape: [usize; 3],
        pixels: Pixels,
        targets: impl Into<Targets>,
        standardisation: Standardisation,
    ) -> Split {
        let targets = targets.into();
        let expected = targets.len() * shape.iter().product::<usize>();
        assert_eq!(pixels.len(), expected, "{} targets of images {shape:?}", targets.len());
        assert_eq!(standardisation.mean.len(), shape[0], "channels of the standardisation");
        assert_eq!(standardisation.std.len(), shape[0], "channels of the standardisation");
        Split { shape, pixels, targets, standardisation }
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The label of each image, if the targets are classes.
    pub fn labels(&self) -> Option<&[u32]> {
        self.targets.classes()
    }

    /// The number of values in an image: C * H * W.
    pub fn image_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The raw pixels of image `i`, C x H x W.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, i: usize) -> Raw<'_> {
        let size = self.image_len();
        self.pixels.slice(i * size..(i + 1) * size)
    }

    /// The examples with these indices, in this order.
    pub fn select(&self, indices: &[usize]) -> Split {
        let pixels = self.pixels.gather(self.image_len(), indices);
        Split::new(self.shape, pixels, self.targets.select(indices), self.standardisation.clone())
    }

    /// How many examples each of `classes` classes has; of distributions, the most probable class counts.
    ///
    /// # Panics
    /// If there are more classes.
    pub fn counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        self.targets.strata().iter().for_each(|&l| counts[l as usize] += 1);
        counts
    }
}

/// x becomes (x - mean) / std, with a mean and a std a channel, in units of raw pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardisation {
    /// Subtracted, one a channel.
    pub mean: Vec<f64>,
    /// Divided by, one a channel.
    pub std: Vec<f64>,
}

impl Standardisation {
    /// The same mean and std for all channels.
    pub fn uniform(channels: usize, mean: f64, std: f64) -> Standardisation {
        Standardisation { mean: vec![mean; channels], std: vec![std; channels] }
    }

    /// Leaves values as they are, bit for bit.
    pub fn identity(channels: usize) -> Standardisation {
        Standardisation::uniform(channels, 0.0, 1.0)
    }

    /// Mean and (population) standard deviation of each channel over all images. A constant channel gets
    /// std 1, an empty split the identity.
    pub fn measure(split: &Split) -> Standardisation {
        let [channels, height, width] = split.shape;
        let plane = height * width;
        let count = (split.len() * plane) as f64;
        let mut measured = Standardisation::identity(channels);
        if count == 0.0 {
            return measured;
        }
        for c in 0..channels {
            let sum = |term: &dyn Fn(f64) -> f64| -> f64 {
                let image =
                    |i| (c * plane..(c + 1) * plane).map(|p| term(split.image(i).get(p))).sum::<f64>();
                (0..split.len()).map(image).sum()
            };
            let mean = sum(&|v| v) / count;
            let variance = sum(&|v| (v - mean) * (v - mean)) / count;
            measured.mean[c] = mean;
            measured.std[c] = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        }
        measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split() -> Split {
        // Two channels of 1 x 2, three images; the second channel is constant.
        let pixels = Pixels::U8(vec![1, 3, 9, 9, 5, 7, 9, 9, 9, 11, 9, 9]);
        Split::new([2, 1, 2], pixels, vec![0, 1, 1], Standardisation::identity(2))
    }

    #[test]
    fn images_and_selection() {
        let s = split();
        assert_eq!((s.len(), s.image_len(), s.counts(3)), (3, 4, vec![1, 2, 0]));
        assert_eq!(s.image(1), Raw::U8(&[5, 7, 9, 9]));
        let t = s.select(&[2, 0]);
        assert_eq!((t.image(0), t.labels()), (Raw::U8(&[9, 11, 9, 9]), Some(&[1, 0][..])));
        assert!(s.select(&[]).is_empty());
    }

    #[test]
    fn measured_statistics() {
        let m = Standardisation::measure(&split());
        assert_eq!(m.mean, [6.0, 9.0]);
        // Values 1, 3, 5, 7, 9, 11: variance (25 + 9 + 1) * 2 / 6.
        assert!((m.std[0] - (70.0f64 / 6.0).sqrt()).abs() < 1e-12);
        assert_eq!(m.std[1], 1.0);
        assert_eq!(Standardisation::measure(&split().select(&[])), Standardisation::identity(2));
    }

    #[test]
    fn real_targets_are_selected_by_rows_and_make_one_stratum() {
        let rows = Rows { width: 2, values: vec![0.2, 0.8, 0.5, 0.5, 1.0, 0.0] };
        let values = Targets::Values(rows.clone());
        assert_eq!((values.len(), values.classes()), (3, None));
        assert_eq!(
            values.select(&[2, 0]),
            Targets::Values(Rows { width: 2, values: vec![1.0, 0.0, 0.2, 0.8] })
        );
        assert_eq!(values.strata()[..], [0, 0, 0]);
        let statistics = rows.statistics();
        assert_eq!(statistics[1].to_string(), "mean 0.4333, std 0.33, from 0 to 0.8");
        // Of equals, the first class.
        assert_eq!(Targets::Distributions(rows).strata()[..], [1, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "2 targets of images")]
    fn counts_must_fit() {
        Split::new([1, 1, 1], Pixels::F32(vec![0.0; 3]), vec![0, 0], Standardisation::identity(1));
    }
}
