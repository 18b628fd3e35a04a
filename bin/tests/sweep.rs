//! Sweeps: each run is executed once, statistics, failing runs, a changed file, jobs for other programs.

mod common;
use common::{comhe_in, refuses, succeeds};

use std::fs;
use std::path::Path;

const FILE: &str = "seeds = 2\nbaseline = { reg = \"none\" }\n[base]\ndataset = \"moons\"\ntrain-size = 60\nmodel = \"mlp\"\n\
                    steps = 6\neval-every = 3\n[grid]\nreg = [\"none\", \"mhe\"]\nreg-weight = [0.5, 1.0]\n";

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn a_sweep_makes_each_run_once_and_tests_what_it_chose() {
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("a.toml"), FILE).unwrap();
    let ran = succeeds(here.path(), "sweep a.toml --threads 2");
    assert!(ran.out.ends_with("runs/sweep-a\n"), "{}", ran.out);
    // The weight has no effect without a regulariser: three settings, two seeds.
    let folder = here.path().join("runs/sweep-a");
    assert_eq!(fs::read_dir(folder.join("runs")).unwrap().count(), 6);
    let csv = read(&folder, "sweep.csv");
    let rows = |split: &str| csv.lines().filter(|line| line.starts_with(split)).count();
    assert_eq!((rows("validation"), rows("test")), (3, 2), "{csv}");
    assert_eq!(
        fs::read_dir(folder.join("test")).unwrap().count(),
        4,
        "only what is chosen meets the test images"
    );
    for run in fs::read_dir(folder.join("runs")).unwrap() {
        assert!(!read(&run.unwrap().path(), "metrics.jsonl").contains("test_acc"));
    }
    // The mean is that of the logs.
    let of_none = |name: &str| name.starts_with("reg=none_");
    let names =
        fs::read_dir(folder.join("runs")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let last = |name: String| {
        *common::column(&read(&folder.join("runs").join(name), "metrics.jsonl"), "val_acc").last().unwrap()
    };
    let values: Vec<f64> = names.filter(|n| of_none(n)).map(last).collect();
    let mean = csv
        .lines()
        .find(|l| l.contains("reg=none"))
        .unwrap()
        .split(',')
        .nth(3)
        .unwrap()
        .parse::<f64>()
        .unwrap();
    assert!((mean - (values[0] + values[1]) / 2.0).abs() < 1e-12);
    // Once more: nothing is done again, and the result is the same.
    let again = succeeds(here.path(), "sweep a.toml --threads 2");
    assert!(again.err.contains("6 of 6 runs are finished already") && again.out == ran.out, "{}", again.err);
    assert_eq!(succeeds(here.path(), "sweep a.toml --collect").out, ran.out);
    // A changed file is noticed; what it leaves as it was stays.
    fs::write(here.path().join("a.toml"), FILE.replace("[0.5, 1.0]", "[0.5, 2.0]")).unwrap();
    let changed = succeeds(here.path(), "sweep a.toml");
    assert!(
        changed.err.contains("has changed since this sweep began (grid.reg-weight): 4 of its 6"),
        "{}",
        changed.err
    );
    assert!(
        changed.out.contains("reg-weight=2.0") && !changed.out.contains("reg-weight=1.0"),
        "{}",
        changed.out
    );
}

