//! Point clouds: P points of a shape, as an "image" of three channels, 3 x P x 1, in the unit ball around their
//! centroid.
//!
//! The points of a shape are drawn once, by the data's seed; what changes from epoch to epoch is augmentation.

mod folder;
mod modelnet;
mod off;

use kernels::random::{Below, Key};
use rand::RngExt;

pub(crate) use folder::{load as load_folder, sources as folder_sources};
pub(crate) use modelnet::{load as load_modelnet10, sources as modelnet10_sources};
pub use off::Mesh;

/// A point.
type Point = [f64; 3];

/// Shifts points to their centroid, and scales them so that the farthest is at distance 1. Points that all coincide
/// stay at 0.
fn normalise(points: &mut [Point]) {
    let n = points.len() as f64;
    let centre = [0, 1, 2].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / n);
    points.iter_mut().for_each(|p| (0..3).for_each(|axis| p[axis] -= centre[axis]));
    let farthest = points.iter().map(|p| p.iter().map(|v| v * v).sum::<f64>()).fold(0.0, f64::max).sqrt();
    if farthest > 0.0 {
        points.iter_mut().flatten().for_each(|v| *v /= farthest);
    }
}

/// Appends a normalised cloud as three planes: all x, all y, all z.
fn append(mut points: Vec<Point>, values: &mut Vec<f32>) {
    normalise(&mut points);
    (0..3).for_each(|axis| values.extend(points.iter().map(|p| p[axis] as f32)));
}

/// `count` of the points: a random subset, in random order; with repetitions if there are fewer.
fn choose(points: &[Point], count: usize, key: Key) -> Vec<Point> {
    let order = key.permutation(points.len());
    if count <= points.len() {
        return order[..count].iter().map(|&i| points[i]).collect();
    }
    let mut rng = key.stream("again").rng(0);
    let more = (points.len()..count).map(|_| rng.sample(Below(points.len())));
    order.iter().copied().chain(more).map(|i| points[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_lie_in_the_unit_ball_around_their_centroid() {
        let mut values = Vec::new();
        append(vec![[1.0, 2.0, 3.0], [5.0, 2.0, 3.0], [3.0, 2.0, 3.0]], &mut values);
        assert_eq!(values, [-1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        values.clear();
        append(vec![[4.0; 3]; 2], &mut values);
        assert_eq!(values, [0.0; 6]);
    }

    #[test]
    fn subsets_have_no_repetitions_and_larger_draws_have_all() {
        let points: Vec<Point> = (0..5).map(|i| [i as f64; 3]).collect();
        let mut three: Vec<i64> = choose(&points, 3, Key::new(1)).iter().map(|p| p[0] as i64).collect();
        three.sort();
        three.dedup();
        assert_eq!(three.len(), 3);
        let eight = choose(&points, 8, Key::new(1));
        assert_eq!(eight.len(), 8);
        assert!(points.iter().all(|p| eight.contains(p)));
    }
}
