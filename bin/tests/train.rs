//! Training runs from end to end: the folder, resuming, stopping, failing, and another framework's numbers.

mod common;
use common::{column, comhe_in, fixtures, formula, npy_bytes, refuses, succeeds, uniform, zip};

use std::fs;
use std::path::Path;

use autograd::Tensor;
use nn::Archive;

const TINY: &str = "train --dataset digits --model mlp --train-size 200 --batch-size 40 --threads 1";

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_run_folder_has_everything() {
    let here = tempfile::tempdir().unwrap();
    let ran = succeeds(here.path(), &format!("{TINY} --epochs 3 --reg rp --reg-k 8 --reg-c 2 --seed 5"));
    let folder = ran.out.lines().last().unwrap();
    assert_eq!(folder, "runs/digits-mlp-rp-1");
    let folder = here.path().join(folder);
    let mut names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let pictures = ["accuracy.svg", "angle.svg", "energy.svg", "loss.svg"];
    let expected = [
        "best.safetensors",
        "checkpoint.safetensors",
        "config.toml",
        "final.safetensors",
        "layers.csv",
        "manifest.json",
        "metrics.csv",
        "metrics.jsonl",
    ];
    let (drawn, others): (Vec<&str>, Vec<&str>) =
        names.iter().map(String::as_str).partition(|name| name.ends_with(".svg"));
    assert_eq!((&drawn[..], &others[..]), (&pictures[..], &expected[..]));

    let log = read(folder.join("metrics.jsonl"));
    let steps: Vec<f64> = (0..15).map(f64::from).collect();
    let log_of_steps: String =
        log.lines().filter(|l| l.contains("\"loss\"")).map(|l| format!("{l}\n")).collect();
    assert_eq!(column(&log_of_steps, "step"), steps);
    assert_eq!(column(&log, "epoch")[14], 2.0);
    for ((loss, fit), reg) in column(&log, "loss").iter().zip(column(&log, "fit")).zip(column(&log, "reg")) {
        assert!(reg > 0.0 && (loss - fit - reg).abs() < 1e-5);
    }
    assert_eq!(column(&log, "lr"), [0.05; 15]);
    let accuracy = column(&log, "test_acc");
    assert_eq!(accuracy.len(), 4, "before the first step and after each epoch");
    assert!(accuracy[3] > accuracy[0]);
    assert!(log.contains("\"full\":") && log.contains("\"half_space\":"));
    let manifest: serde_json::Value = serde_json::from_str(&read(folder.join("manifest.json"))).unwrap();
    assert_eq!(manifest["sessions"][0]["outcome"], "finished");
    assert_eq!(manifest["sessions"][0]["threads"], 1);
    assert_eq!(manifest["steps"], 15);
    assert!(read(folder.join("loss.svg")).contains("<polyline"));

    // Energies came before and after, and what they took is said.
    assert_eq!(log.lines().filter(|line| line.contains("\"layers\"")).count(), 2);
    assert_eq!(manifest["sessions"][0]["energies"]["measurements"], 2);
    assert!(manifest["sessions"][0]["energies"]["ms_each"].as_f64().unwrap() > 0.0);
    assert!(ran.err.contains("energies: measured 2 times"), "{}", ran.err);

    // The weights are what the last line of the log says.
    let json = succeeds(here.path(), "eval runs/digits-mlp-rp-1 --json").out;
    assert_eq!(column(&json, "accuracy"), accuracy[3..]);
    assert!(succeeds(here.path(), "eval runs/digits-mlp-rp-1").out.contains("smallest angle"));
    assert!(
        refuses(here.path(), "eval runs/digits-mlp-rp-1 --width 2")
            .contains("fc1.weight has shape [128, 64], [256, 64] is needed")
    );
    assert!(refuses(here.path(), "eval runs/digits-mlp-rp-1 --lr 2").contains("has no effect"));

    let settings = read(folder.join("config.toml"));
    assert!(settings.contains("lr = 0.05") && settings.contains("epochs = 3"), "{settings}");

    // A folder holds one run, and its settings make the same run again.
    let again = format!("train --config {0}/config.toml --out {0}", "runs/digits-mlp-rp-1");
    assert!(refuses(here.path(), &again).contains("holds a run already"));
    let again = "train --config runs/digits-mlp-rp-1/config.toml --threads 2 --out other";
    succeeds(here.path(), again);
    let weights = |folder: &Path| fs::read(folder.join("final.safetensors")).unwrap();
    assert_eq!(weights(&folder), weights(&here.path().join("other")), "whatever the threads");
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one_to_the_byte() {
    let here = tempfile::tempdir().unwrap();
    let rp = "--reg rp --reg-k 8 --reg-c 2 --reg-redraw 3";
    let kinds = [("sgd", rp), ("adamw", rp), ("sgd", "--reg ap --reg-k 3 --low-rank 4 --lr 0.01")];
    for (i, (optimizer, kind)) in kinds.iter().enumerate() {
        let settings = format!(
            "{TINY} --optimizer {optimizer} {kind} --augment crop-flip --eval-every 2 --energy-every 2 --checkpoint-every 3"
        );
        let (whole, parts) = (format!("whole{i}"), format!("parts{i}"));
        succeeds(here.path(), &format!("{settings} --steps 8 --out {whole}"));
        succeeds(here.path(), &format!("{settings} --steps 4 --out {parts}"));
        let log = here.path().join(&parts).join("metrics.jsonl");
        // What a crash after the checkpoint would have left behind.
        fs::write(&log, read(&log) + "{\"step\":4,\"loss\":1").unwrap();
        // What stays as it was may be said again.
        let same = format!("--optimizer {optimizer} --set threads=2 --set label-noise=0 --reg-gamma 1");
        succeeds(here.path(), &format!("train --resume {parts} --steps 8 {same}"));
        for file in ["metrics.jsonl", "checkpoint.safetensors", "final.safetensors"] {
            let bytes = |folder: &str| fs::read(here.path().join(folder).join(file)).unwrap();
            assert!(bytes(&whole) == bytes(&parts), "{optimizer}: {file} differs");
        }
        let manifest: serde_json::Value =
            serde_json::from_str(&read(here.path().join(&parts).join("manifest.json"))).unwrap();
        assert_eq!(manifest["sessions"].as_array().unwrap().len(), 2);
        for lr in ["--lr 1", "--set lr=1"] {
            let line = refuses(here.path(), &format!("train --resume {parts} {lr}"));
            assert!(line.contains("--lr cannot change"), "{line}");
        }
    }
}

#[test]
fn damaged_lines_of_the_log_are_cut_out_with_a_word() {
    let here = tempfile::tempdir().unwrap();
    succeeds(here.path(), &format!("{TINY} --steps 4 --out run"));
    let file = here.path().join("run").join("metrics.jsonl");
    let log = read(&file);
    let lines: Vec<&str> = log.lines().collect();
    // As many bytes as before, so that only the content tells.
    let damaged: Vec<String> = lines
        .iter()
        .enumerate()
        .map(|(i, l)| if i == 2 { "?".repeat(l.len()) } else { l.to_string() })
        .collect();
    fs::write(&file, damaged.join("\n") + "\n").unwrap();
    let ran = succeeds(here.path(), "train --resume run --steps 6");
    assert!(ran.err.contains("metrics.jsonl: cut out what is no JSON object: line 3"), "{}", ran.err);
    let kept = [&lines[..2], &lines[3..]].concat().join("\n") + "\n";
    assert!(read(&file).starts_with(&kept));
    // The checkpoint knows: the run resumes once more without a word.
    let again = succeeds(here.path(), "train --resume run --steps 8");
    assert!(!again.err.contains("cut out") && read(&file).starts_with(&kept), "{}", again.err);
}

#[test]
fn a_projection_that_fits_no_layer_is_told() {
    let here = tempfile::tempdir().unwrap();
    let ran = |flags: &str| succeeds(here.path(), &format!("{TINY} --steps 1 {flags}")).err;
    let told = ran("--reg rp --reg-k 200");
    assert!(told.contains("no hidden layer has dimensions enough for rp"), "{told}");
    assert!(told.contains("take a --reg-k of 128 or less"), "{told}");
    assert!(!ran("--reg rp --reg-k 128").contains("dimensions enough"));
    assert!(!ran("--reg rp --reg-k 20").contains("dimensions enough"));
    assert!(!ran("--reg hs-mhe --reg-half-space false").contains("dimensions enough"));
}

#[test]
fn groups_that_fit_no_layer_are_refused_and_the_most_that_would_is_said() {
    let here = tempfile::tempdir().unwrap();
    let most = |command: &str| {
        let line = refuses(here.path(), &format!("{command} --reg-groups 100000"));
        let (said, most) = line.rsplit_once(' ').unwrap();
        assert!(said.contains("--reg-groups is 100000; no hidden layer of "), "{line}");
        most.parse::<usize>().unwrap()
    };
    let most =
        [format!("{TINY} --reg group"), "compare --regs none,group".into()].map(|command| most(&command));
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0, "nothing is left behind");
    let ran = |groups| {
        comhe_in(
            here.path(),
            &format!("{TINY} --steps 1 --reg group --reg-groups {groups}").split(' ').collect::<Vec<_>>(),
        )
    };
    assert_eq!((ran(most[0]).code, ran(most[0] + 1).code), (0, 2));
}

