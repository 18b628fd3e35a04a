//! The energy of one pair of directions as a function of their cosine.

use kernels::Element;
use kernels::cosines::{CosineFunction, Specialised, Visitor};
use kernels::math::Math;
use kernels::real::Arithmetic;

/// The form of the energy: Riesz exponent, distance, and whether antipodes count as points too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairEnergy {
    /// The Riesz exponent s >= 0. A pair at distance r has energy r^-s, and log(1 / r) for s = 0.
    pub s: f64,
    /// Whether the distance is the angle, arccos c, rather than the chord, r^2 = 2 - 2c.
    pub angular: bool,
    /// Added to the angle: f(angle + offset). 0 in theory; the chord takes no offset.
    pub offset: f64,
    /// Whether the points are {u, -u} rather than {u}.
    pub half_space: bool,
    /// Floor on r^2, or on the angle before `offset`: below it a pair has the energy of the floor.
    pub floor: f64,
    /// At and below this r^2, or angle, a pair has no gradient. At least the floor; larger if sums of slopes above the
    /// floor would overflow.
    pub still: f64,
}

/// The exponents with a specialised formula.
const LOG: u8 = 0;
const ONE: u8 = 1;
const TWO: u8 = 2;
const ANY: u8 = 3;

impl PairEnergy {
    fn exponent(&self) -> u8 {
        match self.s {
            0.0 => LOG,
            1.0 => ONE,
            2.0 => TWO,
            _ => ANY,
        }
    }
}

impl CosineFunction for PairEnergy {
    fn antipodes(&self) -> bool {
        self.half_space
    }

    /// For angles arccos has an infinite slope there.
    fn two_ended(&self) -> bool {
        self.angular
    }

    /// The nearest pair that has a gradient, or, for angles, the pair nearest to opposite.
    fn steepest(&self) -> f64 {
        let s = self.s.max(1.0);
        let near = if self.angular {
            s * (self.still + self.offset).powf(-self.s - 1.0) / self.still.min(1.0).sin()
        } else {
            s * self.still.powf(-0.5 * self.s - 1.0)
        };
        // 1 / sin at the last angle before pi that is larger than rounding errors, in f64.
        let opposite = if self.angular { s / (4.0 * f64::EPSILON.sqrt()) } else { 0.0 };
        near.max(opposite)
    }

    fn at_chords(&self, x: f64, y: f64) -> (f64, f64) {
        let s = self.s;
        if self.angular {
            let angle = 2.0 * x.sqrt().atan2(y.sqrt());
            let still = angle <= self.still || y == 0.0;
            let t = angle.max(self.floor) + self.offset;
            let f = if s == 0.0 { -t.ln() } else { t.powf(-s) };
            let df = if s == 0.0 { 1.0 / t } else { s * f / t };
            (f, if still { 0.0 } else { df / (0.5 * (x * y).sqrt()) })
        } else {
            let still = x <= self.still;
            let x = x.max(self.floor);
            let f = match s {
                0.0 => -0.5 * x.ln(),
                2.0 => 1.0 / x,
                _ => x.powf(-0.5 * s),
            };
            let df = if s == 0.0 { 1.0 / x } else { s * f / x };
            (f, if still { 0.0 } else { df })
        }
    }

    #[inline(always)]
    fn specialise<V: Visitor>(&self, gap: f64, visitor: V) -> V::Output {
        match self.exponent() {
            LOG => self.with_exponent::<V, LOG>(gap, visitor),
            ONE => self.with_exponent::<V, ONE>(gap, visitor),
            TWO => self.with_exponent::<V, TWO>(gap, visitor),
            _ => self.with_exponent::<V, ANY>(gap, visitor),
        }
    }
}

impl PairEnergy {
    #[inline(always)]
    fn with_exponent<V: Visitor, const S: u8>(self, gap: f64, visitor: V) -> V::Output {
        // Of a cosine c <= 1 - gap, 2 - 2c is at least 2 gap, and so is the angle.
        let far = self.still < 2.0 * gap;
        match (self.angular, self.half_space) {
            (false, false) => visitor.visit(Form::<S, false, false> { energy: self, far }),
            (false, true) => visitor.visit(Form::<S, false, true> { energy: self, far }),
            (true, false) => visitor.visit(Form::<S, true, false> { energy: self, far }),
            (true, true) => visitor.visit(Form::<S, true, true> { energy: self, far }),
        }
    }
}

/// An energy with its exponent, distance and space decided.
#[derive(Clone, Copy)]
struct Form<const S: u8, const ANGULAR: bool, const HALF: bool> {
    energy: PairEnergy,
    /// Whether all pairs are far enough for a gradient.
    far: bool,
}

