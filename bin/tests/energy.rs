//! `comhe energy` against numbers of fifty digits, through files.

mod common;
use common::{column, fixtures, npy, refuses, succeeds};

use autograd::Tensor;
use nn::Archive;

/// The flags that a case of the fixtures names: s0.5_ang_half_eps1e-4_mean.
fn flags(case: &str) -> String {
    let mut flags = Vec::new();
    for part in case.split('_') {
        flags.push(match part {
            "ang" => "--angular".to_string(),
            "half" => "--half-space".to_string(),
            "euc" | "full" => continue,
            "mean" | "sum" => format!("--reduce {part}"),
            _ => match part.strip_prefix("eps") {
                Some(eps) => format!("--eps {eps}"),
                None => format!("--s {}", part.strip_prefix('s').unwrap()),
            },
        });
    }
    flags.join(" ")
}

fn close(found: &[f64], wanted: &Tensor, tolerance: f64, what: &str) {
    let wanted = wanted.to_vec::<f64>();
    let largest = wanted.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    assert_eq!(found.len(), wanted.len());
    for (a, b) in found.iter().zip(&wanted) {
        assert!((a - b).abs() <= tolerance * largest.max(1e-300), "{what}: {a}, not {b}");
    }
}

#[test]
fn values_and_gradients_of_mhe_and_rp() {
    let fixture = fixtures().join("energy.safetensors");
    let file = Archive::load(&fixture).unwrap();
    let here = tempfile::tempdir().unwrap();
    for variant in ["mhe", "rp"] {
        let name = format!("{variant}/n5d3/w");
        let p = file.get("rp/n5d3/p").unwrap();
        npy(&here.path().join("p.npy"), p.shape(), &p.to_vec::<f64>());
        let w = file.get(&name).unwrap();
        npy(&here.path().join("w.npy"), w.shape(), &w.to_vec::<f64>());
        for case in [
            "s2_euc_full_eps1e-4_mean",
            "s0_euc_half_eps0_sum",
            "s0.5_ang_half_eps1e-4_mean",
            "s1_ang_full_eps0_sum",
            "s3_euc_half_eps1e-4_sum",
        ] {
            let options = flags(case)
                + &if variant == "rp" {
                    " --variant rp --projection p.npy".to_string()
                } else {
                    String::new()
                };
            let at = format!("{variant}/n5d3/{case}");
            let ran = succeeds(here.path(), &format!("energy w.npy {options} --grad g.npy"));
            assert_eq!((column(&ran.out, "n"), column(&ran.out, "d")), (vec![5.0], vec![3.0]));
            close(&column(&ran.out, "energy"), file.get(&format!("{at}/energy")).unwrap(), 1e-12, &at);
            let gradient = datasets::npy::read(&here.path().join("g.npy")).unwrap();
            let datasets::npy::Values::F64(values) = gradient.values else { panic!("not f64") };
            assert_eq!(gradient.shape, [5, 3]);
            close(&values, file.get(&format!("{at}/grad")).unwrap(), 1e-11, &at);

            // The same from another kind of file, and in single precision.
            let both = format!("energy {} --tensor {name} {options}", fixture.display());
            assert_eq!(column(&succeeds(here.path(), &both).out, "energy"), column(&ran.out, "energy"));
            let single = succeeds(here.path(), &format!("energy w.npy {options} --dtype f32"));
            close(&column(&single.out, "energy"), file.get(&format!("{at}/energy")).unwrap(), 1e-5, &at);
        }
    }
}

#[test]
fn many_tensors_and_those_that_have_no_energy() {
    let here = tempfile::tempdir().unwrap();
    let conv = Tensor::from_fn([4, 2, 3, 3], autograd::DType::F32, |i| (i as f64).sin());
    let tensors = vec![
        ("conv.weight".into(), conv.clone()),
        ("conv.bias".into(), Tensor::from([1.0f32, 2.0])),
        ("fc.weight".into(), conv.reshape([4, 18])),
    ];
    Archive::of(tensors).save(here.path().join("m.safetensors")).unwrap();
    let ran = succeeds(here.path(), "energy m.safetensors --half-space");
    assert_eq!(ran.out.lines().count(), 2);
    assert_eq!(column(&ran.out, "d"), [18.0, 18.0]);
    let energies = column(&ran.out, "energy");
    assert_eq!(energies[0], energies[1], "a kernel is its rows");
    assert!(ran.err.contains("skipped") && ran.err.contains("conv.bias [2]"));
    assert!(
        refuses(here.path(), "energy m.safetensors --grad g.npy")
            .contains("choose with --tensor among conv.weight, fc.weight")
    );
    succeeds(here.path(), "energy m.safetensors --tensor conv.weight --grad g.npy");
    assert_eq!(datasets::npy::read(&here.path().join("g.npy")).unwrap().shape, [4, 2, 3, 3]);
    assert!(refuses(here.path(), "energy m.safetensors --tensor conv.bias").contains("has shape [2]"));

    // One neuron: no pair in full space, one antipodal pair in half-space.
    npy(&here.path().join("one.npy"), &[1, 3], &[1.0, 2.0, 2.0]);
    let energy =
        |options: &str| column(&succeeds(here.path(), &format!("energy one.npy {options}")).out, "energy")[0];
    assert_eq!(energy("--grad g.npy"), 0.0);
    assert!((energy("--half-space --eps 0") - 0.25).abs() < 1e-15);
}

