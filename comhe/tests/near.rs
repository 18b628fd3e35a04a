//! Neurons that nearly coincide: the energy that learned projections see has slopes in full precision.

use autograd::{DType, Key, Tensor};
use comhe::{Energy, InnerSteps, Reduce, Scale, adversarial_energy};

/// The energy as a learned projection sees it, after no step of P = I.
fn in_full(energy: &Energy, y: &Tensor) -> Tensor {
    let p = Tensor::eye(y.shape()[1], DType::F64);
    adversarial_energy(energy, y, &p, InnerSteps { count: 0, ..InnerSteps::default() }).unwrap()
}

/// Neurons at an angle from the first, from its antipode, and elsewhere.
fn rows(angle: f64) -> Tensor {
    let free = Tensor::normal([5, 4], DType::F64, Key::new(3));
    let mix = Tensor::from([
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [2.0, angle, 0.0, 0.0, 0.0],
        [-0.5, 0.0, angle, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ]);
    mix.matmul(&free)
}

fn forms() -> Vec<Energy> {
    let mut list = Vec::new();
    for s in [0.0, 1.0, 2.0, 2.5] {
        for (angular, half_space) in [(false, false), (false, true), (true, false), (true, true)] {
            for (eps, scale, reduce) in [(0.0, Scale::Paper, Reduce::Sum), (1e-2, Scale::Code, Reduce::Mean)]
            {
                list.push(Energy { s, angular, half_space, eps, scale, reduce, ..Energy::default() });
            }
        }
    }
    list
}

#[test]
fn is_the_same_energy_with_the_same_gradient() {
    for angle in [1e-2, 1e-4, 0.0] {
        let y = rows(angle).requires_grad();
        for energy in forms() {
            let (exact, usual) = (in_full(&energy, &y), energy.of(&y).unwrap());
            let off = (exact.item() / usual.item() - 1.0).abs();
            assert!(off < 1e-10, "angle {angle}, {energy:?}: {} and {}", exact.item(), usual.item());
            let (exact, usual) = (exact.grad(&[&y]).remove(0), usual.grad(&[&y]).remove(0));
            let off = (&exact - &usual).norm(..).item() / usual.norm(..).item();
            // The usual one loses e / a of its slopes.
            assert!(off < 1e-10, "angle {angle}, {energy:?}: gradient off by {off:.1e}");
        }
    }
}

#[test]
fn slopes_of_slopes_are_those_of_differences() {
    let (y, v) = (rows(1e-2).requires_grad(), Tensor::normal([5, 4], DType::F64, Key::new(4)));
    for energy in forms() {
        let slope = |y: &Tensor| in_full(&energy, y).recorded().grad(&[y]).remove(0);
        let along = (slope(&y) * &v).sum(..).grad(&[&y]).remove(0);
        let h = 1e-7;
        let at = |h: f64| slope(&(y.detach() + &v * h).requires_grad()).detach();
        let difference = (at(h) - at(-h)) / (2.0 * h);
        let off = (&along - &difference).norm(..).item() / difference.norm(..).item();
        assert!(off < 1e-6, "{energy:?}: {off:.1e}");
    }
}
