//! Random projections P in R^{k x d}: independent entries of mean 0 and variance 1/k, so that E |Px|^2 = |x|^2, or 1.
//!
//! Source: Lin et al., CVPR 2020, section 3.1 (Gaussian, k = 40, C = 20, in paper and published code alike; both
//! draw anew every step or every few; entries have variance 1/k in the paper, 1 in the code). The other distributions
//! are the sub-Gaussian family of its theorem 2, with Achlioptas' sparse one (Database-friendly random projections,
//! 2003), and random frames.

use autograd::{DType, Key, Scalar, Tensor};

use crate::error::Error;
use crate::named::named;

/// How the entries of P are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Normal: the published choice.
    Gaussian,
    /// Plus or minus the standard deviation v.
    Rademacher,
    /// Plus or minus sqrt(3) v, each with probability 1/6, else 0.
    Sparse,
    /// Uniform between minus and plus sqrt(3) v.
    Uniform,
    /// sqrt(d) v times k orthonormal rows in a uniformly random position: a random rotation, then truncation.
    /// Entries have variance v^2 but are not independent; k must not exceed d.
    Orthonormal,
}

named! {
    Distribution, "distribution":
    Gaussian = "gaussian",
    Rademacher = "rademacher",
    Sparse = "sparse",
    Uniform = "uniform",
    Orthonormal = "orthonormal",
}

/// The variance of the entries of P. Directions depend on it only through eps, which is k times smaller relative to
/// squared lengths that are k times larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variance {
    /// 1/k, which preserves squared lengths in the mean: the paper's.
    Reciprocal,
    /// 1: the published code's.
    Unit,
}

named! {
    Variance, "variance":
    Reciprocal = "reciprocal",
    Unit = "unit",
}

/// A family of random projections: their number, dimension and distribution.
///
/// A projection is a pure function of (seed, layer, draw, c): it depends neither on threads, nor on other layers, nor
/// on how many projections there are. (Normal draws differ between f32 and f64; the other distributions give the same
/// numbers, rounded.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projections {
    /// The dimension after projection; at least 1. It may exceed that of the neurons.
    pub k: usize,
    /// How many projections C; at least 1.
    pub c: usize,
    /// The distribution of the entries.
    pub distribution: Distribution,
    /// The variance of the entries.
    pub variance: Variance,
    /// The seed of all draws.
    pub seed: u64,
}

impl Default for Projections {
    /// The paper's setting: Gaussian, k = 40, C = 20, variance 1/k.
    fn default() -> Projections {
        let (distribution, variance) = (Distribution::Gaussian, Variance::Reciprocal);
        Projections { k: 40, c: 20, distribution, variance, seed: 0 }
    }
}

impl Projections {
    /// A single one, of k orthonormal rows, sqrt(d / k) long, in a uniformly random position.
    pub fn frame(k: usize, seed: u64) -> Projections {
        Projections { k, c: 1, distribution: Distribution::Orthonormal, seed, ..Projections::default() }
    }

    /// Checks that k and C are in range.
    ///
    /// # Errors
    /// If k or C is 0.
    pub fn check(&self) -> Result<(), Error> {
        for (name, value) in [("k", self.k), ("C", self.c)] {
            if value < 1 {
                return Err(Error::option(format!("{name} = {value}: a projection needs {name} >= 1")));
            }
        }
        Ok(())
    }

    /// Draw number `draw` for a layer whose neurons have dimension `d`: \[C, k, d\].
    ///
    /// # Errors
    /// If k or C is 0 or they are huge, or the distribution is orthonormal and k > d.
    pub fn draw(&self, layer: &str, draw: u64, d: usize, dtype: DType) -> Result<Tensor, Error> {
        self.check()?;
        if self.distribution == Distribution::Orthonormal && self.k > d {
            let k = self.k;
            return Err(Error::option(format!(
                "k = {k}: {k} orthonormal rows need dimension at least {k}, the neurons have {d}"
            )));
        }
        // A larger number has no use, and is almost certainly a mistake.
        const MOST: usize = 1 << 32;
        if self.c.checked_mul(self.k).and_then(|n| n.checked_mul(d)).is_none_or(|n| n > MOST) {
            return Err(Error::option(format!(
                "C = {}, k = {}: projections of {d} dimensions would have more than 2^32 elements",
                self.c, self.k
            )));
        }
        Ok(match dtype {
            DType::F32 => self.draw_as::<f32>(layer, draw, d),
            DType::F64 => self.draw_as::<f64>(layer, draw, d),
        })
    }

    fn draw_as<T: Scalar>(&self, layer: &str, draw: u64, d: usize) -> Tensor {
        let one = self.k * d;
        Tensor::drawn::<T>([self.c, self.k, d].into(), |out| {
            for (c, out) in out.chunks_exact_mut(one.max(1)).enumerate() {
                let key = Key::new(self.seed).stream("projection").stream(layer).stream(&c.to_string());
                self.fill(key.step(draw), d, out);
            }
        })
    }

