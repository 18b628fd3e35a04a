//! Settings that have an effect only beside others. A flag without effect is an error that names the setting with which
//! it would have one.
//!
//! Flags that name a place or a machine (`--data-dir`, `--threads`) are always welcome, as are those of the energy itself
//! (`--reg-s`, `--reg-angular`, `--reg-eps`, `--reg-scale`): the log has energies with any regulariser.

use datasets::catalogue::{self, CATALOGUE};
use registry::Setting;

use super::kinds::{KINDS, Kind};
use super::{Config, Settings, settings};
use crate::failure::{Failure, one_of};

/// Checks that every flag among `given` has an effect beside the other settings; `regs` are the regularisers in question.
pub fn check(config: &Config, given: &[String], regs: &[String]) -> Result<(), Failure> {
    check_names(config, given, regs)?;
    let normalised = ["mhs", "mgd", "mhp", "mhc"];
    let of_energy = config.reg_s == 0.0 || config.reg_angular;
    let scaled = of_energy || regs.iter().any(|reg| normalised.contains(&reg.as_str()));
    if given.iter().any(|key| key == "reg-scale") && !scaled {
        return Err(Failure::usage(format_args!(
            "--reg-scale has no effect with --reg {}; use it with --reg-s 0, --reg-angular, or --reg {}",
            regs.join(","),
            one_of(&normalised)
        )));
    }
    let drawn = catalogue::find(&config.dataset).is_ok_and(|known| known.drawn());
    if given.iter().any(|key| key == "data-seed")
        && !(drawn || config.train_size.is_some() || config.label_noise > 0.0 || config.hold_out > 0.0)
    {
        let drawn: Vec<&str> =
            CATALOGUE.iter().filter(|known| known.drawn()).map(|known| known.name).collect();
        return Err(Failure::usage(format_args!(
            "--data-seed has no effect with --dataset {}; use it with --train-size, --label-noise, --hold-out, or --dataset \
             {}",
            config.dataset,
            one_of(&drawn)
        )));
    }
    Ok(())
}

/// Checks that every flag among `given` that belongs to some names alone is beside one of them.
pub fn check_names<S: Settings>(settings: &S, given: &[String], regs: &[String]) -> Result<(), Failure> {
    let settings = settings::table(settings)?;
    let defaults = settings::table_of_defaults::<S>();
    let keys = settings::keys::<S>();
    let value = |key: &str| settings.get(key).or_else(|| defaults.get(key));
    // The loss has no default: real targets have another than classes.
    let other = |key: &str| if key == "loss" { nn::LOSSES[0].name } else { "" };
    let text = |key: &str| value(key).and_then(toml::Value::as_str).unwrap_or(other(key)).to_string();
    let own = || KINDS.iter().filter(|kind| keys.iter().any(|key| key == kind.key));
    for (key, kind) in given.iter().flat_map(|key| own().map(move |kind| (key, kind))) {
        let mut readers = kind.readers(key);
        let found = if kind.key == "reg" { regs.to_vec() } else { vec![text(kind.key)] };
        let holds = |setting: &Setting| setting.when.is_none_or(|(key, v)| text(&kind.flat(key)) == v);
        let plays = |(name, setting): &(&str, Setting)| {
            holds(setting) && found.iter().any(|found| before_colon(found) == before_colon(name))
        };
        if !readers.is_empty() && !readers.iter().any(plays) {
            readers.sort_by_key(|(_, setting)| setting.when.is_some());
            let named = if found.len() > 1 { "regs" } else { kind.key };
            return Err(Failure::usage(format_args!(
                "--{key} has no effect with --{named} {}; use it with --{} {}",
                found.join(","),
                kind.key,
                one_of(&readers.iter().map(|reader| flags(kind, reader)).collect::<Vec<_>>())
            )));
        }
    }
    Ok(())
}

/// What is behind a colon is a place.
fn before_colon(name: &str) -> &str {
    name.split(':').next().unwrap_or_default()
}

/// A row with its condition, as a user would give them.
fn flags(kind: &Kind, (name, setting): &(&str, Setting)) -> String {
    let name = before_colon(name);
    match setting.when {
        Some((key, value)) => format!("{name} --{} {value}", kind.flat(key)),
        None => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::kinds;

    fn refused(flags: &[&str]) -> Option<String> {
        let result = crate::config::tests::resolve("", flags);
        result.err().map(|failure| failure.message().unwrap_or_default().to_string())
    }

    #[test]
    fn a_flag_that_plays_no_part_is_refused_with_the_one_that_would_make_it() {
        for (flags, said) in [
            (
                &["--reg-k", "3"][..],
                "--reg-k has no effect with --reg none; use it with --reg rp, ap, adv or bilateral",
            ),
            (
                &["--reg", "mhe", "--reg-c", "3"],
                "--reg-c has no effect with --reg mhe; use it with --reg rp or bilateral",
            ),
            (&["--reg", "group", "--reg-redraw", "3"], "rp, bilateral or group --reg-group-kind random"),
            (
                &["--reg", "ap", "--reg-mode", "alternating", "--reg-unroll", "2"],
                "ap --reg-mode unrolled or adv",
            ),
            (&["--grey"], "--grey has no effect with --dataset fashion14; use it with --dataset images"),
            (
                &["--dtype", "f64", "--conv", "f2"],
                "--conv has no effect with --dtype f64; use it with --dtype f32",
            ),
            (&["--method-eps", "0.1"], "with --method plain; use it with --method sam"),
            (&["--optimizer", "adam", "--momentum", "0.5"], "use it with --optimizer sgd"),
            (&["--schedule", "cosine", "--milestones", "3"], "use it with --schedule step"),
            (&["--data-seed", "1"], "use it with --train-size, --label-noise"),
        ] {
            let line = refused(flags).unwrap_or_default();
            assert!(line.contains(said), "{flags:?}: {line}");
        }
        for flags in [
            &["--reg", "rp", "--reg-k", "3", "--reg-redraw", "2"][..],
            &["--reg", "group", "--reg-group-kind", "random", "--reg-redraw", "2", "--reg-groups", "2"],
            &["--preset", "paper-ap", "--reg-unroll", "2", "--reg-inner-lr", "0.1"],
            &["--dataset", "images:photos", "--grey"],
            &["--reg-s", "0", "--reg-eps", "0", "--data-dir", "x", "--threads", "1"],
            &["--label-noise", "0.1", "--data-seed", "4"],
        ] {
            assert_eq!(refused(flags), None, "{flags:?}");
        }
    }

    #[test]
    fn one_of_several_regularisers_is_enough() {
        let given = ["reg-k".to_string()];
        let check = |regs: &[&str]| {
            super::check(&Config::default(), &given, &regs.iter().map(|r| r.to_string()).collect::<Vec<_>>())
        };
        assert!(check(&["none", "rp"]).is_ok());
        let line = check(&["none", "group"]).unwrap_err();
        assert!(line.message().unwrap().contains("with --regs none,group; use it"), "{line:?}");
    }

    #[test]
    fn rows_read_settings_that_exist() {
        for kind in KINDS.iter() {
            for setting in kind.rows.iter().flat_map(|row| row.settings) {
                let keys = [Some(setting.key), setting.when.map(|(key, _)| key)];
                for key in keys.into_iter().flatten() {
                    assert!(kinds::is_setting(&kind.flat(key)), "{}: {key}", kind.key);
                }
            }
        }
    }
}
