//! Random deformations of small images, elastic and affine, and the derivatives of images along them.

use kernels::random::Key;
use kernels::{Element, par};
use rand::RngExt;

use crate::error::Error;

/// Random deformations: x'(p) = x(p + t(p)) at each pixel p, with a displacement field, in pixels,
///
///   t(p) = (R S H - I) (p - c) + shift + elastic(p),   c the centre of the image
///
/// R is a rotation, S a scaling of each axis, H a shear, each drawn uniformly up to its limit on either side. The elastic
/// field is uniform noise smoothed by a Gaussian (Simard, Steinkraus, Platt, ICDAR 2003), scaled to its root mean square.
/// Values between pixels are bilinear; outside the image those of the nearest pixel are used. All channels share the
/// field. A version is a pure function of the key, the image's position and the version's number.
///
/// ```
/// use datasets::Deform;
/// use kernels::random::Key;
/// let image: Vec<f64> = (0..64).map(|i| f64::from(i % 8)).collect();
/// let versions = Deform::of_size(8).versions(&image, [1, 8, 8], 3, Key::new(0)).unwrap();
/// assert_eq!(versions.len(), 3 * 64);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deform {
    /// The root mean square of the elastic displacement, in pixels.
    pub elastic: f64,
    /// The deviation of the Gaussian that smooths it, in pixels.
    pub smoothness: f64,
    /// The largest shift along each axis, in pixels.
    pub shift: f64,
    /// The largest angle of rotation, in radians.
    pub rotation: f64,
    /// The largest change of the size of each axis, as a share.
    pub scale: f64,
    /// The largest shear: the shift of a row relative to the next one, in pixels.
    pub shear: f64,
}

/// A displacement (down, right) for each pixel.
type Field = Vec<[f64; 2]>;

impl Deform {
    /// Deformations for images of this side: elastic by 1/28 of it, smoothed over 1/7, shifts of up to 1/28, rotations of
    /// up to 0.15, scalings and shears of up to 0.1.
    pub fn of_size(side: usize) -> Deform {
        let side = side as f64;
        Deform {
            elastic: side / 28.0,
            smoothness: side / 7.0,
            shift: side / 28.0,
            rotation: 0.15,
            scale: 0.1,
            shear: 0.1,
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// If a number is negative or not finite.
    pub fn check(&self) -> Result<(), Error> {
        let Deform { elastic, smoothness, shift, rotation, scale, shear } = *self;
        for (name, value) in [
            ("elastic", elastic),
            ("smoothness", smoothness),
            ("shift", shift),
            ("rotation", rotation),
            ("scale", scale),
            ("shear", shear),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::usage(format_args!(
                    "deformation: {name} is {value}; it must be finite and not negative"
                )));
            }
        }
        Ok(())
    }

    /// `count` deformed versions of each of some images, given one after the other as planes of `shape` (channels,
    /// height, width): all versions of the first image, then those of the second.
    ///
    /// # Errors
    /// As [`Deform::check`].
    ///
    /// # Panics
    /// If the images do not have that shape.
    pub fn versions<T: Element>(
        &self,
        images: &[T],
        shape: [usize; 3],
        count: usize,
        key: Key,
    ) -> Result<Vec<T>, Error> {
        self.each(images, shape, count, key, deformed)
    }

    /// The derivatives of each image along `count` deformations, d/ds x(p + s t(p)) at s = 0: <t(p), grad x(p)>, with the
    /// gradient by central differences. In the order of [`Deform::versions`], along the same fields for the same key.
    ///
    /// # Errors
    /// As [`Deform::check`].
    ///
    /// # Panics
    /// If the images do not have that shape.
    pub fn tangents<T: Element>(
        &self,
        images: &[T],
        shape: [usize; 3],
        count: usize,
        key: Key,
    ) -> Result<Vec<T>, Error> {
        self.each(images, shape, count, key, derivative)
    }

