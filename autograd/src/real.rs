//! Three more number types that formulas can be evaluated on: tensors, which record the computation; probes, which find
//! the arguments that a formula uses; and pieces, which find whether a formula is piecewise constant.

use std::ops::{Add, BitOr, Div, Mul, Neg, Sub};

use kernels::{Binary, Real, Unary};

use crate::tensor::Tensor;

/// A set of arguments of a derivative formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uses(u8);

impl Uses {
    pub const NONE: Uses = Uses(0);
    /// The first input.
    pub const A: Uses = Uses(1);
    /// The second input.
    pub const B: Uses = Uses(2);
    /// The output.
    pub const Y: Uses = Uses(4);

    pub fn has(self, other: Uses) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Uses {
    type Output = Uses;
    fn bitor(self, o: Uses) -> Uses {
        Uses(self.0 | o.0)
    }
}

/// An unknown value with the set of arguments it depends on, or a known constant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    uses: Uses,
    constant: f64,
}

impl Probe {
    pub fn new(uses: Uses) -> Probe {
        Probe { uses, constant: f64::NAN }
    }

    pub fn uses(self) -> Uses {
        self.uses
    }

    /// The value, if it does not depend on any argument.
    pub fn constant(self) -> Option<f64> {
        (self.uses == Uses::NONE).then_some(self.constant)
    }

    fn with(self, o: Probe, constant: f64) -> Probe {
        Probe { uses: self.uses | o.uses, constant }
    }
}

/// Whether a number is piecewise constant: made of constants, steps and signs alone. It consists of booleans only, so
/// that the compiler can evaluate a whole formula.
#[derive(Clone, Copy)]
pub(crate) struct Piece(pub bool);

impl Piece {
    #[inline(always)]
    fn and(self, o: Piece) -> Piece {
        Piece(self.0 & o.0)
    }
}

/// A tensor as a number of a formula. (Not `Tensor` itself: the by-value methods of [`Real`] would hide the
/// tensor's own wherever the trait is imported.)
#[derive(Clone)]
pub(crate) struct Symbol(pub Tensor);

macro_rules! operators {
    ($($tr:ident $f:ident),*) => {$(
        impl $tr for Symbol {
            type Output = Symbol;
            fn $f(self, o: Symbol) -> Symbol {
                Symbol(self.0.$f(o.0))
            }
        }
        impl $tr for Probe {
            type Output = Probe;
            #[inline(always)]
            fn $f(self, o: Probe) -> Probe {
                self.with(o, self.constant.$f(o.constant))
            }
        }
        impl $tr for Piece {
            type Output = Piece;
            #[inline(always)]
            fn $f(self, o: Piece) -> Piece {
                self.and(o)
            }
        }
    )*};
}
operators!(Add add, Sub sub, Mul mul, Div div);

impl Neg for Symbol {
    type Output = Symbol;
    fn neg(self) -> Symbol {
        Symbol(-self.0)
    }
}

impl Neg for Probe {
    type Output = Probe;
    #[inline(always)]
    fn neg(self) -> Probe {
        Probe { constant: -self.constant, ..self }
    }
}

impl Neg for Piece {
    type Output = Piece;
    #[inline(always)]
    fn neg(self) -> Piece {
        self
    }
}

/// Forwards the functions of [`Real`]: to f64 for a probe, to the tensor method of the given name for a symbol. A
/// function of pieces is a piece, and a step of anything is a piece.
macro_rules! real_fns {
    (unary: $($f:ident => $tf:ident),*; steps: $($s:ident),*; binary: $($g:ident => $tg:ident),*) => {
        impl Real for Probe {
            #[inline(always)]
            fn c(&self, v: f64) -> Probe {
                Probe { uses: Uses::NONE, constant: v }
            }
            $(#[inline(always)]
            fn $f(self) -> Probe {
                Probe { constant: Real::$f(self.constant), ..self }
            })*
            $(#[inline(always)]
            fn $s(self) -> Probe {
                Probe { constant: Real::$s(self.constant), ..self }
            })*
            $(#[inline(always)]
            fn $g(self, o: Probe) -> Probe {
                self.with(o, Real::$g(self.constant, o.constant))
            })*
            #[inline(always)]
            fn gate(self, d: Probe) -> Probe {
                self.with(d, Real::gate(self.constant, d.constant))
            }
            #[inline(always)]
            fn powf(self, p: f64) -> Probe {
                Probe { constant: Real::powf(self.constant, p), ..self }
            }
            #[inline(always)]
            fn binade(self) -> Probe {
                Probe { constant: Real::binade(self.constant), ..self }
            }
            #[inline(always)]
            fn normal_cdf(self) -> Probe {
                Probe { constant: Real::normal_cdf(self.constant), ..self }
            }
            #[inline(always)]
            fn gaussian(self, c: f64) -> Probe {
                Probe { constant: Real::gaussian(self.constant, c), ..self }
            }
        }

        impl Real for Piece {
            #[inline(always)]
            fn c(&self, _: f64) -> Piece {
                Piece(true)
            }
            $(#[inline(always)]
            fn $f(self) -> Piece {
                self
            })*
            $(#[inline(always)]
            fn $s(self) -> Piece {
                Piece(true)
            })*
            $(#[inline(always)]
            fn $g(self, o: Piece) -> Piece {
                self.and(o)
            })*
            #[inline(always)]
            fn gate(self, d: Piece) -> Piece {
                self.and(d)
            }
            #[inline(always)]
            fn powf(self, p: f64) -> Piece {
                Piece(self.0 | (p == 0.0))
            }
            #[inline(always)]
            fn binade(self) -> Piece {
                Piece(true)
            }
            #[inline(always)]
            fn gaussian(self, _: f64) -> Piece {
                self
            }
            #[inline(always)]
            fn normal_cdf(self) -> Piece {
                self
            }
        }

        impl Real for Symbol {
            fn c(&self, v: f64) -> Symbol {
                Symbol(Tensor::scalar(v, self.0.dtype()))
            }
            $(fn $f(self) -> Symbol {
                Symbol(self.0.$tf())
            })*
            $(fn $s(self) -> Symbol {
                Symbol(self.0.$s())
            })*
            fn gate(self, d: Symbol) -> Symbol {
                Symbol(self.0.gate(&d.0))
            }
            $(fn $g(self, o: Symbol) -> Symbol {
                Symbol(self.0.$tg(&o.0))
            })*
            fn powf(self, p: f64) -> Symbol {
                Symbol(self.0.powf(p))
            }
            fn binade(self) -> Symbol {
                Symbol(self.0.binade())
            }
            fn gaussian(self, c: f64) -> Symbol {
                Symbol(self.0.gaussian(c))
            }
            fn normal_cdf(self) -> Symbol {
                Symbol(self.0.normal_cdf())
            }
            fn map<F: Unary>(self, f: F) -> Symbol {
                Symbol(self.0.map(f))
            }
            fn map2<F: Binary>(self, other: Symbol, f: F) -> Symbol {
                Symbol(self.0.map2(&other.0, f))
            }
        }
    };
}
real_fns!(
    unary: exp => exp, exp_m1 => expm1, ln => log, ln_1p => log1p, sqrt => sqrt, rsqrt => rsqrt, abs => abs, relu => relu,
         tanh => tanh, sigmoid => sigmoid, softplus => softplus, erf => erf, erfc => erfc,
        sin => sin, cos => cos, tan => tan, acos => acos;
    steps: sign, step, floor, ceil, round;
    binary: atan2 => atan2, pow => pow, max => maximum, min => minimum
);
