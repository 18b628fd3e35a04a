//! Samples: functions and inputs at which gradients are checked. Every operation comes with some.

use std::fmt;
use std::sync::Arc;

use kernels::random::Key;

use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// What a sample belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// An operation of the engine.
    Op,
    /// A loss function.
    Loss,
    /// A layer of a network.
    Layer,
    /// A weight regulariser.
    Regulariser,
    /// A whole network.
    Model,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Group::Op => "op",
            Group::Loss => "loss",
            Group::Layer => "layer",
            Group::Regulariser => "regulariser",
            Group::Model => "model",
        })
    }
}

/// A function of some tensors, as a table can hold it.
type Function = dyn Fn(&[Tensor]) -> Tensor + Send + Sync;

/// A function and inputs at which its gradients can be checked. Every operation comes with some.
#[derive(Clone)]
pub struct Sample {
    /// The operation.
    pub name: String,
    /// Which of its cases.
    pub case: String,
    /// What kind of thing it is.
    pub group: Group,
    inputs: Vec<Input>,
    f: Arc<Function>,
}

impl Sample {
    /// A sample of an operation.
    pub fn new(
        name: impl Into<String>,
        case: impl Into<String>,
        inputs: impl Into<Vec<Input>>,
        f: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static,
    ) -> Sample {
        Sample {
            name: name.into(),
            case: case.into(),
            group: Group::Op,
            inputs: inputs.into(),
            f: Arc::new(f),
        }
    }

    /// The same sample in another group.
    pub fn group(self, group: Group) -> Sample {
        Sample { group, ..self }
    }

    /// The inputs in a dtype.
    pub fn inputs(&self, dtype: DType) -> Vec<Tensor> {
        self.inputs.iter().enumerate().map(|(i, input)| input.make(dtype, i)).collect()
    }

    /// The function's value.
    pub fn call(&self, x: &[Tensor]) -> Tensor {
        (self.f)(x)
    }
}

/// An input of a sample: a shape and how its values are drawn, seeded.
#[derive(Clone)]
pub struct Input {
    shape: Shape,
    draw: Draw,
}

#[derive(Clone, Copy)]
enum Draw {
    Normal,
    Uniform(f64, f64),
    AwayFrom(f64, f64),
    Apart(usize),
}

impl Input {
    /// Standard normal values.
    pub fn normal(shape: impl Into<Shape>) -> Input {
        Input { shape: shape.into(), draw: Draw::Normal }
    }

    /// Values uniform on lo..hi.
    pub fn uniform(lo: f64, hi: f64, shape: impl Into<Shape>) -> Input {
        Input { shape: shape.into(), draw: Draw::Uniform(lo, hi) }
    }

    /// Normal values moved away from `centre` by `gap` on either side, for functions with a kink or pole there.
    pub fn away_from(centre: f64, gap: f64, shape: impl Into<Shape>) -> Input {
        Input { shape: shape.into(), draw: Draw::AwayFrom(centre, gap) }
    }

    /// Values that differ from one another, and from those of an input with another `family` (0 or 1), by at
    /// least a quarter: for functions that compare.
    pub fn apart(shape: impl Into<Shape>, family: usize) -> Input {
        Input { shape: shape.into(), draw: Draw::Apart(family) }
    }

    fn make(&self, dtype: DType, position: usize) -> Tensor {
        let key = Key::new(3).stream("sample input").step(position as u64);
        let normal = Tensor::normal(self.shape, DType::F64, key);
        let n = self.shape.numel();
        match self.draw {
            Draw::Normal => Tensor::from_fn(self.shape, dtype, |i| normal.get(i)),
            Draw::Uniform(lo, hi) => {
                let u = Tensor::uniform(self.shape, DType::F64, key);
                Tensor::from_fn(self.shape, dtype, |i| lo + (hi - lo) * u.get(i))
            }
            Draw::AwayFrom(centre, gap) => Tensor::from_fn(self.shape, dtype, |i| {
                let v = normal.get(i);
                centre + v + gap.copysign(v)
            }),
            Draw::Apart(family) => {
                let order = key.permutation(n);
                Tensor::from_fn(self.shape, dtype, |i| {
                    0.5 * (order[i] as f64 - n as f64 / 2.0) + 0.25 * family as f64
                })
            }
        }
    }
}