    fn fill<T: Scalar>(&self, key: Key, d: usize, out: &mut [T]) {
        let shrink = if self.variance == Variance::Unit { 1.0 } else { self.k as f64 };
        match self.distribution {
            Distribution::Gaussian => key.fill_normal_with(T::from_f64(1.0 / shrink.sqrt()), out),
            Distribution::Orthonormal => {
                let mut rows = vec![0.0; out.len()];
                key.fill_normal(&mut rows);
                orthonormalise(&mut rows, d);
                out.iter_mut().zip(&rows).for_each(|(v, x)| *v = T::from_f64(x * (d as f64 / shrink).sqrt()));
            }
            // The others are functions of a uniform number on [0, 1), drawn in f64 for every T.
            _ => {
                let f: &dyn Fn(f64) -> f64 = match self.distribution {
                    Distribution::Rademacher => &|u| if u < 0.5 { -1.0 } else { 1.0 },
                    Distribution::Sparse => &|u| match u {
                        u if u < 1.0 / 6.0 => -(3f64.sqrt()),
                        u if u >= 5.0 / 6.0 => 3f64.sqrt(),
                        _ => 0.0,
                    },
                    _ => &|u| 3f64.sqrt() * (2.0 * u - 1.0),
                };
                let mut uniform = vec![0.0; out.len()];
                key.fill_uniform(&mut uniform);
                out.iter_mut().zip(&uniform).for_each(|(v, &u)| *v = T::from_f64(f(u) / shrink.sqrt()));
            }
        }
    }
}

/// Makes the rows orthonormal, in order. Normal rows end up as a uniformly random frame.
fn orthonormalise(rows: &mut [f64], d: usize) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for i in 0..rows.len() / d.max(1) {
        let (before, rest) = rows.split_at_mut(i * d);
        let row = &mut rest[..d];
        // Twice is enough (Kahan): the second pass removes the rounding errors of the first.
        for _ in 0..2 {
            for other in before.chunks_exact(d) {
                let along = dot(row, other);
                row.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
            }
            let norm = dot(row, row).sqrt();
            row.iter_mut().for_each(|x| *x /= norm);
        }
    }
}

/// Checks that a redraw period is in range.
pub(crate) fn check_redraw(steps: u64) -> Result<(), Error> {
    if steps == 0 {
        return Err(Error::option("redraw = 0: there must be 1 or more steps between two draws".into()));
    }
    Ok(())
}

/// An explicit projection, k x d or C x k x d, as C x k x d.
///
/// # Errors
/// If it has another number of axes, does not fit neurons of dimension `d`, has no rows, or an element is not
/// finite: the message says what was expected and found.
pub fn explicit(p: &Tensor, d: usize, dtype: DType) -> Result<Tensor, Error> {
    let shape = *p.shape();
    let fits = [2, 3].contains(&p.rank()) && shape[p.rank() - 1] == d && p.numel() > 0;
    if !fits {
        return Err(Error::shape(format!(
            "expected a projection of shape [k, {d}] or [C, k, {d}] with k, C >= 1, found {shape}"
        )));
    }
    if p.dtype() != dtype {
        return Err(Error::shape(format!("expected a projection in {dtype}, found {}", p.dtype())));
    }
    if !p.is_finite() {
        return Err(Error::shape(format!(
            "the projection of shape {shape} has an element that is not finite"
        )));
    }
    Ok(if p.rank() == 2 { p.unsqueeze(0) } else { p.clone() })
}

