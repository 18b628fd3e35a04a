//! Finished runs are made again; their files can be read by others.

mod common;
use common::{column, comhe_in, formula, npy_bytes, refuses, succeeds, zip};

use std::fs;
use std::path::Path;

use serde_json::Value;

const TINY: &str = "train --dataset digits --model mlp --train-size 200 --batch-size 40 --threads 1";

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_replay_is_equal_or_says_where_it_differs() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    succeeds(here, &format!("{TINY} --steps 6 --reg rp --reg-k 8 --out run"));
    let ran = succeeds(here, "replay run --threads 2");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(
        lines[0]
            .starts_with("equal: the final weights are the same bytes (6 tensors, 26122 values, SHA-256 ")
    );
    assert_eq!(lines[1..], ["runs/run-replay-1"]);
    let manifest = json(&here.join("run/manifest.json"));
    assert!(lines[0].contains(manifest["final"]["sha256"].as_str().unwrap()));
    assert_eq!((&manifest["format"], &manifest["seeds"]["run"]), (&Value::from(2), &Value::from(0)));

    // Another seed is another run.
    let config = here.join("run/config.toml");
    let settings = fs::read_to_string(&config).unwrap();
    fs::write(&config, settings.replace("\nseed = 0", "\nseed = 1")).unwrap();
    let ran = comhe_in(here, &["replay", "run"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.starts_with("differs: fc1.bias is the first tensor that does: element 0 is "),
        "{}",
        ran.out
    );
    assert!(
        ran.err.ends_with("comhe: the replay differs from run; their logs do from step 0 on\n"),
        "{}",
        ran.err
    );
    let ran = comhe_in(here, &["replay", "run", "--json"]);
    let object: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &object["equal"], &object["first_step"]), (1, &false.into(), &0.into()));
    fs::write(&config, settings).unwrap();

    let weights = here.join("run/final.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    assert!(
        refuses(here, "replay run").contains("run/final.safetensors: is damaged, or not what the run wrote")
    );
    fs::remove_file(weights).unwrap();
    assert!(refuses(here, "replay run").contains("run: is not finished"));
    assert!(refuses(here, "replay .").contains("is no run folder"));

    // A cosine whose length changed on the way is no function of the settings.
    succeeds(here, &format!("{TINY} --schedule cosine --steps 4 --out cosine"));
    succeeds(here, "train --resume cosine --steps 6");
    assert!(refuses(here, "replay cosine").contains("its length changed from 4 to 6 steps"));
}

#[test]
fn files_are_found_again_and_must_be_the_same() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let data = |seed: &str| {
        let images = formula(seed, 60 * 16);
        let labels: Vec<u8> = (0..60i64).flat_map(|i| (i % 3).to_le_bytes()).collect();
        let x = npy_bytes("<f8", &[60, 1, 4, 4], images.iter().flat_map(|v| v.to_le_bytes()));
        let y = npy_bytes("<i8", &[60], labels.iter().copied());
        let names = ["x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy"];
        let entries: Vec<(&str, Vec<u8>)> = names.into_iter().zip([x.clone(), y.clone(), x, y]).collect();
        zip(&here.join("a/data.npz"), &entries);
    };
    fs::create_dir_all(here.join("a")).unwrap();
    fs::create_dir_all(here.join("b")).unwrap();
    data("first");
    let train = "train --dataset file:data.npz --model mlp --batch-size 20 --threads 1";
    succeeds(&here.join("a"), &format!("{train} --steps 1 --out first"));
    let init = "--init first/final.safetensors --steps 4 --checkpoint-every 1 --out run";
    succeeds(&here.join("a"), &format!("{train} {init}"));
    let inputs = &json(&here.join("a/run/manifest.json"))["inputs"];
    let (hash, bytes) = (inputs["data"][0]["sha256"].as_str().unwrap(), &inputs["data"][0]["bytes"]);
    assert_eq!(
        (hash.len(), bytes.as_u64()),
        (64, Some(fs::metadata(here.join("a/data.npz")).unwrap().len()))
    );
    assert_eq!(inputs["init"]["path"], "first/final.safetensors");

    let ran = succeeds(&here.join("b"), "replay ../a/run --out again");
    assert!(ran.out.starts_with("equal: ") && ran.out.ends_with("\nagain\n"), "{}", ran.out);

    data("second");
    let line = refuses(&here.join("b"), "replay ../a/run");
    assert!(line.contains("a/data.npz: has changed since the run began: its SHA-256 is "), "{line}");
    assert!(line.contains(hash), "{line}");
    assert!(!here.join("b/runs").exists(), "nothing is left behind");
    let line = refuses(&here.join("a"), "train --resume run --steps 9");
    assert!(line.contains("data.npz: has changed since the run began"), "{line}");

    // From another folder, a resume finds the data where the run began, and a replay after it does.
    data("first");
    succeeds(&here.join("b"), "train --resume ../a/run --steps 5");
    assert_eq!(json(&here.join("a/run/manifest.json"))["inputs"]["data"][0]["sha256"], hash);
    assert!(succeeds(&here.join("b"), "replay ../a/run --out once-more").out.starts_with("equal: "));
    // It does not read the initial weights again, and a replay does.
    fs::remove_file(here.join("a/first/final.safetensors")).unwrap();
    succeeds(&here.join("a"), "train --resume run --steps 6");
    assert!(refuses(&here.join("a"), "replay run").contains("first/final.safetensors: cannot be read"));
}

