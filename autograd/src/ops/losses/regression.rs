//! Elementwise losses: squared, absolute, Huber, and binary cross-entropy.

use kernels::Real;

use super::Reduction;
use crate::kinds::elementwise::{Binary, binary};
use crate::ops::op_macros::binary_ops;
use crate::sample::{Group, Input, Sample};
use crate::tensor::Tensor;

binary_ops! {
    /// (a - b)^2
    Squared "mse": |a, b, _y| (a.clone() - b.clone()) * (a - b);
        a.c(2.0) * (a - b);
        a.c(-2.0) * (a - b);
    /// |a - b|
    Absolute "l1": |a, b, _y| (a - b).abs(); (a - b).sign(); (b - a).sign();
    /// -b ln sigmoid(a) - (1 - b) ln(1 - sigmoid(a)), where -ln sigmoid(a) = softplus(-a)
    Bit "bce_with_logits": |a, b, _y| b.clone() * (-a.clone()).softplus() + (b.c(1.0) - b) * a.softplus();
        (b.c(1.0) - b.clone()) * a.clone().sigmoid() - b * (-a).sigmoid();
        -a;
}

/// z^2 / 2 up to delta, delta (z - delta / 2) beyond, for z = |a - b|: with m = min(z, delta) both are m (z - m / 2).
#[derive(Clone, Copy, Debug)]
struct Huber {
    delta: f64,
}

impl Huber {
    /// a - b, but at least -delta and at most delta.
    #[inline(always)]
    fn clamped<R: Real>(&self, a: R, b: R) -> R {
        let d = a.c(self.delta);
        (a - b).max(-d.clone()).min(d)
    }
}

impl Binary for Huber {
    const NAME: &'static str = "huber";
    #[inline(always)]
    fn f<R: Real>(&self, a: R, b: R) -> R {
        let z = (a - b).abs();
        let m = z.clone().min(z.c(self.delta));
        m.clone() * (z - m.c(0.5) * m)
    }
    #[inline(always)]
    fn da<R: Real>(&self, a: R, b: R, _: R) -> R {
        self.clamped(a, b)
    }
    #[inline(always)]
    fn db<R: Real>(&self, a: R, b: R, _: R) -> R {
        self.clamped(b, a)
    }
}

#[track_caller]
fn loss<F: Binary>(f: F, x: &Tensor, target: &Tensor, reduction: Reduction) -> Tensor {
    same_shape(F::NAME, x, target);
    reduction.of(binary(f, x.into(), target.into()))
}

/// Losses do not broadcast, since `[N]` against [N, 1] would give N^2 losses.
#[track_caller]
fn same_shape(name: &str, x: &Tensor, target: &Tensor) {
    assert!(
        x.shape() == target.shape(),
        "{name}: predictions {} and targets {} must have the same shape",
        x.shape(),
        target.shape()
    );
}

/// # Elementwise losses
///
/// All are differentiable in predictions and targets, reduce over all elements, and panic if the two do not have
/// the same shape and dtype.
impl Tensor {
    /// Squared error: (x - t)^2.
    #[track_caller]
    pub fn mse(&self, target: &Tensor, reduction: Reduction) -> Tensor {
        loss(Squared, self, target, reduction)
    }

    /// Absolute error: |x - t|, with derivative 0 where they are equal.
    #[track_caller]
    pub fn l1(&self, target: &Tensor, reduction: Reduction) -> Tensor {
        loss(Absolute, self, target, reduction)
    }

    /// The Huber loss (1964), with z = |x - t|: z^2 / 2 up to `delta`, delta (z - delta / 2) beyond.
    ///
    /// # Panics
    /// If `delta` is not positive.
    #[track_caller]
    pub fn huber(&self, target: &Tensor, delta: f64, reduction: Reduction) -> Tensor {
        assert!(delta > 0.0, "huber: delta = {delta} must be positive");
        loss(Huber { delta }, self, target, reduction)
    }

    /// The smooth L1 loss, the Huber loss divided by `beta`: z^2 / (2 beta) up to beta, z - beta / 2 beyond; the
    /// absolute error for `beta` = 0.
    ///
    /// # Panics
    /// If `beta` is negative.
    #[track_caller]
    pub fn smooth_l1(&self, target: &Tensor, beta: f64, reduction: Reduction) -> Tensor {
        assert!(beta >= 0.0, "smooth_l1: beta = {beta} must not be negative");
        if beta == 0.0 {
            return self.l1(target, reduction);
        }
        loss(Huber { delta: beta }, self, target, reduction) / beta
    }

