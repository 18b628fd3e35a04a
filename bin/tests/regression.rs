//! Real-valued targets from end to end.

mod common;

use std::fs;
use std::path::Path;

use common::{column, formula, npy_bytes, refuses, succeeds};
use serde_json::Value;

const TRAIN: usize = 192;
const TEST: usize = 64;
const INPUTS: usize = 4;

fn f64s(shape: &[usize], values: &[f64]) -> Vec<u8> {
    npy_bytes("<f8", shape, values.iter().flat_map(|v| v.to_le_bytes()))
}

/// y = W x + b with two outputs, without noise.
fn linear(x: &[f64]) -> Vec<f64> {
    const W: [[f64; INPUTS]; 2] = [[1.0, -2.0, 0.5, 1.5], [-0.5, 1.0, 2.0, -1.0]];
    let row = |x: &[f64]| [0, 1].map(|k| W[k].iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + 0.3);
    x.chunks(INPUTS).flat_map(row).collect()
}

/// A file of inputs in [-1, 1) with these targets.
fn write(path: &Path, y: impl Fn(&[f64]) -> Vec<u8>) {
    let entries: Vec<(String, Vec<u8>)> = [("train", TRAIN), ("test", TEST)]
        .into_iter()
        .flat_map(|(part, n)| {
            let x = formula(part, n * INPUTS);
            let y = y(&x);
            [(format!("x_{part}.npy"), f64s(&[n, INPUTS, 1, 1], &x)), (format!("y_{part}.npy"), y)]
        })
        .collect();
    let entries: Vec<(&str, Vec<u8>)> = entries.iter().map(|(n, b)| (n.as_str(), b.clone())).collect();
    common::zip(path, &entries);
}

/// `linear.npz`, and the mean over outputs of the variance of the test targets.
fn data(root: &Path) -> f64 {
    write(&root.join("linear.npz"), |x| f64s(&[x.len() / INPUTS, 2], &linear(x)));
    let y = linear(&formula("test", TEST * INPUTS));
    let variance = |k: usize| {
        let column = || y.iter().skip(k).step_by(2);
        let mean = column().sum::<f64>() / TEST as f64;
        column().map(|v| (v - mean).powi(2)).sum::<f64>() / TEST as f64
    };
    (variance(0) + variance(1)) / 2.0
}

const BASE: &str = "train --dataset file:linear.npz --model mlp --batch-size 32 --dtype f64 --lr 0.02 --eval-every 10 \
                    --checkpoint-every 10 --weight-decay 0";

#[test]
fn a_network_learns_a_linear_function_resumes_and_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let variance = data(root);
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let bytes = |path: &str| fs::read(root.join(path)).unwrap();
    succeeds(root, &format!("{BASE} --loss mse --steps 30 --out a"));
    let log = read("a/metrics.jsonl");
    for key in ["acc", "test_acc", "null", "NaN"] {
        assert!(!log.contains(&format!("\"{key}\"")) && !log.contains(":null,\"test"), "{key}: {log}");
    }
    let (loss, mae, r2) = (column(&log, "test_loss"), column(&log, "test_mae"), column(&log, "test_r2"));
    assert_eq!((loss.len(), mae.len(), r2.len(), column(&log, "loss").len()), (4, 4, 4, 30));
    assert!(loss[3] < 0.1 * variance, "{loss:?} of {variance}");
    for (loss, r2) in loss.iter().zip(&r2) {
        assert!((r2 - (1.0 - loss / variance)).abs() < 1e-9, "{r2}: {loss} of {variance}");
    }
    // The absolute error is at most the root of the squared one.
    assert!(mae.iter().zip(&loss).all(|(mae, loss)| *mae > 0.0 && mae * mae <= *loss));
    assert!(read("a/metrics.csv").starts_with("step,epoch,loss,fit,reg,lr,val_loss,test_loss,"));
    assert!(root.join("a/loss.svg").is_file() && !root.join("a/accuracy.svg").exists());
    let manifest: Value = serde_json::from_str(&read("a/manifest.json")).unwrap();
    let least = loss[1..].iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(manifest["best"]["test_loss"].as_f64(), Some(least));
    assert_eq!(manifest["data"]["outputs"], 2);

    // Without --loss the targets choose it; a run that was resumed has the same bytes.
    let ran = succeeds(root, &format!("{BASE} --steps 20 --out b"));
    assert!(ran.err.contains("the targets are real values; the loss is mse"), "{}", ran.err);
    assert!(ran.err.contains("test loss ") && !ran.err.contains("acc"), "{}", ran.err);
    succeeds(root, "train --resume b --steps 30");
    assert_eq!(bytes("a/final.safetensors"), bytes("b/final.safetensors"));
    assert_eq!(bytes("a/best.safetensors"), bytes("b/best.safetensors"));
    assert!(read("b/config.toml").lines().all(|line| !line.starts_with("loss =")));

    let ran = succeeds(root, "eval a --json");
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let number = |key: &str| found[key].as_f64().unwrap();
    let last = [loss[3], mae[3], r2[3]];
    let near =
        ["loss", "mae", "r2"].iter().zip(last).all(|(key, logged)| (number(key) - logged).abs() < 1e-12);
    assert!(near && found["accuracy"].is_null() && found["confusion"].is_null(), "{found}");
    let text = succeeds(root, "eval a").out;
    assert!(
        text.starts_with("64 test examples: mean squared error") && !text.contains("Predicted"),
        "{text}"
    );
    succeeds(root, "replay a");
}

