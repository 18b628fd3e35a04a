//! Hyperspherical energy of a layer (MHE, and its half-space form).
//!
//!   E_s(W) = sum over ordered pairs i != j of f(distance(u_i, u_j)),   u_i = w_i / sqrt(|w_i|^2 + eps)
//!
//! with f(r) = r^-s, or log(1/r) for s = 0; the distance is the chord r = sqrt(2 - 2 u_i . u_j) or the angle
//! arccos(u_i . u_j). The regulariser is the mean, E_s / (N (N - 1)). In half-space the points are the 2N
//! directions {u_i, -u_i}, antipodal pairs included, and the mean is over 2N (2N - 1).
//!
//! Source: Lin et al., CVPR 2020 (arXiv 1906.04892), section 3, after Liu et al., NeurIPS 2018 (MHE).
//!
//! Paper and published code differ: the code has eps = 1e-4 (the paper 0), log(1/r^2) for s = 0, twice the
//! paper's, and for angles 0.1 (theta / pi + 1e-4)^-s, and -log(theta / pi + 1e-4) for s = 0. [`Scale`] chooses.

use std::f64::consts::PI;

use autograd::{DType, Scalar, Shape, Tensor};

use crate::error::{Error, Problem, short};
use crate::pair_energy::{PairEnergy, pair_energy, pair_energy_definition};

/// Sum over the ordered pairs, or their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// The mean over pairs: the regulariser.
    Mean,
    /// The sum over ordered pairs.
    Sum,
}

/// Which constants: the paper's or the published code's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// f as the paper defines it.
    Paper,
    /// f as the published code computes it: see the documentation at the top of this file.
    Code,
}

/// The options of an energy. The default is the mean form in full space with s = 2, Euclidean, eps = 1e-4.
///
/// ```
/// use autograd::Tensor;
/// use comhe::Energy;
///
/// // Two orthogonal neurons are at distance sqrt 2: energy 1/2.
/// let w = Tensor::from([[3.0, 0.0], [0.0, 0.1]]).requires_grad();
/// let energy = Energy { eps: 0.0, ..Energy::default() };
/// let e = energy.of(&w)?;
/// assert!((e.item() - 0.5).abs() < 1e-15);
/// assert!(e.backward()[&w].is_finite());
/// # Ok::<(), comhe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Energy {
    /// The Riesz exponent s >= 0; 0 stands for the logarithm. At most 20 in f32 and 200 in f64: beyond, powers of
    /// ordinary distances overflow.
    pub s: f64,
    /// Angles instead of chords.
    pub angular: bool,
    /// The 2N points {u, -u} instead of the N points u, so that collinear neurons repel, too.
    pub half_space: bool,
    /// Mean or sum over pairs.
    pub reduce: Reduce,
    /// Added to every square length before its root.
    pub eps: f64,
    /// Floor on 2 - 2c, or on the angle: a pair at or below it has the floor's energy and no gradient. It is raised
    /// where energies at the floor would overflow their sum: chords at the default floor do so from about s = 5 on in
    /// f32, 49 in f64. Slopes above the floor whose sum would overflow count as 0, from s = 3 and 43 on. For angles
    /// these exponents are half as large or less.
    pub floor: f64,
    /// The constants of the paper or of the published code.
    pub scale: Scale,
}

impl Default for Energy {
    fn default() -> Energy {
        Energy {
            s: 2.0,
            angular: false,
            half_space: false,
            reduce: Reduce::Mean,
            eps: 1e-4,
            floor: 1e-12,
            scale: Scale::Paper,
        }
    }
}

/// The angle that the published code adds, before it divides by pi.
const CODE_OFFSET: f64 = 1e-4;
/// The published code's weight of angular energies.
const CODE_WEIGHT: f64 = 0.1;

impl Energy {
    /// The energy of a weight, a scalar that can be differentiated to any order.
    ///
    /// `w` is N x d, one neuron per row, or a convolution kernel \[C_out, C_in, kh, kw\], which counts as C_out rows.
    /// With N = 1 there is no pair: the energy is 0, with gradient 0 (in half-space there is one antipodal pair).
    ///
    /// # Errors
    /// If the shape is another, an element is not finite, a row is zero while eps = 0, or an option is out of range.
    pub fn of(&self, w: &Tensor) -> Result<Tensor, Error> {
        // An invalid neuron is found during the computation; the error of an invalid element has its index in `w`.
        match self.of_batch(&rows(w)?.unsqueeze(0), false) {
            Ok(energy) => Ok(energy.reshape(())),
            Err(error) => Err(checked_rows(w).err().unwrap_or(error)),
        }
    }

    /// As [`Energy::of`], in plain operations without kernels: the definition that the kernels are compared with.
    ///
    /// # Errors
    /// As [`Energy::of`].
    pub fn definition(&self, w: &Tensor) -> Result<Tensor, Error> {
        self.check()?;
        let rows = checked_rows(w)?.unsqueeze(0);
        self.check_batch(&rows, false)?;
        let n = rows.shape()[1];
        let form = self.form(w.dtype(), n);
        Ok(self.finish(pair_energy_definition(&rows, form, self.eps), n).reshape(()))
    }

