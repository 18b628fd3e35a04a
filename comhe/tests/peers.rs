//! The peers of the energy: against an independent implementation, against closed forms, and at their limits.

use std::collections::BTreeMap;
use std::fs;

use autograd::{DType, Key, Tensor};
use comhe::peers::{self, PeerOptions, names, peer};
use comhe::{Error, Objective, Options, Problem, Projections, measured};
use nn::{Regulariser, Role, Step, Weight};
use safetensors::SafeTensors;

/// The peers of directions.
const DIRECTIONS: [&str; 8] = ["mc", "mma", "mhs", "mgd", "mhp", "mhc", "sphereface-plus", "orthoreg"];
/// Those with learned poles.
const POLES: [&str; 2] = ["mhp", "mhc"];

const START: Step = Step { index: 0, lr: 0.1 };

/// A peer's penalty of a weight in the first step.
fn penalty(name: &str, w: &Tensor, options: &PeerOptions) -> Result<Tensor, Error> {
    let found = peer(name, options).unwrap().penalty(&[Weight::new("layer", w)], START);
    found.map_err(|error| match error {
        nn::Error::Other(error) => {
            let error = error.downcast_ref::<Error>().expect("an error of this crate").clone();
            assert_eq!(error.layer.as_deref(), Some("layer"));
            Error { layer: None, ..error }
        }
        other => panic!("{other}"),
    })
}

fn value(name: &str, w: &Tensor) -> f64 {
    penalty(name, w, &PeerOptions { eps: 0.0, ..PeerOptions::default() }).unwrap().item()
}

/// The gradient, and the gradient of its square.
fn orders(y: &Tensor, w: &Tensor) -> [Vec<f64>; 2] {
    let d = y.recorded().grad(&[w]).remove(0);
    // Linear functions have a gradient that does not depend on w.
    let q = ((&d * &d).sum(..) + w.sum(..) * 0.0).grad(&[w]).remove(0);
    [d.to_vec(), q.to_vec()]
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

fn close(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{a}, not {b}");
}

/// `rows` orthonormal rows of dimension d.
fn frame(rows: usize, d: usize) -> Tensor {
    let p = Projections::frame(rows, 3);
    let scale = (rows as f64 / d as f64).sqrt();
    p.draw("frame", 0, d, DType::F64).unwrap().reshape([rows, d]) * scale
}

/// N points with all cosines -1 / (N - 1).
fn simplex(n: usize) -> Tensor {
    Tensor::from_fn([n, n], DType::F64, |i| f64::from(u8::from(i / n == i % n)) - 1.0 / n as f64)
}

fn load() -> BTreeMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/peers.safetensors");
    let bytes = fs::read(path).expect(path);
    let file = SafeTensors::deserialize(&bytes).expect(path);
    let tensor = |(name, view): (String, safetensors::tensor::TensorView)| {
        let numbers = view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap()));
        (name, Tensor::new(&numbers.collect::<Vec<f64>>(), view.shape()))
    };
    file.tensors().into_iter().map(tensor).collect()
}

#[test]
fn values_and_gradients_agree_with_an_independent_implementation() {
    let file = load();
    let cases: Vec<&str> = file.keys().filter_map(|name| name.strip_suffix("/y")).collect();
    assert_eq!(cases.len(), 5 * 11);
    let mut worst = [0.0f64; 3];
    for case in cases {
        let (points, name) = case.rsplit_once('/').unwrap();
        let w = file[&format!("{points}/w")].requires_grad();
        let (name, number) = name.split_once('_').unwrap_or((name, "1"));
        let options = PeerOptions {
            gamma: number.parse().unwrap(),
            stride: number.parse().ok(),
            ..PeerOptions::default()
        };
        let y = match name {
            "srip" => peers::srip(&w, &file[&format!("{points}/b")]),
            _ => penalty(name, &w, &options),
        };
        let y = y.unwrap();
        let [d, q] = orders(&y, &w);
        let want = |key: &str| file[&format!("{case}/{key}")].to_vec::<f64>();
        for (i, (got, want)) in
            [(vec![y.item()], want("y")), (d, want("dw")), (q, want("qw"))].iter().enumerate()
        {
            let off: Vec<f64> = got.iter().zip(want).map(|(a, b)| a - b).collect();
            let error = largest(&off) / largest(want).max(1e-300);
            // Second derivatives of MMA lose digits where the clamp is near; none of these is.
            assert!(error < [1e-9, 1e-7, 1e-6][i], "{case}, order {i}: relative error {error:e}");
            worst[i] = worst[i].max(error);
        }
    }
    println!(
        "worst relative errors: value {:.1e}, gradient {:.1e}, second order {:.1e}",
        worst[0], worst[1], worst[2]
    );
}

