//! Files of other programs, and for them: comhe grad, comhe convert, weights that PyTorch wrote.

mod common;

use std::collections::BTreeMap;

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

/// The arrays of a file by name.
fn arrays(path: &std::path::Path) -> BTreeMap<String, Vec<f64>> {
    let values = |values| match values {
        datasets::npy::Values::F64(v) => v,
        other => panic!("{other:?}"),
    };
    let file = datasets::npy::read_archive(path).unwrap();
    file.into_iter().map(|(name, array)| (name, values(array.values))).collect()
}

#[test]
fn gradients_under_a_loss_a_method_and_a_regulariser_are_pytorchs() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    batch(&root.join("b.npz"), [1, 4, 4]);
    let shapes: [(&str, &[usize]); 6] = [
        ("fc1.weight", &[128, 16]),
        ("fc1.bias", &[128]),
        ("fc2.weight", &[128, 128]),
        ("fc2.bias", &[128]),
        ("fc3.weight", &[3, 128]),
        ("fc3.bias", &[3]),
    ];
    let entry = |(name, shape): &(&str, &[usize])| {
        let values = formula(&format!("batch/{name}"), shape.iter().product());
        (format!("{name}.npy"), doubles(shape, &values.iter().map(|v| 0.25 * v).collect::<Vec<f64>>()))
    };
    let entries: Vec<(String, Vec<u8>)> = shapes.iter().map(entry).collect();
    let entries: Vec<(&str, Vec<u8>)> = entries.iter().map(|(n, b)| (n.as_str(), b.clone())).collect();
    zip(&root.join("w.npz"), &entries);
    let fixture = nn::Archive::load(fixtures().join("uniformity.safetensors")).unwrap();
    for (case, method) in [("plain", "--method plain"), ("sam", "--method sam --method-eps 0.1")] {
        let ran = succeeds(
            root,
            &format!(
                "grad --model mlp --dtype f64 --init w.npz --batch b.npz --loss mse --reg orthoreg --reg-weight 0.01 {method} \
                 --out g.npz --json"
            ),
        );
        let line: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let found = arrays(&root.join("g.npz"));
        let want = |name: &str| fixture.get(&format!("batch/{case}/{name}")).unwrap().to_vec::<f64>();
        let near = |a: f64, b: f64, tolerance: f64, what: &str| {
            assert!((a - b).abs() <= tolerance, "{case}, {what}: {a}, not {b}");
        };
        for (name, wanted) in [("fit", "fit"), ("reg", "reg"), ("fit/mse", "fit")] {
            near(found[name][0], want(wanted)[0], 1e-12, name);
        }
        assert_eq!(line["terms"]["mse"], line["fit"]);
        for (name, shape) in shapes {
            let g = &found[name];
            let dot = |b: &[f64]| g.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            if shape.iter().product::<usize>() > 5000 {
                let at = format!("batch/{case}/{name}");
                let probes = [0, 1].map(|j| formula(&format!("{at}/probe{j}"), g.len()));
                let digest = want(&format!("{name}.digest"));
                for (i, a) in [g.iter().sum(), dot(g), dot(&probes[0]), dot(&probes[1])].iter().enumerate() {
                    near(*a, digest[i], 1e-9 * digest[1].sqrt().max(digest[1]), &at);
                }
            } else {
                let largest = g.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                g.iter().zip(want(name)).for_each(|(a, b)| near(*a, b, 1e-9 * largest, name));
            }
        }
    }
}

#[test]
fn a_gradient_file_holds_the_poles_that_its_penalty_is_of() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    batch(&root.join("b.npz"), [1, 4, 4]);
    let base = "grad --model mlp --dtype f64 --batch b.npz --weights w.npz --reg mhc --reg-eps 0 --reg-weight 0.5 --json";
    for rest in [
        "",
        "--reg-inner-steps 0",
        "--reg-half-space true --reg-sharpness 3 --reg-inner-lr 0.5",
        "--method sam",
    ] {
        let ran = succeeds(root, &format!("{base} {rest} --out g.npz"));
        let line: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let (w, g) = (arrays(&root.join("w.npz")), arrays(&root.join("g.npz")));
        let mut sum = 0.0;
        for layer in ["fc1", "fc2", "fc3"] {
            let find =
                |part: &str| g.iter().find(|(n, _)| n.starts_with("state/") && n.ends_with(part)).unwrap().1;
            let v = find(&format!("{layer}.weight.pole"));
            let length = |v: &[f64]| v.iter().map(|a| a * a).sum::<f64>().sqrt();
            let gamma = if rest.contains("sharpness") { 3.0 } else { 10.0 };
            let both = rest.contains("half-space") && layer != "fc3";
            let rows: Vec<f64> = w[&format!("{layer}.weight")]
                .chunks(v.len())
                .map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>() / length(row) / length(v))
                .flat_map(|c| if both { vec![c, -c] } else { vec![c] })
                .collect();
            let mean = rows.iter().map(|c| (-gamma * (2.0 - 2.0 * c)).exp()).sum::<f64>() / rows.len() as f64;
            sum -= 0.5 * mean.ln() / gamma;
        }
        let reg = line["reg"].as_f64().unwrap();
        assert!((reg - sum).abs() < 1e-10, "{rest}: {reg}, not {sum}");
    }
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
