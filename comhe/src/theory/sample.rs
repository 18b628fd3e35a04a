//! Means of samples with their standard errors, and pairs of vectors under random projections.

use autograd::{DType, Key, Tensor, parallel_map};

use super::check::SIGMAS;
use crate::projection::Projections;

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mean {
    pub value: f64,
    pub stderr: f64,
}

impl Mean {
    /// Of independent samples.
    pub fn of(samples: &[f64]) -> Mean {
        let n = samples.len() as f64;
        let value = samples.iter().sum::<f64>() / n;
        let squares: f64 = samples.iter().map(|x| (x - value).powi(2)).sum();
        Mean { value, stderr: (squares / (n * (n - 1.0))).sqrt() }
    }

    /// The share of the samples that hold. The standard error counts one more success and one more failure, so
    /// that it is not 0 where all samples agree (Agresti and Coull 1998, in spirit).
    pub fn share(samples: impl IntoIterator<Item = bool>) -> Mean {
        let (mut n, mut hits) = (0.0, 0.0);
        for hit in samples {
            n += 1.0;
            hits += f64::from(u8::from(hit));
        }
        let p = (hits + 1.0) / (n + 2.0);
        Mean { value: hits / n, stderr: (p * (1.0 - p) / n).sqrt() }
    }

    /// Five standard errors, at most `most`, plus rounding errors.
    pub fn tolerance(self, most: f64) -> f64 {
        (SIGMAS * self.stderr).min(most) + 1e-12
    }
}

/// Two unit vectors of R^d with cosine rho, in a random position.
pub(super) fn pair(d: usize, rho: f64, key: Key) -> [Vec<f64>; 2] {
    let mut normal = vec![0.0; 2 * d];
    key.fill_normal(&mut normal);
    let (x, z) = normal.split_at_mut(d);
    to_unit(x);
    let along = dot(x, z);
    z.iter_mut().zip(x.iter()).for_each(|(z, x)| *z -= along * x);
    to_unit(z);
    let y = x.iter().zip(z.iter()).map(|(x, z)| rho * x + (1.0 - rho * rho).sqrt() * z).collect();
    [x.to_vec(), y]
}

/// x . y
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn to_unit(x: &mut [f64]) {
    let norm = dot(x, x).sqrt();
    x.iter_mut().for_each(|x| *x /= norm);
}

/// |Px|^2, |Py|^2 and Px . Py of a pair under a projection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Projected {
    pub xx: f64,
    pub yy: f64,
    pub xy: f64,
}

impl Projected {
    /// The cosine of the angle between Px and Py.
    pub fn cosine(self) -> f64 {
        (self.xy / (self.xx * self.yy).sqrt()).clamp(-1.0, 1.0)
    }
}

/// A pair under `count` independent projections, of which `projections.c` are drawn at a time.
pub(super) fn project([x, y]: &[Vec<f64>; 2], projections: Projections, count: usize) -> Vec<Projected> {
    let d = x.len();
    let pair = Tensor::new(&[x.as_slice(), y].concat(), [2, d]);
    let one = |draw: usize| -> Vec<Projected> {
        let p =
            projections.draw("theory", draw as u64, d, DType::F64).expect("k, C >= 1, and k <= d for frames");
        let images = pair.matmul_nt(&p.reshape([projections.c * projections.k, d]));
        let (px, py) = images.data::<f64>().split_at(projections.c * projections.k);
        let both = px.chunks_exact(projections.k).zip(py.chunks_exact(projections.k));
        both.map(|(px, py)| Projected { xx: dot(px, px), yy: dot(py, py), xy: dot(px, py) }).collect()
    };
    let mut found = parallel_map(count.div_ceil(projections.c), one).concat();
    found.truncate(count);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_shares() {
        let mean = Mean::of(&[1.0, 2.0, 3.0]);
        assert!((mean.value - 2.0).abs() < 1e-15 && (mean.stderr - (1.0f64 / 3.0).sqrt()).abs() < 1e-15);
        let share = Mean::share([true, true, false, true]);
        assert_eq!(share.value, 0.75);
        assert!(Mean::share([true; 100]).stderr > 0.0);
    }

    #[test]
    fn pairs_have_their_cosine_and_projections_their_length() {
        let both = pair(7, -0.4, Key::new(1));
        assert!((dot(&both[0], &both[1]) + 0.4).abs() < 1e-14);
        assert!((dot(&both[1], &both[1]) - 1.0).abs() < 1e-14);
        let found = project(&both, Projections { k: 3, c: 4, ..Projections::default() }, 10);
        assert_eq!(found.len(), 10);
        let p =
            Projections { k: 3, c: 4, ..Projections::default() }.draw("theory", 2, 7, DType::F64).unwrap();
        let p = &p.data::<f64>()[21..42];
        let want: f64 = p.chunks(7).map(|row| dot(row, &both[0]) * dot(row, &both[1])).sum();
        assert!((found[9].xy - want).abs() < 1e-14);
    }
}
