//! `comhe report`: what its page holds, what its tables say, and what it makes of folders that are half there.

mod common;
use common::{column, comhe_in, refuses, succeeds};

use std::fs;
use std::path::Path;

const TINY: &str = "train --dataset digits --model mlp --train-size 200 --batch-size 40 --threads 1 --steps 6 \
                    --eval-every 3 --energy-every 2";

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

/// Elements open and close in order, and attributes are quoted: the pictures are XML.
fn well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some(at) = rest.find('<') {
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        let name =
            |t: &'static str, tag: &str| tag.trim_start_matches(t).split_whitespace().next().unwrap().len();
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "{svg}"),
            None if tag.ends_with('/') => {}
            None => open.push(&tag[..name("", tag)]),
        }
    }
    assert!(open.is_empty() && !svg.contains("NaN") && !svg.contains("inf"), "{open:?}");
    let ampersands = svg.split('&').skip(1).map(|after| &after[..after.find(';').expect("an entity ends")]);
    ampersands.for_each(|entity| assert!(["amp", "lt", "gt", "quot"].contains(&entity), "{entity}"));
}

#[test]
fn the_page_has_everything_and_loads_nothing() {
    let here = tempfile::tempdir().unwrap();
    for (reg, seeds) in [("none", 1..=3), ("mhe", 1..=2)] {
        for seed in seeds {
            succeeds(here.path(), &format!("{TINY} --reg {reg} --seed {seed} --out all/{reg}{seed}"));
        }
    }
    let said = succeeds(here.path(), "report all --out rep").out;
    assert_eq!(said.lines().last().unwrap(), "rep/report.html");
    let rep = here.path().join("rep");
    let page = read(rep.join("report.html"));
    for outside in ["http:", "https:", "src=", "url(", "@import", "<script"] {
        let inside = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!inside.contains(outside), "{outside}");
    }
    for heading in [
        "Results",
        "Curves",
        "Layers",
        "Angles",
        "First-layer filters",
        "Confusions",
        "Configuration",
        "Runs",
    ] {
        assert!(page.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }
    let pictures: Vec<&str> =
        page.split("<svg").skip(1).map(|rest| &rest[..rest.find("</svg>").unwrap()]).collect();
    assert_eq!(pictures.len(), 8 + 2 + 1 + 2 + 2);
    pictures.iter().for_each(|picture| well_formed(&format!("<svg{picture}</svg>")));
    for file in fs::read_dir(&rep).unwrap().map(|e| e.unwrap().path()) {
        match file.extension().and_then(|e| e.to_str()) {
            Some("svg") => {
                well_formed(&read(&file));
                let png = fs::read(file.with_extension("png")).unwrap();
                assert!(png.starts_with(b"\x89PNG") && png.len() > 1000, "{}", file.display());
            }
            Some("tex") => assert!(read(&file).contains("\\toprule")),
            _ => {}
        }
    }

    // The table says what the logs say.
    let last = |run: &str, key: &str| {
        *column(&read(here.path().join("all").join(run).join("metrics.jsonl")), key).last().unwrap()
    };
    let of = |runs: &[&str], key: &str| runs.iter().map(|run| last(run, key)).collect::<Vec<f64>>();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let none = of(&["none1", "none2", "none3"], "test_acc");
    let mhe = of(&["mhe1", "mhe2"], "test_acc");
    let table = read(rep.join("results.csv"));
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[1][..3], ["none", "3", &format!("{:.2}", 100.0 * mean(&none))]);
    assert_eq!(lines[2][..3], ["mhe", "2", &format!("{:.2}", 100.0 * mean(&mhe))]);
    let difference = 100.0 * (mean(&mhe) - mean(&none[..2]));
    assert!(table.contains(&format!("\"{difference:+.2} [")) && table.contains("2 pairs"), "{table}");
    let loss = format!("{:.4}", mean(&of(&["mhe1", "mhe2"], "test_loss")));
    assert!(lines[2].contains(&loss.as_str()), "{table}");
    // The confusion matrix is of the same weights and data: its share of correct ones is what the log says.
    assert!(page.contains(&format!("mhe, seed 1: {:.2} % correct", 100.0 * mhe[0])));
    assert!(!page.contains("the data differ from those of the run"));

    // The same runs give the same files but for the time.
    succeeds(here.path(), "report all --out again --band sd");
    assert_eq!(read(here.path().join("again/results.csv")), table);
    assert!(read(here.path().join("again/report.html")).contains("one standard deviation"));
}

