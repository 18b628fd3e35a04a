//! T9: invariances of the energy (eps = 0) and of its gradient.
//!
//! - Scale of a neuron: E(diag(a) W) = E(W) for a > 0, so that w_i . dE/dw_i = 0; the gradient scales by 1 / a_i.
//! - Rotation: E(WQ) = E(W), grad(WQ) = grad(W) Q. Permutation of neurons: the gradient permutes with them.
//! - No total torque: sum_i g_i w_i' is symmetric (the derivative of rotations).
//! - Half-space: signs of neurons, with which the gradient changes sign. And E is at least its optimum of T2.
//! - P = I or orthogonal gives the energy itself, and so does one group. The angle-preserving P that is square and
//!   orthogonal has a loss of 0: inner steps do not change it or the energy.
//! - Energies under random, angle-preserving and adversarial projections and of groups keep the invariances that do not
//!   involve P: scale and permutation of neurons, and w_i . dE/dw_i = 0, also through unrolled inner steps.
//!
//! Source: the definition (Lin et al., CVPR 2020, section 3).

use autograd::{DType, Key, Tensor};

use super::{Check, Relation, Setting};
use crate::adv::adversarial_energy;
use crate::ap::{Preserve, angle_preserving_energy};
use crate::energy::Energy;
use crate::error::Error;
use crate::group::{Groups, group_energy};
use crate::learned::{InnerSteps, Mode};
use crate::projection::Projections;
use crate::random::projected_energy;
use crate::thomson::least_energy;

/// Relative, in f64.
const TOLERANCE: f64 = 1e-12;

/// A change of the neurons, and the corresponding change of the gradient.
struct Change {
    name: &'static str,
    weight: Box<dyn Fn(&Tensor) -> Tensor>,
    gradient: Box<dyn Fn(&Tensor) -> Tensor>,
}

/// A function of the neurons.
type Penalty<'a> = dyn Fn(&Tensor) -> Result<Tensor, Error> + 'a;

/// Runs the checks.
pub(super) fn run(setting: Setting) -> Vec<Check> {
    let sizes = setting.pick(vec![(6, 9)], vec![(2, 3), (6, 9), (40, 5), (64, 144)]);
    let mut checks = Vec::new();
    for s in setting.pick(vec![0.0, 2.0], vec![0.0, 0.5, 1.0, 2.0, 3.0]) {
        for angular in [false, true] {
            for half_space in [false, true] {
                let energy = Energy { s, angular, half_space, eps: 0.0, ..Energy::default() };
                for &(n, d) in &sizes {
                    let key = setting.key(&format!("T9 {n} {d}"));
                    checks.extend(of(&energy, n, d, key));
                    checks.extend(of_variants(&energy, n, d, key));
                }
            }
        }
    }
    checks
}

/// All invariances of one energy.
fn of(energy: &Energy, n: usize, d: usize, key: Key) -> Vec<Check> {
    let w = Tensor::normal([n, d], DType::F64, key);
    let case = name(energy, n, d);
    let plain = |w: &Tensor| energy.of(w);
    let mut checks = Vec::new();
    for change in changes(n, d, energy.half_space, key) {
        checks.extend(invariant(&plain, &w, &change, &case));
    }
    checks.extend([radial(&plain, &w, &case), torque(energy, &w, &case)]);
    if let (false, Some(least)) = (energy.angular, least_energy(n, d, energy.s, energy.half_space)) {
        let e = value_and_gradient(&plain, &w).0;
        checks.push(Check::bound(
            "T9",
            format!("energy against its least, {case}"),
            e,
            Relation::AtLeast,
            least,
            1e-12,
        ));
    }
    checks
}

fn name(energy: &Energy, n: usize, d: usize) -> String {
    let Energy { s, angular, half_space, .. } = *energy;
    let distance = if angular { "angle" } else { "chord" };
    let space = if half_space { "half-space" } else { "full space" };
    format!("N = {n}, d = {d}, s = {s}, {distance}, {space}")
}

