//! Bilateral projection as a parametrisation (B-CoMHE, form (ii)).
//!
//! The parameters are Y1 (r x N) and Y2 (d x r) themselves, and define the weights of the layer:
//!
//!   M = Y2 (P1 Y2)^-1 Y1 (d x N),   W = M',   E = E_s(columns of Y1) + E_s(columns of Y2)
//!
//! with P1 (r x d) a fixed random projection. P1 M = Y1: the weights are those of rank r whose projection is Y1 and whose
//! columns are combinations of Y2's. Training differentiates through the solve, and the energy, taken on the
//! parameters, costs less than that of the weights.
//!
//! Source: Lin et al., CVPR 2020, section 3.5, after low-rank reconstruction from bilateral random projections
//! (Zhou and Tao 2012); there is no published code for it.

use autograd::{DType, Key, Tensor};

use crate::energy::{Energy, checked_rows};
use crate::error::Error;
use crate::projection::{Projections, explicit};

/// A weight W (N x d) of rank r, given by Y1 and Y2.
///
/// ```
/// use autograd::{DType, Key, Tensor};
/// use comhe::{Energy, LowRank};
///
/// let start = Tensor::normal([20, 50], DType::F64, Key::new(1));
/// let layer = LowRank::near(&start, 4, 0)?;
/// let x = Tensor::normal([8, 50], DType::F64, Key::new(2));
/// let y = layer.forward(&x)?; // [8, 20]
/// let loss = (&y * &y).mean(..) + layer.energy(&Energy::default())?;
/// let grads = loss.backward();
/// assert_eq!(grads[&layer.y1].shape(), layer.y1.shape());
/// assert_eq!(grads[&layer.y2].shape(), layer.y2.shape());
/// # Ok::<(), comhe::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LowRank {
    /// Y1, r x N: a parameter.
    pub y1: Tensor,
    /// Y2, d x r: a parameter.
    pub y2: Tensor,
    /// P1, r x d: a constant.
    pub(crate) p1: Tensor,
}

impl LowRank {
    /// The parametrisation with the given parameters, which become leaves of the graph, and P1 (r x d).
    ///
    /// # Errors
    /// If the shapes do not fit one another, dtypes differ, an element is not finite, or P1 Y2 is singular.
    pub fn new(y1: &Tensor, y2: &Tensor, p1: &Tensor) -> Result<LowRank, Error> {
        if [y1.rank(), y2.rank(), p1.rank()] != [2, 2, 2] {
            return Err(Error::shape(format!(
                "expected Y1 [r, N], Y2 [d, r] and P1 [r, d], found {}, {} and {}",
                y1.shape(),
                y2.shape(),
                p1.shape()
            )));
        }
        let (y1, y2) = (checked_rows(y1)?, checked_rows(y2)?);
        let [r, d] = [y1.shape()[0], y2.shape()[0]];
        if y2.shape()[1] != r || p1.shape()[0] != r {
            return Err(Error::shape(format!(
                "expected Y2 of shape [{d}, {r}] and P1 of shape [{r}, {d}], to go with Y1 of {}, found {} and {}",
                y1.shape(),
                y2.shape(),
                p1.shape()
            )));
        }
        if y2.dtype() != y1.dtype() {
            return Err(Error::shape(format!("expected Y2 in {}, found {}", y1.dtype(), y2.dtype())));
        }
        let p1 = explicit(p1, d, y1.dtype())?.detach().reshape([r, d]);
        let layer = LowRank { y1: y1.requires_grad(), y2: y2.requires_grad(), p1 };
        let _ = layer.core()?;
        Ok(layer)
    }

