//! One-bit networks against PyTorch (tests/fixtures/binary.py), and the properties that their parts have.

mod common;

use autograd::{ConvOptions, DType, Key, Tensor};
use common::{assert_close, assert_digest, fixture, formula};
use nn::binary::{
    AdaptiveShift, Anneal, BinaryConv, Block, BlockSpec, MultiSign, Progressive, interleave, or, sign, xnor,
};
use nn::{
    Archive, Batch, BatchNorm, Context, CrossEntropy, Distillation, Kind, Loss, Method, Module, Optimizer,
    Outputs, Plain, Sam, Step, Targets, Trainer,
};
use proptest::prelude::*;

// ------------------------------------------------------------------------------------------------- fixtures

/// Sets every tensor to what belongs to its name, and every temperature.
fn fill(module: &mut dyn Module, case: &str, temperature: f64) {
    let mut binary = Vec::new();
    module.visit(&mut |name, _, _| {
        if let Some(layer) = name.strip_suffix("temperature") {
            binary.push(format!("{layer}weight"));
        }
    });
    module.visit_mut(&mut |name, t, _| {
        let f = || formula(&format!("{case}/{name}"), t.shape());
        let value = match t.rank() {
            0 => Tensor::from(temperature),
            _ if name.ends_with("running_mean") => f() * 0.1,
            _ if name.ends_with("running_var") => f() * 0.5 + 1.0,
            1 if name.ends_with("weight") => f() * 0.1 + 1.0,
            1 => f() * 0.1,
            _ if binary.iter().any(|b| b == name) => f() * 1.5,
            _ => f() * (6.0 / t.shape()[1..].iter().product::<usize>() as f64).sqrt(),
        };
        t.assign(&value);
    });
}

fn signs(name: &str, shape: &[usize]) -> Tensor {
    sign(&formula(name, shape))
}

/// Holds y and the gradients of <g, y> against a case.
fn compare(fixture: &Archive, case: &str, y: &Tensor, inputs: &[(String, Tensor)]) {
    let expected = fixture.get(&format!("{case}/y")).unwrap_or_else(|| panic!("no case {case}"));
    assert_eq!(y.shape(), expected.shape(), "{case}");
    let most = |t: &Tensor| t.to_vec::<f64>().iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let error = most(&(y.detach() - expected)) / most(expected);
    assert!(error < 1e-9, "{case}: off by {error:e}");
    let loss = (y * formula(&format!("{case}/g"), y.shape())).sum(..);
    let grads = loss.backward();
    for (name, t) in inputs {
        let name = format!("{case}/d{name}");
        let zero = Tensor::zeros(t.shape(), DType::F64);
        let g = grads.get(t).unwrap_or(&zero);
        let digest = fixture.get(&format!("{name}.digest")).unwrap_or_else(|| panic!("no {name}"));
        // A shift before a batch norm has no gradient but rounding.
        if digest.to_vec::<f64>()[1] < 1e-18 {
            assert!((g * g).sum(..).item() < 1e-18, "{name} is not 0");
        } else {
            assert_digest(g, fixture, &name, 1e-7);
        }
    }
}

fn compare_module(fixture: &Archive, case: &str, module: &mut dyn Module, x: &Tensor, train: bool) {
    let x = x.requires_grad();
    let mut inputs = vec![("x".to_string(), x.clone())];
    inputs.extend(module.named_parameters().into_iter().map(|(name, t)| (name, t.clone())));
    let mut cx = if train { Context::train(Key::new(0)) } else { Context::eval() };
    let y = module.forward(&x, &mut cx);
    compare(fixture, case, &y, &inputs);
}

#[test]
fn signs_and_logic_agree_with_pytorch() {
    let fixture = fixture("binary");
    for s in [1, 2, 4, 8] {
        let case = format!("multi_sign/s{s}");
        let x = (formula(&format!("{case}/x"), [2, 3, 4, 5]) * 2.0).requires_grad();
        let y = MultiSign::new(s).unwrap().apply(&x);
        compare(&fixture, &case, &y, &[("x".to_string(), x)]);
    }
    for (case, f) in [("or", or as fn(&Tensor, &Tensor) -> Tensor), ("xnor", xnor)] {
        let [a, b] = ["a", "b"].map(|k| signs(&format!("{case}/{k}"), &[2, 2, 3, 4, 4]).requires_grad());
        compare(&fixture, case, &f(&a, &b), &[("a".to_string(), a), ("b".to_string(), b)]);
    }
}

