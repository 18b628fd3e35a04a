//! 100 training images of digits: what penalties, attacks and spectral bounds do to accuracy and robust accuracy.
//!
//! `cargo test --release -p tests --test kernel_norm -- --ignored --nocapture` prints the table of docs/book/13-robustness.md.

use autograd::{DType, Key, Tensor};
use datasets::Deform;
use nn::{
    Activation, AdversarialTraining, Attack, Batch, BatchLoss, DeformationPenalty, Flatten, GradientPenalty,
    Init, Linear, LossGradientPenalty, Model, Module, Norm, Optimizer, Penalty, PerturbationPenalty, Plain,
    Sequential, SpectralConstraint, SpectralPenalty, TangentPenalty, Trainer, Transforms, robust_accuracy,
};

const SEEDS: usize = 5;
const TRAIN: usize = 100;
const STEPS: u64 = 400;

/// Pixels from 0 to 1, with labels.
fn images(split: &datasets::Split, rows: impl Iterator<Item = usize>) -> Batch {
    let rows: Vec<usize> = rows.collect();
    let pixels: Vec<f32> =
        rows.iter().flat_map(|&i| (0..64).map(move |p| split.image(i).get(p) as f32 / 16.0)).collect();
    let labels: Vec<u32> = rows.iter().map(|&i| split.labels().unwrap()[i]).collect();
    Batch::new(Tensor::new(&pixels, [rows.len(), 1, 8, 8]), labels)
}

/// 64-128-10 with ReLU.
fn trainer(seed: u64) -> Trainer {
    let layers = Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(64, 128, DType::F32))
        .with("relu", Activation::Relu)
        .with("fc2", Linear::new(128, 10, DType::F32));
    let mut model = Model::new("mlp", [1, 8, 8], 10, layers).unwrap();
    model.initialise(Init::HE_NORMAL, Key::new(seed));
    Trainer::new(model, Optimizer::sgd(0.9), 0.1, Key::new(seed))
}

/// Clean and robust accuracy, in percent, and the sum over classes of the largest squared gradient on training images.
type Measured = [f64; 3];

fn run(seed: u64, change: impl Fn(Trainer) -> Trainer) -> Measured {
    let data = datasets::load("digits", &datasets::Options::default()).unwrap();
    let chosen = Key::new(seed).stream("rows").permutation(data.train.len());
    let mut t = change(trainer(seed));
    for step in 0..STEPS {
        let order = Key::new(seed).stream("order").step(step / 2).permutation(TRAIN);
        let half = step as usize % 2 * (TRAIN / 2);
        let rows = order[half..half + TRAIN / 2].iter().map(|&i| chosen[i]);
        t.step(&images(&data.train, rows)).unwrap();
    }
    let test = images(&data.test, 0..data.test.len());
    let attack = Attack { steps: 10, step: 0.1, ..Attack::l2(0.5) };
    let found = robust_accuracy(&t.model, attack, [test], Key::new(seed)).unwrap();
    let train = images(&data.train, chosen[..TRAIN].iter().copied());
    let slopes =
        GradientPenalty { weight: 1.0 }.penalty(&BatchLoss::new(t.model.detached(), train)).unwrap().item();
    [100.0 * found.clean, 100.0 * found.robust, slopes]
}

fn bounded(mut t: Trainer) -> Trainer {
    let constraint = SpectralConstraint { tau: 1.5, kappa: 2.0, steps_per_epoch: 2 };
    t.optimizer = Optimizer::sgd(0.9).then(constraint);
    t
}

type Deformer = fn(&Deform, &[f32], [usize; 3], usize, Key) -> Result<Vec<f32>, datasets::Error>;

/// Deformations of digits, or derivatives along them, for a penalty.
fn transforms(of: Deformer) -> Transforms {
    Transforms::new(move |x, count, key| {
        let found =
            of(&Deform::of_size(8), x.data(), [1, 8, 8], count, key).expect("the settings are in range");
        Tensor::new(&found, [x.shape()[0], count, 1, 8, 8])
    })
}

/// The mean of a column and half of the 95 % interval of the mean.
fn interval(values: &[f64]) -> [f64; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    // Student's t with four degrees of freedom.
    [mean, 2.776 * (variance / n).sqrt()]
}