    /// The energy of projected neurons, \[N, k\].
    pub(crate) fn of_projected(&self, y: &Tensor) -> Result<Tensor, Error> {
        Ok(self.of_batch(&y.unsqueeze(0), true)?.reshape(()))
    }

    /// The energies of a batch of matrices, \[B, N, d\] to \[B\].
    pub(crate) fn of_batch(&self, y: &Tensor, projected: bool) -> Result<Tensor, Error> {
        let form = self.checked_form(y.dtype(), y.shape()[1])?;
        let (sums, lengths) = pair_energy(y, form, self.eps);
        self.check_lengths(&lengths, y, projected)?;
        Ok(self.finish(sums, y.shape()[1]))
    }

    /// The number of ordered pairs of N neurons.
    pub fn pairs(&self, n: usize) -> usize {
        let points = if self.half_space { 2 * n } else { n };
        points * points.saturating_sub(1)
    }

    /// Checks that all options are in range.
    ///
    /// # Errors
    /// If s, eps or the floor is negative, NaN or infinite, or the floor is 0.
    pub fn check(&self) -> Result<(), Error> {
        let fail = |name: &str, value: f64, rule: &str| {
            Err(Error::option(format!("{name} = {}: it must be finite and {rule}", short(value))))
        };
        match self {
            Energy { s, .. } if !(s.is_finite() && *s >= 0.0) => fail("s", *s, "at least 0"),
            Energy { eps, .. } if !(eps.is_finite() && *eps >= 0.0) => fail("eps", *eps, "at least 0"),
            Energy { floor, .. } if !(floor.is_finite() && *floor > 0.0) => fail("floor", *floor, "above 0"),
            _ => Ok(()),
        }
    }

    /// [`Energy::form`], if the options are in range for numbers of this kind.
    pub(crate) fn checked_form(&self, dtype: DType, n: usize) -> Result<PairEnergy, Error> {
        self.check()?;
        let most = Energy::largest_s(dtype);
        if self.s > most {
            return Err(Error::option(format!("s = {}: in {dtype} it can be at most {most}", short(self.s))));
        }
        Ok(self.form(dtype, n))
    }

    /// The largest exponent for numbers of this kind: with a larger one, the energy of near neurons overflows.
    pub fn largest_s(dtype: DType) -> f64 {
        if dtype == DType::F64 { 200.0 } else { 20.0 }
    }

    /// The pair function of N neurons, up to the factor and the constant of [`Energy::finish`].
    fn form(&self, dtype: DType, n: usize) -> PairEnergy {
        let code = self.scale == Scale::Code && self.angular;
        let offset = if code { PI * CODE_OFFSET } else { 0.0 };
        // All pairs may coincide at once. The limit of values leaves room for a mean over projections and a weight.
        // Slopes are also divided by lengths, and in f64 multiplied by another s / x at second order.
        let (value, slope, least) = match dtype {
            DType::F64 => (1e304, 1e280, f64::MIN_POSITIVE),
            DType::F32 => (1e34, 1e34, f64::from(f32::MIN_POSITIVE)),
        };
        let share = 1.0 / (self.pairs(n).max(1) as f64 * self.factor().max(1.0));
        // x^-power of the chord's square or t^-power of the angle, with slopes power / x^(power + 1) with respect to the
        // cosine, about s / t^(s + 2) for the angle.
        let (power, steps) = if self.angular { (self.s, 2.0) } else { (0.5 * self.s, 1.0) };
        let finite = if self.s == 0.0 { 0.0 } else { (value * share).powf(-1.0 / power) - offset };
        let floor = self.floor.max(finite).max(least);
        let still = floor.max((self.s.max(1.0) / (slope * share)).powf(1.0 / (power + steps)));
        PairEnergy { s: self.s, angular: self.angular, offset, half_space: self.half_space, floor, still }
    }

    /// The factor of the pair function in the published code.
    fn factor(&self) -> f64 {
        match (self.scale, self.angular, self.s == 0.0) {
            (Scale::Code, false, true) => 2.0,
            (Scale::Code, true, false) => CODE_WEIGHT * PI.powf(self.s),
            _ => 1.0,
        }
    }

    /// Converts sums of the pair function to energies: applies the constants of the published code and the mean.
    pub(crate) fn finish(&self, sums: Tensor, n: usize) -> Tensor {
        // -log(t / pi) = -log t + log pi
        let code = self.scale == Scale::Code;
        let constant = if code && self.angular && self.s == 0.0 { PI.ln() } else { 0.0 };
        let pairs = self.pairs(n) as f64;
        let count = if self.reduce == Reduce::Mean { pairs.max(1.0) } else { 1.0 };
        let energy = sums * (self.factor() / count);
        if constant == 0.0 { energy } else { energy + constant * pairs / count }
    }