#[test]
fn convolutions_agree_with_pytorch() {
    let fixture = fixture("binary");
    for (s, groups, k, stride, dilation) in
        [(1, 1, 3, 1, 1), (4, 4, 3, 2, 1), (2, 2, 3, 1, 2), (4, 1, 1, 1, 1)]
    {
        for (mode, t) in [("t1", 1.0), ("t0.3", 0.3), ("eval", 1.0)] {
            let case = format!("conv/s{s}-g{groups}-k{k}-st{stride}-d{dilation}-{mode}");
            let x = signs(&format!("{case}/x"), &[2, s, 3, 6, 6]).requires_grad();
            let mut conv =
                BinaryConv::new(groups, 3 * s / groups, 8, k, DType::F64).strided(stride, dilation);
            conv.weight.assign(&(formula(&format!("{case}/w"), conv.weight.shape()) * 1.5));
            conv.temperature = Tensor::from(t);
            let mut cx = if mode == "eval" { Context::eval() } else { Context::train(Key::new(0)) };
            let y = conv.forward(&x, &mut cx);
            compare(&fixture, &case, &y, &[("x".to_string(), x), ("w".to_string(), conv.weight.clone())]);
        }
    }
}

#[test]
fn shifts_blocks_and_networks_agree_with_pytorch() {
    let fixture = fixture("binary");
    for (mode, train) in [("train", true), ("eval", false)] {
        let case = format!("shift/{mode}");
        let mut shift = AdaptiveShift::new(4, DType::F64);
        fill(&mut shift, &case, 1.0);
        compare_module(&fixture, &case, &mut shift, &formula(&format!("{case}/x"), [2, 4, 5, 6]), train);
    }
    let plain = BlockSpec {
        slices: 1,
        channels: 8,
        filters: 8,
        stride: 1,
        dilation: [1, 1],
        downsample: false,
        split: false,
        doubled: false,
        last: false,
    };
    let down = BlockSpec { channels: 24, filters: 16, stride: 2, downsample: true, ..plain };
    for (name, spec) in [
        ("base", plain),
        ("base-down", down),
        ("bool-first", BlockSpec { doubled: true, ..plain }),
        ("bool", BlockSpec { doubled: true, split: true, ..plain }),
        ("bool-down", BlockSpec { doubled: true, ..down }),
        ("last", BlockSpec { doubled: true, split: true, last: true, ..plain }),
    ] {
        for slices in [1, 4] {
            for (mode, t) in [("train", if spec.downsample { 1.6 } else { 0.5 }), ("eval", 1.0)] {
                let case = format!("block/{name}-s{slices}-{mode}");
                let mut block = Block::new(BlockSpec { slices, ..spec }, DType::F64).unwrap();
                fill(&mut block, &case, t);
                let channels = spec.channels * if spec.split { 2 } else { 1 };
                let x = signs(&format!("{case}/x"), &[2, slices, channels, 6, 6]);
                compare_module(&fixture, &case, &mut block, &x, mode != "eval");
            }
        }
    }
    for name in ["basenet-small-k1", "boolnet-small-k4"] {
        for (mode, t) in [("train", 1.6), ("eval", 1.0)] {
            let case = format!("net/{name}-{mode}");
            let mut model = nn::models::build(name, [1, 14, 14], 10, 1, Key::new(0), DType::F64).unwrap();
            fill(&mut model, &case, t);
            let x = formula(&format!("{case}/x"), [4, 1, 14, 14]);
            compare_module(&fixture, &case, &mut model, &x, mode != "eval");
        }
    }
}

