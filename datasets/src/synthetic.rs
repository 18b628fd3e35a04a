//! Made-up data of known origin: Gaussian blobs, two moons, and the labels or outputs of a random teacher network.
//!
//! Features are channels of 1 x 1 images, without standardisation, in double precision.

use std::f64::consts::PI;
use std::sync::Arc;

use kernels::random::Key;
use rand::RngExt;

use crate::dataset::{Dataset, Pixels, Rows, Split, Standardisation, Targets};

/// A Gaussian around each class's centre; the centres are random points of a sphere.
#[derive(Clone, Debug, PartialEq)]
pub struct Blobs {
    /// The number of classes, equally frequent.
    pub classes: usize,
    /// The number of features.
    pub features: usize,
    /// The radius of the sphere of centres, in standard deviations of a blob.
    pub radius: f64,
    /// Training and test examples.
    pub sizes: [usize; 2],
}

/// Two interleaved half circles in the plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Moons {
    /// The standard deviation of the noise added to each coordinate; the circles have radius 1.
    pub noise: f64,
    /// Training and test examples.
    pub sizes: [usize; 2],
}

/// Normal inputs with the label that a random network gives them: argmax of B tanh(A x), with normal weights
/// of variance 1 / fan-in. A network as wide can learn it exactly. For regression, the outputs B tanh(A x) themselves are
/// the targets, without noise.
#[derive(Clone, Debug, PartialEq)]
pub struct Teacher {
    /// The number of classes: outputs of the teacher.
    pub classes: usize,
    /// The number of features: inputs of the teacher.
    pub features: usize,
    /// Hidden units of the teacher.
    pub hidden: usize,
    /// Training and test examples.
    pub sizes: [usize; 2],
}

impl Default for Blobs {
    fn default() -> Blobs {
        Blobs { classes: 10, features: 16, radius: 3.0, sizes: [2_000, 2_000] }
    }
}

impl Default for Moons {
    fn default() -> Moons {
        Moons { noise: 0.15, sizes: [1_000, 1_000] }
    }
}

impl Default for Teacher {
    fn default() -> Teacher {
        Teacher { classes: 4, features: 16, hidden: 8, sizes: [2_000, 2_000] }
    }
}

impl Blobs {
    /// Draws the set.
    pub fn dataset(&self, seed: u64) -> Dataset {
        let key = Key::new(seed).stream("blobs");
        let d = self.features;
        let mut centres = normal(key.stream("centres"), self.classes * d);
        for centre in centres.chunks_mut(d) {
            let norm = centre.iter().map(|v| v * v).sum::<f64>().sqrt();
            centre.iter_mut().for_each(|v| *v *= self.radius / norm);
        }
        let part = |name, n| {
            let labels: Vec<u32> = (0..n).map(|i| (i % self.classes) as u32).collect();
            let mut x = normal(key.stream(name), n * d);
            for (x, &label) in x.chunks_mut(d).zip(&labels) {
                x.iter_mut().zip(&centres[label as usize * d..]).for_each(|(x, c)| *x += c);
            }
            split(d, x, labels)
        };
        let note = format!(
            "{} Gaussian blobs of variance 1 in {d} dimensions, centres on a sphere of radius {}, seed {seed}",
            self.classes, self.radius
        );
        dataset("blobs", self.classes, self.sizes, part, note)
    }
}

impl Moons {
    /// Draws the set: labels 0 (the upper moon) and 1 in turn.
    pub fn dataset(&self, seed: u64) -> Dataset {
        let key = Key::new(seed).stream("moons");
        let part = |name, n| {
            let key = key.stream(name);
            let labels: Vec<u32> = (0..n).map(|i| (i % 2) as u32).collect();
            let mut x = normal(key.stream("noise"), 2 * n);
            for (i, (x, &label)) in x.chunks_mut(2).zip(&labels).enumerate() {
                let (sin, cos) = (PI * key.stream("angle").rng(i as u64).random::<f64>()).sin_cos();
                let place = if label == 0 { [cos, sin] } else { [1.0 - cos, 0.5 - sin] };
                x.iter_mut().zip(place).for_each(|(x, p)| *x = p + self.noise * *x);
            }
            split(2, x, labels)
        };
        dataset("moons", 2, self.sizes, part, format!("two moons with noise {}, seed {seed}", self.noise))
    }
}

impl Teacher {
    /// Draws the set: inputs with labels.
    pub fn dataset(&self, seed: u64) -> Dataset {
        let targets = |outputs: Vec<f64>| {
            let largest = |y: &[f64]| (0..y.len()).max_by(|&i, &j| y[i].total_cmp(&y[j])).unwrap_or(0) as u32;
            Targets::Classes(outputs.chunks(self.classes).map(largest).collect())
        };
        let note = format!(
            "normal inputs labelled by a random tanh network {}-{}-{}, seed {seed}",
            self.features, self.hidden, self.classes
        );
        dataset("teacher", self.classes, self.sizes, self.part(seed, targets), note)
    }

