//! Optimisers and schedules against PyTorch.

mod common;

use autograd::{DType, Key, Shape, Tensor};
use common::{assert_close, fixture};
use nn::{
    Adam, Average, Batch, Context, Error, Init, Lbfgs, Linear, Module, Muon, Optimizer, RAdam, Schedule,
    Sequential, Sgd, Summary, Trainer, orthogonalised,
};

/// A point as a model, so that an optimiser can move it.
#[derive(Clone)]
struct Point {
    p: Tensor,
}

impl Module for Point {
    nn::tensors!(parameter p);
    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        x * &self.p
    }
    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        plan.row(self, path, "Point", *input, 0)
    }
}

/// `lr0.05_m0.9` and "m" give 0.9.
fn number(case: &str, key: &str) -> f64 {
    let value = case.split('_').find_map(|part| part.strip_prefix(key)?.parse().ok());
    value.unwrap_or_else(|| panic!("{case} has no {key}"))
}

#[test]
fn thirteen_points_of_every_optimiser() {
    let fixture = fixture("optim");
    let (a, b) = (fixture.get("optim/a").unwrap(), fixture.get("optim/b").unwrap());
    let mut cases = 0;
    for (name, path) in &fixture.tensors {
        let mut parts = name.split('/');
        let (kind, case) = (parts.next().unwrap(), parts.next().unwrap());
        let optimizer = match kind {
            "sgd" => Optimizer::new(Sgd {
                momentum: number(case, "m"),
                dampening: number(case, "damp"),
                nesterov: case.ends_with("nesterov"),
            }),
            "adam" | "adamw" => {
                let (_, betas) = case.split_once("_b").unwrap();
                let betas: Vec<f64> = betas.split('_').take(2).map(|v| v.parse().unwrap()).collect();
                Optimizer::new(Adam {
                    betas: [betas[0], betas[1]],
                    eps: number(case, "eps"),
                    decoupled: kind == "adamw",
                })
            }
            _ => continue,
        };
        cases += 1;
        let mut model = Point { p: fixture.get("optim/p").unwrap().requires_grad() };
        let mut optimizer = optimizer.weight_decay(number(case, "wd"));
        optimizer.check(&model).unwrap();
        for step in 0..path.shape()[0] {
            for i in 0..6 {
                let (measured, expected) = (model.p.at(&[i]), path.at(&[step, i]));
                assert_close(measured, expected, 1e-12, &format!("{name}, step {step}, element {i}"));
            }
            let p = &model.p;
            let sum = p.sum(..);
            let f = (a * (p - b) * (p - b) * 0.5 + (p * 3.0).sin() * 0.2).sum(..) + &sum * &sum * 0.1;
            optimizer.step(&mut model, f.backward(), number(case, "lr")).unwrap();
        }
    }
    assert!(cases >= 13, "{cases} cases");
}

#[test]
fn rectified_adam_and_lbfgs_take_the_steps_of_pytorch() {
    let (optim, fixture) = (fixture("optim"), fixture("methods"));
    let (a, b) = (optim.get("optim/a").unwrap(), optim.get("optim/b").unwrap());
    let mut cases = 0;
    for (name, path) in &fixture.tensors {
        let mut parts = name.split('/');
        let (kind, case) = (parts.next().unwrap(), parts.next().unwrap());
        let optimizer = match kind {
            "radam" if case.ends_with("decoupled") => Optimizer::new(RAdam(Adam::decoupled())),
            "radam" => Optimizer::new(RAdam::default()),
            "lbfgs" => Optimizer::new(Lbfgs),
            _ => continue,
        };
        cases += 1;
        let mut optimizer =
            if kind == "radam" { optimizer.weight_decay(number(case, "wd")) } else { optimizer };
        let mut model = Point { p: optim.get("optim/p").unwrap().requires_grad() };
        for step in 0..path.shape()[0] {
            for i in 0..6 {
                let (measured, expected) = (model.p.at(&[i]), path.at(&[step, i]));
                // Near the minimum the pairs of L-BFGS are differences of nearly equal gradients.
                let tolerance = if kind == "lbfgs" { 1e-9 } else { 1e-12 };
                assert_close(measured, expected, tolerance, &format!("{name}, step {step}, element {i}"));
            }
            let p = &model.p;
            let sum = p.sum(..);
            let f = (a * (p - b) * (p - b) * 0.5 + (p * 3.0).sin() * 0.2).sum(..) + &sum * &sum * 0.1;
            optimizer.step(&mut model, f.backward(), number(case, "lr")).unwrap();
        }
    }
    assert_eq!(cases, 6);
}