    /// The parametrisation of rank `r` that approximates a weight (N x d, or a convolution kernel): Y1 = P1 W' and Y2 =
    /// W' P2 with normal P1 and P2 drawn from a seed. A weight of rank r or less is represented exactly.
    ///
    /// # Errors
    /// If the weight has a wrong shape or an element is not finite, r is 0, or P1 Y2 is singular, as it is where r
    /// exceeds the weight's rank.
    pub fn near(w: &Tensor, r: usize, seed: u64) -> Result<LowRank, Error> {
        let rows = checked_rows(&w.detach())?;
        let draw = |side: &str, size: usize| {
            let one = Projections { k: r, c: 1, seed, ..Projections::default() };
            Ok::<Tensor, Error>(one.draw(side, 0, size, rows.dtype())?.reshape([r, size]))
        };
        let (p1, p2) = (draw("low rank/left", rows.shape()[1])?, draw("low rank/right", rows.shape()[0])?);
        LowRank::new(&p1.matmul_nt(&rows), &p2.matmul(&rows).transpose(0, 1), &p1)
    }

    /// A parametrisation of rank `r` of a new layer with N neurons of dimension d, whose weights have
    /// variance `2 / d`. The draws are a function of the layer's name and the seed.
    ///
    /// P1 has orthonormal rows in a random position, and Y2 starts as a P1', so that P1 Y2 = a I: training begins where
    /// the solve is well conditioned. The weights do not depend on the size a of Y2, but their slope with respect to Y2
    /// does, as 1 / a: with a^2 = 2 N / r steps of Y1 and of Y2 move the weights about equally.
    ///
    /// # Errors
    /// If r is 0 or exceeds d.
    pub fn init(
        n: usize,
        d: usize,
        r: usize,
        dtype: DType,
        layer: &str,
        seed: u64,
    ) -> Result<LowRank, Error> {
        let frame = Projections::frame(r, seed);
        let p1 = frame.draw(layer, 0, d, dtype)?.reshape([r, d]) * (r as f64 / d as f64).sqrt();
        // A row of W is a combination of r orthonormal rows: its square length is that of a column of Y1, 2.
        let key = Key::new(seed).stream("low rank").stream(layer);
        let y1 = Tensor::normal([r, n], dtype, key) * (2.0 / r as f64).sqrt();
        let a = (2.0 * n as f64 / r as f64).sqrt();
        LowRank::new(&y1, &(p1.transpose(0, 1) * a), &p1)
    }

    /// P1, r x d.
    pub fn projection(&self) -> &Tensor {
        &self.p1
    }

    /// The parameters Y1 and Y2, for updates in place.
    pub fn parameters(&mut self) -> [&mut Tensor; 2] {
        [&mut self.y1, &mut self.y2]
    }

    /// The weight W = (Y2 (P1 Y2)^-1 Y1)', N x d, differentiable.
    ///
    /// # Errors
    /// If an element of a parameter is not finite, or P1 Y2 is singular.
    pub fn weight(&self) -> Result<Tensor, Error> {
        low_rank_weight(&self.y1, &self.y2, &self.p1)
    }

    /// The layer's output W x for each row of x, \[B, d\] to \[B, N\].
    ///
    /// # Errors
    /// As [`LowRank::weight`].
    ///
    /// # Panics
    /// If x does not have two axes, the last of size d.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        // From the left, so that W is never formed.
        Ok(x.matmul(&self.y2).matmul(&self.core()?.solve(&self.y1)))
    }

    /// E_s(columns of Y1) + E_s(columns of Y2).
    ///
    /// # Errors
    /// If an element of a parameter is not finite, or a column is zero while eps = 0.
    pub fn energy(&self, energy: &Energy) -> Result<Tensor, Error> {
        Ok(energy.of(&self.y1.transpose(0, 1))? + energy.of(&self.y2.transpose(0, 1))?)
    }

    fn core(&self) -> Result<Tensor, Error> {
        core(&self.y1, &self.y2, &self.p1)
    }
}

/// The weight W = (Y2 (P1 Y2)^-1 Y1)', N x d, of Y1 (r x N), Y2 (d x r) and P1 (r x d); differentiable in Y1 and Y2.
///
/// # Errors
/// If an element of Y1 or Y2 is not finite, or P1 Y2 is singular.
///
/// # Panics
/// If the shapes do not fit one another: see [`LowRank::new`], which checks them.
pub fn low_rank_weight(y1: &Tensor, y2: &Tensor, p1: &Tensor) -> Result<Tensor, Error> {
    Ok(core(y1, y2, p1)?.solve(y1).matmul_tn(&y2.transpose(0, 1)))
}

