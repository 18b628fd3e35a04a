//! torchvision's ResNets and PointNet against PyTorch (tests/fixtures/deep.py), and what sizes and sets promise.

mod common;

use autograd::{DType, Key, Tensor};
use common::{assert_close, assert_digest, below, fixture, formula, model};
use nn::models::build;
use nn::{Context, CrossEntropy, Loss, Model, Module, Outputs, Step};

/// The largest difference from the reference, relative to its largest number.
fn error(found: &Tensor, reference: &Tensor) -> f64 {
    let (a, b) = (found.to_vec::<f64>(), reference.to_vec::<f64>());
    assert_eq!(found.shape(), reference.shape());
    let most = b.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    a.iter().zip(&b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / most
}

fn agrees_with_pytorch(name: &str, batch: [usize; 4]) {
    let fixture = fixture("deep");
    let get = |what: &str| fixture.get(&format!("{name}/{what}")).unwrap();
    let mut model = model(name, [batch[1], batch[2], batch[3]], true);
    let x = formula(&format!("{name}/images"), batch);
    let labels = below(&format!("{name}/labels"), 10, batch[0]);

    let double = error(&model.forward(&x, &mut Context::eval()), get("eval"));
    assert!(double <= 1e-9, "{name}: logits in f64 are off by {double:e}");
    let single = model.to_dtype(DType::F32).forward(&x.to_dtype(DType::F32), &mut Context::eval());
    let single = error(&single, get("eval"));
    assert!(single <= 1e-5, "{name}: logits in f32 are off by {single:e}");
    println!("{name}: logits off by {double:.1e} in f64, {single:.1e} in f32");

    // The reference has no dropout, so neither has the network here: it is left out of the sequence.
    let layers = model.layers().children().map(|(n, m)| (n.to_string(), m.boxed()));
    let mut net = nn::Sequential::new();
    for (name, module) in layers.filter(|(name, _)| name != "dropout") {
        net.push(name, Boxed(module));
    }
    let mut cx = Context::train(Key::new(0));
    let logits = net.forward(&x, &mut cx);
    let training = error(&logits, get("train"));
    assert!(training <= 1e-9, "{name}: logits in training are off by {training:e}");
    let mut loss =
        CrossEntropy::default().loss(&Outputs::new(logits), &labels.into(), Step::default()).unwrap();
    for (_, term) in cx.penalties() {
        loss += term;
    }
    assert_close(loss.item(), get("loss").item(), 1e-9, &format!("{name}: loss"));
    let gradients = loss.backward();
    let (mut compared, mut nothing, mut large) = (0, 0, 0);
    for (key, p) in net.named_parameters() {
        let name = format!("{name}/grad/{key}");
        let Some(digest) = fixture.get(&format!("{name}.digest")) else {
            assert!(p.numel() > 40_000, "{name} has no reference");
            large += 1;
            continue;
        };
        let gradient = gradients.get(p).unwrap();
        // A shift before a maximum that batch norm takes away again has no gradient but rounding.
        if digest.to_vec::<f64>()[1] < 1e-18 {
            assert!((gradient * gradient).sum(..).item() < 1e-18, "{name} is not 0");
            assert!(key.contains("bn") && key.ends_with(".bias"), "{name} is 0");
            nothing += 1;
        } else {
            assert_digest(gradient, &fixture, &name, 1e-7);
            compared += 1;
        }
    }
    println!("{name}: {compared} gradients, {nothing} that are 0 by theory, {large} too large to be stored");
    assert!(nothing <= 2 && compared > large, "{name}: {compared} gradients compared, {nothing} are 0");
}

/// A layer taken from another sequence.
#[derive(Clone)]
struct Boxed(Box<dyn Module>);

impl Module for Boxed {
    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        self.0.forward(x, cx)
    }
    fn visit<'a>(&'a self, see: nn::See<'_, 'a>) {
        self.0.visit(see);
    }
    fn visit_mut<'a>(&'a mut self, change: nn::Change<'_, 'a>) {
        self.0.visit_mut(change);
    }
    fn plan(
        &self,
        path: &str,
        input: &autograd::Shape,
        plan: &mut nn::Summary,
    ) -> Result<autograd::Shape, nn::Error> {
        self.0.plan(path, input, plan)
    }
}

