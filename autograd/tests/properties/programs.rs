//! What holds for any composition of operations: random programs of smooth operations on a matrix.
//!
//! Gradients are compared with central differences, recorded ones with unrecorded ones, and the vector-Jacobian product
//! must be linear. How far rounding errors grow through a program is measured: every program also runs in f32, whose
//! roundings are 2^29 times those of f64.

use autograd::{DType, Index, Tensor, keep};
use proptest::prelude::*;

use crate::common::*;

/// One operation from an n x d matrix x to another.
#[derive(Clone, Copy, Debug)]
enum Step {
    Tanh,
    Sigmoid,
    Softplus,
    SinTimesExpTanh,
    RootOfSquarePlusOne,
    DivideBySquarePlusOne,
    Softmax(isize),
    LogSoftmax(isize),
    SubtractMean(isize),
    SubtractLogSumExp(isize),
    TimesVariance(isize),
    Standardize,
    LayerNorm,
    BatchNorm,
    NormalizeRows,
    MatmulWeight,
    GramMatmul,
    TimesRowOfWeight,
    Cumsum(isize),
    Flip(isize),
    Roll(isize),
    ConcatHalves,
    IndexSelect,
    Conv,
}
use Step::*;

#[derive(Clone, Debug)]
struct Program {
    n: usize,
    d: usize,
    steps: Vec<Step>,
    seed: u64,
}

fn programs() -> impl Strategy<Value = Program> {
    let simple = vec![
        Tanh,
        Sigmoid,
        Softplus,
        SinTimesExpTanh,
        RootOfSquarePlusOne,
        DivideBySquarePlusOne,
        Standardize,
        LayerNorm,
        BatchNorm,
        NormalizeRows,
        MatmulWeight,
        GramMatmul,
        TimesRowOfWeight,
        ConcatHalves,
        IndexSelect,
        Conv,
    ];
    let along = [Softmax, LogSoftmax, SubtractMean, SubtractLogSumExp, TimesVariance, Cumsum, Flip, Roll];
    let along = along.into_iter().flat_map(|step| [0, 1, -1].map(step)).collect::<Vec<_>>();
    let step = prop_oneof![prop::sample::select(simple), prop::sample::select(along)];
    (2..6usize, 2..6usize, prop::collection::vec(step, 1..5), 0..1000u64)
        .prop_map(|(n, d, steps, seed)| Program { n, d, steps, seed })
}

impl Program {
    fn matrix(&self, rows: usize, i: u64, dtype: DType) -> Tensor {
        let values: Vec<f32> = noise(rows * self.d, self.seed + i, 1.0);
        Tensor::new(&values, [rows, self.d]).to_dtype(dtype)
    }

    /// The matrix x and the d x d weight w.
    fn inputs(&self, dtype: DType) -> [Tensor; 2] {
        [self.matrix(self.n, 0, dtype), self.matrix(self.d, 1, dtype)]
    }

    fn cotangent(&self, i: u64, dtype: DType) -> Tensor {
        self.matrix(self.n, 2 + i, dtype)
    }

    fn step(&self, step: Step, x: &Tensor, w: &Tensor) -> Tensor {
        let [n, d] = [self.n, self.d];
        let vector = |i: u64| self.matrix(1, i, x.dtype()).reshape([d]);
        match step {
            Tanh => x.tanh(),
            Sigmoid => x.sigmoid(),
            Softplus => x.softplus(),
            SinTimesExpTanh => x.sin() * x.tanh().exp(),
            RootOfSquarePlusOne => (x * x + 1.0).sqrt(),
            DivideBySquarePlusOne => x / (x.powi(2) + 1.0),
            Softmax(axis) => x.softmax(axis),
            LogSoftmax(axis) => x.log_softmax(axis),
            SubtractMean(axis) => x - x.mean(keep(axis)),
            SubtractLogSumExp(axis) => x - x.logsumexp(keep(axis)),
            TimesVariance(axis) => x * x.var(keep(axis), 0),
            Standardize => x.standardize(1, 0.1),
            LayerNorm => x.layer_norm(&vector(10), &vector(11), 0.1),
            BatchNorm => x.batch_norm_train(&vector(12), &vector(13), 0.1).0,
            NormalizeRows => x.normalize_rows(0.1),
            MatmulWeight => x.matmul(w),
            GramMatmul => x.gram().matmul(x).tanh(),
            TimesRowOfWeight => x * w.select(0, -1),
            Cumsum(axis) => x.cumsum(axis),
            Flip(axis) => x.flip(axis),
            Roll(axis) => x.roll(axis, 1),
            ConcatHalves => {
                let halves = x.chunk(0, 2);
                Tensor::concat(&[&halves[0].sin(), &halves[1]], 0)
            }
            IndexSelect => x.index_select(0, &Index::new(&indices(n, self.seed, n), [n])),
            Conv => {
                let image = x.reshape([1, 1, n, d]);
                let kernel = w.slice_axis(0, ..1).slice_axis(1, ..2).reshape([1, 1, 1, 2]);
                let y = image.conv2d(&kernel, autograd::ConvOptions::default());
                y.pad(&[(0, 0), (0, 0), (0, 0), (1, 0)], autograd::Padding::Constant(0.5)).reshape([n, d])
            }
        }
    }

