//! The linear maps of Winograd's minimal filtering F(M x M, K x K).
//!
//! A tile of M outputs of a K-tap correlation comes from A = M + K - 1 inputs. Seen as polynomials, the product is
//! found from its values at A points (one of them infinity): A multiplications instead of K M. In two
//! dimensions every map is applied along columns, then along rows. With B, G and A the maps of inputs, taps and
//! outputs (Lavin and Gray, 2016),
//!
//! y = A' (G g * B' x),   dg = G' (B' x * A dy).

use crate::gemm::vector::Vector;
use crate::real::Element;

/// A linear map of I numbers to O numbers, for registers of them.
pub trait Linear<const I: usize, const O: usize> {
    /// The map.
    ///
    /// # Safety
    /// The machine must have the instruction set of `V`.
    unsafe fn apply<T: Element, V: Vector<T>>(x: [V; I]) -> [V; O];
}

/// The five maps of F(M x M, K x K), A = M + K - 1, distinguished by their sizes.
pub trait Winograd<const M: usize, const K: usize, const A: usize>:
    Linear<A, A> // B': inputs to values
    + Linear<K, A> // G: taps to values
    + Linear<A, M> // A': products to outputs
    + Linear<M, A> // A: gradients of outputs to values
    + Linear<A, K> // G': products to gradients of taps
    + Copy
    + Send
    + Sync
{
}

/// Applies a map along both axes of a tile: reads I x I registers, `from_step` apart along columns and rows,
/// and writes the first `size` of O x O, `to_step` apart.
///
/// # Safety
/// The registers must be readable and writable; the machine must have the instruction set of `V`.
#[inline(always)]
pub unsafe fn square<L: Linear<I, O>, T: Element, V: Vector<T>, const I: usize, const O: usize>(
    from: *const T,
    from_step: [isize; 2],
    to: *mut T,
    to_step: [usize; 2],
    size: [usize; 2],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(T::ZERO);
        let mut half = [[zero; I]; O];
        for j in 0..I {
            let mut x = [zero; I];
            for i in 0..I {
                x[i] = V::load(from.offset(i as isize * from_step[0] + j as isize * from_step[1]));
            }
            let y = L::apply(x);
            for i in 0..O {
                half[i][j] = y[i];
            }
        }
        for i in 0..O {
            if i < size[0] {
                let y = L::apply(half[i]);
                for j in 0..O {
                    if j < size[1] {
                        y[j].store(to.add(i * to_step[0] + j * to_step[1]));
                    }
                }
            }
        }
    }
}

/// F(2 x 2, 3 x 3) with the points 0, 1, -1, infinity: 2.25 times fewer multiplications.
#[derive(Clone, Copy)]
pub struct F2;

impl Winograd<2, 3, 4> for F2 {}

impl Linear<4, 4> for F2 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(x: [V; 4]) -> [V; 4] {
        [x[0].sub(x[2]), x[1].add(x[2]), x[2].sub(x[1]), x[3].sub(x[1])]
    }
}

impl Linear<3, 4> for F2 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(g: [V; 3]) -> [V; 4] {
        // SAFETY: the caller's promise.
        let half = unsafe { V::splat(T::from_f64(0.5)) };
        let (even, odd) = (g[0].add(g[2]).mul(half), g[1].mul(half));
        [g[0], even.add(odd), even.sub(odd), g[2]]
    }
}

impl Linear<4, 2> for F2 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(m: [V; 4]) -> [V; 2] {
        [m[0].add(m[1].add(m[2])), m[1].sub(m[2]).add(m[3])]
    }
}

impl Linear<2, 4> for F2 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(y: [V; 2]) -> [V; 4] {
        [y[0], y[0].add(y[1]), y[0].sub(y[1]), y[1]]
    }
}

impl Linear<4, 3> for F2 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(u: [V; 4]) -> [V; 3] {
        // SAFETY: the caller's promise.
        let half = unsafe { V::splat(T::from_f64(0.5)) };
        let even = u[1].add(u[2]).mul(half);
        [u[0].add(even), u[1].sub(u[2]).mul(half), u[3].add(even)]
    }
}

/// F(4 x 4, 3 x 3) with the points 0, +-3/4, +-3/2, infinity: 4 times fewer multiplications.
///
/// The points decide the rounding error. These are about as good as any, a third of the error of the usual
/// 0, +-1, +-2, and exact in binary.
#[derive(Clone, Copy)]
pub struct F4;

/// The points a and b, and their powers.
const P: f64 = 0.75;
const Q: f64 = 1.5;
const PP: f64 = P * P;
const QQ: f64 = Q * Q;
/// The products of differences of points that interpolation divides by, for 0, +-a and +-b.
const N0: f64 = PP * QQ;
const NP: f64 = 2.0 * PP * (PP - QQ);
const NQ: f64 = 2.0 * QQ * (QQ - PP);

impl Winograd<4, 3, 6> for F4 {}

/// a x + b y.
#[inline(always)]
unsafe fn combine<T: Element, V: Vector<T>>(a: f64, x: V, b: f64, y: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { V::splat(T::from_f64(a)).mul_add(x, V::splat(T::from_f64(b)).mul(y)) }
}

/// a x + y.
#[inline(always)]
unsafe fn plus<T: Element, V: Vector<T>>(a: f64, x: V, y: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { V::splat(T::from_f64(a)).mul_add(x, y) }
}

/// a x.
#[inline(always)]
unsafe fn times<T: Element, V: Vector<T>>(a: f64, x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { V::splat(T::from_f64(a)).mul(x) }
}