#[test]
fn one_output_in_single_precision_with_early_stopping_on_held_out_examples() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(&root.join("one.npz"), |x| {
        let y: Vec<f32> = linear(x).chunks(2).map(|y| y[0] as f32).collect();
        npy_bytes("<f4", &[y.len()], y.iter().flat_map(|v| v.to_le_bytes()))
    });
    let flags =
        "--hold-out 0.25 --train-size 100 --plateau 0.5 --early-stopping 3 --reg mhe --reg-weight 0.01";
    succeeds(
        root,
        &format!(
            "train --dataset file:one.npz --model mlp --batch-size 32 --lr 0.02 --epochs 8 {flags} --out a"
        ),
    );
    let log = fs::read_to_string(root.join("a/metrics.jsonl")).unwrap();
    let (loss, r2) = (column(&log, "val_loss"), column(&log, "val_r2"));
    assert!(loss[loss.len() - 1] < 0.5 * loss[0] && r2[r2.len() - 1] > 0.5, "{log}");
    assert!(column(&log, "val_mae").len() == loss.len() && !log.contains("_acc\""));
    succeeds(root, "eval a");
}

#[test]
fn soft_labels_are_trained_on_by_cross_entropy() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let class = |x: &[f64]| linear(x).chunks(2).map(|y| usize::from(y[0] > y[1])).collect::<Vec<_>>();
    write(&root.join("hard.npz"), |x| {
        let labels = class(x);
        npy_bytes("<i8", &[labels.len()], labels.iter().flat_map(|l| (*l as i64).to_le_bytes()))
    });
    write(&root.join("soft.npz"), |x| {
        let rows: Vec<f64> = class(x).into_iter().flat_map(|l| [1.0 - l as f64, l as f64]).collect();
        f64s(&[rows.len() / 2, 2], &rows)
    });
    let base = "train --model mlp --batch-size 32 --dtype f64 --steps 12 --eval-every 6";
    succeeds(root, &format!("{base} --dataset file:hard.npz --out hard"));
    succeeds(root, &format!("{base} --dataset file:soft.npz --loss cross-entropy --out soft"));
    let log = |run: &str| fs::read_to_string(root.join(run).join("metrics.jsonl")).unwrap();
    for key in ["loss", "acc", "test_loss", "test_acc"] {
        let (hard, soft) = (column(&log("hard"), key), column(&log("soft"), key));
        let near = hard.iter().zip(&soft).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(hard.len() == soft.len() && hard.len() > 2 && near, "{key}: {hard:?} {soft:?}");
    }
    assert!(succeeds(root, "eval soft").out.contains("Predicted classes"));
    // The same rows without the flag are real values.
    succeeds(root, &format!("{base} --dataset file:soft.npz --out real"));
    assert_eq!(column(&log("real"), "test_r2").len(), 3);
}