    fn run(&self, x: &Tensor, w: &Tensor) -> Tensor {
        self.steps.iter().fold(x.clone(), |x, &step| self.step(step, &x, w))
    }

    /// The terms of <v, f> + <f, f> / 2 + <w, w> / 2. The squares make the gradients of linear programs depend on the
    /// inputs, which second gradients need.
    fn terms(&self, [x, w]: &[Tensor; 2], i: u64) -> [Tensor; 2] {
        let f = self.run(x, w);
        [(self.cotangent(i, x.dtype()) + &f * 0.5) * f, w * w * 0.5]
    }

    fn loss(&self, inputs: &[Tensor; 2], i: u64) -> Tensor {
        let [a, b] = self.terms(inputs, i);
        a.sum(..) + b.sum(..)
    }

    /// The gradients of the loss with respect to both inputs, one after the other.
    fn gradient(&self, inputs: &[Tensor; 2], recorded: bool) -> Vec<f64> {
        let leaves = inputs.each_ref().map(|t| t.requires_grad());
        let (loss, refs) = (self.loss(&leaves, 0), leaves.each_ref());
        flat(&if recorded { loss.recorded().grad(&refs) } else { loss.grad(&refs) })
    }

    /// The derivative of <c, gradient> along t by a second reverse pass.
    fn second(&self, inputs: &[Tensor; 2], c: &[Tensor; 2]) -> Vec<f64> {
        let leaves = inputs.each_ref().map(|t| t.requires_grad());
        let refs = leaves.each_ref();
        let first = self.loss(&leaves, 0).recorded().grad(&refs);
        let along = (&first[0] * &c[0]).sum(..) + (&first[1] * &c[1]).sum(..);
        flat(&along.grad(&refs))
    }

    /// Both inputs, moved by h along t.
    fn moved(&self, inputs: &[Tensor; 2], t: &[Tensor; 2], h: f64) -> [Tensor; 2] {
        [0, 1].map(|i| &inputs[i] + &t[i] * h)
    }

    /// A direction.
    fn direction(&self, i: u64, dtype: DType) -> [Tensor; 2] {
        [self.matrix(self.n, 20 + i, dtype), self.matrix(self.d, 30 + i, dtype)]
    }
}

