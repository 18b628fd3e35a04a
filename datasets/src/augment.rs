//! Augmentation: shifted crops, mirror images, cutout; of clouds rotation and jitter, each a pure function of (key, epoch, index).

use std::fmt;
use std::str::FromStr;

use kernels::Element;
use kernels::random::{Below, Key};
use rand::RngExt;

use crate::error::Error;

/// A crop may lie up to so many pixels outside the image.
pub const PAD: usize = 4;

/// The deviation of jitter (Qi et al., CVPR 2017, section 5.1 of PointNet's published code).
pub const JITTER: f64 = 0.01;
/// The largest jitter.
pub const JITTER_CLIP: f64 = 0.05;

/// What lies outside an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// The image mirrored at its border pixels: ... 2 1 | 0 1 2 ...
    Mirror,
    /// 0 after standardisation: the mean colour.
    Zero,
}

/// What may happen to a training image. As text: `none`, or parts joined by `-`: `crop` (mirrored border) or
/// `zerocrop`, `flip`, `cutout`; so `crop-flip-cutout`. Clouds have `rotate` and `jitter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augment {
    /// Shift by -[`PAD`]..=[`PAD`] pixels along each axis.
    pub crop: Option<Padding>,
    /// Mirror left to right, every other time.
    pub flip: bool,
    /// Blank a square of half the image's sides, its centre anywhere in the image (so it may be cut by the
    /// border), with 0 after standardisation (DeVries and Taylor, arXiv 1708.04552).
    pub cutout: bool,
    /// Turn a cloud about its third axis, which points up, by a uniform angle.
    pub rotate: bool,
    /// Move every coordinate of a cloud by normal noise of deviation [`JITTER`], at most [`JITTER_CLIP`].
    pub jitter: bool,
}

/// The names that error messages suggest from.
const USUAL: [&str; 10] = [
    "none",
    "crop",
    "flip",
    "cutout",
    "zerocrop",
    "crop-flip",
    "crop-flip-cutout",
    "rotate",
    "jitter",
    "rotate-jitter",
];

impl FromStr for Augment {
    type Err = Error;

    fn from_str(name: &str) -> Result<Augment, Error> {
        let mut augment = Augment::default();
        if name == "none" {
            return Ok(augment);
        }
        for part in name.split('-') {
            let fresh = match part {
                "crop" => augment.crop.replace(Padding::Mirror).is_none(),
                "zerocrop" => augment.crop.replace(Padding::Zero).is_none(),
                "flip" => !std::mem::replace(&mut augment.flip, true),
                "cutout" => !std::mem::replace(&mut augment.cutout, true),
                "rotate" => !std::mem::replace(&mut augment.rotate, true),
                "jitter" => !std::mem::replace(&mut augment.jitter, true),
                _ => {
                    let hint = registry::did_you_mean(name, &USUAL);
                    return Err(Error::usage(format_args!(
                        "unknown augmentation {part:?} in {name:?}{hint} (none, or crop or zerocrop, flip, cutout \
                         joined by -; for clouds rotate, jitter)"
                    )));
                }
            };
            if !fresh {
                return Err(Error::usage(format_args!(
                    "augmentation {name:?} has two of a kind; each may occur once"
                )));
            }
        }
        Ok(augment)
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let crop = match self.crop {
            Some(Padding::Mirror) => Some("crop"),
            Some(Padding::Zero) => Some("zerocrop"),
            None => None,
        };
        let parts = [
            crop,
            self.flip.then_some("flip"),
            self.cutout.then_some("cutout"),
            self.rotate.then_some("rotate"),
            self.jitter.then_some("jitter"),
        ];
        let name = parts.into_iter().flatten().collect::<Vec<_>>().join("-");
        f.write_str(if name.is_empty() { "none" } else { &name })
    }
}

