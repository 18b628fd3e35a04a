//! Settings by the name of where they were published.
//!
//! Paper and code share k, C, m, the weights (1, and 10 for the classifier) and s = 2. They differ in eps (0 and 1e-4),
//! in the constants of angular and logarithmic energies (see `energy.rs`), and in AP's objective (angles and cosines).

use crate::ap::Preserve;
use crate::energy::{Energy, Scale};
use crate::learned::Learning;
use crate::objective::Options;
use crate::projection::Projections;

/// A published setting.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// What it is called.
    pub name: &'static str,
    /// The regulariser, a name that [`crate::Objective::new`] knows.
    pub regulariser: &'static str,
    /// What it sets, in words.
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

const COMHE: &str = "Lin et al., CVPR 2020 (arXiv 1906.04892)";
const COMHE_CODE: &str = "the code published with Lin et al., CVPR 2020";
const MHE: &str = "Liu et al., NeurIPS 2018 (arXiv 1805.09298)";
const MHE_CODE: &str = "the code published with Liu et al., NeurIPS 2018";

/// Every published setting.
pub static PRESETS: [Preset; 11] = [
    Preset { name: "paper-mhe", regulariser: "mhe", about: "full space, eps 0", source: MHE, options: paper },
    Preset {
        name: "paper-hs-mhe",
        regulariser: "hs-mhe",
        about: "half-space, eps 0",
        source: MHE,
        options: paper,
    },
    Preset {
        name: "paper-rp",
        regulariser: "rp",
        about: "half-space, k = 40, C = 20 Gaussian projections, drawn in every step, eps 0",
        source: COMHE,
        options: || Options { projections: PUBLISHED, ..paper() },
    },
    Preset {
        name: "paper-ap",
        regulariser: "ap",
        about: "half-space, k = 30, angles, one plain and one unrolled step, no decay, eps 0",
        source: COMHE,
        options: || Options { preserve: Preserve::Angle, learning: learning(1, 0.0), ..paper() },
    },
    Preset {
        name: "paper-adv",
        regulariser: "adv",
        about: "half-space, k = 30, ten plain and one unrolled step of ascent, no decay, eps 0",
        source: COMHE,
        options: || Options { learning: learning(10, 0.0), ..paper() },
    },
    Preset {
        name: "mhe-code",
        regulariser: "mhe",
        about: "full space, eps 1e-4",
        source: MHE_CODE,
        options: code,
    },
    Preset {
        name: "hs-mhe-code",
        regulariser: "hs-mhe",
        about: "half-space, eps 1e-4",
        source: MHE_CODE,
        options: code,
    },
    Preset {
        name: "hs-mhe-angular",
        regulariser: "hs-mhe",
        about: "half-space, 0.1 (angle / pi + 1e-4)^-2, eps 1e-4",
        source: MHE_CODE,
        options: || Options { energy: Energy { angular: true, ..code().energy }, ..code() },
    },
    Preset {
        name: "rp-code",
        regulariser: "rp",
        about: "half-space, k = 40, C = 20 Gaussian projections, drawn in every step, eps 1e-4",
        source: COMHE_CODE,
        options: || Options { projections: PUBLISHED, ..code() },
    },
    Preset {
        name: "ap-code",
        regulariser: "ap",
        about: "half-space, k = 30, cosines, one plain and one unrolled step, decay 5e-7, eps 1e-4",
        source: COMHE_CODE,
        options: || Options { preserve: Preserve::Cosine, learning: learning(1, 5e-7), ..code() },
    },
    Preset {
        name: "adv-code",
        regulariser: "adv",
        about: "half-space, k = 30, ten plain and one unrolled step of ascent, decay 5e-7, eps 1e-4",
        source: COMHE_CODE,
        options: || Options { learning: learning(10, 5e-7), ..code() },
    },
];

const PUBLISHED: Projections =
    Projections { k: 40, c: 20, distribution: crate::projection::Distribution::Gaussian, seed: 0 };

fn paper() -> Options {
    Options { energy: Energy { eps: 0.0, ..Energy::default() }, ..Options::default() }
}

fn code() -> Options {
    Options { energy: Energy { eps: 1e-4, scale: Scale::Code, ..Energy::default() }, ..Options::default() }
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