    fn each<T: Element>(
        &self,
        images: &[T],
        shape: [usize; 3],
        count: usize,
        key: Key,
        of_plane: fn(&[T], [usize; 2], &Field) -> Vec<T>,
    ) -> Result<Vec<T>, Error> {
        self.check()?;
        let [channels, height, width] = shape;
        let (plane, size) = (height * width, [height, width]);
        let length = channels * plane;
        if length == 0 || images.is_empty() {
            return Ok(Vec::new());
        }
        assert!(
            images.len().is_multiple_of(length),
            "deformation: images of {channels} x {height} x {width}"
        );
        let all = par::map(images.len() / length * count, |i| {
            let (image, version) = (i / count, i % count);
            let field = self.field(size, key.step(version as u64), image as u64);
            let planes = images[image * length..(image + 1) * length].chunks(plane);
            planes.flat_map(|x| of_plane(x, size, &field)).collect::<Vec<T>>()
        });
        Ok(all.concat())
    }

    fn field(&self, [height, width]: [usize; 2], key: Key, image: u64) -> Field {
        let mut draws = key.stream("affine").rng(image);
        let mut up_to = |limit: f64| limit * (2.0 * draws.random::<f64>() - 1.0);
        let shift = [up_to(self.shift), up_to(self.shift)];
        let (sin, cos) = up_to(self.rotation).sin_cos();
        let [down, right] = [1.0 + up_to(self.scale), 1.0 + up_to(self.scale)];
        let shear = up_to(self.shear);
        // R S H - I for (row, column), H = [[1, 0], [shear, 1]].
        let affine = [
            [cos * down - sin * right * shear - 1.0, -sin * right],
            [sin * down + cos * right * shear, cos * right - 1.0],
        ];
        let elastic = self.elastic_field([height, width], key, image);
        let centre = [(height - 1) as f64 / 2.0, (width - 1) as f64 / 2.0];
        let at = |i: usize| {
            let p = [(i / width) as f64 - centre[0], (i % width) as f64 - centre[1]];
            [0, 1]
                .map(|axis| affine[axis][0] * p[0] + affine[axis][1] * p[1] + shift[axis] + elastic[axis][i])
        };
        (0..height * width).map(at).collect()
    }

    /// The displacements along each axis.
    fn elastic_field(&self, [height, width]: [usize; 2], key: Key, image: u64) -> [Vec<f64>; 2] {
        let mut draws = key.stream("elastic").rng(image);
        let mut noise =
            || -> Vec<f64> { (0..height * width).map(|_| 2.0 * draws.random::<f64>() - 1.0).collect() };
        let fields = [noise(), noise()];
        if self.elastic == 0.0 {
            return fields.map(|field| vec![0.0; field.len()]);
        }
        let fields = fields.map(|field| smoothed(&field, [height, width], self.smoothness));
        let squares: f64 = fields.iter().flatten().map(|t| t * t).sum();
        let mean = (squares / (height * width) as f64).sqrt();
        let factor = if mean > 0.0 { self.elastic / mean } else { 0.0 };
        fields.map(|field| field.into_iter().map(|t| t * factor).collect())
    }
}

/// A plane convolved with a Gaussian, cut off at three deviations, along both axes; outside the nearest pixel counts.
fn smoothed(plane: &[f64], [height, width]: [usize; 2], deviation: f64) -> Vec<f64> {
    let radius = (3.0 * deviation).ceil() as isize;
    let weight = |d: isize| if deviation > 0.0 { (-0.5 * (d as f64 / deviation).powi(2)).exp() } else { 1.0 };
    let weights: Vec<f64> = (-radius..=radius).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    let along = |plane: &[f64], size: usize, stride: usize| -> Vec<f64> {
        let at = |i: usize| {
            let (place, start) = (i / stride % size, i - i / stride % size * stride);
            let source =
                |d: usize| (place as isize + d as isize - radius).clamp(0, size as isize - 1) as usize;
            weights.iter().enumerate().map(|(d, w)| w * plane[start + source(d) * stride]).sum::<f64>() / sum
        };
        (0..plane.len()).map(at).collect()
    };
    along(&along(plane, height, width), width, 1)
}

