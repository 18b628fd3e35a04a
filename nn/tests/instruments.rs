//! Instruments against brute force, on a small net in f64.

use autograd::{DType, Key, Tensor, transform};

use nn::instruments::*;
use nn::{
    Activation, Batch, BatchLoss, BatchNorm, Context, Conv2d, CrossEntropy, Flatten, GlobalAvgPool, Linear,
    Model, Module, Optimizer, Sequential, Step, Trainer,
};

const N: usize = 7;

/// conv, (BN,) ReLU, pool, fc: 57 parameters without batch norm.
fn model(norm: bool) -> Model {
    let mut layers = Sequential::new().with("conv", Conv2d::new(2, 3, 3, DType::F64).padding(1));
    match norm {
        true => layers.push("bn", BatchNorm::new(3, DType::F64).relu()),
        false => layers.push("relu", Activation::Relu),
    }
    let layers =
        layers.with("pool", GlobalAvgPool).with("flatten", Flatten).with("fc", Linear::new(3, 4, DType::F64));
    let mut model = Model::new("small", [2, 4, 4], 4, layers).unwrap();
    model.visit_mut(&mut |name, t, _| {
        if !name.starts_with("bn") {
            t.assign(&(Tensor::normal(t.shape(), DType::F64, Key::new(1).stream(name)) * 0.7));
        }
    });
    model
}

fn batch() -> Batch {
    let images = Tensor::normal([N, 2, 4, 4], DType::F64, Key::new(2));
    Batch::new(images, (0..N as u32).map(|i| i % 4).collect::<Vec<_>>())
}

fn loss(norm: bool) -> BatchLoss {
    let loss = Box::new(CrossEntropy::smoothed(0.1));
    BatchLoss { loss, ..BatchLoss::new(model(norm), batch()) }
}

/// The parameters as one vector, and the loss as a function of it.
fn flat(loss: &BatchLoss) -> (Tensor, impl Fn(&[Tensor]) -> Tensor + '_) {
    let (_, parameters) = loss.parameters();
    let all: Vec<Tensor> = parameters.iter().map(|p| p.reshape([p.numel()])).collect();
    let f = move |x: &[Tensor]| {
        let mut from = 0;
        let part = |p: &Tensor| {
            from += p.numel();
            x[0].slice_axis(0, from - p.numel()..from).reshape(p.shape())
        };
        loss.at(&parameters.iter().map(part).collect::<Vec<_>>()).unwrap()
    };
    (Tensor::concat(&all.iter().collect::<Vec<_>>(), 0), f)
}

/// The largest eigenvalue by 2^20 steps of power iteration on H + shift I, all of whose eigenvalues are positive: the
/// matrix is squared twenty times.
fn by_powers(h: &Tensor) -> f64 {
    let n = h.shape()[0];
    let shift = rows(h).iter().map(|row| row.iter().map(|v| v.abs()).sum::<f64>()).fold(0.0, f64::max);
    let mut power = h + &(Tensor::eye(n, DType::F64) * shift);
    for _ in 0..20 {
        power = power.matmul(&power);
        power = &power * (1.0 / power.norm(..).item());
    }
    let v = power.matmul(&Tensor::normal([n, 1], DType::F64, Key::new(12)));
    (&v * &h.matmul(&v)).sum(..).item() / (&v * &v).sum(..).item()
}

fn rows(h: &Tensor) -> Vec<Vec<f64>> {
    h.to_vec::<f64>().chunks(h.shape()[1]).map(<[f64]>::to_vec).collect()
}

#[test]
fn jacobi_agrees_with_a_known_spectrum_and_rebuilds_the_matrix() {
    // The second difference: eigenvalues 2 - 2 cos(k pi / (n + 1)).
    let n = 9;
    let second = |i: usize, j: usize| match i.abs_diff(j) {
        0 => 2.0,
        1 => -1.0,
        _ => 0.0,
    };
    let a: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| second(i, j)).collect()).collect();
    let found = eigen(&a);
    for (k, e) in found.iter().rev().enumerate() {
        let exact = 2.0 - 2.0 * ((k + 1) as f64 * std::f64::consts::PI / (n + 1) as f64).cos();
        assert!((e.value - exact).abs() < 1e-14, "{} {exact}", e.value);
    }
    for (i, row) in a.iter().enumerate() {
        for (j, entry) in row.iter().enumerate() {
            let sum: f64 = found.iter().map(|e| e.value * e.vector[i] * e.vector[j]).sum();
            assert!((sum - entry).abs() < 1e-14);
        }
    }
    assert!(eigen(&[vec![f64::NAN, 1.0], vec![1.0, 0.0]])[0].value.is_nan(), "and it ends");
}