#[test]
fn orthonormal_rows_are_the_optimum_of_orthogonality() {
    for (n, d) in [(1, 1), (3, 3), (4, 9)] {
        let w = frame(n, d);
        for name in ["so", "srip", "ocnn"] {
            close(value(name, &w), 0.0, 1e-14);
        }
        close(value("dso", &w), (d - n) as f64, 1e-14);
        close(value("mc", &w), 0.0, 1e-14);
        close(value("decay", &w), n as f64 / 2.0, 1e-14);
        // Columns instead of rows: N - d directions are one too many.
        let tall = w.transpose(0, 1);
        close(value("so", &tall), (d - n) as f64, 1e-14);
        close(value("dso", &tall), (d - n) as f64, 1e-14);
        close(value("srip", &tall), 0.0, 1e-14);
    }
    // Where (G - I) b is exactly 0, so are v, the penalty and its gradients.
    let w = Tensor::eye(3, DType::F64).requires_grad();
    for name in ["so", "srip", "ocnn"] {
        let y = penalty(name, &w, &PeerOptions::default()).unwrap();
        assert_eq!((y.item(), largest(&orders(&y, &w).concat())), (0.0, 0.0), "{name}");
    }
    // A control: rows of length 2 are not orthonormal, G - I = 3 I.
    let twice = Tensor::eye(4, DType::F64) * 2.0;
    close(value("so", &twice), 36.0, 1e-14);
    close(value("srip", &twice), 9.0, 1e-14);
    close(value("ocnn", &twice), 6.0, 1e-14);
}

#[test]
fn a_delta_kernel_is_an_orthogonal_convolution_and_a_shifted_one_is_not_seen_as_another() {
    // Channels are permuted at the kernel's centre: the convolution is a permutation.
    let delta = |at: usize| {
        Tensor::from_fn([3, 3, 3, 3], DType::F64, |i| {
            let (o, c, place) = (i / 27, i / 9 % 3, i % 9);
            f64::from(u8::from(c == (o + 1) % 3 && place == at))
        })
    };
    close(value("ocnn", &delta(4)), 0.0, 1e-15);
    close(value("ocnn", &delta(0)), 0.0, 1e-15);
    // Two equal taps one apart: overlaps 1/2 at the shifts +-1, for each of the three channels.
    let two = (delta(3) + delta(4)) * 0.5f64.sqrt();
    close(value("ocnn", &two), (3.0 * 2.0 * 0.25f64).sqrt(), 1e-14);
    close(value("so", &two), 0.0, 1e-14);
    // At stride 2 these shifts do not occur.
    let options = PeerOptions { stride: Some(2), ..PeerOptions::default() };
    close(penalty("ocnn", &two, &options).unwrap().item(), 0.0, 1e-14);
    // Unless told, the stride is the layer's own, down and across.
    let mut own = peer("ocnn", &PeerOptions::default()).unwrap();
    let mut of = |stride| {
        let layer = Weight { stride, ..Weight::new("conv", &two) };
        own.penalty(&[layer], START).unwrap().item()
    };
    close(of([1, 2]), 0.0, 1e-14);
    close(of([2, 1]), 1.5f64.sqrt(), 1e-14);
}