#[test]
fn distillation_agrees_with_pytorch_and_gives_the_labels_accuracy() {
    let fixture = fixture("binary");
    let z = (formula("distillation/z", [5, 4]) * 3.0).requires_grad();
    let teacher = |i: usize| (formula(&format!("distillation/teacher{i}"), [5, 4]) * 4.0).softmax(1);
    let q = (teacher(0) + teacher(1)) * 0.5;
    let loss = CrossEntropy::default()
        .loss(&Outputs::new(z.clone()), &Targets::Distributions(q), Step::default())
        .unwrap();
    assert_close(loss.item(), fixture.get("distillation/loss").unwrap().item(), 1e-9, "loss");
    let (found, expected) = (loss.backward()[&z].clone(), fixture.get("distillation/dz").unwrap());
    assert!((found - expected).norm(..).item() < 1e-9);

    // The method gives the mean of the teachers' softmaxes, and the gradient of the loss against it.
    let build = |key| nn::models::build("mlp", [1, 2, 2], 4, 1, Key::new(key), DType::F64).unwrap();
    let batch = Batch::new(Tensor::normal([5, 1, 2, 2], DType::F64, Key::new(9)), vec![0, 1, 2, 3, 0]);
    let mut method = Distillation { teachers: vec![build(1), build(2)], inner: Box::new(Plain) };
    let logits = |key| build(key).detached().forward(&batch.inputs, &mut Context::eval());
    let q = (logits(1).softmax(1) + logits(2).softmax(1)) * 0.5;
    assert!((method.targets(&batch, 4).unwrap() - &q).norm(..).item() < 1e-15);
    let trainer = Trainer::new(build(3), Optimizer::sgd(0.0), 0.1, Key::new(0));
    let gradient = method.gradient(&trainer.batch_loss(&batch)).unwrap();
    let soft = Batch { targets: Targets::Distributions(q), ..batch.clone() };
    let expected = trainer.batch_loss(&soft).gradient().unwrap();
    for (name, g) in &expected.parameters {
        assert!((g - &gradient.parameters[name]).norm(..).item() < 1e-14, "{name}");
    }
    let plain = trainer.batch_loss(&batch).gradient().unwrap();
    assert_eq!(gradient.accuracy, plain.accuracy);
    // What does not fit is an error.
    let error = |teachers| {
        let mut method = Distillation { teachers, inner: Box::new(Plain) };
        method.gradient(&trainer.batch_loss(&batch)).err().unwrap().to_string()
    };
    assert_eq!(error(vec![]), "distillation: there is no teacher");
    let wide = nn::models::build("mlp", [1, 2, 2], 5, 1, Key::new(1), DType::F64).unwrap();
    assert!(error(vec![wide]).contains("teacher mlp takes inputs [1, 2, 2] and has 5 classes"));
}

// ----------------------------------------------------------------------------------------------- invariants

fn conv_of(weight: &Tensor) -> BinaryConv {
    let [o, c, k, _] = <[usize; 4]>::try_from(&**weight.shape()).unwrap();
    let mut conv = BinaryConv::new(1, c, o, k, weight.dtype());
    conv.weight.assign(weight);
    conv
}

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Tensor::normal(shape, DType::F64, Key::new(seed))
}

/// The four pairs of truth values.
fn pairs() -> [Tensor; 2] {
    [Tensor::from([-1.0, -1.0, 1.0, 1.0]), Tensor::from([-1.0, 1.0, -1.0, 1.0])]
}

