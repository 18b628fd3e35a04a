//! Elementary functions over all magnitudes against the standard library in f64, and loops over blocks.

use kernels::aligned::{Aligned, BLOCK};
use kernels::map::{self, Map, Strided};
use kernels::{Element, MAX_RANK, Real};
use proptest::prelude::*;

use crate::common::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Exp,
    Ln,
    Ln1p,
    Sqrt,
    Rsqrt,
    Tanh,
    Sigmoid,
    Softplus,
    Erf,
    Sin,
    Cos,
    Acos,
    Powf(f64),
    Relu,
    Abs,
    Sign,
    Step,
}
use Function::*;

impl Map<1> for Function {
    #[inline(always)]
    fn call<R: Real>(&self, [x]: [R; 1]) -> R {
        match *self {
            Exp => x.exp(),
            Ln => x.ln(),
            Ln1p => x.ln_1p(),
            Sqrt => x.sqrt(),
            Rsqrt => x.rsqrt(),
            Tanh => x.tanh(),
            Sigmoid => x.sigmoid(),
            Softplus => x.softplus(),
            Erf => x.erf(),
            Sin => x.sin(),
            Cos => x.cos(),
            Acos => x.acos(),
            Powf(p) => x.powf(p),
            Relu => x.relu(),
            Abs => x.abs(),
            Sign => x.sign(),
            Step => x.step(),
        }
    }
}

impl Function {
    fn definition(self, x: f64) -> f64 {
        match self {
            Exp => x.exp(),
            Ln => x.ln(),
            Ln1p => x.ln_1p(),
            Sqrt => x.sqrt(),
            Rsqrt => 1.0 / x.sqrt(),
            Tanh => x.tanh(),
            Sigmoid if x < 0.0 => x.exp() / (1.0 + x.exp()),
            Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Erf => libm::erf(x),
            Sin => x.sin(),
            Cos => x.cos(),
            Acos => x.acos(),
            Powf(p) => x.powf(p),
            Relu => x.max(0.0),
            Abs => x.abs(),
            Sign => f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
            Step => f64::from(x > 0.0),
        }
    }

    /// The largest error stated for the function, in ulp of f32; one ulp is the distance to the next number.
    fn ulps(self) -> f64 {
        match self {
            Exp => 1.1,
            Ln => 1.0,
            Ln1p | Tanh => 1.5,
            Sigmoid => 2.5,
            Erf => 1.25,
            // The sum of max(x, 0), and of a logarithm (1.5 ulp) of an exponential (1.1 ulp), of at most one each.
            Softplus => 3.1,
            Sin | Cos | Powf(_) => 0.51,
            Sqrt => 0.5,
            // A relative error of u from the root, at most 1 ulp, and the rounding of the quotient.
            Rsqrt => 1.5,
            // C libraries state 1 ulp between theirs and the rounded one.
            Acos => 1.5,
            Relu | Abs | Sign | Step => 0.0,
        }
    }
}

/// The function at significand 2^exponent, and at numbers after it.
#[derive(Clone, Debug)]
struct Case {
    function: Function,
    significand: i32,
    exponent: i32,
}

fn cases() -> impl Strategy<Value = Case> {
    let simple = prop::sample::select(vec![
        Exp, Ln, Ln1p, Sqrt, Rsqrt, Tanh, Sigmoid, Softplus, Erf, Sin, Cos, Acos, Relu, Abs, Sign, Step,
    ]);
    let power = (-16..17i32).prop_map(|quarters| Powf(f64::from(quarters) / 4.0));
    let significand = prop_oneof![-20..21i32, -0xff_ffff..0x100_0000];
    let exponent = prop_oneof![-8..9i32, -30..3i32, -149..105i32];
    (prop_oneof![16 => simple, 2 => power], significand, exponent)
        .prop_map(|(function, significand, exponent)| Case { function, significand, exponent })
}

/// One ulp of T at a number.
fn ulp<T: Element>(x: f64) -> f64 {
    let (digits, least) = if size_of::<T>() == size_of::<f32>() { (23, -126) } else { (52, -1022) };
    let exponent = x.abs().log2().floor().clamp(f64::from(least), 1023.0) as i32;
    // In two factors, since 2^-1074 has no representation in powi.
    f64::powi(2.0, exponent) * f64::powi(2.0, -digits)
}