#[test]
fn the_simplex_is_the_optimum_of_directions() {
    for n in [2usize, 3, 8] {
        let c = -1.0 / (n as f64 - 1.0);
        let w = simplex(n).requires_grad();
        close(value("mma", &w), -c.max(-0.99999).acos(), 1e-14);
        close(value("mhs", &w), -(2.0 - 2.0 * c), 1e-14);
        close(value("mc", &w), -c, 1e-14);
        // K = (1 + 1e-6 - q) I + q 1 1' with q = exp(-(2 - 2c)).
        let q = (-(2.0 - 2.0 * c)).exp();
        let other = 1.0 + 1e-6 - q;
        let want = -((n as f64 - 1.0) * other.ln() + (other + n as f64 * q).ln());
        close(value("mgd", &w), want, 1e-13);
        let options = PeerOptions { eps: 0.0, ..PeerOptions::default() };
        let force = penalty("mgd", &w, &options).unwrap().backward()[&w].to_vec::<f64>();
        assert!(largest(&force) < 1e-13, "a stationary point of MGD: {force:?}");
        // No other configuration of n points has a larger smallest angle.
        for i in 0..20 {
            let other = Tensor::normal([n, n], DType::F64, Key::new(8).step(i));
            for name in ["mma", "mhs", "mgd"] {
                assert!(value(name, &other) > value(name, &w) - 1e-12, "{name}, n {n}");
            }
        }
    }
}

#[test]
fn what_each_does_not_depend_on() {
    let w = Tensor::normal([5, 7], DType::F64, Key::new(11));
    let rotated = w.matmul(&frame(7, 7));
    let order = autograd::Index::from([3, 1, 4, 0, 2]);
    let permuted = w.index_select(0, &order);
    for name in names() {
        // A pole is drawn where it is, and does not rotate with the neurons.
        if !POLES.contains(&name) {
            close(value(name, &rotated), value(name, &w), 1e-12);
        }
        if name != "srip" {
            close(value(name, &permuted), value(name, &w), 1e-13);
        }
    }
    let lengths = Tensor::from([[0.1], [3.0], [1.0], [20.0], [0.5]]);
    let signs = Tensor::from([[1.0], [-1.0], [1.0], [-1.0], [-1.0]]);
    for name in DIRECTIONS {
        close(value(name, &(&w * &lengths)), value(name, &w), 1e-13);
        // A control: nearly every peer tells a neuron from its opposite.
        let changed = (value(name, &(&w * &signs)) - value(name, &w)).abs() > 1e-3;
        assert_eq!(changed, name != "mc", "{name}");
    }
    assert!((value("mhp-relaxed", &(&w * &lengths)) - value("mhp-relaxed", &w)).abs() > 1e-3);
    for name in ["so", "dso", "ocnn", "decay"] {
        close(value(name, &(&w * &signs)), value(name, &w), 1e-13);
        assert!((value(name, &(&w * &lengths)) - value(name, &w)).abs() > 1e-3, "{name}");
    }
    // DSO is twice SO, and a constant.
    close(value("dso", &w), 2.0 * value("so", &w) + 2.0, 1e-13);
}

#[test]
fn srip_lies_below_the_largest_eigenvalue_and_draws_by_step_layer_and_seed() {
    // G - I = diag(8, 3, 0): the penalty is at most 64, and more than for b itself on average.
    let w = Tensor::new(&[3.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0], [3, 3]);
    let mut reg = peer("srip", &PeerOptions::default()).unwrap();
    let mut at = |name: &str, index: u64| {
        let (layer, step) = (Weight::new(name, &w), Step { index, lr: 0.1 });
        let penalty = reg.penalty(std::slice::from_ref(&layer), step).unwrap().item();
        assert_eq!(penalty, measured(&*reg, &layer, step).unwrap());
        penalty
    };
    let run: Vec<f64> = (0..50).map(|i| at("a", i)).collect();
    assert!(run.iter().all(|v| (9.0..=64.0).contains(v)), "{run:?}");
    assert_eq!(run[7], at("a", 7));
    assert!(run[0] != run[1] && run[0] != at("b", 0));
    assert!(
        run[0] != penalty("srip", &w, &PeerOptions { seed: 1, ..PeerOptions::default() }).unwrap().item()
    );
    // By hand: y = (G - I) b, penalty |(G - I) y|^2 / |y|^2.
    let b = [1.0, -2.0, 0.5];
    let want = (64.0f64 * 64.0 + 81.0 * 4.0) / (64.0 + 9.0 * 4.0);
    close(peers::srip(&w, &Tensor::from(b)).unwrap().item(), want, 1e-14);
}