/// The invariances of the variants of one energy, and the cases in which they equal the energy.
fn of_variants(energy: &Energy, n: usize, d: usize, key: Key) -> Vec<Check> {
    let w = Tensor::normal([n, d], DType::F64, key);
    let case = name(energy, n, d);
    let p = Tensor::normal([d.min(4), d], DType::F64, key.stream("P"));
    let q = rotation(d, key);
    let groups = Groups { count: 2, ..Groups::default() }.of(&[n, d], "theory", 0).expect("d >= 2");
    let steps = InnerSteps { count: 2, rate: 0.05, decay: 0.01, mode: Mode::Unrolled };
    let still = InnerSteps { decay: 0.0, ..steps };
    // An adversary brings neurons together, where energies of s = 3 amplify rounding errors, so its steps are small.
    let small = InnerSteps { rate: 1e-3, ..steps };
    let ap = |objective| {
        let p = &p;
        move |w: &Tensor| angle_preserving_energy(energy, w, p, objective, steps)
    };
    let kept: [(&str, &Penalty); 5] = [
        ("rp", &|w| projected_energy(energy, w, &p)),
        ("ap, cosine", &ap(Preserve::Cosine)),
        ("ap, angle", &ap(Preserve::Angle)),
        ("adv", &|w| adversarial_energy(energy, w, &p, small)),
        ("two groups", &|w| group_energy(energy, w, &groups)),
    ];
    let all = vec![(0..d).collect()];
    let same: [(&str, &Penalty); 5] = [
        ("P = I", &|w| projected_energy(energy, w, &Tensor::eye(d, DType::F64))),
        ("orthogonal P", &|w| projected_energy(energy, w, &q)),
        ("one group", &|w| group_energy(energy, w, &all)),
        ("ap, cosine, orthogonal P", &|w| angle_preserving_energy(energy, w, &q, Preserve::Cosine, still)),
        ("ap, angle, orthogonal P", &|w| angle_preserving_energy(energy, w, &q, Preserve::Angle, still)),
    ];
    let mut checks = Vec::new();
    for (variant, penalty) in kept {
        let case = format!("{variant}, {case}");
        for change in without_rotation(n, key) {
            checks.extend(invariant(penalty, &w, &change, &case));
        }
        checks.push(radial(penalty, &w, &case));
    }
    checks.extend(same.map(|(variant, penalty)| equal(penalty, energy, &w, &format!("{variant}, {case}"))));
    checks
}

fn without_rotation(n: usize, key: Key) -> [Change; 2] {
    let scale = Tensor::uniform([n, 1], DType::F64, key.stream("scale")) * 8.0 + 0.125;
    let rows = autograd::Index::new(&key.stream("order").permutation(n), [n]);
    [
        by_rows("scale of neurons", scale),
        Change { name: "permutation", weight: reorder(&rows), gradient: reorder(&rows) },
    ]
}

fn changes(n: usize, d: usize, half_space: bool, key: Key) -> Vec<Change> {
    let q = rotation(d, key);
    let mut changes = Vec::from(without_rotation(n, key));
    changes.push(Change { name: "rotation", weight: right(&q), gradient: right(&q) });
    if half_space {
        let sign = |i: usize| if i.is_multiple_of(2) { -1.0 } else { 1.0 };
        changes.push(by_rows("signs", Tensor::from_fn([n, 1], DType::F64, sign)));
    }
    changes
}

/// Rows times factors: the gradient is divided by them.
fn by_rows(name: &'static str, a: Tensor) -> Change {
    let inverse = 1.0 / &a;
    Change { name, weight: Box::new(move |w| w * &a), gradient: Box::new(move |g| g * &inverse) }
}

fn right(q: &Tensor) -> Box<dyn Fn(&Tensor) -> Tensor> {
    let q = q.clone();
    Box::new(move |w| w.matmul(&q))
}

fn reorder(rows: &autograd::Index) -> Box<dyn Fn(&Tensor) -> Tensor> {
    let rows = rows.clone();
    Box::new(move |w| w.index_select(0, &rows))
}

/// A random orthogonal matrix.
fn rotation(d: usize, key: Key) -> Tensor {
    let mut seed = [0.0f64];
    key.stream("rotation").fill_uniform(&mut seed);
    let frame = Projections::frame(d, seed[0].to_bits());
    frame.draw("rotation", 0, d, DType::F64).expect("k = d").reshape([d, d])
}

fn value_and_gradient(penalty: &Penalty, w: &Tensor) -> (f64, Tensor) {
    let w = w.requires_grad();
    let e = penalty(&w).expect("normal rows are not zero");
    (e.item(), e.backward()[&w].clone())
}

/// |a - b| / |b|
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).norm(..).item() / b.norm(..).item().max(f64::MIN_POSITIVE)
}