#[test]
fn lanczos_finds_the_largest_not_the_absolutely_largest() {
    // Eigenvalues from -30 to 5, in a basis turned by a reflection.
    let n = 30;
    let u = Tensor::normal([n], DType::F64, Key::new(4));
    let u = &u * (1.0 / u.norm(..).item());
    let d = Tensor::from_fn([n], DType::F64, |i| if i == 3 { 5.0 } else { -(i as f64) });
    let reflect = |v: &Tensor| v - &(&u * (2.0 * (&u * v).sum(..).item()));
    let exact = Lanczos { products: 100, tolerance: 0.0 };
    let found = exact.largest(n, DType::F64, Key::new(5), |v| reflect(&(&d * &reflect(v))));
    assert!((found.value - 5.0).abs() < 1e-12 && found.products <= n, "{found:?}");
    // The residual bounds the error on the way, and tells when to end.
    for products in [3, 6, 12] {
        let part = Lanczos { products, tolerance: 0.0 };
        let part = part.largest(n, DType::F64, Key::new(5), |v| reflect(&(&d * &reflect(v))));
        let error = (0..n).map(|i| (part.value - if i == 3 { 5.0 } else { -(i as f64) }).abs());
        assert!(
            error.fold(f64::INFINITY, f64::min) <= part.residual && part.value <= 5.0 + 1e-12,
            "{part:?}"
        );
    }
    let early = Lanczos { products: 100, tolerance: 1e-2 };
    let early = early.largest(n, DType::F64, Key::new(5), |v| &d * v);
    assert!(early.products < n && early.residual <= 0.05 && (early.value - 5.0).abs() < 0.05, "{early:?}");
    // An operator without directions of its own is known after one product.
    let none = exact.largest(n, DType::F32, Key::new(6), |v| v * 0.0);
    assert_eq!((none.value, none.products), (0.0, 1));
}

#[test]
fn sharpness_is_the_largest_eigenvalue_of_the_whole_hessian() {
    let exact = Lanczos { products: 100, tolerance: 1e-12 };
    for norm in [false, true] {
        let loss = loss(norm);
        let (x, f) = flat(&loss);
        let hessian = transform::hessian(&f, &x);
        let h = rows(&hessian);
        let by_jacobi = eigen(&h);
        let found = sharpness(&loss, |_| true, exact, Key::new(7)).unwrap().unwrap();
        assert!((found.value / by_jacobi[0].value - 1.0).abs() < 1e-10, "{found:?} {}", by_jacobi[0].value);
        assert!((found.value / by_powers(&hessian) - 1.0).abs() < 1e-8, "{found:?} {}", by_powers(&hessian));
        assert!(by_jacobi.last().unwrap().value < -1e-6, "the loss is not convex here");
        // A layer's block.
        let (names, parameters) = loss.parameters();
        let mut inside = Vec::new();
        for (name, p) in names.iter().zip(&parameters) {
            inside.extend(std::iter::repeat_n(layer_of(name) == "fc", p.numel()));
        }
        let pick = |row: &[f64]| -> Vec<f64> {
            row.iter().zip(&inside).filter(|(_, inside)| **inside).map(|(v, _)| *v).collect()
        };
        let block: Vec<Vec<f64>> =
            h.iter().zip(&inside).filter(|(_, inside)| **inside).map(|(row, _)| pick(row)).collect();
        assert_eq!(block.len(), 16);
        let found = sharpness(&loss, |name| layer_of(name) == "fc", exact, Key::new(7)).unwrap().unwrap();
        assert!((found.value / eigen(&block)[0].value - 1.0).abs() < 1e-10);
        assert!(sharpness(&loss, |_| false, exact, Key::new(7)).unwrap().is_none());
    }
}

