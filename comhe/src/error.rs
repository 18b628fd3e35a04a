//! Errors in weights and options, with their location.

use std::fmt;

use autograd::DType;

/// An error, and the layer it was found in.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// The layer's name, if the weight has one.
    pub layer: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// A tensor has the wrong shape: expected and found.
    Shape(String),
    /// An element of the weight, or of its projection, is NaN or infinite.
    NotFinite {
        /// Where: the index in the tensor's own shape.
        index: Vec<usize>,
        /// The element.
        value: f64,
        /// The projection it was met in, if not the weight itself.
        projection: Option<usize>,
    },
    /// A neuron is zero (or too short to divide by), so that with an eps of 0 or nearly 0 it has no direction.
    ZeroRow {
        /// The neuron.
        row: usize,
        /// The projection it was met in, if not the weight itself.
        projection: Option<usize>,
    },
    /// The length of a neuron overflows the type of its elements.
    LongRow {
        /// The neuron.
        row: usize,
        /// The projection it was met in, if not the weight itself.
        projection: Option<usize>,
        /// That type.
        dtype: DType,
    },
    /// An option has an invalid value.
    Option(String),
    /// A name that does not exist, with the names that do.
    Unknown {
        /// What is named: a regulariser, a distribution.
        what: &'static str,
        /// The name given.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
}

impl Error {
    /// The same error, with its layer.
    pub(crate) fn in_layer(self, name: &str) -> Error {
        Error { layer: Some(name.to_string()), ..self }
    }

    /// The same error, with the index of its projection increased by `count`.
    pub(crate) fn after_projections(mut self, count: usize) -> Error {
        if let Problem::NotFinite { projection: Some(c), .. }
        | Problem::ZeroRow { projection: Some(c), .. }
        | Problem::LongRow { projection: Some(c), .. } = &mut self.problem
        {
            *c += count;
        }
        self
    }

    pub(crate) fn shape(text: String) -> Error {
        Problem::Shape(text).into()
    }

    pub(crate) fn option(text: String) -> Error {
        Problem::Option(text).into()
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        Error { layer: None, problem }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(layer) = &self.layer {
            write!(f, "{layer}: ")?;
        }
        let within = |projection: &Option<usize>| match projection {
            Some(c) => format!(" under projection {c}"),
            None => String::new(),
        };
        match &self.problem {
            Problem::Shape(text) | Problem::Option(text) => f.write_str(text),
            Problem::NotFinite { index, value, projection } => {
                write!(f, "element {index:?}{} is {value}; all must be finite", within(projection))
            }
            Problem::ZeroRow { row, projection } => {
                let cure = if projection.is_some() { "take another projection" } else { "remove the neuron" };
                let place = within(projection);
                write!(
                    f,
                    "row {row}{place} is zero or too short to divide by, and has no direction; {cure} or take a larger eps"
                )
            }
            Problem::LongRow { row, projection, dtype } => {
                let place = within(projection);
                let cure =
                    if *dtype == DType::F32 { "scale the weight or take f64" } else { "scale the weight" };
                write!(f, "row {row}{place} has a length beyond {dtype}; {cure}")
            }
            Problem::Unknown { what, name, known } => f.write_str(&registry::unknown(what, name, known)),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for nn::Error {
    fn from(error: Error) -> nn::Error {
        nn::Error::other(error)
    }
}

/// A number in a message: those far from 1 in exponent notation, without hundreds of digits.
pub fn short(value: f64) -> String {
    let near = value == 0.0 || (1e-4..1e9).contains(&value.abs());
    if near { value.to_string() } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, -1.5, 200.0, 1e-4, 1e308, -1e-300, f64::NAN, f64::INFINITY].map(short);
        assert_eq!(numbers, ["0", "-1.5", "200", "0.0001", "1e308", "-1e-300", "NaN", "inf"]);
    }

    #[test]
    fn messages_say_what_and_where() {
        let e = Error::from(Problem::ZeroRow { row: 3, projection: Some(1) }).in_layer("conv1.weight");
        assert!(e.to_string().starts_with("conv1.weight: row 3 under projection 1 is zero"));
        let e = Error::from(Problem::NotFinite { index: vec![2, 0], value: f64::NAN, projection: None });
        assert_eq!(e.to_string(), "element [2, 0] is NaN; all must be finite");
    }
}