#[test]
fn equal_candidates_give_the_gradient_to_the_first() {
    // Rows 0 and 1 are as near as rows 2 and 3.
    let w = Tensor::from([
        [1.0, 1.0, 0.0, 0.0],
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 1.0],
        [0.0, 0.0, 1.0, 0.0],
    ]);
    let w = w.requires_grad();
    for name in ["mc", "mhs"] {
        let g = penalty(name, &w, &PeerOptions::default()).unwrap().backward()[&w].to_vec::<f64>();
        assert!(largest(&g[..8]) > 0.1 && g[8..].iter().all(|v| *v == 0.0), "{name}: {g:?}");
    }
    // Row 0 is as near to row 1 as to row 2: of its own term only the first has a part.
    let w = Tensor::from([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]]).requires_grad();
    let g = penalty("mma", &w, &PeerOptions { eps: 0.0, ..PeerOptions::default() }).unwrap().backward()[&w]
        .to_vec::<f64>();
    // d theta / d w_1 is 1 along the tangent (-0.8, 0.6), from rows 0 and 1, over N; row 2 has its own term alone.
    close(g[2].hypot(g[3]), 2.0 / 3.0, 1e-12);
    close(g[4].hypot(g[5]), 1.0 / 3.0, 1e-12);
}

#[test]
fn no_degenerate_layer_gives_nan() {
    let rows: [(&str, Vec<f64>, [usize; 2]); 9] = [
        ("no neuron", vec![], [0, 4]),
        ("one neuron", vec![1.0, 2.0, -1.0], [1, 3]),
        ("one number", vec![0.5], [1, 1]),
        ("a zero neuron alone", vec![0.0, 0.0], [1, 2]),
        ("one dimension", vec![0.5, 2.0, -1.0], [3, 1]),
        ("all zero", vec![0.0; 12], [3, 4]),
        ("a zero row", vec![1.0, 2.0, 0.0, 0.0, -1.0, 1.0], [3, 2]),
        ("coinciding rows", vec![1.0, 2.0, 1.0, 2.0, 2.0, 4.0], [3, 2]),
        ("opposite rows", vec![1.0, 2.0, -1.0, -2.0, -3.0, -6.0], [3, 2]),
    ];
    for (case, data, shape) in rows {
        for dtype in [DType::F32, DType::F64] {
            for scale in [1.0, 1e-12, 1e3] {
                let w = (Tensor::new(&data, shape) * scale).to_dtype(dtype).requires_grad();
                for name in names() {
                    let y = penalty(name, &w, &PeerOptions::default()).unwrap();
                    let all = orders(&y, &w).concat();
                    assert!(y.item().is_finite(), "{name}, {case} times {scale}, {dtype}: {}", y.item());
                    assert!(
                        all.iter().all(|v| v.is_finite()),
                        "{name}, {case} times {scale}, {dtype}: {all:?}"
                    );
                    if shape[0] == 0 {
                        assert_eq!(y.item(), 0.0, "{name}");
                    }
                }
            }
        }
    }
    for name in ["mc", "mma", "mhs", "sphereface-plus", "orthoreg"] {
        let w = Tensor::ones([1, 3], DType::F32).requires_grad();
        let y = penalty(name, &w, &PeerOptions::default()).unwrap();
        assert_eq!((y.item(), y.backward()[&w].to_vec::<f64>()), (0.0, vec![0.0; 3]), "{name}");
    }
    // Many equal neurons: the determinant is (1 + 1e-6 - 1)^(N - 1) (N + 1e-6), in f32 as well.
    let w = Tensor::ones([200, 5], DType::F32).requires_grad();
    let y = penalty("mgd", &w, &PeerOptions { eps: 0.0, ..PeerOptions::default() }).unwrap();
    close(y.item(), -(199.0 * 1e-6f64.ln() + 200f64.ln()), 1e-6);
    assert!(y.backward()[&w].is_finite());
}

