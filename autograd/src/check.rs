//! Gradients against finite differences, to any order.
//!
//! The function under test is made scalar by random weights, phi(x) = <w, y> + <v, y^2> with y = f(x) (the
//! square keeps the second order of a linear f from being 0 = 0). At every order three numbers must agree along
//! each direction: the gradient from the fast backward kernels, the gradient that is recorded and can be
//! differentiated again, and a central difference of the values. Order n + 1 does the same to phi' in place of f.

use std::fmt;
use std::sync::Arc;

use kernels::random::Key;

use crate::dtype::DType;
use crate::pass;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The outcome of [`gradcheck`].
#[derive(Clone, Debug)]
pub struct Report {
    /// One row for each order that was checked.
    pub orders: Vec<OrderReport>,
}

/// The outcome at one order of differentiation.
#[derive(Clone, Debug)]
pub struct OrderReport {
    /// 1 for gradients, 2 for gradients of gradients, …
    pub order: usize,
    /// The largest relative error of the gradient against central differences.
    pub max_rel_err: f64,
    /// The largest relative difference between the fast and the recorded gradient.
    pub max_fast_vs_recorded: f64,
    /// What both must stay below.
    pub tolerance: f64,
    /// The largest error of a gradient, relative to the largest one, that rounding in the difference quotient
    /// could hide.
    pub blind: f64,
    /// Where the error against central differences is largest.
    pub worst: Option<Entry>,
    /// Whether the order passed.
    pub pass: bool,
}

/// One entry of a gradient.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which input.
    pub input: usize,
    /// The index in that input.
    pub index: Vec<usize>,
    /// What the reverse pass says.
    pub analytic: f64,
    /// What central differences say.
    pub numeric: f64,
}

impl Report {
    /// Whether every order passed.
    pub fn pass(&self) -> bool {
        self.orders.iter().all(|o| o.pass)
    }

