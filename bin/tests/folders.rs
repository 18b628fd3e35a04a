//! Run folders that are half there, of another version, of another network, or damaged: every command that reads one says
//! so in one line, with what to do.

mod common;
use common::{comhe_in, refuses, succeeds};

use std::fs;
use std::path::Path;

#[test]
fn a_run_folder_with_flat_keys_resumes_evaluates_and_reports() {
    let here = tempfile::tempdir().unwrap();
    let at = here.path();
    let run = "train --dataset digits --model mlp --train-size 100 --threads 1 --reg rp --reg-k 8 --reg-c 2 --momentum 0.8";
    succeeds(at, &format!("{run} --steps 6 --out whole"));
    succeeds(at, &format!("{run} --steps 4 --out old"));
    let file = at.join("old/config.toml");
    let new = fs::read_to_string(&file).unwrap();
    assert!(new.contains("\n[reg]\n") && new.contains("\n[optimizer]\n"), "{new}");
    // As it was written before there were tables.
    let mut old = String::new();
    let mut table = "";
    for line in new.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = name;
        } else if !["", "reg", "loss", "optimizer"].contains(&table) || line.starts_with("isda") {
            // There were none of these.
        } else if table == "reg" && !line.starts_with("name") && !line.is_empty() {
            old += &format!("reg-{line}\n");
        } else if line.starts_with("floor") {
            old += &format!("loss-{line}\n");
        } else {
            old += &format!("{}\n", line.replace("name = ", &format!("{table} = ")));
        }
    }
    assert!(
        old.contains("\nreg-k = 8\n") && old.contains("\nmomentum = 0.8\n") && !old.contains("\n["),
        "{old}"
    );
    fs::write(&file, &old).unwrap();
    assert!(succeeds(at, "eval old --json").out.starts_with('{'));
    succeeds(at, "report old whole");
    succeeds(at, "train --resume old --steps 6");
    let weights = |run: &str| fs::read(at.join(run).join("final.safetensors")).unwrap();
    assert_eq!(weights("old"), weights("whole"));
    let config = |run: &str| fs::read_to_string(at.join(run).join("config.toml")).unwrap();
    assert_eq!(config("old"), config("whole"));
    // As a file for another run, it is said to be old.
    fs::write(at.join("old.toml"), &old).unwrap();
    let err = succeeds(at, "train --config old.toml --steps 1 --out again").err;
    assert!(err.contains("old.toml: ") && err.contains(" reg-k, ") && err.contains(" reg.k, "), "{err}");
}

/// A folder with the run "good" and copies of it, each with its own fault.
fn folders() -> tempfile::TempDir {
    let here = tempfile::tempdir().unwrap();
    let at = here.path();
    succeeds(at, "train --dataset moons --train-size 40 --model mlp --steps 2 --out good");
    let copy = |name: &str| {
        fs::create_dir(at.join(name)).unwrap();
        for entry in fs::read_dir(at.join("good")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, at.join(name).join(path.file_name().unwrap())).unwrap();
        }
        at.join(name)
    };
    let edit = |file: &Path, from: &str, to: &str| {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(file, text.replace(from, to)).unwrap();
    };
    fs::remove_file(copy("half").join("config.toml")).unwrap();
    let empty = copy("weightless");
    for name in ["final.safetensors", "checkpoint.safetensors", "best.safetensors"] {
        fs::remove_file(empty.join(name)).unwrap();
    }
    edit(&copy("older").join("manifest.json"), "\"format\": 2", "\"format\": 1");
    let unknown = copy("unknown");
    edit(&unknown.join("manifest.json"), "\"format\": 2", "\"format\": 3");
    edit(&unknown.join("config.toml"), "model = ", "of-tomorrow = 1\nmodel = ");
    edit(&copy("other").join("config.toml"), "width = 1", "width = 2");
    let damaged = copy("damaged");
    for name in ["final.safetensors", "checkpoint.safetensors"] {
        let file = damaged.join(name);
        let mut bytes = fs::read(&file).unwrap();
        let end = bytes.len() - 3;
        bytes[end] ^= 1;
        fs::write(&file, bytes).unwrap();
    }
    here
}

#[test]
fn faults_of_run_folders_are_named_with_a_remedy() {
    let here = folders();
    let at = here.path();
    for (folder, commands, said) in [
        (
            "half",
            &["eval half", "landscape half", "inspect half", "convert half w.npz", "train --resume half"][..],
            "half: is half there: it has checkpoint.safetensors, but no config.toml; the weights can be used by their file's name",
        ),
        (
            "weightless",
            &["eval weightless", "landscape weightless", "inspect weightless", "convert weightless w.npz"],
            "has no weights yet, neither final.safetensors nor checkpoint.safetensors; resume it with: comhe train --resume weightless",
        ),
        (
            "older",
            &["train --resume older", "replay older"],
            "older: is of an older version of comhe (folder format 1; this one knows 2); its weights can be used by comhe eval",
        ),
        (
            "unknown",
            &["eval unknown", "landscape unknown"],
            "unknown key \"of-tomorrow\"; the keys are the flags of comhe train; the run is of a newer version of comhe (folder format 3; this one knows 2)",
        ),
        (
            "other",
            &["eval other", "landscape other"],
            "is not of this network, mlp for 2 x 1 x 1 with 2 outputs:",
        ),
        (
            "other",
            &["train --resume other"],
            "other/config.toml: has changed since the run began: width was 1, and is 2",
        ),
        (
            "damaged",
            &[
                "eval damaged",
                "landscape damaged",
                "inspect damaged",
                "convert damaged w.npz",
                "replay damaged",
            ],
            "damaged/final.safetensors: is damaged, or not what the run wrote: its SHA-256 is ",
        ),
        (
            "damaged",
            &[
                "eval damaged/checkpoint.safetensors",
                "inspect damaged/checkpoint.safetensors",
                "energy damaged/checkpoint.safetensors",
            ],
            "damaged/checkpoint.safetensors: is damaged: it does not have the SHA-256 that it carries",
        ),
        ("good", &["eval good --width 3"], "good/final.safetensors: is not of this network, mlp for"),
    ] {
        for command in commands {
            let line = refuses(at, command);
            assert!(line.contains(said), "{folder}: {command}: {line}");
        }
    }
    // What the message promises, works.
    succeeds(at, "eval older");
    succeeds(at, "eval half/final.safetensors --dataset moons --model mlp");
    succeeds(at, "eval good");
    assert!(!at.join("w.npz").exists());
}

#[test]
fn a_report_tells_of_faults_and_goes_on() {
    let here = folders();
    let ran = comhe_in(here.path(), &["report", "damaged", "other", "unknown", "--out", "page"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let page = fs::read_to_string(here.path().join("page/report.md")).unwrap();
    for said in
        ["is damaged, or not what the run wrote", "is not of this network", "of a newer version of comhe"]
    {
        assert!(page.contains(said), "{said}: {page}");
    }
}
