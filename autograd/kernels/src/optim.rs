//! Parameter updates, each in one pass over parameter, gradient and state.
//!
//! The order of operations is PyTorch's, and nothing is fused, so every instruction set gives the same bits.

use crate::math::Math;
use crate::par::{self, Shared};
use crate::real::{Arithmetic, Element};
use crate::simd::{self, Kernel};

/// Elements that one thread updates at a time.
const GRAIN: usize = 1 << 14;

/// Stochastic gradient descent with momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The learning rate.
    pub lr: f64,
    /// Momentum coefficient; 0 disables momentum.
    pub momentum: f64,
    /// Dampening: the gradient is multiplied by 1 - dampening before it is added to the velocity, except at the first
    /// step.
    pub dampening: f64,
    /// Whether to use Nesterov momentum.
    pub nesterov: bool,
    /// Weight decay: added to the gradient, times the parameter.
    pub weight_decay: f64,
}

impl Sgd {
    /// With d = g + weight_decay p: v = momentum v + (1 - dampening) d, or v = d at the first step; then
    /// p -= lr v, or p -= lr (d + momentum v) if nesterov. Without momentum, p -= lr d, and `v` may be empty.
    ///
    /// # Panics
    /// If a slice is not as long as `p`.
    pub fn step<T: Element>(&self, p: &mut [T], g: &[T], v: &mut [T], first_step: bool) {
        if self.momentum == 0.0 {
            in_pieces([p], g, |[p], g| simd::dispatch(Descent { sgd: self, p, g }));
        } else {
            in_pieces([p, v], g, |[p, v], g| {
                simd::dispatch(Momentum { sgd: self, p, g, v, first_step });
            });
        }
    }

    /// The gradient with weight decay.
    #[inline(always)]
    fn decayed<T: Element>(&self, g: T, p: T) -> T {
        if self.weight_decay == 0.0 { g } else { g + T::from_f64(self.weight_decay) * p }
    }
}

struct Descent<'a, T> {
    sgd: &'a Sgd,
    p: &'a mut [T],
    g: &'a [T],
}

impl<T: Element> Kernel for Descent<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let lr = T::from_f64(self.sgd.lr);
        for (p, &g) in self.p.iter_mut().zip(self.g) {
            *p = *p - lr * self.sgd.decayed(g, *p);
        }
    }
}

struct Momentum<'a, T> {
    sgd: &'a Sgd,
    p: &'a mut [T],
    g: &'a [T],
    v: &'a mut [T],
    first_step: bool,
}

impl<T: Element> Kernel for Momentum<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Momentum { sgd, p, g, v, first_step } = self;
        let (lr, momentum) = (T::from_f64(sgd.lr), T::from_f64(sgd.momentum));
        let share = T::from_f64(1.0 - sgd.dampening);
        for ((p, &g), v) in p.iter_mut().zip(g).zip(v) {
            let d = sgd.decayed(g, *p);
            *v = if first_step { d } else { momentum * *v + share * d };
            *p = *p - lr * if sgd.nesterov { d + momentum * *v } else { *v };
        }
    }
}

/// Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// The learning rate.
    pub lr: f64,
    /// Decay rates of the running means of g and g^2.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether the decay shrinks the parameter itself (AdamW) or is added to the gradient (Adam).
    pub decoupled: bool,
}

impl Adam {
    /// Update number `t` (from 1 on): m += (1 - b1) (g - m), v = b2 v + (1 - b2) g^2, then
    /// p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps). The decay comes before: g += weight_decay p,
    /// or p *= 1 - lr weight_decay if decoupled.
    ///
    /// # Panics
    /// If a slice is not as long as `p`, or `t` is 0.
    pub fn step<T: Element>(&self, p: &mut [T], g: &[T], m: &mut [T], v: &mut [T], t: u64) {
        assert!(t > 0, "adam: updates are counted from 1");
        in_pieces([p, m, v], g, |[p, m, v], g| simd::dispatch(AdamStep { adam: self, p, g, m, v, t }));
    }
}

struct AdamStep<'a, T> {
    adam: &'a Adam,
    p: &'a mut [T],
    g: &'a [T],
    m: &'a mut [T],
    v: &'a mut [T],
    t: u64,
}

impl<T: Element> Kernel for AdamStep<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let AdamStep { adam, p, g, m, v, t } = self;
        let bias = adam.betas.map(|b| 1.0 - b.powf(t as f64));
        let step = T::from_f64(adam.lr / bias[0]);
        let root = T::from_f64(bias[1].sqrt());
        let share = adam.betas.map(|b| T::from_f64(1.0 - b));
        let (keep, eps) = (T::from_f64(adam.betas[1]), T::from_f64(adam.eps));
        let (added, kept) = match (adam.weight_decay, adam.decoupled) {
            (0.0, _) => (None, None),
            (decay, false) => (Some(T::from_f64(decay)), None),
            (decay, true) => (None, Some(T::from_f64(1.0 - adam.lr * decay))),
        };
        for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = added.map_or(g, |decay| g + decay * *p);
            let from = kept.map_or(*p, |kept| *p * kept);
            *m = *m + share[0] * (g - *m);
            *v = *v * keep + share[1] * g * g;
            *p = from - step * *m / (Math::sqrt::<A>(*v) / root + eps);
        }
    }
}

