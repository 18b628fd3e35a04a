//! Training on the predictions of trained networks, and the temperatures of one-bit networks.

mod common;
use common::{column, formula, npy_bytes, refuses, succeeds, zip};

use std::path::Path;

const TINY: &str = "train --dataset digits --train-size 200 --batch-size 50";

fn bytes(root: &Path, file: &str) -> Vec<u8> {
    std::fs::read(root.join(file)).unwrap()
}

fn archive(root: &Path, file: &str) -> nn::Archive {
    nn::Archive::load(root.join(file)).unwrap()
}

#[test]
fn a_student_learns_from_its_teachers_and_resumes() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path();
    succeeds(root, &format!("{TINY} --model mlp --epochs 20 --out teacher"));
    let student = format!("{TINY} --model mlp --seed 1 --checkpoint-every 3 --teacher teacher");
    succeeds(root, &format!("{student} --steps 8 --out whole"));
    succeeds(root, &format!("{student} --steps 4 --out parted"));
    succeeds(root, "train --resume parted --steps 8");
    assert_eq!(bytes(root, "whole/final.safetensors"), bytes(root, "parted/final.safetensors"));
    succeeds(root, &format!("{TINY} --model mlp --seed 1 --steps 8 --out alone"));
    assert_ne!(bytes(root, "whole/final.safetensors"), bytes(root, "alone/final.safetensors"));
    // A file is as good as its run, and two equal teachers are as good as one.
    let twice = format!("{TINY} --model mlp --seed 1 --steps 8 --teacher teacher/final.safetensors,teacher");
    succeeds(root, &format!("{twice} --out twice"));
    assert_eq!(bytes(root, "whole/final.safetensors"), bytes(root, "twice/final.safetensors"));
    // The teacher is an input of the run.
    succeeds(root, "replay whole");
    std::fs::copy(root.join("alone/final.safetensors"), root.join("teacher/final.safetensors")).unwrap();
    let error = refuses(root, "train --resume whole --steps 9");
    assert!(error.contains("teacher/final.safetensors: has changed since the run began"), "{error}");
}

#[test]
fn the_gradient_is_that_of_the_mean_prediction_as_targets() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path();
    for seed in [1, 2] {
        succeeds(root, &format!("{TINY} --model mlp --steps 6 --dtype f64 --seed {seed} --out t{seed}"));
    }
    let doubles =
        |shape: &[usize], v: &[f64]| npy_bytes("<f8", shape, v.iter().flat_map(|v| v.to_le_bytes()));
    let x = doubles(&[4, 1, 8, 8], &formula("distillation/x", 256));
    let labels = npy_bytes("<i8", &[4], [3i64, 0, 9, 3].into_iter().flat_map(i64::to_le_bytes));
    zip(&root.join("b.npz"), &[("x.npy", x.clone()), ("y.npy", labels)]);
    let grad = "grad --model mlp --dtype f64 --classes 10";
    let softmax = |seed: u64| {
        succeeds(
            root,
            &format!("{grad} --init t{seed}/final.safetensors --batch b.npz --out l{seed}.safetensors"),
        );
        let logits = archive(root, &format!("l{seed}.safetensors")).get("logits").unwrap().clone();
        logits.softmax(1)
    };
    let mean = (softmax(1) + softmax(2)) * 0.5;
    zip(&root.join("q.npz"), &[("x.npy", x), ("y.npy", doubles(&[4, 10], &mean.to_vec::<f64>()))]);
    let sam = "--method sam --method-eps 0.1 --seed 5";
    succeeds(
        root,
        &format!("{grad} {sam} --batch q.npz --loss cross-entropy --out wanted.safetensors")
            .replace("--classes 10 ", ""),
    );
    succeeds(root, &format!("{grad} {sam} --batch b.npz --teacher t1,t2 --out found.safetensors"));
    let [found, wanted] = ["found.safetensors", "wanted.safetensors"].map(|file| archive(root, file));
    for name in ["loss", "fit", "logits", "fc1.weight", "fc2.bias", "fc3.weight"] {
        let [a, b] = [&found, &wanted].map(|file| file.get(name).unwrap().to_vec::<f64>());
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-13 * (1.0 + b.abs());
        assert!(a.iter().zip(&b).all(near), "{name}");
    }
    // The accuracy is that on the labels.
    assert!([0.0, 0.25, 0.5, 0.75, 1.0].contains(&found.get("accuracy").unwrap().item()));
}

#[test]
fn teachers_that_do_not_fit_are_refused() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path();
    succeeds(root, &format!("{TINY} --model mlp --steps 1 --out teacher"));
    for (arguments, said) in [
        (
            "train --dataset fashion14 --model mlp --teacher teacher",
            "teacher/final.safetensors: is not of this network",
        ),
        ("train --dataset digits --teacher nowhere", "nowhere: does not exist"),
        ("train --dataset digits --teacher teacher --loss isda", "--loss isda needs labels"),
        (
            "train --dataset teacher-regression --model mlp --teacher teacher",
            "the targets of teacher-regression are real",
        ),
        (
            "train --dataset digits --temperature-factor 0.5",
            "--temperature-factor has no effect with --model lenet",
        ),
        (
            "train --model boolnet-small-k1 --temperature-factor 0",
            "--temperature-factor is 0; it must be above 0, at most 1",
        ),
        ("train --model boolnet-small-k1 --temperature-factor nan", "--temperature-factor is NaN"),
        ("train --model boolnet-small-k1 --temperature-every 0", "--temperature-every is 0"),
    ] {
        let error = refuses(root, arguments);
        assert!(error.contains(said), "{arguments}: {error}");
    }
}

#[test]
fn temperatures_follow_the_settings() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path();
    let small =
        "train --dataset fashion14 --model boolnet-small-k1 --train-size 64 --batch-size 32 --steps 5";
    let temperature = |flags: &str, out: &str| {
        succeeds(root, &format!("{small} {flags} --out {out}"));
        let file = archive(root, &format!("{out}/final.safetensors"));
        let (_, t) = file.tensors.iter().find(|(name, _)| name.ends_with(".temperature")).unwrap();
        t.item()
    };
    // In step 4, the last one.
    assert_eq!(temperature("--temperature-factor 0.5 --temperature-every 2", "a"), 0.25);
    let share = temperature("", "b").ln() / 0.965f64.ln();
    assert!((share - 320.0).abs() < 1e-3, "{share}");
    assert_eq!(column(&String::from_utf8(bytes(root, "a/metrics.jsonl")).unwrap(), "loss").len(), 5);
    // The gradient of given weights is at their own temperature.
    let x =
        npy_bytes("<f8", &[2, 1, 14, 14], formula("temperature", 392).into_iter().flat_map(f64::to_le_bytes));
    let y = npy_bytes("<i8", &[2], [3i64, 9].into_iter().flat_map(i64::to_le_bytes));
    zip(&root.join("b.npz"), &[("x.npy", x), ("y.npy", y)]);
    let loss = |run: &str| {
        let grad = "grad --model boolnet-small-k1 --dtype f64 --batch b.npz --out g.npz --json --weights w.safetensors";
        let line = succeeds(root, &format!("{grad} --init {run}/final.safetensors")).out;
        let (_, t) = archive(root, "w.safetensors")
            .tensors
            .into_iter()
            .find(|(name, _)| name.ends_with(".temperature"))
            .unwrap();
        (serde_json::from_str::<serde_json::Value>(&line).unwrap()["loss"].as_f64().unwrap(), t.item())
    };
    assert_eq!(loss("a").1, 0.25);
}
