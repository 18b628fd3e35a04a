#![forbid(unsafe_code)]
//! Tables of what is chosen by name: regularisers, losses, methods, optimisers, models, data sets.
//!
//! A table is a slice of [`Row`]s, each defined beside what it makes: its name, one line of help, the settings that it
//! reads, and how it is made. Help texts, error messages and lists of settings follow from the rows.
//!
//! ```
//! use registry::{Row, Setting, find};
//!
//! const SGD: Row<fn(f64) -> f64> =
//!     Row { name: "sgd", help: "gradient descent", settings: &[Setting::new("momentum")], make: |rate| -rate };
//! const TABLE: &[Row<fn(f64) -> f64>] = &[SGD];
//!
//! assert_eq!((find(TABLE, "optimiser", "sgd").unwrap().make)(0.1), -0.1);
//! let error = find(TABLE, "optimiser", "sdg").err().unwrap();
//! assert_eq!(error, "there is no optimiser \"sdg\"; did you mean sgd? (there are sgd)");
//! ```

/// What can be chosen by a name.
#[derive(Clone, Copy, Debug)]
pub struct Row<T> {
    /// The name.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// The settings that it reads, beside those that all rows of the table read.
    pub settings: &'static [Setting],
    /// How it is made, and what else is known of it.
    pub make: T,
}

/// A setting that a row reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key among the settings of the table's rows.
    pub key: &'static str,
    /// The other setting, and its value, with which alone this one is read.
    pub when: Option<(&'static str, &'static str)>,
}

impl Setting {
    /// A setting that is always read.
    pub const fn new(key: &'static str) -> Setting {
        Setting { key, when: None }
    }

    /// A setting that is read if another one has a value.
    pub const fn when(self, key: &'static str, value: &'static str) -> Setting {
        Setting { when: Some((key, value)), ..self }
    }
}

impl<T> Row<T> {
    /// Whether a setting is read, perhaps under a condition.
    pub fn reads(&self, key: &str) -> bool {
        self.settings.iter().any(|setting| setting.key == key)
    }

    /// The row without what it makes, so that tables of different kinds can be listed together.
    pub fn about(&self) -> Row<()> {
        Row { name: self.name, help: self.help, settings: self.settings, make: () }
    }
}

/// The row of a name.
///
/// # Errors
/// If there is none: the name, the nearest one, and all others.
pub fn find<'a, T>(rows: &'a [Row<T>], what: &str, name: &str) -> Result<&'a Row<T>, String> {
    let known = || rows.iter().map(|row| row.name).collect::<Vec<_>>();
    rows.iter().find(|row| row.name == name).ok_or_else(|| unknown(what, name, &known()))
}

/// The message about a name that does not exist: the nearest one that does, and the others.
pub fn unknown<S: AsRef<str>>(what: &str, name: &str, known: &[S]) -> String {
    const SHOWN: usize = 20;
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    let more = if known.len() > SHOWN { format!(", ... ({} in all)", known.len()) } else { String::new() };
    let shown = known[..known.len().min(SHOWN)].join(", ");
    format!("there is no {what} {name:?}{} (there are {shown}{more})", did_you_mean(name, &known))
}

/// "; did you mean lenet?", or nothing if no name is near enough.
pub fn did_you_mean(name: &str, known: &[&str]) -> String {
    suggest(name, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

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
    fn a_slip_has_a_suggestion_and_another_word_has_none() {
        let names = ["mnist", "fashion-mnist", "cifar10", "cifar100"];
        assert_eq!(suggest("mnsit", &names), Some("mnist"));
        assert_eq!(suggest("FashionMNIST", &names), Some("fashion-mnist"));
        assert_eq!(suggest("CIFAR-100", &names), Some("cifar100"));
        assert_eq!(suggest("imagenet", &names), None);
        assert_eq!(suggest("", &names), None);
        assert_eq!(suggest("mnist", &[]), None);
        let names = ["none", "mhe", "hs-mhe", "rp"];
        assert_eq!((suggest("hsmhe", &names), suggest("MHE", &names)), (Some("hs-mhe"), Some("mhe")));
        assert_eq!(suggest("dropout", &names), None);
    }

    #[test]
    fn unknown_names_come_with_the_known_ones() {
        let known: Vec<String> = (0..30).map(|i| format!("layer{i}")).collect();
        let said = unknown("variant", "mhee", &["mhe", "rp"]);
        assert_eq!(said, "there is no variant \"mhee\"; did you mean mhe? (there are mhe, rp)");
        assert!(unknown("tensor", "x", &known).ends_with("layer19, ... (30 in all))"));
    }
}
