//! Instruments from end to end: `train --watch`, `landscape`, `inspect`.

mod common;
use common::{comhe_in, refuses, succeeds};

use std::fs;
use std::path::Path;

use nn::Archive;
use serde_json::Value;

const TINY: &str = "train --dataset digits --model mlp --train-size 200 --batch-size 20 --threads 1";
const ALL: &str = "--watch grad,update,energy,angles,noise,sharpness-layers,cosine --watch-every 3";

fn watched(folder: &Path) -> Vec<Value> {
    let log = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["watch"].is_object()).collect()
}

/// Adds to a file's lines nothing but the watched ones.
fn without_watch(folder: &Path) -> String {
    let log = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    log.lines().filter(|line| !line.contains("\"watch\"")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn watching_changes_no_byte_and_goes_on_after_a_resume() {
    let here = tempfile::tempdir().unwrap();
    let at = |name: &str| here.path().join(name);
    let regs = ["--reg ap --reg-k 3 --lr 0.01", "--reg rp --reg-k 8 --reg-c 2"];
    let all = ALL.replace("sharpness-layers", "sharpness");
    for (i, reg) in regs.iter().enumerate() {
        // Evaluations and energies at every step: where a part ends is none of its own.
        let reg = format!("{reg} --eval-every 1 --energy-every 1");
        let [plain, whole, parts] = ["plain", "whole", "parts"].map(|name| format!("{name}{i}"));
        succeeds(here.path(), &format!("{TINY} {reg} --steps 8 --out {plain}"));
        let ran = succeeds(here.path(), &format!("{TINY} {reg} --steps 8 --out {whole} {all}"));
        assert!(ran.err.contains("watch: measured 3 times"), "{}", ran.err);
        let bytes = |folder: &str, file: &str| fs::read(at(folder).join(file)).unwrap();
        assert!(bytes(&plain, "final.safetensors") == bytes(&whole, "final.safetensors"));
        assert_eq!(without_watch(&at(&plain)), without_watch(&at(&whole)));
        assert!(at(&whole).join("watch.svg").is_file() && !at(&plain).join("watch.svg").exists());

        // Stopped right before the watched step 6, whose cosine needs the gradient of step 5; and before step 7.
        for stop in if i == 0 { 6..8 } else { 6..7 } {
            let parts = format!("{parts}-{stop}");
            succeeds(here.path(), &format!("{TINY} {reg} --steps {stop} --out {parts} {all}"));
            let kept = Archive::load(at(&parts).join("checkpoint.safetensors")).unwrap().part("watch").len();
            assert_eq!(kept, if stop == 6 { 6 } else { 0 }, "a gradient a parameter, or none");
            succeeds(here.path(), &format!("train --resume {parts} --steps 8 --threads 2"));
            assert_eq!(watched(&at(&whole)), watched(&at(&parts)));
            for file in ["checkpoint.safetensors", "final.safetensors"] {
                assert!(bytes(&whole, file) == bytes(&parts, file), "{file} differs");
            }
        }
    }
}

#[test]
fn the_log_has_what_was_asked_for() {
    let here = tempfile::tempdir().unwrap();
    succeeds(
        here.path(),
        &format!(
            "{TINY} --reg mhe --steps 5 --dtype f64 --lr 0.1 --momentum 0 --weight-decay 0 --out run {ALL}"
        ),
    );
    let lines = watched(&here.path().join("run"));
    assert_eq!(lines.iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 3]);
    let [first, second] = [&lines[0]["watch"], &lines[1]["watch"]];
    assert!(first["all"]["cosine_previous"].is_null(), "the first step has none before it");
    let cosine = second["all"]["cosine_previous"].as_f64().unwrap();
    assert!((-1.0..=1.0).contains(&cosine));
    let names: Vec<&str> =
        second["layers"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fc1", "fc2", "fc3", "relu1", "relu2"]);
    let layer =
        |name: &str| second["layers"].as_array().unwrap().iter().find(|l| l["name"] == name).unwrap().clone();
    let sum = |key: &str, power: i32| -> f64 {
        ["fc1", "fc2", "fc3"].iter().map(|name| layer(name)[key].as_f64().unwrap().powi(power)).sum()
    };
    let all = |key: &str| second["all"][key].as_f64().unwrap();
    assert!((sum("grad", 2) - all("grad").powi(2)).abs() < 1e-12 * sum("grad", 2));
    assert!((sum("noise_trace", 1) - all("noise_trace")).abs() < 1e-9 * all("noise_trace"));
    // No block of a symmetric matrix has a larger eigenvalue than the whole.
    for name in ["fc1", "fc2", "fc3"] {
        assert!(layer(name)["sharpness"].as_f64().unwrap() <= all("sharpness") * 1.001);
        assert!(
            layer(name)["full"].as_f64().unwrap() > 0.0
                && layer(name)["smallest_angle"].as_f64().unwrap() > 0.0
        );
    }
    let dead = (layer("relu1")["dead"].as_f64().unwrap() + layer("relu2")["dead"].as_f64().unwrap()) / 2.0;
    assert!((all("dead") - dead).abs() < 1e-12 && all("units") == 256.0);
    assert_eq!(layer("relu1")["units"], 128);
    // Plain descent: the update is lr times the gradient.
    let weights = Archive::load(here.path().join("run/final.safetensors")).unwrap();
    assert!(weights.tensors.iter().all(|(_, t)| t.is_finite()));
    let step = all("update") / all("grad");
    let ratio = layer("fc1")["update"].as_f64().unwrap() / layer("fc1")["grad"].as_f64().unwrap();
    // |w| = lr |g| / update ratio: the parts' lengths make up the whole.
    let length = |update: f64, grad: f64| 0.1 * grad / update;
    let parts: f64 = ["fc1", "fc2", "fc3"]
        .iter()
        .map(|n| length(layer(n)["update"].as_f64().unwrap(), layer(n)["grad"].as_f64().unwrap()).powi(2))
        .sum();
    assert!(step > 0.0 && ratio > 0.0);
    assert!((parts / length(all("update"), all("grad")).powi(2) - 1.0).abs() < 1e-9);

    // Only what was asked for, and nothing of it by default.
    succeeds(here.path(), &format!("{TINY} --steps 2 --watch dead --out less"));
    let line = watched(&here.path().join("less")).remove(0);
    assert_eq!(line["watch"]["layers"].as_array().unwrap().len(), 2);
    assert_eq!(line["watch"]["all"].as_object().unwrap().len(), 2);
    let line = refuses(here.path(), &format!("{TINY} --watch grad,shrapness"));
    assert!(line.contains("sharpness"), "{line}");
    assert!(
        refuses(here.path(), &format!("{TINY} --watch-every 2")).contains("has no effect without --watch")
    );
    assert!(
        refuses(here.path(), &format!("{TINY} --watch grad --watch-every 0")).contains("--watch-every is 0")
    );
    assert!(refuses(here.path(), "compare --watch grad").contains("--watch is not for compare"));
}

#[test]
fn the_middle_of_a_landscape_is_the_loss() {
    let here = tempfile::tempdir().unwrap();
    succeeds(here.path(), &format!("{TINY} --steps 30 --out run"));
    let loss = |json: &str| serde_json::from_str::<Value>(json).unwrap()["loss"].as_f64().unwrap();
    let evaluated = loss(&succeeds(here.path(), "eval run --json").out);
    let ran = succeeds(here.path(), "landscape run --test --images 100000 --side 5");
    assert_eq!(ran.out, "run/landscape-1d.csv\nrun/landscape-1d.svg\nrun/landscape-1d.png\n");
    let rows = |name: &str| -> Vec<Vec<f64>> {
        let text = fs::read_to_string(here.path().join(name)).unwrap();
        text.lines().skip(1).map(|l| l.split(',').map(|v| v.parse().unwrap()).collect()).collect()
    };
    let line = rows("run/landscape-1d.csv");
    assert_eq!(line.iter().map(|row| row[0]).collect::<Vec<_>>(), [-1.0, -0.5, 0.0, 0.5, 1.0]);
    assert!((line[2][1] - evaluated).abs() < 1e-5 * evaluated, "{} {evaluated}", line[2][1]);
    assert!(line[0][1] > line[2][1] && line[4][1] > line[2][1], "{line:?}");

    // The map has the line in its middle row; the same seed gives the same bytes, another one another map.
    succeeds(here.path(), "landscape run --test --images 100000 --side 5 --dim 2 --out maps");
    let map = rows("maps/landscape-2d.csv");
    assert_eq!(map.len(), 25);
    for (row, at) in map[10..15].iter().zip(&line) {
        assert_eq!((row[0], row[1], row[2], row[3]), (at[0], 0.0, at[1], at[2]));
    }
    let file = |name: &str| fs::read(here.path().join(name)).unwrap();
    let first = file("maps/landscape-2d.csv");
    succeeds(here.path(), "landscape run --test --images 100000 --side 5 --dim 2 --out maps --threads 2");
    assert!(first == file("maps/landscape-2d.csv"));
    succeeds(here.path(), "landscape run --test --images 100000 --side 5 --dim 2 --out maps --seed 1");
    assert!(first != file("maps/landscape-2d.csv"));
    assert!(String::from_utf8(file("maps/landscape-2d.svg")).unwrap().contains("<polyline"));
    assert!(refuses(here.path(), "landscape run --side 4").contains("must be odd"));
    assert!(refuses(here.path(), "landscape run --range 0").contains("--range is 0"));
    assert!(refuses(here.path(), "landscape none").contains("does not exist"));
    assert!(refuses(here.path(), "landscape run --lr 1").contains("has no effect"));
}

#[test]
fn networks_graphs_and_files_are_told() {
    let here = tempfile::tempdir().unwrap();
    let table = succeeds(here.path(), "inspect --model cnn9 --width 2 --input 3x32x32").out;
    let model =
        nn::models::build("cnn9", [3, 32, 32], 10, 2, autograd::Key::new(0), autograd::DType::F32).unwrap();
    assert!(table.contains(&model.summary().parameters().to_string()), "{table}");
    assert!(table.contains(&model.summary().flops().to_string()));
    let lines = succeeds(here.path(), "inspect --model mlp --json").out;
    assert_eq!(lines.lines().count(), 6);

    let graph = |name: &str| {
        let ran =
            succeeds(here.path(), &format!("inspect --model cnn6 --batch-size 4 --reg mhe --graph {name}"));
        assert!(ran.out.ends_with(&format!("{name}\n")), "{}", ran.out);
        fs::read_to_string(here.path().join(name)).unwrap()
    };
    let (text, dot, html) = (graph("g.txt"), graph("g.dot"), graph("g.html"));
    for part in ["conv3_2.weight", "[4, 16, 14, 14]", "nn/src/layers/conv.rs:"] {
        assert!([&text, &dot, &html].iter().all(|form| form.contains(part)), "{part}");
    }
    // Every parameter is named by its own shape.
    for (name, t) in nn::Module::named_parameters(
        &nn::models::build("cnn6", [1, 14, 14], 10, 1, autograd::Key::new(0), autograd::DType::F32).unwrap(),
    ) {
        let line = text.lines().find(|line| line.contains(&format!(" {name} "))).unwrap();
        assert!(line.contains("leaf") && line.contains(&t.shape().to_string()), "{line}");
    }
    assert!(refuses(here.path(), "inspect --graph g.pdf").contains(".html, .dot or .txt"));
    assert!(refuses(here.path(), "inspect --lr 1").contains("--lr has no effect"));

    succeeds(here.path(), &format!("{TINY} --steps 2 --out run"));
    let told = succeeds(here.path(), "inspect run").out;
    assert!(told.contains("fc1.weight") && told.contains("F32") && told.contains("[128, 64]"), "{told}");
    assert!(succeeds(here.path(), "inspect run/checkpoint.safetensors").out.contains("step: 2"));
    // What is wrong with a tensor shows.
    let bad = autograd::Tensor::from([[1.0, f64::NAN], [-3.0, 2.0]]);
    Archive::of(vec![("w".into(), bad)]).save(here.path().join("bad.safetensors")).unwrap();
    let line: Value =
        serde_json::from_str(&succeeds(here.path(), "inspect bad.safetensors --json").out).unwrap();
    assert_eq!((&line["finite"], &line["min"], &line["max"]), (&false.into(), &(-3.0).into(), &2.0.into()));
    assert_eq!((&line["dtype"], &line["full"]), (&"F64".into(), &Value::Null));
    let ran = comhe_in(here.path(), &["inspect", "none.safetensors"]);
    assert_eq!(ran.code, 2);
}
