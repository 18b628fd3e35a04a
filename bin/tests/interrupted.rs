//! Runs that are killed, run out of disk or are damaged resume, and end with the bytes of the uninterrupted run.
#![cfg(unix)]

mod common;
use common::{comhe_in, command, refuses, succeeds, uniform};

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nn::Archive;

/// Optimiser, projections, augmentation and order all depend on the step, and every file is written often.
const RUN: &str = "train --dataset digits --model mlp --train-size 200 --batch-size 40 --threads 1 --steps 24 \
                   --optimizer adamw --reg rp --reg-k 8 --reg-c 2 --reg-redraw 3 --augment crop-flip --eval-every 4 \
                   --checkpoint-every 2";

/// Files that depend on neither times nor interruptions.
const FILES: [&str; 6] =
    ["final.safetensors", "best.safetensors", "metrics.jsonl", "metrics.csv", "layers.csv", "config.toml"];

fn assert_same(here: &Path, whole: &str, other: &str) {
    for file in FILES {
        let bytes = |folder: &str| fs::read(here.join(folder).join(file)).unwrap();
        assert!(bytes(whole) == bytes(other), "{other}/{file} differs");
    }
}

/// Begins a run, or resumes the one that is there.
fn next(here: &Path, folder: &str) -> Vec<String> {
    let begun = here.join(folder).join("config.toml").exists();
    let line = if begun { format!("train --resume {folder}") } else { format!("{RUN} --out {folder}") };
    line.split_whitespace().map(str::to_string).collect()
}

#[test]
fn killed_at_random_moments() {
    const KILLS: usize = 12;
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let start = Instant::now();
    succeeds(here, &format!("{RUN} --out whole"));
    let whole = start.elapsed();
    let mut moments = uniform("moments of death");
    let (mut killed, mut round) = (0, 0);
    while killed < KILLS {
        round += 1;
        let folder = format!("run{round}");
        loop {
            let mut child = command()
                .current_dir(here)
                .args(next(here, &folder))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Enough kills are followed by peace.
            if killed < KILLS {
                sleep(whole.mul_f64(0.7 * moments.next().unwrap()));
                // One in four may still say goodbye.
                let signal = if killed % 4 == 3 { "-TERM" } else { "-KILL" };
                // A child that has ended by itself cannot be killed.
                let _ = Command::new("kill")
                    .args([signal, &child.id().to_string()])
                    .stderr(Stdio::null())
                    .status();
            }
            let status = child.wait().unwrap();
            if status.success() {
                break;
            }
            let ended = (status.signal(), status.code());
            assert!(matches!(ended, (Some(9 | 15), None) | (None, Some(1))), "{ended:?} in {folder}");
            killed += 1;
        }
        assert_same(here, "whole", &folder);
        let hidden = fs::read_dir(here.join(&folder))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
        assert_eq!(hidden.count(), 0, "temporary files stay in {folder}");
    }
}