impl Augment {
    /// Whether these parts are for images or clouds of this shape (C, H, W).
    ///
    /// # Errors
    /// If a part is for the other kind.
    pub fn check(&self, [channels, height, width]: [usize; 3]) -> Result<(), Error> {
        let cloud = channels == 3 && width == 1 && height > 1;
        let (of_images, of_clouds) =
            (self.crop.is_some() || self.flip || self.cutout, self.rotate || self.jitter);
        let shape = format!("{channels} x {height} x {width}");
        match (cloud, of_images, of_clouds) {
            (true, true, _) => Err(Error::usage(format_args!(
                "augmentation {self}: crop, flip and cutout are for images, these are point clouds, {shape}; they have \
                 rotate and jitter"
            ))),
            (false, true, _) if height * width == 1 => Err(Error::usage(format_args!(
                "augmentation {self} has no effect on inputs of {shape}; leave it out"
            ))),
            (false, _, true) => Err(Error::usage(format_args!(
                "augmentation {self}: rotate and jitter are for point clouds, 3 x P x 1, these are images, {shape}"
            ))),
            _ => Ok(()),
        }
    }

    /// Turns and jitters a cloud, three planes of coordinates.
    pub(crate) fn cloud<T: Element>(self, points: &mut [T], key: Key, epoch: u64, index: usize) {
        let rng = |name| key.stream(name).step(epoch).rng(index as u64);
        let count = points.len() / 3;
        if self.rotate {
            let (sin, cos) = (std::f64::consts::TAU * rng("rotate").random::<f64>()).sin_cos();
            let (xs, rest) = points.split_at_mut(count);
            for (x, y) in xs.iter_mut().zip(rest) {
                let (a, b) = (x.to_f64(), y.to_f64());
                (*x, *y) = (T::from_f64(cos * a - sin * b), T::from_f64(sin * a + cos * b));
            }
        }
        if self.jitter {
            let mut rng = rng("jitter");
            for v in points {
                // Box and Muller's transform; the logarithm's argument is in (0, 1].
                let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * rng.random::<f64>()).cos();
                *v = T::from_f64(v.to_f64() + (JITTER * normal).clamp(-JITTER_CLIP, JITTER_CLIP));
            }
        }
    }
}

/// Where the pixels of one augmented image come from: rows and columns of the original, None for a blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    rows: Vec<Option<usize>>,
    columns: Vec<Option<usize>>,
    /// Rows and columns of the result that are blanked where they meet.
    cutout: Option<[std::ops::Range<usize>; 2]>,
}

impl Plan {
    /// Draws what happens to example `index` in `epoch`. Every kind has its own draws, so that turning one on
    /// does not change the others.
    pub(crate) fn draw(
        augment: Augment,
        [height, width]: [usize; 2],
        key: Key,
        epoch: u64,
        index: usize,
    ) -> Plan {
        let rng = |name| key.stream(name).step(epoch).rng(index as u64);
        let mut shift = rng("crop");
        let (dy, dx) = (shift.sample(Below(2 * PAD + 1)), shift.sample(Below(2 * PAD + 1)));
        let axis = |size: usize, d: usize| -> Vec<Option<usize>> {
            (0..size)
                .map(|i| {
                    augment.crop.map_or(Some(i), |p| p.source(i as isize + d as isize - PAD as isize, size))
                })
                .collect()
        };
        let rows = axis(height, dy);
        let mut columns = axis(width, dx);
        if augment.flip && rng("flip").sample(Below(2)) == 1 {
            columns.reverse();
        }
        let cutout = augment.cutout.then(|| {
            let mut rng = rng("cutout");
            [height, width].map(|size| {
                let (centre, side) = (rng.sample(Below(size)), size / 2);
                // side pixels from centre - side/2 on, as far as they are in the image.
                centre.saturating_sub(side / 2)..(centre + side - side / 2).min(size)
            })
        });
        Plan { rows, columns, cutout }
    }

    /// Writes one plane of the result: `value(at)` is the standardised pixel `at` of the original's plane.
    pub(crate) fn plane<T: Copy>(&self, out: &mut [T], zero: T, value: impl Fn(usize) -> T) {
        let width = self.columns.len();
        for (out, row) in out.chunks_exact_mut(width).zip(&self.rows) {
            for (out, column) in out.iter_mut().zip(&self.columns) {
                *out = match (row, column) {
                    (Some(y), Some(x)) => value(y * width + x),
                    _ => zero,
                };
            }
        }
        if let Some([rows, columns]) = &self.cutout {
            out.chunks_exact_mut(width)
                .skip(rows.start)
                .take(rows.len())
                .for_each(|row| row[columns.clone()].fill(zero));
        }
    }
}

