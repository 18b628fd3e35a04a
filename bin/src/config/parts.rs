//! Settings that play a part only beside others. A flag that plays none is an error that names the one with which it
//! would: what a user asks for is done, or refused.
//!
//! Flags that name a place or a machine (`--data-dir`, `--threads`) are always welcome, as are those of the energy itself
//! (`--reg-s`, `--reg-angular`, `--reg-eps`, `--reg-scale`): the log has energies whatever a network is trained with.

use super::Config;
use crate::failure::{Failure, one_of};

/// A setting, the one that decides whether it plays a part, and the values of that one with which it does. A value may
/// ask for a second one behind a slash: the kind of groups, or the mode of a learned projection.
type Part = (&'static str, &'static str, &'static [&'static str]);

const ENERGIES: &[&str] = &["mhe", "hs-mhe", "rp", "ap", "adv", "group", "bilateral"];
const ALL: &[&str] = &[
    "mhe",
    "hs-mhe",
    "rp",
    "ap",
    "adv",
    "group",
    "bilateral",
    "so",
    "dso",
    "mc",
    "srip",
    "mma",
    "mhs",
    "mgd",
    "ocnn",
    "decay",
];
const LEARNED: &[&str] = &["ap", "adv"];

const PARTS: [Part; 27] = [
    ("image-size", "dataset", &["images"]),
    ("grey", "dataset", &["images"]),
    ("points", "dataset", &["modelnet10", "clouds"]),
    ("conv", "dtype", &["f32"]),
    ("label-smoothing", "loss", &["cross-entropy"]),
    ("loss-floor", "loss", &["cross-entropy"]),
    ("momentum", "optimizer", &["sgd"]),
    ("nesterov", "optimizer", &["sgd"]),
    ("milestones", "schedule", &["step"]),
    ("reg-weight", "reg", ALL),
    ("reg-head-weight", "reg", ALL),
    ("reg-half-space", "reg", ENERGIES),
    ("reg-k", "reg", &["rp", "ap", "adv", "bilateral"]),
    ("reg-c", "reg", &["rp", "bilateral"]),
    ("reg-redraw", "reg", &["rp", "bilateral", "group/random"]),
    ("reg-distribution", "reg", &["rp", "bilateral"]),
    ("reg-variance", "reg", &["rp", "bilateral"]),
    ("reg-objective", "reg", &["ap"]),
    ("reg-inner-steps", "reg", LEARNED),
    ("reg-inner-lr", "reg", LEARNED),
    ("reg-inner-decay", "reg", LEARNED),
    ("reg-mode", "reg", LEARNED),
    ("reg-unroll", "reg", &["ap/unrolled", "adv/unrolled"]),
    ("reg-groups", "reg", &["group"]),
    ("reg-group-kind", "reg", &["group"]),
    ("reg-gamma", "reg", &["mgd"]),
    ("reg-stride", "reg", &["ocnn"]),
];

/// Whether every flag among `given` plays a part beside the other settings; `regs` are the regularisers in question.
pub fn check(config: &Config, given: &[String], regs: &[String]) -> Result<(), Failure> {
    let settings = super::table(config)?;
    let defaults = super::table_of_defaults();
    let value = |key: &str| settings.get(key).or_else(|| defaults.get(key));
    let text = |key: &str| value(key).and_then(toml::Value::as_str).unwrap_or_default().to_string();
    for (key, decider, values) in PARTS.iter().filter(|(key, ..)| given.iter().any(|g| g == key)) {
        let found = match *decider {
            "reg" => regs.iter().map(|reg| specific(reg, &text)).collect(),
            other => vec![text(other)],
        };
        // "group" asks for any group, "group/random" for the one; what is behind a colon is a place.
        let plays = |found: &String| {
            values.iter().any(|v| found == v || found.split(['/', ':']).next().is_some_and(|name| name == *v))
        };
        if !found.iter().any(plays) {
            let named = if found.len() > 1 { "regs" } else { decider };
            let found = if *decider == "reg" { regs.join(",") } else { found.concat() };
            return Err(Failure::usage(format_args!(
                "--{key} plays no part with --{named} {found}; it does with --{decider} {}",
                one_of(&values.iter().map(|v| told(v)).collect::<Vec<_>>())
            )));
        }
    }
    let drawn = ["blobs", "moons", "teacher"].contains(&config.dataset.as_str());
    if given.iter().any(|key| key == "data-seed")
        && !(drawn || config.train_size.is_some() || config.label_noise > 0.0 || config.hold_out > 0.0)
    {
        return Err(Failure::usage(format_args!(
            "--data-seed plays no part with --dataset {}; it does with --train-size, --label-noise, --hold-out, or --dataset \
             blobs, moons or teacher",
            config.dataset
        )));
    }
    Ok(())
}

/// A regulariser's name with the choice that some flags depend on.
fn specific(reg: &str, text: &dyn Fn(&str) -> String) -> String {
    match reg {
        "group" => format!("group/{}", text("reg-group-kind")),
        "ap" | "adv" => format!("{reg}/{}", text("reg-mode")),
        other => other.to_string(),
    }
}

/// A value as a user would give it.
fn told(value: &str) -> String {
    match value.split_once('/') {
        Some(("group", kind)) => format!("group --reg-group-kind {kind}"),
        Some((reg, mode)) => format!("{reg} --reg-mode {mode}"),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(flags: &[&str]) -> Option<String> {
        let result = crate::config::tests::resolve("", flags);
        result.err().map(|failure| failure.message().unwrap_or_default().to_string())
    }

    #[test]
    fn a_flag_that_plays_no_part_is_refused_with_the_one_that_would_make_it() {
        for (flags, said) in [
            (
                &["--reg-k", "3"][..],
                "--reg-k plays no part with --reg none; it does with --reg rp, ap, adv or bilateral",
            ),
            (
                &["--reg", "mhe", "--reg-c", "3"],
                "--reg-c plays no part with --reg mhe; it does with --reg rp or bilateral",
            ),
            (&["--reg", "group", "--reg-redraw", "3"], "rp, bilateral or group --reg-group-kind random"),
            (
                &["--reg", "ap", "--reg-mode", "alternating", "--reg-unroll", "2"],
                "ap --reg-mode unrolled or adv",
            ),
            (&["--grey"], "--grey plays no part with --dataset fashion14; it does with --dataset images"),
            (
                &["--dtype", "f64", "--conv", "f2"],
                "--conv plays no part with --dtype f64; it does with --dtype f32",
            ),
            (&["--optimizer", "adam", "--momentum", "0.5"], "it does with --optimizer sgd"),
            (&["--schedule", "cosine", "--milestones", "3"], "it does with --schedule step"),
            (&["--data-seed", "1"], "it does with --train-size, --label-noise"),
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
        assert!(line.message().unwrap().contains("with --regs none,group; it does"), "{line:?}");
    }

    #[test]
    fn every_regulariser_has_its_weights() {
        let known = comhe::NAMES.iter().chain(&comhe::peers::NAMES).map(|(name, _)| *name);
        assert_eq!(known.filter(|name| *name != "none").collect::<Vec<_>>(), ALL);
    }
}
