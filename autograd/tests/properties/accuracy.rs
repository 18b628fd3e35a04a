//! Elementwise functions and two derivatives of each within 4 ulp of the exact value: at the points of
//! tests/fixtures/accuracy.txt in both dtypes, and in f32 against f64 at random points of every magnitude.

use std::collections::BTreeMap;

use autograd::{Scalar, Tensor};
use proptest::prelude::*;

use crate::common::*;

/// The largest error allowed, in units in the last place of the exact value.
const MOST: f64 = 4.0;

type Function = Box<dyn Fn(&[Tensor]) -> Tensor>;

fn function(name: &str) -> Function {
    let f: fn(&Tensor) -> Tensor = match name {
        "exp" => Tensor::exp,
        "log" => Tensor::log,
        "log1p" => Tensor::log1p,
        "sqrt" => Tensor::sqrt,
        "rsqrt" => Tensor::rsqrt,
        "reciprocal" => |x| 1.0 / x,
        "tanh" => Tensor::tanh,
        "sigmoid" => Tensor::sigmoid,
        "softplus" => Tensor::softplus,
        "erf" => Tensor::erf,
        "gelu" => Tensor::gelu,
        "silu" => Tensor::silu,
        "expm1" => Tensor::expm1,
        "erfc" => Tensor::erfc,
        "tan" => Tensor::tan,
        "elu" => |x| x.elu(0.75),
        "sin" => Tensor::sin,
        "cos" => Tensor::cos,
        "acos" => Tensor::acos,
        "atan2" => return Box::new(|x| x[0].atan2(&x[1])),
        _ if name.starts_with("powi_") => {
            let n: i32 = name["powi_".len()..].parse().expect("an integer");
            return Box::new(move |x| x[0].powi(n));
        }
        _ => {
            let p: f64 = name.strip_prefix("powf_").and_then(|p| p.parse().ok()).expect("a known function");
            return Box::new(move |x| x[0].powf(p));
        }
    };
    Box::new(move |x| f(&x[0]))
}

/// The value, the derivatives and the second derivatives, each elementwise.
fn orders(f: &Function, inputs: &[Tensor]) -> Vec<Vec<f64>> {
    let x: Vec<Tensor> = inputs.iter().map(Tensor::requires_grad).collect();
    let refs: Vec<&Tensor> = x.iter().collect();
    let y = f(&x);
    let first = y.sum(..).recorded().grad(&refs);
    let fast = y.sum(..).grad(&refs);
    let mut list = vec![y.to_vec()];
    for (recorded, fast) in first.iter().zip(&fast) {
        // One formula gives both, lane by lane and tensor by tensor.
        let same = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= 1e-6 * b.abs() + 1e-37;
        let (recorded, fast) = (recorded.to_vec::<f64>(), fast.to_vec::<f64>());
        assert!(recorded.iter().zip(&fast).all(same), "{recorded:?} {fast:?}");
        list.push(fast);
    }
    for (i, d) in first.iter().enumerate() {
        // Mixed derivatives once.
        let second = d.sum(..).grad(&refs[i..]);
        list.extend(second.iter().map(Tensor::to_vec));
    }
    list
}

/// |found - exact| in units in the last place of the exact value, high + low, or infinity where one of both overflows.
/// Near both ends of the range it is a factor of the result that overflows, or is subnormal: results above a sixteenth
/// of the largest number may be infinite, and below the normal numbers the unit is four of their steps.
fn ulps<T: Scalar>(found: f64, high: f64, low: f64) -> f64 {
    let (digits, least) = if T::NAME == "f32" { (24, -147) } else { (53, -1072) };
    let rounded = T::from_f64(high).to_f64();
    if !rounded.is_finite() || !found.is_finite() {
        let overflows =
            !T::from_f64(16.0 * high).to_f64().is_finite() && found == f64::INFINITY.copysign(high);
        return if found == rounded || overflows { 0.0 } else { f64::INFINITY };
    }
    let exponent =
        if high == 0.0 { least } else { (high.abs().log2().floor() as i32 - digits + 1).max(least) };
    // In two factors, since 2^1074 has no representation.
    let scale = |v: f64| v * f64::powi(2.0, -exponent / 2) * f64::powi(2.0, -exponent - -exponent / 2);
    (scale(found - high) - scale(low)).abs()
}

/// A line of the file: inputs, and results as the nearest double and the rest.
struct Point {
    inputs: Vec<f64>,
    results: Vec<(f64, f64)>,
}

fn points() -> BTreeMap<&'static str, Vec<Point>> {
    let number = |text: &str| text.parse::<f64>().expect("a number");
    let mut points: BTreeMap<_, Vec<Point>> = BTreeMap::new();
    for line in include_str!("../../../tests/fixtures/accuracy.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let inputs = if words[0] == "atan2" { 2 } else { 1 };
        let result = |word: &&str| match word.split_once(':') {
            Some((high, low)) => (number(high), number(low)),
            None => (number(word), 0.0),
        };
        points.entry(words[0]).or_default().push(Point {
            inputs: words[1..=inputs].iter().map(|word| number(word)).collect(),
            results: words[inputs + 1..].iter().map(result).collect(),
        });
    }
    points
}

