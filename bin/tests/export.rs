//! `export`, the evaluation of an export, and `energy-cost` from end to end.

mod common;
use common::{refuses, succeeds};

use serde_json::Value;

fn value(text: &str) -> Value {
    serde_json::from_str(text.trim()).unwrap()
}

#[test]
fn a_run_is_packed_and_the_export_has_its_accuracy() {
    let here = tempfile::tempdir().unwrap();
    succeeds(
        here.path(),
        "train --dataset fashion14 --model boolnet-small-k4 --optimizer radam --train-size 500 --epochs 1 --seed 1 \
         --out run",
    );
    let told = value(&succeeds(here.path(), "export run --out net.safetensors --json").out);
    let bytes = std::fs::metadata(here.path().join("net.safetensors")).unwrap().len();
    assert_eq!((told["bytes"].as_u64(), told["model"].as_str()), (Some(bytes), Some("boolnet-small-k4")));
    assert!(told["parameter_bytes"].as_u64().unwrap() > 5 * bytes);
    let [real, packed] = ["eval run --json", "eval net.safetensors --dataset fashion14 --json"]
        .map(|arguments| value(&succeeds(here.path(), arguments).out));
    for key in ["images", "loss", "accuracy", "top5", "confusion"] {
        assert_eq!(real[key], packed[key], "{key}");
    }
    // Other data, damage, other networks.
    let error = refuses(here.path(), "eval net.safetensors --dataset digits");
    assert!(error.contains("is a network for images [1, 14, 14] in 10 classes"), "{error}");
    let mut damaged = std::fs::read(here.path().join("net.safetensors")).unwrap();
    damaged.truncate(damaged.len() - 8);
    std::fs::write(here.path().join("cut.safetensors"), damaged).unwrap();
    assert!(refuses(here.path(), "eval cut.safetensors --dataset fashion14").contains("cut.safetensors"));
    let mut flipped = std::fs::read(here.path().join("net.safetensors")).unwrap();
    let last = flipped.len() - 9;
    flipped[last] ^= 1;
    std::fs::write(here.path().join("flipped.safetensors"), flipped).unwrap();
    let error = refuses(here.path(), "eval flipped.safetensors --dataset fashion14");
    assert!(error.contains("flipped.safetensors") && error.contains("checksum"), "{error}");
    // What needs real weights, and flags that an export decides.
    for (arguments, said) in [
        ("attack net.safetensors --dataset fashion14", "is an export, a packed one-bit network"),
        ("inspect net.safetensors", "is an export, a packed one-bit network"),
        ("energy net.safetensors", "is an export, a packed one-bit network"),
        ("export net.safetensors --out again.safetensors", "is an export, a packed one-bit network"),
        ("train --init net.safetensors --dry", "is an export, a packed one-bit network"),
        ("landscape net.safetensors --dataset fashion14", "use the run that it was exported from"),
        (
            "eval net.safetensors --dataset fashion14 --model lenet",
            "--model has no effect beside net.safetensors",
        ),
        (
            "eval net.safetensors --dataset fashion14 --dtype f64",
            "--dtype has no effect beside net.safetensors",
        ),
    ] {
        let error = refuses(here.path(), arguments);
        assert!(error.contains(said), "{arguments}: {error}");
    }
    assert!(!here.path().join("landscape-1d.png").exists());
    succeeds(here.path(), "train --dataset digits --model mlp --train-size 100 --epochs 1 --out mlp");
    let error = refuses(here.path(), "export mlp --out x.safetensors");
    assert!(error.contains("only one-bit networks"), "{error}");
}

#[test]
fn energies_are_modelled_with_any_coefficients() {
    let here = tempfile::tempdir().unwrap();
    let told = value(&succeeds(here.path(), "energy-cost --model boolnet18-k4 --json").out);
    assert!(told["ratio"].as_f64().unwrap() > 2.0);
    let total = &told["total"];
    assert_eq!(total["binary_ops"].as_f64().map(|ops| (ops / 1e7).round()), Some(247.0));
    let file = here.path().join("e.toml");
    std::fs::write(&file, "weight_bit = 1.0\nmap_bit = 0\nbinary_op = 0\nreal_op = 0\ncompare = 0\n")
        .unwrap();
    let told = value(&succeeds(here.path(), "energy-cost --model resnet18 --coefficients e.toml --json").out);
    let total = &told["total"];
    let bits = total["weight_bits"].as_f64().unwrap();
    assert!((total["energy_mj"].as_f64().unwrap() / (bits / 1e9) - 1.0).abs() < 1e-12);
    assert!(told["ratio"].is_null());
    let text = succeeds(here.path(), "energy-cost --model basenet-small-k1 --input 1x14x14 --classes 10").out;
    assert!(text.contains("layer2.0.conv2") && text.contains("assumptions"), "{text}");
    for (content, said) in [("weights = 1", "unknown field"), ("map_bit = -1", "map_bit is -1")] {
        std::fs::write(&file, content).unwrap();
        let error = refuses(here.path(), "energy-cost --model resnet18 --coefficients e.toml");
        assert!(error.contains(said) && error.contains("e.toml"), "{error}");
    }
}
