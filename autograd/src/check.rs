//! Gradients against finite differences, to any order.
//!
//! The function under test is made scalar by random weights, phi(x) = <w, z> + <v, z^2>, where z is y = f(x) with each
//! element divided by its magnitude at the point that is checked. Thus the largest output does not mask the others. The
//! square makes the second derivative of a linear f nonzero. At every order three numbers must agree along each
//! direction: the gradient from the fast backward kernels, the gradient that is recorded and can be differentiated
//! again, and a central difference of the values. Order n + 1 does the same to phi' in place of f.
//!
//! The error of a gradient is relative to that gradient. The tolerance allows for the errors of the difference quotient
//! itself: the rounding of phi, and the truncation of the five-point rule.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use kernels::random::Key;

use crate::dtype::DType;
use crate::pass;
use crate::sample::Sample;
use crate::shape::Shape;
use crate::tensor::Tensor;

impl Sample {
    /// Runs [`gradcheck`].
    pub fn check(&self, dtype: DType, order: usize) -> Report {
        gradcheck(|x| self.call(x), &self.inputs(dtype), order)
    }
}

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
    /// The tolerance of the error against central differences.
    pub tolerance: f64,
    /// The tolerance of the difference between fast and recorded gradient.
    pub agreement: f64,
    /// The largest error that rounding in the difference quotient could hide, relative to the largest gradient of the
    /// same input. An input whose gradient is zero does not count.
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
    /// Its value by the reverse pass.
    pub analytic: f64,
    /// Its value by central differences.
    pub numeric: f64,
}

impl Report {
    /// Whether every order passed.
    pub fn pass(&self) -> bool {
        self.orders.iter().all(|o| o.pass)
    }

    /// Asserts that every order passed; the panic message is the report.
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
                "order {}: {verdict}, relative error {:.1e} (tolerance {:.0e}), fast against recorded {:.1e} ({:.0e})",
                o.order, o.max_rel_err, o.tolerance, o.max_fast_vs_recorded, o.agreement
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

/// Relative tolerance between the fast and the recorded gradient: in f64 they may differ by rounding only.
fn agreement(dtype: DType, order: usize) -> f64 {
    if dtype == DType::F64 { 1e-10 } else { tolerance(dtype, order) }
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
/// the error of the five-point rule against rounding; smaller in f32, to avoid kinks.
fn step(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 7e-4,
        DType::F32 => 7e-3,
    }
}

/// Inputs with at most this many elements in all are checked element by element, others along random directions.
const ELEMENTWISE: usize = 256;

fn check_order(f: &impl Fn(&[Tensor]) -> Tensor, inputs: &[Tensor], order: usize) -> OrderReport {
    let dtype = inputs[0].dtype();
    let (tolerance, agreement) = (tolerance(dtype, order), agreement(dtype, order));
    let function = Scalarised { f, sizes: RefCell::default() };
    let leaves: Vec<Tensor> = inputs.iter().map(Tensor::requires_grad).collect();
    let refs: Vec<&Tensor> = leaves.iter().collect();
    let (y, magnitude) = function.phi(&leaves, order);
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

    let mut max_fast_vs_recorded = 0.0f64;
    for ((a, b), x) in fast.iter().zip(&recorded).zip(inputs) {
        // Sums of terms that cancel differ by the rounding of the terms.
        let floor = 1e-3 * largest(a).max(terms(magnitude, x)) + f64::MIN_POSITIVE;
        for (a, b) in a.iter().zip(b) {
            max_fast_vs_recorded = worse(max_fast_vs_recorded, relative(*a, *b, floor));
        }
    }

    let h = step(dtype);
    let epsilon = if dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let sizes: Vec<f64> = inputs.iter().map(size).collect();
    // The error of a quotient along a direction that is due to the rounding of phi.
    let rounding = 10.0 * epsilon * magnitude / h;
    // The derivative along a direction, and a bound of its error.
    let quotient = |direction: &[Vec<f64>]| {
        let at = |t: f64| function.phi(&moved(inputs, direction, t), order).0.item();
        let [narrow, wide] = [h, 2.0 * h].map(|h| (at(h) - at(-h)) / (2.0 * h));
        // The rule's error is h^4 / 30 times the fifth derivative; the two differ by h^2 / 2 times the third.
        let truncation = 10.0 * h * h * (wide - narrow).abs();
        ((4.0 * narrow - wide) / 3.0, rounding + truncation)
    };
    let total: usize = inputs.iter().map(Tensor::numel).sum();
    let mut max_rel_err = 0.0f64;
    let mut worst = None;
    if total > ELEMENTWISE {
        for i in 0..4 {
            let key = Key::new(11).stream("direction").step(i);
            let direction = random_direction(inputs, &sizes, key);
            let (numeric, off) = quotient(&direction);
            let terms = fast.iter().flatten().zip(direction.iter().flatten());
            let analytic: f64 = terms.map(|(a, b)| a * b).sum();
            max_rel_err = worse(max_rel_err, relative(analytic, numeric, off / tolerance));
        }
    }
    // Every element, or, to locate the error of a failed direction, a sample of them.
    let elements = total <= ELEMENTWISE || fails(max_rel_err, tolerance);
    let stride = total.div_ceil(ELEMENTWISE).max(1);
    let mut blind = 0.0f64;
    for (input, x) in inputs.iter().enumerate() {
        let mut most = largest(&fast[input]);
        for i in (0..x.numel()).step_by(stride).filter(|_| elements) {
            let mut direction: Vec<Vec<f64>> = inputs.iter().map(|x| vec![0.0; x.numel()]).collect();
            direction[input][i] = sizes[input];
            let (along, off) = quotient(&direction);
            let (numeric, off) = (along / sizes[input], off / sizes[input]);
            let analytic = fast[input][i];
            let error = relative(analytic, numeric, off / tolerance);
            if worst.is_none() || error > max_rel_err || error.is_nan() {
                worst = Some(Entry { input, index: unravel(i, x.shape()), analytic, numeric });
            }
            max_rel_err = worse(max_rel_err, error);
            if numeric.abs() > off {
                most = most.max(numeric.abs());
            }
        }
        if most > 0.0 {
            blind = blind.max(rounding / sizes[input] / most);
        }
    }
    let pass = !fails(max_rel_err, tolerance) && !fails(max_fast_vs_recorded, agreement);
    OrderReport { order, max_rel_err, max_fast_vs_recorded, tolerance, agreement, blind, worst, pass }
}

/// The difference of two numbers, relative to the larger one and to `floor`.
fn relative(a: f64, b: f64, floor: f64) -> f64 {
    if a == b { 0.0 } else { (a - b).abs() / (a.abs().max(b.abs()) + floor) }
}

/// The largest absolute value.
fn largest(v: &[f64]) -> f64 {
    v.iter().fold(0.0, |m: f64, v| m.max(v.abs()))
}

/// Not-a-number fails.
fn fails(error: f64, tolerance: f64) -> bool {
    error.is_nan() || error >= tolerance
}

/// The larger; NaN once it has appeared.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// A function that is made scalar.
struct Scalarised<'a, F> {
    f: &'a F,
    /// The reciprocal sizes of the outputs, by order and output: those of the first point are used for all.
    sizes: RefCell<HashMap<(usize, u64), Tensor>>,
}

