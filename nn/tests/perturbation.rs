//! Gradients at displaced weights: SAM, ASAM, AMP, AWP and RMP against PyTorch (tests/fixtures/perturbation.py), and
//! what holds of them by definition.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use autograd::transform::hvp;
use autograd::{DType, Key, Tensor};
use common::{below, fixture, formula};
use nn::{
    Activation, Amp, Asam, Awp, Batch, BatchLoss, BatchNorm, BnStats, Context, Dropout, Error, Flatten,
    Gradient, Linear, METHODS, Masks, Method, MethodOptions, Model, Module, Mse, Optimizer, ParameterGroup,
    Passes, Penalty, Plain, Rmp, Sam, Scope, Sequential, Targets, Trainer, load_state_dict,
};
use proptest::prelude::*;

type Named = BTreeMap<String, Tensor>;

/// fc, batch norm, tanh, dropout, fc.
fn network(dropout: f64, dtype: DType) -> Model {
    let layers = Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(12, 8, dtype))
        .with("bn", BatchNorm::new(8, dtype))
        .with("tanh", Activation::Tanh)
        .with("dropout", Dropout::new(dropout))
        .with("fc2", Linear::new(8, 4, dtype));
    let mut model = Model::new("small", [1, 3, 4], 4, layers).unwrap();
    let start = |(key, t): (String, Tensor)| {
        let value = if key.contains("running") {
            t.clone()
        } else {
            formula(&format!("perturbation/{key}"), t.shape())
        };
        let value = if key == "bn.weight" { value + 1.0 } else { value };
        (key, value.to_dtype(dtype))
    };
    let state: Vec<(String, Tensor)> = model.state_dict().into_iter().map(start).collect();
    load_state_dict(&mut model, &state).unwrap();
    model
}

fn batch(k: usize, dtype: DType) -> Batch {
    let inputs = formula("perturbation/x", [24, 1, 3, 4]).to_dtype(dtype);
    Batch::new(inputs, below("perturbation/labels", 4, 24)).part(8 * k..8 * (k + 1))
}

fn trainer(dropout: f64) -> Trainer {
    let optimizer = Optimizer::sgd(0.9).weight_decay(5e-4);
    Trainer::new(network(dropout, DType::F64), optimizer, 0.1, Key::new(3))
}

fn under(method: Box<dyn Method>, dropout: f64) -> Trainer {
    let mut t = trainer(dropout);
    t.method = method;
    t
}

fn small(dropout: f64) -> BatchLoss {
    trainer(dropout).batch_loss(&batch(0, DType::F64))
}

/// J = mean (x w)^2 = w' H w / 2 for one tensor w, and H = 2 X' X / N.
fn quadratic(d: usize, seed: u64) -> (BatchLoss, Tensor) {
    let layers =
        Sequential::new().with("flatten", Flatten).with("fc", Linear::new(d, 1, DType::F64).without_bias());
    let mut model = Model::new("quadratic", [1, 1, d], 1, layers).unwrap();
    model.initialise(nn::Init::HE_NORMAL, Key::new(seed));
    let x = Tensor::normal([12, 1, 1, d], DType::F64, Key::new(seed).stream("x"));
    let matrix = x.reshape([12, d]);
    let batch = Batch::new(x, Targets::Values(Tensor::zeros([12, 1], DType::F64)));
    let loss = BatchLoss { loss: Box::new(Mse), ..BatchLoss::new(model, batch) };
    (loss, matrix.matmul_tn(&matrix) * (2.0 / 12.0))
}

/// A penalty of 0 that keeps the parameters of each pass.
#[derive(Clone, Default)]
struct Spy(Arc<Mutex<Vec<Named>>>);

impl Penalty for Spy {
    fn name(&self) -> &str {
        "spy"
    }
    fn penalty(&mut self, loss: &BatchLoss) -> Result<Tensor, Error> {
        let (names, values) = loss.parameters();
        self.0.lock().unwrap().push(names.into_iter().zip(values).collect());
        Ok(Tensor::scalar(0.0, loss.model.dtype()))
    }
}

