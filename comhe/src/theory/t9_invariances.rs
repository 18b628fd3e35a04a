//! T9: what does not change the energy (eps = 0), nor its gradient.
//!
//! - Scale of a neuron: E(diag(a) W) = E(W) for a > 0, so that w_i . dE/dw_i = 0; the gradient scales by 1 / a_i.
//! - Rotation: E(WQ) = E(W), grad(WQ) = grad(W) Q. Permutation of neurons: the gradient permutes with them.
//! - No total torque: sum_i g_i w_i' is symmetric (the derivative of rotations).
//! - Half-space: signs of neurons, with which the gradient changes sign. And E is at least its optimum of T2.
//! - An orthogonal projection gives the energy itself.
//!
//! Source: the definition (Lin et al., CVPR 2020, section 3).

use autograd::{DType, Key, Tensor};

use super::{Check, Relation, Setting};
use crate::energy::Energy;
use crate::projection::{Distribution, Projections};
use crate::random::projected_energy;
use crate::thomson::least_energy;

/// Relative, in f64.
const TOLERANCE: f64 = 1e-12;

/// What is done to the neurons, and what it does to the gradient.
struct Change {
    name: &'static str,
    weight: Box<dyn Fn(&Tensor) -> Tensor>,
    gradient: Box<dyn Fn(&Tensor) -> Tensor>,
}

/// Runs the checks.
pub(super) fn run(setting: Setting) -> Vec<Check> {
    let sizes = setting.pick(vec![(6, 9)], vec![(2, 3), (6, 9), (40, 5), (64, 144)]);
    let mut checks = Vec::new();
    for s in setting.pick(vec![0.0, 2.0], vec![0.0, 0.5, 1.0, 2.0, 3.0]) {
        for angular in [false, true] {
            for half_space in [false, true] {
                let energy = Energy { s, angular, half_space, eps: 0.0, ..Energy::default() };
                for &(n, d) in &sizes {
                    checks.extend(of(&energy, n, d, setting.key(&format!("T9 {n} {d}"))));
                }
            }
        }
    }
    checks
}

