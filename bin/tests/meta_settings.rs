//! `comhe meta`: settings from files and assignments, resuming with others, damaged folders, replaying.

mod common;
use common::{comhe_in, refuses, succeeds};

use std::fs;
use std::path::Path;

use serde_json::Value;

const SHORT: &str = "--meta-steps 4 --meta-batch 2 --test-tasks 4 --checkpoint-every 2 --threads 1";

fn text(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[test]
fn files_assignments_and_flags_give_the_same_run() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let flags =
        "--task digits --way 3 --noise gaussian --noise-rate 0.2 --optimizer sgd --meta-schedule cosine";
    succeeds(here, &format!("meta {flags} {SHORT} --out flags"));
    let set = "--set task=digits --set way=3 --set noise=gaussian --set noise.rate=0.2 --set optimizer.name=sgd --set \
               meta-schedule=cosine";
    succeeds(here, &format!("meta {set} {SHORT} --out set"));
    let file = "task = \"digits\"\nway = 3\nmeta-schedule = \"cosine\"\n[noise]\nname = \"gaussian\"\nrate = 0.2\n\
                [optimizer]\nname = \"sgd\"\n";
    fs::write(here.join("run.toml"), file).unwrap();
    succeeds(here, &format!("meta --config run.toml {SHORT} --out file"));
    // The file of a run makes it again.
    succeeds(here, "meta --config flags/meta.toml --out again");
    let settings = text(&here.join("flags"), "meta.toml");
    assert!(
        settings.contains("[noise]\nname = \"gaussian\"\nrate = 0.2\nschedule = \"constant\""),
        "{settings}"
    );
    assert!(settings.contains("shot = 5") && settings.contains("model = \"conv4\""), "{settings}");
    for run in ["set", "file", "again"] {
        assert_eq!(text(&here.join(run), "meta.toml"), settings, "{run}");
        let [a, b] = ["flags", run].map(|run| fs::read(here.join(run).join("final.safetensors")).unwrap());
        assert!(a == b, "{run}");
    }
    // Flags are above the file.
    succeeds(here, "meta --config flags/meta.toml --way 2 --set noise.rate=0.3 --out above");
    let above = text(&here.join("above"), "meta.toml");
    assert!(above.contains("way = 2") && above.contains("rate = 0.3"), "{above}");
}

#[test]
fn a_cosine_lowers_the_rate() {
    let here = tempfile::tempdir().unwrap();
    let run = |schedule: &str| {
        succeeds(here.path(), &format!("meta {SHORT} --meta-schedule {schedule} --out {schedule}"));
        text(&here.path().join(schedule), "metrics.jsonl").lines().map(String::from).collect::<Vec<_>>()
    };
    let (constant, cosine) = (run("constant"), run("cosine"));
    // The first update has the same rate.
    assert_eq!(constant[..2], cosine[..2]);
    assert_ne!(constant[2..], cosine[2..]);
}

#[test]
fn mistakes_in_files_have_their_line() {
    let here = tempfile::tempdir().unwrap();
    for (text, said) in [
        ("way = 3\nmeta-lr = -1.0", "a.toml: line 2: meta-lr is -1; it must be"),
        ("meta-lr = nan", "a.toml: line 1: meta-lr is NaN; it must be"),
        ("\n[noise]\nrate = 1.0", "a.toml: line 3: noise.rate is 1; it must be from 0 to 1, below 1"),
        ("[noise]\nrat = 1.0", "a.toml: line 2: unknown key \"noise.rat\"; did you mean noise.rate?"),
        (
            "[noise]\nname = \"bernouli\"",
            "line 2: noise.name = \"bernouli\": there is no noise \"bernouli\"; did you mean",
        ),
        (
            "learner = \"anill\"",
            "a.toml: line 1: learner = \"anill\": there is no learner \"anill\"; did you mean anil?",
        ),
        ("\nshots = 3", "a.toml: line 2: unknown key \"shots\"; did you mean shot?"),
        ("reg = \"rp\"", "a.toml: line 1: unknown key \"reg\"; the keys are the flags of comhe meta"),
        ("shot = \"many\"", "a.toml: line 1: shot = \"many\": a natural number is needed"),
        (
            "task = \"digit\"",
            "a.toml: line 1: task is digit: there is no task \"digit\"; did you mean digits?",
        ),
        ("noise-rate = 0.1\n[noise]\nrate = 0.2", "noise-rate and noise.rate are the same setting"),
        ("way = ", "a.toml: line 1: "),
    ] {
        fs::write(here.path().join("a.toml"), text).unwrap();
        let line = refuses(here.path(), "meta --config a.toml");
        assert!(line.contains(said), "{text:?}: {line}");
    }
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 1);
}