/// Cuts all slices alike and calls `f` with the parts.
fn in_pieces<T: Element, const N: usize>(
    out: [&mut [T]; N],
    g: &[T],
    f: impl Fn([&mut [T]; N], &[T]) + Sync,
) {
    let len = out[0].len();
    assert!(
        g.len() == len && out.iter().all(|o| o.len() == len),
        "optimiser: slices as long as the parameter"
    );
    let out = out.map(Shared::new);
    par::run(len.div_ceil(GRAIN), |i| {
        let (start, count) = (i * GRAIN, GRAIN.min(len - i * GRAIN));
        // SAFETY: pieces are disjoint ranges of slices of length len, each index comes once.
        f(out.map(|o| unsafe { o.slice(start, count) }), &g[start..start + count]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;

    fn random<T: Element>(len: usize, seed: u64) -> Vec<T> {
        let mut x = vec![T::ZERO; len];
        Key::new(seed).fill_normal(&mut x);
        x
    }

    /// Numbers agree to one unit of rounding, relative to the size of parameters here.
    fn assert_close<T: Element>(got: &[T], want: &[T], what: &str) {
        let unit = if T::NAME == "f32" { 1.2e-7 } else { 2.3e-16 };
        for (a, b) in got.iter().zip(want) {
            let (a, b) = (a.to_f64(), b.to_f64());
            assert!((a - b).abs() <= unit * b.abs().max(1e-3), "{what}: {a}, not {b}");
        }
    }

    fn sgd_agrees<T: Element>() {
        for n in [0, 1, 67, GRAIN + 5] {
            for bits in 0..16 {
                let on = |bit: i32, v: f64| if bits >> bit & 1 == 1 { v } else { 0.0 };
                let nesterov = bits & 4 > 0;
                let sgd = Sgd {
                    lr: 0.1,
                    momentum: on(0, 0.9),
                    dampening: on(1, 0.3),
                    nesterov,
                    weight_decay: on(3, 5e-4),
                };
                let c = T::from_f64;
                let (mut p, mut v): (Vec<T>, Vec<T>) = (random(n, 1), vec![T::NAN; n]);
                let (mut want_p, mut want_v) = (p.clone(), vec![T::ZERO; n]);
                for step in 0..3 {
                    let g: Vec<T> = random(n, 2 + step);
                    sgd.step(&mut p, &g, &mut v, step == 0);
                    for i in 0..n {
                        let mut d = g[i] + c(sgd.weight_decay) * want_p[i];
                        if sgd.momentum > 0.0 {
                            let old = want_v[i] * c(sgd.momentum);
                            want_v[i] = if step == 0 { d } else { old + d * c(1.0 - sgd.dampening) };
                            d = if nesterov { d + want_v[i] * c(sgd.momentum) } else { want_v[i] };
                        }
                        want_p[i] = want_p[i] + d * c(-sgd.lr);
                    }
                    assert_close(&p, &want_p, "parameter");
                    if sgd.momentum > 0.0 {
                        assert_close(&v, &want_v, "velocity");
                    }
                }
            }
        }
    }

    #[test]
    fn sgd_follows_its_definition() {
        sgd_agrees::<f32>();
        sgd_agrees::<f64>();
        let plain = Sgd { lr: 0.5, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0 };
        let mut p = [1.0f32, 2.0];
        plain.step(&mut p, &[1.0, -1.0], &mut [], false);
        assert_eq!(p, [0.5, 2.5]);
    }

    fn adam_agrees<T: Element>() {
        for n in [0, 1, 67, GRAIN + 5] {
            for (weight_decay, decoupled) in [(0.0, false), (0.01, false), (0.01, true)] {
                let adam = Adam { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay, decoupled };
                let c = T::from_f64;
                let (mut p, mut m, mut v): (Vec<T>, _, _) =
                    (random(n, 1), vec![T::ZERO; n], vec![T::ZERO; n]);
                let (mut want_p, mut want_m, mut want_v) = (p.clone(), m.clone(), v.clone());
                for t in 1..4u64 {
                    let g: Vec<T> = random(n, 10 + t);
                    adam.step(&mut p, &g, &mut m, &mut v, t);
                    let bias1 = 1.0 - 0.9f64.powi(t as i32);
                    let bias2 = 1.0 - 0.999f64.powi(t as i32);
                    for i in 0..n {
                        let mut g = g[i];
                        if decoupled {
                            want_p[i] = want_p[i] * c(1.0 - 1e-3 * weight_decay);
                        } else {
                            g = g + c(weight_decay) * want_p[i];
                        }
                        want_m[i] = want_m[i] + c(1.0 - 0.9) * (g - want_m[i]);
                        want_v[i] = want_v[i] * c(0.999) + c(1.0 - 0.999) * g * g;
                        let root = c(want_v[i].to_f64().sqrt());
                        let denominator = root / c(bias2.sqrt()) + c(1e-8);
                        want_p[i] = want_p[i] + c(-1e-3 / bias1) * want_m[i] / denominator;
                    }
                    assert_close(&p, &want_p, "parameter");
                    assert_close(&m, &want_m, "mean");
                    assert_close(&v, &want_v, "mean square");
                }
            }
        }
    }

    #[test]
    fn adam_follows_its_definition() {
        adam_agrees::<f32>();
        adam_agrees::<f64>();
    }

    #[test]
    fn adam_first_step_has_the_length_of_the_learning_rate() {
        let adam = Adam { lr: 0.1, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, decoupled: false };
        let (mut p, mut m, mut v) = ([0.0f64; 2], [0.0; 2], [0.0; 2]);
        adam.step(&mut p, &[3.0, -70.0], &mut m, &mut v, 1);
        assert!((p[0] + 0.1).abs() < 1e-9 && (p[1] - 0.1).abs() < 1e-9);
    }

    #[test]
    #[should_panic(expected = "as long as the parameter")]
    fn slices_of_different_length() {
        let sgd = Sgd { lr: 0.1, momentum: 0.9, dampening: 0.0, nesterov: false, weight_decay: 0.0 };
        sgd.step(&mut [0.0f32; 3], &[0.0; 3], &mut [0.0; 2], false);
    }
}
