//! `comhe meta`: run folders, resuming, results, refusals.

mod common;
use common::{column, comhe_in, npy_bytes, refuses, succeeds, zip};

use std::fs;
use std::path::Path;

use nn::Archive;
use serde_json::Value;

/// Noise, rates and a pool, so that all state matters.
const RUN: &str = "meta --learner meta-sgd --noise gaussian --noise-schedule linear --pool 7 --inner-steps 2 \
                   --meta-batch 3 --meta-steps 12 --checkpoint-every 2 --test-tasks 20 --threads 1";

/// Files that depend on neither times nor interruptions nor threads.
const FILES: [&str; 3] = ["metrics.jsonl", "final.safetensors", "result.json"];

fn read(folder: &Path, file: &str) -> Vec<u8> {
    fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[test]
fn a_run_leaves_a_folder_and_a_result() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let ran = succeeds(here, &format!("{RUN} --json --out run"));
    let result: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&result["metric"], &result["tasks"]), (&"loss".into(), &20.into()));
    assert!(result["mean"].as_f64().unwrap() > 0.0 && result["ci95"].as_f64().unwrap() > 0.0);
    assert_eq!(result["folder"], "run");
    let log = String::from_utf8(read(&here.join("run"), "metrics.jsonl")).unwrap();
    assert_eq!(column(&log, "step"), (0..12).map(f64::from).collect::<Vec<_>>());
    assert_eq!((column(&log, "query_loss").len(), column(&log, "support_loss").len()), (12, 12));
    assert!(column(&log, "query_acc").is_empty(), "real targets have none");
    let weights = Archive::load(here.join("run/final.safetensors")).unwrap();
    assert!(weights.get("rates.fc1.weight").is_some() && weights.get("fc1.weight").is_some());
    let manifest: Value = serde_json::from_slice(&read(&here.join("run"), "manifest.json")).unwrap();
    assert_eq!(
        (&manifest["kind"], &manifest["sessions"][0]["outcome"]),
        (&"meta".into(), &"finished".into())
    );
    assert_eq!(manifest["result"]["mean"], result["mean"]);
    // Without --json the last line is the folder.
    let text = succeeds(here, "meta --meta-steps 2 --test-tasks 3").out;
    assert!(text.starts_with("test loss ") && text.contains(" on 3 tasks after 1 inner step ("), "{text}");
    assert!(text.ends_with("runs/meta-sinusoid-maml-1\n"), "{text}");
    // Commands for runs of comhe train say what it is.
    for command in ["train --resume run", "eval run", "attack run", "export run --out x", "landscape run"] {
        let error = refuses(here, command);
        assert!(error.contains("run: is of comhe meta"), "{error}");
    }
    // A finished run that is resumed gives its result again.
    let again = succeeds(here, "meta --resume run --json");
    assert_eq!(serde_json::from_str::<Value>(&again.out).unwrap()["mean"], result["mean"]);
}

#[test]
fn a_resumed_run_has_the_bytes_of_an_uninterrupted_one() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    succeeds(here, &format!("{RUN} --out whole"));
    succeeds(here, &format!("{RUN} --out cut"));
    let cut = here.join("cut");
    // As if it had been killed after step 11: the checkpoint before the last is of step 10.
    fs::rename(cut.join("checkpoint-previous.safetensors"), cut.join("checkpoint.safetensors")).unwrap();
    fs::remove_file(cut.join("final.safetensors")).unwrap();
    fs::remove_file(cut.join("result.json")).unwrap();
    assert_eq!(Archive::load(cut.join("checkpoint.safetensors")).unwrap().metadata["step"], "10");
    succeeds(here, "meta --resume cut --threads 2");
    for file in FILES {
        assert!(read(&here.join("whole"), file) == read(&cut, file), "{file} differs");
    }
    let manifest: Value = serde_json::from_slice(&read(&cut, "manifest.json")).unwrap();
    let steps: Vec<u64> =
        manifest["sessions"].as_array().unwrap().iter().map(|s| s["from_step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 10]);
}

#[test]
fn every_learner_runs_on_images() {
    let here = tempfile::tempdir().unwrap();
    for learner in ["maml", "first-order", "meta-sgd", "anil"] {
        let line = format!(
            "meta --task digits --way 3 --shot 1 --query 4 --learner {learner} --inner-steps 2 --meta-batch 2 --meta-steps 3 \
             --test-tasks 5 --noise bernoulli --json --out {learner}"
        );
        let result: Value = serde_json::from_str(&succeeds(here.path(), &line).out).unwrap();
        assert_eq!(result["metric"], "accuracy");
        assert!((0.0..=1.0).contains(&result["mean"].as_f64().unwrap()));
        let log = fs::read_to_string(here.path().join(learner).join("metrics.jsonl")).unwrap();
        assert_eq!(column(&log, "query_acc").len(), 3);
    }
}

#[test]
fn tasks_of_a_file() {
    let here = tempfile::tempdir().unwrap();
    let mut entries = Vec::new();
    for (part, tasks) in [("train", 3), ("test", 2)] {
        for role in ["support", "query"] {
            let x = (0..tasks * 8).flat_map(|i| (i as f64).sin().to_le_bytes());
            let y = (0..tasks * 4).flat_map(|i| (i as f64).cos().to_le_bytes());
            entries.push((format!("x_{part}_{role}.npy"), npy_bytes("<f8", &[tasks, 4, 2], x)));
            entries.push((format!("y_{part}_{role}.npy"), npy_bytes("<f8", &[tasks, 4], y)));
        }
    }
    let entries: Vec<(&str, Vec<u8>)> =
        entries.iter().map(|(name, bytes)| (&name[..], bytes.clone())).collect();
    let path = here.path().join("tasks.npz");
    zip(&path, &entries);
    let ran = succeeds(here.path(), "meta --task file:tasks.npz --meta-steps 2 --json --out run");
    let result: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&result["metric"], &result["tasks"]), (&"loss".into(), &2.into()));
    // The file must be the same when the run is resumed.
    let manifest: Value = serde_json::from_slice(&read(&here.path().join("run"), "manifest.json")).unwrap();
    assert_eq!(manifest["inputs"]["data"].as_array().unwrap().len(), 1);
    zip(&path, &entries[..8].iter().rev().cloned().collect::<Vec<_>>());
    assert!(refuses(here.path(), "meta --resume run").contains("tasks.npz"));
}

