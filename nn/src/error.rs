//! Errors of input data, files and training.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use autograd::{Anomaly, ShapeError, Tensor};

/// An error of this crate. Its message is one line, except for a list of tensors.
#[derive(Clone, Debug)]
pub enum Error {
    /// An invalid model, layer or option: which, and what would be right.
    Config(String),
    /// A file that cannot be read, parsed or written.
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Invalid bytes that do not come from a file.
    Format(String),
    /// Named tensors that do not fit a model, an optimiser or a regulariser: one line for each.
    Mismatch(Vec<String>),
    /// The loss or a gradient became NaN or infinite.
    NotFinite {
        /// The step at which it happened; the weights are those before it.
        step: u64,
        /// The value that was not finite.
        what: String,
        /// The first operation with such a result, unless an input was not finite already.
        anomaly: Option<Box<Anomaly>>,
    },
    /// An update after which a weight is no longer finite.
    Overflow {
        /// The step of the update.
        step: u64,
        /// The weight.
        name: String,
        /// The learning rate.
        lr: f64,
    },
    /// An error of a loss, penalty, regulariser or method from another crate: see [`Error::other`].
    Other(Arc<dyn std::error::Error + Send + Sync>),
    /// A parameter that the loss does not depend on.
    NoGradient {
        /// The parameter.
        name: String,
        /// What kind of tensor it is, and where the graph was cut.
        reason: String,
    },
}

impl Error {
    /// An error of another crate, with its message. `match` on [`Error::Other`] and downcast to recover it.
    pub fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Other(Arc::new(error))
    }

    /// The same error about a file, if it was about bytes.
    pub(crate) fn in_file(self, path: &std::path::Path) -> Error {
        match self {
            Error::Format(problem) => Error::File { path: path.to_path_buf(), problem },
            other => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(text) | Error::Format(text) => f.write_str(text),
            Error::File { path, problem } => write!(f, "{}: {problem}", path.display()),
            Error::Mismatch(lines) => write!(f, "the tensors do not fit: {}", lines.join("; ")),
            Error::NotFinite { step, what, anomaly } => {
                write!(f, "step {step}: {what} is not finite")?;
                match anomaly {
                    Some(anomaly) => write!(f, "; {anomaly}"),
                    None => write!(f, "; no operation made it so: a weight or an image already was"),
                }
            }
            Error::Overflow { step, name, lr } => write!(
                f,
                "step {step}: the update at learning rate {lr:e} made {name} infinite; take a smaller rate"
            ),
            Error::Other(error) => error.fmt(f),
            Error::NoGradient { name, reason } => {
                write!(f, "parameter {name}: {reason}; freeze it with a parameter group if that is meant")
            }
        }
    }
}
impl std::error::Error for Error {}

impl From<ShapeError> for Error {
    fn from(e: ShapeError) -> Error {
        Error::Config(e.0)
    }
}

/// The error of an object without state that is given a state.
pub(crate) fn nothing_to_load(what: &str, state: &[(String, Tensor)]) -> Result<(), Error> {
    if state.is_empty() {
        return Ok(());
    }
    Err(Error::Mismatch(state.iter().map(|(name, _)| format!("{what}.{name} is left over")).collect()))
}
