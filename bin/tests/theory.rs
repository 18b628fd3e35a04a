//! `theory` from end to end.

mod common;
use common::{refuses, succeeds};

use serde_json::Value;

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn every_statement_has_checks_and_all_pass() {
    let here = tempfile::tempdir().unwrap();
    let checks = objects(&succeeds(here.path(), "theory --json --out curves").out);
    for id in ["T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10"] {
        assert!(checks.iter().filter(|check| check["id"] == id).count() >= 4, "{id}");
    }
    for check in &checks {
        let keys: Vec<&str> = check.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys.len(), 7, "{check}");
        for key in ["measured", "expected", "stderr", "tolerance"] {
            assert!(check[key].is_f64(), "{key} of {check}");
        }
        assert!(check["pass"] == true && check["case"].is_string(), "{check}");
    }
    let file = |name: &str| std::fs::read_to_string(here.path().join("curves").join(name)).unwrap();
    let data: Value = serde_json::from_str(&file("t10.json")).unwrap();
    for descent in data["descents"].as_array().unwrap() {
        let name = format!("energy-{}x{}", descent["n"], descent["d"]);
        let steps = descent["steps"].as_u64().unwrap() as usize;
        assert_eq!(file(&format!("{name}.csv")).lines().count(), steps + 2, "head, start, steps");
        assert!(file(&format!("{name}.svg")).contains("polyline"));
        let png = std::fs::read(here.path().join("curves").join(format!("{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        for course in descent["courses"].as_array().unwrap() {
            assert_eq!(course["energies"].as_array().unwrap().len(), steps + 1);
        }
    }
    assert!(data["minima"].as_array().unwrap().len() > 3 && file("minima.svg").contains("polyline"));
}

#[test]
fn statements_can_be_chosen_and_seeds_matter() {
    let here = tempfile::tempdir().unwrap();
    let run = |arguments: &str| objects(&succeeds(here.path(), &format!("theory --json {arguments}")).out);
    let some = run("--only T6,t9");
    assert!(some.iter().all(|check| check["id"] == "T6" || check["id"] == "T9"));
    assert_eq!(some, run("--only T9,T6"), "the same numbers, in order");
    let measured = |checks: &[Value]| checks.iter().map(|c| c["measured"].clone()).collect::<Vec<_>>();
    assert_ne!(measured(&run("--only T7")), measured(&run("--only T7 --seed 1")));
    let text = succeeds(here.path(), "theory --only T2").out;
    assert!(text.starts_with("id ") && text.trim_end().ends_with("checks, 0 failed"), "{text}");
    assert!(!text.contains("as measured"));
}

#[test]
fn mistakes_are_explained() {
    let here = tempfile::tempdir().unwrap();
    assert!(refuses(here.path(), "theory --only T11").contains("there is no statement \"T11\""));
    assert!(refuses(here.path(), "theory --only T3 --out x").contains("--out writes the curves of T10"));
    assert!(refuses(here.path(), "theory --seed -1").contains("seed"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_closed_pipe_ends_it_without_a_word() {
    // Nobody reads, from the start on.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = common::command().args(["theory", "--only", "T9", "--json"]).stdout(writer).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
}
