//! `+ - * /` and negation, between tensors (broadcasting) and with numbers.

use std::borrow::Cow;
use std::ops::{Add, Div, Mul, Neg, Sub};

use kernels::Real;
use kernels::map::{self, Map};

use crate::dtype::dispatch;
use crate::kinds::elementwise::{Unary, binary, unary};
use crate::ops::op_macros::{binary_ops, unary_ops};
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

binary_ops! {
    /// a + b
    AddOp "add": |a, b, _y| a + b; a.c(1.0); a.c(1.0);
    /// a - b
    SubOp "sub": |a, b, _y| a - b; a.c(1.0); a.c(-1.0);
    /// a b
    MulOp "mul": |a, b, _y| a * b; b; a;
    /// a / b, with derivatives 1 / b and -y / b
    DivOp "div": |a, b, y| a / b; b.c(1.0) / b; -(y / b);
}

unary_ops! {
    /// -x
    NegOp "neg": |x, _y| -x; x.c(-1.0);
}

/// x + c
#[derive(Clone, Copy, Debug)]
struct Shift(f64);
impl Unary for Shift {
    const NAME: &'static str = "add_scalar";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        x.c(self.0) + x
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        x.c(1.0)
    }
}

/// c x
#[derive(Clone, Copy, Debug)]
struct Scale(f64);
impl Unary for Scale {
    const NAME: &'static str = "mul_scalar";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        x.c(self.0) * x
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        x.c(self.0)
    }
}

/// x / c
#[derive(Clone, Copy, Debug)]
struct Part(f64);
impl Unary for Part {
    const NAME: &'static str = "div_scalar";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        let c = x.c(self.0);
        x / c
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        x.c(1.0) / x.c(self.0)
    }
}

/// c - x
#[derive(Clone, Copy, Debug)]
struct Minus(f64);
impl Unary for Minus {
    const NAME: &'static str = "rsub_scalar";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        x.c(self.0) - x
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        x.c(-1.0)
    }
}

/// c / x, with derivative -c / x^2 = -y / x
#[derive(Clone, Copy, Debug)]
struct Over(f64);
impl Unary for Over {
    const NAME: &'static str = "rdiv_scalar";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        x.c(self.0) / x
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, y: R) -> R {
        -(y / x)
    }
}

/// A number that a tensor of either dtype can be added to, multiplied by, … from the left: `&x * 2.0f32`. It is taken as
/// f64, which is exact, and rounded to the tensor's dtype. A number on the left of an operator must be f64.
///
/// ```
/// use autograd::Tensor;
/// let half = 0.5f32;
/// let x = Tensor::from([1.0, 2.0]);
/// assert_eq!((&x * half + 1.0).to_vec::<f64>(), [1.5, 2.0]);
/// ```
pub trait Number: Into<f64> + Copy + Sealed {}
impl Number for f32 {}
impl Number for f64 {}

/// Seals [`Number`], so that the compiler knows that tensors do not implement it.
pub trait Sealed {}
impl Sealed for f32 {}
impl Sealed for f64 {}

// Not inlined: otherwise every crate that adds two tensors would compile the whole operation again.
macro_rules! operators {
    ($($tr:ident $f:ident $op:ident, $right:expr, $left:expr;)*) => {$(
        operators!(@tensors $tr $f $op; Tensor, Tensor; Tensor, &Tensor; &Tensor, Tensor; &Tensor, &Tensor);
        operators!(@numbers $tr $f $right, $left; Tensor; &Tensor);
    )*};
    (@tensors $tr:ident $f:ident $op:ident; $($a:ty, $b:ty);*) => {$(
        impl $tr<$b> for $a {
            type Output = Tensor;
            #[track_caller]
            fn $f(self, other: $b) -> Tensor {
                binary($op, self.into(), other.into())
            }
        }
    )*};
    (@numbers $tr:ident $f:ident $right:expr, $left:expr; $($t:ty);*) => {$(
        // One implementation for all numbers: with two, the type of `x * 2.0` would be unknown until the literal's is.
        impl<N: Number> $tr<N> for $t {
            type Output = Tensor;
            #[track_caller]
            fn $f(self, c: N) -> Tensor {
                unary($right(c.into()), self.into())
            }
        }
        impl $tr<$t> for f64 {
            type Output = Tensor;
            #[track_caller]
            fn $f(self, x: $t) -> Tensor {
                unary($left(self), x.into())
            }
        }
    )*};
}
operators! {
    Add add AddOp, Shift, Shift;
    Sub sub SubOp, |c: f64| Shift(-c), Minus;
    Mul mul MulOp, Scale, Scale;
    Div div DivOp, Part, Over;
}

