//! Powers with a constant exponent.

use kernels::Real;

use crate::check::{Input, Sample};
use crate::kinds::elementwise::{Unary, unary};
use crate::tensor::Tensor;

/// x^(p + low), where low is what p lost in rounding
#[derive(Clone, Copy, Debug)]
struct Powf {
    p: f64,
    low: f64,
}
impl Powf {
    fn less_one(&self) -> Powf {
        let p = self.p - 1.0;
        // The error of a difference is a number (Knuth, The Art of Computer Programming 2, section 4.2.2).
        let one = self.p - p;
        let error = (self.p - (p + one)) + (one - 1.0);
        Powf { p, low: self.low + error }
    }
}
impl Unary for Powf {
    const NAME: &'static str = "powf";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        if self.low == 0.0 {
            return x.powf(self.p);
        }
        // x^low = 1 + low ln x, as near as matters; the bounds are for x = 0 and infinity.
        let lost = (x.c(self.low) * x.clone().abs().ln()).max(x.c(-0.5)).min(x.c(0.5));
        x.clone().powf(self.p) * (x.c(1.0) + lost)
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        // The constant function has derivative 0 also at x = 0, where x^-1 is infinite.
        if self.p == 0.0 { x.c(0.0) } else { x.c(self.p) * x.map(self.less_one()) }
    }
}

/// x^n for an integer n: a product where it has at most four roundings
#[derive(Clone, Copy, Debug)]
struct Powi(i32);
impl Powi {
    const PRODUCTS: std::ops::RangeInclusive<i32> = -2..=5;
}
impl Unary for Powi {
    const NAME: &'static str = "powi";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        if !Self::PRODUCTS.contains(&self.0) {
            return x.powf(self.0.into());
        }
        // Inverted first: the square of a large number overflows where that of its inverse is a number.
        let x = if self.0 < 0 { x.c(1.0) / x } else { x };
        // Choices by n alone, which compilers take out of a loop one by one: a match stays in it.
        let size = self.0.abs();
        let y = if size >= 2 { x.clone() * x.clone() } else { x.clone() };
        let y = if size >= 4 { y.clone() * y } else { y };
        let y = if size == 3 || size == 5 { y * x.clone() } else { y };
        if size == 0 { x.c(1.0) } else { y }
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        match self.0 {
            0 => x.c(0.0),
            i32::MIN => x.c(self.0.into()) * x.powf(f64::from(self.0) - 1.0),
            n => x.c(n.into()) * x.map(Powi(n - 1)),
        }
    }
}

/// # Powers of every element
impl Tensor {
    /// x^p for a constant p. x^0 is 1 with derivative 0 for every x; p = 1, 2 and -1 are exact. A negative number
    /// with a p that is not an integer gives NaN; infinities and p = infinity are those of C's pow.
    #[track_caller]
    pub fn powf(&self, p: f64) -> Tensor {
        unary(Powf { p, low: 0.0 }, self.clone())
    }

    /// x^n for an integer n, of negative x too. x^0 is 1 with derivative 0 for every x.
    #[track_caller]
    pub fn powi(&self, n: i32) -> Tensor {
        unary(Powi(n), self.clone())
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let positive = || Input::uniform(0.3, 2.5, [3, 4]);
    let kinked = || Input::away_from(0.0, 0.2, [3, 4]);
    let mut list = vec![];
    for p in [0.0, 1.0, 2.0, -1.0, 3.0, 0.5, -1.7] {
        list.push(Sample::new("powf", format!("p = {p}"), [positive()], move |x| x[0].powf(p)));
    }
    for n in [0, 1, 2, 3, 5, 6, -1, -2, -3] {
        list.push(Sample::new("powi", format!("n = {n}"), [kinked()], move |x| x[0].powi(n)));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_exponent_has_a_derivative() {
        for x in [Tensor::from([-1.0]), Tensor::from([-1f32])] {
            let x = x.requires_grad();
            assert_eq!(x.powi(i32::MIN).grad(&[&x])[0].item(), -f64::from(i32::MIN));
            assert_eq!(
                x.powi(i32::MAX).grad(&[&x])[0].item(),
                Tensor::scalar(i32::MAX.into(), x.dtype()).item()
            );
        }
    }

    #[test]
    fn infinite_bases_and_exponents_are_those_of_c() {
        for (x, p, exact) in
            [(-f32::INFINITY, 0.5, f64::INFINITY), (-f32::INFINITY, -0.5, 0.0), (1.0, f64::INFINITY, 1.0)]
        {
            assert_eq!(Tensor::from([x]).powf(p).item(), exact);
            assert_eq!(Tensor::from([f64::from(x)]).powf(p).item(), exact);
        }
    }
}
