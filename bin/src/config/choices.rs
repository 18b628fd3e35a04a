//! Settings that are one of a few words.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Single or double precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Precision {
    #[default]
    F32,
    F64,
}

/// Algorithm of 3x3 convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Conv {
    #[default]
    Auto,
    Direct,
    F2,
    F4,
}

/// Whose constants.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Constants {
    #[default]
    Paper,
    Code,
}

/// Whether gradients flow through the steps of a projection.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum InnerMode {
    #[default]
    Unrolled,
    Alternating,
}

/// The learning rate over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Divided by 10 at each milestone
    #[default]
    Step,
    /// A half cosine, to 0 at the end of the run
    Cosine,
    /// The same in all steps
    Constant,
}
