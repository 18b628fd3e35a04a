//! What a data set is: named splits of equally large images with labels.

use std::ops::Range;
use std::sync::Arc;

/// A data set for classification.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The name it was asked for by.
    pub name: String,
    /// The examples to fit.
    pub train: Arc<Split>,
    /// Examples held out of `train`, if asked for. Their labels carry no label noise.
    pub validation: Option<Arc<Split>>,
    /// The examples to judge by.
    pub test: Arc<Split>,
    /// The name of each class; a label is an index into this.
    pub classes: Vec<String>,
    /// What a reader of results should know: where the data came from, what is missing, what was changed.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Channels, height and width of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.train.shape
    }

    /// How pixels become network input.
    pub fn standardisation(&self) -> &Standardisation {
        &self.train.standardisation
    }
}

/// Images of one shape with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// All images, one after the other, each as planes: C x H x W, row-major.
    pub pixels: Pixels,
    /// One label an image.
    pub labels: Vec<u32>,
    /// Applied when a batch is made; the pixels here are raw.
    pub standardisation: Standardisation,
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
    /// Images of `shape` (C, H, W) with one label each.
    ///
    /// # Panics
    /// If the counts of pixels, labels and standardised channels do not fit together.
    pub fn new(
        shape: [usize; 3],
        pixels: Pixels,
        labels: Vec<u32>,
        standardisation: Standardisation,
    ) -> Split {
        let expected = labels.len() * shape.iter().product::<usize>();
        assert_eq!(pixels.len(), expected, "{} labels of images {shape:?}", labels.len());
        assert_eq!(standardisation.mean.len(), shape[0], "channels of the standardisation");
        assert_eq!(standardisation.std.len(), shape[0], "channels of the standardisation");
        Split { shape, pixels, labels, standardisation }
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
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
        let labels = indices.iter().map(|&i| self.labels[i]).collect();
        Split::new(self.shape, pixels, labels, self.standardisation.clone())
    }

    /// How many examples each of `classes` classes has.
    pub fn counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        self.labels.iter().for_each(|&l| counts[l as usize] += 1);
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
        assert_eq!((t.image(0), &t.labels[..]), (Raw::U8(&[9, 11, 9, 9]), &[1, 0][..]));
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
    #[should_panic(expected = "2 labels of images")]
    fn counts_must_fit() {
        Split::new([1, 1, 1], Pixels::F32(vec![0.0; 3]), vec![0, 0], Standardisation::identity(1));
    }
}
