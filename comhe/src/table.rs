//! The regularisers by name: one row each, defined beside what it makes.

use autograd::Tensor;
use nn::{Regulariser, Role, Step, Weight};
use registry::{Row, Setting};

use crate::energy::{Energy, dimensions};
use crate::error::{Error, Problem};
use crate::objective::{Options, Select};
use crate::peers::pole::PoleLoss;
use crate::peers::{self, PeerOptions};
use crate::{adv, ap, bilateral, group, random};

/// How a regulariser is made, and what it costs.
#[derive(Clone, Copy)]
pub struct RegulariserSpec {
    pub(crate) build: Build,
    /// The number of values that it saves for backward per weight.
    pub memory: fn(&Weight, &Options) -> f64,
}

/// How a regulariser is made.
#[derive(Clone, Copy)]
pub(crate) enum Build {
    /// No regulariser.
    Nothing,
    /// An energy of hidden layers; the classifier has the energy of the full space.
    Energy(fn(&Options) -> Result<Hidden, Error>),
    /// The same formula for every layer.
    Peer(fn(&PeerOptions) -> Formula),
    /// A formula for the classifier alone.
    Head(fn(&PeerOptions) -> Formula),
    /// A loss of every layer and its learned pole.
    Pole(PoleLoss),
}

/// The regulariser of hidden layers.
pub(crate) struct Hidden {
    /// Its name in reports.
    pub name: &'static str,
    pub regulariser: Box<dyn Regulariser>,
    /// The layers that are too small for it.
    pub small: Option<Select>,
}

/// The penalty of a layer.
pub(crate) type Formula = std::sync::Arc<dyn Fn(&Weight, Step) -> Result<Tensor, Error> + Send + Sync>;

/// Every regulariser that [`Objective::new`](crate::Objective::new) accepts, the default first.
pub static REGULARISERS: &[Row<RegulariserSpec>] = &[
    NONE,
    MHE,
    HS_MHE,
    random::ROW,
    ap::ROW,
    adv::ROW,
    group::ROW,
    bilateral::ROW,
    peers::so::ROW,
    peers::dso::ROW,
    peers::mc::ROW,
    peers::srip::ROW,
    peers::mma::ROW,
    peers::mhs::ROW,
    peers::mgd::ROW,
    peers::mhp::ROW,
    peers::mhc::ROW,
    peers::mhp_relaxed::ROW,
    peers::sphereface_plus::ROW,
    peers::orthoreg::ROW,
    peers::ocnn::ROW,
    peers::decay::ROW,
];

/// The row of a name.
pub(crate) fn row(name: &str) -> Result<&'static Row<RegulariserSpec>, Error> {
    let known = || REGULARISERS.iter().map(|row| row.name.to_string()).collect();
    let unknown = || Problem::Unknown { what: "regulariser", name: name.into(), known: known() }.into();
    REGULARISERS.iter().find(|row| row.name == name).ok_or_else(unknown)
}

pub(crate) const WEIGHT: Setting = Setting::new("weight");
pub(crate) const HEAD_WEIGHT: Setting = Setting::new("head-weight");
pub(crate) const HALF_SPACE: Setting = Setting::new("half-space");
pub(crate) const K: Setting = Setting::new("k");
pub(crate) const C: Setting = Setting::new("c");
pub(crate) const REDRAW: Setting = Setting::new("redraw");
pub(crate) const DISTRIBUTION: Setting = Setting::new("distribution");
pub(crate) const VARIANCE: Setting = Setting::new("variance");
pub(crate) const INNER_STEPS: Setting = Setting::new("inner-steps");
pub(crate) const INNER_LR: Setting = Setting::new("inner-lr");
pub(crate) const INNER_DECAY: Setting = Setting::new("inner-decay");
pub(crate) const POLE_MOMENTUM: Setting = Setting::new("pole-momentum");
pub(crate) const POLE_DECAY: Setting = Setting::new("pole-decay");
pub(crate) const MODE: Setting = Setting::new("mode");
pub(crate) const UNROLL: Setting = Setting::new("unroll").when("mode", "unrolled");

const NONE: Row<RegulariserSpec> = Row {
    name: "none",
    help: "no regulariser",
    settings: &[],
    make: RegulariserSpec { build: Build::Nothing, memory: |_, _| 0.0 },
};

const MHE: Row<RegulariserSpec> = Row {
    name: "mhe",
    help: "hyperspherical energy, full space",
    settings: &[WEIGHT, HEAD_WEIGHT, HALF_SPACE],
    make: RegulariserSpec { build: Build::Energy(|options| Ok(plain(options, false))), memory: pairs },
};

const HS_MHE: Row<RegulariserSpec> = Row {
    name: "hs-mhe",
    help: "hyperspherical energy, half-space",
    settings: &[WEIGHT, HEAD_WEIGHT, HALF_SPACE],
    make: RegulariserSpec { build: Build::Energy(|options| Ok(plain(options, true))), memory: pairs },
};

/// The energy without projection.
fn plain(options: &Options, half_space: bool) -> Hidden {
    let energy = options.hidden_energy(half_space);
    let name = if energy.half_space { "hs-mhe" } else { "mhe" };
    Hidden { name, regulariser: Box::new(energy), small: None }
}

impl Options {
    /// The energy of hidden layers, of a regulariser that is in half-space or not by default.
    pub(crate) fn hidden_energy(&self, half_space: bool) -> Energy {
        Energy { half_space: self.half_space.unwrap_or(half_space), ..self.energy }
    }
}

/// A peer that saves the products of the rows, and no directions.
pub(crate) const fn peer(build: fn(&PeerOptions) -> Formula) -> RegulariserSpec {
    RegulariserSpec { build: Build::Peer(build), memory: gram }
}

/// A peer of directions.
pub(crate) const fn peer_of_directions(build: fn(&PeerOptions) -> Formula) -> RegulariserSpec {
    RegulariserSpec { build: Build::Peer(build), memory: pairs }
}

/// Only layers with fewer dimensions.
pub(crate) fn below(k: usize) -> Option<Select> {
    Some(Select { below: Some(k), ..Select::default() })
}

/// Neurons and dimensions of a weight.
pub(crate) fn sizes(weight: &Weight) -> [f64; 2] {
    let d = dimensions(weight.value.shape()).unwrap_or(1);
    [weight.value.shape().first().map_or(0.0, |&n| n as f64), d as f64]
}

/// As [`sizes`], with twice the neurons where hidden layers are in half-space.
pub(crate) fn placed_sizes(weight: &Weight, options: &Options) -> [f64; 2] {
    let [n, d] = sizes(weight);
    let half_space = options.half_space.unwrap_or(false) && weight.role != Role::Classifier;
    [if half_space { 2.0 * n } else { n }, d]
}

/// Rows and directions in f64, and the gradient of these.
pub(crate) fn of_pole(weight: &Weight, options: &Options) -> f64 {
    let [n, d] = placed_sizes(weight, options);
    7.0 * n * d
}

/// Rows, directions and the gradient of these, and the cosines of pairs.
pub(crate) fn pairs(weight: &Weight, _: &Options) -> f64 {
    let [n, d] = sizes(weight);
    3.0 * n * d + n * n
}

/// Rows, their gradient, and the products of pairs.
fn gram(weight: &Weight, _: &Options) -> f64 {
    let [n, d] = sizes(weight);
    2.0 * n * d + n * n
}