/// Value and gradient after a change against before.
fn invariant(penalty: &Penalty, w: &Tensor, change: &Change, case: &str) -> [Check; 2] {
    let (e, g) = value_and_gradient(penalty, w);
    let (changed_e, changed_g) = value_and_gradient(penalty, &(change.weight)(w));
    let value = (changed_e - e).abs() / e.abs().max(1e-3);
    let gradient = distance(&changed_g, &(change.gradient)(&g));
    let named = |what: &str| format!("{}, {what}, {case}", change.name);
    [
        Check::equal("T9", named("value"), value, 0.0, TOLERANCE),
        Check::equal("T9", named("gradient"), gradient, 0.0, 10.0 * TOLERANCE),
    ]
}

/// The largest |w_i . g_i|, over the largest |w_i| |g_i|.
fn radial(penalty: &Penalty, w: &Tensor, case: &str) -> Check {
    let (_, g) = value_and_gradient(penalty, w);
    let along = (w * &g).sum(1).abs().max(..).item();
    let sizes = (w.norm(1) * g.norm(1)).max(..).item();
    Check::equal("T9", format!("w_i . dE/dw_i = 0, {case}"), along / sizes, 0.0, TOLERANCE)
}

/// |T - T'| / sum_i |g_i| |w_i| for T = sum_i g_i w_i'.
fn torque(energy: &Energy, w: &Tensor, case: &str) -> Check {
    let (_, g) = value_and_gradient(&|w| energy.of(w), w);
    let torque = g.matmul_tn(w);
    let sizes = (w.norm(1) * g.norm(1)).sum(..).item();
    let relative = (&torque - torque.transpose(0, 1)).norm(..).item() / sizes;
    Check::equal("T9", format!("no total torque, {case}"), relative, 0.0, TOLERANCE)
}

/// A variant that should equal the energy.
fn equal(penalty: &Penalty, energy: &Energy, w: &Tensor, case: &str) -> Check {
    let e = value_and_gradient(&|w| energy.of(w), w).0;
    let relative = (value_and_gradient(penalty, w).0 - e).abs() / e.abs().max(1e-3);
    Check::equal("T9", format!("the energy itself, {case}"), relative, 0.0, TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_change_the_energy_fail() {
        let key = Setting { seed: 9, full: false }.key("control");
        let w = Tensor::normal([6, 9], DType::F64, key);
        let exact = Energy { eps: 0.0, ..Energy::default() };
        let half = Energy { half_space: true, ..exact };
        assert!(of(&exact, 6, 9, key).iter().chain(&of(&half, 6, 9, key)).all(|check| check.pass));
        let passes = |energy: &Energy, change: &Change| {
            invariant(&|w| energy.of(w), &w, change, "").map(|check| check.pass)
        };
        // With eps > 0 lengths matter.
        let published = Energy { eps: 1e-4, ..exact };
        let scale = || by_rows("scale", Tensor::from_fn([6, 1], DType::F64, |i| 0.1 + i as f64));
        assert_eq!(passes(&published, &scale()), [false, false]);
        assert!(!radial(&|w| published.of(w), &w, "").pass);
        // The gradient changes when neurons are scaled.
        let fixed = Change { gradient: Box::new(Clone::clone), ..scale() };
        assert_eq!(passes(&exact, &fixed), [true, false]);
        // A shear is no rotation; signs matter in full space.
        let shear = Tensor::eye(9, DType::F64) + Tensor::ones([9, 9], DType::F64).triu(1) * 1e-3;
        let sheared = Change { name: "shear", weight: right(&shear), gradient: right(&shear) };
        assert_eq!(passes(&exact, &sheared), [false, false]);
        assert!(!equal(&|w| projected_energy(&exact, w, &shear), &exact, &w, "").pass);
        let signs =
            || by_rows("signs", Tensor::from_fn([6, 1], DType::F64, |i| if i == 0 { -1.0 } else { 1.0 }));
        assert_eq!((passes(&exact, &signs()), passes(&half, &signs())), ([false; 2], [true; 2]));
        // Torque: a gradient of something that is not invariant has some.
        let w = w.requires_grad();
        let g = exact.of(&w).unwrap().backward()[&w].clone() + Tensor::ones([6, 9], DType::F64) * 1e-6;
        let torque = g.matmul_tn(&w.detach());
        assert!((&torque - torque.transpose(0, 1)).norm(..).item() > 1e-9);
    }
}