#[test]
fn groups_are_compared_with_what_lacks_one_thing() {
    let here = tempfile::tempdir().unwrap();
    for (name, flags) in [
        ("plain", ""),
        ("sam", "--method sam"),
        ("rp-sam", "--method sam --reg rp --reg-k 8 --reg-c 2"),
        ("isda", "--loss isda"),
        ("attacked", "--attack pgd-l2"),
        ("penalty", "--input-penalty gradient"),
        ("spectral", "--spectral exact"),
        ("taught", "--teacher all/plain1"),
    ] {
        for seed in 1..=2 {
            succeeds(here.path(), &format!("{TINY} {flags} --seed {seed} --out all/{name}{seed}"));
        }
    }
    succeeds(here.path(), "report all --out rep");
    let table = read(here.path().join("rep/results.md"));
    let row = |start: &str| {
        let found = table.lines().find(|line| line.starts_with(&format!("| {start}")));
        found.unwrap_or_else(|| panic!("{start}: {table}"))
    };
    let baseline = table.lines().nth(2).unwrap();
    assert!(baseline.contains("method plain") && !baseline.contains("pairs"), "{table}");
    let name = baseline.trim_start_matches("| ").split(" |").next().unwrap().trim();
    assert_eq!(table.matches(&format!("2 pairs, to {name} ")).count(), 6, "{name}: {table}");
    assert!(row("rp, ").contains("2 pairs, to none, "), "{table}");
    assert!(row("rp, ").matches("method sam").count() == 2, "with sam, to sam: {table}");
    let page = read(here.path().join("rep/report.html"));
    assert!(page.contains("whose other settings are the same") && !page.contains("There is no baseline"));
}

#[test]
fn half_there_folders_are_reported_as_far_as_they_came() {
    let here = tempfile::tempdir().unwrap();
    for seed in 1..=2 {
        succeeds(here.path(), &format!("{TINY} --seed {seed} --out all/{seed}"));
    }
    let run = here.path().join("all/2");
    // As a kill would leave it: the log cut in a line, no final weights, a manifest that says it runs.
    let log = read(run.join("metrics.jsonl"));
    fs::write(run.join("metrics.jsonl"), &log[..log.len() * 2 / 3]).unwrap();
    fs::remove_file(run.join("final.safetensors")).unwrap();
    let manifest = read(run.join("manifest.json")).replace("\"finished\"", "\"running\"");
    fs::write(run.join("manifest.json"), manifest).unwrap();
    succeeds(here.path(), "report all --out rep");
    let page = read(here.path().join("rep/report.html"));
    assert!(page.contains("2: killed, or still running") && page.contains("damaged or cut off"));
    assert!(page.contains("the weights are those of its last checkpoint"));
    // Means take the finished run alone.
    let table = read(here.path().join("rep/results.csv"));
    assert!(table.lines().nth(1).unwrap().starts_with("none,1,"), "{table}");
    // With nothing but settings and a log there are curves, and words where something is missing.
    for name in ["checkpoint.safetensors", "manifest.json"] {
        fs::remove_file(run.join(name)).unwrap();
    }
    succeeds(here.path(), "report all/2 --out alone");
    let page = read(here.path().join("alone/report.html"));
    assert!(page.contains("has no weights yet") && page.contains("there are no weights to evaluate"));
    assert!(page.contains("Training loss"));

    fs::create_dir(here.path().join("empty")).unwrap();
    assert!(refuses(here.path(), "report empty").contains("empty: contains no run"));
    assert!(refuses(here.path(), "report nowhere").contains("nowhere: is not a folder"));
    fs::remove_file(run.join("config.toml")).unwrap();
    assert!(refuses(here.path(), "report all/2").contains("has metrics.jsonl but no config.toml"));
    assert!(refuses(here.path(), "report").contains("RUN"));
}