fn flat(tensors: &[Tensor]) -> Vec<f64> {
    tensors.iter().flat_map(|t| t.to_dtype(DType::F64).to_vec::<f64>()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The rounding error of results in f64: the largest difference between f32 and f64 is about 2^29 times as large. Eight
/// times it, since that is one sample of it, and no less than some roundings of the largest result.
fn rounding(single: &[f64], double: &[f64]) -> f64 {
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |m: f64, v| m.max(v.abs()));
    let difference = largest(&mut single.iter().zip(double).map(|(a, b)| a - b));
    let size = largest(&mut double.iter().copied());
    // What remains of a cancellation of numbers about 1 has their rounding error; in f32 nothing remains that would show
    // it.
    let cancelled = if size < f64::from(f32::EPSILON) { f64::EPSILON } else { 0.0 };
    8.0 * difference * f64::powi(0.5, 29) + gamma::<f64>(32) * size + cancelled
}

/// Checks `derivative` against the five-point difference quotient D(h) of f at 0.
///
/// Its truncation error falls with h^4, so it is a fifteenth of |D(2 h) - D(h)|. A rounding error of f, of at most
/// `rounding`, becomes 1.5 / h times as large.
fn check_derivative(op: &str, derivative: f64, f: impl Fn(f64) -> f64, rounding: f64) -> TestResult {
    const H: f64 = 1.0 / 1024.0;
    let quotient = |h: f64| (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h);
    let (found, wider) = (quotient(H), quotient(2.0 * H));
    let tolerance = (wider - found).abs() + 1.5 / H * rounding;
    prop_assert!(
        (found - derivative).abs() <= tolerance,
        "{op}: the derivative along a direction is {derivative:e}, expected the difference quotient {found:e} \
         within {tolerance:.1e}"
    );
    Ok(())
}

fn check_near(op: &str, found: &[f64], expected: &[f64], tolerance: f64) -> TestResult {
    prop_assert_eq!(found.len(), expected.len());
    check(op, found, |i| (expected[i], tolerance))
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn gradients_are_those_of_central_differences(case in programs()) {
        let (single, double) = (case.inputs(DType::F32), case.inputs(DType::F64));
        let t = case.direction(0, DType::F64);
        let [single, terms] = [&single, &double].map(|inputs| flat(&case.terms(inputs, 0)));
        let noise = terms.len() as f64 * rounding(&single, &terms);
        let derivative = dot(&case.gradient(&double, false), &flat(&t));
        let f = |h: f64| case.loss(&case.moved(&double, &t, h), 0).item();
        check_derivative("first order", derivative, f, noise)?;
    }

    #[test]
    fn second_gradients_are_those_of_central_differences(case in programs()) {
        let (single, double) = (case.inputs(DType::F32), case.inputs(DType::F64));
        let (t, c) = (case.direction(0, DType::F64), case.direction(1, DType::F64));
        let gradient = case.gradient(&double, false);
        let noise = gradient.len() as f64 * rounding(&case.gradient(&single, false), &gradient);
        let derivative = dot(&case.second(&double, &c), &flat(&t));
        let f = |h: f64| dot(&case.gradient(&case.moved(&double, &t, h), false), &flat(&c));
        check_derivative("second order", derivative, f, noise)?;
    }

    #[test]
    fn recorded_gradients_are_the_unrecorded_ones(case in programs()) {
        let (single, double) = (case.inputs(DType::F32), case.inputs(DType::F64));
        let [fast, recorded] = [false, true].map(|recorded| case.gradient(&double, recorded));
        let errors = [(false, &fast), (true, &recorded)];
        let tolerance = errors.map(|(kind, double)| rounding(&case.gradient(&single, kind), double)).iter().sum();
        check_near("recorded gradient", &recorded, &fast, tolerance)?;
    }

    #[test]
    fn the_vjp_is_linear(case in programs()) {
        let vjps = |dtype: DType| {
            let [x, w] = case.inputs(dtype).map(|t| t.requires_grad());
            let y = case.run(&x, &w);
            let (u, v) = (case.cotangent(0, dtype), case.cotangent(1, dtype));
            [&u, &v, &(&u * 3.0 - &v * 0.5), &(&u * 4.0)].map(|g| flat(&y.vjp(g, &[&x])))
        };
        let (single, [u, v, both, scaled]) = (vjps(DType::F32), vjps(DType::F64));
        let [by_u, by_v, by_both] = [(0, &u), (1, &v), (2, &both)].map(|(i, double)| rounding(&single[i], double));
        let tolerance = 3.0 * by_u + by_v + by_both;
        let sum: Vec<f64> = u.iter().zip(&v).map(|(u, v)| 3.0 * u - 0.5 * v).collect();
        check_near("vjp of 3 u - v / 2", &both, &sum, tolerance)?;
        // A power of two changes no rounding.
        let four: Vec<f64> = u.iter().map(|u| 4.0 * u).collect();
        check_exact("vjp of 4 u", &scaled, &four)?;
    }

    #[test]
    fn the_gradient_of_a_sum_is_the_sum_of_gradients(case in programs()) {
        let gradients = |dtype: DType| {
            let leaves = case.inputs(dtype).map(|t| t.requires_grad());
            let refs = leaves.each_ref();
            let (a, b) = (case.loss(&leaves, 0), case.loss(&leaves, 1));
            [flat(&(&a + &b).grad(&refs)), flat(&a.grad(&refs)), flat(&b.grad(&refs))]
        };
        let (single, double) = (gradients(DType::F32), gradients(DType::F64));
        let tolerance = (0..3).map(|i| rounding(&single[i], &double[i])).sum();
        let sum: Vec<f64> = double[1].iter().zip(&double[2]).map(|(a, b)| a + b).collect();
        check_near("gradient of a sum", &double[0], &sum, tolerance)?;
    }
}
