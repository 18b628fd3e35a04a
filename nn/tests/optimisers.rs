//! Optimisers and schedules against PyTorch.

mod common;

use autograd::{Shape, Tensor};
use common::{assert_close, fixture};
use nn::{Adam, Context, Error, Module, Optimizer, Schedule, Sgd, Summary};

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