#[test]
fn stopped_before_the_first_step() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    // The evaluation before the first step takes its time.
    let run =
        "train --model lenet --width 2 --train-size 60 --batch-size 30 --threads 1 --steps 3 --eval-every 3";
    succeeds(here, &format!("{run} --out whole"));
    let mut child = command()
        .current_dir(here)
        .args(format!("{run} --out run").split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !here.join("run/manifest.json").exists() {
        sleep(Duration::from_millis(1));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("stopped after step 0 of 3"), "{said}");
    succeeds(here, "train --resume run");
    assert_same(here, "whole", "run");
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_used() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    succeeds(here, &format!("{RUN} --out whole"));
    let copy = |name: &str| {
        fs::create_dir(here.join(name)).unwrap();
        for entry in fs::read_dir(here.join("whole")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), here.join(name).join(entry.file_name())).unwrap();
        }
    };
    let damages: [fn(&mut Vec<u8>); 3] =
        [|bytes| bytes[100_000] ^= 4, |bytes| bytes.truncate(9999), |bytes| bytes.clear()];
    for (i, damage) in damages.into_iter().enumerate() {
        let name = format!("run{i}");
        copy(&name);
        let file = here.join(&name).join("checkpoint.safetensors");
        let mut bytes = fs::read(&file).unwrap();
        damage(&mut bytes);
        fs::write(&file, bytes).unwrap();
        // It is not taken for weights, either.
        if i == 0 {
            assert!(refuses(here, "eval run0/checkpoint.safetensors").contains("is damaged"));
        }
        let ran = succeeds(here, &format!("train --resume {name}"));
        let said = ran.err.lines().find(|line| line.contains("checkpoint.safetensors")).unwrap();
        assert!(said.starts_with(&format!("{name}/checkpoint.safetensors: ")), "{said}");
        let then = "; going on from the one before it, checkpoint-previous.safetensors (step 22)";
        assert!(said.ends_with(then), "{said}");
        assert_same(here, "whole", &name);
        assert!(!succeeds(here, &format!("train --resume {name}")).err.contains("going on from"));
    }
    copy("none");
    for name in ["checkpoint.safetensors", "checkpoint-previous.safetensors"] {
        fs::write(here.join("none").join(name), "x").unwrap();
    }
    let line = refuses(here, "train --resume none");
    assert!(
        line.contains("none/checkpoint-previous.safetensors: ") && line.contains("begin again with"),
        "{line}"
    );
}

/// A small disk; it goes when this does.
struct Disk<'a>(&'a Path);

impl Disk<'_> {
    fn mount<'a>(path: &'a Path, size: &str) -> Option<Disk<'a>> {
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Disk(path))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.0).status().unwrap().success());
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.0).status();
    }
}

#[test]
fn a_full_disk() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let small = here.join("small");
    fs::create_dir(&small).unwrap();
    let Some(disk) = Disk::mount(&small, "1000k") else {
        eprintln!("a_full_disk: skipped, as no file system can be mounted here");
        return;
    };
    let arguments: Vec<String> = next(here, "small/run");
    let ran = comhe_in(here, &arguments);
    assert_eq!(ran.code, 1, "{ran:?}");
    let said: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("comhe: ")).collect();
    let [line] = said[..] else { panic!("{}", ran.err) };
    assert!(line.contains("cannot be written: No space left on device"), "{line}");
    assert!(line.contains("the last good checkpoint is small/run/checkpoint"), "{line}");
    // What was there is whole.
    let step = Archive::load(small.join("run/checkpoint.safetensors")).unwrap().metadata["step"].clone();
    assert!(line.ends_with(&format!("(step {step})")), "{line}");
    disk.grow("8m");
    succeeds(here, "train --resume small/run");
    succeeds(here, &format!("{RUN} --out whole"));
    assert_same(here, "whole", "small/run");
}

#[test]
fn a_limit_on_files() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    // Best weights fit, a checkpoint does not.
    let script = format!(
        "trap '' XFSZ; ulimit -f 300; exec {} {RUN} --out run",
        command().get_program().to_string_lossy()
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(here).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let line = said.lines().last().unwrap();
    assert!(line.contains("checkpoint.safetensors.next: cannot be written: File too large"), "{line}");
    assert!(line.ends_with("no checkpoint had been written (see --checkpoint-every)"), "{line}");
    let ran = succeeds(here, "train --resume run");
    assert!(ran.err.contains("run: has no checkpoint yet; beginning at step 0"), "{}", ran.err);
    succeeds(here, &format!("{RUN} --out whole"));
    assert_same(here, "whole", "run");
}