impl Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        unary(NegOp, self)
    }
}
impl Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        unary(NegOp, self.clone())
    }
}

/// An owned operand, whose buffer the result may reuse.
impl From<Tensor> for Cow<'_, Tensor> {
    fn from(x: Tensor) -> Self {
        Cow::Owned(x)
    }
}
/// A borrowed operand.
impl<'a> From<&'a Tensor> for Cow<'a, Tensor> {
    fn from(x: &'a Tensor) -> Self {
        Cow::Borrowed(x)
    }
}

impl From<&Tensor> for Tensor {
    /// Another handle on the same tensor.
    fn from(x: &Tensor) -> Tensor {
        x.clone()
    }
}

#[derive(Clone, Copy)]
struct Sum;
impl Map<2> for Sum {
    #[inline(always)]
    fn call<R: Real>(&self, [a, b]: [R; 2]) -> R {
        a + b
    }
}

impl Tensor {
    /// `self += g`, in place if the sum (or g) is not shared and neither is recorded.
    #[track_caller]
    pub(crate) fn accumulate(&mut self, g: Tensor) {
        if g.node().is_none() {
            let done = dispatch!(self.dtype(), T => match self.unique_blocks_mut::<T>() {
                Some(out) => {
                    map::flat(&Sum, [None, Some(g.blocks())], out);
                    true
                }
                None => false,
            });
            if done {
                return;
            }
        }
        *self = &*self + g;
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let mut list = vec![];
    let x = || Input::normal([3, 4]);
    let off_zero = || Input::away_from(0.0, 0.3, [3, 4]);
    for (shape, case) in
        [(&[3, 4][..], "same"), (&[4], "row"), (&[3, 1], "column"), (&[], "scalar"), (&[2, 1, 4], "both")]
    {
        let b = || Input::normal(shape);
        list.push(Sample::new("add", case, [x(), b()], |x| &x[0] + &x[1]));
        list.push(Sample::new("sub", case, [x(), b()], |x| &x[0] - &x[1]));
        list.push(Sample::new("mul", case, [x(), b()], |x| &x[0] * &x[1]));
        list.push(Sample::new("div", case, [x(), Input::away_from(0.0, 0.5, shape)], |x| &x[0] / &x[1]));
    }
    list.push(Sample::new("mul", "with itself", [x()], |x| &x[0] * &x[0]));
    list.push(Sample::new("add", "with its own sum", [x()], |x| &x[0] + x[0].sum(..)));
    list.push(Sample::new("neg", "", [x()], |x| -&x[0]));
    list.push(Sample::new("add_scalar", "", [x()], |x| 2.5 + &x[0]));
    list.push(Sample::new("mul_scalar", "", [x()], |x| &x[0] * -1.5));
    list.push(Sample::new("div_scalar", "", [x()], |x| &x[0] / 3.0));
    list.push(Sample::new("rsub_scalar", "", [x()], |x| 1.5 - &x[0]));
    list.push(Sample::new("rdiv_scalar", "", [off_zero()], |x| 1.5 / &x[0]));
    list.push(Sample::new("add", "no elements", [Input::normal([0, 4]), Input::normal([4])], |x| {
        &x[0] + &x[1]
    }));
    list
}
