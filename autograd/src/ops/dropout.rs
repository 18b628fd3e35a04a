//! Dropout: elements are set to 0 at random in training.

use kernels::random::Key;

use crate::kinds::linear::{Linear, linear};
use crate::ops::mask::Mask;
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

/// `scale` times the elements where the mask is true, 0 elsewhere, for any element. Its own adjoint.
#[derive(Clone, Debug)]
struct Dropout {
    kept: Mask,
    scale: f64,
}

impl Linear for Dropout {
    type Adjoint = Dropout;
    const NAME: &'static str = "dropout";
    fn apply(&self, x: &Tensor) -> Tensor {
        self.kept.select(&(x.value() * self.scale), &Tensor::scalar(0.0, x.dtype()))
    }
    fn adjoint(&self) -> Dropout {
        self.clone()
    }
    fn kept_bytes(&self) -> usize {
        self.kept.bytes()
    }
}

impl Tensor {
    /// Sets every element to 0 with probability `p` and divides the others by 1 - p, which preserves the mean: inverted
    /// dropout (Srivastava et al. 2014). The mask is a pure function of `key`, shape and dtype. With p = 0 nothing
    /// changes, with p = 1 all elements are 0. A dropped element is 0 even if the element or the gradient is infinite
    /// or NaN. Do not call it in evaluation.
    ///
    /// # Panics
    /// If `p` is not in 0..=1.
    #[track_caller]
    pub fn dropout(&self, p: f64, key: Key) -> Tensor {
        assert!((0.0..=1.0).contains(&p), "dropout: the probability p = {p} must be in 0..=1");
        if p == 0.0 {
            return self.clone();
        }
        // Uniform on [0, 1).
        let kept = Tensor::uniform(self.shape(), self.dtype(), key).ge(p);
        linear(Dropout { kept, scale: 1.0 / (1.0 - p) }, self)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let sample = |case: &str, dims: &[usize], p: f64| {
        Sample::new("dropout", case, [Input::normal(dims)], move |x| x[0].dropout(p, Key::new(5)))
    };
    vec![
        sample("p = 0.4", &[3, 4], 0.4),
        sample("p = 0", &[3], 0.0),
        sample("p = 1", &[3], 1.0),
        sample("no elements", &[0, 2], 0.4),
        Sample::new("dropout", "of its square", [Input::normal([3, 3])], |x| {
            (&x[0] * &x[0]).dropout(0.5, Key::new(6)) * &x[0]
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn the_share_that_is_lost_is_p_and_the_mean_stays() {
        let (n, p) = (100_000, 0.3);
        let ones = Tensor::ones([n], DType::F64).requires_grad();
        let y = ones.dropout(p, Key::new(1));
        let values = y.to_vec::<f64>();
        assert!(values.iter().all(|&v| v == 0.0 || v == 1.0 / 0.7));
        let lost = values.iter().filter(|&&v| v == 0.0).count() as f64 / n as f64;
        let deviation = (p * (1.0 - p) / n as f64).sqrt();
        assert!((lost - p).abs() < 4.0 * deviation, "{lost} lost");
        // The gradient is the mask itself.
        assert_eq!(y.sum(..).backward()[&ones].to_vec::<f64>(), values);
    }

    #[test]
    fn what_is_lost_is_zero_whatever_it_was() {
        for bad in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            for p in [0.5, 1.0] {
                let x = Tensor::from([bad; 100]).requires_grad();
                let y = x.dropout(p, Key::new(7));
                let lost: Vec<bool> = y.to_vec::<f64>().iter().map(|&v| v == 0.0).collect();
                let count = lost.iter().filter(|&&lost| lost).count();
                assert!(if p == 1.0 { count == 100 } else { (20..80).contains(&count) }, "{count} lost");
                let dx = y.vjp(&Tensor::from([bad; 100]), &[&x]).remove(0).to_vec::<f64>();
                assert!(dx.iter().zip(lost).all(|(&d, lost)| (d == 0.0) == lost), "{dx:?}");
            }
        }
    }

    #[test]
    fn the_key_alone_decides_whatever_the_threads() {
        let x = Tensor::normal([300, 300], DType::F32, Key::new(2));
        let key = Key::new(3).stream("dropout");
        let before = crate::threads();
        let [one, two, seven] = [1, 2, 7].map(|threads| {
            crate::set_threads(threads);
            x.dropout(0.5, key.step(4)).to_vec::<f32>()
        });
        crate::set_threads(before);
        assert!(one == two && two == seven);
        assert_ne!(one, x.dropout(0.5, key.step(5)).to_vec::<f32>());
    }

    #[test]
    #[should_panic(expected = "dropout: the probability p = 1.5 must be in 0..=1")]
    fn p_is_a_probability() {
        let _ = Tensor::from([1.0]).dropout(1.5, Key::new(1));
    }
}