#[test]
fn what_a_file_cannot_give_is_said() {
    let here = tempfile::tempdir().unwrap();
    Archive::of(Vec::new()).save(here.path().join("none.safetensors")).unwrap();
    assert!(refuses(here.path(), "energy none.safetensors").contains("it holds nothing"));
    npy(&here.path().join("huge.npy"), &[2, 2], &[1e200, 1.0, 0.0, 1.0]);
    succeeds(here.path(), "energy huge.npy");
    let message = refuses(here.path(), "energy huge.npy --dtype f32");
    assert!(message.contains("tensor huge has elements beyond f32; take --dtype f64"), "{message}");
    // Finite numbers whose energy or gradient is not: no NaN, no infinity, nothing written.
    npy(&here.path().join("tiny.npy"), &[3, 2], &[1e-30, 0.0, 1e-30, 1e-33, 0.0, 1e-30]);
    for variant in ["mhe", "rp --k 2 --c 2"] {
        let options = format!("energy tiny.npy --eps 0 --variant {variant} --grad tiny-g.npy");
        let message = refuses(here.path(), &format!("{options} --dtype f32"));
        assert!(message.contains("tensor tiny: the gradient is beyond f32; take --dtype f64"), "{message}");
        assert!(!here.path().join("tiny-g.npy").exists(), "{variant}");
        succeeds(here.path(), &options);
        std::fs::remove_file(here.path().join("tiny-g.npy")).unwrap();
    }
    npy(&here.path().join("empty.npy"), &[0, 3], &[]);
    for variant in ["mhe", "rp", "ap", "adv", "group --groups 2", "bilateral"] {
        let ran = succeeds(here.path(), &format!("energy empty.npy --variant {variant} --grad g.npy"));
        assert_eq!(column(&ran.out, "energy"), [0.0], "{variant}");
    }
}

#[test]
fn drawn_projections_follow_from_the_seed() {
    let here = tempfile::tempdir().unwrap();
    npy(&here.path().join("w.npy"), &[6, 20], &common::formula("w", 120));
    let energy = |options: &str| {
        column(
            &succeeds(here.path(), &format!("energy w.npy --variant rp --k 5 --c 3 {options}")).out,
            "energy",
        )[0]
    };
    assert_eq!(energy("--seed 4"), energy("--seed 4"));
    assert_ne!(energy("--seed 4"), energy("--seed 5"));
    assert_ne!(energy("--distribution rademacher"), energy("--distribution sparse"));
    // Entries sqrt(k) times as large make eps k times as small.
    for distribution in ["gaussian", "orthonormal"] {
        let of = |options: &str| energy(&format!("--distribution {distribution} {options}"));
        let (unit, same) = (of("--variance unit --eps 0.05"), of("--variance reciprocal --eps 0.01"));
        assert!((unit / same - 1.0).abs() < 1e-13 && unit != of("--eps 0.05"), "{unit}, {same}");
    }
    let line = refuses(here.path(), "energy w.npy --variant ap --variance unit");
    assert!(line.contains("--variance has no effect with --variant ap; use it with --variant rp"), "{line}");
}

/// The flags of a variant of `variants.safetensors`, such as `ap_cosine_unrolled3`: as its script has them.
fn variant_flags(variant: &str) -> String {
    let parts: Vec<&str> = variant.split('_').collect();
    let steps = match *parts.last().unwrap() {
        "unrolled1" => "",
        "unrolled3" => "--inner-steps 3 --inner-lr 0.05 --mode unrolled",
        "alternating2" => "--inner-steps 2 --mode alternating",
        _ => "",
    };
    match parts[0] {
        "ap" => format!("--variant ap --projection p.npy --objective {} {steps}", parts[1]),
        "adv" => format!("--variant adv --projection p.npy {steps}"),
        "group" => format!("--variant group --groups {}", parts[1]),
        other => format!("--variant {other} --projection p1.npy --projection2 p2.npy"),
    }
}

