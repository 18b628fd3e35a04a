//! Losses, optimisers, averages and what ends a run, from the command line.

mod common;
use common::{column, refuses, succeeds};

use std::fs;

const TINY: &str = "train --dataset digits --model mlp --train-size 200 --threads 1 --reg ap --reg-k 8";

#[test]
fn every_optimiser_resumes_to_the_same_bytes() {
    let here = tempfile::tempdir().unwrap();
    let settings = [
        ("nesterov", "--batch-size 40 --nesterov --clip 0.5"),
        ("radam", "--batch-size 40 --optimizer radam --ema 0.9 --lr 0.01"),
        ("muon", "--batch-size 40 --optimizer muon --loss mse"),
        ("sam", "--batch-size 40 --method sam --method-eps 0.1"),
        (
            "lbfgs",
            "--batch-size 200 --optimizer lbfgs --lr 0.5 --loss-floor 1e-4 --plateau 0.5 --plateau-patience 0 --eval-every 2",
        ),
    ];
    for (name, flags) in settings {
        succeeds(here.path(), &format!("{TINY} {flags} --steps 8 --out {name}"));
        succeeds(here.path(), &format!("{TINY} {flags} --steps 5 --out parts-{name}"));
        succeeds(here.path(), &format!("train --resume parts-{name} --steps 8"));
        let [whole, parts] = [name.to_string(), format!("parts-{name}")]
            .map(|run| fs::read(here.path().join(run).join("final.safetensors")).unwrap());
        assert!(whole == parts, "{name}");
        let log = fs::read_to_string(here.path().join(name).join("metrics.jsonl")).unwrap();
        let losses = column(&log, "fit");
        assert!(losses.len() == 8 && losses[7] < losses[0], "{name}: {losses:?}");
    }
}

#[test]
fn the_log_has_the_penalty_of_the_projection_that_is_trained() {
    let here = tempfile::tempdir().unwrap();
    succeeds(
        here.path(),
        &format!("{TINY} --batch-size 40 --steps 4 --lr 0 --reg-inner-lr 0.5 --energy-every 1 --out run"),
    );
    let log = fs::read_to_string(here.path().join("run/metrics.jsonl")).unwrap();
    let steps: Vec<serde_json::Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    // The weights stand still and the projections learn. What is measured before step i is what step i minimises.
    for i in 0..4 {
        let reg =
            steps.iter().find(|l| l["step"] == i && l["reg"].is_f64()).unwrap()["reg"].as_f64().unwrap();
        let measured = steps.iter().find(|l| l["step"] == i && l["layers"].is_array()).unwrap();
        let sum: f64 = measured["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["weight"].as_f64().unwrap() * l["penalty"].as_f64().unwrap())
            .sum();
        assert!((sum - reg).abs() < 1e-4 * reg, "step {i}: {sum} and {reg}");
    }
}

#[test]
fn a_run_ends_when_its_loss_does_not_fall() {
    let here = tempfile::tempdir().unwrap();
    let ran = succeeds(
        here.path(),
        &format!("{TINY} --batch-size 40 --lr 0 --epochs 9 --early-stopping 2 --out run"),
    );
    assert!(ran.err.contains("step 10: the loss has not fallen in 2 evaluations"), "{}", ran.err);
    let manifest = fs::read_to_string(here.path().join("run/manifest.json")).unwrap();
    assert!(manifest.contains("finished by early stopping"), "{manifest}");
    assert!(here.path().join("run/final.safetensors").exists());
    succeeds(here.path(), "replay run");
}

#[test]
fn settings_without_effect_are_refused() {
    let here = tempfile::tempdir().unwrap();
    for (flags, said) in [
        ("--loss mse --label-smoothing 0.1", "--label-smoothing"),
        ("--loss mse --loss-floor 0.1", "--loss-floor"),
        ("--optimizer adam --nesterov", "--nesterov"),
        ("--plateau-patience 3", "--plateau-patience has no effect without --plateau"),
        ("--clip 0", "--clip is 0"),
        ("--ema 1", "--ema is 1; it must be in 0..1, 1 excluded"),
        ("--early-stopping 0", "--early-stopping is 0; it must be at least 1"),
    ] {
        let line = refuses(here.path(), &format!("{TINY} {flags}"));
        assert!(line.contains(said), "{flags}: {line}");
    }
}