    /// The rows of a batch of matrices divided by n = sqrt(|w|^2 + eps), for rows of any size.
    pub(crate) fn directions(&self, y: &Tensor, projected: bool) -> Result<Tensor, Error> {
        let (u, lengths) = y.normalize_rows_with_lengths(self.eps);
        self.check_lengths(&lengths, y, projected)?;
        Ok(u)
    }

    /// Whether the rows with these lengths sqrt(|w|^2 + eps) have directions.
    fn check_lengths(&self, lengths: &Tensor, y: &Tensor, projected: bool) -> Result<(), Error> {
        // The gradient is of size 1 / |w|: a row shorter than this has none.
        let (shortest, longest) = match y.dtype() {
            DType::F32 => (1e-37, f64::from(f32::MAX)),
            DType::F64 => (1e-306, f64::MAX),
        };
        let lengths = lengths.to_vec::<f64>();
        let Some(i) = lengths.iter().position(|length| !(shortest..=longest).contains(length)) else {
            return Ok(());
        };
        // If an element is not finite, neither is its row's length.
        self.check_batch(y, projected)?;
        let (n, projection) = (y.shape()[1], projected.then_some(i / y.shape()[1]));
        let row = i % n;
        Err(match lengths[i] < shortest {
            true => Problem::ZeroRow { row, projection }.into(),
            false => Problem::LongRow { row, projection, dtype: y.dtype() }.into(),
        })
    }

    /// Whether all elements are finite (a projection may overflow) and, with eps = 0, every row has a direction.
    pub(crate) fn check_batch(&self, y: &Tensor, projected: bool) -> Result<(), Error> {
        match y.dtype() {
            DType::F32 => self.check_rows::<f32>(y, projected),
            DType::F64 => self.check_rows::<f64>(y, projected),
        }
    }

    /// With eps = 0, whether every neuron (N x d) has a direction: checked before a projection, since the error of a
    /// zero row after it would blame the projection.
    pub(crate) fn check_neurons(&self, rows: &Tensor) -> Result<(), Error> {
        if self.eps > 0.0 { Ok(()) } else { self.check_batch(&rows.unsqueeze(0), false) }
    }

    fn check_rows<T: Scalar>(&self, y: &Tensor, projected: bool) -> Result<(), Error> {
        if self.eps > 0.0 && y.is_finite() {
            return Ok(());
        }
        let (n, d) = (y.shape()[1], y.shape()[2]);
        // The gradient is of size 1 / |w|: a row shorter than this has none.
        let shortest = T::from_f64(if T::DTYPE == DType::F32 { 1e-37 } else { 1e-306 });
        for (i, row) in y.data::<T>().chunks_exact(d.max(1)).enumerate() {
            let projection = projected.then_some(i / n);
            if let Some(k) = row.iter().position(|v| !v.is_finite()) {
                let value = y.to_vec::<f64>()[i * d + k];
                return Err(Problem::NotFinite { index: vec![i % n, k], value, projection }.into());
            }
            if self.eps == 0.0 && !row.iter().any(|&v| v >= shortest || -v >= shortest) {
                return Err(Problem::ZeroRow { row: i % n, projection }.into());
            }
        }
        Ok(())
    }
}

/// The neurons of a weight as rows, N x d; all elements are finite.
///
/// # Errors
/// If the tensor has neither two axes nor four, a row has no elements, or an element is not finite.
pub fn checked_rows(w: &Tensor) -> Result<Tensor, Error> {
    let rows = rows(w)?;
    check_finite(w)?;
    Ok(rows)
}

/// Whether all elements of a tensor are finite.
///
/// # Errors
/// If not: the message has the index of the first that is not.
pub fn check_finite(t: &Tensor) -> Result<(), Error> {
    if t.is_finite() {
        return Ok(());
    }
    let shape = *t.shape();
    let values = t.to_vec::<f64>();
    let at = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
    let index = shape.iter().zip(shape.strides()).map(|(d, s)| at / s % d).collect();
    Err(Problem::NotFinite { index, value: values[at], projection: None }.into())
}

/// [`checked_rows`] without a check of the elements.
pub(crate) fn rows(w: &Tensor) -> Result<Tensor, Error> {
    let d = dimensions(w.shape())?;
    Ok(w.reshape([w.shape()[0], d]))
}

/// The dimensions d of the rows of a weight.
pub(crate) fn dimensions(shape: &Shape) -> Result<usize, Error> {
    if ![2, 4].contains(&shape.rank()) {
        return Err(Error::shape(format!(
            "expected a weight of shape [N, d] or [C_out, C_in, kh, kw], found {shape}"
        )));
    }
    let d: usize = shape[1..].iter().product();
    if d == 0 && shape[0] > 0 {
        return Err(Error::shape(format!("expected rows of at least one element, found shape {shape}")));
    }
    Ok(d)
}
