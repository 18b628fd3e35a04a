//! Random draws: prefixes do not depend on the length, permutations have every number once.

use kernels::Element;
use kernels::random::{Below, Key};
use proptest::prelude::*;
use rand::RngExt;

use crate::common::*;

/// A fill of `long` elements, of which `short` are compared with a fill of as many.
#[derive(Clone, Debug)]
struct Fill {
    seed: u64,
    stream: usize,
    step: u64,
    short: usize,
    long: usize,
}

impl Fill {
    fn key(&self) -> Key {
        Key::new(self.seed).stream(["dropout", "shuffle"][self.stream]).step(self.step)
    }
}

fn fills() -> impl Strategy<Value = Fill> {
    // Blocks of 1024 have a generator each; groups of 64 are made together.
    let length = || prop_oneof![0..4usize, 0..200usize, 1020..1030usize, 0..5000usize];
    (any::<u64>(), 0..2usize, any::<u64>(), length(), length()).prop_map(|(seed, stream, step, a, b)| Fill {
        seed,
        stream,
        step,
        short: a.min(b),
        long: a.max(b),
    })
}

fn prefix_property<T: Element>(case: &Fill) -> TestResult {
    let key = case.key();
    let fill = |len: usize| {
        let mut draws = [(); 3].map(|()| vec![T::NAN; len]);
        key.fill_uniform(&mut draws[0]);
        key.fill_normal(&mut draws[1]);
        key.fill_normal_with(T::from_f64(0.5), &mut draws[2]);
        draws
    };
    at_every_level(|| {
        let (short, long) = (fill(case.short), fill(case.long));
        for (i, op) in ["fill_uniform", "fill_normal", "fill_normal_with"].into_iter().enumerate() {
            check_exact(op, &short[i], &long[i][..case.short])?;
        }
        for (i, v) in long[0].iter().enumerate() {
            prop_assert!((0.0..1.0).contains(&v.to_f64()), "fill_uniform: element {i} is {v:?}");
        }
        for (i, (v, half)) in long[1].iter().zip(&long[2]).enumerate() {
            // sqrt(-2 ln u) for the smallest u, 2^-33 or 2^-54.
            prop_assert!(v.to_f64().abs() < 8.7, "fill_normal: element {i} is {v:?}");
            prop_assert_eq!(v.to_f64() * 0.5, half.to_f64(), "fill_normal_with: element {}", i);
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn an_element_does_not_depend_on_the_length(case in fills()) {
        prefix_property::<f32>(&case)?;
        prefix_property::<f64>(&case)?;
    }

    #[test]
    fn a_permutation_has_every_number_once(seed in any::<u64>(), n in 0..500usize) {
        let mut order = Key::new(seed).permutation(n);
        order.sort_unstable();
        prop_assert!(order.iter().copied().eq(0..n), "sorted: {order:?}");
    }

    #[test]
    fn draws_are_below_their_bound(seed in any::<u64>(), index in any::<u64>(), n in 1..usize::MAX) {
        let mut rng = Key::new(seed).rng(index);
        let v = rng.sample(Below(n));
        prop_assert!(v < n, "drew {v} below {n}");
    }
}
