//! Results do not depend on the number of threads.

use std::sync::Mutex;

use autograd::{ConvOptions, CrossEntropy, Index, Scalar, Tensor, set_threads, threads};
use proptest::prelude::*;

use crate::common::*;

/// The number of threads belongs to the process.
static THREADS: Mutex<()> = Mutex::new(());

/// A convolution, batch normalisation, pooling and a classifier, on images [batch, channels, side, side].
#[derive(Clone, Debug)]
struct Net {
    batch: usize,
    channels: usize,
    filters: usize,
    side: usize,
    classes: usize,
    seed: u64,
}

impl Net {
    /// The loss, and the gradients of the input and of all parameters.
    fn loss_and_gradients<T: Scalar>(&self) -> Vec<Vec<T>> {
        let &Net { batch, channels, filters, side, classes, seed } = self;
        let features = filters * (side / 2) * (side / 2);
        let shapes: [&[usize]; 5] = [
            &[batch, channels, side, side],
            &[filters, channels, 3, 3],
            &[filters],
            &[filters],
            &[features, classes],
        ];
        let mut i = 0;
        let leaves = shapes.map(|shape| {
            i += 1;
            Tensor::new(&noise::<T>(shape.iter().product(), seed + i, 1.0), shape).requires_grad()
        });
        let [x, w, gamma, beta, v] = &leaves;
        let h = x.conv2d(w, ConvOptions { padding: [1, 1], ..ConvOptions::default() });
        let h = h.batch_norm_train_relu(gamma, beta, None, 1e-5).0.max_pool2d([2, 2], [2, 2], [0, 0]);
        let logits = h.flatten(1).matmul(v);
        let labels = Index::new(&indices(batch, seed, classes), [batch]);
        let loss = logits.cross_entropy(&labels, CrossEntropy::default()) + logits.powi(2).mean(..);
        let grads = loss.grad(&leaves.each_ref());
        [&loss].into_iter().chain(&grads).map(|t| t.to_vec::<T>()).collect()
    }
}

fn nets() -> impl Strategy<Value = Net> {
    (1..20usize, 1..20usize, 1..20usize, 2..18usize, 1..30usize, 0..1000u64).prop_map(
        |(batch, channels, filters, side, classes, seed)| Net {
            batch,
            channels,
            filters,
            side,
            classes,
            seed,
        },
    )
}

fn property<T: Scalar>(case: &Net) -> TestResult {
    let _settings = THREADS.lock().unwrap_or_else(|e| e.into_inner());
    let before = threads();
    let [one, two, three] = [1, 2, 3].map(|n| {
        set_threads(n);
        case.loss_and_gradients::<T>()
    });
    set_threads(before);
    let names = ["loss", "gradient of x", "of the kernel", "of gamma", "of beta", "of the classifier"];
    for (i, name) in names.into_iter().enumerate() {
        check_exact(&format!("{name}, 2 threads and 1"), &two[i], &one[i])?;
        check_exact(&format!("{name}, 3 threads and 1"), &three[i], &one[i])?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn a_net_has_the_same_gradients_on_any_number_of_threads(case in nets()) {
        property::<f32>(&case)?;
        property::<f64>(&case)?;
    }
}