#[test]
fn a_finished_run_can_be_longer_but_not_another_one() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    succeeds(here, &format!("meta {SHORT} --out run"));
    let six = SHORT.replace("--meta-steps 4", "--meta-steps 6");
    succeeds(here, &format!("meta {six} --out six"));
    succeeds(here, "meta --resume run --meta-steps 6 --checkpoint-every 3");
    for file in ["metrics.jsonl", "final.safetensors", "result.json"] {
        let [run, six] = ["run", "six"].map(|run| fs::read(here.join(run).join(file)).unwrap());
        assert!(run == six, "{file}");
    }
    let line = refuses(here, "meta --resume run --meta-steps 5");
    assert!(line.contains("has made 6 steps, which cannot become 5"), "{line}");
    let line = refuses(here, "meta --resume run --learner anil");
    let may = "--meta-steps, --checkpoint-every, --data-dir, --threads can";
    assert!(
        line.contains("--learner cannot change when a run resumes; only") && line.contains(may),
        "{line}"
    );
    // A file that was edited.
    let settings = text(&here.join("run"), "meta.toml");
    fs::write(here.join("run/meta.toml"), settings.replace("inner-lr = 0.01", "inner-lr = 0.02")).unwrap();
    for command in ["meta --resume run", "replay run"] {
        let line = refuses(here, command);
        assert!(line.contains("has changed since the run began: inner-lr was 0.01, and is 0.02"), "{line}");
    }
}

#[test]
fn damaged_folders_have_one_line() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let fresh = || {
        let _ = fs::remove_dir_all(here.join("run"));
        succeeds(here, &format!("meta {SHORT} --out run"));
    };
    let run = here.join("run");
    fresh();
    // One damaged checkpoint: the run resumes from the one before it, to the same bytes.
    let whole = fs::read(run.join("final.safetensors")).unwrap();
    let mut bytes = fs::read(run.join("checkpoint.safetensors")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(run.join("checkpoint.safetensors"), &bytes).unwrap();
    let ran = succeeds(here, "meta --resume run");
    assert!(
        ran.err.contains("going on from the one before it, checkpoint-previous.safetensors (step 2)"),
        "{}",
        ran.err
    );
    assert!(fs::read(run.join("final.safetensors")).unwrap() == whole);
    for file in ["checkpoint.safetensors", "checkpoint-previous.safetensors"] {
        fs::write(run.join(file), &bytes[..50]).unwrap();
    }
    let line = refuses(here, "meta --resume run");
    assert!(line.contains("begin again with: comhe meta --config run/meta.toml"), "{line}");
    fresh();
    fs::write(run.join("manifest.json"), "{").unwrap();
    assert!(refuses(here, "meta --resume run").contains("manifest.json: is no manifest of a run"));
    fs::remove_file(run.join("manifest.json")).unwrap();
    assert!(refuses(here, "meta --resume run").contains("is half there"));
    fresh();
    fs::write(run.join("metrics.jsonl"), "").unwrap();
    assert!(
        refuses(here, "meta --resume run").contains("metrics.jsonl: cannot be continued: 0 bytes are there")
    );
    fs::write(run.join("meta.toml"), "way = 3\nway = 4").unwrap();
    assert!(refuses(here, "meta --resume run").contains("meta.toml: line 2: duplicate key way"));
}

#[test]
fn a_replay_has_the_same_bytes() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    succeeds(here, &format!("meta --task digits --way 2 --noise bernoulli {SHORT} --out runs/a"));
    let ran = succeeds(here, "replay runs/a --threads 2");
    assert!(
        ran.out.starts_with("equal: the final weights are the same bytes")
            && ran.out.ends_with("runs/a-replay-1\n")
    );
    let said: Value = serde_json::from_str(&succeeds(here, "replay runs/a --json").out).unwrap();
    assert_eq!((&said["equal"], &said["differing"]), (&true.into(), &0.into()));
    // A run whose weights changed, and one that is not finished.
    let mut bytes = fs::read(here.join("runs/a/final.safetensors")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(here.join("runs/a/final.safetensors"), bytes).unwrap();
    assert!(refuses(here, "replay runs/a").contains("is damaged, or not what the run wrote"));
    fs::remove_file(here.join("runs/a/final.safetensors")).unwrap();
    assert!(refuses(here, "replay runs/a").contains("finish it with: comhe meta --resume runs/a"));
    // A schedule that follows the length of the run, which was changed.
    succeeds(here, &format!("meta --meta-schedule cosine {SHORT} --out runs/b"));
    succeeds(here, "meta --resume runs/b --meta-steps 6");
    let line = refuses(here, "replay runs/b");
    assert!(line.contains("its length changed from 4 to 6 steps, and the cosine schedule with it"), "{line}");
    assert_eq!(comhe_in(here, &["replay", "runs/b", "--out", "c"]).code, 2);
}