    /// The binary cross-entropy of logits x and targets t, 0 or 1 or probabilities: -p t ln sigmoid(x) - (1 - t) ln(1 -
    /// sigmoid(x)), without overflow and exact in both tails. `pos_weight` p broadcasts; 1 if absent.
    #[track_caller]
    pub fn bce_with_logits(
        &self,
        target: &Tensor,
        pos_weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Tensor {
        let Some(p) = pos_weight else { return loss(Bit, self, target, reduction) };
        same_shape("bce_with_logits", self, target);
        let losses = p * target * (-self).softplus() + (1.0 - target) * self.softplus();
        assert!(
            losses.shape() == self.shape(),
            "bce_with_logits: pos_weight {} does not broadcast to the predictions {}",
            p.shape(),
            self.shape()
        );
        reduction.of(losses)
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let (x, t) = (|| Input::apart([3, 4], 0), || Input::apart([3, 4], 1));
    let bits = || Input::uniform(0.0, 1.0, [3, 4]);
    use Reduction::{Mean, None as Each, Sum};
    let list = vec![
        Sample::new("mse", "mean", [Input::normal([3, 4]), bits()], |x| x[0].mse(&x[1], Mean)),
        Sample::new("mse", "elements", [Input::normal([3]), Input::normal([3])], |x| x[0].mse(&x[1], Each)),
        Sample::new("mse", "target from the prediction", [Input::normal([3])], |x| {
            x[0].mse(&(&x[0] * &x[0]), Sum)
        }),
        Sample::new("mse", "no elements", [Input::normal([0, 2])], |x| x[0].mse(&x[0], Sum)),
        Sample::new("l1", "mean", [x(), t()], |x| x[0].l1(&x[1], Mean)),
        Sample::new("l1", "elements", [x(), t()], |x| x[0].l1(&x[1], Each)),
        Sample::new("huber", "both parts", [x(), t()], |x| x[0].huber(&x[1], 1.1, Mean)),
        Sample::new("huber", "elements", [x(), t()], |x| x[0].huber(&x[1], 0.6, Each)),
        Sample::new("smooth_l1", "", [x(), t()], |x| x[0].smooth_l1(&x[1], 1.1, Sum)),
        Sample::new("smooth_l1", "beta 0", [x(), t()], |x| x[0].smooth_l1(&x[1], 0.0, Sum)),
        Sample::new("bce_with_logits", "mean", [Input::normal([3, 4]), bits()], |x| {
            x[0].bce_with_logits(&x[1], None, Mean)
        }),
        Sample::new(
            "bce_with_logits",
            "weighted",
            [Input::normal([3, 4]), bits(), Input::normal([4])],
            |x| x[0].bce_with_logits(&x[1], Some(&x[2]), Each),
        ),
    ];
    list.into_iter().map(|s| s.group(Group::Loss)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Losses and their gradients with respect to the predictions.
    fn with_gradient(x: &[f64], t: &[f64], f: impl Fn(&Tensor, &Tensor) -> Tensor) -> (Vec<f64>, Vec<f64>) {
        let x = Tensor::new(x, [x.len()]).requires_grad();
        let y = f(&x, &Tensor::new(t, [t.len()]));
        let value = y.to_vec();
        (value, y.sum(..).backward()[&x].to_vec())
    }

    #[test]
    fn values_and_gradients_of_simple_cases() {
        use Reduction::None as Each;
        let (x, t) = ([1.0, 2.0, -3.0, 0.5], [1.0, 1.0, 1.0, 1.0]);
        let of = |f: &dyn Fn(&Tensor, &Tensor) -> Tensor| with_gradient(&x, &t, f);
        assert_eq!(of(&|x, t| x.mse(t, Each)), (vec![0.0, 1.0, 16.0, 0.25], vec![0.0, 2.0, -8.0, -1.0]));
        assert_eq!(of(&|x, t| x.l1(t, Each)), (vec![0.0, 1.0, 4.0, 0.5], vec![0.0, 1.0, -1.0, -1.0]));
        assert_eq!(
            of(&|x, t| x.huber(t, 2.0, Each)),
            (vec![0.0, 0.5, 6.0, 0.125], vec![0.0, 1.0, -2.0, -0.5])
        );
        assert_eq!(
            of(&|x, t| x.smooth_l1(t, 2.0, Each)),
            (vec![0.0, 0.25, 3.0, 0.0625], vec![0.0, 0.5, -1.0, -0.25])
        );
        let (x, t) = (Tensor::from(x), Tensor::from(t));
        assert_eq!(
            (x.mse(&t, Reduction::Sum).item(), x.mse(&t, Reduction::Mean).item()),
            (17.25, 17.25 / 4.0)
        );
    }

    #[test]
    fn bits_are_exact_in_both_tails() {
        let small = (-40f64).exp();
        let (x, t) = ([40.0, -40.0, 1000.0, -1000.0], [1.0, 0.0, 0.0, 1.0]);
        let (y, g) = with_gradient(&x, &t, |x, t| x.bce_with_logits(t, None, Reduction::None));
        let two = Tensor::from([2.0]);
        let (z, _) = with_gradient(&x, &t, |x, t| x.bce_with_logits(t, Some(&two), Reduction::None));
        for (got, want) in y.iter().zip([small, small, 1000.0, 1000.0]) {
            assert!((got / want - 1.0).abs() < 1e-12, "{got}, not {want}");
        }
        for (got, want) in g.iter().zip([-small, small, 1.0, -1.0]) {
            assert!((got / want - 1.0).abs() < 1e-12, "{got}, not {want}");
        }
        assert!((z[0] / (2.0 * small) - 1.0).abs() < 1e-12 && z[2] == 1000.0 && z[3] == 2000.0);
    }

    #[test]
    #[should_panic(expected = "mse: predictions [3, 1] and targets [3] must have the same shape")]
    fn losses_do_not_broadcast() {
        let _ = Tensor::zeros([3, 1], crate::DType::F64).mse(&Tensor::from([0.0; 3]), Reduction::Mean);
    }

    #[test]
    #[should_panic(expected = "huber: delta = 0 must be positive")]
    fn huber_needs_a_positive_delta() {
        let _ = Tensor::from([1.0]).huber(&Tensor::from([1.0]), 0.0, Reduction::Mean);
    }
}
