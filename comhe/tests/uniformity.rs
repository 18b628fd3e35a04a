//! Poles, published forms, SphereFace+ and OrthoReg against PyTorch, through whole steps of learning.

mod common;

use autograd::Tensor;
use comhe::peers::{PeerOptions, mhc, mhp, peer};
use comhe::{Objective, Options, Preset};
use nn::{Error, Regulariser, Step, Weight};

const EPS: f64 = 1e-4;

fn close(got: &Tensor, want: &Tensor, tolerance: f64, what: &str) {
    let (got, want) = (got.to_vec::<f64>(), want.to_vec::<f64>());
    let largest = |v: &mut dyn Iterator<Item = f64>| v.fold(0.0f64, |m, v| m.max(v.abs()));
    let error = largest(&mut got.iter().zip(&want).map(|(a, b)| a - b))
        / largest(&mut want.iter().copied()).max(1e-300);
    assert!(got.len() == want.len() && error < tolerance, "{what}: relative error {error:e}");
}

/// The penalty of a hidden layer.
fn penalty(name: &str, w: &Tensor) -> Result<Tensor, Error> {
    let layer = [Weight::new("layer", w)];
    let step = Step { index: 0, lr: 0.05 };
    if let Some(preset) = Preset::named(name) {
        return Objective::new(preset.regulariser, &(preset.options)())?.penalty(&layer, step);
    }
    let (name, form) = name
        .split_once(['_', '-'])
        .filter(|(name, _)| *name != "mhp" && *name != "sphereface")
        .unwrap_or((name, ""));
    let sharpness = form.parse().unwrap_or(10.0);
    let options = PeerOptions { sharpness, half_space: form == "half", ..PeerOptions::default() };
    peer(name, &options).expect(name).penalty(&layer, step)
}

#[test]
fn values_and_gradients_agree_with_pytorch() {
    let file = common::load("uniformity");
    let of_points = |name: &&String| name.starts_with("uniformity/") && name.ends_with("/y");
    let cases: Vec<&str> = file.keys().filter(of_points).filter_map(|name| name.strip_suffix("/y")).collect();
    assert_eq!(cases.len(), 3 * 17);
    for case in cases {
        let (points, name) = case.rsplit_once('/').unwrap();
        let [w, v] = ["w", "v"].map(|x| file[&format!("{points}/{x}")].requires_grad());
        let (y, inputs) = match name.split_once('_') {
            None if name == "mhp" => (mhp(&w, &v, EPS).unwrap(), vec![("w", &w), ("v", &v)]),
            Some(("mhc", gamma)) => {
                (mhc(&w, &v, gamma.parse().unwrap(), EPS).unwrap(), vec![("w", &w), ("v", &v)])
            }
            _ => (penalty(name, &w).unwrap(), vec![("w", &w)]),
        };
        let leaves: Vec<&Tensor> = inputs.iter().map(|(_, leaf)| *leaf).collect();
        let first = y.recorded().grad(&leaves);
        let square = first.iter().map(|d| (d * d).sum(..)).reduce(|a, b| a + b).unwrap() + w.sum(..) * 0.0;
        let second = square.grad(&leaves);
        let want = |key: &str| &file[&format!("{case}/{key}")];
        close(&y, want("y"), 1e-9, case);
        for (i, (input, _)) in inputs.iter().enumerate() {
            close(&first[i], want(&format!("d{input}")), 1e-7, &format!("{case}, by {input}"));
            // The constant potential of antipodes leaves rounding alone in some second derivatives.
            if want(&format!("q{input}")).abs().max(..).item() > 1e-9 {
                close(
                    &second[i],
                    want(&format!("q{input}")),
                    1e-6,
                    &format!("{case}, second order by {input}"),
                );
            }
        }
    }
}

#[test]
fn steps_of_weights_and_poles_agree_with_pytorch() {
    let file = common::load("uniformity");
    for name in ["mhp", "mhc", "mhp-code", "mhc-code"] {
        let get = |key: &str| &file[&format!("learned/{name}/{key}")];
        let mut objective = match Preset::named(name) {
            Some(preset) => Objective::new(preset.regulariser, &(preset.options)()).unwrap(),
            None => Objective::new(name, &Options::default()).unwrap(),
        };
        // The second rule is that of hidden layers.
        let (pole, velocity) = ("1.fc.pole".to_string(), "1.fc.velocity".to_string());
        objective.load_state(&[(pole.clone(), get("v").clone()), (velocity, get("v") * 0.0)]).unwrap();
        let mut w = get("w").requires_grad();
        for step in 0..5u64 {
            let layer = [Weight::new("fc", &w)];
            let y = objective.penalty(&layer, Step { index: step, lr: 0.05 }).unwrap();
            let gradient = y.grad(&[&w]).remove(0);
            let at = format!("{name}, step {step}");
            close(&y, get(&format!("y{step}")), 1e-9, &at);
            close(&gradient, get(&format!("dw{step}")), 1e-7, &at);
            let state = objective.state();
            let v = state.iter().find(|(n, _)| *n == pole).map(|(_, t)| t).unwrap();
            close(v, get(&format!("v{step}")), 1e-9, &at);
            w = (w.detach() - gradient * 0.05).requires_grad();
        }
    }
}
