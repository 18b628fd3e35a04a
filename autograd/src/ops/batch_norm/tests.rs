//! Batch normalisation by its properties.

use crate::{DType, Tensor, gradcheck};

fn ones(n: usize) -> Tensor {
    Tensor::ones([n], DType::F64)
}

#[test]
fn channels_have_mean_0_and_variance_1_also_far_from_0() {
    let x = Tensor::normal([6, 2, 5, 3], DType::F32, crate::Key::new(1)) + 30.0;
    let one = Tensor::ones([2], DType::F32);
    let zero = Tensor::zeros([2], DType::F32);
    let (y, stats) = x.batch_norm_train(&one, &zero, 0.0);
    let y = y.to_dtype(DType::F64);
    let [mean, var] = [y.mean([0, 2, 3]), y.var([0, 2, 3], 0)].map(|t| t.to_vec::<f64>());
    assert!(mean.iter().all(|m| m.abs() < 1e-3) && var.iter().all(|v| (v - 1.0).abs() < 1e-3));
    let want = x.to_dtype(DType::F64).var([0, 2, 3], 0);
    for (got, want) in stats.var.to_vec::<f64>().iter().zip(want.to_vec::<f64>()) {
        assert!((got / want - 1.0).abs() < 1e-3, "{got}, not {want}");
    }
    assert_eq!(stats.count, 90);
    assert!(!stats.mean.is_tracked());
}

#[test]
fn evaluation_with_the_batch_s_statistics_is_training() {
    let x = Tensor::normal([4, 3, 2, 2], DType::F64, crate::Key::new(2));
    let gamma = Tensor::from([0.5, -1.0, 2.0]);
    let beta = Tensor::from([0.1, 0.2, 0.3]);
    let (y, s) = x.batch_norm_train(&gamma, &beta, 1e-3);
    let z = x.batch_norm_eval(&gamma, &beta, &s.mean, &s.var, 1e-3);
    assert!(y.to_vec::<f64>().iter().zip(z.to_vec::<f64>()).all(|(a, b)| (a - b).abs() < 1e-14));
}

#[test]
fn the_third_order_is_right_too() {
    let x = Tensor::normal([4, 2], DType::F64, crate::Key::new(3));
    let gamma = Tensor::from([0.5, -1.0]);
    gradcheck(|x| x[0].batch_norm_train(&x[1], &x[1], 0.1).0, &[x, gamma], 3).assert();
}

#[test]
fn a_constant_channel_becomes_beta() {
    let x = Tensor::full([3, 1, 2], 7.0, DType::F64).requires_grad();
    let (y, _) = x.batch_norm_train(&ones(1), &Tensor::from([2.5]), 1e-5);
    assert_eq!(y.to_vec::<f64>(), [2.5; 6]);
    assert_eq!(y.sum(..).backward()[&x].to_vec::<f64>(), [0.0; 6]);
}

#[test]
#[should_panic(
    expected = "batch_norm_train: expected more than one value per channel when training, got input shape [1, 3]"
)]
fn one_value_a_channel_is_too_few() {
    let _ = Tensor::zeros([1, 3], DType::F64).batch_norm_train(&ones(3), &ones(3), 1e-5);
}

#[test]
#[should_panic(
    expected = "batch_norm_train: gamma [2] must be [3], one value a channel of the input [4, 3, 2]"
)]
fn parameters_fit_the_channels() {
    let _ = Tensor::zeros([4, 3, 2], DType::F64).batch_norm_train(&ones(2), &ones(3), 1e-5);
}

#[test]
#[should_panic(expected = "batch_norm_eval: input [3] needs two axes or more, [N, C, ..]")]
fn the_input_has_channels() {
    let _ = ones(3).batch_norm_eval(&ones(3), &ones(3), &ones(3), &ones(3), 1e-5);
}

#[test]
fn channels_of_any_magnitude_are_normalised() {
    let values = [1.0, -1.0, 2.0, 0.0];
    // 1 channel: all at once; 9: one by one.
    for (channels, space) in [(1, 1), (9, 64)] {
        let run = |size: f64, dtype: DType| {
            let x = Tensor::from_fn([4, channels, space], dtype, |i| values[i / (channels * space)] * size);
            let x = x.requires_grad();
            let (one, zero) = (Tensor::ones([channels], dtype), Tensor::zeros([channels], dtype));
            let y = x.batch_norm_train(&one, &zero, 0.0).0;
            let weight = Tensor::from_fn(y.shape(), dtype, |i| ((i * i) % 7) as f64);
            let sum = (&y * weight).sum(..);
            let fast = sum.grad(&[&x]).remove(0);
            [y, fast, sum.recorded().grad(&[&x]).remove(0)].map(|t| t.to_vec::<f64>())
        };
        let [y, d, _] = run(1.0, DType::F64);
        assert!((y[0] - 0.2f64.sqrt()).abs() < 1e-15, "{}", y[0]);
        for (size, dtype, tolerance) in [
            (1e200, DType::F64, 1e-12),
            (1e-200, DType::F64, 1e-12),
            (1e30, DType::F32, 1e-4),
            (1e-25, DType::F32, 1e-4),
        ] {
            let [found, fast, recorded] = run(size, dtype);
            let near = |a: &[f64], b: &[f64], size: f64| {
                a.iter().zip(b).all(|(a, b)| (a * size - b).abs() < tolerance * b.abs().max(1.0))
            };
            assert!(near(&found, &y, 1.0), "{size}: {found:?}");
            assert!(
                near(&fast, &d, size) && near(&recorded, &d, size),
                "{size}: {:?} {:?}",
                fast[0],
                recorded[0]
            );
        }
    }
}