type Change = fn(Trainer) -> Trainer;

fn gradient(t: Trainer) -> Trainer {
    t.penalty(GradientPenalty { weight: 0.01 })
}

fn attacked(t: Trainer) -> Trainer {
    t.method(AdversarialTraining::new(Attack::l2(0.5), Plain))
}

const ALL: &[(&str, Change)] = &[
    ("none", |t| t),
    ("weight decay 1e-3", |mut t| {
        t.optimizer = Optimizer::sgd(0.9).weight_decay(1e-3);
        t
    }),
    ("loss-gradient-l2 0.3", |t| t.penalty(LossGradientPenalty { against: Norm::L2, weight: 0.3 })),
    ("loss-gradient-l1 0.03", |t| t.penalty(LossGradientPenalty { against: Norm::LInf, weight: 0.03 })),
    ("gradient 0.01", gradient),
    ("adversarial, eps 0.1", |t| t.penalty(PerturbationPenalty::default())),
    ("pgd-l2, eps 0.5", attacked),
    ("pgd-l2, eps 1", |t| t.method(AdversarialTraining::new(Attack::l2(1.0), Plain))),
    ("spectral penalty 0.01", |t| t.penalty(SpectralPenalty::iterated(0.01, 2))),
    ("spectral constraint 1.5", bounded),
    ("gradient 0.01 + constraint", |t| bounded(gradient(t))),
    ("pgd-l2, eps 0.5 + constraint", |t| bounded(attacked(t))),
    ("deformation 0.1", |t| t.penalty(DeformationPenalty::new(0.1, transforms(Deform::versions)))),
    ("tangent 0.1", |t| t.penalty(TangentPenalty::new(0.1, transforms(Deform::tangents)))),
];

/// The results of each setting for all seeds, with the seconds per run.
fn measured(settings: &[(&'static str, Change)]) -> Vec<(&'static str, Vec<Measured>, f64)> {
    let each = |&(name, change): &(&'static str, Change)| {
        let start = std::time::Instant::now();
        let runs = (0..SEEDS as u64).map(|seed| run(seed, change)).collect();
        (name, runs, start.elapsed().as_secs_f64() / SEEDS as f64)
    };
    settings.iter().map(each).collect()
}

fn column(runs: &[Measured], k: usize) -> Vec<f64> {
    runs.iter().map(|run| run[k]).collect()
}

#[test]
fn penalties_and_attacks_raise_robust_accuracy() {
    let found = measured(&[ALL[0], ("gradient 0.01", gradient), ("pgd-l2, eps 0.5", attacked)]);
    let mean = |i: usize| [0, 1, 2].map(|k| interval(&column(&found[i].1, k))[0]);
    let ([clean, robust, slopes], gradient, attacked) = (mean(0), mean(1), mean(2));
    assert!(
        gradient[1] >= robust + 10.0 && gradient[0] >= clean - 1.5,
        "{gradient:?} after {clean} {robust}"
    );
    assert!(gradient[2] <= 0.5 * slopes, "{} of {slopes}", gradient[2]);
    assert!(attacked[0] > clean && attacked[1] > robust, "{attacked:?} after {clean} {robust}");
}

#[test]
#[ignore = "a minute or two: it makes a table"]
fn table() {
    println!(
        "| | clean, % | robust, % | difference of robust | sum of sup \\|grad f\\|^2 | seconds per run |"
    );
    println!("|---|---|---|---|---|---|");
    let found = measured(ALL);
    let plain = column(&found[0].1, 1);
    for (name, runs, seconds) in &found {
        let [clean, robust, slopes] = [0, 1, 2].map(|k| interval(&column(runs, k)));
        let paired: Vec<f64> = column(runs, 1).iter().zip(&plain).map(|(a, b)| a - b).collect();
        let [difference, half] = interval(&paired);
        println!(
            "| {name} | {:.1} ± {:.1} | {:.1} ± {:.1} | {difference:+.1} ± {half:.1} | {:.1} | {seconds:.2} |",
            clean[0], clean[1], robust[0], robust[1], slopes[0]
        );
    }
}