#[test]
fn folders_that_cannot_go_on_say_why() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    succeeds(here, &RUN.replace("--steps 24", "--steps 2 --out run"));
    let refused = || refuses(here, "train --resume run");
    let with = |name: &str, change: &dyn Fn(&[u8]) -> Option<Vec<u8>>| {
        let file = here.join("run").join(name);
        let kept = fs::read(&file).unwrap();
        match change(&kept) {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let line = refused();
        fs::write(&file, kept).unwrap();
        line
    };
    let format = |to: &'static str| {
        move |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            assert!(text.contains("\"format\": 2,"));
            Some(text.replace("\"format\": 2,", to).into_bytes())
        }
    };
    let older = with("manifest.json", &format(""));
    assert!(
        older.contains("run: is of an older version of comhe (folder format 1; this one knows 2)"),
        "{older}"
    );
    assert!(
        with("manifest.json", &format("\"format\": 9,"))
            .contains("a newer version of comhe (folder format 9")
    );
    let text = with("manifest.json", &format("\"format\": \"x\","));
    assert!(text.contains("manifest.json: is no manifest of a run: its format is \"x\""), "{text}");
    assert!(with("manifest.json", &|_| Some(b"{".to_vec())).contains("is no manifest of a run"));
    assert!(
        with("manifest.json", &|_| None)
            .contains("is half there: it has checkpoint.safetensors, but no manifest")
    );
    assert!(with("config.toml", &|_| None).contains(
        "is half there: it has checkpoint.safetensors, but no config.toml; the weights can be used"
    ));
    assert!(with("metrics.jsonl", &|_| None).contains("run/metrics.jsonl: cannot be continued"));
    assert!(with("checkpoint.safetensors", &|_| None).contains("has final weights but no checkpoint"));
    let other = "train --model lenet --train-size 100 --steps 1 --out other";
    succeeds(here, other);
    let another = fs::read(here.join("other/checkpoint.safetensors")).unwrap();
    let line = with("checkpoint.safetensors", &|_| Some(another.clone()));
    assert!(
        line.contains(
            "is not of the run that config.toml describes: the checkpoint is of model lenet, not mlp"
        ),
        "{line}"
    );

    // Settings that are not those of the beginning, by hand or by damage.
    let changed = |from: &'static str, to: &'static str| {
        with("config.toml", &|bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            assert!(text.contains(from));
            Some(text.replace(from, to).into_bytes())
        })
    };
    for (from, to, said) in [
        ("\nlr = 0.001\n", "\nlr = 0.1\n", "lr was 0.001, and is 0.1 (manifest.json has all of them)"),
        ("seed = 0\n", "seed = 1\n", "seed was 0, and is 1"),
        ("\"mlp\"", "\"lenet\"", "model was \"mlp\", and is \"lenet\""),
    ] {
        let line = changed(from, to);
        assert!(
            line.contains("run/config.toml: has changed since the run began: ") && line.contains(said),
            "{line}"
        );
    }
    assert!(with("config.toml", &|_| Some(Vec::new())).contains("has changed since the run began"));
    // The same network, and the checkpoint of another run.
    succeeds(here, &RUN.replace("--steps 24", "--steps 2 --seed 3 --out seed3"));
    let another = fs::read(here.join("seed3/checkpoint.safetensors")).unwrap();
    let line = with("checkpoint.safetensors", &|_| Some(another.clone()));
    assert!(line.contains("is not of the run that config.toml describes: seed was 3, and is 0"), "{line}");
    // A run only grows longer.
    let line = refuses(here, "train --resume run --steps 1");
    assert!(line.contains("run: has made 2 steps, which cannot become 1; give --steps 2 or more"), "{line}");
    let file = here.join("run/checkpoint.safetensors");
    fs::rename(&file, here.join("kept")).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(refused().contains("run/checkpoint.safetensors: is a folder, where the run keeps a file"));
    fs::remove_dir(&file).unwrap();
    fs::rename(here.join("kept"), &file).unwrap();
    succeeds(here, "train --resume run --steps 4 --eval-every 3");

    // Two at once.
    let mut child = command()
        .current_dir(here)
        .args(format!("{RUN} --out two").replace("--steps 24", "--steps 100000").split_whitespace())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !here.join("two/checkpoint.safetensors").exists() {
        sleep(Duration::from_millis(5));
    }
    let line = refuses(here, "train --resume two");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("two: is being written to by another comhe"), "{line}");
}