#[test]
fn muon_takes_steps_of_nearly_orthogonal_matrices() {
    for shape in [[5, 9], [9, 5], [6, 6]] {
        let x = Tensor::normal(shape, DType::F64, Key::new(1)) * 1e-3;
        let o = orthogonalised(&x, 5);
        let gram = if shape[0] <= shape[1] { o.matmul_nt(&o) } else { o.matmul_tn(&o) };
        let rows: Vec<Vec<f64>> = gram.to_vec::<f64>().chunks(gram.shape()[1]).map(<[f64]>::to_vec).collect();
        for e in nn::instruments::eigen(&rows) {
            assert!((0.4..1.5).contains(&e.value.sqrt()), "{shape:?}: {}", e.value);
        }
        // The same singular vectors: x' o is symmetric.
        let product = x.matmul_tn(&o);
        let off = (&product - product.transpose(0, 1)).norm(..).item();
        assert!(off < 1e-12 * product.norm(..).item(), "{off}");
    }
    // By hand: momentum, Nesterov's step, decay, scale; a vector is left to the next transform.
    let net = || {
        let mut net = Sequential::new().with("fc", Linear::new(3, 4, DType::F64));
        net.initialise(Init::HE_NORMAL, Key::new(2));
        net
    };
    let (mut moved, start) = (net(), net());
    let mut muon = Optimizer::new(Muon::default()).then(Sgd::default()).weight_decay(0.1);
    let g = |name: &str, t: &Tensor| Tensor::normal(t.shape(), DType::F64, Key::new(3).stream(name));
    let gradients = start.named_parameters().into_iter().map(|(n, t)| (n.clone(), g(&n, t))).collect();
    muon.update(&mut moved, gradients, 0.5).unwrap();
    let (before, after) = (start.named_parameters(), moved.named_parameters());
    let (w, g_w) = (before[0].1.detach(), g("fc.weight", before[0].1));
    let direction = &g_w * 0.05 + &g_w * 0.05 * 0.95;
    let expected = &w * 0.95 - orthogonalised(&direction, 5) * (0.5 * (4.0f64 / 3.0).sqrt());
    assert!((after[0].1.detach() - expected).norm(..).item() < 1e-14);
    let bias = before[1].1.detach() - g("fc.bias", before[1].1) * 0.5;
    assert!((after[1].1.detach() - bias).norm(..).item() < 1e-14);
}

#[test]
fn averages_follow_the_weights_and_change_nothing() {
    let model = || nn::models::build("mlp", [1, 2, 2], 3, 1, Key::new(1), DType::F64).unwrap();
    let batch =
        |i| Batch::new(Tensor::normal([4, 1, 2, 2], DType::F64, Key::new(2).step(i)), vec![0, 1, 2, 0]);
    let trainer = |optimizer| Trainer::new(model(), optimizer, 0.1, Key::new(3));
    let (mut plain, mut with) =
        (trainer(Optimizer::sgd(0.9)), trainer(Optimizer::sgd(0.9).then(Average { decay: 0.75 })));
    assert!(with.averaged().is_none());
    let mut by_hand: Option<Vec<Tensor>> = None;
    for i in 0..4 {
        plain.step(&batch(i)).unwrap();
        with.step(&batch(i)).unwrap();
        let now = plain.model.named_parameters().into_iter().map(|(_, p)| p.detach());
        by_hand = Some(match by_hand {
            None => now.collect(),
            Some(mean) => mean.iter().zip(now).map(|(m, p)| m * 0.75 + p * 0.25).collect(),
        });
    }
    let averaged = with.averaged().unwrap();
    for (mean, (name, p)) in by_hand.unwrap().iter().zip(averaged.named_parameters()) {
        assert_eq!(mean.to_vec::<f64>(), p.to_vec::<f64>(), "{name}");
    }
    for ((name, a), (_, b)) in plain.model.state_dict().iter().zip(with.model.state_dict()) {
        assert_eq!(a.to_vec::<f64>(), b.to_vec::<f64>(), "{name}");
    }
    assert_eq!(with.evaluate([batch(9)]).unwrap(), nn::evaluate(&averaged, [batch(9)]));
    assert!(plain.averaged().is_none());
}

#[test]
fn schedules() {
    let fixture = fixture("optim");
    let mut cases = 0;
    for (name, rates) in &fixture.tensors {
        let Some(case) = name.strip_prefix("schedule/").and_then(|n| n.strip_suffix("/lr")) else { continue };
        let (schedule, base) = if case.starts_with("cosine") {
            (Schedule::Cosine { steps: 50, min: number(case, "min") }, 0.1)
        } else if case.starts_with("one_cycle") {
            (Schedule::one_cycle(50), 0.1)
        } else {
            (Schedule::Step { milestones: vec![10, 25, 40], gamma: 0.1 }, 0.1)
        };
        cases += 1;
        for (step, &expected) in rates.data::<f64>().iter().enumerate() {
            assert_close(schedule.lr(base, step as u64), expected, 1e-12, &format!("{case}, step {step}"));
        }
    }
    assert_eq!(cases, 4);
}