/// The gradient of a method, and its displacements.
fn displacements(loss: &BatchLoss, method: &mut dyn Method) -> (Gradient, Vec<Named>) {
    let (mut loss, spy) = (loss.clone(), Spy::default());
    loss.penalties.push(Box::new(spy.clone()));
    let gradient = method.gradient(&loss).unwrap();
    let passes = spy.0.lock().unwrap().clone();
    let from = |pass: &Named| pass.iter().map(|(n, p)| (n.clone(), p - &passes[0][n])).collect();
    (gradient, passes[1..].iter().map(from).collect())
}

fn norm<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> f64 {
    nn::global_norm(tensors.into_iter())
}

/// Every method but plain.
fn methods(options: MethodOptions) -> Vec<Box<dyn Method>> {
    METHODS[1..].iter().map(|row| (row.make.build)(&options)).collect()
}

fn bits(tensors: impl IntoIterator<Item = (String, Tensor)>) -> Vec<(String, Vec<u64>)> {
    tensors.into_iter().map(|(n, t)| (n, t.to_vec::<f64>().into_iter().map(f64::to_bits).collect())).collect()
}

#[track_caller]
fn assert_near(a: &Tensor, b: &Tensor, tolerance: f64, what: &str) {
    let error = (a - b).norm(..).item();
    assert!(error <= tolerance * (1e-3 + b.norm(..).item()), "{what}: {a:?}\n{b:?}\ndiffer by {error:e}");
}

#[test]
fn three_steps_of_pytorch() {
    let fixture = fixture("perturbation");
    let amp = |eps, lr, steps, scope| Amp { eps, lr, steps, scope, passes: Passes::default() };
    let every = Passes { bn_stats: BnStats::Every, clip: Some(0.4), ..Passes::default() };
    let asam = Asam { rho: 0.5, eta: 0.01, ..Asam::default() };
    let awp = |steps| Awp { gamma: 0.1, steps, ..Awp::default() };
    let cases: Vec<(&str, Box<dyn Method>)> = vec![
        ("sam", Box::new(Sam { rho: 0.3, ..Sam::default() })),
        ("asam", Box::new(asam)),
        ("asam_code", Box::new(Asam { plain_biases: true, ..asam })),
        ("amp_global1", Box::new(amp(0.3, 0.5, 1, Scope::Global))),
        ("amp_global2", Box::new(amp(0.3, 0.5, 2, Scope::Global))),
        ("amp_tensor1", Box::new(amp(0.1, 0.5, 1, Scope::Tensor))),
        ("amp_tensor2", Box::new(amp(0.1, 0.5, 2, Scope::Tensor))),
        ("amp_inside", Box::new(amp(100.0, 0.5, 2, Scope::Global))),
        ("amp_code", Box::new(Amp { passes: every, ..amp(0.1, 1.0, 1, Scope::Tensor) })),
        ("awp1", Box::new(awp(1))),
        ("awp2", Box::new(awp(2))),
    ];
    for (case, method) in cases {
        let mut t = under(method, 0.0);
        for (key, g) in t.gradient(&batch(0, DType::F64)).unwrap().parameters {
            assert_near(
                &g,
                fixture.get(&format!("{case}/grad/{key}")).unwrap(),
                1e-9,
                &format!("{case}: {key}"),
            );
        }
        for k in 0..3 {
            let loss = t.step(&batch(k, DType::F64)).unwrap().loss;
            let expected = fixture.get(&format!("{case}/loss")).unwrap().at(&[k]);
            assert!((loss / expected - 1.0).abs() < 1e-9, "{case}: loss {loss} of step {k}, not {expected}");
        }
        for (key, value) in t.model.state_dict() {
            let expected = fixture.get(&format!("{case}/final/{key}")).unwrap();
            assert_near(&value, expected, 1e-9, &format!("{case}: final {key}"));
        }
    }
}