#[test]
fn invariant_1_cold_training_is_evaluation() {
    let x = sign(&normal(&[2, 1, 3, 5, 5], 1));
    let mut conv = conv_of(&normal(&[4, 3, 3, 3], 2));
    conv.temperature = Tensor::from(1e-12);
    let train = conv.forward(&x, &mut Context::train(Key::new(0)));
    let eval = conv.forward(&x, &mut Context::eval());
    assert!((train - eval).norm(..).item() < 1e-12);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn invariant_2_slices_are_a_thermometer(mut x in prop::collection::vec(-3.0f64..3.0, 2..50), half in 1usize..5) {
        x.sort_by(f64::total_cmp);
        let n = x.len();
        let slices = MultiSign::new(2 * half).unwrap();
        // No tie: at one, odd symmetry fails, since sign 0 = +1.
        prop_assume!(x.iter().all(|x| slices.offsets().iter().all(|o| (x.abs() - o.abs()).abs() > 1e-12)));
        let of = |x: &[f64]| slices.apply(&Tensor::new(x, [1, x.len()]));
        let y = of(&x);
        for i in 0..n {
            for s in 1..2 * half {
                prop_assert!(y.at(&[0, s, i]) >= y.at(&[0, s - 1, i]));
            }
        }
        let sum = |x: &[f64]| of(x).sum(1).to_vec::<f64>();
        let (up, down) = (sum(&x), sum(&x.iter().map(|x| -x).collect::<Vec<_>>()));
        for i in 0..n {
            prop_assert_eq!(up[i], -down[i]);
            prop_assert!(i == 0 || up[i] >= up[i - 1]);
            // 1 + S levels: S, S - 2, ..., -S.
            prop_assert!(up[i].abs() <= 2.0 * half as f64 && (up[i] + 2.0 * half as f64) % 2.0 == 0.0);
        }
    }

    #[test]
    fn invariant_4_logic(bits in prop::collection::vec(any::<[bool; 3]>(), 1..30)) {
        let column = |i: usize| {
            let values: Vec<f64> = bits.iter().map(|b| if b[i] { 1.0 } else { -1.0 }).collect();
            Tensor::new(&values, [values.len()])
        };
        let [a, b, c] = [0, 1, 2].map(column);
        let v = |t: &Tensor| t.to_vec::<f64>();
        let one = Tensor::ones([bits.len()], DType::F64);
        prop_assert_eq!(v(&xnor(&a, &b)), v(&xnor(&b, &a)));
        prop_assert_eq!(v(&xnor(&xnor(&a, &b), &c)), v(&xnor(&a, &xnor(&b, &c))));
        prop_assert_eq!(v(&xnor(&a, &a)), v(&one));
        prop_assert_eq!(v(&xnor(&a, &one)), v(&a));
        prop_assert_eq!(v(&or(&a, &(-&one))), v(&a));
        prop_assert_eq!(v(&or(&a, &a)), v(&a));
        let and: Vec<f64> = bits.iter().map(|b| if b[0] && b[1] { 1.0 } else { -1.0 }).collect();
        prop_assert_eq!(v(&-or(&-&a, &-&b)), and);
    }

    #[test]
    fn invariant_5_straight_through(
        x in prop::collection::vec(prop_oneof![-3.0f64..3.0, Just(1.0), Just(-1.0), Just(0.0)], 1..40),
        half in 0usize..4,
    ) {
        let slices = MultiSign::new(if half == 0 { 1 } else { 2 * half }).unwrap();
        let x = Tensor::new(&x, [1, x.len()]).requires_grad();
        let y = slices.apply(&x);
        let g = normal(y.shape(), 5);
        let dx = (&y * &g).sum(..).backward()[&x].to_vec::<f64>();
        for (i, dx) in dx.iter().enumerate() {
            let passes = |o: f64| f64::from((x.at(&[0, i]) + o).abs() <= 1.0);
            let terms = slices.offsets().iter().enumerate();
            let expected: f64 = terms.map(|(s, &o)| g.at(&[0, s, i]) * passes(o)).sum();
            prop_assert!((dx - expected).abs() < 1e-14);
        }
    }

    #[test]
    fn invariant_5_the_weights_gradient_has_the_stated_formula(
        seed: u64, scale in 0.2f64..3.0, t in 0.01f64..2.0, hard: bool,
    ) {
        let x = sign(&normal(&[2, 1, 3, 4, 4], seed));
        let mut conv = conv_of(&(normal(&[4, 3, 3, 3], seed ^ 1) * scale));
        conv.temperature = Tensor::from(t);
        let mut cx = if hard { Context::eval() } else { Context::train(Key::new(0)) };
        let y = conv.forward(&x, &mut cx);
        let g = normal(y.shape(), seed ^ 2);
        let found = (&y * &g).sum(..).backward()[&conv.weight].to_vec::<f64>();

        // The gradient by the scaled binary weight, from an ordinary convolution with it.
        let (w, n) = (conv.weight.to_vec::<f64>(), 27);
        let b: Vec<f64> =
            w.iter().map(|w| if hard { if *w >= 0.0 { 1.0 } else { -1.0 } } else { (w / t).clamp(-1.0, 1.0) }).collect();
        let alpha: Vec<f64> =
            w.chunks(n).map(|w| w.iter().map(|w| w.abs()).sum::<f64>() / n as f64).collect();
        let scaled = Tensor::from_fn([4, 3, 3, 3], DType::F64, |i| b[i] * alpha[i / n]).requires_grad();
        let padded = x.reshape([2, 3, 4, 4]).pad(&[(0, 0), (0, 0), (1, 1), (1, 1)], autograd::Padding::Replicate);
        let y = padded.conv2d(&scaled, ConvOptions::default());
        let direct = (&y * &g).sum(..).backward()[&scaled].to_vec::<f64>();
        for (i, (found, w)) in found.iter().zip(&w).enumerate() {
            let o = i / n;
            let u: f64 = (o * n..(o + 1) * n).map(|j| direct[j] * b[j]).sum();
            let window = if w.abs() <= 1.0 { 1.0 } else { 0.0 };
            let expected = alpha[o] * direct[i] * window + u / n as f64 * w.signum();
            prop_assert!((found - expected).abs() < 1e-11 * (1.0 + expected.abs()), "{found} {expected}");
        }
    }

    #[test]
    fn invariant_7_the_scale_of_a_filter_disappears_in_batch_norm(seed: u64, c in 0.1f64..10.0) {
        let x = sign(&normal(&[4, 1, 3, 5, 5], seed));
        let w = normal(&[2, 3, 3, 3], seed ^ 1);
        let factors = Tensor::from([c, 1.0]).reshape([2, 1, 1, 1]);
        let out = |w: &Tensor| {
            let y = conv_of(w).forward(&x, &mut Context::eval());
            BatchNorm::new(2, DType::F64).eps(0.0).forward(&y, &mut Context::train(Key::new(0)))
        };
        prop_assert!((out(&w) - out(&(&w * factors))).norm(..).item() < 1e-9);
    }

    #[test]
    fn invariant_9_interleave(c in 1usize..6, seed: u64) {
        let [z, y] = [0, 1].map(|i| sign(&normal(&[2, 2, c, 2, 3], seed ^ i)));
        let out = interleave(&z, &y);
        for i in 0..c {
            let same = |a: &Tensor, b: &Tensor| a.to_vec::<f64>() == b.to_vec::<f64>();
            prop_assert!(same(&out.slice_axis(2, 2 * i..2 * i + 1), &z.slice_axis(2, i..i + 1)));
            prop_assert!(same(&out.slice_axis(2, 2 * i + 1..2 * i + 2), &y.slice_axis(2, i..i + 1)));
        }
    }
}

