//! Elementwise operations: a formula for the value and one for each derivative, written once for every number.
//!
//! The formulas are generic over [`Real`]: with SIMD lanes they become the fast loop of a first-order gradient,
//! with tensors the recorded expression that can be differentiated again. With a probe they report which of inputs and
//! output they use, so that only these are saved for backward. [`super::chain`] defines the effect of a derivative of
//! 0.

use std::borrow::Cow;
use std::fmt::Debug;

use kernels::Real;
use kernels::aligned::BLOCK;
use kernels::map::{self, Map, Strided};

use crate::buffer::Buffer;
use crate::dtype::{DType, Scalar, dispatch};
use crate::kinds::chain::chain;
use crate::node::{self, Rule};
use crate::pass::Pullback;
use crate::real::{Piece, Probe, Symbol, Uses};
use crate::running;
use crate::shape::Shape;
use crate::tensor::Tensor;

pub use kernels::{Binary, Unary};

impl Tensor {
    /// Applies a function to every element.
    ///
    /// A straight-through estimator is an operation whose declared derivative is not that of its value:
    ///
    /// ```
    /// use autograd::{Real, Tensor, Unary};
    ///
    /// /// The sign of x, with the gradient of a clipped identity (Hinton 2012; Bengio et al. 2013).
    /// #[derive(Clone, Copy, Debug)]
    /// struct Binarise;
    /// impl Unary for Binarise {
    ///     const NAME: &'static str = "binarise";
    ///     #[inline(always)]
    ///     fn f<R: Real>(&self, x: R) -> R {
    ///         x.sign()
    ///     }
    ///     #[inline(always)]
    ///     fn d<R: Real>(&self, x: R, _y: R) -> R {
    ///         (x.c(1.0) - x.abs()).step() // 1 inside (-1, 1), else 0
    ///     }
    /// }
    ///
    /// let x = Tensor::from([-2.0, -0.5, 0.5]).requires_grad();
    /// let y = x.map(Binarise);
    /// assert_eq!(y.to_vec::<f64>(), [-1.0, -1.0, 1.0]);
    /// assert_eq!(y.sum(..).backward()[&x].to_vec::<f64>(), [0.0, 1.0, 1.0]);
    /// ```
    #[track_caller]
    #[doc(alias = "mapv")]
    pub fn map<F: Unary>(&self, f: F) -> Tensor {
        unary(f, self.clone())
    }

    /// Applies a function to the elements of two tensors, broadcast against each other.
    ///
    /// # Panics
    /// If the dtypes differ or the shapes do not broadcast.
    #[track_caller]
    pub fn map2<F: Binary>(&self, other: &Tensor, f: F) -> Tensor {
        binary(f, self.into(), other.into())
    }
}

// -------------------------------------------------------------------------------------------------- unary

#[derive(Clone, Copy)]
struct Value<F>(F);
impl<F: Unary> Map<1> for Value<F> {
    #[inline(always)]
    fn call<R: Real>(&self, [x]: [R; 1]) -> R {
        self.0.f(x)
    }
}
impl<F: Binary> Map<2> for Value<F> {
    #[inline(always)]
    fn call<R: Real>(&self, [a, b]: [R; 2]) -> R {
        self.0.f(a, b)
    }
}

/// g * d(x, y). Arguments that `d` does not use may have any value.
#[derive(Clone, Copy)]
struct Chain<F>(F);
impl<F: Unary> Map<3> for Chain<F> {
    #[inline(always)]
    fn call<R: Real>(&self, [g, x, y]: [R; 3]) -> R {
        chain(g, self.0.d(x, y), piece_of(&self.0))
    }
}

/// Whether the derivative is piecewise constant.
#[inline(always)]
fn piece_of<F: Unary>(f: &F) -> Piece {
    f.d(Piece(false), Piece(false))
}

/// Computes f in place in the memory of `x`, if it is not shared.
fn write_over<F: Unary>(f: &F, x: &mut Tensor) -> bool {
    dispatch!(x.dtype(), T => match x.unique_blocks_mut::<T>() {
        Some(data) => {
            map::flat(&Value(*f), [None], data);
            true
        }
        None => false,
    })
}