#[test]
fn tables_hold_what_the_log_does() {
    let here = tempfile::tempdir().unwrap();
    succeeds(here.path(), &format!("{TINY} --steps 6 --eval-every 2 --energy-every 3 --out run"));
    let read = |name: &str| fs::read_to_string(here.path().join("run").join(name)).unwrap();
    let (log, csv) = (read("metrics.jsonl"), read("metrics.csv"));
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let head =
        ["step", "epoch", "loss", "fit", "reg", "lr", "acc", "val_loss", "val_acc", "test_loss", "test_acc"];
    assert_eq!(rows[0], head);
    assert!(rows.iter().all(|row| row.len() == head.len()));
    for (i, key) in head.iter().enumerate().skip(1) {
        let values: Vec<f64> =
            rows[1..].iter().filter(|row| !row[i].is_empty()).map(|row| row[i].parse().unwrap()).collect();
        assert_eq!(values, column(&log, key), "{key}");
    }
    // Six steps, and evaluations after 0, 2, 4, 6 of them; measurements after 0, 3, 6, of three layers.
    assert_eq!((rows.len() - 1, read("layers.csv").lines().count() - 1), (10, 9));
}

/// The checksum's definition, bit by bit.
fn crc32c(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    !crc
}

/// The records of an event file, whose checksums must be right.
fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
    let masked = |data: &[u8]| {
        let crc = crc32c(data);
        crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
    };
    let (mut rest, mut records) = (bytes, Vec::new());
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(rest[8..12], masked(&rest[..8]));
        let content = &rest[12..12 + length];
        assert_eq!(rest[12 + length..16 + length], masked(content));
        records.push(content.to_vec());
        rest = &rest[16 + length..];
    }
    records
}

/// A message's fields: numbers, and bytes for all that is no varint.
fn fields(mut message: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = message[0];
            *message = &message[1..];
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let (number, length) = match key & 7 {
            0 => (varint(&mut message), 0),
            1 => (0, 8),
            2 => (0, varint(&mut message) as usize),
            5 => (0, 4),
            wire => panic!("wire type {wire}"),
        };
        found.push((key >> 3, number, message[..length].to_vec()));
        message = &message[length..];
    }
    found
}

#[test]
fn tensorboards_events_hold_what_the_log_does() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the catalogue's check value");
    let here = tempfile::tempdir().unwrap();
    succeeds(
        here.path(),
        &format!("{TINY} --steps 4 --eval-every 2 --energy-every 2 --tensorboard --out run"),
    );
    // It resumes without being asked again; the new file voids what would be made again.
    succeeds(here.path(), "train --resume run --steps 6");
    let folder = here.path().join("run");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("/events.out.tfevents."))
        .collect();
    files.sort();
    assert_eq!(files.len(), 2);
    let (mut loss, mut accuracy, mut full, mut starts) = (Vec::new(), Vec::new(), 0, Vec::new());
    for file in &files {
        let records = records(&fs::read(file).unwrap());
        let first = fields(&records[0]);
        assert_eq!(first[2], (3, 0, b"brain.Event:2".to_vec()));
        for record in &records[1..] {
            let event = fields(record);
            assert_eq!((event[0].0, event[0].2.len(), event[1].0), (1, 8, 2), "time and step");
            let (kind, _, content) = &event[2];
            if *kind == 7 {
                assert_eq!(fields(content), [(1, 1, vec![])]);
                starts.push(event[1].1);
                continue;
            }
            assert_eq!(*kind, 5);
            for (field, _, value) in fields(content) {
                let value = fields(&value);
                assert_eq!((field, value[0].0, value[1].0), (1, 1, 2));
                let number = f32::from_le_bytes(value[1].2[..].try_into().unwrap());
                match std::str::from_utf8(&value[0].2).unwrap() {
                    "train/loss" => loss.push(number),
                    "test/acc" => accuracy.push(number),
                    tag => full += usize::from(tag == "full/fc1.weight"),
                }
            }
        }
    }
    let log = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let single = |key: &str| column(&log, key).into_iter().map(|v| v as f32).collect::<Vec<_>>();
    assert_eq!((loss, starts), (single("loss"), vec![4]));
    // The evaluation after four steps is void in the first file, and repeated in the second.
    let mut expected = single("test_acc");
    expected.insert(2, expected[2]);
    assert_eq!((accuracy, full), (expected, 5));
}
