//! Files of other programs, and for them: comhe grad, comhe convert, weights that PyTorch wrote.

mod common;

use common::{comhe_in, fixtures, formula, npy_bytes, refuses, succeeds, uniform, zip};

fn doubles(shape: &[usize], values: &[f64]) -> Vec<u8> {
    npy_bytes("<f8", shape, values.iter().flat_map(|v| v.to_le_bytes()))
}

/// Six clouds, or pictures, with labels.
fn batch(path: &std::path::Path, shape: [usize; 3]) {
    let n: usize = shape.iter().product();
    let x = doubles(&[6, shape[0], shape[1], shape[2]], &formula("batch/x", 6 * n));
    let labels = uniform("batch/y").take(6).flat_map(|u| ((u * 3.0) as i64).to_le_bytes());
    zip(path, &[("x.npy", x), ("y.npy", npy_bytes("<i8", &[6], labels))]);
}

#[test]
fn accuracy_is_pytorchs_to_the_image() {
    let folder = tempfile::tempdir().unwrap();
    for (name, right) in [("mlp", 1543.0), ("cnn6", 1566.0)] {
        let file = fixtures().join(format!("torch_{name}.safetensors"));
        let ran = succeeds(folder.path(), &format!("eval {} --model {name} --json", file.display()));
        let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(found["accuracy"].as_f64().unwrap() * 2000.0, right, "{name}");
    }
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    batch(&root.join("b.npz"), [1, 4, 4]);
    let base = "grad --model mlp --dtype f64 --batch b.npz --label-smoothing 0.1 --reg hs-mhe --json";
    let ran = succeeds(root, &format!("{base} --out g.npz --weights w.npz --classes 3"));
    let first: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        first["loss"].as_f64().unwrap(),
        first["fit"].as_f64().unwrap() + first["reg"].as_f64().unwrap()
    );
    assert_eq!(first["parameters"], 6);
    let gradient = |file: &str, name: &str| {
        let arrays = datasets::npy::read_archive(&root.join(file)).unwrap();
        match arrays.into_iter().find(|(n, _)| n == name).unwrap().1.values {
            datasets::npy::Values::F64(v) => v,
            other => panic!("{other:?}"),
        }
    };
    // The same with one weight moved up and down.
    let weights = datasets::npy::read_archive(&root.join("w.npz")).unwrap();
    let loss = |by: f64| {
        let entries: Vec<(String, Vec<u8>)> = weights
            .iter()
            .map(|(name, array)| {
                let datasets::npy::Values::F64(mut v) = array.values.clone() else { panic!("{name}") };
                if name == "fc2.weight" {
                    v[5] += by;
                }
                (format!("{name}.npy"), doubles(&array.shape, &v))
            })
            .collect();
        let entries: Vec<(&str, Vec<u8>)> = entries.iter().map(|(n, b)| (n.as_str(), b.clone())).collect();
        zip(&root.join("moved.npz"), &entries);
        let ran = succeeds(root, &format!("{base} --init moved.npz --out moved-g.npz"));
        serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()["loss"].as_f64().unwrap()
    };
    assert_eq!(loss(0.0), first["loss"].as_f64().unwrap(), "weights that were written are the ones used");
    let difference = (loss(1e-5) - loss(-1e-5)) / 2e-5;
    let found = gradient("g.npz", "fc2.weight")[5];
    assert!((found - difference).abs() < 1e-8 * (1.0 + found.abs()), "{found} {difference}");
    assert_eq!(gradient("g.npz", "logits").len(), 18);
}

#[test]
fn weights_go_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let file = fixtures().join("torch_mlp.safetensors");
    succeeds(root, &format!("convert {} a.npz --rename fc=net.fc", file.display()));
    succeeds(root, "convert a.npz b.safetensors --rename net.=");
    let accuracy = |file: &str| succeeds(root, &format!("eval {file} --model mlp")).out;
    assert_eq!(accuracy("b.safetensors"), accuracy(&file.display().to_string()));
    let counters = fixtures().join("torch_cnn6.safetensors");
    let ran = succeeds(root, &format!("convert {} c.npz --dtype f64", counters.display()));
    assert!(ran.out.contains(": 34 tensors"), "counters of batches are left behind: {}", ran.out);
}

#[test]
fn mistakes_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    batch(&root.join("b.npz"), [1, 4, 4]);
    zip(&root.join("x.npz"), &[("x.npy", doubles(&[1, 1, 4, 4], &[0.0; 16]))]);
    let large = [("x.npy", doubles(&[1, 1, 4, 4], &[0.0; 16])), ("y.npy", doubles(&[1], &[1e39]))];
    zip(&root.join("large.npz"), &large);
    for (arguments, part) in [
        (
            "grad --model mlp --batch large.npz --out g.npz",
            "large.npz[y]: the target in row 0, column 0 is 1e39, which float32 cannot hold",
        ),
        ("grad --model mlp --batch x.npz --out g.npz", "has no y; x and y are needed, it holds: x"),
        ("grad --model mlp --batch b.npz --out g.txt", "must end in .npz or .safetensors"),
        ("grad --model mlp --batch b.npz --out g.npz --classes 2", "has the label 2, the network 2 classes"),
        ("grad --model mlp --batch b.npz --out g.npz --lr 1", "--lr has no effect in comhe grad"),
        ("grad --model pointnet --batch b.npz --out g.npz", "takes point clouds"),
        ("convert b.npz c.npz --rename w=v", "no name has w"),
        ("convert b.npz c.npz --rename w", "is not OLD=NEW"),
        ("convert b.npz c.npz --rename x=y", "two tensors are called y"),
        ("convert none.npz c.npz", "none.npz"),
        ("convert b.npz c.pt", "must end in .npz or .safetensors"),
    ] {
        let line = refuses(root, arguments);
        assert!(line.contains(part), "{arguments}: {line}");
    }
    assert!(comhe_in(root, &["grad", "--help"]).out.contains("docs/bridges.md"));
}