/// Every neuron under every projection: rows w_i (N x d) and P (C x k x d) give P_c w_i, \[C, N, k\].
///
/// All projections are one product with C k columns, which is 1.3 to 5 times as fast as C products with k of them.
/// P is a constant: it is never differentiated here.
pub(crate) fn project(rows: &Tensor, p: &Tensor) -> Tensor {
    let [c, k, d] = [p.shape()[0], p.shape()[1], p.shape()[2]];
    let all = rows.matmul_nt(&p.detach().reshape([c * k, d]));
    all.reshape([rows.shape()[0], c, k]).permute([1, 0, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projections(distribution: Distribution, k: usize, c: usize) -> Projections {
        Projections { k, c, distribution, seed: 5, ..Projections::default() }
    }

    #[test]
    fn entries_have_mean_0_and_variance_1_over_k() {
        for distribution in Distribution::ALL {
            let (k, d, c) = (8, 50, 100);
            let p = projections(distribution, k, c).draw("layer", 3, d, DType::F64).unwrap().to_vec::<f64>();
            let n = p.len() as f64;
            let mean = p.iter().sum::<f64>() / n;
            let variance = p.iter().map(|x| x * x).sum::<f64>() / n;
            let fourth = p.iter().map(|x| x.powi(4)).sum::<f64>() / n;
            let (k, error) = (k as f64, (fourth - variance * variance).max(0.0).sqrt() / n.sqrt());
            assert!(mean.abs() < 4.0 / (k * n).sqrt(), "{distribution}: mean {mean}");
            assert!((variance - 1.0 / k).abs() <= 4.0 * error + 1e-12, "{distribution}: variance {variance}");
            // The fourth moment distinguishes the distributions: 3, 1, 3, 9/5, and 3 d / (d + 2) of a sphere.
            let kurtosis = match distribution {
                Distribution::Gaussian | Distribution::Sparse => 3.0,
                Distribution::Rademacher => 1.0,
                Distribution::Uniform => 1.8,
                Distribution::Orthonormal => 3.0 * 50.0 / 52.0,
            };
            assert!((fourth * k * k - kurtosis).abs() < 0.1, "{distribution}: kurtosis {}", fourth * k * k);
        }
    }

    #[test]
    fn unit_variance_is_that_of_one_over_k_scaled() {
        for distribution in Distribution::ALL {
            let p = projections(distribution, 9, 2);
            let draw = |p: Projections| p.draw("layer", 0, 20, DType::F64).unwrap().to_vec::<f64>();
            let unit = draw(Projections { variance: Variance::Unit, ..p });
            assert!(unit.iter().zip(draw(p)).all(|(a, b)| (a - 3.0 * b).abs() < 1e-14), "{distribution}");
        }
    }

    #[test]
    fn frames_are_orthogonal_and_keep_lengths_in_the_mean() {
        let (k, d) = (6, 10);
        let p = projections(Distribution::Orthonormal, k, 2).draw("a", 0, d, DType::F64).unwrap();
        let gram = p.matmul_nt(&p).to_vec::<f64>();
        for (i, g) in gram.iter().enumerate() {
            let want = if i % (k * k) / k == i % k { d as f64 / k as f64 } else { 0.0 };
            assert!((g - want).abs() < 1e-14, "{g} {want}");
        }
        let error = projections(Distribution::Orthonormal, 11, 1).draw("a", 0, d, DType::F64).unwrap_err();
        assert!(error.to_string().contains("11 orthonormal rows need dimension at least 11"), "{error}");
    }

    #[test]
    fn a_draw_depends_on_seed_layer_number_and_c_alone() {
        let draw = |p: Projections, layer: &str, number| {
            p.draw(layer, number, 100, DType::F64).unwrap().to_vec::<f64>()
        };
        for distribution in Distribution::ALL {
            let p = projections(distribution, 4, 3);
            let base = draw(p, "conv1", 7);
            for threads in [1, 2, 7] {
                autograd::set_threads(threads);
                assert_eq!(draw(p, "conv1", 7), base, "{distribution}");
            }
            let more = draw(Projections { c: 5, ..p }, "conv1", 7);
            assert_eq!(
                more[..base.len()],
                base[..],
                "{distribution}: more projections change no earlier one"
            );
            assert_ne!(more[..400], more[400..800], "{distribution}: projections differ");
            assert_ne!(draw(p, "conv2", 7), base, "{distribution}");
            assert_ne!(draw(p, "conv1", 8), base, "{distribution}");
            assert_ne!(draw(Projections { seed: 6, ..p }, "conv1", 7), base, "{distribution}");
            if distribution == Distribution::Gaussian {
                continue;
            }
            let narrow = p.draw("conv1", 7, 100, DType::F32).unwrap().to_vec::<f64>();
            assert!(narrow.iter().zip(&base).all(|(a, b)| (a - b).abs() < 1e-6), "{distribution}");
        }
    }

    #[test]
    fn explicit_projections_must_fit() {
        let fails = |shape: &[usize], text: &str| {
            let e = explicit(&Tensor::zeros(shape, DType::F64), 27, DType::F64).unwrap_err().to_string();
            assert!(e.contains(text), "{e}");
        };
        fails(&[3, 28], "expected a projection of shape [k, 27] or [C, k, 27] with k, C >= 1, found [3, 28]");
        fails(&[27], "found [27]");
        fails(&[0, 27], "found [0, 27]");
        let p = explicit(&Tensor::zeros([3, 27], DType::F64), 27, DType::F64).unwrap();
        assert_eq!(*p.shape(), [1, 3, 27]);
        assert!(projections(Distribution::Gaussian, 0, 1).check().is_err());
        assert!(projections(Distribution::Gaussian, 1, 0).check().is_err());
        assert!("gausian".parse::<Distribution>().unwrap_err().to_string().contains("did you mean gaussian"));
    }
}
