//! Everything of one's own: a fused operation, a layer, a loss, a regulariser, a method and an optimiser, trained with by
//! the ordinary trainer. None of it needs anything that is not public.
//!
//! `cargo run --release -p bin --example own`

use std::sync::atomic::AtomicBool;

use autograd::{DType, Fused, Index, Key, Scalar, Shape, Tensor, fused, gradcheck};
use comhe::{checked_rows, per_layer};
use datasets::{Loader, LoaderConfig};
use nn::{
    Activation, Batch, BatchLoss, Error, Flatten, Gradient, Init, Linear, Loss, Method, Model, Module,
    Optimizer, Outputs, Regulariser, Sequential, Step, Summary, Targets, Trainer, Transform, Update, Weight,
};

/// Rows divided by their root mean square: y = x / sqrt(mean x^2 + eps) (Zhang and Sennrich 2019, arXiv 1910.07467).
#[derive(Debug)]
struct RootMeanSquare {
    eps: f64,
}

impl RootMeanSquare {
    fn rows<T: Scalar>(&self, x: &Tensor, y: &mut [T]) {
        let d = x.shape()[1];
        for (x, y) in x.data::<T>().chunks(d).zip(y.chunks_mut(d)) {
            let mean = x.iter().map(|v| v.to_f64().powi(2)).sum::<f64>() / d as f64;
            let scale = 1.0 / (mean + self.eps).sqrt();
            y.iter_mut().zip(x).for_each(|(y, x)| *y = T::from_f64(x.to_f64() * scale));
        }
    }
}

impl Fused for RootMeanSquare {
    type Kept = ();
    const NAME: &'static str = "root_mean_square";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        &x[0] / ((&x[0] * &x[0]).mean(autograd::keep(1)) + self.eps).sqrt()
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, ()) {
        let y = match x[0].dtype() {
            DType::F32 => Tensor::build::<f32>(*x[0].shape(), |y| self.rows(&x[0], y)),
            DType::F64 => Tensor::build::<f64>(*x[0].shape(), |y| self.rows(&x[0], y)),
        };
        (y, ())
    }

    /// dx = (g - y mean(g y)) / rms
    fn backward(&self, x: &[Tensor], _: &(), g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        let rms = ((&x[0] * &x[0]).mean(autograd::keep(1)) + self.eps).sqrt();
        let y = &x[0] / &rms;
        vec![Some((g - &y * (g * &y).mean(autograd::keep(1))) / &rms)]
    }
}

/// The operation as a layer, with a gain for each feature.
#[derive(Clone)]
struct RmsNorm {
    gain: Tensor,
}

impl Module for RmsNorm {
    nn::tensors!(parameter gain);

    fn forward(&mut self, x: &Tensor, _: &mut nn::Context) -> Tensor {
        fused(RootMeanSquare { eps: 1e-6 }, &[x]) * &self.gain
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        plan.row(self, path, "RmsNorm", *input, 4 * input.numel() as u64)
    }
}

/// PolyLoss: cross-entropy + epsilon (1 - p of the right class) (Leng et al., ICLR 2022, arXiv 2204.12511).
#[derive(Clone)]
struct Poly {
    epsilon: f64,
}

impl Loss for Poly {
    fn name(&self) -> &str {
        "poly"
    }

    fn loss(&mut self, outputs: &Outputs, targets: &Targets, _: Step) -> Result<Tensor, Error> {
        let Some(labels) = targets.classes() else { return Err(Error::Config("poly needs classes".into())) };
        let log_p = outputs.values.log_softmax(1);
        let one_hot = Index::new(labels, [labels.len()]).one_hot(outputs.values.shape()[1], log_p.dtype());
        let log_p = (log_p * one_hot).sum(1);
        Ok((1.0 - log_p.exp()).mean(..) * self.epsilon - log_p.mean(..))
    }
}

/// The frame potential of each layer: the mean of squared cosines between neurons, times a weight.
#[derive(Clone)]
struct Frame(f64);