#[test]
fn without_a_radius_or_a_step_every_method_is_plain() {
    for clip in [None, Some(0.1)] {
        let passes = Passes { bn_stats: BnStats::Every, masks: Masks::Renewed, clip };
        let no_radius = methods(MethodOptions { eps: Some(0.0), passes, ..MethodOptions::default() });
        let mut none = methods(MethodOptions { steps: Some(0), passes, ..MethodOptions::default() });
        none.retain(|m| ["amp", "awp"].contains(&m.name()));
        assert_eq!((no_radius.len(), none.len()), (5, 2));
        for method in no_radius.into_iter().chain(none) {
            let mut plain = trainer(0.5);
            if let Some(norm) = clip {
                plain.optimizer = Optimizer::sgd(0.9).clip(nn::Clip::Norm(norm)).weight_decay(5e-4);
            }
            let mut other = under(method, 0.5);
            for k in 0..3 {
                let [a, b] = [&mut plain, &mut other].map(|t| t.step(&batch(k, DType::F64)).unwrap());
                assert_eq!(a.loss.to_bits(), b.loss.to_bits());
            }
            let name = other.method.name().to_string();
            let state = |t: &Trainer| {
                let all = t.checkpoint().tensors.into_iter();
                bits(all.filter(|(name, _)| !name.contains("clip")))
            };
            assert_eq!(state(&plain), state(&other), "{name}");
        }
    }
}

#[test]
fn weights_are_unchanged_and_the_loss_is_the_clean_one() {
    for options in [MethodOptions::default(), MethodOptions { steps: Some(3), ..MethodOptions::default() }] {
        for mut method in methods(options) {
            let loss = small(0.5);
            let (before, clean) = (bits(loss.model.state_dict()), loss.gradient().unwrap());
            let (found, shifts) = displacements(&loss, &mut *method);
            assert_eq!(bits(loss.model.state_dict()), before, "{}", method.name());
            assert_eq!(found.loss.to_bits(), clean.loss.to_bits());
            assert_eq!(found.outputs.to_vec::<f64>(), clean.outputs.to_vec::<f64>());
            assert!(!shifts.is_empty());
            assert_ne!(bits(found.parameters), bits(clean.parameters), "{}", method.name());
            // A step of rate 0 leaves the weights as they are, and one update of the statistics.
            let (mut t, mut plain) = (under(method, 0.0), trainer(0.0));
            (t.lr, plain.lr) = (0.0, 0.0);
            t.step(&batch(0, DType::F64)).unwrap();
            plain.step(&batch(0, DType::F64)).unwrap();
            assert_eq!(bits(t.model.state_dict()), bits(plain.model.state_dict()));
        }
    }
}

#[test]
fn statistics_and_masks_follow_the_passes() {
    let amp = |passes| Amp { steps: 2, passes, ..Amp::default() };
    // Every pass moves the statistics, from where the last one left them.
    let every = Passes { bn_stats: BnStats::Every, ..Passes::default() };
    let loss = small(0.0);
    let (_, shifts) = displacements(&loss, &mut amp(every));
    let mut model = loss.model.clone();
    let mut forward = |shift: Option<&Named>| {
        let mut there = model.map(|name, p| match shift {
            Some(shift) => p.detach() + &shift[name],
            None => p.detach(),
        });
        drop(there.forward(&loss.batch.inputs, &mut Context::train(Key::new(0))));
        let moved = there.state_dict();
        model.visit_mut(&mut |name, t, kind| {
            if kind == nn::Kind::Buffer {
                *t = moved.iter().find(|(n, _)| n == name).unwrap().1.clone();
            }
        });
    };
    forward(None);
    shifts.iter().for_each(|shift| forward(Some(shift)));
    let mut t = under(Box::new(amp(every)), 0.0);
    t.step(&batch(0, DType::F64)).unwrap();
    for ((name, a), (_, b)) in t.model.state_dict().iter().zip(model.state_dict()) {
        if name.contains("running") {
            assert_near(a, &b, 1e-13, name);
        }
    }
    // Masks: the same in each pass, or others.
    let loss = small(0.5);
    let sam = |masks| Sam { rho: 1e-9, passes: Passes { masks, ..Passes::default() } };
    let clean = loss.gradient().unwrap().parameters;
    let same = sam(Masks::Same).gradient(&loss).unwrap().parameters;
    let renewed = sam(Masks::Renewed).gradient(&loss).unwrap().parameters;
    assert_near(&same["fc1.weight"], &clean["fc1.weight"], 1e-6, "the same masks");
    assert!((&renewed["fc1.weight"] - &clean["fc1.weight"]).norm(..).item() > 1e-3);
    let redrawn = loss.redrawn(1).gradient().unwrap().parameters;
    assert_near(&renewed["fc1.weight"], &redrawn["fc1.weight"], 1e-6, "the masks of pass 1");
}