    /// Panics with the report if an order failed.
    ///
    /// # Panics
    /// If an order failed.
    #[track_caller]
    pub fn assert(&self) {
        assert!(self.pass(), "gradcheck failed\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for o in &self.orders {
            let verdict = if o.pass { "ok" } else { "FAIL" };
            write!(
                f,
                "order {}: {verdict}, relative error {:.1e}, fast against recorded {:.1e}, tolerance {:.0e}",
                o.order, o.max_rel_err, o.max_fast_vs_recorded, o.tolerance
            )?;
            if let Some(w) = &o.worst {
                write!(
                    f,
                    "; worst at input {} {:?}: gradient {:e}, difference quotient {:e}",
                    w.input, w.index, w.analytic, w.numeric
                )?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Relative tolerance at an order: 1e-6, 1e-5, 1e-4 in f64; 2e-3, 2e-2, … in f32.
pub fn tolerance(dtype: DType, order: usize) -> f64 {
    let first = if dtype == DType::F64 { 1e-6 } else { 2e-3 };
    first * 10f64.powi(order as i32 - 1)
}

/// Checks the gradients of `f` at `inputs`, up to `order`.
///
/// `f` must be smooth within a thousandth (f32: two hundredths) of the inputs' size, and must accept any values
/// of these shapes. An input that `f` does not depend on is taken to have gradient 0.
///
/// ```
/// use autograd::{Tensor, gradcheck};
/// let x = Tensor::from([0.3, -1.2]);
/// gradcheck(|x| x[0].sin() * x[0].sum(..), &[x], 3).assert();
/// ```
///
/// # Panics
/// If there are no inputs, their dtypes differ, or `order` is 0.
#[track_caller]
pub fn gradcheck(f: impl Fn(&[Tensor]) -> Tensor, inputs: &[Tensor], order: usize) -> Report {
    assert!(!inputs.is_empty() && order > 0, "gradcheck: at least one input and order 1 are needed");
    let dtype = inputs[0].dtype();
    assert!(inputs.iter().all(|x| x.dtype() == dtype), "gradcheck: all inputs must have one dtype");
    let orders = (1..=order).map(|order| check_order(&f, inputs, order)).collect();
    Report { orders }
}

/// The step of the difference quotient, relative to an input's size: the fifth root of the precision balances
/// the error of the five-point rule against rounding; smaller in f32, to stay clear of kinks.
fn step(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 7e-4,
        DType::F32 => 1e-2,
    }
}

/// Inputs with at most this many elements in all are checked element by element, others along random directions.
const ELEMENTWISE: usize = 256;

fn check_order(f: &impl Fn(&[Tensor]) -> Tensor, inputs: &[Tensor], order: usize) -> OrderReport {
    let dtype = inputs[0].dtype();
    let tolerance = tolerance(dtype, order);
    let leaves: Vec<Tensor> = inputs.iter().map(Tensor::requires_grad).collect();
    let refs: Vec<&Tensor> = leaves.iter().collect();
    let (y, magnitude) = phi(f, &leaves, order);
    let seed = || Tensor::ones(y.shape(), dtype);
    let or_zero = |found: Vec<Option<Tensor>>| -> Vec<Vec<f64>> {
        found
            .iter()
            .zip(inputs)
            .map(|(g, x)| g.as_ref().map_or(vec![0.0; x.numel()], Tensor::to_vec))
            .collect()
    };
    let fast = or_zero(pass::grad(&y, seed(), &refs, false));
    let recorded = or_zero(pass::grad(&y, seed(), &refs, true));

    let largest = fast.iter().flatten().fold(0.0, |m: f64, g| m.max(g.abs()));
    let h = step(dtype);
    let epsilon = if dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    // Entries far below the largest one, or below what rounding of phi leaves of a quotient, count by that floor.
    let sizes: Vec<f64> = inputs.iter().map(size).collect();
    let noise = |size: f64| 10.0 * epsilon * magnitude / (h * size) / tolerance;
    let relative = |a: f64, b: f64, floor: f64| {
        if a == b { 0.0 } else { (a - b).abs() / (a.abs().max(b.abs()) + 1e-3 * largest + floor) }
    };

    let mut max_fast_vs_recorded = 0.0f64;
    for (a, b) in fast.iter().flatten().zip(recorded.iter().flatten()) {
        max_fast_vs_recorded = worse(max_fast_vs_recorded, relative(*a, *b, f64::MIN_POSITIVE));
    }

    let quotient = |direction: &[Vec<f64>]| {
        let at = |t: f64| phi(f, &moved(inputs, direction, t), order).0.item();
        (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
    };
    let total: usize = inputs.iter().map(Tensor::numel).sum();
    let mut max_rel_err = 0.0f64;
    let mut worst = None;
    if total > ELEMENTWISE {
        let smallest = sizes.iter().copied().fold(f64::INFINITY, f64::min);
        for i in 0..4 {
            let key = Key::new(11).stream("direction").step(i);
            let direction = random_direction(inputs, &sizes, key);
            let numeric = quotient(&direction);
            let dot = |a: &[Vec<f64>], b: &[Vec<f64>]| -> f64 {
                a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| a * b).sum()
            };
            let analytic = dot(&fast, &direction);
            let scale = dot(&fast, &fast).sqrt() * dot(&direction, &direction).sqrt();
            let error = (analytic - numeric).abs()
                / (analytic.abs().max(numeric.abs()) + 1e-3 * scale + noise(1.0) * smallest.max(1.0));
            max_rel_err = worse(max_rel_err, if analytic == numeric { 0.0 } else { error });
        }
    }
    // Every element, or, to name the culprit of a failed direction, a sample of them.
    if total <= ELEMENTWISE || fails(max_rel_err, tolerance) {
        let stride = total.div_ceil(ELEMENTWISE).max(1);
        for (input, x) in inputs.iter().enumerate() {
            for i in (0..x.numel()).step_by(stride) {
                let mut direction: Vec<Vec<f64>> = inputs.iter().map(|x| vec![0.0; x.numel()]).collect();
                direction[input][i] = sizes[input];
                let numeric = quotient(&direction) / sizes[input];
                let analytic = fast[input][i];
                let error = relative(analytic, numeric, noise(sizes[input]));
                if worst.is_none() || error > max_rel_err || error.is_nan() {
                    worst = Some(Entry { input, index: unravel(i, x.shape()), analytic, numeric });
                }
                max_rel_err = worse(max_rel_err, error);
            }
        }
    }
    let pass = !fails(max_rel_err, tolerance) && !fails(max_fast_vs_recorded, tolerance);
    let widest = sizes.iter().fold(0.0, |m: f64, &size| m.max(noise(size) * tolerance));
    let blind = if largest > 0.0 { widest / largest } else { 0.0 };
    OrderReport { order, max_rel_err, max_fast_vs_recorded, tolerance, blind, worst, pass }
}

/// Not-a-number fails.
fn fails(error: f64, tolerance: f64) -> bool {
    error.is_nan() || error >= tolerance
}

/// The larger; NaN once it has appeared.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The scalar that is differentiated at an order: f made scalar, or the gradients of the order below. With it,
/// the sum of the absolute values of its terms, which the rounding error of the scalar is proportional to.
fn phi(f: &impl Fn(&[Tensor]) -> Tensor, x: &[Tensor], order: usize) -> (Tensor, f64) {
    if order == 1 {
        return scalarise(&f(x), 0);
    }
    let x: Vec<Tensor> =
        x.iter().map(|x| if x.is_tracked() { x.clone() } else { x.requires_grad() }).collect();
    let (y, _) = phi(f, &x, order - 1);
    let refs: Vec<&Tensor> = x.iter().collect();
    let gradients = pass::grad(&y, Tensor::ones(y.shape(), y.dtype()), &refs, true);
    let zero = (Tensor::scalar(0.0, y.dtype()), 0.0);
    let parts = gradients.iter().enumerate().filter_map(|(i, g)| Some(scalarise(g.as_ref()?, i as u64 + 1)));
    parts.fold(zero, |(sum, magnitude), (part, m)| (sum + part, magnitude + m))
}

/// <w, y> + <v, y^2> with fixed random w and v, and the sum of its terms' absolute values.
fn scalarise(y: &Tensor, which: u64) -> (Tensor, f64) {
    let key = Key::new(7).stream("scalarise").step(which);
    let w = Tensor::normal(y.shape(), y.dtype(), key);
    let v = Tensor::normal(y.shape(), y.dtype(), key.stream("square"));
    let terms = [y * w, y * y * v];
    let magnitude = terms.iter().map(|t| t.value().abs().sum(..).item()).sum();
    let [linear, square] = terms;
    (linear.sum(..) + square.sum(..), magnitude)
}

/// The root mean square of an input, 1 for an empty or zero one.
fn size(x: &Tensor) -> f64 {
    let v = x.to_vec::<f64>();
    let ms = v.iter().map(|v| v * v).sum::<f64>() / v.len().max(1) as f64;
    if ms > 0.0 { ms.sqrt() } else { 1.0 }
}

fn moved(inputs: &[Tensor], direction: &[Vec<f64>], t: f64) -> Vec<Tensor> {
    let step = |(x, d): (&Tensor, &Vec<f64>)| Tensor::from_fn(x.shape(), x.dtype(), |i| x.get(i) + t * d[i]);
    inputs.iter().zip(direction).map(step).collect()
}

fn random_direction(inputs: &[Tensor], sizes: &[f64], key: Key) -> Vec<Vec<f64>> {
    let draw = |(i, (x, size)): (usize, (&Tensor, &f64))| {
        let d = Tensor::uniform(x.shape(), DType::F64, key.stream(&i.to_string())).to_vec::<f64>();
        d.iter().map(|u| (2.0 * u - 1.0) * size).collect()
    };
    inputs.iter().zip(sizes).enumerate().map(draw).collect()
}

fn unravel(i: usize, shape: &Shape) -> Vec<usize> {
    shape.iter().zip(shape.strides()).map(|(d, s)| i / s % d).collect()
}

// ------------------------------------------------------------------------------------------ sample tables

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

    /// Runs [`gradcheck`].
    pub fn check(&self, dtype: DType, order: usize) -> Report {
        gradcheck(|x| self.call(x), &self.inputs(dtype), order)
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

    /// Normal values pushed away from `centre` by `gap`, on either side: for functions with a kink or pole there.
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

/// The samples of every operation of the engine.
pub fn samples() -> Vec<Sample> {
    crate::ops::samples()
}