/// P1 Y2, r x r, if it is invertible.
fn core(y1: &Tensor, y2: &Tensor, p1: &Tensor) -> Result<Tensor, Error> {
    let _ = checked_rows(y1)?;
    let core = p1.matmul(&checked_rows(y2)?);
    match dependent_column(&core) {
        None => Ok(core),
        Some(column) => Err(Error::option(format!(
            "P1 Y2 of shape {} is singular: its column {column} is a combination of those before, up to rounding; \
             W = Y2 (P1 Y2)^-1 Y1 needs P1 and Y2 of rank {}",
            core.shape(),
            core.shape()[0]
        ))),
    }
}

/// The first column of a square matrix that depends linearly on the previous ones, up to rounding: elimination with row
/// exchanges.
fn dependent_column(a: &Tensor) -> Option<usize> {
    let r = a.shape()[0];
    let epsilon = if a.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let mut m = a.to_vec::<f64>();
    let length = |m: &[f64], j: usize| (0..r).map(|i| m[i * r + j].abs()).fold(0.0, f64::max);
    let floors: Vec<f64> = (0..r).map(|j| length(&m, j) * epsilon * r as f64).collect();
    for j in 0..r {
        let pivot = (j..r).max_by(|&p, &q| m[p * r + j].abs().total_cmp(&m[q * r + j].abs()))?;
        let size = m[pivot * r + j].abs();
        if size.is_nan() || size <= floors[j] {
            return Some(j);
        }
        (0..r).for_each(|c| m.swap(j * r + c, pivot * r + c));
        for i in j + 1..r {
            let factor = m[i * r + j] / m[j * r + j];
            (j..r).for_each(|c| m[i * r + c] -= factor * m[j * r + c]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_of_low_rank_is_met_and_projects_to_its_factor() {
        let w = Tensor::normal([7, 3], DType::F64, Key::new(1)).matmul(&Tensor::normal(
            [3, 9],
            DType::F64,
            Key::new(2),
        ));
        let layer = LowRank::near(&w, 3, 5).unwrap();
        let off = layer.weight().unwrap() - &w;
        assert!(off.norm(..).item() < 1e-11 * w.norm(..).item());
        let x = Tensor::normal([4, 9], DType::F64, Key::new(3));
        let off = layer.forward(&x).unwrap() - x.matmul_nt(&w);
        assert!(off.norm(..).item() < 1e-10 * w.norm(..).item());
        // P1 M = Y1
        let off = layer.projection().matmul_nt(&layer.weight().unwrap()) - &layer.y1;
        assert!(off.norm(..).item() < 1e-11 * layer.y1.norm(..).item());
    }

    #[test]
    fn training_through_the_solve_fits_data_and_spreads_the_factors() {
        let (n, d, r) = (10, 12, 4);
        let energy = Energy { half_space: true, ..Energy::default() };
        let truth = LowRank::init(n, d, r, DType::F64, "truth", 8).unwrap().weight().unwrap().detach();
        let x = Tensor::normal([64, d], DType::F64, Key::new(9));
        let target = x.matmul_nt(&truth);
        let run = |weight: f64| {
            let mut layer = LowRank::init(n, d, r, DType::F64, "fc", 3).unwrap();
            let fit = |layer: &LowRank| {
                let off = layer.forward(&x).unwrap() - &target;
                (&off * &off).mean(..)
            };
            let start = fit(&layer).item();
            for _ in 0..400 {
                let loss = fit(&layer) + layer.energy(&energy).unwrap() * weight;
                let grads = loss.backward();
                for p in layer.parameters() {
                    let moved = p.detach() - &grads[&*p] * 0.02;
                    p.assign(&moved);
                }
            }
            (start, fit(&layer).item(), layer.energy(&energy).unwrap().item())
        };
        let ((start, end, free), (_, spread_end, spread)) = (run(0.0), run(0.5));
        assert!(end < 0.35 * start && spread_end < 0.5 * start, "{start} to {end}, {spread_end}");
        assert!(spread < free, "the energy falls where it counts: {spread}, {free}");
    }
}