#[test]
fn other_commands_know_real_targets() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    data(root);
    let out = |arguments: &str| succeeds(root, arguments).out;
    succeeds(root, &format!("{BASE} --steps 10 --out runs/none"));
    succeeds(root, &format!("{BASE} --steps 10 --reg mhe --out runs/mhe"));
    succeeds(root, "report runs --out report");
    let results = fs::read_to_string(root.join("report/results.md")).unwrap();
    assert!(
        results.contains("test loss") && results.contains("test R2") && !results.contains("accuracy"),
        "{results}"
    );
    assert!(root.join("report/r2.svg").is_file() && !root.join("report/accuracy-test.svg").exists());
    assert!(fs::read_to_string(root.join("report/report.md")).unwrap().contains("no confusion matrix"));

    out("landscape runs/none --side 3 --images 50");
    let csv = fs::read_to_string(root.join("runs/none/landscape-1d.csv")).unwrap();
    assert!(csv.starts_with("a,loss\n") && csv.lines().count() == 4, "{csv}");
    let settings = "--dataset file:linear.npz --model mlp --batch-size 32";
    assert!(out(&format!("inspect {settings}")).contains("2 outputs"));
    out(&format!("inspect {settings} --graph step.txt"));
    out(&format!("lrfind {settings} --steps 30 --out lr"));
    assert!(out(&format!("train {settings} --overfit 1 --lr 0.02 --steps 3000")).contains("overfitted"));
    out(&format!("train {settings} --dry"));
    let about = out("data info file:linear.npz");
    assert!(
        about.contains("192 examples with 2 real targets each") && about.contains("output 1: mean"),
        "{about}"
    );

    // The regulariser can only raise the loss of so short a run on noiseless data: the difference says by how much.
    let ran = succeeds(
        root,
        &format!(
            "compare {settings} --regs none,decay --reg-weight 1 --seeds 2 --epochs 3 --lr 0.02 --out cmp --json"
        ),
    );
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let rows = found["rows"].as_array().unwrap();
    let mean = |i: usize| rows[i]["test_loss"]["mean"].as_f64().unwrap();
    let difference = rows[1]["difference"]["mean"].as_f64().unwrap();
    assert!((difference - (mean(1) - mean(0))).abs() < 1e-9 && rows[0]["test_acc"].is_null(), "{rows:?}");
    assert_eq!(found["plan"]["settings"]["label-noise"], 0.0);
    let table = fs::read_to_string(root.join("cmp/compare.md")).unwrap();
    assert!(table.contains("loss (lower is better)") && table.contains("loss difference to none"), "{table}");
    assert!(root.join("cmp/loss.svg").is_file() && !root.join("cmp/accuracy.svg").exists());

    let x = f64s(&[6, INPUTS, 1, 1], &formula("train", 24));
    let y = f64s(&[6, 2], &linear(&formula("train", 24)));
    common::zip(&root.join("batch.npz"), &[("x.npy", x), ("y.npy", y)]);
    let ran = out("grad --model mlp --batch batch.npz --out g.npz --json");
    let found: Value = serde_json::from_str(&ran).unwrap();
    assert!(found["loss"].as_f64().unwrap() > 0.0 && found["accuracy"].is_null(), "{found}");
}

#[test]
fn a_sweep_prefers_the_smaller_loss() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    data(root);
    let file = "seeds = 1\n[base]\ndataset = \"file:linear.npz\"\nmodel = \"mlp\"\nbatch-size = 32\nsteps = 10\n\
                [grid]\nlr = [0.00001, 0.02]\n";
    fs::write(root.join("sweep.toml"), file).unwrap();
    let ran = succeeds(root, "sweep sweep.toml --out s --json");
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["measure"], "loss");
    let test = found["test"].as_array().unwrap();
    assert!(test.len() == 1 && test[0]["label"].as_str().unwrap().contains("0.02"), "{found}");
}

#[test]
fn points_that_do_not_suit_the_data_are_refused_before_the_first_run() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    data(root);
    // Rows that are both real targets and distributions over two classes.
    write(&root.join("soft.npz"), |x| {
        let y: Vec<f64> = x.chunks(INPUTS).flat_map(|x| [0.5 + 0.4 * x[0], 0.5 - 0.4 * x[0]]).collect();
        f64s(&[x.len() / INPUTS, 2], &y)
    });
    let real = "dataset = \"file:linear.npz\"\n";
    for (base, grid, said) in [
        (
            real,
            "label-smoothing = [0.0, 0.1]",
            "label-smoothing=0.1: label smoothing is 0.1; it has no effect on real targets",
        ),
        (
            real,
            "loss-floor = [0.0, 1e-4]",
            "loss-floor=0.0001: the floor of the loss is 0.0001; it has no effect",
        ),
        (real, "loss.name = [\"mse\", \"cross-entropy\"]", "row 0"),
        (
            "dataset = \"teacher-regression\"\n",
            "loss.name = [\"mse\", \"cross-entropy\"]",
            "loss=cross-entropy: --loss cross-entropy needs classes",
        ),
        (real, "augment = [\"none\", \"flip-spin\"]", "spin"),
        (
            "dataset = \"file:soft.npz\"\n",
            "loss.name = [\"mse\", \"cross-entropy\"]",
            "the points loss=cross-entropy and loss=mse cannot be compared",
        ),
        (
            "",
            "dataset = [\"teacher\", \"teacher-regression\"]",
            "the points dataset=teacher and dataset=teacher-regression cannot be compared: the targets of the first are \
             classes, with an accuracy, those of the second real values, with a loss; write a sweep for each",
        ),
    ] {
        let file = format!("seeds = 1\n[base]\n{base}model = \"mlp\"\nsteps = 2\n[grid]\n{grid}\n");
        fs::write(root.join("sweep.toml"), file).unwrap();
        for flags in ["", "--emit gnu-parallel"] {
            if flags.is_empty() || !grid.starts_with("augment") {
                let line = refuses(root, &format!("sweep sweep.toml --out s {flags}"));
                assert!(line.contains(said), "{grid} {flags}: {line}");
                assert!(!root.join("s").exists(), "{grid}");
            }
        }
    }
    // Data that are on another machine only are no error for emitted runs.
    let file = "[base]\ndataset = \"file:none.npz\"\nmodel = \"mlp\"\n[grid]\nlr = [0.1, 0.2]\n";
    fs::write(root.join("sweep.toml"), file).unwrap();
    assert!(refuses(root, "sweep sweep.toml --out s").contains("none.npz: does not exist"));
    succeeds(root, "sweep sweep.toml --out s --emit gnu-parallel");
}