impl<F: Fn(&[Tensor]) -> Tensor> Scalarised<'_, F> {
    /// The scalar that is differentiated at an order: f made scalar, or the gradients of the order below. With it,
    /// the sum of the absolute values of its terms, which the rounding error of the scalar is proportional to.
    fn phi(&self, x: &[Tensor], order: usize) -> (Tensor, f64) {
        // Leaves, even if only the value is needed: f may take gradients itself.
        let x: Vec<Tensor> =
            x.iter().map(|x| if x.is_tracked() { x.clone() } else { x.requires_grad() }).collect();
        if order == 1 {
            return self.scalarise(&(self.f)(&x), order, 0, 0.0);
        }
        let (y, magnitude) = self.phi(&x, order - 1);
        let refs: Vec<&Tensor> = x.iter().collect();
        let gradients = pass::grad(&y, Tensor::ones(y.shape(), y.dtype()), &refs, true);
        let zero = (Tensor::scalar(0.0, y.dtype()), 0.0);
        let parts = gradients.iter().zip(&x).enumerate().filter_map(|(i, (g, x))| {
            Some(self.scalarise(g.as_ref()?, order, i as u64 + 1, terms(magnitude, x)))
        });
        parts.fold(zero, |(sum, magnitude), (part, m)| (sum + part, magnitude + m))
    }

    /// <w, z> + <v, z^2> with fixed random w and v, and the sum of its terms' absolute values. `terms` is the size of
    /// what y is a sum of, if that is known.
    fn scalarise(&self, y: &Tensor, order: usize, which: u64, terms: f64) -> (Tensor, f64) {
        let mut sizes = self.sizes.borrow_mut();
        let reciprocal = &*sizes.entry((order, which)).or_insert_with(|| reciprocal_sizes(y, terms));
        let z = y * reciprocal;
        let key = Key::new(7).stream("scalarise").step(which);
        let w = Tensor::normal(y.shape(), y.dtype(), key);
        let v = Tensor::normal(y.shape(), y.dtype(), key.stream("square"));
        let weights = w.abs() + (&v * z.value()).abs();
        let magnitude = (z.value().abs().maximum(&(reciprocal * terms)) * weights).sum(..).item();
        let [linear, square] = [&z * w, &z * &z * v];
        (linear.sum(..) + square.sum(..), magnitude)
    }
}

/// 1 / |y|. Elements far below the largest one, or far below `terms`, may be the result of cancellation. For them a
/// hundredth of that magnitude is used, since otherwise their rounding would dominate the check.
fn reciprocal_sizes(y: &Tensor, terms: f64) -> Tensor {
    let values = y.to_vec::<f64>();
    let floor = 1e-2 * largest(&values).max(terms);
    let reciprocal = |i: usize| 1.0 / values[i].abs().max(floor);
    Tensor::from_fn(y.shape(), y.dtype(), |i| Some(reciprocal(i)).filter(|r| r.is_finite()).unwrap_or(1.0))
}

/// The size of an element of the gradient by `x` whose terms do not cancel, for a scalar whose terms are of absolute sum
/// `magnitude`.
fn terms(magnitude: f64, x: &Tensor) -> f64 {
    magnitude / (size(x) * x.numel().max(1) as f64)
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