#[test]
fn a_failing_run_stops_no_other() {
    let here = tempfile::tempdir().unwrap();
    let text = FILE.replace("reg = [\"none\", \"mhe\"]\nreg-weight = [0.5, 1.0]", "lr = [0.1, 1e30]");
    fs::write(here.path().join("b.toml"), text.replace("baseline = { reg = \"none\" }\n", "")).unwrap();
    let ran = comhe_in(here.path(), &["sweep", "b.toml", "--out", "b"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("lr=0.1") && ran.err.contains("2 of 4 runs are not finished"), "{ran:?}");
    assert!(read(&here.path().join("b"), "sweep.md").contains("Not finished:\n\n- lr=1e30_seed0"));
}

#[test]
fn a_diverged_run_stops_no_other() {
    let here = tempfile::tempdir().unwrap();
    // After one step at 1e30 the weights are finite in f32, the outputs are not.
    let text = FILE.replace("reg = [\"none\", \"mhe\"]\nreg-weight = [0.5, 1.0]", "lr = [0.1, 1e30]");
    let text = text.replace("baseline = { reg = \"none\" }\n", "").replace("steps = 6", "steps = 1");
    fs::write(here.path().join("b.toml"), text).unwrap();
    let ran = comhe_in(here.path(), &["sweep", "b.toml", "--out", "b"]);
    assert!(ran.code == 1 && ran.err.contains("lr=1e30_seed0"), "{ran:?}");
    assert!(
        ran.err.contains("the run diverged") && ran.err.contains("2 of 4 runs are not finished"),
        "{ran:?}"
    );
    let validation = |folder: &str| {
        let csv = read(&here.path().join(folder), "sweep.csv");
        csv.lines().filter(|l| l.starts_with("validation")).map(String::from).collect::<Vec<_>>()
    };
    assert!(
        validation("b").len() == 1 && validation("b")[0].contains("\"lr=0.1\",2,"),
        "{:?}",
        validation("b")
    );
    // A run whose last loss is null in the log has no score, even if its folder says that it is finished.
    let run = fs::read_dir(here.path().join("b/runs")).unwrap().map(|e| e.unwrap().path());
    let run = run.into_iter().find(|path| path.join("final.safetensors").is_file()).unwrap();
    let log = read(&run, "metrics.jsonl");
    let (first, last) = log.split_at(log.rfind("\"val_loss\":").unwrap());
    let end = last.find(',').unwrap();
    fs::write(run.join("metrics.jsonl"), format!("{first}\"val_loss\":null{}", &last[end..])).unwrap();
    let ran = comhe_in(here.path(), &["sweep", "b.toml", "--out", "b", "--collect"]);
    assert!(ran.code == 1 && ran.err.contains("last evaluation is not finite"), "{ran:?}");
    assert!(ran.err.contains("3 of 4 runs are not finished"), "{ran:?}");
    assert!(validation("b")[0].contains("\"lr=0.1\",1,"), "{:?}", validation("b"));
}

#[test]
fn a_baseline_is_known_by_what_it_means() {
    let here = tempfile::tempdir().unwrap();
    // reg is none by default, and 1 is 1.0.
    let text = "seeds = 2\nbaseline = { reg = \"none\", lr = 1e-1 }\n[base]\ndataset = \"moons\"\ntrain-size = 60\nmodel = \"mlp\"\n\
                steps = 3\nlr = 0.1\n[[point]]\n[[point]]\nreg = \"mhe\"\nreg-weight = 1\n[[point]]\nreg = \"mhe\"\nreg-weight = 1.0\n";
    fs::write(here.path().join("d.toml"), text).unwrap();
    succeeds(here.path(), "sweep d.toml --out d");
    let csv = read(&here.path().join("d"), "sweep.csv");
    let difference = |setting: &str| {
        let row = csv.lines().find(|line| line.starts_with(&format!("validation,\"{setting}"))).unwrap();
        row.split(',').nth(7).unwrap().to_string()
    };
    assert_eq!(csv.lines().filter(|line| line.starts_with("validation")).count(), 2, "{csv}");
    assert!(difference("base").is_empty() && !difference("reg=mhe").is_empty(), "{csv}");
    // Classes choose cross-entropy where no loss is named: of the first two points one remains.
    let text = "seeds = 1\nbaseline = { loss.name = \"cross-entropy\" }\n[base]\ndataset = \"moons\"\ntrain-size = 60\n\
                model = \"mlp\"\nsteps = 3\n[[point]]\n[[point]]\nloss.name = \"cross-entropy\"\n[[point]]\nloss.name = \"isda\"\n";
    fs::write(here.path().join("l.toml"), text).unwrap();
    succeeds(here.path(), "sweep l.toml --out l");
    let csv = read(&here.path().join("l"), "sweep.csv");
    assert_eq!(csv.lines().filter(|line| line.starts_with("validation")).count(), 2, "{csv}");
}

#[test]
fn halving_and_random_values() {
    let here = tempfile::tempdir().unwrap();
    let text = FILE
        .replace("[grid]\nreg = [\"none\", \"mhe\"]\nreg-weight = [0.5, 1.0]\n", "")
        .replace("baseline = { reg = \"none\" }\n", "")
        + "[random]\nsamples = 4\n[random.of]\nlr = { log-uniform = [0.01, 0.3] }\n[halving]\nstart = 3\neta = 2\n";
    fs::write(here.path().join("c.toml"), &text).unwrap();
    let ran = succeeds(here.path(), "sweep c.toml --out c");
    assert!(
        ran.err.contains("round 1 of 2: 4 settings, length 3")
            && ran.err.contains("round 2 of 2: 2 settings")
    );
    assert_eq!(
        read(&here.path().join("c"), "sweep.csv").lines().filter(|l| l.starts_with("validation")).count(),
        2
    );
    // More samples keep the first ones.
    fs::write(here.path().join("c.toml"), text.replace("samples = 4", "samples = 5")).unwrap();
    assert!(succeeds(here.path(), "sweep c.toml --out c").err.contains("8 of 10 runs are finished already"));
}

#[test]
fn jobs_of_other_programs_give_the_same_table() {
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("a.toml"), FILE).unwrap();
    let expected = succeeds(here.path(), "sweep a.toml").out.replace("runs/sweep-a", "");
    let sh = |text: &str, variables: &[(&str, &str)]| {
        let status = std::process::Command::new("sh")
            .args(["-c", text])
            .current_dir(here.path())
            .envs(variables.iter().copied())
            .status();
        assert!(status.unwrap().success(), "{text}");
    };
    succeeds(here.path(), "sweep a.toml --out p --emit gnu-parallel");
    let missing = comhe_in(here.path(), &["sweep", "a.toml", "--out", "p", "--collect"]);
    assert!(missing.code == 1 && missing.err.contains("6 of 6 runs are not finished"), "{missing:?}");
    sh("sh -e p/jobs.txt", &[]);
    // A restarted task resumes.
    let cut = fs::read_dir(here.path().join("p/runs")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(cut.join("final.safetensors")).unwrap();
    sh("sh -e p/jobs.txt", &[]);
    // The tasks of an array job, and the ranks of MPI, one after the other.
    succeeds(here.path(), "sweep a.toml --out s --emit slurm");
    (1..=6).for_each(|i| sh("sh s/sweep.sbatch", &[("SLURM_ARRAY_TASK_ID", &i.to_string())]));
    succeeds(here.path(), "sweep a.toml --out m --emit mpi");
    for rank in ["0", "1"] {
        sh("sh m/sweep-mpi.sh", &[("OMPI_COMM_WORLD_RANK", rank), ("OMPI_COMM_WORLD_SIZE", "2")]);
    }
    for folder in ["p", "s", "m"] {
        let out = succeeds(here.path(), &format!("sweep a.toml --out {folder} --collect")).out;
        assert_eq!(out.strip_suffix(&format!("{folder}\n")), expected.strip_suffix('\n'), "{folder}");
    }
}

#[test]
fn mistakes_in_the_file_are_one_line() {
    let here = tempfile::tempdir().unwrap();
    for (text, said) in [
        ("seed = 3\n", "line 1: unknown key \"seed\"; did you mean seeds?"),
        ("[grid]\nlrr = [1]\n", "line 2: unknown key \"lrr\"; did you mean lr?"),
        ("[base]\nseed = 3\n", "seeds lists them"),
        ("seeds = [1, 1]\n", "none twice"),
        ("seeds = -1\n", "line 1: seeds must be a number of seeds, from 0 on, or a list of them"),
        ("seeds = 1000000000000\n", "has more than 100000 runs"),
        ("[random]\nsamples = 1000000000000\n[random.of]\nlr = { int = [0, 1] }\n", "more than 100000 runs"),
        ("[halving]\nstart = 100\n", "start is 100; it must be below the length of the runs, 10"),
        ("[halving]\nstart = 1\n[grid]\nepochs = [5, 6]\n", "steps and epochs belong to [base]"),
        ("[base]\ndataset = \"digitss\"\n", "there is no data set \"digitss\"; did you mean digits?"),
        ("[base]\ndataset = \"file:none.npz\"\n", "none.npz: does not exist"),
        ("[grid]\nmodel = [\"lenet\", \"lenett\"]\n", "there is no model \"lenett\"; did you mean lenet?"),
        ("[grid]\nlr = []\n", "no value for lr"),
        ("[grid]\nreg-k = [3]\n", "with --reg none; use it with --reg rp"),
        ("[grid.reg]\nk = [3]\n", "with --reg none; use it with --reg rp"),
        ("[base.reg]\nkk = 3\n", "line 2: unknown key \"reg.kk\"; did you mean reg.k?"),
        ("[base]\nreg-k = 3\n[base.reg]\nk = 3\n", "reg-k and reg.k are the same setting"),
        ("baseline = { reg = \"rp\" }\n", "no point of the sweep has these settings"),
        ("[random]\nsamples = 2\n[random.of]\nlr = { log-uniform = [0, 1] }\n", "0 < low < high"),
        ("[base]\nhold-out = 0.0\n[halving]\nstart = 1\n", "[halving] needs held-out examples"),
        ("[grid]\nreg = [\"mheee\"]\n", "mheee"),
        ("[grid]\nlr = [0.1, \"a\"]\n", "x.toml: lr = \"a\": a number is needed"),
        (
            "select = \"bset\"\n",
            "line 1: there is no value \"bset\"; did you mean best? (there are last, best)",
        ),
        (
            "[random]\nsamples = 2\n[random.of]\nlr = { unifrm = [0, 1] }\n",
            "line 4: there is no value \"unifrm\"; did you mean uniform?",
        ),
        (
            "[base]\nreg = \"mhe\"\n[grid]\nreg-s = [2.0, 30.0]\n",
            "--reg-s is 30; in f32 it can be at most 20",
        ),
        ("[base]\nhold-out = 0.99999\n", "--hold-out: a validation share of 0.99999 is 2000 of the 2000"),
    ] {
        fs::write(here.path().join("x.toml"), text).unwrap();
        let line = refuses(here.path(), "sweep x.toml");
        assert!(line.contains(said), "{text}: {line}");
    }
    fs::write(here.path().join("x.toml"), FILE).unwrap();
    assert!(
        refuses(here.path(), "sweep x.toml --jobs 3 --threads 2")
            .contains("each run needs a thread of its own")
    );
    assert!(!here.path().join("runs").exists(), "nothing is left behind");
}

#[test]
fn two_sweeps_do_not_share_a_folder() {
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("a.toml"), FILE).unwrap();
    let folder = here.path().join("a");
    fs::create_dir(&folder).unwrap();
    let other = fs::File::open(&folder).unwrap();
    other.lock().unwrap();
    assert!(refuses(here.path(), "sweep a.toml --out a").contains("a: is being written to by another comhe"));
    drop(other);
    succeeds(here.path(), "sweep a.toml --out a");
}
