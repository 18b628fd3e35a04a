//! `compare`, `gradcheck` and `bench` from end to end.

mod common;
use common::{column, refuses, succeeds};

use std::path::Path;

use serde_json::Value;

fn values(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_comparison_is_paired_and_says_what_it_compared() {
    let here = tempfile::tempdir().unwrap();
    let tiny = "compare --dataset digits --model mlp --train-size 200 --batch-size 50 --epochs 2 --reg-k 8 --reg-c 2";
    let ran = succeeds(here.path(), &format!("{tiny} --seeds 3 --out cmp"));
    assert!(ran.out.contains("20 % label noise") && ran.out.contains("3 seeds"), "{}", ran.out);
    assert!(ran.err.contains("run 12/12"));
    assert_eq!(ran.out.lines().next_back(), Some("cmp"), "the folder");
    let last: Vec<&str> =
        ran.out.trim_end().lines().rev().skip(1).filter(|l| !l.is_empty()).take(4).collect();
    for (line, reg) in last.iter().rev().zip(["none", "mhe", "hs-mhe", "rp"]) {
        assert!(line.starts_with(reg), "{line}");
    }
    let text = std::fs::read_to_string(here.path().join("cmp/compare.json")).unwrap();
    let result: Value = serde_json::from_str(&text).unwrap();
    let runs = result["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 12);
    assert_eq!(runs[0]["energy_before"], runs[1]["energy_before"], "the same start");
    assert_ne!(runs[0]["energy_after"], runs[1]["energy_after"]);
    assert_ne!(runs[0]["energy_before"], runs[4]["energy_before"], "another seed, another start");
    let accuracy = |reg: &str| -> Vec<f64> {
        runs.iter().filter(|run| run["reg"] == reg).map(|run| run["test_acc"].as_f64().unwrap()).collect()
    };
    // 8 steps in all; a point at every one, and the start. Runs of a seed begin at one point.
    for run in runs {
        let curve = run["curve"].as_array().unwrap();
        let steps: Vec<u64> = curve.iter().map(|p| p["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(curve[0]["full"], run["energy_before"]["full"]);
        assert_eq!(curve[8]["half_space"], run["energy_after"]["half_space"]);
        assert_eq!(curve[8]["test_acc"], run["test_acc"]);
    }
    for (name, panels) in [("energy.svg", 2), ("accuracy.svg", 1)] {
        let svg = std::fs::read_to_string(here.path().join("cmp").join(name)).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 4 * panels, "a curve a regulariser");
        assert_eq!(svg.matches("<polygon").count(), 4 * panels, "a band each");
        assert!(svg.contains(">hs-mhe<") && svg.contains("mean of 3 seeds"));
    }
    for row in result["rows"].as_array().unwrap() {
        let reg = row["reg"].as_str().unwrap();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / 3.0;
        assert!((row["test_acc"]["mean"].as_f64().unwrap() - mean(&accuracy(reg))).abs() < 1e-12);
        if reg == "none" {
            assert!(row["difference"].is_null());
        } else {
            let difference = mean(&accuracy(reg)) - mean(&accuracy("none"));
            assert!((row["difference"]["mean"].as_f64().unwrap() - difference).abs() < 1e-12);
        }
    }
    assert!(std::fs::read_to_string(here.path().join("cmp/compare.md")).unwrap().contains("| hs-mhe"));
    let page = std::fs::read_to_string(here.path().join("cmp/report.html")).unwrap();
    assert!(page.contains("mlp on digits") && page.contains("<svg") && page.contains("hs-mhe"));
    assert!(
        refuses(here.path(), &format!("{tiny} --seeds 3 --out cmp")).contains("holds a comparison already")
    );
    let ran = succeeds(here.path(), &format!("{tiny} --regs none,rp --seeds 1 --eval-every 3 --json"));
    let json = &values(&ran.out)[0];
    assert_eq!(json["rows"][1]["reg"], "rp");
    assert_eq!(json["runs"][0]["curve"].as_array().unwrap().len(), 4, "steps 0, 3, 6, 8");
    assert!(ran.err.contains("runs/compare-1") && here.path().join("runs/compare-1/energy.svg").exists());
    assert!(refuses(here.path(), "compare --energy-every 3").contains("--eval-every"));
}

#[test]
fn a_comparison_says_all_that_it_trained_with() {
    let here = tempfile::tempdir().unwrap();
    let flags = "--attack pgd-l2 --attack-eps 0.5 --input-penalty gradient --spectral exact --label-smoothing 0.1 \
                 --loss-floor 1e-4 --ema 0.9 --train-size 100 --reg-k 8";
    let ran = succeeds(
        here.path(),
        &format!(
            "compare --dataset digits --model mlp --epochs 2 --seeds 1 --regs none,rp {flags} --out cmp"
        ),
    );
    let saved = std::fs::read_to_string(here.path().join("cmp/compare.md")).unwrap();
    for text in [&ran.out, &saved] {
        assert!(text.contains("2 epochs of batches"), "{text}");
        for said in [
            "attack pgd-l2",
            "attack-eps 0.5",
            "input-penalty gradient",
            "spectral exact",
            "label-smoothing 0.1",
            "loss-floor 0.0001",
            "ema 0.9",
            "train-size 100",
            "reg-k 8",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
    let loss = succeeds(
        here.path(),
        "compare --dataset digits --model mlp --steps 2 --seeds 1 --regs none --loss mse --out mse --threads 1",
    );
    assert!(loss.out.contains("Other settings: loss mse.\n"), "{}", loss.out);
}

/// The runs of a comparison, without what the clock said.
fn runs(folder: &Path, key: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("compare.json")).unwrap();
    let mut result: Value = serde_json::from_str(&text).unwrap();
    let runs = result[key].as_array_mut().unwrap();
    runs.iter_mut().for_each(|run| drop(run.as_object_mut().unwrap().remove("step_ms")));
    runs.clone()
}

#[test]
fn a_comparison_chooses_weights_on_held_out_examples_and_goes_on() {
    let here = tempfile::tempdir().unwrap();
    let cmp = here.path().join("cmp");
    let tiny = "compare --dataset digits --model mlp --train-size 200 --batch-size 50 --epochs 4 --regs none,so --seeds 2";
    let whole = succeeds(here.path(), &format!("{tiny} --tune 0.01,1,0.1 --out cmp"));
    let (tuning, last) = (runs(&cmp, "tuning"), runs(&cmp, "runs"));
    assert_eq!((tuning.len(), last.len()), (6, 4));
    // The factor of the best mean, both weights times it, on other seeds than those of the result.
    let mean = |factor: f64| -> f64 {
        let of = tuning.iter().filter(|run| run["factor"] == factor);
        of.map(|run| run["test_acc"].as_f64().unwrap()).sum()
    };
    let best = [0.01, 1.0, 0.1].into_iter().reduce(|a, b| if mean(b) > mean(a) { b } else { a }).unwrap();
    assert_ne!(mean(1.0), mean(best), "a factor of 1 is too much");
    for run in last.iter().filter(|run| run["reg"] == "so") {
        assert_eq!((&run["factor"], &run["layers"][0]["weight"]), (&best.into(), &best.into()));
    }
    let seeds =
        |runs: &[Value]| -> Vec<u64> { runs.iter().map(|run| run["seed"].as_u64().unwrap()).collect() };
    assert_eq!((seeds(&tuning), seeds(&last)), (vec![2, 2, 2, 3, 3, 3], vec![0, 0, 1, 1]));
    assert!(whole.out.contains("validation %") && whole.out.contains("20 % of the training examples"));

    // Killed in the middle of a line, it resumes with the same numbers.
    let log = std::fs::read_to_string(cmp.join("runs.jsonl")).unwrap();
    let cut: usize = log.lines().take(4).map(|line| line.len() + 1).sum();
    std::fs::write(cmp.join("runs.jsonl"), &log[..cut + 100]).unwrap();
    std::fs::remove_file(cmp.join("compare.json")).unwrap();
    let ran = succeeds(here.path(), "compare --resume cmp --threads 1");
    assert_eq!(ran.err.matches("accuracy").count(), 6, "only what was missing: {}", ran.err);
    assert_eq!((runs(&cmp, "tuning"), runs(&cmp, "runs")), (tuning, last));

    let refused = |flags: &str| refuses(here.path(), flags);
    assert!(refused("compare --resume cmp --lr 1").contains("--lr cannot change"));
    assert!(refused("compare --resume elsewhere").contains("is no comparison"));
    assert!(refused(&format!("{tiny} --out cmp")).contains("--resume"));
    assert!(refused(&format!("{tiny} --tune 1,-1")).contains("the factor -1"));
    assert!(refused(&format!("{tiny} --tune 1 --validation 1")).contains("must be at least 0 and below 1"));
}

#[test]
fn every_peer_can_be_compared_and_trained() {
    let here = tempfile::tempdir().unwrap();
    let peers: Vec<&str> = comhe::peers::names().collect();
    let tiny = "--dataset digits --model lenet --train-size 60 --batch-size 30 --steps 2 --reg-weight 0.001";
    let compare = format!("compare {tiny} --seeds 1 --json --regs none,{}", peers.join(","));
    let result = &values(&succeeds(here.path(), &compare).out)[0];
    let rows = result["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1 + peers.len());
    for (row, name) in rows[1..].iter().zip(&peers) {
        assert_eq!((&row["reg"], &row["reg_head_weight"]), (&Value::from(*name), &Value::from(0.001)));
        let end = |i: usize| result["runs"][i]["test_loss"].as_f64().unwrap();
        let i = rows.iter().position(|r| r["reg"] == *name).unwrap();
        assert!(end(i).is_finite() && end(i) != end(0), "{name} has an effect");
        succeeds(here.path(), &format!("train {tiny} --reg {name} --out {name}"));
        let log = std::fs::read_to_string(here.path().join(name).join("metrics.jsonl")).unwrap();
        for line in values(&log).iter().filter(|line| line["layers"].is_array()) {
            let layers = line["layers"].as_array().unwrap();
            // SphereFace+ is for the classifier, the last layer.
            let first = if *name == "sphereface-plus" { layers.len() - 1 } else { 0 };
            assert!(layers[first..].iter().all(|l| l["regulariser"] == *name));
        }
    }
    assert!(refuses(here.path(), "train --reg mgd --reg-gamma 0").contains("gamma = 0"));
    assert!(refuses(here.path(), "train --reg ocnn --reg-stride 0").contains("stride = 0"));
}

#[test]
fn gradcheck_aggregates_cases() {
    let here = tempfile::tempdir().unwrap();
    let rows = values(&succeeds(here.path(), "gradcheck --only linear --json").out);
    let linear: Vec<&Value> = rows.iter().filter(|row| row["name"] == "linear").collect();
    assert_eq!(linear.len(), 4, "two orders in two dtypes");
    for row in &rows {
        assert_eq!(row["pass"], true);
        assert!(row["max_rel_err"].as_f64().unwrap() < row["tolerance"].as_f64().unwrap());
        assert!(row["cases"].as_u64().unwrap() >= 1 && row["group"].is_string());
    }
    assert_eq!(linear[0]["cases"], 3);
    let text = succeeds(here.path(), "gradcheck --only linear --dtype f64").out;
    assert!(text.starts_with("name ") && text.trim_end().ends_with("0 failed"), "{text}");
}

#[test]
fn gradcheck_lists_every_case_by_its_options() {
    let here = tempfile::tempdir().unwrap();
    let listed = |flags: &str| values(&succeeds(here.path(), &format!("gradcheck --json {flags}")).out);
    let (short, long) = (listed("--only rp --dtype f64"), listed("--only rp --dtype f64 --cases"));
    assert_eq!((short.len(), long.len() as u64), (2, 2 * short[0]["cases"].as_u64().unwrap()));
    assert!(short[0]["case"].is_null());
    let errors = |order: u64, case: &str| -> Vec<f64> {
        let of = long.iter().filter(|r| r["order"] == order && r["case"].as_str().unwrap().contains(case));
        of.map(|row| row["max_rel_err"].as_f64().unwrap()).collect()
    };
    for row in &short {
        let worst = errors(row["order"].as_u64().unwrap(), "").into_iter().fold(0.0, f64::max);
        assert_eq!(row["max_rel_err"], worst, "the short table has the worst case");
    }
    for case in [
        "rademacher, unit variance",
        "s = 0.5, angle, half-space, eps = 0, Sum, Code",
        "one neuron, half-space",
    ] {
        assert_eq!((errors(1, case).len(), errors(2, case).len()), (1, 1), "{case}");
    }
    let text = succeeds(here.path(), "gradcheck --only adv --dtype f64 --cases").out;
    assert!(text.contains("2 unrolled steps, angle, half-space"), "{text}");
}

#[test]
fn bench_gives_what_it_promises() {
    let here = tempfile::tempdir().unwrap();
    let step = "bench step --model lenet --batch-size 4 --repeat 3 --warm-up 1 --threads 1";
    for reg in ["none", "rp"] {
        let json = succeeds(here.path(), &format!("{step} --reg {reg} --json")).out;
        let (ms, rate) = (column(&json, "step_ms")[0], column(&json, "images_per_s")[0]);
        assert!(ms > 0.0 && (rate * ms / 1e3 - 4.0).abs() < 1e-9);
        assert_eq!(column(&json, "threads"), [1.0]);
        assert!(!cfg!(target_os = "linux") || column(&json, "peak_rss_mb")[0] > 1.0);
        assert!(column(&json, "gflops")[0] > 0.0);
    }
    assert!(succeeds(here.path(), step).out.contains("images_per_s"));

    let profiled = succeeds(here.path(), &format!("{step} --profile --json")).out;
    let rows: Value = serde_json::from_str(&profiled).unwrap();
    let rows = rows["profile"].as_array().unwrap();
    let of =
        |op: &str, backward: bool| rows.iter().find(|r| r["op"] == op && r["backward"] == backward).unwrap();
    assert_eq!(
        (of("conv2d", false)["calls"].as_u64(), of("conv2d", true)["calls"].as_u64()),
        (Some(2), Some(2))
    );
    assert!(of("matmul", true)["flops"].as_u64() > of("matmul", false)["flops"].as_u64());

    let error = refuses(here.path(), "bench step --model resnet18 --batch-size 1");
    assert!(
        error.contains("--batch-size is 1; layer4.0.bn1 (BatchNorm, Relu) cannot take a variance"),
        "{error}"
    );

    let peak = succeeds(here.path(), "bench peak --threads 1 --json").out;
    for key in ["gflops_f32", "gflops_f64", "gb_s"] {
        assert!(column(&peak, key)[0] > 0.0, "{peak}");
    }

    // The second result is the first, but for one time.
    let before = r#"{"op": "a", "threads": 2, "ms": 4.0}
{"op": "b", "threads": 2, "ms": 1.0}
{"cost": "c", "grows_with": "batch", "threads": 2, "points": [{"at": 1, "ms": 2.0}, {"at": 2, "ms": 5.0}]}"#;
    std::fs::write(here.path().join("before.jsonl"), before).unwrap();
    std::fs::write(here.path().join("after.jsonl"), before.replace("4.0", "3.0")).unwrap();
    let diff = succeeds(here.path(), "bench diff before.jsonl after.jsonl --json").out;
    assert_eq!(column(&diff, "ratio"), [0.75, 1.0, 1.0, 1.0]);
    for (line, expected) in [
        (r#"{"op": "a", "threads": 2, "ms": 1.0}"#, "line 4: a, 2 threads for the second time"),
        (r#"{"op": "d", "threads": 2, "ms": 0}"#, "line 4: ms is 0, and no time"),
        (r#"{"gflops": 3, "threads": 2}"#, "line 4: no op, no model and no cost"),
        (r#"{"op": "d", "ms": 1}"#, "line 4: no threads"),
        (r#"{"cost": "c", "threads": 2, "points": [{"ms": 1}]}"#, "line 4: no at"),
    ] {
        std::fs::write(here.path().join("wrong.jsonl"), format!("{before}\n{line}")).unwrap();
        let error = refuses(here.path(), "bench diff before.jsonl wrong.jsonl");
        assert!(error.contains(expected), "{error}");
    }
    let error = refuses(here.path(), "bench diff before.jsonl nowhere.jsonl");
    assert!(error.contains("nowhere.jsonl: cannot be read"), "{error}");
}
