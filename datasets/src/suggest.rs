//! "Did you mean": the nearest of a list of names.

/// The number of single-character edits (insert, delete, replace, swap of neighbours) from `a` to `b`.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // d[i][j]: the distance of the first i of a to the first j of b.
    let mut d = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            d[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = d[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = replaced.min(d[i - 1][j] + 1).min(d[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { best.min(d[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    d[a.len()][b.len()]
}

/// The candidate nearest to `name`, letter case, `-` and `_` aside, if it is near enough to be a slip: at
/// most one edit in three letters. The first of equals.
pub fn suggest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let plain = |s: &str| s.to_lowercase().replace(['-', '_', ' '], "");
    let name = plain(name);
    let near = |c: &&str| distance(&name, &plain(c));
    let best = candidates.iter().copied().min_by_key(near)?;
    let length = name.chars().count().max(plain(best).chars().count());
    (near(&best) * 3 <= length).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_distances() {
        let cases =
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("mnsit", "mnist", 1), ("é", "e", 1)];
        for (a, b, d) in cases {
            assert_eq!((distance(a, b), distance(b, a)), (d, d), "{a} {b}");
        }
    }

    #[test]
    fn slips_are_mended_and_other_words_are_not() {
        let names = ["mnist", "fashion-mnist", "cifar10", "cifar100"];
        assert_eq!(suggest("mnsit", &names), Some("mnist"));
        assert_eq!(suggest("FashionMNIST", &names), Some("fashion-mnist"));
        assert_eq!(suggest("CIFAR-100", &names), Some("cifar100"));
        assert_eq!(suggest("imagenet", &names), None);
        assert_eq!(suggest("", &names), None);
        assert_eq!(suggest("mnist", &[]), None);
    }

    proptest! {
        #[test]
        fn a_metric_on_small_words(a in "[ab]{0,6}", b in "[ab]{0,6}") {
            let d = distance(&a, &b);
            prop_assert_eq!(d == 0, a == b);
            prop_assert_eq!(d, distance(&b, &a));
            prop_assert!(d <= a.len().max(b.len()) && d >= a.len().abs_diff(b.len()));
        }
    }
}