    /// Draws the set for regression: the inputs of [`Teacher::dataset`] with the outputs of the network as real targets.
    pub fn regression(&self, seed: u64) -> Dataset {
        let targets = |values| Targets::Values(Rows { width: self.classes, values });
        let note = format!(
            "normal inputs with the outputs of a random tanh network {}-{}-{}, seed {seed}",
            self.features, self.hidden, self.classes
        );
        dataset("teacher-regression", 0, self.sizes, self.part(seed, targets), note)
    }

    /// Draws the examples of a part, whose targets are a function of the outputs of the network.
    fn part(
        &self,
        seed: u64,
        targets: impl Fn(Vec<f64>) -> Targets,
    ) -> impl Fn(&'static str, usize) -> Split {
        let key = Key::new(seed).stream("teacher");
        let d = self.features;
        let a = normal(key.stream("hidden"), self.hidden * d);
        let b = normal(key.stream("output"), self.classes * self.hidden);
        let layer = |w: &[f64], x: &[f64]| -> Vec<f64> {
            let scale = 1.0 / (x.len() as f64).sqrt();
            w.chunks(x.len()).map(|w| scale * w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()).collect()
        };
        move |name, n| {
            let x = normal(key.stream(name), n * d);
            let outputs = x.chunks(d).flat_map(|x| {
                let hidden: Vec<f64> = layer(&a, x).into_iter().map(f64::tanh).collect();
                layer(&b, &hidden)
            });
            let targets = targets(outputs.collect());
            split(d, x, targets)
        }
    }
}

fn normal(key: Key, n: usize) -> Vec<f64> {
    let mut draws = vec![0.0; n];
    key.fill_normal(&mut draws);
    draws
}

fn split(features: usize, x: Vec<f64>, targets: impl Into<Targets>) -> Split {
    Split::new([features, 1, 1], Pixels::F64(x), targets, Standardisation::identity(features))
}

fn dataset(
    name: &str,
    classes: usize,
    sizes: [usize; 2],
    part: impl Fn(&'static str, usize) -> Split,
    note: String,
) -> Dataset {
    Dataset {
        name: name.into(),
        train: Arc::new(part("train", sizes[0])),
        validation: None,
        rest: None,
        test: Arc::new(part("test", sizes[1])),
        classes: (0..classes).map(|c| c.to_string()).collect(),
        notes: vec![note],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(s: &Split, i: usize) -> Vec<f64> {
        (0..s.image_len()).map(|k| s.image(i).get(k)).collect()
    }

    #[test]
    fn seeds_fix_everything() {
        let make: [fn(u64) -> Dataset; 4] = [
            |s| Blobs::default().dataset(s),
            |s| Moons::default().dataset(s),
            |s| Teacher::default().dataset(s),
            |s| Teacher::default().regression(s),
        ];
        for make in make {
            let (a, b, c) = (make(1), make(1), make(2));
            assert_eq!((&a.train, &a.test), (&b.train, &b.test));
            assert_ne!(a.train, c.train);
            assert_ne!(a.train.pixels, a.test.pixels);
        }
    }

    #[test]
    fn blobs_have_their_centres_and_variance() {
        let d = Blobs { classes: 3, features: 4, radius: 5.0, sizes: [6_000, 3] }.dataset(0);
        assert_eq!(d.train.counts(3), [2_000; 3]);
        for class in 0..3 {
            let members: Vec<Vec<f64>> =
                (0..6_000).filter(|i| i % 3 == class).map(|i| features(&d.train, i)).collect();
            let mean: Vec<f64> = (0..4).map(|k| members.iter().map(|m| m[k]).sum::<f64>() / 2e3).collect();
            let radius = mean.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!((radius - 5.0).abs() < 0.15, "{radius}");
            let spread = |m: &Vec<f64>| m.iter().zip(&mean).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
            let variance = members.iter().map(spread).sum::<f64>() / 8e3;
            assert!((variance - 1.0).abs() < 0.08, "{variance}");
        }
    }

    #[test]
    fn moons_without_noise_are_half_circles() {
        let d = Moons { noise: 0.0, sizes: [200, 1] }.dataset(0);
        for i in 0..200 {
            let (x, label) = (features(&d.train, i), d.train.labels().unwrap()[i]);
            let (cx, cy, side) = if label == 0 { (0.0, 0.0, 1.0) } else { (1.0, 0.5, -1.0) };
            assert!(((x[0] - cx).hypot(x[1] - cy) - 1.0).abs() < 1e-12);
            assert!((x[1] - cy) * side >= 0.0);
        }
    }

    #[test]
    fn the_teacher_uses_all_its_classes() {
        for seed in 0..5 {
            let counts = Teacher::default().dataset(seed).train.counts(4);
            assert!(counts.iter().all(|&n| n > 100), "{counts:?}");
        }
    }

    #[test]
    fn the_label_is_the_largest_real_target() {
        let (labelled, real) = (Teacher::default().dataset(3), Teacher::default().regression(3));
        assert_eq!(labelled.train.pixels, real.train.pixels);
        let Targets::Values(rows) = &real.train.targets else { panic!("real targets") };
        assert_eq!((rows.width, rows.len(), real.classes.len()), (4, 2_000, 0));
        for (i, &label) in labelled.train.labels().unwrap().iter().enumerate() {
            assert!(rows.row(i).iter().all(|&y| y <= rows.row(i)[label as usize]));
        }
    }
}
