//! `comhe attack` from end to end.

mod common;
use common::{refuses, succeeds};

use serde_json::Value;

fn values(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn robust_accuracy_of_a_run_over_radii() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    succeeds(here, "train --dataset digits --model mlp --epochs 6 --batch-size 50 --out run");
    let evaluated = values(&succeeds(here, "eval run --json").out)[0]["accuracy"].as_f64().unwrap();
    assert!(evaluated > 0.85, "{evaluated}");
    for norm in ["l2", "linf"] {
        let rows = values(&succeeds(here, &format!("attack run --norm {norm} --eps 0,0.1,0.5,3 --json")).out);
        assert_eq!(rows.len(), 4);
        let mut last = 1.0;
        for (row, eps) in rows.iter().zip([0.0, 0.1, 0.5, 3.0]) {
            let keys: Vec<&String> = row.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["clean_acc", "eps", "norm", "robust_acc", "steps"]);
            assert_eq!((row["norm"].as_str(), row["eps"].as_f64()), (Some(norm), Some(eps)));
            assert_eq!((row["steps"].as_u64(), row["clean_acc"].as_f64()), (Some(20), Some(evaluated)));
            let robust = row["robust_acc"].as_f64().unwrap();
            assert!(robust <= last, "{norm} {eps}");
            last = robust;
        }
        assert_eq!(rows[0]["robust_acc"], rows[0]["clean_acc"], "no radius, no attack");
        assert!(last < 0.4, "{norm}: {last}");
    }
    // The same each time; random starts of another seed are others.
    let linf = |more: &str| succeeds(here, &format!("attack run --norm linf --eps 0.3 {more} --json")).out;
    assert_eq!(linf(""), linf("--threads 2"));
    assert_eq!(values(&linf("--steps 3"))[0]["steps"], 3, "the last flag counts");

    let ran = succeeds(here, "attack run --steps 5 --eps 1,0.5 --images 30 --out robust");
    assert!(ran.out.contains("30 test images") && ran.out.contains("robust_acc"), "{}", ran.out);
    let svg = std::fs::read_to_string(here.join("robust/attack.svg")).unwrap();
    assert!(svg.contains("robust accuracy") && svg.contains("radius"), "{svg}");
    assert!(here.join("robust/attack.png").exists());
    // One radius has a mark, beside that of the clean accuracy.
    succeeds(here, "attack run --steps 2 --eps 0.5 --images 30 --out one");
    let svg = std::fs::read_to_string(here.join("one/attack.svg")).unwrap();
    assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
    let table: Value =
        serde_json::from_str(&std::fs::read_to_string(here.join("robust/attack.json")).unwrap()).unwrap();
    assert_eq!((table[0]["eps"].as_f64(), table.as_array().unwrap().len()), (Some(1.0), 2));

    for (flags, part) in [
        ("--eps -1", "--eps is -1; it must be finite and not negative"),
        ("--steps 0", "--steps is 0; at least 1 is needed"),
        ("--step nan", "--step is NaN; it must be finite and not negative"),
        ("--images 0", "--images is 0"),
        ("--eps 0.5,1,0.5", "--eps names 0.5 twice"),
        ("--step 0", "--step is 0; it must be above 0, or nothing moves"),
        ("--norm l1", "l1"),
        ("--momentum 0.5", "--momentum has no effect on an attack"),
    ] {
        let error = refuses(here, &format!("attack run {flags}"));
        assert!(error.contains(part), "{error}");
    }
    succeeds(here, "attack run --step 0 --eps 0 --images 10");
    let error = refuses(here, "train --attack pgd-l2 --attack-step 0");
    assert!(error.contains("--attack-step is 0; it must be above 0"), "{error}");
    assert!(refuses(here, "attack none").contains("none: does not exist"));
}