impl Linear<6, 6> for F4 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(x: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let first = plus(PP * QQ, x[0], plus(-PP - QQ, x[2], x[4]));
            let last = plus(PP * QQ, x[1], plus(-PP - QQ, x[3], x[5]));
            let (even, odd) = (plus(-QQ, x[2], x[4]), plus(-QQ, x[1], x[3]));
            let (p, p_) = (plus(P, odd, even), plus(-P, odd, even));
            let (even, odd) = (plus(-PP, x[2], x[4]), plus(-PP, x[1], x[3]));
            let (q, q_) = (plus(Q, odd, even), plus(-Q, odd, even));
            [first, p, p_, q, q_, last]
        }
    }
}

impl Linear<3, 6> for F4 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(g: [V; 3]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let (even, odd) = (combine(1.0 / NP, g[0], PP / NP, g[2]), times(P / NP, g[1]));
            let (p, p_) = (even.add(odd), even.sub(odd));
            let (even, odd) = (combine(1.0 / NQ, g[0], QQ / NQ, g[2]), times(Q / NQ, g[1]));
            [times(1.0 / N0, g[0]), p, p_, even.add(odd), even.sub(odd), g[2]]
        }
    }
}

impl Linear<6, 4> for F4 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(m: [V; 6]) -> [V; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let (p, p_) = (m[1].add(m[2]), m[1].sub(m[2]));
            let (q, q_) = (m[3].add(m[4]), m[3].sub(m[4]));
            [
                m[0].add(p.add(q)),
                combine(P, p_, Q, q_),
                combine(PP, p, QQ, q),
                plus(P * PP, p_, plus(Q * QQ, q_, m[5])),
            ]
        }
    }
}

impl Linear<4, 6> for F4 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(y: [V; 4]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let (even, odd) = (plus(PP, y[2], y[0]), plus(PP, y[3], y[1]));
            let (p, p_) = (plus(P, odd, even), plus(-P, odd, even));
            let (even, odd) = (plus(QQ, y[2], y[0]), plus(QQ, y[3], y[1]));
            [y[0], p, p_, plus(Q, odd, even), plus(-Q, odd, even), y[3]]
        }
    }
}

impl Linear<6, 3> for F4 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(u: [V; 6]) -> [V; 3] {
        // SAFETY: the caller's promise.
        unsafe {
            let (p, p_) = (u[1].add(u[2]), u[1].sub(u[2]));
            let (q, q_) = (u[3].add(u[4]), u[3].sub(u[4]));
            [
                plus(1.0 / N0, u[0], combine(1.0 / NP, p, 1.0 / NQ, q)),
                combine(P / NP, p_, Q / NQ, q_),
                combine(PP / NP, p, QQ / NQ, q).add(u[5]),
            ]
        }
    }
}

/// F(2 x 2, 5 x 5) with the points of [`F4`]: 2.8 times fewer multiplications.
#[derive(Clone, Copy)]
pub struct F2Of5;

impl Winograd<2, 5, 6> for F2Of5 {}

impl Linear<6, 6> for F2Of5 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(x: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's promise. The map of inputs depends on the points alone.
        unsafe { <F4 as Linear<6, 6>>::apply::<T, V>(x) }
    }
}

impl Linear<5, 6> for F2Of5 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(g: [V; 5]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let even = plus(PP * PP / NP, g[4], combine(1.0 / NP, g[0], PP / NP, g[2]));
            let odd = combine(P / NP, g[1], P * PP / NP, g[3]);
            let (p, p_) = (even.add(odd), even.sub(odd));
            let even = plus(QQ * QQ / NQ, g[4], combine(1.0 / NQ, g[0], QQ / NQ, g[2]));
            let odd = combine(Q / NQ, g[1], Q * QQ / NQ, g[3]);
            [times(1.0 / N0, g[0]), p, p_, even.add(odd), even.sub(odd), g[4]]
        }
    }
}

impl Linear<6, 2> for F2Of5 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(m: [V; 6]) -> [V; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let (p, p_) = (m[1].add(m[2]), m[1].sub(m[2]));
            let (q, q_) = (m[3].add(m[4]), m[3].sub(m[4]));
            [m[0].add(p.add(q)), plus(P, p_, plus(Q, q_, m[5]))]
        }
    }
}

impl Linear<2, 6> for F2Of5 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(y: [V; 2]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let (p, p_) = (plus(P, y[1], y[0]), plus(-P, y[1], y[0]));
            [y[0], p, p_, plus(Q, y[1], y[0]), plus(-Q, y[1], y[0]), y[1]]
        }
    }
}

impl Linear<6, 5> for F2Of5 {
    #[inline(always)]
    unsafe fn apply<T: Element, V: Vector<T>>(u: [V; 6]) -> [V; 5] {
        // SAFETY: the caller's promise.
        unsafe {
            let (p, p_) = (u[1].add(u[2]), u[1].sub(u[2]));
            let (q, q_) = (u[3].add(u[4]), u[3].sub(u[4]));
            [
                plus(1.0 / N0, u[0], combine(1.0 / NP, p, 1.0 / NQ, q)),
                combine(P / NP, p_, Q / NQ, q_),
                combine(PP / NP, p, QQ / NQ, q),
                combine(P * PP / NP, p_, Q * QQ / NQ, q_),
                combine(PP * PP / NP, p, QQ * QQ / NQ, q).add(u[5]),
            ]
        }
    }
}