#[test]
fn the_noise_scale_is_that_of_explicit_loops() {
    for norm in [false, true] {
        let loss = loss(norm);
        let found = gradient_noise(&loss).unwrap().unwrap();
        // Every image's gradient, kept, through the model as it is evaluated with the batch's statistics.
        let apart = loss.apart();
        let (_, parameters) = apart.parameters();
        let single = |p: &[Tensor], i: usize| {
            let mut given = p.iter();
            let mut model = apart.model.map(|_, _| given.next().unwrap().clone());
            let one = apart.batch.part(i..i + 1);
            let logits = model.forward(&one.inputs, &mut Context::eval());
            let options = autograd::CrossEntropy { label_smoothing: 0.1, ..Default::default() };
            logits.cross_entropy(&autograd::Index::new(one.targets.classes().unwrap(), [1]), options)
        };
        let stacks = transform::per_sample_grad(single, &parameters, N);
        for ((_, noise), stack) in found.iter().zip(&stacks) {
            let g: Vec<Vec<f64>> =
                stack.to_vec::<f64>().chunks(stack.numel() / N).map(<[f64]>::to_vec).collect();
            let (mut trace, mut square) = (0.0, 0.0);
            for j in 0..g[0].len() {
                let mean = g.iter().map(|g| g[j]).sum::<f64>() / N as f64;
                let variance = g.iter().map(|g| (g[j] - mean).powi(2)).sum::<f64>() / (N - 1) as f64;
                trace += variance;
                square += mean * mean - variance / N as f64;
            }
            assert!((noise.trace - trace).abs() < 1e-12 * trace.max(1.0), "{noise:?} {trace}");
            assert!((noise.square - square).abs() < 1e-12 * trace.max(1.0), "{noise:?} {square}");
        }
        let all: Noise = found.iter().map(|(_, noise)| *noise).sum();
        assert_eq!(all.scale().is_some(), all.square > 0.0);
        // The mean of the images' gradients is the batch's gradient: to the bit of batch norm's statistics.
        let mean: Vec<Tensor> = stacks.iter().map(|s| s.mean(0)).collect();
        let whole = transform::grad(|p| apart.at(p).unwrap(), &parameters);
        for (a, b) in mean.iter().zip(&whole) {
            assert!((a - b).norm(..).item() < 1e-14);
        }
        // Held statistics are those of the batch: the value is the one of training.
        let [apart, trained] = [&apart, &loss].map(|l| l.at(&parameters).unwrap().item());
        assert!((apart - trained).abs() < 1e-14, "{apart} {trained}");
        assert!(gradient_noise(&loss.part(0..1)).unwrap().is_none(), "one image has no variance");
    }
}

#[test]
fn the_noise_of_known_gradients() {
    // g = 2 + x with x of variance 1: |G|^2 = 4, trace 1 in each of 3 coordinates.
    let mut meter = NoiseMeter::new(&Tensor::zeros([3], DType::F32));
    assert!(meter.noise().is_none());
    let draws = Tensor::normal([4000, 3], DType::F32, Key::new(8)) + 2.0;
    (0..4000).for_each(|i| meter.take(&draws.slice_axis(0, i..i + 1).reshape([3])));
    let noise = meter.noise().unwrap();
    assert!((noise.trace - 3.0).abs() < 0.1 && (noise.square - 12.0).abs() < 0.4, "{noise:?}");
    assert!((noise.scale().unwrap() - 0.25).abs() < 0.02);
    assert_eq!(Noise { trace: 1.0, square: -0.1 }.scale(), None);
}

#[test]
fn dead_units_are_counted() {
    let mut y = vec![0.0; 2 * 3 * 4];
    (y[5], y[20]) = (1e-310, 2.0); // Channel 1 of the first image, channel 2 of the second.
    assert_eq!(dead_units(&Tensor::new(&y, [2, 3, 4])), Dead { dead: 1, units: 3 });
    assert_eq!(dead_units(&Tensor::new(&y, [2, 3, 2, 2])), Dead { dead: 1, units: 3 });
    assert_eq!(dead_units(&Tensor::from([[0.0f32, 1.0], [0.0, 0.0]])), Dead { dead: 1, units: 2 });
    // In a network: a bias far below zero kills a channel.
    let mut model = model(false);
    model.visit_mut(&mut |name, t, _| {
        if name == "conv.bias" {
            t.assign(&Tensor::from([0.0, -1e3, 0.0]));
        }
    });
    let mut cx = Context::eval().tapped();
    let _ = model.forward(&batch().inputs, &mut cx);
    let relus = cx.relus();
    assert_eq!(relus.len(), 1);
    assert_eq!((relus[0].0.as_str(), dead_units(&relus[0].1)), ("relu", Dead { dead: 1, units: 3 }));
}

#[test]
fn cosines_and_ratios_by_hand() {
    let (a, b) =
        ([Tensor::from([3.0, 0.0]), Tensor::from(4.0)], [Tensor::from([0.0, 5.0]), Tensor::from(5.0)]);
    // <a, b> = 20, |a| = 5, |b| = 5 sqrt 2.
    assert!((cosine(a.iter().zip(&b)).unwrap() - 20.0 / (25.0 * 2f64.sqrt())).abs() < 1e-15);
    assert_eq!(cosine(a.iter().zip(&a)), Some(1.0));
    let zero = [Tensor::from([0.0, 0.0]), Tensor::from(0.0)];
    assert_eq!((cosine(a.iter().zip(&zero)), cosine([].into_iter())), (None, None));
    // |b - a| = sqrt(9 + 25 + 1).
    assert!((update_ratio(a.iter().zip(&b)).unwrap() - 35f64.sqrt() / 5.0).abs() < 1e-15);
    assert_eq!(update_ratio(zero.iter().zip(&a)), None);
    let single = [Tensor::from([3.0f32, 4.0])];
    assert_eq!(cosine(single.iter().zip(&single)), Some(1.0));
    assert_eq!([layer_of("layer1.0.conv1.weight"), layer_of("w")], ["layer1.0.conv1", "w"]);
}