impl Regulariser for Frame {
    fn penalty(&mut self, weights: &[Weight], _: Step) -> Result<Tensor, Error> {
        let potential = per_layer(weights, |layer| {
            let u = checked_rows(&layer.value)?.normalize_rows(1e-6);
            let cosines = u.matmul_nt(&u) * (1.0 - Tensor::eye(u.shape()[0], u.dtype()));
            Ok((&cosines * &cosines).mean(..))
        });
        Ok(potential? * self.0)
    }
}

/// The mean of the gradients here and one step ahead (Korpelevich's extragradient method, averaged).
struct Lookahead;

impl Method for Lookahead {
    fn name(&self) -> &str {
        "lookahead"
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        let here = loss.gradient()?;
        let ahead =
            loss.moved(|name, p| here.parameters.get(name).map_or(p.clone(), |g| p - g * loss.step.lr));
        let mut mean = ahead.gradient()?.parameters;
        mean.iter_mut().for_each(|(name, g)| *g = (&*g + &here.parameters[name]) * 0.5);
        Ok(here.with_parameters(mean))
    }
}

/// Lion: the sign of an interpolated momentum (Chen et al. 2023, arXiv 2302.06675).
#[derive(Clone)]
struct Lion {
    betas: [f64; 2],
}

impl Transform for Lion {
    fn name(&self) -> &'static str {
        "lion"
    }

    fn slots(&self, _: &Tensor) -> &'static [&'static str] {
        &["momentum"]
    }

    fn apply(&mut self, updates: &mut [Update<'_>]) {
        for u in updates {
            let Some(g) = u.gradient.take() else { continue };
            let [b1, b2] = self.betas;
            let direction = (&u.slots[0] * b1 + &g * (1.0 - b1)).sign();
            u.slots[0].assign(&(&u.slots[0] * b2 + &g * (1.0 - b2)));
            let p = u.parameter.detach();
            u.parameter.assign(&(&p * (1.0 - u.lr * u.weight_decay) - direction * u.lr));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The operation's kernel, its definition and differences agree.
    let x = Tensor::normal([3, 5], DType::F64, Key::new(0));
    gradcheck(|x| fused(RootMeanSquare { eps: 1e-6 }, &[&x[0]]), &[x], 2).assert();

    let data = datasets::load("fashion14", &datasets::Options::default())?;
    let (dtype, [c, h, w]) = (DType::F32, data.shape());
    let layers = Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(c * h * w, 64, dtype))
        .with("norm", RmsNorm { gain: Tensor::ones([64], dtype).requires_grad() })
        .with("relu", Activation::Relu)
        .with("fc2", Linear::new(64, data.classes.len(), dtype));
    let mut model = Model::new("own", data.shape(), data.classes.len(), layers)?;
    model.initialise(Init::HE_NORMAL, Key::new(1));

    let optimizer = Optimizer::new(Lion { betas: [0.9, 0.99] }).weight_decay(0.1);
    let mut trainer = Trainer::new(model, optimizer, 1e-3, Key::new(2))
        .loss(Poly { epsilon: 1.0 })
        .regulariser(Frame(1.0))
        .method(Lookahead);
    let train = Loader::new(data.train.clone(), LoaderConfig { batch_size: 50, ..LoaderConfig::default() });
    let batch = |b: datasets::Batch<f32>| {
        Batch::new(Tensor::new(&b.images, b.shape), b.labels().expect("classes").to_vec())
    };
    let batches = (0..8).flat_map(|epoch| train.epoch::<f32>(epoch).map(batch));
    trainer.fit(batches, &AtomicBool::new(false), |_, m| {
        if m.step % 80 == 0 {
            println!(
                "step {:3}  loss {:.4}  regulariser {:.4}  accuracy {:.2}",
                m.step, m.fit, m.reg, m.accuracy
            );
        }
        Ok::<(), Error>(())
    })?;
    // What the optimiser remembers is part of a checkpoint without a word about it above.
    assert!(trainer.checkpoint().tensors.iter().any(|(name, _)| name == "optimizer.lion.momentum.norm.gain"));
    let test = Loader::new(data.test.clone(), LoaderConfig { shuffle: false, ..LoaderConfig::default() });
    let result = nn::evaluate(&trainer.model, test.epoch::<f32>(0).map(batch));
    println!("test accuracy {:.2} %", 100.0 * result.accuracy);
    assert!(result.accuracy > 0.77);
    Ok(())
}
