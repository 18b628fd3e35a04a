//! "Did you mean": the nearest of a list of names.

/// The candidate nearest to `name`, letter case, `-` and `_` aside, if it is near enough to be a slip: at
/// most one edit (insert, delete, replace, swap of neighbours) in three letters. The first of equals.
pub fn suggest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let plain = |s: &str| s.to_lowercase().replace(['-', '_', ' '], "");
    let name = plain(name);
    let near = |c: &&str| strsim::osa_distance(&name, &plain(c));
    let best = candidates.iter().copied().min_by_key(near)?;
    let length = name.chars().count().max(plain(best).chars().count());
    (near(&best) * 3 <= length).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