#[test]
fn directions_have_the_lengths_of_the_filters() {
    let model = model(true);
    let direction = filter_normalised(&model, Key::new(9));
    for ((name, w), d) in model.named_parameters().into_iter().zip(&direction) {
        assert_eq!(w.shape(), d.shape());
        if w.rank() < 2 {
            assert!(d.to_vec::<f64>().iter().all(|v| *v == 0.0), "{name}");
            continue;
        }
        let rows =
            |t: &Tensor| t.detach().reshape([t.shape()[0], t.numel() / t.shape()[0]]).norm(1).to_vec::<f64>();
        for (w, d) in rows(w).iter().zip(rows(d)) {
            assert!((w / d - 1.0).abs() < 1e-14, "{name}");
        }
    }
    let other = filter_normalised(&model, Key::new(10));
    assert_ne!(direction[0].to_vec::<f64>(), other[0].to_vec::<f64>());
    // Both steps are taken, and none leads nowhere.
    let there = moved(&model, &[(0.5, &direction), (-2.0, &other)]);
    let expected = &(&model.named_parameters()[0].1.detach() + &(&direction[0] * 0.5)) - &(&other[0] * 2.0);
    assert_eq!(there.named_parameters()[0].1.to_vec::<f64>(), expected.to_vec::<f64>());
    let here = moved(&model, &[(0.0, &direction)]);
    assert!(here.named_parameters()[0].1.shares_data(model.named_parameters()[0].1));
}

fn trainer() -> Trainer {
    Trainer::new(model(true), Optimizer::sgd(0.9), 0.1, Key::new(11))
        .loss(CrossEntropy::smoothed(0.1))
        .regulariser(|weights: &[nn::Weight], _: Step| {
            let w = &weights[1].value;
            Ok((w * w).sum(..) * 0.05)
        })
}

#[test]
fn a_step_that_is_observed_is_the_same_step() {
    let bits = |t: &Trainer| -> Vec<u64> {
        let all = t.model.state_dict().into_iter().flat_map(|(_, t)| t.to_vec::<f64>());
        all.map(f64::to_bits).collect()
    };
    let (mut plain, mut watched) = (trainer(), trainer());
    watched.observe(|step| step % 2 == 0);
    for step in 0..4 {
        plain.step(&batch()).unwrap();
        let before = watched.model.state_dict();
        watched.step(&batch()).unwrap();
        assert_eq!(bits(&plain), bits(&watched));
        assert!(plain.observed().is_none());
        let Some(seen) = watched.observed() else {
            assert_eq!(step % 2, 1);
            continue;
        };
        assert_eq!((seen.step, step % 2), (step, 0));
        // The model before the update, whatever became of the other one.
        for ((name, was), (_, kept)) in before.iter().zip(seen.before.state_dict()) {
            assert_eq!(was.to_vec::<f64>(), kept.to_vec::<f64>(), "{name}");
        }
        // The parts of the gradient add up to it, each the gradient of its term.
        let (fit, penalty) = (seen.fit_gradients(), seen.penalty_gradients().unwrap());
        assert_eq!(penalty.keys().collect::<Vec<_>>(), ["fc.weight"]);
        for (name, g) in &seen.gradients {
            let sum = penalty.get(name).map_or(fit[name].clone(), |p| &fit[name] + p);
            assert!((&sum - g).norm(..).item() < 1e-15, "{name}");
        }
        let w = seen.before.state_dict().into_iter().find(|(name, _)| name == "fc.weight").unwrap().1;
        assert!((&penalty["fc.weight"] - &(w * 0.1)).norm(..).item() < 1e-15);
        let (names, parameters) = seen.loss.parameters();
        let by_function = transform::grad(|p| seen.loss.at(p).unwrap(), &parameters);
        for (name, g) in names.iter().zip(&by_function) {
            assert!((g - &fit[name]).norm(..).item() < 1e-15, "{name}");
        }
        assert_eq!(seen.relus[0].0, "bn");
    }
}
