//! The deformation stability penalty.

use std::fmt;
use std::sync::Arc;

use autograd::{Key, Tensor};
use registry::Row;

use super::functions::{Functions, largest, pick};
use super::{Penalty, PenaltySpec, WEIGHT, check, nothing, weight};
use crate::error::Error;
use crate::train::BatchLoss;

/// Random transforms of images: from E images [E, C, H, W] and a number R, R results for each image,
/// [E, R, C, H, W], a pure function of the images and the key.
///
/// ```
/// use autograd::{DType, Key, Tensor};
/// use nn::Transforms;
/// // Images of random brightness.
/// let brighter = Transforms::new(|images, count, key| {
///     let added = Tensor::uniform([images.shape()[0], count, 1, 1, 1], images.dtype(), key);
///     images.unsqueeze(1) + added
/// });
/// let found = brighter.of(&Tensor::zeros([2, 1, 4, 4], DType::F32), 3, Key::new(0))?;
/// assert_eq!(**found.shape(), [2, 3, 1, 4, 4]);
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Transforms(Arc<Function>);

/// From images, a number of results for each, and a key, to the results.
type Function = dyn Fn(&Tensor, usize, Key) -> Tensor + Send + Sync;

impl Transforms {
    /// These transforms.
    pub fn new(f: impl Fn(&Tensor, usize, Key) -> Tensor + Send + Sync + 'static) -> Transforms {
        Transforms(Arc::new(f))
    }

    /// The results for each image.
    ///
    /// # Errors
    /// If the result does not have the shape [E, R, C, H, W].
    pub fn of(&self, images: &Tensor, count: usize, key: Key) -> Result<Tensor, Error> {
        let found = (self.0)(images, count, key).detach();
        let shape = [&[images.shape()[0], count], &images.shape()[1..]].concat();
        if found.shape()[..] == shape {
            return Ok(found);
        }
        Err(Error::Config(format!(
            "transforms of images {}: shape {}, not {shape:?}",
            images.shape(),
            found.shape()
        )))
    }

    /// Those of an option.
    ///
    /// # Errors
    /// If there are none.
    pub(super) fn needed(given: &Option<Transforms>, name: &str) -> Result<Transforms, Error> {
        given.clone().ok_or_else(|| Error::Config(format!("{name}: transforms of images are needed")))
    }
}

impl fmt::Debug for Transforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transforms")
    }
}

/// The deformation stability penalty (Bietti et al., ICML 2019, arXiv 1810.00363, section 2.1): for each output the
/// largest squared change by a random deformation of an image, summed over the outputs,
///
///   weight sum_k (f_k(x') - f_k(x))^2,   (x', x) = argmax over images x and their deformed versions x'
///
/// over the first `images` images of the batch. The published code compares with wrong originals when it chooses the
/// pair; here both the choice and the penalty use an image's own original. f is the network with running statistics and
/// without dropout.
#[derive(Clone, Debug)]
pub struct DeformationPenalty {
    /// The factor.
    pub weight: f64,
    /// The deformations.
    pub deformations: Transforms,
    /// The number of images per batch, at most; 32 in the published code.
    pub images: usize,
    /// The number of versions of an image, the original included; 32 in the published code.
    pub versions: usize,
}

impl DeformationPenalty {
    /// With 32 images and 32 versions.
    pub fn new(weight: f64, deformations: Transforms) -> DeformationPenalty {
        DeformationPenalty { weight, deformations, images: 32, versions: 32 }
    }
}

pub(super) const ROW: Row<PenaltySpec> = Row {
    name: "deformation",
    help: "largest squared change of each output by a deformation of an image (default weight 0.1)",
    settings: &[WEIGHT],
    make: |options| {
        check("deformation", "weight", weight(options))?;
        let deformations = Transforms::needed(&options.deformations, "deformation")?;
        Ok(Some(Box::new(DeformationPenalty::new(weight(options), deformations))))
    },
};

impl Penalty for DeformationPenalty {
    fn name(&self) -> &str {
        "deformation"
    }

    fn penalty(&mut self, loss: &BatchLoss) -> Result<Tensor, Error> {
        check(self.name(), "weight", self.weight)?;
        let images = self.images.min(loss.batch.len());
        let deformed = self.versions.saturating_sub(1);
        if self.weight == 0.0 || images == 0 || deformed == 0 {
            return Ok(nothing(loss));
        }
        let x = loss.batch.inputs.detach().slice_axis(0, ..images);
        let moved = self.deformations.of(&x, deformed, loss.context.stream("deformation"))?;
        let moved = moved.reshape([&[images * deformed], &x.shape()[1..]].concat());
        let fixed = Functions::fixed(loss);
        let before = fixed.values(&x)?;
        let classes = before.shape()[1];
        let after = fixed.values(&moved)?.reshape([images, deformed, classes]);
        let changes = (after - before.unsqueeze(1)).reshape([images * deformed, classes]);
        let changes = &changes * &changes;
        let worst: Vec<usize> = (0..classes as isize).map(|k| largest(&changes.select(1, k))).collect();
        let originals: Vec<usize> = worst.iter().map(|i| i / deformed).collect();
        let (moved, x) = (pick(&moved, &worst), pick(&x, &originals));
        Ok(Functions::new(loss).squared_differences(&moved, &x)? * self.weight)
    }
}
