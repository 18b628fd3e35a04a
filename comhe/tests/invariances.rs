//! What the energy does not depend on (eps = 0), for value and gradient: lengths, rotations, the order of neurons,
//! in half-space their signs; and what follows: no force along a neuron, no torque on all of them.

use autograd::{DType, Key, Tensor};
use comhe::{Energy, Projections};
use proptest::prelude::*;

/// A weight, and which energy.
#[derive(Clone, Debug)]
struct Case {
    energy: Energy,
    w: Tensor,
    n: usize,
    d: usize,
    seed: u64,
    dtype: DType,
}

fn cases() -> impl Strategy<Value = Case> {
    let exponent = prop::sample::select(vec![0.0, 0.5, 1.0, 2.0, 3.0]);
    let dtype = prop::sample::select(vec![DType::F64, DType::F32]);
    (exponent, any::<(bool, bool)>(), 1..9usize, 3..11usize, any::<u64>(), dtype)
        .prop_map(|(s, (angular, half_space), n, d, seed, dtype)| {
            let energy = Energy { s, angular, half_space, eps: 0.0, ..Energy::default() };
            Case { energy, w: Tensor::normal([n, d], dtype, Key::new(seed)), n, d, seed, dtype }
        })
        // Pairs at a small angle have large gradients, and lose digits with the numbers they are made of.
        .prop_filter("well-separated lines", |case| {
            let smallest = |w: &Tensor| comhe::smallest_angle(w).unwrap().unwrap_or(1.0);
            let lines = Tensor::from_fn([2 * case.n, case.d], DType::F64, |i| {
                let (row, k) = (i / case.d, i % case.d);
                case.w.at(&[row / 2, k]) * if row % 2 == 0 { 1.0 } else { -1.0 }
            });
            smallest(&lines) > 0.3
        })
}

fn value_and_gradient(energy: &Energy, w: &Tensor) -> (f64, Vec<f64>) {
    let w = w.requires_grad();
    let e = energy.of(&w).unwrap();
    (e.item(), e.grad(&[&w]).remove(0).to_vec())
}

impl Case {
    fn tolerance(&self) -> f64 {
        if self.dtype == DType::F64 { 1e-11 } else { 2e-4 }
    }

    /// Values agree, relative to 1 and to themselves; gradients relative to their largest element.
    fn same(&self, (e, g): &(f64, Vec<f64>), (f, h): &(f64, Vec<f64>)) -> Result<(), TestCaseError> {
        prop_assert!((e - f).abs() <= self.tolerance() * (1.0 + e.abs()), "{e} and {f}");
        self.near(g, h)
    }

    fn near(&self, g: &[f64], h: &[f64]) -> Result<(), TestCaseError> {
        let largest = g.iter().fold(0.01f64, |m, v| m.max(v.abs()));
        for (g, h) in g.iter().zip(h) {
            prop_assert!(
                (g - h).abs() <= self.tolerance() * largest,
                "{g} and {h}, the largest is {largest}"
            );
        }
        Ok(())
    }

