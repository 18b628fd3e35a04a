//! Elementwise functions and reductions against values rounded from 40 digits, with two derivatives.

use autograd::Tensor;
use tests::Fixtures;

type Function = Box<dyn Fn(&Tensor) -> Tensor>;

fn function(name: &str) -> Option<Function> {
    let argument = |i: usize| name.split('_').nth_back(i).and_then(|a| a.parse::<f64>().ok()).unwrap();
    let f: Function = match name {
        "tanh" => Box::new(|x| x.tanh()),
        "sigmoid" => Box::new(|x| x.sigmoid()),
        "relu" => Box::new(|x| x.relu()),
        "softplus" => Box::new(|x| x.softplus()),
        "gelu" => Box::new(|x| x.gelu()),
        "silu" => Box::new(|x| x.silu()),
        "sin" => Box::new(|x| x.sin()),
        "cos" => Box::new(|x| x.cos()),
        "acos" => Box::new(|x| x.acos()),
        "exp" => Box::new(|x| x.exp()),
        "log" => Box::new(|x| x.log()),
        "log1p" => Box::new(|x| x.log1p()),
        "sqrt" => Box::new(|x| x.sqrt()),
        "rsqrt" => Box::new(|x| x.rsqrt()),
        "abs" => Box::new(|x| x.abs()),
        "norm" => Box::new(|x| x.norm(..)),
        "max" => Box::new(|x| x.max(..)),
        "min" => Box::new(|x| x.min(..)),
        _ if name.starts_with("leaky_relu_") => {
            let slope = argument(0);
            Box::new(move |x| x.leaky_relu(slope))
        }
        _ if name.starts_with("clamp_") => {
            let (lo, hi) = (argument(1), argument(0));
            Box::new(move |x| x.clamp(lo, hi))
        }
        _ if name.starts_with("powf_") => {
            let p = argument(0);
            Box::new(move |x| x.powf(p))
        }
        _ => return None,
    };
    Some(f)
}

#[track_caller]
fn close(what: &str, found: &Tensor, reference: &Tensor) {
    for (i, (a, b)) in found.to_vec::<f64>().iter().zip(reference.to_vec::<f64>()).enumerate() {
        assert!((a - b).abs() <= 1e-9 * b.abs() + 1e-14, "{what}: element {i} is {a:e}, the reference {b:e}");
    }
}

#[test]
fn values_and_two_derivatives() {
    let f = Fixtures::read("elementwise");
    for prefix in ["elementwise/", "kink/"] {
        for (case, tensors) in f.cases(prefix) {
            let name = case.split_once('/').unwrap().1;
            let function = function(name).unwrap_or_else(|| panic!("no function for {case}"));
            let given = |t: &str| f.get(&format!("{case}/{t}")).expect("stored");
            let x = given("x").requires_grad();
            let y = function(&x);
            close(&format!("{case}/y"), &y, given("y"));
            let d1 = y.sum(..).recorded().grad(&[&x]).remove(0);
            close(&format!("{case}/d1"), &d1, given("d1"));
            close(&format!("{case}/d1, fast"), &y.sum(..).grad(&[&x])[0], given("d1"));
            if tensors.iter().any(|t| t == "d2") {
                let d2 = if d1.is_tracked() { d1.sum(..).grad(&[&x]).remove(0) } else { &x * 0.0 };
                close(&format!("{case}/d2"), &d2, given("d2"));
            }
        }
    }
}

#[test]
fn two_arguments() {
    let f = Fixtures::read("elementwise");
    for case in f.cases("binary/").keys() {
        let given = |t: &str| f.get(&format!("{case}/{t}"));
        let (a, b) = (given("a").unwrap().requires_grad(), given("b").unwrap().requires_grad());
        let y = match case.as_str() {
            "binary/atan2" => a.atan2(&b),
            "binary/maximum" => a.maximum(&b),
            "binary/minimum" => a.minimum(&b),
            other => panic!("no function for {other}"),
        };
        close(case, &y, given("y").unwrap());
        let d = y.sum(..).recorded().grad(&[&a, &b]);
        close(case, &d[0], given("da").unwrap());
        close(case, &d[1], given("db").unwrap());
        if let (Some(daa), Some(dab), Some(dbb)) = (given("daa"), given("dab"), given("dbb")) {
            let second = d[0].sum(..).grad(&[&a, &b]);
            close(case, &second[0], daa);
            close(case, &second[1], dab);
            close(case, &d[1].sum(..).grad(&[&b])[0], dbb);
        }
    }
}

#[test]
fn reductions() {
    let f = Fixtures::read("elementwise");
    for case in f.cases("reduce/").keys() {
        let reduce: fn(&Tensor) -> Tensor = match case.as_str() {
            "reduce/logsumexp" => |x| x.logsumexp(-1),
            "reduce/var_biased" => |x| x.var(-1, 0),
            "reduce/var_unbiased" => |x| x.var(-1, 1),
            "reduce/norm" => |x| x.norm(-1),
            "reduce/max" => |x| x.max(-1),
            "reduce/min" => |x| x.min(-1),
            "reduce/cumsum" => |x| x.cumsum(-1),
            "reduce/prod" => |x| (0..5).map(|i| x.select(-1, i)).reduce(|a, b| a * b).unwrap(),
            other => panic!("no function for {other}"),
        };
        let x = f.get(&format!("{case}/x")).unwrap().clone();
        f.check(case, &[("x", x)], &[], 1e-9, |x| reduce(&x[0]));
    }
}

#[test]
fn with_narrower_instruction_sets() {
    tests::again_with_narrower_instruction_sets();
}
