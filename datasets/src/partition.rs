//! Choosing examples: stratified subsets and label noise, each a pure function of a key.

use kernels::random::{Below, Key};
use rand::RngExt;

use crate::dataset::{Split, Targets};

/// Splits the examples in two with `first` in the first part, each class in proportion (its share rounded
/// down, what is left going to the classes with the largest remainders, the lowest label first among equals).
/// Both parts keep the order of the data. A smaller first part is not always inside a larger one, since
/// remainders move, but nearly.
///
/// # Panics
/// If there are fewer than `first` examples.
pub(crate) fn split(labels: &[u32], first: usize, key: Key) -> (Vec<usize>, Vec<usize>) {
    let n = labels.len();
    assert!(first <= n, "{first} of {n} examples");
    let classes = labels.iter().max().map_or(0, |&m| m as usize + 1);
    let mut members = vec![Vec::new(); classes];
    for (i, &label) in labels.iter().enumerate() {
        members[label as usize].push(i);
    }
    let mut quota: Vec<usize> = members.iter().map(|m| m.len() * first / n.max(1)).collect();
    let mut by_remainder: Vec<usize> = (0..classes).collect();
    by_remainder.sort_by_key(|&c| std::cmp::Reverse(members[c].len() * first % n));
    let short = first - quota.iter().sum::<usize>();
    by_remainder[..short].iter().for_each(|&c| quota[c] += 1);

    let mut chosen = vec![false; n];
    for (class, members) in members.iter().enumerate() {
        let order = key.step(class as u64).permutation(members.len());
        order[..quota[class]].iter().for_each(|&k| chosen[members[k]] = true);
    }
    (0..n).partition(|&i| chosen[i])
}

/// Gives round(`fraction` * N) of the examples another label, uniform among the other classes. Returns the
/// number of changed labels.
///
/// # Panics
/// If there are fewer than two classes and something to change, or the targets are not classes.
pub(crate) fn add_label_noise(split: &mut Split, classes: usize, fraction: f64, key: Key) -> usize {
    let count = (fraction * split.len() as f64).round() as usize;
    let Targets::Classes(labels) = &mut split.targets else {
        panic!("label noise: the targets are not classes")
    };
    let chosen = &key.stream("which").permutation(labels.len())[..count];
    for &i in chosen {
        let draw = key.stream("to").rng(i as u64).sample(Below(classes - 1)) as u32;
        let old = labels[i];
        labels[i] = draw + u32::from(draw >= old);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Pixels, Standardisation};
    use proptest::prelude::*;

    fn counts(labels: &[u32], indices: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; 5];
        indices.iter().for_each(|&i| counts[labels[i] as usize] += 1);
        counts
    }

    proptest! {
        #[test]
        fn parts_are_stratified_ordered_and_whole(
            labels in prop::collection::vec(0u32..5, 0..80), share in 0.0f64..=1.0, seed in any::<u64>()
        ) {
            let first = (share * labels.len() as f64) as usize;
            let (a, b) = split(&labels, first, Key::new(seed));
            prop_assert_eq!(a.len(), first);
            prop_assert!(a.is_sorted() && b.is_sorted());
            let mut all = [&a[..], &b[..]].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
            let whole = counts(&labels, &(0..labels.len()).collect::<Vec<_>>());
            for (part, whole) in counts(&labels, &a).into_iter().zip(whole) {
                let exact = whole as f64 * first as f64 / labels.len().max(1) as f64;
                prop_assert!((part as f64 - exact).abs() < 1.0, "{} of {}", part, exact);
            }
            prop_assert_eq!(split(&labels, first, Key::new(seed)), (a, b));
        }
    }

    fn labelled(labels: Vec<u32>) -> Split {
        Split::new([1, 1, 1], Pixels::U8(vec![0; labels.len()]), labels, Standardisation::identity(1))
    }

    #[test]
    fn noise_is_exact_in_count_and_uniform_over_the_others() {
        let clean: Vec<u32> = (0..3000).map(|i| i % 4).collect();
        let mut noisy = labelled(clean.clone());
        assert_eq!(add_label_noise(&mut noisy, 4, 0.4, Key::new(7)), 1200);
        let mut moves = [[0; 4]; 4];
        clean.iter().zip(noisy.labels().unwrap()).for_each(|(&a, &b)| moves[a as usize][b as usize] += 1);
        let kept: usize = (0..4).map(|c| moves[c][c]).sum();
        assert_eq!(kept, 1800);
        // Each of the 12 moves has a mean of 100 and a standard deviation near 9.
        for (a, row) in moves.iter().enumerate() {
            assert!(row.iter().enumerate().all(|(b, &n)| a == b || (60..=140).contains(&n)), "{moves:?}");
        }
        let mut again = labelled(clean.clone());
        add_label_noise(&mut again, 4, 0.4, Key::new(7));
        assert_eq!(again, noisy);
        let mut other = labelled(clean);
        add_label_noise(&mut other, 4, 0.4, Key::new(8));
        assert_ne!(other, noisy);
    }

    #[test]
    fn the_ends_of_the_range() {
        let mut s = labelled(vec![0, 1, 2]);
        assert_eq!(add_label_noise(&mut s, 3, 0.0, Key::new(1)), 0);
        assert_eq!(s.labels().unwrap(), [0, 1, 2]);
        assert_eq!(add_label_noise(&mut s, 3, 1.0, Key::new(1)), 3);
        assert!((0..3).all(|i| s.labels().unwrap()[i] != i as u32 && s.labels().unwrap()[i] < 3));
        assert_eq!(add_label_noise(&mut labelled(vec![]), 3, 1.0, Key::new(1)), 0);
    }
}