#[test]
fn hostile_names_stay_text() {
    let here = tempfile::tempdir().unwrap();
    let name = "<script>alert(1)&\"x";
    let run =
        comhe_in(here.path(), &[TINY.split_whitespace().collect::<Vec<_>>(), vec!["--out", name]].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    let log = here.path().join(name).join("metrics.jsonl");
    let text = read(&log).replace("fc1.weight", "</text><b>|_&");
    fs::write(&log, text).unwrap();
    let ran = comhe_in(here.path(), &["report", name, "--out", "rep"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let page = read(here.path().join("rep/report.html"));
    assert!(
        page.contains("&lt;script&gt;alert(1)&amp;&quot;x")
            && !page.contains("<script")
            && !page.contains("<b>")
    );
    page.split("<svg")
        .skip(1)
        .for_each(|rest| well_formed(&format!("<svg{}</svg>", &rest[..rest.find("</svg>").unwrap()])));
    assert!(read(here.path().join("rep/runs.csv")).contains("\"<script>alert(1)&\"\"x\""));
    assert!(read(here.path().join("rep/runs.tex")).contains("\\textless{}script\\textgreater{}alert(1)\\&"));
}

#[test]
fn a_comparison_is_reported_without_weights() {
    let here = tempfile::tempdir().unwrap();
    let settings = "compare --dataset digits --model mlp --train-size 200 --batch-size 40 --steps 4 --seeds 2 --regs none,mhe --out cmp";
    succeeds(here.path(), settings);
    succeeds(here.path(), "report cmp --out rep");
    let page = read(here.path().join("rep/report.html"));
    assert!(page.contains("4 runs in 2 groups") && page.contains("comparisons keep no weights"));
    let compared: serde_json::Value =
        serde_json::from_str(&read(here.path().join("cmp/compare.json"))).unwrap();
    let table = read(here.path().join("rep/results.csv"));
    for (row, line) in compared["rows"].as_array().unwrap().iter().zip(table.lines().skip(1)) {
        let mean = 100.0 * row["test_acc"]["mean"].as_f64().unwrap();
        assert!(line.starts_with(&format!("{},2,{mean:.2},", row["reg"].as_str().unwrap())), "{line}");
    }
    let interval = &compared["rows"][1]["difference"];
    let [mean, low, high] = ["mean", "low", "high"].map(|k| 100.0 * interval[k].as_f64().unwrap());
    assert!(table.contains(&format!("\"{mean:+.2} [{low:+.2}, {high:+.2}], 2 pairs\"")), "{table}");
}

/// The cells of a table in CSV, without the quotation marks of those that have a comma.
fn cells(csv: &str) -> Vec<Vec<String>> {
    // Every other part is in quotation marks.
    let parts = |line: &str| -> String {
        let comma = |(i, part): (usize, &str)| if i % 2 == 1 { part.into() } else { part.replace(',', "\n") };
        line.split('"').enumerate().map(comma).collect()
    };
    csv.lines().map(|line| parts(line).split('\n').map(String::from).collect()).collect()
}

#[test]
fn an_explicit_default_is_no_difference() {
    let here = tempfile::tempdir().unwrap();
    let run = |flags: &str| succeeds(here.path(), &format!("{TINY} {flags}"));
    run("--seed 1 --out all/a");
    run("--seed 2 --loss cross-entropy --reg none --lr 0.05 --out all/b");
    run("--seed 1 --method sam --out all/c");
    run("--seed 2 --method sam --method-eps 0.05 --out all/d");
    run("--seed 2 --method sam --method-eps 0.1 --out all/e");
    succeeds(here.path(), "report all --out rep");
    let page = read(here.path().join("rep/report.md"));
    assert!(page.contains("5 runs in 3 groups"), "{page}");
    let differences = read(here.path().join("rep/differences.csv"));
    let rows: Vec<Vec<String>> = cells(&differences).into_iter().map(|row| row[1..].to_vec()).collect();
    assert_eq!(rows, [["method", "method-eps"], ["plain", "-"], ["sam", "0.05"], ["sam", "0.1"]]);
    // Of real targets, the default is another one.
    let real = TINY.replace("digits", "teacher-regression");
    succeeds(here.path(), &format!("{real} --seed 1 --out real/a"));
    succeeds(here.path(), &format!("{real} --seed 2 --loss mse --out real/b"));
    succeeds(here.path(), "report real --out again");
    assert!(read(here.path().join("again/report.md")).contains("2 runs in 1 group: none (2 seeds)"));
}

#[test]
fn a_seed_counts_once() {
    let here = tempfile::tempdir().unwrap();
    for (seed, name) in [(1, "a"), (2, "b"), (2, "c"), (1, "d")] {
        succeeds(here.path(), &format!("{TINY} --seed {seed} --out all/{name}"));
    }
    // Of the two runs of seed 1 the finished one counts.
    fs::remove_file(here.path().join("all/a/final.safetensors")).unwrap();
    succeeds(here.path(), "report all --out rep");
    let page = read(here.path().join("rep/report.md"));
    assert!(page.contains("2 runs in 1 group: none (2 seeds)"), "{page}");
    for note in ["b: all/c has the same settings and the same seed", "d: all/a has the same settings"] {
        assert!(page.contains(note), "{note}: {page}");
    }
    let table = read(here.path().join("rep/results.csv"));
    assert_eq!(cells(&table)[1][..2], ["none", "2"]);
    let runs = read(here.path().join("rep/runs.csv"));
    assert_eq!(cells(&runs).iter().skip(1).map(|row| row[0].clone()).collect::<Vec<_>>(), ["d", "b"]);
}

#[test]
fn classes_and_real_targets_have_tables_of_their_own() {
    let here = tempfile::tempdir().unwrap();
    for seed in 1..=2 {
        succeeds(here.path(), &format!("{TINY} --seed {seed} --out all/c{seed}"));
        let real = TINY.replace("digits", "teacher-regression");
        succeeds(here.path(), &format!("{real} --seed {seed} --out all/r{seed}"));
        succeeds(here.path(), &format!("{real} --reg decay --seed {seed} --out all/d{seed}"));
    }
    succeeds(here.path(), "report all --out rep");
    let rep = here.path().join("rep");
    let last = |run: &str, key: &str| {
        *column(&read(here.path().join("all").join(run).join("metrics.jsonl")), key).last().unwrap()
    };
    let mean = |runs: [&str; 2], key: &str| (last(runs[0], key) + last(runs[1], key)) / 2.0;
    let classes = read(rep.join("results.csv"));
    assert_eq!(cells(&classes)[0][2], "test accuracy %");
    assert_eq!(cells(&classes)[1][1..3], ["2", &format!("{:.2}", 100.0 * mean(["c1", "c2"], "test_acc"))]);
    assert_eq!(cells(&classes).len(), 2, "{classes}");
    let real = read(rep.join("results-real.csv"));
    assert_eq!([2, 5].map(|i| cells(&real)[0][i].clone()), ["test loss", "test R2"]);
    for (row, runs) in [(1, ["r1", "r2"]), (2, ["d1", "d2"])] {
        let line = real.lines().nth(row).unwrap();
        assert!(line.contains(&format!(",2,{:.6},", mean(runs, "test_loss"))), "{line}");
        assert!(line.contains(&format!(",{:.4},", mean(runs, "test_r2"))), "{line}");
    }
    assert!(real.lines().nth(2).unwrap().contains("2 pairs"), "{real}");
    let runs = read(rep.join("runs.csv"));
    let scores: Vec<Vec<String>> = cells(&runs).iter().map(|row| row[5..8].to_vec()).collect();
    assert_eq!(scores[0], ["test accuracy %", "test R2", "test loss"]);
    assert!(scores[1..].iter().all(|s| (s[0] == "-") != (s[1] == "-") && s[2] != "-"), "{runs}");
    assert!(read(rep.join("report.html")).matches("<h2>").count() == 8);
}

#[test]
fn diverged_runs_have_no_result() {
    let here = tempfile::tempdir().unwrap();
    let settings = "compare --dataset digits --model mlp --train-size 200 --batch-size 200 --steps 1 --seeds 2 --regs none";
    let ran =
        comhe_in(here.path(), &format!("{settings} --lr 1e30 --out cmp").split(' ').collect::<Vec<_>>());
    assert!(ran.code == 1 && ran.err.contains("2 of 2 runs failed"), "{ran:?}");
    assert!(
        ran.err.contains("the test loss is NaN; the run diverged: try a smaller --lr (it was 1e30)"),
        "{ran:?}"
    );
    assert!(refuses(here.path(), "report cmp").contains("cmp: is a comparison without a finished run"));
    // Beside other runs it is named and left out.
    succeeds(here.path(), &format!("{TINY} --out all/a"));
    fs::rename(here.path().join("cmp"), here.path().join("all/cmp")).unwrap();
    let ran = succeeds(here.path(), "report all --out rep");
    assert!(
        ran.err.contains("all/cmp: is a comparison without a finished run; it is left out"),
        "{}",
        ran.err
    );
    // A damaged line is named, a diverged run of an older version is left out.
    succeeds(here.path(), &format!("{settings} --out good"));
    let file = here.path().join("good/runs.jsonl");
    let text = read(&file);
    let lines: Vec<&str> = text.lines().collect();
    let loss = lines[0].find("\"test_loss\":").unwrap();
    let rest = &lines[0][loss..];
    let diverged = format!("{}\"test_loss\":null{}", &lines[0][..loss], &rest[rest.find(',').unwrap()..]);
    fs::write(&file, format!("{diverged}\n{}\n{{\"reg\"", lines[1])).unwrap();
    succeeds(here.path(), "report good --out again");
    let page = read(here.path().join("again/report.md"));
    assert!(
        page.contains("1 run in 1 group") && page.contains("1 line of runs.jsonl is damaged or cut off"),
        "{page}"
    );
    // A finished run whose last loss is null has no score.
    let file = here.path().join("all/a/metrics.jsonl");
    let log = read(&file);
    let (first, last) = log.split_at(log.rfind("\"test_loss\":").unwrap());
    fs::write(&file, format!("{first}\"test_loss\":null{}", &last[last.find(',').unwrap()..])).unwrap();
    succeeds(here.path(), "report all/a --out alone");
    let table = read(here.path().join("alone/results.csv"));
    assert_eq!(cells(&table)[1][..4], ["none", "0", "-", "-"], "{table}");
    assert!(read(here.path().join("alone/report.md")).contains("the run diverged, and has no result"));
}

#[test]
fn a_comparison_names_the_radius_of_its_method() {
    let here = tempfile::tempdir().unwrap();
    let settings =
        "compare --dataset digits --model mlp --train-size 100 --steps 1 --seeds 1 --regs none --method sam";
    for (flags, said) in
        [("", "sgd with sam (eps 0.05) at 0.02"), ("--method-eps 5e-12", "sgd with sam (eps 5e-12) at 0.02")]
    {
        let out = succeeds(here.path(), &format!("{settings} {flags} --out {}", flags.len())).out;
        assert!(
            out.contains(said) && out.contains("1 step of batches") && out.contains("1 seed from 0 on"),
            "{out}"
        );
    }
}

#[test]
fn live_curves_need_a_terminal() {
    let here = tempfile::tempdir().unwrap();
    let line = refuses(here.path(), &format!("{TINY} --tui --out run"));
    assert!(line.contains("--tui draws on standard error, which is no terminal here"), "{line}");
    assert!(!here.path().join("run").exists());
}
