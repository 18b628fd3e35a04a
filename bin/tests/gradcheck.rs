//! `gradcheck` of the settings of a run.

mod common;
use common::{comhe_in, refuses, succeeds};

use serde_json::Value;

fn values(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names<'a>(rows: &'a [Value], part: &str) -> Vec<&'a str> {
    rows.iter().filter(|row| row["part"] == part).map(|row| row["name"].as_str().unwrap()).collect()
}

#[test]
fn the_loss_of_a_run_is_checked_by_terms_and_tensors() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    std::fs::write(
        here.join("run.toml"),
        "dataset = 'digits'\nmodel = 'lenet'\nbatch-size = 64\n[reg]\nname = 'rp'\n[input-penalty]\nname = 'gradient'\n",
    )
    .unwrap();
    let said = succeeds(here, "gradcheck --config run.toml --seed 3 --json").out;
    let rows = values(&said);
    assert_eq!(names(&rows, "term"), ["cross-entropy", "gradient", "regulariser"]);
    assert_eq!(names(&rows, "tensor").len(), 8, "{said}");
    for row in &rows {
        assert_eq!(row["pass"], true, "{row}");
        assert!(row["order_1"].as_f64().unwrap() < 1e-5 && row["order_2"].as_f64().unwrap() < 1e-4, "{row}");
    }
    // Deterministic, and by the seed.
    assert_eq!(succeeds(here, "gradcheck --config run.toml --seed 3 --json --threads 1").out, said);
    assert_ne!(succeeds(here, "gradcheck --config run.toml --seed 4 --json").out, said);
    let text = succeeds(here, "gradcheck --config run.toml").out;
    assert!(text.contains("lenet on 8 examples of digits in f64, seed 0"), "{text}");
    assert!(text.contains("largest error of a tensor: "), "{text}");
}

#[test]
fn what_is_no_derivative_is_fixed_or_left_out_and_said() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let tiny = "gradcheck --dataset digits --model mlp --batch-size 6";
    // With batch norm and a great many ReLUs.
    let text = succeeds(here, "gradcheck --model resnet20").out;
    assert!(text.contains("layer3.2.bn2.bias") && !text.contains("NO"), "{text}");
    succeeds(here, "train --dataset digits --model mlp --steps 2 --out run");
    for (flags, note) in [
        ("--teacher run", "the predictions of teachers are constants"),
        ("--method sam", "the gradient of sam is that of no function"),
        ("--loss isda", "the estimates of isda are constants"),
        ("--attack pgd-linf --loss-floor 1e-4", "the attacked inputs are constants"),
        ("--input-penalty adversarial", "adversarial is left out"),
        ("--spectral penalty", "spectral is left out"),
        ("--reg adv --reg-mode alternating --lr 0.1", "what adv learns is constant"),
        ("--reg mhp --label-smoothing 0.1", "what mhp learns is constant"),
        ("--reg ap --reg-mode unrolled", "but for unrolled steps"),
        ("--spectral exact --reg mhe --reg-s 0", ""),
    ] {
        let text = succeeds(here, &format!("{tiny} {flags}")).out;
        assert!(text.contains(note), "{flags}: {text}");
        assert_eq!(text.contains("Note: "), !note.is_empty(), "{flags}: {text}");
    }
}

#[test]
fn flags_without_effect_are_refused() {
    let here = tempfile::tempdir().unwrap();
    for (flags, said) in [
        ("--model mlp --only conv", "--only is for the table of all samples"),
        ("--model mlp --momentum 0.5", "--momentum has no effect"),
        ("--model mlp --dtype f32", "which is in f64"),
        ("--model basenet-small-k1", "no derivatives to check"),
        ("--only adversarial", "holds a part of the value constant"),
        ("--only asam", "with --method NAME"),
        ("--config none.toml", "none.toml: cannot be read"),
    ] {
        let line = refuses(here.path(), &format!("gradcheck {flags}"));
        assert!(line.contains(said), "{flags}: {line}");
    }
    let ran = comhe_in(here.path(), &["gradcheck", "--only", ""]);
    assert!(ran.code == 2 && ran.err.contains("--only is empty"), "{ran:?}");
    let text = succeeds(here.path(), "gradcheck --only maml").out;
    assert!(text.contains("adaptation") && text.contains("0 failed"), "{text}");
}