#[test]
fn invariant_3_one_slice_is_the_sign() {
    let x = normal(&[3, 4, 2, 2], 1);
    let y = MultiSign::new(1).unwrap().apply(&x);
    assert_eq!(y.squeeze(1).to_vec::<f64>(), sign(&x).to_vec::<f64>());
    assert_eq!(BinaryConv::new(1, 3, 4, 3, DType::F64).options.groups, 1);
}

#[test]
fn invariant_5_or_stops_where_both_are_true() {
    let [a, b] = pairs().map(|t| t.requires_grad());
    let y = or(&a, &b);
    assert_eq!(y.to_vec::<f64>(), [-1.0, 1.0, 1.0, 1.0]);
    let grads = y.sum(..).backward();
    for t in [&a, &b] {
        assert_eq!(grads[t].to_vec::<f64>(), [1.0, 1.0, 1.0, 0.0]);
    }
    let [a, b] = pairs().map(|t| t.requires_grad());
    let grads = xnor(&a, &b).sum(..).backward();
    assert_eq!([grads[&a].to_vec::<f64>(), grads[&b].to_vec::<f64>()], [&b, &a].map(|t| t.to_vec::<f64>()));
}

// --------------------------------------------------------------------------------------------------- edges

#[test]
fn edges_of_the_sign() {
    let x = Tensor::from([0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, 1e300, f64::MIN_POSITIVE]);
    assert_eq!(sign(&x).to_vec::<f64>(), [1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 1.0]);
    let x = Tensor::from([f64::NAN, 2.0]).requires_grad();
    let y = sign(&x);
    assert!(y.at(&[0]).is_nan() && y.at(&[1]) == 1.0);
    assert_eq!(y.sum(..).backward()[&x].to_vec::<f64>(), [0.0, 0.0]);
    let none = MultiSign::new(4).unwrap().apply(&Tensor::zeros([0, 3, 2, 2], DType::F32));
    assert_eq!(**none.shape(), [0, 4, 3, 2, 2]);
    for slices in [0, 3] {
        let error = MultiSign::new(slices).unwrap_err().to_string();
        assert!(error.contains("1 or an even number is needed"), "{error}");
    }
}