impl<const S: u8, const ANGULAR: bool, const HALF: bool> Specialised for Form<S, ANGULAR, HALF> {
    #[inline(always)]
    fn at<T: Element, A: Arithmetic>(&self, c: T) -> (T, T) {
        if S == TWO && !ANGULAR && HALF && self.far {
            // 1 / (2 - 2c) + 1 / (2 + 2c), with one division.
            let f = T::ONE / ((T::ONE - c) * (T::ONE + c));
            return (f, (c + c) * f * f);
        }
        let (f, df) = self.energy.pair::<T, A, S, ANGULAR>(c);
        if !HALF {
            return (f, df);
        }
        let (g, dg) = self.energy.pair::<T, A, S, ANGULAR>(-c);
        (f + g, df - dg)
    }
}

impl PairEnergy {
    /// f(c) and f'(c) of a pair with cosine c. A cosine beyond +-1 by rounding counts as +-1; NaN stays NaN.
    ///
    /// With x = 2 - 2c: f = x^(-s/2), f' = s f / x. With an angle t = arccos c + offset: f = t^-s,
    /// f' = s f / (t sin arccos c). Logarithms for s = 0: f = -ln(x) / 2, f' = 1 / x; f = -ln t,
    /// f' = 1 / (t sin arccos c).
    ///
    /// Everything is computed from c, which is accurate enough except for nearly equal rows: c carries an error of a
    /// few units of rounding e, so 1 - c = a^2 / 2 at angle a has relative error 2 e / a^2 for each, that is 2e-8 at a
    /// = 1e-4 in f64, and so have f and f' up to a factor of s / 2 + 1 (sums compute those pairs from their chords).
    /// The two ends of arccos, where its slope is infinite: c = 1 is below the floor; near c = -1 the direction from u
    /// to -u is lost in rounding once sin^2 < 16 e, and f' is 0 from there on.
    #[inline(always)]
    fn pair<T: Element, A: Arithmetic, const S: u8, const ANGULAR: bool>(&self, c: T) -> (T, T) {
        let (floor, still) = (T::from_f64(self.floor), T::from_f64(self.still));
        if ANGULAR {
            let c = Math::min::<A>(Math::max::<A>(c, -T::ONE), T::ONE);
            let angle = Math::acos::<A>(c);
            let sin2 = (T::ONE - c) * (T::ONE + c);
            let (f, df) = power::<T, A, S>(
                self.s,
                if angle <= floor { floor } else { angle } + T::from_f64(self.offset),
            );
            let still = angle <= still || (c < T::ZERO && sin2 <= T::from_f64(16.0 * epsilon::<T>()));
            (f, if still { T::ZERO } else { df / Math::sqrt::<A>(sin2) })
        } else {
            let two = T::from_f64(2.0);
            let x = two - two * c;
            let (f, df) = half_power::<T, A, S>(self.s, if x <= floor { floor } else { x });
            (f, if x <= still { T::ZERO } else { df })
        }
    }
}

/// The spacing of numbers at 1.
#[inline(always)]
fn epsilon<T: Element>() -> f64 {
    if size_of::<T>() == size_of::<f32>() { f64::from(f32::EPSILON) } else { f64::EPSILON }
}

/// t^-s (or -ln t) and minus its derivative.
#[inline(always)]
fn power<T: Element, A: Arithmetic, const S: u8>(s: f64, t: T) -> (T, T) {
    let inverse = T::ONE / t;
    match S {
        LOG => (-Math::ln::<A>(t), inverse),
        ONE => (inverse, inverse * inverse),
        TWO => {
            let f = inverse * inverse;
            (f, T::from_f64(2.0) * f * inverse)
        }
        _ => {
            // Positive and far from the ends of the range: no need for the cases of a general power.
            let f = Math::exp::<A>(T::from_f64(-s) * Math::ln::<A>(t));
            (f, T::from_f64(s) * f * inverse)
        }
    }
}

/// x^(-s/2) (or -ln(x) / 2) and minus twice its derivative.
#[inline(always)]
fn half_power<T: Element, A: Arithmetic, const S: u8>(s: f64, x: T) -> (T, T) {
    let inverse = T::ONE / x;
    match S {
        LOG => (T::from_f64(-0.5) * Math::ln::<A>(x), inverse),
        ONE => {
            let f = Math::sqrt::<A>(inverse);
            (f, f * inverse)
        }
        TWO => (inverse, T::from_f64(2.0) * inverse * inverse),
        _ => {
            let f = Math::exp::<A>(T::from_f64(-0.5 * s) * Math::ln::<A>(x));
            (f, T::from_f64(s) * f * inverse)
        }
    }
}
