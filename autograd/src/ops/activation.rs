//! The activations silu, elu and leaky_relu. (relu, tanh, sigmoid, softplus and gelu are in `elementwise.rs`.)

use kernels::Real;

use crate::kinds::elementwise::{Unary, unary};
use crate::ops::elementwise::{Clamp, LogisticDensity};
use crate::ops::op_macros::unary_ops;
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

unary_ops! {
    /// x s(x), s the sigmoid; y' = s(x) + x s(x) s(-x)
    Silu "silu": |x, _y| x.clone().map(Clamp { lo: -LOGISTIC_END, hi: f64::INFINITY }) * x.sigmoid();
        x.clone().sigmoid() + x.clone().map(LOGISTIC_SUPPORT) * x.map(LogisticDensity);
}

/// From here on s(-x) is 0, s the sigmoid.
const LOGISTIC_END: f64 = 800.0;
const LOGISTIC_SUPPORT: Clamp = Clamp { lo: -LOGISTIC_END, hi: LOGISTIC_END };

/// x where x > 0, slope * x elsewhere
#[derive(Clone, Copy, Debug)]
struct LeakyRelu(f64);
impl Unary for LeakyRelu {
    const NAME: &'static str = "leaky_relu";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        if self.0 == 0.0 { x.relu() } else { x.clone().relu() - x.c(self.0) * (-x).relu() }
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        let positive = x.step();
        positive.clone() + positive.c(self.0) * (positive.c(1.0) - positive)
    }
}

/// x where x > 0, alpha (e^x - 1) elsewhere
#[derive(Clone, Copy, Debug)]
struct Elu(f64);
impl Unary for Elu {
    const NAME: &'static str = "elu";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        x.clone().relu() + x.c(self.0) * (-(-x).relu()).exp_m1()
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        x.map(EluSlope(self.0))
    }
}

/// 1 where x > 0, alpha e^x elsewhere
#[derive(Clone, Copy, Debug)]
struct EluSlope(f64);
impl Unary for EluSlope {
    const NAME: &'static str = "elu_slope";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        let positive = x.clone().step();
        positive.clone() + (x.c(self.0) * (-(-x).relu()).exp()) * (positive.c(1.0) - positive)
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, y: R) -> R {
        y * (x.c(1.0) - x.step())
    }
}

/// # Activations
impl Tensor {
    /// x sigmoid(x), the sigmoid linear unit (Hendrycks and Gimpel 2016, arXiv 1606.08415); 0 at -infinity.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// assert_eq!(Tensor::from([-1000.0, 0.0, 1000.0]).silu().to_vec::<f64>(), [0.0, 0.0, 1000.0]);
    /// ```
    #[doc(alias = "swish")]
    #[track_caller]
    pub fn silu(&self) -> Tensor {
        unary(Silu, self.clone())
    }

    /// x where x > 0, `slope` * x elsewhere; the derivative at 0 is `slope`.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Tensor {
        unary(LeakyRelu(slope), self.clone())
    }

    /// x where x > 0, `alpha` * (e^x - 1) elsewhere, the exponential linear unit (Clevert et al. 2016, arXiv 1511.07289).
    /// The derivative at 0 is `alpha`, as in PyTorch.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from([0.0, 2.0]).requires_grad();
    /// assert_eq!(x.elu(1.0).to_vec::<f64>(), [0.0, 2.0]);
    /// assert_eq!(x.elu(0.5).sum(..).grad(&x).to_vec::<f64>(), [0.5, 1.0]);
    /// ```
    #[track_caller]
    pub fn elu(&self, alpha: f64) -> Tensor {
        unary(Elu(alpha), self.clone())
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let any = || Input::normal([3, 4]);
    let kinked = || Input::away_from(0.0, 0.2, [3, 4]);
    vec![
        Sample::new("leaky_relu", "", [kinked()], |x| x[0].leaky_relu(0.1)),
        Sample::new("silu", "", [any()], |x| x[0].silu()),
        Sample::new("elu", "", [kinked()], |x| x[0].elu(0.7)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::elementwise::tests::first_and_second;

    #[test]
    fn activations_at_0_have_the_stated_derivatives() {
        assert_eq!(first_and_second(|x| x.leaky_relu(0.1), 0.0), [0.0, 0.1, 0.0]);
        assert_eq!(first_and_second(|x| x.elu(0.5), 0.0), [0.0, 0.5, 0.5]);
        assert_eq!(first_and_second(|x| x.silu(), 0.0), [0.0, 0.5, 0.5]);
    }

    #[test]
    fn infinities_and_nan_stay_in_their_element() {
        let inf = f64::INFINITY;
        let x = [-inf, inf, f64::NAN];
        let of = |f: fn(&Tensor) -> Tensor| x.map(|x| first_and_second(f, x));
        for (found, low, high) in [
            (of(Tensor::silu), [0.0; 3], [inf, 1.0, 0.0]),
            (of(|x| x.elu(0.5)), [-0.5, 0.0, 0.0], [inf, 1.0, 0.0]),
        ] {
            assert_eq!([found[0], found[1]], [low, high]);
            assert!(found[2][0].is_nan(), "{found:?}");
        }
    }
}