/// x(p + t(p)).
fn deformed<T: Element>(x: &[T], [height, width]: [usize; 2], field: &Field) -> Vec<T> {
    let at = |(i, t): (usize, &[f64; 2])| {
        let place = |start: usize, t: f64, size: usize| {
            let place = (start as f64 + t).clamp(0.0, (size - 1) as f64);
            let low = place as usize;
            (low, (low + 1).min(size - 1), place - low as f64)
        };
        let (top, bottom, down) = place(i / width, t[0], height);
        let (left, right, across) = place(i % width, t[1], width);
        let row = |y: usize| {
            let [a, b] = [x[y * width + left], x[y * width + right]].map(Element::to_f64);
            a + (b - a) * across
        };
        let (a, b) = (row(top), row(bottom));
        T::from_f64(a + (b - a) * down)
    };
    field.iter().enumerate().map(at).collect()
}

/// <t(p), grad x(p)>.
fn derivative<T: Element>(x: &[T], [height, width]: [usize; 2], field: &Field) -> Vec<T> {
    let at = |(i, t): (usize, &[f64; 2])| {
        let (y, x0) = (i / width, i % width);
        let slope = |before: usize, after: usize| 0.5 * (x[after].to_f64() - x[before].to_f64());
        let down = slope(y.saturating_sub(1) * width + x0, (y + 1).min(height - 1) * width + x0);
        let right = slope(y * width + x0.saturating_sub(1), y * width + (x0 + 1).min(width - 1));
        T::from_f64(t[0] * down + t[1] * right)
    };
    field.iter().enumerate().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: [usize; 2] = [12, 10];

    const NONE: Deform =
        Deform { elastic: 0.0, smoothness: 2.0, shift: 0.0, rotation: 0.0, scale: 0.0, shear: 0.0 };

    fn plane(f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        (0..SIZE[0] * SIZE[1]).map(|i| f((i / SIZE[1]) as f64, (i % SIZE[1]) as f64)).collect()
    }

    fn smooth() -> Vec<f64> {
        plane(|y, x| (0.4 * y).sin() + (0.3 * x + 0.1 * y).cos())
    }

    #[test]
    fn a_shift_by_whole_pixels_repeats_the_edge() {
        let x = smooth();
        let moved = deformed(&x, SIZE, &vec![[2.0, -1.0]; x.len()]);
        let expected = (0..x.len()).map(|i| {
            let (row, column) = ((i / SIZE[1] + 2).min(SIZE[0] - 1), (i % SIZE[1]).saturating_sub(1));
            x[row * SIZE[1] + column]
        });
        assert_eq!(moved, expected.collect::<Vec<_>>());
    }

    #[test]
    fn the_derivative_of_a_plane_is_exact_inside() {
        let x = plane(|y, x| 2.0 * y - 3.0 * x);
        let t = derivative(&x, SIZE, &vec![[0.5, 0.25]; x.len()]);
        for (i, t) in t.iter().enumerate() {
            let inside = |v: usize, size: usize| v > 0 && v + 1 < size;
            if inside(i / SIZE[1], SIZE[0]) && inside(i % SIZE[1], SIZE[1]) {
                assert!((t - 0.25).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn an_affine_field_turns_about_the_centre() {
        // A quarter turn of a square image: rows become columns.
        let quarter = Deform { rotation: 1e9, ..NONE };
        let field = quarter.field([5, 5], Key::new(1), 0);
        let length = |[a, b]: [f64; 2]| (a * a + b * b).sqrt();
        // The centre stays; points at equal distances move equally far.
        assert!(length(field[12]) < 1e-12);
        for i in [0, 4, 20] {
            assert!((length(field[i]) - length(field[24])).abs() < 1e-12);
        }
        let shear = Deform { shear: 0.3, ..NONE }.field([5, 5], Key::new(1), 0);
        assert!(shear.iter().all(|t| t[0] == 0.0) && shear[0][1] == -shear[20][1] && shear[0][1] != 0.0);
        assert_eq!(shear[0], shear[4]);
    }

    #[test]
    fn elastic_fields_have_their_size_and_are_smooth() {
        let fields = Deform { elastic: 1.5, ..NONE }.elastic_field([20, 20], Key::new(2), 0);
        let mean: f64 = fields.iter().flatten().map(|t| t * t).sum::<f64>() / 400.0;
        assert!((mean.sqrt() - 1.5).abs() < 1e-12);
        let steps: f64 = fields[0].windows(2).map(|w| (w[1] - w[0]).powi(2)).sum::<f64>() / 400.0;
        assert!(steps < 0.2 * mean, "{steps} of {mean}");
    }

    #[test]
    fn no_limits_are_no_deformation() {
        let x = smooth();
        let shape = [1, SIZE[0], SIZE[1]];
        assert_eq!(NONE.versions(&x, shape, 1, Key::new(1)).unwrap(), x);
        assert!(NONE.tangents(&x, shape, 1, Key::new(1)).unwrap().iter().all(|t| *t == 0.0));
        assert_eq!(NONE.versions::<f32>(&[], shape, 3, Key::new(1)).unwrap(), []);
        assert_eq!(Deform::of_size(1).versions(&[3.0], [1, 1, 1], 2, Key::new(1)).unwrap(), [3.0, 3.0]);
        let error = Deform { shift: -1.0, ..NONE }.check().unwrap_err().to_string();
        assert!(error.contains("deformation: shift is -1; it must be finite and not negative"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn a_version_depends_on_key_image_and_number_alone(seed in 0u64..1000) {
            let x: Vec<f64> = [smooth(), smooth(), smooth(), smooth()].concat();
            let (deform, key) = (Deform::of_size(12), Key::new(seed));
            // Two images of two channels.
            let shape = [2, SIZE[0], SIZE[1]];
            let length = 2 * SIZE[0] * SIZE[1];
            let all = deform.versions(&x, shape, 3, key).unwrap();
            prop_assert_eq!(&deform.versions(&x[..length], shape, 3, key).unwrap(), &all[..3 * length]);
            let fewer = deform.versions(&x, shape, 2, key).unwrap();
            prop_assert_eq!(&fewer[2 * length..4 * length], &all[3 * length..5 * length]);
            prop_assert!(all[..length] != all[length..2 * length] && all[..length] != all[3 * length..4 * length]);
            // Channels are deformed alike.
            prop_assert_eq!(&all[..length / 2], &all[length / 2..length]);
            let narrow: Vec<f32> = x.iter().map(|v| *v as f32).collect();
            let narrow = deform.versions(&narrow, shape, 3, key).unwrap();
            prop_assert!(all.iter().zip(&narrow).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-5));
        }

        #[test]
        fn tangents_are_the_limit_of_deformations(seed in 0u64..1000) {
            let x = smooth();
            let deform = Deform { elastic: 0.6, ..Deform::of_size(12) };
            let field = deform.field(SIZE, Key::new(seed), 0);
            let shape = [1, SIZE[0], SIZE[1]];
            let t = deform.tangents(&x, shape, 1, Key::new(seed)).unwrap();
            // One-sided slopes to both sides of a pixel have the central difference as their mean.
            let scaled = |s: f64| deformed(&x, SIZE, &field.iter().map(|t| t.map(|t| s * t)).collect());
            let (ahead, behind) = (scaled(1e-4), scaled(-1e-4));
            for i in 0..x.len() {
                let difference = (ahead[i] - behind[i]) / 2e-4;
                prop_assert!((difference - t[i]).abs() < 1e-3 * (1.0 + t[i].abs()), "{} {}", difference, t[i]);
            }
        }
    }
}
