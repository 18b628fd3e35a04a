//! `compare`, `gradcheck` and `bench` from end to end.

mod common;
use common::{column, refuses, succeeds};

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
    let last: Vec<&str> = ran.out.lines().rev().take(4).collect();
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
    assert!(
        refuses(here.path(), &format!("{tiny} --seeds 3 --out cmp")).contains("holds a comparison already")
    );
    let json = succeeds(here.path(), &format!("{tiny} --regs none,rp --seeds 1 --json")).out;
    assert_eq!(values(&json)[0]["rows"][1]["reg"], "rp");
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
}
