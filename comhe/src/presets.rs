//! Published settings by name.
//!
//! Paper and code share k, C, the weights (1, and 10 for the classifier), s = 2 and half-space for projected layers. They
//! differ in eps (0 and 1e-4), in the constants of angular and logarithmic energies (see `energy.rs`), in the variance of
//! random projections (1/k and 1), and in AP's objective (angles and cosines). What the paper does not specify, its
//! preset takes from the code.
//!
//! Peers have the settings of the published code alone (the AISTATS paper leaves them open): half-space for hidden layers,
//! rows normalised twice, weights per regulariser. What a peer's defaults already are has no preset.
//!
//! One detail of the code is not followed. The code excludes the first layer from projections because of its three
//! input channels; here any layer with d < k is excluded. On the networks of the code this is the same layer.

use crate::ap::Preserve;
use crate::energy::{Energy, Scale};
use crate::learned::Learning;
use crate::objective::Options;
use crate::projection::{Distribution, Projections, Variance};

/// A published setting.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// The regulariser, a name that [`crate::Objective::new`] accepts.
    pub regulariser: &'static str,
    /// A description of what it sets.
    pub about: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// The options.
    pub options: fn() -> Options,
}

impl Preset {
    /// The preset of that name.
    pub fn named(name: &str) -> Option<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name)
    }
}

const MHE: &str = "Liu et al., NeurIPS 2018 (arXiv 1805.09298), equation 1";
const HS_MHE: &str = "Liu et al., NeurIPS 2018 (arXiv 1805.09298), on MHE in half space";
const RP: &str = "Lin et al., CVPR 2020 (arXiv 1906.04892), on random projection";
const AP: &str = "Lin et al., CVPR 2020 (arXiv 1906.04892), on angle-preserving projection";
const ADV: &str = "Lin et al., CVPR 2020 (arXiv 1906.04892), on adversarial projection";