#[test]
fn frozen_parameters_do_not_move() {
    for mut method in methods(MethodOptions::default()) {
        let mut t = trainer(0.0);
        t.optimizer = Optimizer::sgd(0.9).group(ParameterGroup::new("fc1.*").frozen());
        let (found, shifts) = displacements(&t.batch_loss(&batch(0, DType::F64)), &mut *method);
        assert!(!found.parameters.contains_key("fc1.weight") && found.parameters.contains_key("fc2.weight"));
        for shift in shifts {
            assert_eq!(norm([&shift["fc1.weight"], &shift["fc1.bias"]]), 0.0);
            assert!(norm([&shift["fc2.weight"]]) > 0.0);
        }
    }
}

#[test]
fn at_a_minimum_and_at_extreme_gradients_there_are_no_nans() {
    for dtype in [DType::F32, DType::F64] {
        for scale in [0.0, 1e-30, 1e12] {
            let (loss, _) = quadratic(3, 1);
            let inputs = loss.batch.inputs.to_dtype(dtype) * scale;
            let batch = Batch::new(inputs, Targets::Values(Tensor::zeros([12, 1], dtype)));
            let loss = BatchLoss { loss: Box::new(Mse), ..BatchLoss::new(loss.model.to_dtype(dtype), batch) };
            for mut method in methods(MethodOptions { eps: Some(0.01), ..MethodOptions::default() }) {
                let (found, shifts) = displacements(&loss, &mut *method);
                assert!(found.parameters.values().all(Tensor::is_finite), "{} {scale}", method.name());
                let zero = scale == 0.0 && method.name() != "rmp";
                assert!(!zero || norm(shifts[0].values()) == 0.0, "{}", method.name());
            }
        }
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let options = MethodOptions::default();
    let clip = |clip| Passes { clip: Some(clip), ..Passes::default() };
    for (options, said) in [
        (MethodOptions { eps: Some(-1.0), ..options }, "eps is -1; it must be finite and not negative"),
        (MethodOptions { eps: Some(f64::NAN), ..options }, "eps is NaN"),
        (MethodOptions { eps: Some(f64::INFINITY), ..options }, "eps is inf"),
        (MethodOptions { passes: clip(0.0), ..options }, "is clipped to 0; it must be positive"),
        (MethodOptions { passes: clip(f64::NAN), ..options }, "is clipped to NaN"),
    ] {
        for mut method in methods(options) {
            let error = method.gradient(&small(0.0)).err().unwrap().to_string();
            assert!(error.contains(said) && error.starts_with(method.name()), "{error}");
        }
    }
    let error = Amp { lr: -1.0, ..Amp::default() }.gradient(&small(0.0)).err().unwrap().to_string();
    assert_eq!(error, "amp: lr is -1; it must be finite and not negative");
    let error = Asam { eta: -0.1, ..Asam::default() }.gradient(&small(0.0)).err().unwrap().to_string();
    assert_eq!(error, "asam: eta is -0.1; it must be finite and not negative");
    let error = "globe".parse::<Scope>().unwrap_err().to_string();
    assert!(error.contains("did you mean global?"), "{error}");
    assert_eq!("every".parse::<BnStats>().unwrap(), BnStats::Every);
}

#[test]
fn random_displacements_are_of_the_step_and_not_of_the_pass() {
    let (t, mut rmp) = (trainer(0.5), Rmp { eps: 0.3, ..Rmp::default() });
    let mut of = |t: &Trainer| displacements(&t.batch_loss(&batch(0, DType::F64)), &mut rmp).1.remove(0);
    let (a, b) = (of(&t), of(&t));
    assert_eq!(bits(a.clone()), bits(b));
    let mut next = trainer(0.5);
    next.lr = 0.0;
    next.step(&batch(0, DType::F64)).unwrap();
    let c = of(&next);
    assert!((&a["fc1.weight"] - &c["fc1.weight"]).norm(..).item() > 0.01);
    for shift in [&a, &c] {
        assert!((norm(shift.values()) - 0.3).abs() < 1e-14);
        // Neither tensor's share is 0 or all of it.
        assert!(shift.values().all(|t| (1e-4..0.2999).contains(&norm([t]))));
    }
    let (_, each) = displacements(&small(0.0), &mut Rmp { eps: 0.3, scope: Scope::Tensor, ..Rmp::default() });
    assert!(each[0].values().all(|t| (norm([t]) - 0.3).abs() < 1e-14));
}

#[test]
fn awp_moves_weights_by_their_norm_and_biases_not_at_all() {
    let loss = small(0.0);
    let weights: Named = loss.parameters().0.into_iter().zip(loss.parameters().1).collect();
    for steps in [1, 3] {
        let (_, shifts) = displacements(&loss, &mut Awp { gamma: 0.1, steps, ..Awp::default() });
        for (name, shift) in shifts.last().unwrap() {
            let radius = if weights[name].rank() >= 2 { 0.1 * norm([&weights[name]]) } else { 0.0 };
            let found = norm([shift]);
            assert!(found <= radius * (1.0 + 1e-9) + 1e-15, "{name}");
            assert!(steps > 1 || (found - radius).abs() < 1e-9, "{name}: {found} {radius}");
        }
    }
}

#[test]
fn without_eta_asam_does_not_depend_on_the_scale_of_layers() {
    // relu(x w1) w2 is the same with c w1 and w2 / c.
    let layers = Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(12, 8, DType::F64).without_bias())
        .with("relu", Activation::Relu)
        .with("fc2", Linear::new(8, 4, DType::F64).without_bias());
    let mut model = Model::new("homogeneous", [1, 3, 4], 4, layers).unwrap();
    model.initialise(nn::Init::HE_NORMAL, Key::new(2));
    let loss = BatchLoss::new(model, batch(0, DType::F64));
    let scaled = loss.moved(|name, p| if name == "fc1.weight" { p * 4.0 } else { p * 0.25 });
    let displaced = |loss: &BatchLoss, method: &mut dyn Method| {
        let shift = displacements(loss, method).1.remove(0);
        loss.moved(|name, p| p + &shift[name]).pass().unwrap().loss.item()
    };
    let mut asam = Asam { rho: 0.1, eta: 0.0, ..Asam::default() };
    let (a, b) = (displaced(&loss, &mut asam), displaced(&scaled, &mut asam));
    assert!((a - b).abs() < 1e-12 && a > loss.pass().unwrap().loss.item(), "{a} {b}");
    let (a, b) = (displaced(&loss, &mut Sam::default()), displaced(&scaled, &mut Sam::default()));
    assert!((a - b).abs() > 1e-3, "{a} {b}");
}

