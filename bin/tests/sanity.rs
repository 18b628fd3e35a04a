//! Looks at a network before a run.

mod common;
use common::{comhe_in, refuses, succeeds};

use std::fs;

#[test]
fn dry_shows_the_network_and_expects_the_memory_that_it_takes() {
    let here = tempfile::tempdir().unwrap();
    // Records of zeros: a label and a picture.
    for file in ["data_batch_1.bin", "test_batch.bin"] {
        let records: Vec<u8> =
            (0..10_000).flat_map(|i| [vec![(i % 10) as u8], vec![0; 3072]].concat()).collect();
        fs::write(here.path().join(file), records).unwrap();
    }
    // Random projections are a third of the second one's memory, and reading the data is the most of the third's.
    for (network, layer) in [
        ("--model cnn9", "conv1_1"),
        ("--model lenet --width 4 --reg rp", "fc2"),
        ("--dataset cifar10 --data-dir . --train-size 100 --batch-size 16 --model lenet", "fc2"),
    ] {
        let out = succeeds(here.path(), &format!("train {network} --dry --threads 2")).out;
        assert!(out.contains(layer) && out.contains("GFLOP") && out.contains("First step: loss"), "{out}");
        let line = out.lines().find(|line| line.starts_with("Memory")).unwrap();
        let numbers: Vec<f64> = line.split([' ', '(']).filter_map(|word| word.parse().ok()).collect();
        let (expected, measured) = (numbers[0], numbers[4]);
        assert!((expected / measured - 1.0).abs() < 0.2, "{network}: {line}");
    }
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 2, "nothing is written");
}

#[test]
fn one_batch_is_learnt_by_heart_or_not() {
    let here = tempfile::tempdir().unwrap();
    let out = succeeds(here.path(), "train --dataset digits --model mlp --batch-size 16 --overfit 1").out;
    assert!(out.starts_with("1 batch of 16 examples") && out.contains("overfitted"), "{out}");
    let ran = comhe_in(
        here.path(),
        &["train", "--dataset", "digits", "--model", "mlp", "--overfit", "1", "--lr", "0", "--steps", "3"],
    );
    assert!(ran.code == 1 && ran.err.contains("after 3 steps, not within 0.01"), "{ran:?}");
    assert!(refuses(here.path(), "train --overfit 0").contains("at least 1"));
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn a_learning_rate_is_found_where_the_loss_falls() {
    let here = tempfile::tempdir().unwrap();
    let ran = succeeds(here.path(), "lrfind --dataset digits --model mlp --steps 60 --out f --json");
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let rate = found["suggestion"].as_f64().unwrap();
    assert!((1e-4..1.0).contains(&rate), "{rate}");
    for name in ["lrfind.svg", "lrfind.png", "lrfind.json"] {
        assert!(here.path().join("f").join(name).is_file(), "{name}");
    }
    assert!(refuses(here.path(), "lrfind --from 1 --to 0.1").contains("the first one smaller"));
}
