//! Where settings come from; completions and manual pages.

mod common;
use common::{refuses, succeeds};

use std::fs;

#[test]
fn every_value_has_its_origin_and_the_output_is_a_file() {
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("run.toml"), "preset = \"paper-rp\"\nwidth = 3\n\nreg-k = 17\nlr = 0.3\n")
        .unwrap();
    let flags = "config show --config run.toml --set reg.c=7 --set no-shuffle=false --batch-size 9";
    let out = succeeds(here.path(), flags).out;
    for (key, value, origin) in [
        ("width", "3", "run.toml:2"),
        ("reg.k", "17", "run.toml:4"),
        ("reg.name", "\"rp\"", "preset paper-rp"),
        ("reg.c", "7", "--set"),
        ("no-shuffle", "false", "--set"),
        ("batch-size", "9", "flag"),
        ("optimizer.momentum", "0.9", "default"),
        ("epochs", "10", "default"),
    ] {
        let line = out.lines().find(|l| l.starts_with(&format!("{key} = "))).unwrap_or_default();
        let expected = (format!("{key} = {value}"), format!("# {origin}"));
        assert!(line.starts_with(&expected.0) && line.ends_with(&expected.1), "{key}: {line}");
    }
    fs::write(here.path().join("again.toml"), &out).unwrap();
    let values = |text: &str| {
        text.lines().map(|l| l.split("  #").next().unwrap().trim().to_string()).collect::<Vec<_>>()
    };
    let again = succeeds(here.path(), "config show --config again.toml").out;
    assert_eq!(values(&again), values(&out));
}

#[test]
fn assignments_are_flags_by_another_name() {
    let here = tempfile::tempdir().unwrap();
    let short = "train --dataset moons --train-size 40 --model mlp --steps 2 --out";
    succeeds(here.path(), &format!("{short} a --set lr=0.3 --set milestones=1,2 --set reg=mhe"));
    succeeds(here.path(), &format!("{short} b --lr 0.3 --milestones 1,2 --reg mhe"));
    let shown = |set: &str| succeeds(here.path(), &format!("config show {set}")).out;
    assert!(shown("--set milestones=[1,2]").contains("milestones = [1, 2]"));
    assert!(shown("--set watch=grad,dead").contains("watch = [\"grad\", \"dead\"]"));
    assert!(shown("--set reg=ap --set reg-inner-lr=0.1").contains("reg.inner-lr = \"0.1\""));
    let config = |name: &str| fs::read_to_string(here.path().join(name).join("config.toml")).unwrap();
    assert_eq!(config("a"), config("b"));
    for (arguments, said) in [
        ("--set lrr=1", "did you mean lr?"),
        ("--set lr", "it takes KEY=VALUE"),
        ("--set optimizer.momentun=1", "did you mean optimizer.momentum?"),
        ("--set width=two", "--set width=\"two\": a natural number is needed"),
        ("--set watch=foo", "there is no value \"foo\""),
        ("--set milestones=1,b", "a natural number is needed"),
        ("--set lr=1 --lr 2", "both say lr"),
        ("--set reg.k=3", "--reg-k has no effect with --reg none"),
    ] {
        let line = refuses(here.path(), &format!("train {arguments}"));
        assert!(line.contains(said), "{arguments}: {line}");
    }
}