#[test]
fn initial_weights_without_an_energy_are_refused_before_the_run() {
    let here = tempfile::tempdir().unwrap();
    succeeds(here.path(), &format!("{TINY} --steps 1 --out first"));
    let mut archive = Archive::load(here.path().join("first/final.safetensors")).unwrap();
    let mut change = |value: f64| {
        let (name, w) = archive.tensors.iter_mut().find(|(_, t)| t.rank() == 2).unwrap();
        let d = w.shape()[1];
        w.update::<f32>(|w| w[3 * d..4 * d].fill(value as f32));
        let name = name.clone();
        archive.save(here.path().join("init.safetensors")).unwrap();
        name
    };
    let name = change(0.0);
    let begin = format!("{TINY} --steps 1 --init init.safetensors --out second");
    for reg in ["none", "mhe"] {
        let line = refuses(here.path(), &format!("{begin} --reg {reg} --reg-eps 0"));
        assert!(line.contains(&format!("init.safetensors: {name}: row 3 is zero")), "{line}");
    }
    assert!(!here.path().join("second").exists());
    change(f64::NAN);
    let line = refuses(here.path(), &begin);
    assert!(
        line.contains(&format!("init.safetensors: tensor {name}: element [3, 0] is NaN; all must be finite")),
        "{line}"
    );
}