#[test]
fn large_losses_are_short_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    data(root);
    let file = "seeds = 2\n[base]\ndataset = \"file:linear.npz\"\nmodel = \"mlp\"\nbatch-size = 192\nsteps = 1\n\
                [grid]\nlr = [0.01, 1e6]\n";
    fs::write(root.join("sweep.toml"), file).unwrap();
    let ran = succeeds(root, "sweep sweep.toml --out s");
    let row = ran.out.lines().find(|line| line.starts_with("lr=1000000")).unwrap();
    assert!(row.contains("e3") && row.split_whitespace().all(|cell| cell.len() < 14), "{row}");
    assert!(ran.err.lines().all(|line| line.len() < 100), "{}", ran.err);
}

#[test]
fn the_built_in_regression_set_trains() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    succeeds(
        root,
        "train --dataset teacher-regression --model mlp --steps 60 --batch-size 64 --eval-every 60 --out a",
    );
    let log = fs::read_to_string(root.join("a/metrics.jsonl")).unwrap();
    assert!(column(&log, "test_r2")[1] > 0.5, "{log}");
    assert!(succeeds(root, "data list").out.contains("teacher-regression"));
}

#[test]
fn a_run_whose_last_evaluation_is_not_finite_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    data(root);
    // The weights after the step are finite in f32, their products are not.
    let arguments =
        "train --dataset file:linear.npz --model mlp --batch-size 192 --steps 1 --lr 1e30 --out runs/none";
    let ran = common::comhe_in(root, &arguments.split_whitespace().collect::<Vec<_>>());
    assert!(
        ran.code == 1 && ran.err.contains("the run diverged: try a smaller --lr (it was 1e30"),
        "{ran:?}"
    );
    let manifest = fs::read_to_string(root.join("runs/none/manifest.json")).unwrap();
    assert!(manifest.contains("failed: step 1: the test loss is"), "{manifest}");
}

#[test]
fn mistakes_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    data(root);
    write(&root.join("nan.npz"), |x| {
        let mut y = linear(x);
        y[7] = f64::NAN;
        f64s(&[x.len() / INPUTS, 2], &y)
    });
    write(&root.join("short.npz"), |x| f64s(&[x.len() / INPUTS - 1], &linear(x)[..x.len() / INPUTS - 1]));
    write(&root.join("one.npz"), |x| f64s(&[x.len() / INPUTS], &linear(x)[..x.len() / INPUTS]));
    for (arguments, part) in [
        (
            "train --dataset file:nan.npz",
            "[y_train]: the target in row 3, column 1 is NaN; all must be finite",
        ),
        ("train --dataset file:short.npz", "[y_train]: has shape [191]; 192 targets are needed"),
        ("train --dataset file:linear.npz --loss cross-entropy", "[y_train]: row 0"),
        ("train --dataset file:one.npz --loss cross-entropy", "cross-entropy needs classes (N integers)"),
        (
            "train --dataset teacher-regression --loss cross-entropy",
            "--loss cross-entropy needs classes; the targets of",
        ),
        ("train --dataset file:linear.npz --label-noise 0.1", "label noise 0.1 needs classes"),
        (
            "train --dataset file:linear.npz --label-smoothing 0.1",
            "label smoothing is 0.1; it has no effect on real targets",
        ),
        (
            "train --dataset file:linear.npz --loss-floor 0.1",
            "the floor of the loss is 0.1; it has no effect",
        ),
    ] {
        let line = refuses(root, &format!("{arguments} --model mlp --out r"));
        assert!(line.contains(part), "{arguments}: {line}");
        assert!(!root.join("r").exists(), "{arguments}");
    }
}