#[test]
fn every_variant_is_that_of_an_independent_program() {
    let file = Archive::load(fixtures().join("variants.safetensors")).unwrap();
    let here = tempfile::tempdir().unwrap();
    let mut variants = 0;
    for (name, energies) in &file.tensors {
        let Some(variant) = name.strip_suffix("/n5d6/energy") else { continue };
        variants += 1;
        for part in ["w", "p", "p1", "p2"] {
            if let Some(t) = file.get(&format!("{variant}/n5d6/{part}")) {
                npy(&here.path().join(format!("{part}.npy")), t.shape(), &t.to_vec::<f64>());
            }
        }
        let options = file.get(&format!("{variant}/n5d6/options")).unwrap().to_vec::<f64>();
        let gradients = file.get(&format!("{variant}/n5d6/grad")).unwrap();
        for i in (0..options.len() / 5).step_by(7) {
            let [s, angular, half, eps, sum] = options[5 * i..5 * i + 5] else { panic!("five options") };
            let flag = |on: f64, flag: &str| if on == 1.0 { flag.to_string() } else { String::new() };
            let line = format!(
                "energy w.npy {} --s {s} {} {} --eps {eps} {} --grad g.npy",
                variant_flags(variant),
                flag(angular, "--angular"),
                flag(half, "--half-space"),
                flag(sum, "--reduce sum"),
            );
            let ran = succeeds(here.path(), &line);
            let want = energies.to_vec::<f64>()[i];
            close(&column(&ran.out, "energy"), &Tensor::from([want]), 1e-9, &line);
            let datasets::npy::Values::F64(found) =
                datasets::npy::read(&here.path().join("g.npy")).unwrap().values
            else {
                panic!("not f64")
            };
            let want = Tensor::new(&gradients.to_vec::<f64>()[30 * i..30 * (i + 1)], [5, 6]);
            close(&found, &want, 1e-7, &line);
        }
    }
    assert_eq!(variants, 13);
}

#[test]
fn variants_draw_from_the_seed_and_refuse_what_does_not_fit() {
    let here = tempfile::tempdir().unwrap();
    npy(&here.path().join("w.npy"), &[6, 20], &common::formula("w", 120));
    npy(&here.path().join("p.npy"), &[3, 19], &common::formula("p", 57));
    npy(&here.path().join("q.npy"), &[2, 3, 20], &common::formula("q", 120));
    let energy =
        |options: &str| column(&succeeds(here.path(), &format!("energy w.npy {options}")).out, "energy")[0];
    for variant in ["ap --k 5", "adv --k 5", "bilateral --k 5 --c 2", "group --group-kind random"] {
        let seeded = |seed: u32| energy(&format!("--variant {variant} --seed {seed}"));
        assert_eq!(seeded(4), seeded(4), "{variant}");
        assert_ne!(seeded(4), seeded(5), "{variant}");
        let line = format!("--variant {variant}");
        assert!((energy(&format!("{line} --dtype f32 --reduce sum")) / 30.0).is_finite());
    }
    assert_eq!(energy("--variant group --groups 1"), energy(""));
    let refused = |options: &str, text: &str| {
        let message = refuses(here.path(), &format!("energy w.npy {options}"));
        assert!(message.contains(text), "{options}: {message}");
    };
    refused("--variant ap --projection p.npy", "tensor w: expected a projection of shape [k, 20]");
    refused("--variant adv --projection q.npy", "found [2, 3, 20]: adv learns one projection");
    refused("--variant bilateral --projection q.npy", "needs --projection2");
    refused(
        "--variant bilateral --projection q.npy --projection2 q.npy",
        "a second projection of shape [2, 6, 3]",
    );
    refused("--variant group --groups 21", "has 20 coordinates, so there can be at most 20");
    refused("--variant group --groups 0", "groups = 0");
    refused(
        "--variant mhe --k 5",
        "--k has no effect with --variant mhe; use it with --variant rp, ap, adv or bilateral",
    );
    refused(
        "--variant rp --mode unrolled",
        "--mode has no effect with --variant rp; use it with --variant ap or adv",
    );
    refused(
        "--variant adv --objective angle",
        "--objective has no effect with --variant adv; use it with --variant ap",
    );
    refused("--variant ap --objective angles", "did you mean angle?");
    refused("--variant ap --inner-lr=-1", "inner rate = -1");
    refused("--variant advv", "did you mean");
}