/// The largest errors of a function, one for each result.
fn worst<T: Scalar>(name: &str, points: &[Point]) -> Vec<f64> {
    let exact = |p: &&Point| p.inputs.iter().all(|&x| T::from_f64(x).to_f64() == x);
    let points: Vec<&Point> = points.iter().filter(exact).collect();
    let inputs: Vec<Tensor> = (0..points[0].inputs.len())
        .map(|i| {
            let x: Vec<T> = points.iter().map(|p| T::from_f64(p.inputs[i])).collect();
            Tensor::new(&x, [x.len()])
        })
        .collect();
    let found = orders(&function(name), &inputs);
    assert_eq!(found.len(), points[0].results.len(), "{name}");
    let errors = found.iter().enumerate().map(|(order, found)| {
        let error = |(p, &found): (&&Point, &f64)| {
            let (high, low) = p.results[order];
            let error = ulps::<T>(found, high, low);
            if error > MOST {
                println!(
                    "{} of {name}{:?}, result {order}: {found:e}, not {high:e}: {error:.1} ulp",
                    T::NAME,
                    p.inputs
                );
            }
            error
        };
        points.iter().zip(found).map(error).fold(0.0, f64::max)
    });
    errors.collect()
}

#[test]
fn values_and_two_derivatives_are_within_4_ulp() -> TestResult {
    let points = points();
    at_every_level(|| {
        let level = kernels::simd::level();
        let mut failed = vec![];
        for (name, points) in &points {
            let (single, double) = (worst::<f32>(name, points), worst::<f64>(name, points));
            let show =
                |errors: &[f64]| errors.iter().map(|e| format!("{e:.2}")).collect::<Vec<_>>().join(" ");
            println!("{level:?} | {name} | {} | {} |", show(&single), show(&double));
            if single.iter().chain(&double).any(|&e| e > MOST) {
                failed.push(*name);
            }
        }
        prop_assert!(failed.is_empty(), "more than {MOST} ulp: {failed:?}");
        Ok(())
    })
}

/// A function and the magnitudes where its results, and the terms they are made of, do not cancel.
fn cases() -> impl Strategy<Value = (&'static str, i32, u64)> {
    let simple = ["exp", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "tanh", "sigmoid", "softplus", "erf"];
    let more = ["sin", "cos", "acos", "atan2", "powi_-2", "powi_5", "powf_3", "powf_0.3", "powf_-1.5"];
    let names: Vec<&str> = simple.into_iter().chain(more).collect();
    (prop::sample::select(names), -30..30i32, 0..1000u64)
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn single_precision_is_within_4_ulp_of_double((name, magnitude, seed) in cases()) {
        let count = if name == "atan2" { 2 } else { 1 };
        let positive = name.starts_with("powf") || ["log", "sqrt", "rsqrt"].contains(&name);
        let scale = if name == "acos" || name == "log1p" { 1.0 } else { 10f64.powi(magnitude) };
        let inputs: Vec<Tensor> = (0..count).map(|i| {
            let x: Vec<f32> = noise(256, seed + i, scale);
            let x: Vec<f32> = x.into_iter().map(|v| if positive { v.abs() } else { v }).collect();
            Tensor::new(&x, [256])
        }).collect();
        let f = function(name);
        let exact: Vec<Tensor> = inputs.iter().map(|x| x.to_dtype(autograd::DType::F64)).collect();
        let exact = orders(&f, &exact);
        at_every_level(|| {
            for (order, (found, exact)) in orders(&f, &inputs).iter().zip(&exact).enumerate() {
                for (i, (&found, &exact)) in found.iter().zip(exact).enumerate() {
                    let x: Vec<f64> = inputs.iter().map(|x| x.at(&[i])).collect();
                    // The double is off by much less than the allowance for the single.
                    let error = ulps::<f32>(found, exact, 0.0);
                    // The mixed derivative of atan2, (b^2 - a^2) / (a^2 + b^2)^2, is as accurate as its terms; all three second
                    // ones have a rounding more than the others.
                    let terms = |x: &[f64]| (x[0].powi(2) + x[1].powi(2)) / (x[0].powi(2) - x[1].powi(2)).abs();
                    let most = match order {
                        4 if count == 2 => (MOST + 1.0) * terms(&x),
                        3 | 5 if count == 2 => MOST + 1.0,
                        _ => MOST,
                    };
                    prop_assert!(error <= most, "{name}{x:?}, result {order}: {found:e}, not {exact:e}: {error:.1} ulp");
                }
            }
            Ok(())
        })?;
    }
}