    /// The weight with row i multiplied by `factor(i)`.
    fn scaled(&self, factor: impl Fn(usize) -> f64) -> Tensor {
        Tensor::from_fn([self.n, self.d], self.dtype, |i| {
            factor(i / self.d) * self.w.at(&[i / self.d, i % self.d])
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lengths_do_not_matter(case in cases(), lengths in prop::collection::vec(-3.0..3.0f64, 8)) {
        let (e, mut g) = value_and_gradient(&case.energy, &case.w);
        let factor = |i: usize| lengths[i].exp();
        // A neuron twice as long turns half as fast.
        g.iter_mut().enumerate().for_each(|(i, g)| *g /= factor(i / case.d));
        let (f, h) = value_and_gradient(&case.energy, &case.scaled(factor));
        prop_assert!((e - f).abs() <= case.tolerance() * (1.0 + e.abs()), "{e} and {f}");
        for (g, h) in g.chunks(case.d).zip(h.chunks(case.d)) {
            case.near(g, h)?;
        }
    }

    #[test]
    fn no_force_along_a_neuron(case in cases()) {
        let (_, g) = value_and_gradient(&case.energy, &case.w);
        let w = case.w.to_vec::<f64>();
        for (g, w) in g.chunks(case.d).zip(w.chunks(case.d)) {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let size = (dot(g, g) * dot(w, w)).sqrt();
            prop_assert!(dot(g, w).abs() <= case.tolerance() * (0.01 + size));
        }
    }

    #[test]
    fn rotations_turn_the_gradient_along(case in cases()) {
        let d = case.d;
        let frame = Projections::frame(d, case.seed);
        let q = frame.draw("rotation", 0, d, case.dtype).unwrap().reshape([d, d]);
        let (e, g) = value_and_gradient(&case.energy, &case.w);
        let turned = Tensor::new(&g, [case.n, d]).matmul(&q.to_dtype(DType::F64)).to_vec::<f64>();
        case.same(&(e, turned), &value_and_gradient(&case.energy, &case.w.matmul(&q)))?;
    }

    #[test]
    fn the_order_of_neurons_does_not_matter(case in cases()) {
        let order = Key::new(case.seed).stream("order").permutation(case.n);
        let d = case.d;
        let w = Tensor::from_fn([case.n, d], case.dtype, |i| case.w.at(&[order[i / d], i % d]));
        let (e, g) = value_and_gradient(&case.energy, &case.w);
        let reordered = order.iter().flat_map(|&i| g[i * d..(i + 1) * d].to_vec()).collect();
        case.same(&(e, reordered), &value_and_gradient(&case.energy, &w))?;
    }

    #[test]
    fn the_total_torque_is_zero(case in cases()) {
        let (_, g) = value_and_gradient(&case.energy, &case.w);
        // sum over i of g_i w_i'
        let torque = Tensor::new(&g, [case.n, case.d]).matmul_tn(&case.w.to_dtype(DType::F64));
        case.near(&torque.to_vec::<f64>(), &torque.transpose(0, 1).to_vec::<f64>())?;
    }

    #[test]
    fn signs_do_not_matter_in_half_space(case in cases(), flips in any::<[bool; 8]>()) {
        let energy = Energy { half_space: true, ..case.energy };
        let sign = |i: usize| if flips[i] { -1.0 } else { 1.0 };
        let (e, mut g) = value_and_gradient(&energy, &case.w);
        g.iter_mut().enumerate().for_each(|(i, g)| *g *= sign(i / case.d));
        case.same(&(e, g), &value_and_gradient(&energy, &case.scaled(sign)))?;
        // A control: in full space they do, unless nothing is near or opposite.
        let full = Energy { half_space: false, s: 2.0, ..energy };
        if case.n == 2 && case.d == 3 && flips[0] != flips[1] {
            let (e, f) = (full.of(&case.w).unwrap().item(), full.of(&case.scaled(sign)).unwrap().item());
            prop_assert!((e - f).abs() > 1e-9 * e.abs(), "{e} and {f}");
        }
    }

    #[test]
    fn kernels_and_definition_agree(case in cases(), eps in prop::sample::select(vec![0.0, 1e-4, 0.3])) {
        let energy = Energy { eps, ..case.energy };
        let w = case.w.requires_grad();
        let defined = energy.definition(&w).unwrap();
        let want = (defined.item(), defined.grad(&[&w]).remove(0).to_vec());
        // In f32 the angle of an antipodal pair, whose cosine is -1 + eps / |w|^2, has few digits in plain operations.
        prop_assume!(case.dtype == DType::F64 || !energy.angular || !energy.half_space);
        case.same(&want, &value_and_gradient(&energy, &case.w))?;
    }

    #[test]
    fn half_space_energy_is_no_lower_than_its_optimum(case in cases()) {
        prop_assume!(case.n <= case.d && case.energy.s > 0.0 && !case.energy.angular);
        let (n, s) = (case.n as f64, case.energy.s);
        let energy = Energy { half_space: true, ..case.energy };
        let pairs = n * (2.0 * n - 1.0);
        let optimum = (n * 2f64.powf(-s) + (pairs - n) * 2f64.powf(-s / 2.0)) / pairs;
        prop_assert!(energy.of(&case.w).unwrap().item() >= optimum * (1.0 - case.tolerance()));
    }
}
