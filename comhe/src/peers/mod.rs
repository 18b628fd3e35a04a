//! Other regularisers of a layer's neurons, to compare with: orthogonality, minimal angles, uniformity, decay.
//!
//! One file each, with formula and source. W is N x d, its rows the neurons; a convolution kernel
//! \[C_out, C_in, kh, kw\] counts as C_out rows, except in `ocnn.rs`, which depends on the positions of its elements.
//! Peers of directions (`mc`, `mma`, `mhs`, `mgd`, `mhp`, `mhc`, `sphereface-plus`, `orthoreg`) use
//! u = w / sqrt(|w|^2 + eps), the others the rows themselves.
//!
//! The four of hyperspherical uniformity (`mhs`, `mgd`, `mhp`, `mhc`) have a half-space form, the same function of the 2N
//! rows {w_i, -w_i}, and that of the published code, which divides by sqrt(|.|^2 + eps) twice.
//!
//! Common to all of them: a layer without neurons, or without the pairs that a peer needs, has penalty 0 with gradient
//! 0; of equal candidates for a maximum the first in row-major order receives the gradient; zero, coinciding and
//! orthonormal rows have finite values and gradients, to the second order at least.
//!
//! Only `mhp` and `mhc` have state, a pole per layer; random draws are a function of (seed, layer, step).

pub(crate) mod decay;
pub(crate) mod dso;
pub(crate) mod mc;
pub(crate) mod mgd;
pub(crate) mod mhc;
pub(crate) mod mhp;
pub(crate) mod mhp_relaxed;
pub(crate) mod mhs;
pub(crate) mod mma;
pub(crate) mod ocnn;
pub(crate) mod orthoreg;
pub(crate) mod pole;
mod samples;
pub(crate) mod so;
pub(crate) mod sphereface_plus;
pub(crate) mod srip;

use autograd::{DType, Index, Tensor};
use nn::{Regulariser, Step, Weight};

use crate::energy::{Energy, Scale, checked_rows};
use crate::error::{Error, short};
use crate::regulariser::per_layer;
use crate::table::{Build, Formula, REGULARISERS, row};

use pole::Poled;

pub use decay::decay;
pub use dso::dso;
pub use mc::mc;
pub use mgd::mgd;
pub use mhc::mhc;
pub use mhp::mhp;
pub use mhp_relaxed::mhp_relaxed;
pub use mhs::mhs;
pub use mma::mma;
pub use ocnn::ocnn;
pub use orthoreg::orthoreg;
pub use pole::Poles;
pub use samples::samples;
pub use so::so;
pub use sphereface_plus::sphereface_plus;
pub use srip::{probe, srip};

/// The names that [`peer`] accepts.
pub fn names() -> impl Iterator<Item = &'static str> {
    let energy = |build| matches!(build, Build::Nothing | Build::Energy(_));
    REGULARISERS.iter().filter(move |row| !energy(row.make.build)).map(|row| row.name)
}

/// Whether [`peer`] accepts the name.
pub fn knows(name: &str) -> bool {
    names().any(|known| known == name)
}

/// The options of peers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerOptions {
    /// The seed of SRIP's draws and of the first poles.
    pub seed: u64,
    /// Added to every square length before its root, where directions are compared.
    pub eps: f64,
    /// MGD: the width of the kernel exp(-gamma |u - v|^2); above 0.
    pub gamma: f64,
    /// OCNN: the stride at which kernels are orthogonal, at least 1; `None`: each layer's own.
    pub stride: Option<usize>,
    /// MHS, MGD, MHP, MHC: the 2N rows {w, -w} instead of the N rows w.
    pub half_space: bool,
    /// MHS, MGD, MHP, MHC: the published code normalises rows twice.
    pub scale: Scale,
    /// MHC: gamma of its soft minimum; OrthoReg: lambda; above 0.
    pub sharpness: f64,
    /// MHP, MHC: how poles are learned.
    pub poles: Poles,
}

impl Default for PeerOptions {
    fn default() -> PeerOptions {
        PeerOptions {
            seed: 0,
            eps: 1e-4,
            gamma: 1.0,
            stride: None,
            half_space: false,
            scale: Scale::Paper,
            sharpness: 10.0,
            poles: Poles::default(),
        }
    }
}

