//! `thomson` from end to end.

mod common;
use common::{comhe_in, refuses, succeeds};

use serde_json::Value;

fn object(text: &str) -> Value {
    serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn json_has_the_keys_that_are_promised_and_the_energies_that_are_known() {
    let here = tempfile::tempdir().unwrap();
    let found = object(&succeeds(here.path(), "thomson --points 12 --dim 3 --s 1 --restarts 4 --json").out);
    let mut keys: Vec<&str> = found.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "dim",
            "distinct_minima",
            "energy",
            "known",
            "mean_energy",
            "min_angle_deg",
            "points",
            "restarts",
            "s"
        ]
    );
    let number = |key: &str| found[key].as_f64().unwrap();
    assert!((number("energy") / 49.165253058 - 1.0).abs() < 1e-8);
    assert!((number("known") / number("energy") - 1.0).abs() < 1e-8);
    assert!((number("mean_energy") * 66.0 / number("energy") - 1.0).abs() < 1e-12);
    assert!((number("min_angle_deg") - 63.434949).abs() < 1e-5);
    assert_eq!((number("points"), number("dim"), number("s")), (12.0, 3.0, 1.0));
    assert_eq!((number("distinct_minima"), number("restarts")), (1.0, 4.0));

    let frame = object(&succeeds(here.path(), "thomson --points 4 --dim 9 --s 0 --half-space --json").out);
    let want = -(4.0 * 2f64.ln() + 24.0 * 2f64.sqrt().ln());
    assert!((frame["energy"].as_f64().unwrap() - want).abs() < 1e-8 * want.abs());
    let unknown = object(&succeeds(here.path(), "thomson --points 7 --s 2 --json").out);
    assert!(unknown["known"].is_null() && unknown["energy"].as_f64().unwrap() > 0.0);
    let one = object(&succeeds(here.path(), "thomson --points 1 --json").out);
    assert_eq!(one["energy"], 0.0);
    assert!(one["min_angle_deg"].is_null());
}

#[test]
fn the_same_seed_gives_the_same_points() {
    let here = tempfile::tempdir().unwrap();
    let run = |seed: u64, out: &str| {
        succeeds(here.path(), &format!("thomson --points 9 --dim 4 --restarts 2 --seed {seed} --out {out}"));
        std::fs::read_to_string(here.path().join(out).join("points.csv")).unwrap()
    };
    let points = run(1, "a");
    assert_eq!(points, run(1, "b"));
    assert_ne!(points, run(2, "c"));
    let rows: Vec<Vec<f64>> =
        points.lines().map(|line| line.split(',').map(|v| v.parse().unwrap()).collect()).collect();
    assert_eq!((rows.len(), rows[0].len()), (9, 4));
    for row in rows {
        assert!((row.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-14);
    }
}

#[test]
fn pictures_are_drawn() {
    let here = tempfile::tempdir().unwrap();
    for (arguments, balls) in
        [("--points 20", 20), ("--points 5 --half-space", 10), ("--points 7 --dim 2", 7)]
    {
        succeeds(here.path(), &format!("thomson {arguments} --restarts 1 --out {balls}"));
        let file = |name: &str| std::fs::read(here.path().join(balls.to_string()).join(name)).unwrap();
        let svg = String::from_utf8(file("thomson.svg")).unwrap();
        // The sphere is a ball itself.
        let sphere = usize::from(!arguments.contains("--dim 2"));
        assert_eq!(svg.matches("url(#ball").count(), balls + sphere, "{arguments}");
        assert!(file("thomson.png").starts_with(b"\x89PNG"));
    }
    let ran = succeeds(here.path(), "thomson --points 5 --dim 4 --restarts 1 --out none");
    assert!(ran.err.contains("no picture") && here.path().join("none/points.csv").exists());
}

#[test]
fn mistakes_are_explained() {
    let here = tempfile::tempdir().unwrap();
    for (arguments, text) in [
        ("--points 0", "points = 0"),
        ("--points 5 --dim 0", "dim = 0"),
        ("--points 5 --dim 1", "dim = 1"),
        ("--points 5 --restarts 0", "restarts = 0"),
        ("--points 5 --s -1", "s = -1"),
        ("--points 5 --s nan", "s = NaN"),
        ("--points -3", "-3"),
        ("--points x", "x"),
        ("", "--points"),
    ] {
        let line = refuses(here.path(), &format!("thomson {arguments}"));
        assert!(line.contains(text), "{arguments}: {line}");
    }
    std::fs::write(here.path().join("file"), "").unwrap();
    assert!(refuses(here.path(), "thomson --points 5 --out file").contains("file"));
    assert_eq!(comhe_in(here.path(), &["thomson", "--help"]).code, 0);
}
