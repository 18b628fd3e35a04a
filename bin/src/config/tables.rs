//! Files have the settings of one part in a table: `[reg] k = 40`. Everywhere else a setting has one key, `reg-k`, which
//! is also how older files have it.

use toml::{Table, Value};

use super::kinds::{self, KINDS, Kind};

/// The key of a table's own name.
const NAME: &str = "name";

/// The table of a setting, and its key there. Settings that are not known are taken apart by their names.
pub fn place(key: &str) -> Option<(&'static str, String)> {
    let within = |kind: &Kind| match key.strip_prefix(kind.prefix).and_then(|rest| rest.strip_prefix('-')) {
        _ if key == kind.key => Some(NAME.to_string()),
        Some(rest) => Some(rest.to_string()),
        None => (!kind.readers(key).is_empty()).then(|| key.to_string()),
    };
    KINDS.iter().filter(|kind| kind.table).find_map(|kind| Some((kind.key, within(kind)?)))
}

/// A key as a file has it: `reg.k`.
pub fn dotted(key: &str) -> String {
    place(key).map_or_else(|| key.to_string(), |(table, key)| format!("{table}.{key}"))
}

/// The one key of a setting that may be written with a dot; underscores stand for hyphens.
pub fn flat_key(key: &str) -> String {
    let key = key.replace('_', "-");
    let kind = |table: &str| KINDS.iter().find(|kind| kind.table && kind.key == table);
    match key.split_once('.').and_then(|(table, key)| Some((kind(table)?, key))) {
        Some((kind, key)) => in_table(kind, &key.replace('.', "-")),
        None => key.replace('.', "-"),
    }
}

/// The one key of a setting of a table.
fn in_table(kind: &Kind, key: &str) -> String {
    if key == NAME { kind.key.to_string() } else { kind.flat(key) }
}

/// The setting that an unknown key (as [`flat_key`] gives it) probably means, as a file has it.
pub fn nearest(key: &str, known: &[&str]) -> Option<String> {
    let dotted_key = dotted(key);
    let all: Vec<String> = known.iter().map(|key| dotted(key)).collect();
    let candidates: Vec<&str> = all.iter().map(String::as_str).collect();
    // A setting of another table, or of none: `optimizer.lr`.
    let elsewhere = dotted_key.split_once('.').and_then(|(_, own)| known.iter().find(|known| **known == own));
    let near = || registry::suggest(&dotted_key, &candidates).map(String::from);
    let alone = || registry::suggest(key, known).map(dotted);
    elsewhere.map(|key| dotted(key)).or_else(near).or_else(alone)
}

/// The keys of a table of a file.
pub fn keys_of(table: &str, known: &[&str]) -> Vec<String> {
    let own = |key: &&str| place(key).filter(|(of, _)| *of == table).map(|(_, key)| key);
    known.iter().filter_map(own).collect()
}

/// Settings as a file has them.
pub fn nested(flat: Table) -> Table {
    let mut nested = Table::new();
    for (key, value) in flat {
        let Some((table, key)) = place(&key) else {
            nested.insert(key, value);
            continue;
        };
        if let Value::Table(table) = nested.entry(table).or_insert_with(|| Value::Table(Table::new())) {
            table.insert(key, value);
        }
    }
    nested
}

/// Settings of a file by their keys; the keys that were not in their table. `is_value` says of a table that it is the
/// value of a setting.
///
/// # Errors
/// The key of a setting that has two values.
pub fn flat(file: Table, is_value: fn(&Table) -> bool) -> Result<(Table, Vec<String>), String> {
    let mut flat = Table::new();
    let mut old = Vec::new();
    let mut add = |key: String, value: Value| match flat.insert(key.clone(), value) {
        None => Ok(()),
        Some(_) => Err(key),
    };
    for (key, value) in file {
        let kind = KINDS.iter().find(|kind| kind.table && kind.key == key);
        match (kind, value) {
            (Some(kind), Value::Table(table)) if !is_value(&table) => {
                for (key, value) in table {
                    add(in_table(kind, &key), value)?;
                }
            }
            (_, value) => {
                if kinds::is_setting(&key) && place(&key).is_some() {
                    old.push(key.clone());
                }
                add(key, value)?;
            }
        }
    }
    Ok((flat, old))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_one_key_and_one_place() {
        for key in kinds::keys() {
            assert_eq!(flat_key(&dotted(key)), key);
        }
        for (key, in_file) in [
            ("reg", "reg.name"),
            ("reg-k", "reg.k"),
            ("method-eps", "method.eps"),
            ("momentum", "optimizer.momentum"),
            ("label-smoothing", "loss.label-smoothing"),
            ("loss-floor", "loss.floor"),
            ("lr", "lr"),
            ("preset", "preset"),
        ] {
            assert_eq!(dotted(key), in_file);
        }
        assert_eq!(flat_key("reg.inner_steps"), "reg-inner-steps");
    }

    #[test]
    fn old_files_and_new_ones_say_the_same() {
        let table = |text: &str| toml::from_str::<Table>(text).unwrap();
        let old = table("reg = 'rp'\nreg-k = 3\nlr = 0.1\nmomentum = 0.5");
        let new = table("lr = 0.1\n[reg]\nname = 'rp'\nk = 3\n[optimizer]\nmomentum = 0.5");
        assert_eq!(nested(old.clone()), new);
        assert_eq!(flat(new, |_| false).unwrap(), (old.clone(), vec![]));
        let keys = ["momentum", "reg", "reg-k"].map(String::from).to_vec();
        assert_eq!(flat(old.clone(), |_| false).unwrap(), (old, keys));
        let twice = table("reg-k = 3\n[reg]\nk = 4");
        assert_eq!(flat(twice, |_| false), Err("reg-k".into()));
    }
}