#[track_caller]
pub(crate) fn unary<F: Unary>(f: F, mut x: Tensor) -> Tensor {
    if write_over(&f, &mut x) {
        return node::record(F::NAME, x, &[], |_| -> UnaryRule<F> { unreachable!("no inputs") });
    }
    let value = dispatch!(x.dtype(), T => {
        let shape = *x.shape();
        running::run(F::NAME, || {
            Tensor::build_blocks::<T>(shape, |out| map::flat(&Value(f), [Some(x.blocks())], out))
        })
    });
    node::record(F::NAME, value, &[&x], |y| {
        let uses = f.d(Probe::new(Uses::A), Probe::new(Uses::Y)).uses();
        UnaryRule {
            f,
            x: uses.has(Uses::A).then(|| x.buffer().clone()),
            y: uses.has(Uses::Y).then(|| y.buffer().clone()),
        }
    })
}

#[derive(Debug)]
struct UnaryRule<F> {
    f: F,
    x: Option<Buffer>,
    y: Option<Buffer>,
}

impl<F: Unary> Rule for UnaryRule<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn pullback(&self, cx: &mut Pullback<'_>) {
        let shape = *cx.shape();
        if cx.recording() {
            let piecewise = piece_of(&self.f);
            let kept = |b: &Option<Buffer>, attach: &dyn Fn(&Tensor) -> Tensor| {
                let Some(b) = b else { return Symbol(cx.g().value()) };
                let value = Tensor::from_buffer(b.clone(), shape);
                // Nothing flows through a derivative that is piecewise constant.
                Symbol(if piecewise.0 { value } else { attach(&value) })
            };
            let x = kept(&self.x, &|x| cx.input(0, x));
            let y = kept(&self.y, &|y| cx.output(y));
            let d = self.f.d(x, y);
            let g = Symbol(cx.take_g());
            return cx.give(0, chain(g, d, piecewise).0);
        }
        let mut g = cx.take_g();
        dispatch!(g.dtype(), T => {
            let x = self.x.as_ref().map(|b| b.blocks::<T>());
            let y = self.y.as_ref().map(|b| b.blocks::<T>());
            match g.unique_blocks_mut::<T>() {
                Some(out) => map::flat(&Chain(self.f), [None, x, y], out),
                None => {
                    let given = g.blocks::<T>();
                    let inputs = [Some(given), x.or(Some(given)), y.or(Some(given))];
                    g = Tensor::build_blocks::<T>(shape, |out| map::flat(&Chain(self.f), inputs, out));
                }
            }
        });
        cx.give(0, g);
    }

    fn kept_bytes(&self) -> usize {
        self.x.iter().chain(&self.y).map(Buffer::bytes).sum()
    }
}

// ------------------------------------------------------------------------------------------------- binary

/// g * da(a, b, y), g * db(a, b, y).
#[derive(Clone, Copy)]
struct ChainA<F>(F);
#[derive(Clone, Copy)]
struct ChainB<F>(F);
impl<F: Binary> Map<4> for ChainA<F> {
    #[inline(always)]
    fn call<R: Real>(&self, [g, a, b, y]: [R; 4]) -> R {
        chain(g, self.0.da(a, b, y), pieces_of(&self.0)[0])
    }
}
impl<F: Binary> Map<4> for ChainB<F> {
    #[inline(always)]
    fn call<R: Real>(&self, [g, a, b, y]: [R; 4]) -> R {
        chain(g, self.0.db(a, b, y), pieces_of(&self.0)[1])
    }
}

/// Whether each derivative is piecewise constant.
#[inline(always)]
fn pieces_of<F: Binary>(f: &F) -> [Piece; 2] {
    let (a, b, y) = (Piece(false), Piece(false), Piece(false));
    [f.da(a, b, y), f.db(a, b, y)]
}