#[test]
fn weights_of_low_rank_are_trained_and_evaluated() {
    let here = tempfile::tempdir().unwrap();
    succeeds(here.path(), &format!("{TINY} --low-rank 4 --reg hs-mhe --lr 0.02 --steps 30 --out run"));
    let names: Vec<String> = Archive::load(here.path().join("run/final.safetensors"))
        .unwrap()
        .tensors
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let of = |layer: &str| ["bias", "left", "projection", "right"].map(|part| format!("{layer}.{part}"));
    let wanted =
        [of("fc1").to_vec(), of("fc2").to_vec(), vec!["fc3.bias".into(), "fc3.weight".into()]].concat();
    assert_eq!(names, wanted);
    let fit = column(&read(here.path().join("run/metrics.jsonl")), "fit");
    assert!(fit[29] < 0.9 * fit[0], "{fit:?}");
    assert!(succeeds(here.path(), "eval run").out.contains("fc1.left"));
    let line = refuses(here.path(), "eval run --low-rank 5");
    assert!(line.contains("fc1.left has shape [128, 4], [128, 5] is needed"), "{line}");
    assert!(
        refuses(here.path(), &format!("{TINY} --low-rank 999"))
            .contains("--low-rank: rank 999 changes nothing")
    );
}

#[test]
#[cfg(unix)]
fn a_signal_ends_the_run_with_a_checkpoint() {
    let here = tempfile::tempdir().unwrap();
    let settings = format!("{TINY} --steps 100000 --out run");
    let child = common::command()
        .current_dir(here.path())
        .args(settings.split_whitespace())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let log = here.path().join("run/metrics.jsonl");
    while fs::metadata(&log).map_or(0, |m| m.len()) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let killed =
        std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let last = said.lines().last().unwrap();
    assert!(last.contains("of 100000; resume it with: comhe train --resume run"), "{last}");
    let step =
        Archive::load(here.path().join("run/checkpoint.safetensors")).unwrap().metadata["step"].clone();
    assert!(last.contains(&format!("stopped after step {step} ")));
    assert!(!here.path().join("run/final.safetensors").exists());
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint() {
    let here = tempfile::tempdir().unwrap();
    let settings = format!("{TINY} --lr 1e25 --steps 50 --checkpoint-every 1 --out run");
    let ran = comhe_in(here.path(), &settings.split_whitespace().collect::<Vec<_>>());
    assert_eq!(ran.code, 1);
    let line = ran.err.lines().last().unwrap();
    assert!(line.contains(": step ") && line.contains("is not finite; the result of "), "{line}");
    assert!(line.contains("the last good checkpoint is run/checkpoint.safetensors (step "), "{line}");
    let checkpoint = Archive::load(here.path().join("run/checkpoint.safetensors")).unwrap();
    assert!(checkpoint.tensors.iter().all(|(_, t)| t.is_finite()));
    assert!(!here.path().join("run/final.safetensors").exists());
}

#[test]
fn weights_that_do_not_fit_are_listed() {
    let here = tempfile::tempdir().unwrap();
    let tensors = vec![
        ("fc1.weight".into(), Tensor::from([[1.0f32, 2.0]])),
        ("fc9.bias".into(), Tensor::from([1.0f32])),
    ];
    Archive::of(tensors).save(here.path().join("w.safetensors")).unwrap();
    let line = refuses(here.path(), &format!("{TINY} --init w.safetensors --steps 1 --out run"));
    for part in [
        "fc1.weight has shape [1, 2], [128, 64] is needed",
        "fc2.bias [128] is missing",
        "fc9.bias [1] is left over",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!here.path().join("run").exists(), "nothing is left behind");
}

/// Writes data and initial weights of a fixture run, and gives the rest of the name.
fn fixture(folder: &Path, net: &str, shape: [usize; 3], extra: &str) {
    let [c, h, w] = shape;
    let images = formula(&format!("{net}/images"), 80 * c * h * w);
    let labels: Vec<i64> =
        uniform(&format!("{net}/labels")).take(80).map(|u| (u * 10.0).floor() as i64).collect();
    let x = npy_bytes("<f8", &[80, c, h, w], images.iter().flat_map(|v| v.to_le_bytes()));
    let y = npy_bytes("<i8", &[80], labels.iter().flat_map(|v| v.to_le_bytes()));
    let names = ["x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy"];
    let entries: Vec<(&str, Vec<u8>)> = names.into_iter().zip([x.clone(), y.clone(), x, y]).collect();
    zip(&folder.join("data.npz"), &entries);

    let model = nn::models::build(net, shape, 10, 1, autograd::Key::new(0), autograd::DType::F64).unwrap();
    let mut tensors = Vec::new();
    nn::Module::visit(&model, &mut |name, t, kind| {
        let f = formula(&format!("{net}/{name}"), t.numel());
        let fan_in: usize = t.shape().iter().skip(1).product();
        let value = |f: f64| match (kind, t.rank()) {
            (nn::Kind::Buffer, _) => f64::from(u8::from(name.ends_with("running_var"))),
            (_, 1) => 0.1 * f + f64::from(u8::from(name.ends_with("weight"))),
            _ => f * (6.0 / fan_in as f64).sqrt(),
        };
        let values: Vec<f64> = f.into_iter().map(value).collect();
        tensors.push((name.to_string(), Tensor::new(&values, t.shape())));
    });
    Archive::of(tensors).save(folder.join("init.safetensors")).unwrap();
    succeeds(
        folder,
        &format!(
            "train --dataset file:data.npz --model {net} --init init.safetensors --no-shuffle --augment none --dtype f64 \
             --batch-size 8 --steps 10 --momentum 0.9 --weight-decay 5e-4 --schedule constant --out run {extra}"
        ),
    );
}

#[test]
fn ten_steps_are_those_of_another_framework() {
    let expected = Archive::load(fixtures().join("train.safetensors")).unwrap();
    for (run, net, shape, extra) in [
        ("lenet", "lenet", [1, 28, 28], "--lr 0.005"),
        ("cnn9_hsmhe", "cnn9", [3, 32, 32], "--lr 0.05 --label-smoothing 0.01 --reg hs-mhe"),
    ] {
        let here = tempfile::tempdir().unwrap();
        fixture(here.path(), net, shape, extra);
        let log = read(here.path().join("run/metrics.jsonl"));
        for key in ["loss", "fit", "reg", "acc"] {
            let (found, wanted) =
                (column(&log, key), expected.get(&format!("{run}/{key}")).unwrap().to_vec::<f64>());
            assert_eq!(found.len(), 10);
            for (step, (a, b)) in found.iter().zip(&wanted).enumerate() {
                assert!((a - b).abs() <= 1e-9 * b.abs(), "{run}, step {step}, {key}: {a}, not {b}");
            }
        }
        // Sum, sum of squares, and two projections of every trained tensor.
        let weights = Archive::load(here.path().join("run/final.safetensors")).unwrap();
        for (name, t) in &weights.tensors {
            let full = expected.get(&format!("{run}/final/{name}.digest")).unwrap().to_vec::<f64>();
            let v = t.to_vec::<f64>();
            let dot = |other: &[f64]| v.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
            let probe = |i: u8| dot(&formula(&format!("{run}/final/{name}/probe{i}"), v.len()));
            let found = [v.iter().sum(), dot(&v), probe(0), probe(1)];
            let scale = [full[1].sqrt(), full[1], full[1].sqrt(), full[1].sqrt()];
            for i in 0..4 {
                let error = (found[i] - full[i]).abs() / scale[i];
                assert!(error < 1e-8, "{run}, {name}, digest {i}: {}, not {}", found[i], full[i]);
            }
        }
    }
}

#[test]
fn energies_have_a_period_of_their_own() {
    let here = tempfile::tempdir().unwrap();
    let run = |flags: &str, out: &str| {
        succeeds(here.path(), &format!("{TINY} --reg mhe --eval-every 6 --out {out} {flags}"));
        read(here.path().join(out).join("metrics.jsonl"))
    };
    let at = |log: &str, key: &str| -> Vec<u64> {
        let lines = log.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        lines.filter(|l| !l[key].is_null()).map(|l| l["step"].as_u64().unwrap()).collect()
    };
    let log = run("--steps 15 --energy-every 4", "own");
    assert_eq!(at(&log, "layers"), [0, 4, 8, 12, 15]);
    assert_eq!(at(&log, "test_acc"), [0, 6, 12, 15]);
    let rare = run("--steps 15 --energy-every 100", "rare");
    assert_eq!((at(&rare, "layers"), at(&rare, "test_acc")), (vec![0, 15], vec![0, 6, 12, 15]));
    // Unless told, with an evaluation, 100 steps or more apart: so they stay below a hundredth of the time.
    assert_eq!(at(&run("--steps 110", "default"), "layers"), [0, 102, 110]);
    let svg = read(here.path().join("own/energy.svg"));
    // Three layers under three titles, the regulariser's own value among them.
    assert!(svg.contains("Penalty of each layer before its weight: mhe"));
    assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (9, 5 * 9));

    // A resumed run measures at the same steps; the period may change.
    let begun = run("--steps 6 --energy-every 4", "begun");
    assert_eq!(at(&begun, "layers"), [0, 4, 6]);
    succeeds(here.path(), "train --resume begun --steps 15 --energy-every 5");
    assert_eq!(at(&read(here.path().join("begun/metrics.jsonl")), "layers"), [0, 4, 6, 10, 15]);
}