fn function_property<T: Element>(case: &Case) -> TestResult {
    let mut x = Aligned::<T>::zeroed(BLOCK);
    let first = f64::from(case.significand) * f64::powi(2.0, case.exponent);
    x.iter_mut().enumerate().for_each(|(l, x)| *x = T::from_f64(first * (1.0 + l as f64 / 64.0)));
    let largest = if size_of::<T>() == size_of::<f32>() { f64::from(f32::MAX) } else { f64::MAX };
    // In f64 the standard library is off by up to one ulp itself, and some formulas above by two.
    let ulps = case.function.ulps() + if T::NAME == "f64" && case.function.ulps() > 0.0 { 2.0 } else { 0.0 };
    at_every_level(|| {
        let mut y = Aligned::<T>::zeroed(BLOCK);
        map::flat(&case.function, [Some(x.blocks())], y.blocks_mut());
        for (l, (&x, &found)) in x.iter().zip(y.iter()).enumerate() {
            let (x, found) = (x.to_f64(), found.to_f64());
            let value = case.function.definition(x);
            let tolerance = ulps * ulp::<T>(value);
            // Next to the largest number a result may be infinite.
            let overflows = value.abs() + tolerance > largest && found == f64::INFINITY.copysign(value);
            let agree = found == value
                || found.is_nan() && value.is_nan()
                || overflows
                || (found - value).abs() <= tolerance;
            prop_assert!(
                agree,
                "{} of {:?}({x:e}), lane {l}: {found:e}, expected {value:e} within {tolerance:.1e}",
                T::NAME,
                case.function
            );
        }
        Ok(())
    })
}

/// The difference of two inputs.
#[derive(Clone, Copy)]
struct Minus;
impl Map<2> for Minus {
    #[inline(always)]
    fn call<R: Real>(&self, [a, b]: [R; 2]) -> R {
        a - b
    }
}

/// a - b with the result's shape `dims`: each input has its axis, or repeats one element along it.
#[derive(Clone, Debug)]
struct Broadcast {
    dims: Vec<usize>,
    a_repeats: Vec<bool>,
    b_repeats: Vec<bool>,
    seed: u64,
}

fn broadcasts() -> impl Strategy<Value = Broadcast> {
    let length = prop_oneof![6 => 1..6usize, 1 => 0..150usize];
    (prop::collection::vec((length, any::<(bool, bool)>()), 0..7), 0..1000u64)
        .prop_map(|(axes, seed)| {
            let (dims, repeats): (Vec<usize>, Vec<_>) = axes.into_iter().unzip();
            let (a_repeats, b_repeats) = repeats.into_iter().unzip();
            Broadcast { dims, a_repeats, b_repeats, seed }
        })
        .prop_filter("small", |c| c.dims.iter().product::<usize>() < 40_000)
}

fn broadcast_property<T: Element>(case: &Broadcast) -> TestResult {
    let input = |repeats: &[bool], seed: u64| {
        let mut strides = [0; MAX_RANK];
        let mut len = 1;
        for (a, (&n, &repeats)) in case.dims.iter().zip(repeats).enumerate().rev() {
            if !repeats {
                (strides[a], len) = (len, len * n);
            }
        }
        let mut data = Aligned::<T>::zeroed(len);
        data.copy_from_slice(&noise(len, seed, 1.0));
        (data, strides)
    };
    let [a, b] = [input(&case.a_repeats, case.seed), input(&case.b_repeats, case.seed + 1)];
    let value = |(data, strides): &(Aligned<T>, [usize; MAX_RANK]), i: usize| {
        data[unravel(i, &case.dims).iter().zip(strides).map(|(i, s)| i * s).sum::<usize>()]
    };
    let len = case.dims.iter().product();
    let want: Vec<T> = (0..len).map(|i| value(&a, i) - value(&b, i)).collect();
    at_every_level(|| {
        let mut out = Aligned::<T>::zeroed(len);
        let inputs = [&a, &b].map(|(data, strides)| Strided { data: data.blocks(), strides: *strides });
        map::broadcast(&Minus, inputs, &case.dims, out.blocks_mut());
        check_exact("broadcast", &out, &want)
    })
}

proptest! {
    #![proptest_config(config(4000))]

    #[test]
    fn functions_keep_their_errors_at_every_magnitude(case in cases()) {
        function_property::<f32>(&case)?;
        function_property::<f64>(&case)?;
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn broadcast_reads_by_strides(case in broadcasts()) {
        broadcast_property::<f32>(&case)?;
        broadcast_property::<f64>(&case)?;
    }
}