#[test]
fn what_a_file_cannot_say_has_its_line() {
    let here = tempfile::tempdir().unwrap();
    for (text, arguments, said) in [
        ("width = 2\nlr = -1\n", "", "a.toml: line 2: lr is -1; it must be"),
        ("width = 2\nlr = -1\n", "--lr=-2", "--lr is -2; it must be"),
        ("reg-s = 50.0", "", "a.toml: line 1: reg-s is 50; in f32"),
        ("lr = 0.1\nlr = 0.2", "", "a.toml: line 2: duplicate key lr"),
        ("\n\"widht\" = 2", "", "a.toml: line 2: unknown key \"widht\"; did you mean width?"),
        (
            "dataset = \"\"\"\nwidth = 2\"\"\"\nwidth = \"x\"",
            "",
            "a.toml: line 3: width = \"x\": a natural number is needed",
        ),
        ("dtype = 3", "", "a.toml: line 1: dtype = 3: a text in quotation marks is needed"),
        ("\nmodel = \"foo\"", "", "a.toml: line 2: model is foo"),
        ("\npreset = \"foo\"", "", "a.toml: line 2: there is no preset"),
        ("reg.k = 3\nreg.s = 50.0", "", "a.toml: line 2: reg.s is 50; in f32"),
        ("\n[reg]\nkk = 3", "", "a.toml: line 3: unknown key \"reg.kk\"; did you mean reg.k?"),
        (
            "\n[optimizer]\nname = \"sdg\"",
            "",
            "a.toml: line 3: optimizer.name = \"sdg\": there is no optimizer \"sdg\"; did you mean sgd?",
        ),
        ("[reg]\nk = \"x\"", "", "a.toml: line 2: reg.k = \"x\": a natural number is needed"),
        ("[reg]\nmode = \"foo\"", "", "a.toml: line 2: reg.mode = \"foo\": there is no value \"foo\""),
        ("\n[reg]\ndistribution = \"gausian\"", "", "a.toml: line 3: reg.distribution is gausian: "),
        ("dataset = \"foo\"", "", "a.toml: line 1: dataset is foo: there is no data set"),
        (
            "[optimizer]\nlr = 1.0",
            "",
            "a.toml: line 2: unknown key \"optimizer.lr\"; did you mean lr, a key outside",
        ),
        (
            "[optimizer]\nmomentun = 1.0",
            "",
            "unknown key \"optimizer.momentun\"; did you mean optimizer.momentum?",
        ),
        ("[method]\nrho = 1.0", "", "unknown key \"method.rho\"; did you mean method.eps?"),
        ("[reg]\nnam = \"rp\"", "", "unknown key \"reg.nam\"; did you mean reg.name?"),
        ("[reg]\nreg-k = 3", "", "did you mean reg.k?"),
        ("[loss]\nlabel_smoothing = 0.1", "", "did you mean loss.label-smoothing?"),
        (
            "reg-k = 3\n[reg]\nk = 3",
            "",
            "a.toml: line 3: reg-k and reg.k are the same setting; leave one out",
        ),
        ("lr.x = 3", "", "a.toml: line 1: lr is no table"),
        ("steps = 1\n\nepochs = 1", "", "a.toml: line 1: steps is set beside epochs"),
    ] {
        fs::write(here.path().join("a.toml"), text).unwrap();
        let line = refuses(here.path(), &format!("train --config a.toml --dry {arguments}"));
        assert!(line.contains(said), "{text:?} {arguments}: {line}");
    }
}

#[test]
fn a_file_has_a_table_for_each_part_and_old_keys_are_said_to_be_old() {
    let here = tempfile::tempdir().unwrap();
    let new = "width = 3\n[reg]\nname = \"rp\"\nk = 17\n[optimizer]\nmomentum = 0.5\n[loss]\nlabel-smoothing = 0.1\n\
               [method]\nname = \"sam\"\neps = 0.1\n";
    let old = "width = 3\nreg = \"rp\"\nreg-k = 17\nmomentum = 0.5\nlabel-smoothing = 0.1\nmethod = \"sam\"\n\
               method-eps = 0.1\n";
    let shown = |name: &str, text: &str| {
        fs::write(here.path().join(name), text).unwrap();
        succeeds(here.path(), &format!("config show --json --config {name}"))
    };
    let values = |out: &str| {
        let value = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            (line["key"].to_string(), line["value"].to_string())
        };
        out.lines().map(value).collect::<Vec<_>>()
    };
    let (new, old) = (shown("new.toml", new), shown("old.toml", old));
    assert_eq!(values(&new.out), values(&old.out));
    assert_eq!(new.err, "");
    assert_eq!(
        old.err,
        "old.toml: label-smoothing, method, method-eps, momentum, reg, reg-k are old keys; write loss.label-smoothing, \
         method.name, method.eps, optimizer.momentum, reg.name, reg.k\n"
    );
}

#[test]
fn completions_and_manual_pages_know_the_flags() {
    let here = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let out = succeeds(here.path(), &format!("completions {shell}")).out;
        assert!(out.contains("reg-head-weight") && out.contains("thomson"), "{shell}");
    }
    succeeds(here.path(), "man --out pages");
    for (page, said) in
        [("comhe", "sweep"), ("comhe-train", "reg\\-head\\-weight"), ("comhe-bench-step", "profile")]
    {
        let text = fs::read_to_string(here.path().join(format!("pages/{page}.1"))).unwrap();
        assert!(text.contains(said) && text.contains(".TH"), "{page}");
    }
}