/// All invariances of one energy.
fn of(energy: &Energy, n: usize, d: usize, key: Key) -> Vec<Check> {
    let w = Tensor::normal([n, d], DType::F64, key);
    let Energy { s, angular, half_space, .. } = *energy;
    let case = format!(
        "N = {n}, d = {d}, s = {s}, {}, {}",
        if angular { "angle" } else { "chord" },
        if half_space { "half-space" } else { "full space" }
    );
    let mut checks = Vec::new();
    for change in changes(n, d, half_space, key) {
        checks.extend(invariant(energy, &w, &change, &case));
    }
    checks.extend([
        radial(energy, &w, &case),
        torque(energy, &w, &case),
        rotation_as_projection(energy, &w, &case),
    ]);
    if let (false, Some(least)) = (angular, least_energy(n, d, s, half_space)) {
        let e = value_and_gradient(energy, &w).0;
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

fn changes(n: usize, d: usize, half_space: bool, key: Key) -> Vec<Change> {
    let q = rotation(d, key);
    let scale = Tensor::uniform([n, 1], DType::F64, key.stream("scale")) * 8.0 + 0.125;
    let order = key.stream("order").permutation(n);
    let rows = autograd::Index::new(&order, [n]);
    let mut changes = vec![
        by_rows("scale of neurons", scale),
        Change { name: "rotation", weight: right(&q), gradient: right(&q) },
        Change { name: "permutation", weight: reorder(&rows), gradient: reorder(&rows) },
    ];
    if half_space {
        changes.push(by_rows(
            "signs",
            Tensor::from_fn([n, 1], DType::F64, |i| if order[i].is_multiple_of(2) { 1.0 } else { -1.0 }),
        ));
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
    let frame = Projections { k: d, c: 1, distribution: Distribution::Orthonormal, seed: seed[0].to_bits() };
    frame.draw("rotation", 0, d, DType::F64).expect("k = d").reshape([d, d])
}

fn value_and_gradient(energy: &Energy, w: &Tensor) -> (f64, Tensor) {
    let w = w.requires_grad();
    let e = energy.of(&w).expect("normal rows are not zero");
    (e.item(), e.backward()[&w].clone())
}

/// |a - b| / |b|
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).norm(..).item() / b.norm(..).item().max(f64::MIN_POSITIVE)
}

/// Value and gradient after a change against before.
fn invariant(energy: &Energy, w: &Tensor, change: &Change, case: &str) -> [Check; 2] {
    let (e, g) = value_and_gradient(energy, w);
    let (changed_e, changed_g) = value_and_gradient(energy, &(change.weight)(w));
    let value = (changed_e - e).abs() / e.abs().max(1e-3);
    let gradient = distance(&changed_g, &(change.gradient)(&g));
    let named = |what: &str| format!("{}, {what}, {case}", change.name);
    [
        Check::equal("T9", named("value"), value, 0.0, TOLERANCE),
        Check::equal("T9", named("gradient"), gradient, 0.0, 10.0 * TOLERANCE),
    ]
}

/// The largest |w_i . g_i|, over the largest |w_i| |g_i|.
fn radial(energy: &Energy, w: &Tensor, case: &str) -> Check {
    let (_, g) = value_and_gradient(energy, w);
    let along = (w * &g).sum(1).abs().max(..).item();
    let sizes = (w.norm(1) * g.norm(1)).max(..).item();
    Check::equal("T9", format!("w_i . dE/dw_i = 0, {case}"), along / sizes, 0.0, TOLERANCE)
}

/// |T - T'| / sum_i |g_i| |w_i| for T = sum_i g_i w_i'.
fn torque(energy: &Energy, w: &Tensor, case: &str) -> Check {
    let (_, g) = value_and_gradient(energy, w);
    let torque = g.matmul_tn(w);
    let sizes = (w.norm(1) * g.norm(1)).sum(..).item();
    let relative = (&torque - torque.transpose(0, 1)).norm(..).item() / sizes;
    Check::equal("T9", format!("no total torque, {case}"), relative, 0.0, TOLERANCE)
}

/// The energy under an orthogonal P against the energy.
fn rotation_as_projection(energy: &Energy, w: &Tensor, case: &str) -> Check {
    let p = rotation(w.shape()[1], Key::new(w.shape()[1] as u64));
    projection(energy, w, &p, case)
}

fn projection(energy: &Energy, w: &Tensor, p: &Tensor, case: &str) -> Check {
    let projected = projected_energy(energy, w, p).expect("P fits").item();
    let e = value_and_gradient(energy, w).0;
    let relative = (projected - e).abs() / e.abs().max(1e-3);
    Check::equal("T9", format!("orthogonal projection, {case}"), relative, 0.0, TOLERANCE)
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
        let passes =
            |energy: &Energy, change: &Change| invariant(energy, &w, change, "").map(|check| check.pass);
        // With eps > 0 lengths matter.
        let published = Energy { eps: 1e-4, ..exact };
        let scale = || by_rows("scale", Tensor::from_fn([6, 1], DType::F64, |i| 0.1 + i as f64));
        assert_eq!(passes(&published, &scale()), [false, false]);
        assert!(!radial(&published, &w, "").pass);
        // The gradient does not stay as it is when neurons are scaled.
        let fixed = Change { gradient: Box::new(Clone::clone), ..scale() };
        assert_eq!(passes(&exact, &fixed), [true, false]);
        // A shear is no rotation; signs matter in full space.
        let shear = Tensor::eye(9, DType::F64) + Tensor::ones([9, 9], DType::F64).triu(1) * 1e-3;
        let sheared = Change { name: "shear", weight: right(&shear), gradient: right(&shear) };
        assert_eq!(passes(&exact, &sheared), [false, false]);
        assert!(!projection(&exact, &w, &shear, "").pass);
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
