//! What variants have in common with the energy itself, over random shapes: cases where they are equal to it, what they
//! do not depend on.

use autograd::{DType, Key, Tensor};
use comhe::{
    Energy, Error, Grouping, Groups, InnerSteps, Mode, Preserve, Projections, adversarial_energy,
    angle_preserving_energy, bilateral_energy, group_energy, projected_energy,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Case {
    energy: Energy,
    w: Tensor,
    seed: u64,
    dtype: DType,
}

fn cases() -> impl Strategy<Value = Case> {
    let exponent = prop::sample::select(vec![0.0, 0.5, 1.0, 2.0, 3.0]);
    let dtype = prop::sample::select(vec![DType::F64, DType::F32]);
    (exponent, any::<(bool, bool)>(), 1..8usize, 4..11usize, any::<u64>(), dtype)
        .prop_map(|(s, (angular, half_space), n, d, seed, dtype)| {
            let energy = Energy { s, angular, half_space, eps: 0.0, ..Energy::default() };
            Case { energy, w: Tensor::normal([n, d], dtype, Key::new(seed)), seed, dtype }
        })
        // Pairs at a small angle have large gradients, and lose digits with the numbers they are made of.
        .prop_filter("well-separated lines", |case| {
            let both = Tensor::concat(&[&case.w, &-&case.w], 0);
            comhe::smallest_angle(&both).unwrap().unwrap_or(1.0) > 0.5
        })
}

type Found = (f64, Vec<f64>);

fn of(w: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor, Error>) -> Found {
    let w = w.requires_grad();
    let e = f(&w).unwrap();
    (e.item(), e.grad(&[&w]).remove(0).to_vec())
}

impl Case {
    fn d(&self) -> usize {
        self.w.shape()[1]
    }

    fn own(&self) -> Found {
        of(&self.w, |w| self.energy.of(w))
    }

    /// Values agree, relative to 1 and to themselves; gradients relative to their largest element.
    fn same(&self, (e, g): &Found, (f, h): &Found) -> Result<(), TestCaseError> {
        let tolerance = if self.dtype == DType::F64 { 1e-10 } else { 2e-3 };
        prop_assert!((e - f).abs() <= tolerance * (1.0 + e.abs()), "{e} and {f}");
        let largest = g.iter().fold(0.01f64, |m, v| m.max(v.abs()));
        for (g, h) in g.iter().zip(h) {
            prop_assert!((g - h).abs() <= tolerance * largest, "{g} and {h}, the largest is {largest}");
        }
        Ok(())
    }

    /// A random orthogonal matrix, d x d.
    fn rotation(&self) -> Tensor {
        let d = self.d();
        let frame = Projections::frame(d, self.seed);
        frame.draw("rotation", 0, d, self.dtype).unwrap().reshape([d, d])
    }

    /// Random numbers.
    fn normal(&self, name: &str, shape: &[usize]) -> Tensor {
        Tensor::normal(shape, self.dtype, Key::new(self.seed).stream(name))
    }

    fn groups(&self, count: usize, kind: Grouping) -> Vec<Vec<usize>> {
        Groups { count, kind, seed: self.seed }.of(self.w.shape(), "w", 0).unwrap()
    }
}

const UNROLLED: InnerSteps = InnerSteps { count: 2, rate: 0.1, decay: 0.0, mode: Mode::Unrolled };
const ALTERNATING: InnerSteps = InnerSteps { mode: Mode::Alternating, ..UNROLLED };

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn orthogonal_projections_change_nothing(case in cases()) {
        let identity = Tensor::eye(case.d(), case.dtype);
        for p in [identity, case.rotation(), case.rotation() * 3.0] {
            case.same(&case.own(), &of(&case.w, |w| projected_energy(&case.energy, w, &p)))?;
            // The projection has nothing to learn: L = 0, and its gradient is 0.
            for objective in Preserve::ALL {
                for steps in [UNROLLED, ALTERNATING] {
                    let found = of(&case.w, |w| angle_preserving_energy(&case.energy, w, &p, objective, steps));
                    case.same(&case.own(), &found)?;
                }
            }
            let still = InnerSteps { rate: 0.0, ..UNROLLED };
            case.same(&case.own(), &of(&case.w, |w| adversarial_energy(&case.energy, w, &p, still)))?;
        }
    }

    #[test]
    fn one_group_is_all_of_it(case in cases()) {
        for kind in Grouping::ALL {
            let groups = case.groups(1, kind);
            case.same(&case.own(), &of(&case.w, |w| group_energy(&case.energy, w, &groups)))?;
        }
    }

    #[test]
    fn groups_are_selections(case in cases(), count in 2..4usize) {
        // The mean over groups is that over projections by 0/1 matrices; eps for groups of a single coordinate.
        let energy = Energy { eps: 0.5, ..case.energy };
        for kind in Grouping::ALL {
            let groups = case.groups(count, kind);
            let selected = of(&case.w, |w| {
                let mut sum = Tensor::scalar(0.0, case.dtype);
                for group in &groups {
                    let p = Tensor::from_fn([group.len(), case.d()], case.dtype, |i| {
                        f64::from(u8::from(group[i / case.d()] == i % case.d()))
                    });
                    sum += projected_energy(&energy, w, &p)? / groups.len() as f64;
                }
                Ok(sum)
            });
            case.same(&selected, &of(&case.w, |w| group_energy(&energy, w, &groups)))?;
        }
    }

    #[test]
    fn two_sides_are_two_energies(case in cases()) {
        // P1 = I and P2 a permutation: twice the energy. r is common to both, so W is cut to a square.
        let n = case.w.shape()[0].min(case.d());
        let w = case.w.slice_axis(0, ..n).slice_axis(1, ..n);
        let lines = Tensor::concat(&[&w, &-&w], 0);
        prop_assume!(n > 1 && comhe::smallest_angle(&lines).unwrap().unwrap_or(1.0) > 0.3);
        let order = Key::new(case.seed).permutation(n);
        let permutation =
            Tensor::from_fn([n, n], case.dtype, |i| f64::from(u8::from(order[i / n] == i % n)));
        let (e, g) = of(&w, |w| case.energy.of(w));
        let twice = (2.0 * e, g.iter().map(|g| 2.0 * g).collect());
        let identity = Tensor::eye(n, case.dtype);
        case.same(&twice, &of(&w, |w| bilateral_energy(&case.energy, w, &identity, &permutation)))?;
    }

    #[test]
    fn the_frame_of_reference_does_not_matter(case in cases()) {
        // Turning neurons and projection together: E(W Q; P Q) = E(W; P), with gradients turned along.
        let (energy, d) = (Energy { eps: 1e-2, ..case.energy }, case.d());
        let (p, q) = (case.normal("P", &[6, d]), case.rotation());
        let turned = p.matmul(&q);
        let steps = InnerSteps { rate: 0.01, ..UNROLLED };
        let both = |f: &dyn Fn(&Tensor, &Tensor) -> Result<Tensor, Error>| {
            let (e, g) = of(&case.w, |w| f(w, &p));
            let g = Tensor::new(&g, [g.len() / d, d]).matmul(&q.to_dtype(DType::F64)).to_vec::<f64>();
            ((e, g), of(&case.w.matmul(&q), |w| f(w, &turned)))
        };
        // Single precision has few digits of points that a projection has brought near one another.
        let y = case.w.matmul_nt(&p);
        prop_assume!(comhe::smallest_angle(&Tensor::concat(&[&y, &-&y], 0)).unwrap().unwrap_or(1.0) > 0.3);
        for objective in Preserve::ALL {
            let (a, b) = both(&|w, p| angle_preserving_energy(&energy, w, p, objective, steps));
            case.same(&a, &b)?;
        }
        let (a, b) = both(&|w, p| adversarial_energy(&energy, w, p, steps));
        case.same(&a, &b)?;
        let (a, b) = both(&|w, p| projected_energy(&energy, w, p));
        case.same(&a, &b)?;
        // Bilateral: P1 turns with the neurons; what P2 combines turns by itself.
        let p2 = case.normal("P2", &[case.w.shape()[0], 6]);
        let combined = p2.matmul_tn(&case.w);
        prop_assume!(comhe::smallest_angle(&Tensor::concat(&[&combined, &-&combined], 0)).unwrap().unwrap_or(1.0) > 0.1);
        let (a, b) = both(&|w, p| bilateral_energy(&energy, w, p, &p2));
        case.same(&a, &b)?;
    }

    #[test]
    fn lengths_and_signs_of_neurons_do_not_matter(
        case in cases(),
        lengths in prop::collection::vec(-1.5..1.5f64, 8),
        flips in any::<[bool; 8]>(),
    ) {
        // Few neurons, so that their parts are far apart, too.
        let d = case.d();
        let w = case.w.slice_axis(0, ..case.w.shape()[0].min(3));
        let n = w.shape()[0];
        let p = case.rotation() + case.normal("P", &[d, d]) * 0.05;
        let steps = InnerSteps { rate: 0.01, ..UNROLLED };
        let groups = case.groups(2, Grouping::Contiguous);
        for group in &groups {
            let part = w.slice_axis(1, group[0]..group[0] + group.len());
            prop_assume!(comhe::smallest_angle(&Tensor::concat(&[&part, &-&part], 0)).unwrap().unwrap_or(1.0) > 0.2);
        }
        let changed = |factors: &[f64], energy: &Energy, f: &dyn Fn(&Energy, &Tensor) -> Result<Tensor, Error>| {
            let a = Tensor::from_fn([n, 1], case.dtype, |i| factors[i]);
            let (e, g) = of(&w, |w| f(energy, w));
            // A neuron a times as long has a gradient 1 / a times as large.
            let g = g.iter().enumerate().map(|(i, g)| g / factors[i / d]).collect();
            ((e, g), of(&(&w * &a), |w| f(energy, w)))
        };
        let lengths: Vec<f64> = lengths.iter().map(|l| l.exp()).collect();
        let signs: Vec<f64> = flips.iter().map(|&flip| if flip { -1.0 } else { 1.0 }).collect();
        let half = Energy { half_space: true, ..case.energy };
        let check = |signs_too: bool, f: &dyn Fn(&Energy, &Tensor) -> Result<Tensor, Error>| {
            let (a, b) = changed(&lengths, &case.energy, f);
            case.same(&a, &b)?;
            // No force along a neuron.
            let w = w.to_vec::<f64>();
            let largest = a.1.iter().fold(0.01f64, |m, v| m.max(v.abs()));
            for (g, w) in b.1.chunks(d).zip(w.chunks(d)) {
                let dot: f64 = g.iter().zip(w).map(|(g, w)| g * w).sum();
                let size = w.iter().map(|w| w.abs()).sum::<f64>() * largest * 5.0;
                prop_assert!(dot.abs() <= if case.dtype == DType::F64 { 1e-10 } else { 2e-3 } * size, "{dot}");
            }
            if signs_too {
                let (a, b) = changed(&signs, &half, f);
                case.same(&a, &b)?;
            }
            Ok(())
        };
        check(true, &|energy, w| projected_energy(energy, w, &p))?;
        check(true, &|energy, w| group_energy(energy, w, &groups))?;
        for objective in Preserve::ALL {
            for steps in [steps, InnerSteps { mode: Mode::Alternating, ..steps }] {
                check(true, &|energy, w| angle_preserving_energy(energy, w, &p, objective, steps))?;
            }
        }
        // The adversary's own loss is in full space, where signs matter.
        check(false, &|energy, w| adversarial_energy(energy, w, &p, steps))?;
        // Bilateral: P2 combines neurons of different lengths differently; one length for all does not matter.
        let p2 = case.normal("P2", &[n, d]);
        let energy = Energy { eps: 0.0, s: 1.0, ..case.energy };
        let combined = p2.matmul_tn(&w);
        if n > 1 && comhe::smallest_angle(&Tensor::concat(&[&combined, &-&combined], 0)).unwrap().unwrap() > 0.1 {
            let (a, b) = changed(&[lengths[0]; 3], &energy, &|energy, w| bilateral_energy(energy, w, &p, &p2));
            case.same(&a, &b)?;
        }
    }

    #[test]
    fn the_order_of_neurons_does_not_matter(case in cases()) {
        let (n, d) = (case.w.shape()[0], case.d());
        let order = Key::new(case.seed).permutation(n);
        let reordered = |g: &[f64]| order.iter().flat_map(|&i| g[i * d..(i + 1) * d].to_vec()).collect::<Vec<f64>>();
        let w = Tensor::new(&reordered(&case.w.to_vec()), [n, d]).to_dtype(case.dtype);
        let p = case.rotation() + case.normal("P", &[d, d]) * 0.05;
        let steps = InnerSteps { rate: 0.01, ..UNROLLED };
        let check = |f: &dyn Fn(&Tensor) -> Result<Tensor, Error>| {
            let (e, g) = of(&case.w, f);
            case.same(&(e, reordered(&g)), &of(&w, f))
        };
        for objective in Preserve::ALL {
            check(&|w| angle_preserving_energy(&case.energy, w, &p, objective, steps))?;
        }
        check(&|w| adversarial_energy(&case.energy, w, &p, steps))?;
        check(&|w| projected_energy(&case.energy, w, &p))?;
    }
}
