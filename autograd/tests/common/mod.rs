//! A small convolutional net in plain operations.

use autograd::{ConvOptions, DType, Key, Tensor};

/// One step of gradient descent; the loss before it.
pub fn small_net_step(w: &mut [Tensor; 3], x: &Tensor) -> f64 {
    let options = ConvOptions { padding: [1, 1], ..Default::default() };
    let h = x.conv2d(&w[0], options).relu().conv2d(&w[1], options).tanh();
    let loss = h.flatten(1).matmul(&w[2]).powi(2).mean(..);
    let value = loss.item();
    let grads = loss.backward();
    for w in w {
        let g = grads[&*w].clone();
        w.update::<f32>(|w| w.iter_mut().zip(g.data::<f32>()).for_each(|(w, g)| *w -= 0.1 * g));
    }
    value
}

/// Weights and inputs.
pub fn small_net() -> ([Tensor; 3], Tensor) {
    let normal =
        |shape: &[usize], name: &str| Tensor::normal(shape, DType::F32, Key::new(2).stream(name)) * 0.3;
    let w = [normal(&[8, 3, 3, 3], "w0"), normal(&[8, 8, 3, 3], "w1"), normal(&[8 * 81, 5], "w2")];
    (w.map(|w| w.requires_grad()), normal(&[16, 3, 9, 9], "x"))
}