/// Every published setting.
pub static PRESETS: [Preset; 22] = [
    Preset { name: "paper-mhe", regulariser: "mhe", about: "full space, eps 0", source: MHE, options: paper },
    Preset {
        name: "paper-hs-mhe",
        regulariser: "hs-mhe",
        about: "half-space, eps 0",
        source: HS_MHE,
        options: paper,
    },
    Preset {
        name: "paper-rp",
        regulariser: "rp",
        about: "k = 40, C = 20 Gaussian projections, eps 0; drawn in every step, which the paper leaves open",
        source: RP,
        options: || Options { projections: PUBLISHED, ..paper() },
    },
    Preset {
        name: "paper-ap",
        regulariser: "ap",
        about: "k = 30, angles, no decay, eps 0; the code's one plain and one unrolled step",
        source: AP,
        options: || Options { preserve: Preserve::Angle, learning: learning(1, 0.0), ..paper() },
    },
    Preset {
        name: "paper-adv",
        regulariser: "adv",
        about: "k = 30, no decay, eps 0; the code's ten plain and one unrolled step of ascent",
        source: ADV,
        options: || Options { learning: learning(10, 0.0), ..paper() },
    },
    Preset {
        name: "mhe-code",
        regulariser: "mhe",
        about: "full space, eps 1e-4",
        source: "github.com/wy1iu/MHE, code/train.py --model_name=mhe --power_s=2",
        options: code,
    },
    Preset {
        name: "hs-mhe-code",
        regulariser: "hs-mhe",
        about: "half-space, eps 1e-4",
        source: "github.com/wy1iu/MHE, code/train.py --model_name=half_mhe --power_s=2",
        options: code,
    },
    Preset {
        name: "hs-mhe-angular",
        regulariser: "hs-mhe",
        about: "the same as hs-mhe-a2",
        source: "github.com/wy1iu/MHE, code/train.py --model_name=half_mhe --power_s=a2",
        options: || angular(2.0),
    },
    Preset {
        name: "mhe-a0",
        regulariser: "mhe",
        about: "full space, -log(angle / pi + 1e-4), eps 1e-4",
        source: "github.com/wy1iu/MHE, code/train.py --model_name=mhe --power_s=a0",
        options: || angular(0.0),
    },
    Preset {
        name: "mhe-a1",
        regulariser: "mhe",
        about: "full space, 0.1 (angle / pi + 1e-4)^-1, eps 1e-4",
        source: "github.com/wy1iu/MHE, code/train.py --model_name=mhe --power_s=a1",
        options: || angular(1.0),
    },
    Preset {
        name: "mhe-a2",
        regulariser: "mhe",
        about: "full space, 0.1 (angle / pi + 1e-4)^-2, eps 1e-4",
        source: "github.com/wy1iu/MHE, code/train.py --model_name=mhe --power_s=a2",
        options: || angular(2.0),
    },
    Preset {
        name: "hs-mhe-a0",
        regulariser: "hs-mhe",
        about: "half-space, -log(angle / pi + 1e-4), eps 1e-4",
        source: "github.com/wy1iu/MHE, code/train.py --model_name=half_mhe --power_s=a0",
        options: || angular(0.0),
    },
    Preset {
        name: "hs-mhe-a1",
        regulariser: "hs-mhe",
        about: "half-space, 0.1 (angle / pi + 1e-4)^-1, eps 1e-4",
        source: "github.com/wy1iu/MHE, code/train.py --model_name=half_mhe --power_s=a1",
        options: || angular(1.0),
    },
    Preset {
        name: "hs-mhe-a2",
        regulariser: "hs-mhe",
        about: "half-space, 0.1 (angle / pi + 1e-4)^-2, eps 1e-4",
        source: "github.com/wy1iu/MHE, code/train.py --model_name=half_mhe --power_s=a2",
        options: || angular(2.0),
    },
    Preset {
        name: "rp-code",
        regulariser: "rp",
        about: "k = 40, C = 20 Gaussian projections of variance 1, drawn in every step, eps 1e-4",
        source: "github.com/rmlin/CoMHE, random_projection/train.py",
        options: || Options { projections: Projections { variance: Variance::Unit, ..PUBLISHED }, ..code() },
    },
    Preset {
        name: "ap-code",
        regulariser: "ap",
        about: "k = 30, cosines, one plain and one unrolled step, decay 5e-7, eps 1e-4",
        source: "github.com/rmlin/CoMHE, angle_projection/train.py",
        options: || Options { preserve: Preserve::Cosine, learning: learning(1, 5e-7), ..code() },
    },
    Preset {
        name: "adv-code",
        regulariser: "adv",
        about: "k = 30, ten plain and one unrolled step of ascent, decay 5e-7, eps 1e-4",
        source: "github.com/rmlin/CoMHE, adversarial_projection/train.py",
        options: || Options { learning: learning(10, 5e-7), ..code() },
    },
    Preset {
        name: "mhs-code",
        regulariser: "mhs",
        about: "half-space, weights 0.1 and 1, rows normalised twice with eps 1e-4",
        source: "github.com/wy1iu/Sphere-Uniformity",
        options: || uniformity(0.1, 1.0),
    },
    Preset {
        name: "mgd-code",
        regulariser: "mgd",
        about: "half-space, gamma 1, weights 0.01 and 0.1, rows normalised twice with eps 1e-4",
        source: "github.com/wy1iu/Sphere-Uniformity",
        options: || uniformity(0.01, 0.1),
    },
    Preset {
        name: "mhp-code",
        regulariser: "mhp",
        about: "half-space, weights 1 and 10, rows normalised twice with eps 1e-4; ten steps of the pole, momentum 0.9, decay 5e-4",
        source: "github.com/wy1iu/Sphere-Uniformity",
        options: || uniformity(1.0, 10.0),
    },
    Preset {
        name: "mhc-code",
        regulariser: "mhc",
        about: "half-space, sharpness 10, weights 0.01 and 0.1, rows normalised twice with eps 1e-4; ten steps of the pole, momentum 0.9, decay 5e-4",
        source: "github.com/wy1iu/Sphere-Uniformity",
        options: || uniformity(0.01, 0.1),
    },
    Preset {
        name: "mhp-relaxed-code",
        regulariser: "mhp-relaxed",
        about: "weights 0.01 and 0.1",
        source: "github.com/wy1iu/Sphere-Uniformity",
        options: || Options { half_space: None, ..uniformity(0.01, 0.1) },
    },
];

const PUBLISHED: Projections = Projections {
    k: 40,
    c: 20,
    distribution: Distribution::Gaussian,
    variance: Variance::Reciprocal,
    seed: 0,
};

fn paper() -> Options {
    Options { energy: Energy { eps: 0.0, ..Energy::default() }, ..Options::default() }
}

fn code() -> Options {
    Options { energy: Energy { eps: 1e-4, scale: Scale::Code, ..Energy::default() }, ..Options::default() }
}

/// An energy of angles as the published code computes it.
fn angular(s: f64) -> Options {
    Options { energy: Energy { angular: true, s, ..code().energy }, ..code() }
}

/// Hyperspherical uniformity, with the weights of hidden layers and of the classifier.
fn uniformity(weight: f64, head_weight: f64) -> Options {
    Options { half_space: Some(true), weight, head_weight: Some(head_weight), ..code() }
}

fn learning(plain: usize, decay: f64) -> Learning {
    Learning { k: 30, plain: Some(plain), decay, ..Learning::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::Objective;

    #[test]
    fn every_preset_makes_an_objective() {
        for preset in &PRESETS {
            assert!(Objective::new(preset.regulariser, &(preset.options)()).is_ok(), "{}", preset.name);
            assert!(std::ptr::eq(Preset::named(preset.name).unwrap(), preset));
        }
        assert!(Preset::named("paper").is_none());
    }
}