impl Padding {
    /// The pixel of a line of `size` that stands at position `at`, which may be outside.
    fn source(self, at: isize, size: usize) -> Option<usize> {
        let size = size as isize;
        if (0..size).contains(&at) {
            return Some(at as usize);
        }
        match self {
            Padding::Zero => None,
            Padding::Mirror => {
                // Mirroring at both ends repeats after 2 (size - 1) pixels.
                let at = at.rem_euclid((2 * (size - 1)).max(1));
                Some(at.min((2 * (size - 1) - at).max(0)) as usize)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_round_trip() {
        for name in ["none", "crop", "zerocrop", "flip", "cutout", "crop-flip", "zerocrop-flip-cutout"] {
            assert_eq!(name.parse::<Augment>().unwrap().to_string(), name);
        }
        let fails = |name: &str, expected: &str| {
            let message = name.parse::<Augment>().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        fails("crop-flp", "did you mean crop-flip?");
        fails("", "unknown augmentation");
        fails("crop-zerocrop", "two of a kind");
        fails("flip-flip", "two of a kind");
        fails("none-flip", "unknown augmentation \"none\"");
    }

    #[test]
    fn borders() {
        let line = |p: Padding, size| (-4..size as isize + 4).map(|i| p.source(i, size)).collect::<Vec<_>>();
        let mirror: Vec<usize> = line(Padding::Mirror, 5).into_iter().flatten().collect();
        assert_eq!(mirror, [4, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1, 0]);
        assert_eq!(line(Padding::Mirror, 1), [Some(0); 9]);
        assert_eq!(
            line(Padding::Mirror, 2).into_iter().flatten().collect::<Vec<_>>(),
            [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
        );
        assert_eq!(line(Padding::Zero, 1)[3..6], [None, Some(0), None]);
    }

    /// The planes of an image whose pixels are 1, 2, 3, ...
    fn apply(name: &str, [h, w]: [usize; 2], epoch: u64, index: usize) -> Vec<usize> {
        let plan = Plan::draw(name.parse().unwrap(), [h, w], Key::new(5), epoch, index);
        let mut out = vec![usize::MAX; h * w];
        plan.plane(&mut out, 0, |at| at + 1);
        out
    }

    #[test]
    fn nothing_changes_nothing() {
        assert_eq!(apply("none", [2, 3], 0, 0), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn each_kind_occurs_as_often_as_it_should() {
        let n = 4000;
        let flipped = (0..n).filter(|&i| apply("flip", [1, 2], 0, i) == [2, 1]).count();
        assert!((1850..2150).contains(&flipped), "{flipped}");
        // A 9 x 9 image with a zero border shows the shift by where its centre pixel, 41, goes.
        let mut shifts = [0; 81];
        for i in 0..n {
            shifts[apply("zerocrop", [9, 9], 0, i).iter().position(|&v| v == 41).unwrap()] += 1;
        }
        assert!(shifts.iter().all(|s| (20..90).contains(s)), "{shifts:?}");
        let blanks: Vec<usize> =
            (0..n).map(|i| apply("cutout", [8, 8], 0, i).iter().filter(|&&v| v == 0).count()).collect();
        assert_eq!((blanks.iter().min(), blanks.iter().max()), (Some(&4), Some(&16)));
    }

    proptest! {
        #[test]
        fn pixels_are_of_the_image_and_draws_are_pure(
            h in 1usize..12, w in 1usize..12, epoch in 0u64..3, index in 0usize..100,
            name in prop::sample::select(vec!["crop", "zerocrop-flip", "crop-flip-cutout", "cutout"])
        ) {
            let out = apply(name, [h, w], epoch, index);
            prop_assert!(out.iter().all(|&v| v <= h * w));
            prop_assert_eq!(&out, &apply(name, [h, w], epoch, index));
            if name == "crop" {
                prop_assert!(out.iter().all(|&v| v > 0));
            }
        }

        #[test]
        fn flips_do_not_depend_on_the_other_kinds(index in 0usize..1000) {
            // Wide enough that a shift of 4 leaves the order of columns visible.
            let rising = |v: &[usize]| v[10] < v[11];
            prop_assert_eq!(
                rising(&apply("flip", [1, 30], 1, index)),
                rising(&apply("crop-flip", [1, 30], 1, index))
            );
        }
    }

    #[test]
    fn epochs_and_indices_differ() {
        let all: Vec<_> =
            (0..3).flat_map(|e| (0..3).map(move |i| apply("crop-flip-cutout", [32, 32], e, i))).collect();
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
    }
}
