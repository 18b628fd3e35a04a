//! `comhe report` on runs of `comhe meta`.

mod common;
use common::{comhe_in, succeeds};

use std::fs;
use std::path::Path;

use serde_json::Value;

const SHORT: &str = "--meta-steps 4 --meta-batch 2 --test-tasks 6 --threads 1";

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

/// The mean of a run on its test tasks.
fn mean(run: &Path) -> f64 {
    serde_json::from_str::<Value>(&read(run.join("result.json"))).unwrap()["mean"].as_f64().unwrap()
}

/// The cells of a row of a CSV file; a cell with commas is quoted.
fn row(table: &str, begin: &str) -> Vec<String> {
    let line =
        table.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {table}"));
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

#[test]
fn groups_are_compared_by_seed_with_their_intervals() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    for noise in ["none", "bernoulli"] {
        for seed in 1..=3 {
            succeeds(here, &format!("meta --noise {noise} --seed {seed} {SHORT} --out all/{noise}{seed}"));
        }
    }
    let said = succeeds(here, "report all --out rep").out;
    assert_eq!(said, "rep/report.html\n");
    let rep = here.join("rep");
    let table = read(rep.join("meta-real.csv"));
    assert!(!rep.join("meta.csv").exists() && !rep.join("results.csv").exists());
    // Mean and interval by hand: Student's t of two degrees of freedom.
    let half = |v: &[f64]| {
        let mean = v.iter().sum::<f64>() / 3.0;
        let sd = (v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
        (mean, 4.302_652_73 * sd / 3f64.sqrt())
    };
    let of =
        |noise: &str| (1..=3).map(|seed| mean(&here.join(format!("all/{noise}{seed}")))).collect::<Vec<_>>();
    let (none, bernoulli) = (of("none"), of("bernoulli"));
    let (m, h) = half(&bernoulli);
    let cells = row(&table, "bernoulli,");
    assert_eq!(cells[1..5], ["sinusoid", "maml", "bernoulli", "3"]);
    let numbers = |cell: &str| -> Vec<f64> {
        let text = cell.replace(['[', ']', ','], " ");
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let near = |found: &[f64], expected: [f64; 3]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-6), "{found:?}, not {expected:?}");
    };
    near(&numbers(&cells[5]), [m, m - h, m + h]);
    let differences: Vec<f64> = bernoulli.iter().zip(&none).map(|(a, b)| a - b).collect();
    let (m, h) = half(&differences);
    near(&numbers(&cells[7])[..3], [m, m - h, m + h]);
    assert!(cells[7].ends_with(", 3 pairs"), "{cells:?}");
    assert_eq!(row(&table, "none,")[7], "-");
    let page = read(rep.join("report.html"));
    assert!(
        page.contains("<title>Meta-learning on sinusoid</title>") && page.contains("<h2>Meta-learning</h2>")
    );
    assert!(!page.contains("<h2>Results</h2>") && page.matches("<svg").count() == 1);
    assert!(rep.join("meta-loss.svg").is_file() && rep.join("meta-loss.png").is_file());
    let markdown = read(rep.join("report.md"));
    assert!(markdown.contains("## Meta-learning") && markdown.contains("![meta-loss](meta-loss.svg)"));
    let runs = read(rep.join("meta-runs.csv"));
    assert_eq!(row(&runs, "none2,")[1..5], ["none", "2", "4", "finished"]);
    assert_eq!(row(&read(rep.join("meta-settings.csv")), "meta-steps,"), ["meta-steps", "4"]);
}

#[test]
fn other_runs_unfinished_ones_and_damage_are_on_the_same_page() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    succeeds(here, &format!("meta --task digits --way 2 {SHORT} --out all/a"));
    succeeds(here, &format!("meta --task digits --way 2 {SHORT} --out all/again"));
    succeeds(here, &format!("meta --task digits --way 2 --seed 1 {SHORT} --out all/b"));
    succeeds(here, &format!("meta {SHORT} --out all/c"));
    succeeds(here, "train --dataset digits --model mlp --train-size 200 --steps 2 --threads 1 --out all/d");
    // As if b had been killed, and c's log had been cut off.
    fs::remove_file(here.join("all/b/final.safetensors")).unwrap();
    let log = read(here.join("all/c/metrics.jsonl"));
    fs::write(here.join("all/c/metrics.jsonl"), &log[..log.len() - 9]).unwrap();
    succeeds(here, "report all --out rep");
    let rep = here.join("rep");
    let page = read(rep.join("report.html"));
    for part in ["<h2>Results</h2>", "<h2>Meta-learning</h2>", "<title>mlp on digits</title>"] {
        assert!(page.contains(part), "{part}");
    }
    let notes = [
        "all/again has the same settings and the same seed; only this run is counted",
        "1 line of metrics.jsonl is damaged or cut off, and left out",
    ];
    notes.iter().for_each(|note| assert!(page.contains(note), "{note}"));
    assert_eq!(row(&read(rep.join("meta.csv")), "task digits,")[4], "1");
    assert_eq!(row(&read(rep.join("meta-real.csv")), "task sinusoid,")[4], "1");
    for file in ["results.csv", "meta-loss-1.svg", "meta-loss-2.svg", "meta-accuracy-1.svg"] {
        assert!(rep.join(file).is_file(), "{file}");
    }
    let runs = read(rep.join("meta-runs.csv"));
    assert_ne!(row(&runs, "a,")[5], "-");
    assert_eq!(row(&runs, "b,")[5], "-");
    // Settings that cannot be read are one line.
    fs::write(here.join("all/c/meta.toml"), "ways = 3").unwrap();
    let ran = comhe_in(here, &["report", "all"]);
    assert!(
        ran.code == 2 && ran.err.contains("c/meta.toml: line 1: unknown key \"ways\"; did you mean way?"),
        "{ran:?}"
    );
    fs::write(here.join("all/a/metrics.jsonl"), "").unwrap();
    let ran = comhe_in(here, &["report", "all/a"]);
    assert!(ran.code == 2 && ran.err.contains("nothing to report"), "{ran:?}");
}