#[test]
fn mistakes_are_refused_and_leave_no_folder() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    for (flags, part) in [
        ("--task sinusoids", "did you mean sinusoid?"),
        ("--learner mamml", "did you mean maml?"),
        ("--noise dropout", "there is no noise \"dropout\""),
        ("--noise bernoulli --noise-rate 1", "--noise-rate is 1"),
        ("--noise gaussian --noise-rate NaN", "--noise-rate is NaN"),
        ("--noise-rate 0.2", "has no effect with --noise none; use it with --noise bernoulli or gaussian"),
        ("--way 3", "has no effect with --task sinusoid; use it with --task omniglot, fashion14 or digits"),
        ("--task digits --image-size 14", "--image-size has no effect with --task digits"),
        ("--task digits --way 1", "--way is 1; it must be at least 2"),
        ("--task digits --shot 900", "900 support and 16 query examples of each class, but one class has"),
        ("--model lenett", "did you mean lenet?"),
        ("--meta-lr NaN", "--meta-lr is NaN"),
        ("--threads 5000", "at most 1024"),
        ("--set noise.rte=0.2", "did you mean noise.rate?"),
        ("--set meta-lr=fast", "--set meta-lr=\"fast\": a number is needed"),
        ("--config nowhere.toml", "cannot be read"),
        ("--config a.toml --resume b", "cannot be used with"),
        ("--meta-batch 0", "--meta-batch is 0"),
        ("--test-tasks 0", "--test-tasks is 0"),
        ("--meta-lr -1", "--meta-lr is -1"),
        ("--inner-lr inf", "--inner-lr is inf"),
        ("--learner meta-sgd --inner-steps 0", "meta-sgd with 0 inner steps"),
        ("--task digits --way 6", "6 classes in a task, but there are 5"),
        ("--task omniglot", "--data-dir or COMHE_DATA"),
        ("--model resnet18", "images of 1 x 1"),
        ("--resume nowhere", "does not exist; a folder of comhe meta is needed"),
    ] {
        let line = refuses(here, &format!("meta {flags}"));
        assert!(line.contains(part), "{flags}: {line}");
    }
    assert_eq!(fs::read_dir(here).unwrap().count(), 0);
    succeeds(here, "meta --meta-steps 1 --test-tasks 2 --out run");
    assert!(refuses(here, "meta --out run").contains("holds a run already"));
    assert!(refuses(here, "meta --resume run --meta-lr 0.1").contains("--meta-lr cannot change"));
    // What is said again changes nothing.
    succeeds(here, "meta --resume run --meta-steps 1 --seed 0 --json");
    // Other commands say that it is not theirs.
    for command in ["eval run", "train --resume run", "attack run"] {
        assert!(
            refuses(here, command).contains("is of comhe meta, whose runs are for comhe report"),
            "{command}"
        );
    }
    // A diverged run is a failure of the run, and says where.
    let ran = comhe_in(here, &["meta", "--inner-lr", "1e30", "--out", "wild"]);
    assert!(ran.code == 1 && ran.err.contains("step 0: the query loss of task 0"), "{ran:?}");
}

/// The steps of the issue: memory and time of second order at 28 x 28, if the data are there.
#[test]
fn a_second_order_step_on_omniglot_fits_into_four_gigabytes() {
    let Some(data) = std::env::var_os("COMHE_DATA").filter(|dir| Path::new(dir).join("omniglot").is_dir())
    else {
        eprintln!("skipped: COMHE_DATA names no folder with omniglot/");
        return;
    };
    let here = tempfile::tempdir().unwrap();
    let data = data.to_str().unwrap();
    let line = format!(
        "meta --task omniglot --data-dir {data} --shot 5 --query 15 --meta-steps 2 --test-tasks 2 --json --out run"
    );
    succeeds(here.path(), &line);
    let manifest: Value = serde_json::from_slice(&read(&here.path().join("run"), "manifest.json")).unwrap();
    let peak = manifest["sessions"][0]["peak_memory_mib"].as_f64().unwrap();
    println!("peak {peak:.0} MiB");
    assert!(peak < 4096.0);
    assert_eq!(manifest["inputs"]["data"].as_array().unwrap().len(), 2);
}