impl PeerOptions {
    /// Checks that all options are in range.
    ///
    /// # Errors
    /// If eps is negative, gamma or the sharpness is not above 0, one of them is not finite, the stride is 0, or as
    /// [`Poles::check`].
    pub fn check(&self) -> Result<(), Error> {
        Energy { eps: self.eps, ..Energy::default() }.check()?;
        mgd::check(self.gamma)?;
        check_sharpness(self.sharpness)?;
        self.poles.check()?;
        self.stride.map_or(Ok(()), ocnn::check)
    }
}

/// The peer of a name, `None` if there is none.
///
/// ```
/// use autograd::{DType, Tensor};
/// use comhe::peers::{PeerOptions, peer};
/// use nn::{Regulariser, Step, Weight};
///
/// let w = Tensor::eye(3, DType::F64).requires_grad();
/// let mut so = peer("so", &PeerOptions::default()).expect("a known name");
/// assert_eq!(so.penalty(&[Weight::new("fc1.weight", &w)], Step::default())?.item(), 0.0);
/// # Ok::<(), nn::Error>(())
/// ```
pub fn peer(name: &str, options: &PeerOptions) -> Option<Box<dyn Regulariser>> {
    made(row(name).ok()?.make.build, options)
}

/// The peer of a row, `None` if the row is of an energy.
pub(crate) fn made(build: Build, options: &PeerOptions) -> Option<Box<dyn Regulariser>> {
    match build {
        Build::Nothing | Build::Energy(_) => None,
        Build::Peer(formula) | Build::Head(formula) => Some(Box::new(Peer(formula(options)))),
        Build::Pole(loss) => Some(Box::new(Poled::new(loss, options))),
    }
}

/// A regulariser without state.
#[derive(Clone)]
struct Peer(Formula);

impl Regulariser for Peer {
    fn penalty(&mut self, weights: &[Weight], step: Step) -> Result<Tensor, nn::Error> {
        per_layer(weights, |layer| (self.0)(layer, step))
    }
}

/// The penalty of a layer that has nothing to penalise: 0, with gradient 0 for any weight.
fn nothing(rows: &Tensor) -> Tensor {
    rows.slice_axis(0, ..0).sum(..)
}

/// The directions w / sqrt(|w|^2 + eps) of the neurons of a weight, N x d.
fn directions(w: &Tensor, eps: f64) -> Result<Tensor, Error> {
    let energy = Energy { eps, ..Energy::default() };
    energy.check()?;
    let rows = checked_rows(w)?;
    Ok(energy.directions(&rows.unsqueeze(0), false)?.reshape(rows.shape()))
}

/// The rows whose uniformity the options ask for, N x d or 2N x d.
fn placed(w: &Tensor, options: &PeerOptions) -> Result<Tensor, Error> {
    let rows = checked_rows(w)?;
    let rows = if options.scale == Scale::Code { directions(&rows, options.eps)? } else { rows };
    Ok(if options.half_space { Tensor::cat(&[&rows, &-&rows], 0) } else { rows })
}

/// Checks that gamma of MHC, or lambda of OrthoReg, is in range.
fn check_sharpness(sharpness: f64) -> Result<(), Error> {
    match sharpness.is_finite() && sharpness > 0.0 {
        true => Ok(()),
        false => {
            Err(Error::option(format!("sharpness = {}: it must be finite and above 0", short(sharpness))))
        }
    }
}

/// The cosines u_i . u_j of the pairs i < j, in row-major order; `None` if there is no pair.
fn cosines_of_pairs(u: &Tensor) -> Option<Tensor> {
    let n = u.shape()[0];
    let places: Vec<usize> = (0..n).flat_map(|i| (i + 1..n).map(move |j| i * n + j)).collect();
    (!places.is_empty()).then(|| u.matmul_nt(u).take(&Index::new(&places, [places.len()])))
}

/// G - I for the smaller of the two Gram matrices, W W' or W' W, which have the same nonzero eigenvalues.
fn gram_less_identity(rows: &Tensor) -> Tensor {
    let (n, d) = (rows.shape()[0], rows.shape()[1]);
    let gram = if n <= d { rows.matmul_nt(rows) } else { rows.matmul_tn(rows) };
    gram - Tensor::eye(n.min(d), rows.dtype())
}

/// A penalty that grows with the weight's size, if it does not overflow.
fn finite(penalty: Tensor, w: &Tensor) -> Result<Tensor, Error> {
    if penalty.is_finite() {
        return Ok(penalty);
    }
    let largest = w.to_vec::<f64>().iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let dtype = if w.dtype() == DType::F32 { "f32" } else { "f64" };
    Err(Error::option(format!(
        "the penalty is beyond the numbers of {dtype}: the weight has an element of size {largest:.1e}"
    )))
}