#[track_caller]
pub(crate) fn binary<F: Binary>(f: F, mut a: Cow<'_, Tensor>, mut b: Cow<'_, Tensor>) -> Tensor {
    let shape = same_dtype_and_broadcast(F::NAME, &a, &b);
    let value = dispatch!(a.dtype(), T => {
        if a.shape() == b.shape() {
            // The result reuses the memory of an operand that is not shared.
            if b.node().is_none() && let Some(out) = unique_blocks_mut::<T>(&mut a) {
                map::flat(&Value(f), [None, Some(b.blocks())], out);
                let value = a.into_owned();
                return node::record(F::NAME, value, &[], |_| -> BinaryRule<F> { unreachable!("no inputs") });
            }
            if a.node().is_none() && let Some(out) = unique_blocks_mut::<T>(&mut b) {
                map::flat(&Value(f), [Some(a.blocks()), None], out);
                let value = b.into_owned();
                return node::record(F::NAME, value, &[], |_| -> BinaryRule<F> { unreachable!("no inputs") });
            }
            running::run(F::NAME, || {
                let inputs = [Some(a.blocks()), Some(b.blocks())];
                Tensor::build_blocks::<T>(shape, |out| map::flat(&Value(f), inputs, out))
            })
        } else {
            running::run(F::NAME, || broadcast::<T, 2>(&Value(f), [&*a, &*b], &shape))
        }
    });
    node::record(F::NAME, value, &[&a, &b], |y| {
        let probe = || (Probe::new(Uses::A), Probe::new(Uses::B), Probe::new(Uses::Y));
        let (pa, pb, py) = probe();
        let da = if a.is_tracked() { f.da(pa, pb, py).uses() } else { Uses::NONE };
        let (pa, pb, py) = probe();
        let db = if b.is_tracked() { f.db(pa, pb, py).uses() } else { Uses::NONE };
        let uses = da | db;
        BinaryRule {
            f,
            a: uses.has(Uses::A).then(|| Kept::new(&a, y)),
            b: uses.has(Uses::B).then(|| Kept::new(&b, y)),
            y: uses.has(Uses::Y).then(|| y.buffer().clone()),
            dtype: y.dtype(),
        }
    })
}

/// The elements of an owned operand that is not shared.
fn unique_blocks_mut<'a, T: Scalar>(x: &'a mut Cow<'_, Tensor>) -> Option<&'a mut [[T; BLOCK]]> {
    match x {
        Cow::Owned(x) => x.unique_blocks_mut(),
        Cow::Borrowed(_) => None,
    }
}

#[track_caller]
pub(crate) fn same_dtype_and_broadcast(name: &str, a: &Tensor, b: &Tensor) -> Shape {
    same_dtype(name, a, b);
    match a.shape().broadcast(b.shape()) {
        Ok(shape) => shape,
        Err(e) => panic!("{name}: shapes {e}"),
    }
}

#[track_caller]
pub(crate) fn same_dtype(name: &str, a: &Tensor, b: &Tensor) {
    assert!(
        a.dtype() == b.dtype(),
        "{name}: the operands are {} {} and {} {}; convert one with to_dtype",
        a.dtype(),
        a.shape(),
        b.dtype(),
        b.shape()
    );
}

/// f over inputs of any shapes that broadcast to `shape`.
pub(crate) fn broadcast<T: Scalar, const N: usize>(
    f: &impl Map<N>,
    x: [&Tensor; N],
    shape: &Shape,
) -> Tensor {
    let strided = x.map(|x| Strided { data: x.blocks::<T>(), strides: x.shape().strides_in(shape) });
    Tensor::build_blocks::<T>(*shape, |out| map::broadcast(f, strided, shape, out))
}

/// An operand, and its shape if it was broadcast: this keeps nodes small without broadcasting.
#[derive(Debug)]
struct Kept(Buffer, Option<Box<Shape>>);

impl Kept {
    fn new(x: &Tensor, y: &Tensor) -> Kept {
        Kept(x.buffer().clone(), (x.shape() != y.shape()).then(|| Box::new(*x.shape())))
    }

    fn tensor(&self, shape: &Shape) -> Tensor {
        Tensor::from_buffer(self.0.clone(), self.1.as_deref().copied().unwrap_or(*shape))
    }
}

#[derive(Debug)]
struct BinaryRule<F> {
    f: F,
    a: Option<Kept>,
    b: Option<Kept>,
    y: Option<Buffer>,
    dtype: DType,
}