#[test]
fn unusable_weights_and_options_are_explained() {
    let fails = |name: &str, w: &Tensor, options: &PeerOptions| penalty(name, w, options).unwrap_err();
    let exact = PeerOptions { eps: 0.0, ..PeerOptions::default() };
    let zero = Tensor::from([[1.0, 0.0], [0.0, 0.0]]);
    let mut holed = Tensor::ones([2, 3, 2, 2], DType::F32);
    holed.update::<f32>(|w| w[17] = f32::NAN);
    for name in names() {
        if DIRECTIONS.contains(&name) {
            assert_eq!(fails(name, &zero, &exact).problem, Problem::ZeroRow { row: 1, projection: None });
        } else {
            assert!(penalty(name, &zero, &exact).is_ok());
        }
        let message = fails(name, &holed, &exact).to_string();
        assert_eq!(message, "element [1, 1, 0, 1] is NaN; all must be finite");
        assert!(
            fails(name, &Tensor::ones([3], DType::F64), &exact).to_string().starts_with("expected a weight")
        );
    }
    for name in ["so", "dso", "srip", "ocnn", "decay"] {
        let message = fails(name, &Tensor::full([2, 2], 1e30, DType::F32), &exact).to_string();
        assert!(message.contains("beyond the numbers of f32") && message.contains("1.0e30"), "{message}");
    }
    for (options, text) in [
        (Options { gamma: 0.0, ..Options::default() }, "gamma = 0"),
        (Options { gamma: f64::NAN, ..Options::default() }, "gamma = NaN"),
        (Options { sharpness: -1.0, ..Options::default() }, "sharpness = -1"),
        (Options { stride: Some(0), ..Options::default() }, "stride = 0"),
    ] {
        let message = Objective::new("so", &options).err().unwrap().to_string();
        assert!(message.contains(text), "{message}");
    }
    assert!(peer("sow", &exact).is_none());
    let message = Objective::new("decai", &Options::default()).err().unwrap().to_string();
    assert!(message.contains("did you mean decay?"), "{message}");
    let wrong = peers::srip(&zero, &Tensor::ones([3], DType::F64)).unwrap_err().to_string();
    assert_eq!(wrong, "expected b of shape [2] and dtype f64, found [3]");
}

#[test]
fn an_objective_covers_every_layer_with_one_weight_unless_told() {
    let weights = [[4usize, 6], [3, 4]].map(|shape| Tensor::normal(shape, DType::F64, Key::new(9)));
    let layers = [
        Weight::new("fc1.weight", &weights[0]),
        Weight::new("fc2.weight", &weights[1]).role(Role::Classifier),
    ];
    for name in names() {
        let one =
            |layer: &Weight| measured(&*peer(name, &PeerOptions::default()).unwrap(), layer, START).unwrap();
        let total = |options: &Options| {
            let mut objective = Objective::new(name, options).unwrap();
            objective.check(&layers).unwrap();
            let report = objective.report(&layers, START).unwrap();
            // SphereFace+ is for the classifier.
            assert!(
                report
                    .iter()
                    .skip(usize::from(name == "sphereface-plus"))
                    .all(|r| r.regulariser == Some(name))
            );
            objective.penalty(&layers, START).unwrap().item()
        };
        let hidden = if name == "sphereface-plus" { 0.0 } else { one(&layers[0]) };
        let head = one(&layers[1]);
        let options = Options { weight: 0.5, ..Options::default() };
        close(total(&options), 0.5 * (hidden + head), 1e-13);
        close(total(&Options { head_weight: Some(2.0), ..options }), 0.5 * hidden + 2.0 * head, 1e-13);
    }
    assert_eq!(Options::default().classifier_weight("mhe"), 10.0);
}