#[test]
fn every_stored_map_is_of_signs() {
    for name in ["basenet-small-k4", "boolnet-small-k1", "boolnet-small-k8"] {
        let mut model = nn::models::build(name, [1, 14, 14], 10, 1, Key::new(3), DType::F32).unwrap();
        let images = Tensor::normal([2, 1, 14, 14], DType::F32, Key::new(4));
        for train in [true, false] {
            let mut cx = if train { Context::train(Key::new(0)) } else { Context::eval() };
            let mut x = images.clone();
            for (part, module) in model.layers().children() {
                x = module.boxed().forward(&x, &mut cx);
                if part == "sign" || part == "layer1" {
                    assert!(x.to_vec::<f32>().iter().all(|v| v.abs() == 1.0), "{name}: {part}");
                }
            }
            let _ = model.forward(&images, &mut cx);
        }
    }
}

#[test]
fn binary_weights_start_small() {
    let model = nn::models::build("boolnet18-k4", [3, 32, 32], 10, 1, Key::new(3), DType::F32).unwrap();
    let state = Archive::of(model.state_dict());
    let w = state.get("layer2.0.conv1.weight").unwrap();
    // He-normal by fan-out: variance 2 / (128 * 9), times 0.01^2.
    let deviation = ((w * w).mean(..).item()).sqrt();
    assert!((deviation / (0.01 * (2.0f64 / (128.0 * 9.0)).sqrt()) - 1.0).abs() < 0.02, "{deviation}");
}

// ------------------------------------------------------------------------------------------------- training

#[test]
fn the_temperature_follows_the_step_and_survives_a_checkpoint() {
    let anneal = Anneal { factor: 0.5, every: 2 };
    let trainer = || {
        let model = nn::models::build("boolnet-small-k4", [1, 4, 4], 3, 1, Key::new(1), DType::F32).unwrap();
        Trainer::new(model, Optimizer::sgd(0.9), 0.05, Key::new(2))
            .method(Progressive { anneal, inner: Box::new(Sam::default()) })
    };
    let batch = |i: u64| {
        Batch::new(Tensor::normal([6, 1, 4, 4], DType::F32, Key::new(3).step(i)), vec![0, 1, 2, 0, 1, 2])
    };
    let temperatures = |trainer: &Trainer| {
        let mut found = Vec::new();
        trainer.model.visit(&mut |name, t, kind| {
            if name.ends_with("temperature") {
                assert_eq!(kind, Kind::Buffer);
                found.push(t.item());
            }
        });
        assert!(found.len() == 5 && found.iter().all(|t| *t == found[0]), "{found:?}");
        found[0]
    };
    let mut whole = trainer();
    for (i, t) in [1.0, 1.0, 0.5, 0.5, 0.25].into_iter().enumerate() {
        whole.step(&batch(i as u64)).unwrap();
        assert_eq!(temperatures(&whole), t);
    }
    let mut first = trainer();
    (0..3).for_each(|i| drop(first.step(&batch(i)).unwrap()));
    let bytes = first.checkpoint().to_bytes().unwrap();
    let mut second = trainer();
    second.restore(&Archive::from_bytes(&bytes).unwrap()).unwrap();
    assert_eq!(temperatures(&second), 0.5);
    (3..5).for_each(|i| drop(second.step(&batch(i)).unwrap()));
    assert_eq!(second.checkpoint().to_bytes().unwrap(), whole.checkpoint().to_bytes().unwrap());

    for (anneal, said) in [
        (Anneal { factor: 0.0, every: 1 }, "the factor is 0; it must be above 0 and at most 1"),
        (Anneal { factor: f64::NAN, every: 1 }, "the factor is NaN"),
        (Anneal { factor: 0.5, every: 0 }, "the period is 0 steps"),
    ] {
        let error = anneal.check().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    // It never becomes 0, at which W / T would not be a number.
    assert!(Anneal { factor: 0.5, every: 1 }.temperature(u64::MAX) > 0.0);
}