#[test]
#[cfg(target_os = "linux")]
fn names_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let here = tempfile::tempdir().unwrap();
    let odd = here.path().join(OsStr::from_bytes(b"odd\xff"));
    for class in ["a", "b"] {
        fs::create_dir_all(odd.join("photos").join(class)).unwrap();
        for name in [&b"1.pgm"[..], b"2\xff.pgm"] {
            fs::write(odd.join("photos").join(class).join(OsStr::from_bytes(name)), "P2\n2 2\n9\n1 2 3 4\n")
                .unwrap();
        }
    }
    // What is read by its place in a list may have any name, and so may the working directory.
    let run = "train --dataset images:photos --image-size 8 --model mlp --steps 1 --threads 1 --out run";
    succeeds(&odd, run);
    assert!(succeeds(&odd, "replay run --out again --json").out.contains("\"equal\":true"));
    let json = comhe_in(&odd, &["eval".as_ref(), odd.join("run").as_os_str(), "--json".as_ref()]);
    assert_eq!(json.code, 0, "{json:?}");
    // What becomes a command is text.
    fs::write(odd.join("sweep.toml"), "[base]\ndataset = \"digits\"\n").unwrap();
    assert!(refuses(&odd, "sweep sweep.toml").contains("is not UTF-8, which the commands of the runs need"));
    assert!(!odd.join("runs").exists());
    // A setting is text.
    let [train, out, never, init] = ["train", "--out", "never", "--init"].map(OsStr::new);
    let ran = comhe_in(here.path(), &[train, out, never, init, odd.as_os_str()]);
    assert_eq!((ran.code, ran.err.lines().count()), (2, 1), "{ran:?}");
    assert!(ran.err.contains(": --init takes a path in UTF-8, and this is none"), "{ran:?}");
    assert!(!here.path().join("never").exists());
}