impl<F: Binary> Rule for BinaryRule<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn pullback(&self, cx: &mut Pullback<'_>) {
        if cx.recording() {
            for i in 0..2 {
                if cx.wants(i) {
                    let gradient = self.recorded(cx, i == 0);
                    cx.give(i, gradient);
                }
            }
            return;
        }
        // A derivative of 1 needs no loop: addition passes g on as it is.
        let gradient = |first: bool, g: Tensor| {
            if self.constant(first) == Some(1.0) { g } else { self.gradient(first, g) }
        };
        let g = cx.take_g();
        match (cx.wants(0), cx.wants(1)) {
            (true, true) => {
                cx.give(0, gradient(true, g.clone()));
                cx.give(1, gradient(false, g));
            }
            (true, false) => cx.give(0, gradient(true, g)),
            (false, _) => cx.give(1, gradient(false, g)),
        }
    }

    fn kept_bytes(&self) -> usize {
        let kept = self.a.iter().chain(&self.b).map(|kept| &kept.0).chain(&self.y);
        kept.map(Buffer::bytes).sum()
    }
}

impl<F: Binary> BinaryRule<F> {
    /// g times the derivative, recorded.
    fn recorded(&self, cx: &Pullback<'_>, first: bool) -> Tensor {
        let (g, shape) = (cx.g(), cx.shape());
        if self.constant(first) == Some(1.0) {
            return g.clone();
        }
        let piecewise = pieces_of(&self.f)[usize::from(!first)];
        let kept = |value: Option<Tensor>, attach: &dyn Fn(&Tensor) -> Tensor| match value {
            None => Symbol(g.value()),
            // Nothing flows through a derivative that is piecewise constant.
            Some(value) if piecewise.0 => Symbol(value),
            Some(value) => Symbol(attach(&value)),
        };
        let a = kept(self.a.as_ref().map(|a| a.tensor(shape)), &|a| cx.input(0, a));
        let b = kept(self.b.as_ref().map(|b| b.tensor(shape)), &|b| cx.input(1, b));
        let y = kept(self.y.as_ref().map(|y| Tensor::from_buffer(y.clone(), *shape)), &|y| cx.output(y));
        let d = if first { self.f.da(a, b, y) } else { self.f.db(a, b, y) };
        chain(Symbol(g.clone()), d, piecewise).0
    }

    /// g times the derivative, in place in the memory of g if it is not shared.
    fn gradient(&self, first: bool, mut g: Tensor) -> Tensor {
        let shape = *g.shape();
        let broadcasts = |kept: &Option<Kept>| kept.as_ref().is_some_and(|kept| kept.1.is_some());
        dispatch!(self.dtype, T => {
            if broadcasts(&self.a) || broadcasts(&self.b) {
                let y = self.y.as_ref().map(|y| Tensor::from_buffer(y.clone(), shape));
                let [a, b] = [&self.a, &self.b].map(|v| v.as_ref().map_or_else(|| g.clone(), |v| v.tensor(&shape)));
                let x = [&g, &a, &b, y.as_ref().unwrap_or(&g)];
                return match first {
                    true => broadcast::<T, 4>(&ChainA(self.f), x, &shape),
                    false => broadcast::<T, 4>(&ChainB(self.f), x, &shape),
                };
            }
            let [a, b] = [&self.a, &self.b].map(|v| v.as_ref().map(|v| v.0.blocks::<T>()));
            let y = self.y.as_ref().map(|y| y.blocks::<T>());
            let compute = |x, out: &mut [[T; BLOCK]]| match first {
                true => map::flat(&ChainA(self.f), x, out),
                false => map::flat(&ChainB(self.f), x, out),
            };
            if let Some(out) = g.unique_blocks_mut::<T>() {
                compute([None, a, b, y], out);
                return g;
            }
            let given = Some(g.blocks::<T>());
            Tensor::build_blocks::<T>(shape, |out| compute([given, a.or(given), b.or(given), y.or(given)], out))
        })
    }

    /// The derivative, if it is the same number everywhere.
    fn constant(&self, first: bool) -> Option<f64> {
        let (a, b, y) = (Probe::new(Uses::A), Probe::new(Uses::B), Probe::new(Uses::Y));
        if first { self.f.da(a, b, y).constant() } else { self.f.db(a, b, y).constant() }
    }
}
