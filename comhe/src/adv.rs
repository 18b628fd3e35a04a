//! Energy under an adversarial projection (Adv-CoMHE).
//!
//!   min over W of max over P of E_s(P W')
//!
//! P ascends the energy, which W descends: if neurons are spread after the worst projection, they are spread after
//! every one. The inner loss is the mean energy in full space, with the exponent and the distance of the outer energy.
//! The published outer energy is half-space. See `learned.rs` for how P is learned.
//!
//! Source: Lin et al., CVPR 2020, section 3.3. The published code takes m = 10 plain steps of P before each energy,
//! then one unrolled; the paper does not specify numbers and mode.

use autograd::Tensor;
use registry::Row;

use crate::energy::{Energy, Reduce};
use crate::error::Error;
use crate::learned::{Gram, Inner, InnerSteps, Learned, Learning, Lesson, learned_energy};
use crate::table::{
    Build, HALF_SPACE, HEAD_WEIGHT, Hidden, INNER_DECAY, INNER_LR, INNER_STEPS, K, MODE, RegulariserSpec,
    UNROLL, WEIGHT, below, pairs,
};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "adv",
    help: "half-space energy under a projection that learns to raise it (Adv-CoMHE)",
    settings: &[WEIGHT, HEAD_WEIGHT, HALF_SPACE, K, INNER_STEPS, INNER_LR, INNER_DECAY, MODE, UNROLL],
    make: RegulariserSpec {
        build: Build::Energy(|options| {
            let (half, learning) = (options.hidden_energy(true), options.learning);
            let regulariser = Box::new(Adversarial::new(half, learning)?);
            Ok(Hidden { name: "adv", regulariser, small: below(learning.k) })
        }),
        memory: pairs,
    },
};

/// The inner objective of an adversary: maximise the energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oppose;

/// The regulariser Adv-CoMHE.
pub type Adversarial = Learned<Oppose>;

impl Learned<Oppose> {
    /// Energies under projections that are learned to maximise them.
    ///
    /// # Errors
    /// If an option is out of range.
    pub fn new(energy: Energy, learning: Learning) -> Result<Adversarial, Error> {
        Learned::teach(Oppose, energy, learning)
    }
}

/// The energy after steps of ascent from a given P (k x d).
///
/// # Errors
/// If the weight or P has a wrong shape, an element is not finite, a row is projected to zero while eps = 0, or a
/// step leaves the range of finite numbers.
pub fn adversarial_energy(
    energy: &Energy,
    w: &Tensor,
    p: &Tensor,
    steps: InnerSteps,
) -> Result<Tensor, Error> {
    learned_energy(&Oppose, energy, w, p, steps)
}

/// The inner loss for given neurons.
pub struct Opponent {
    energy: Energy,
    gram: Gram,
}

impl Lesson for Oppose {
    const NAME: &'static str = "adv";
    const PLAIN: usize = 10;
    type Inner = Opponent;

    fn at(&self, energy: &Energy, rows: &Tensor, columns: usize) -> Result<Opponent, Error> {
        energy.check_neurons(rows)?;
        let energy = Energy { half_space: false, reduce: Reduce::Mean, ..*energy };
        // The matrix costs N N d products; without it each column costs 2 N d. Without it, the large and opposite
        // slopes of neurons that nearly coincide are also more accurate.
        let formed = rows.shape()[0] < 2 * columns;
        Ok(Opponent { energy, gram: if formed { Gram::formed(rows) } else { Gram::implied(rows) } })
    }

    fn constant(&self, inner: &Opponent) -> Opponent {
        Opponent { energy: inner.energy, gram: inner.gram.detach() }
    }
}

impl Inner for Opponent {
    const SIGN: f64 = 1.0;

    fn loss(&self, y: &Tensor) -> Result<Tensor, Error> {
        self.energy.of_projected_in_full(y)
    }

    fn gram_times(&self, v: &Tensor) -> Tensor {
        self.gram.times(v)
    }
}
