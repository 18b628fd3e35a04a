//! Precedence, round trips, mistakes.

use super::*;
use clap::{ArgMatches, FromArgMatches};
use comhe::PRESETS;
use std::path::Path;

fn matches(flags: &[&str]) -> ArgMatches {
    let command = Config::augment_args(clap::Command::new("t").no_binary_name(true));
    command.try_get_matches_from(flags).unwrap()
}

fn parse(text: &str) -> Result<Config, Failure> {
    Ok(file::parse(text, Path::new("a.toml"))?.0)
}

pub(super) fn resolve(file: &str, flags: &[&str]) -> Result<Config, Failure> {
    let matches = matches(flags);
    let given = Config::from_arg_matches(&matches).unwrap();
    parse(file)?.with_flags(&given, &matches)
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_defaults() {
    let config = resolve(
        "lr = 0.1\nbatch-size = 7\nepochs = 3\ngrey = true",
        &["--batch-size", "128", "--steps", "5"],
    )
    .unwrap();
    assert_eq!((config.lr, config.batch_size, config.grey), (Some(0.1), 128, true));
    assert_eq!((config.epochs, config.steps, config.momentum), (None, Some(5), 0.9));
}

#[test]
fn what_is_written_reads_the_same() {
    let config =
        resolve("", &["--lr", "0.3", "--milestones", "5,9", "--reg", "rp", "--dtype", "f64"]).unwrap();
    assert_eq!(parse(&config.to_toml().unwrap()).unwrap(), config);
}

#[test]
fn a_preset_is_below_flags_and_what_its_file_says() {
    let config = resolve("reg-k = 7\nwidth = 3", &["--preset", "paper-ap", "--reg-s", "1"]).unwrap();
    assert_eq!((config.reg.as_str(), config.reg_k, config.reg_s, config.width), ("ap", Some(30), 1.0, 3));
    assert_eq!((config.reg_eps, config.reg_objective.as_str()), (0.0, "angle"));
    // What is written has the preset's name and every value, and means the same.
    let again = parse(&config.to_toml().unwrap()).unwrap();
    assert_eq!(again, config);
    let file = resolve("preset = \"hs-mhe-angular\"\nreg-s = 0.0", &[]).unwrap();
    assert_eq!((file.reg.as_str(), file.reg_angular, file.reg_s), ("hs-mhe", true, 0.0));
    assert_eq!(file.reg_scale, Constants::Code);
    let variance = |name| resolve("", &["--preset", name]).unwrap().reg_variance;
    assert_eq!((variance("paper-rp"), variance("rp-code")), ("reciprocal".into(), "unit".into()));
    let wrong = resolve("", &["--preset", "paper-rpp"]).unwrap_err();
    assert!(wrong.message().unwrap().contains("there is no preset \"paper-rpp\"; did you mean"), "{wrong:?}");
    for name in PRESETS.map(|preset| preset.name) {
        assert!(resolve("", &["--preset", name]).unwrap().check().is_ok());
    }
}

#[test]
fn broken_files_say_where_and_what_was_meant() {
    let line = |text: &str| resolve(text, &[]).unwrap_err().message().unwrap().to_string();
    assert_eq!(
        line("lr = 0.1\nbatchsize = 3"),
        "a.toml: line 2: unknown key \"batchsize\"; did you mean batch-size?"
    );
    assert!(
        line("lr = 0.1\nwidth = \"two\"")
            .ends_with("a.toml: line 2: width = \"two\": a natural number is needed")
    );
    assert_eq!(
        line("optimizer = \"sdg\""),
        "a.toml: line 1: optimizer = \"sdg\": there is no optimizer \"sdg\"; did you mean sgd? (there are sgd, adam, adamw, radam, muon, lbfgs)"
    );
    assert!(line("lr = ").starts_with("a.toml: line 1: "));
    assert!(line("batch-size = -1").contains("line 1: batch-size = -1: invalid value"));
}

#[test]
fn impossible_values() {
    let line =
        |flags: &[&str]| resolve("", flags).unwrap().check().unwrap_err().message().unwrap().to_string();
    for (flag, reg) in [("reg-k", "rp"), ("reg-c", "rp"), ("reg-redraw", "rp"), ("reg-groups", "group")] {
        assert!(
            line(&["--reg", reg, &format!("--{flag}"), "0"])
                .starts_with(&format!("--{flag} is 0; it must be"))
        );
    }
    for name in [
        "width",
        "low-rank",
        "batch-size",
        "threads",
        "eval-every",
        "energy-every",
        "checkpoint-every",
        "steps",
        "epochs",
    ] {
        assert!(
            line(&[&format!("--{name}"), "0"]).starts_with(&format!("--{name} is 0; it must be at least 1"))
        );
    }
    assert_eq!(line(&["--lr=-0.1"]), "--lr is -0.1; it must be a finite number, not negative");
    assert!(line(&["--lr", "nan"]).starts_with("--lr is NaN"));
    assert!(line(&["--reg", "mhe", "--reg-weight", "inf"]).starts_with("--reg-weight is inf"));
    assert!(line(&["--reg", "ap", "--reg-inner-lr", "fast"]).contains("must be network, or a finite number"));
    assert!(line(&["--momentum", "1"]).contains("1 excluded"));
    assert!(line(&["--label-noise", "1.5"]).contains("0..=1"));
    assert!(line(&["--milestones", "9,5"]).contains("[9, 5]"));
    let file = resolve("schedule = \"cosine\"\nmilestones = [9]", &[]).unwrap();
    assert!(file.check().unwrap_err().message().unwrap().contains("belong to"));
    let large = resolve("", &["--seed", "18446744073709551615"]).unwrap_err();
    assert!(large.message().unwrap().contains("at most 9223372036854775807"));
    assert!(resolve("steps = 3\nepochs = 4", &[]).unwrap().check().is_err());
}
