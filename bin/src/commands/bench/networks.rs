//! `comhe bench networks`: whole networks, as they are trained, evaluated and differentiated twice.

use std::hint::black_box;

use autograd::{ConvAlgorithm, DType, Key, Tensor, set_conv_algorithm};
use clap::Args;
use nn::{BatchLoss, Context, Model, Module, Optimizer, Trainer};

use super::{Rows, Timing, Work};
use crate::failure::Failure;

/// Steps of CNN-9, ResNet-32 and LeNet, inference, a gradient penalty
#[derive(Args, Debug)]
pub struct NetworksBench {
    /// Images a batch (LeNet takes half, the gradient penalty a quarter)
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch_size: usize,
    #[command(flatten)]
    timing: Timing,
}

impl NetworksBench {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut rows = Rows::new(&self.timing, self.batch_size)?;
        let (n, direct) = (self.batch_size, ConvAlgorithm::Direct);
        step(&mut rows, "resnet32", n, DType::F32, "")?;
        step(&mut rows, "lenet", n.div_ceil(2), DType::F32, "")?;
        step(&mut rows, "cnn9", n, DType::F32, "")?;
        inference(&mut rows, n)?;
        penalty(&mut rows, n.div_ceil(4))?;
        set_conv_algorithm(direct);
        step(&mut rows, "cnn9", n, DType::F32, ", direct")?;
        step(&mut rows, "cnn9", n, DType::F64, ", direct")?;
        rows.finish()
    }
}

/// A network as published, with a batch for it.
fn network(name: &str, size: usize, dtype: DType) -> Result<(Model, nn::Batch), Failure> {
    let (shape, classes, width) = match name {
        "lenet" => ([1, 28, 28], 10, 1),
        "cnn9" => ([3, 32, 32], 100, 4),
        _ => ([3, 32, 32], 100, 1),
    };
    let model = nn::models::build(name, shape, classes, width, Key::new(0), dtype)?;
    let [c, h, w] = shape;
    let images = Tensor::normal([size, c, h, w], dtype, Key::new(1));
    let labels: Vec<u32> = (0..size as u32).map(|i| i * 7 % classes as u32).collect();
    Ok((model, nn::Batch::new(images, labels)))
}

/// Forward, cross-entropy, backward, SGD with momentum and weight decay.
fn step(rows: &mut Rows<'_>, name: &str, size: usize, dtype: DType, how: &str) -> Result<(), Failure> {
    let (model, batch) = network(name, size, dtype)?;
    let optimizer = Optimizer::sgd(0.9).weight_decay(5e-4);
    let mut trainer = Trainer::new(model, optimizer, 0.01, Key::new(0));
    let flops = autograd::profile(|| trainer.step(&batch)).1.flops() as f64;
    let mut failed = None;
    rows.time(format!("{name} step, batch {size}, {dtype}{how}"), Work::Flops(flops, dtype), || {
        if failed.is_none() {
            failed = trainer.step(&batch).err();
        }
    })?;
    failed.map_or(Ok(()), |error| Err(Failure::from(error).mid_run()))
}

/// Logits of a batch, nothing recorded.
fn inference(rows: &mut Rows<'_>, size: usize) -> Result<(), Failure> {
    let (model, batch) = network("cnn9", size, DType::F32)?;
    let flops = model.summary().flops() as f64 * size as f64;
    let mut model = model.detached();
    rows.time(format!("cnn9 inference, batch {size}"), Work::Flops(flops, DType::F32), || {
        drop(black_box(model.forward(&batch.inputs, &mut Context::eval())));
    })
}

/// The gradients of |d loss / d images|^2 with respect to the weights: a gradient of a gradient.
fn penalty(rows: &mut Rows<'_>, size: usize) -> Result<(), Failure> {
    let (model, batch) = network("cnn9", size, DType::F32)?;
    let images = batch.inputs.requires_grad();
    let loss = BatchLoss::new(model, batch);
    rows.time(format!("cnn9 gradient penalty, batch {size}"), Work::Other, || {
        let loss = loss.fit(&images).expect("the labels are classes");
        let g = loss.recorded().grad(&[&images]).remove(0);
        drop(black_box((&g * &g).sum(..).backward()));
    })
}