#[test]
fn small_ascent_steps_give_products_with_the_hessian() {
    let loss = small(0.0);
    let (names, p) = loss.parameters();
    let g = loss.gradient().unwrap().parameters;
    let direction: Vec<Tensor> = names.iter().map(|name| g[name].clone()).collect();
    let product = hvp(|p| loss.at(p).unwrap(), &p, &direction);
    let zeta = 1e-5;
    let there = Amp { eps: 1e3, lr: zeta, ..Amp::default() }.gradient(&loss).unwrap().parameters;
    for (name, exact) in names.iter().zip(&product) {
        let quotient = (&there[name] - &g[name]) / zeta;
        let error = (&quotient - exact).norm(..).item();
        assert!(error < 1e-3 * norm(&product), "{name}: {error:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn one_free_ascent_step_on_a_quadratic(d in 1..6usize, seed: u64, zeta in 1e-3..2.0f64) {
        let (loss, h) = quadratic(d, seed);
        let w = loss.parameters().1.remove(0).reshape([d, 1]);
        let hw = h.matmul(&w);
        let (found, shifts) =
            displacements(&loss, &mut Amp { eps: 1e9, lr: zeta, ..Amp::default() });
        // (I + zeta H) H w, and exactly zeta times the gradient in between.
        let expected = &hw + h.matmul(&hw) * zeta;
        assert_near(&found.parameters["fc.weight"].reshape([d, 1]), &expected, 1e-12, "gradient");
        assert_near(&shifts[0]["fc.weight"].reshape([d, 1]), &(hw * zeta), 1e-12, "displacement");
    }

    #[test]
    fn displacements_stay_in_their_ball(seed: u64, eps in 1e-3..2.0f64, zeta in 0.1..4.0f64, steps in 1..4usize) {
        let loss = small(0.0).moved(|name, p| {
            p + Tensor::normal(p.shape(), DType::F64, Key::new(seed).stream(name)) * 0.3
        });
        let amp = |scope| Amp { eps, lr: zeta, steps, scope, ..Amp::default() };
        let bound = eps * (1.0 + 1e-9) + 1e-12;
        for shift in displacements(&loss, &mut amp(Scope::Global)).1 {
            prop_assert!(norm(shift.values()) <= bound);
        }
        for shift in displacements(&loss, &mut amp(Scope::Tensor)).1 {
            prop_assert!(shift.values().all(|t| norm([t]) <= bound));
        }
    }

    #[test]
    fn on_a_convex_quadratic_the_displaced_loss_is_no_lower(
        d in 1..6usize, seed: u64, eps in 1e-3..2.0f64, zeta in 1e-3..4.0f64, steps in 1..4usize,
    ) {
        let (loss, _) = quadratic(d, seed);
        let here = loss.pass().unwrap().loss.item();
        let [global, tensor] = [Scope::Global, Scope::Tensor].map(|scope| {
            displacements(&loss, &mut Amp { eps, lr: zeta, steps, scope, ..Amp::default() })
        });
        for shift in &global.1 {
            let there = loss.moved(|name, p| p + &shift[name]).pass().unwrap().loss.item();
            prop_assert!(there >= here * (1.0 - 1e-12), "{here} {there}");
        }
        // With one tensor the two scopes are the same.
        prop_assert_eq!(bits(global.0.parameters), bits(tensor.0.parameters));
    }

    #[test]
    fn outside_the_ball_one_step_is_sam(seed: u64, share in 0.05..1.0f64, zeta in 0.1..4.0f64) {
        let loss = small(0.0).moved(|name, p| {
            p + Tensor::normal(p.shape(), DType::F64, Key::new(seed).stream(name)) * 0.3
        });
        let g = Plain.gradient(&loss).unwrap().parameters;
        let eps = share * zeta * norm(g.values());
        let amp = Amp { eps, lr: zeta, ..Amp::default() }.gradient(&loss).unwrap();
        let sam = Sam { rho: eps, ..Sam::default() }.gradient(&loss).unwrap();
        for (name, g) in &amp.parameters {
            assert_near(g, &sam.parameters[name], 1e-9, name);
        }
    }
}