#[test]
fn torchvision() {
    for name in ["resnet18", "resnet34", "resnet50"] {
        agrees_with_pytorch(name, [3, 3, 64, 96]);
    }
}

#[test]
fn pointnet() {
    for name in ["pointnet", "pointnet-vanilla"] {
        agrees_with_pytorch(name, [4, 3, 60, 1]);
    }
}

#[test]
fn sizes_are_the_published_ones() {
    // torchvision's counts.
    for (name, count) in [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032)] {
        let model = build(name, [3, 224, 224], 1000, 1, Key::new(1), DType::F32).unwrap();
        assert_eq!(model.parameter_count(), count, "{name}");
        // 1.8, 3.6 and 4.1 billion multiplications (torchvision's table).
        let billions = model.summary().flops() as f64 / 2e9;
        let expected = [("resnet18", 1.81), ("resnet34", 3.66), ("resnet50", 4.09)];
        let expected = expected.iter().find(|(n, _)| *n == name).unwrap().1;
        assert!((billions / expected - 1.0).abs() < 0.02, "{name}: {billions}");
    }
    // Qi et al. 2017, table 6: 3.5 and 0.8 million parameters; 440 and 148 million multiplications for a cloud, which
    // without T-nets is what 1,000 points take, to the three digits given.
    for (name, parameters) in [("pointnet", 3.5), ("pointnet-vanilla", 0.8)] {
        let model = build(name, [3, 1024, 1], 40, 1, Key::new(1), DType::F32).unwrap();
        let millions = model.parameter_count() as f64 / 1e6;
        assert!((millions - parameters).abs() < 0.05, "{name}: {millions} million parameters");
    }
    let vanilla = build("pointnet-vanilla", [3, 1000, 1], 40, 1, Key::new(1), DType::F32).unwrap();
    let summary = vanilla.summary();
    let products = summary.rows.iter().filter(|r| r.layer.starts_with("Conv2d") || r.layer == "Linear");
    let multiplications = products.map(|row| row.flops / 2).sum::<u64>();
    let shared = 3 * 64 + 64 * 64 + 64 * 64 + 64 * 128 + 128 * 1024;
    assert_eq!(multiplications, 1000 * shared + 1024 * 512 + 512 * 256 + 256 * 40);
    assert_eq!((multiplications as f64 / 1e6).round(), 148.0);
}

#[test]
fn a_cloud_is_a_set() {
    for name in ["pointnet", "pointnet-vanilla"] {
        let mut model = build(name, [3, 50, 1], 4, 1, Key::new(1), DType::F64).unwrap();
        let x = Tensor::normal([2, 3, 50, 1], DType::F64, Key::new(2));
        let order = Key::new(3).permutation(50);
        let index = autograd::Index::new(&order.iter().map(|&i| i as u32).collect::<Vec<_>>(), [50]);
        let shuffled = x.index_select(2, &index);
        let logits = |x: &Tensor, model: &mut Model| model.forward(x, &mut Context::eval()).to_vec::<f64>();
        let (a, b) = (logits(&x, &mut model), logits(&shuffled, &mut model));
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 1e-12 * (1.0 + a.abs()), "{name}: {a} {b}");
        }
    }
}

#[test]
fn a_feature_transform_is_penalised_in_training_alone() {
    let mut model = build("pointnet", [3, 10, 1], 4, 1, Key::new(1), DType::F64).unwrap();
    let x = Tensor::normal([3, 3, 10, 1], DType::F64, Key::new(2));
    let penalty = |model: &mut Model, mut cx: Context| {
        let _ = model.forward(&x, &mut cx);
        cx.penalties().iter().map(|(name, term)| (*name, term.item())).collect::<Vec<_>>()
    };
    // The transforms start as the identity.
    assert_eq!(penalty(&mut model, Context::train(Key::new(0))), [("orthogonality", 0.0)]);
    model.visit_mut(&mut |name, t, _| {
        if name == "feature_transform.tnet.fc3.bias" {
            t.assign(&(Tensor::eye(64, DType::F64).flatten(0) * 0.5));
        }
    });
    // A = 1.5 I: each of 64 diagonal elements of I - A A' is 1.25 from 0.
    let measured = penalty(&mut model, Context::train(Key::new(0)))[0].1;
    assert!((measured - 0.001 * 64.0 * 1.25 * 1.25).abs() < 1e-12, "{measured}");
    assert_eq!(penalty(&mut model, Context::eval()), []);
}
