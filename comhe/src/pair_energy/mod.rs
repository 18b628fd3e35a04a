//! The sum over pairs, the operation that all energies use.
//!
//! For the directions u = w / sqrt(|w|^2 + eps) of neurons w_1..w_N (rows) and a function f of the cosine
//! c_ij = u_i . u_j:
//!
//!   full space   E = sum over ordered i != j of f(c_ij)
//!   half-space   E = sum over ordered i != j of 2 (f(c_ij) + f(-c_ij))  +  2 sum over i of f(-|u_i|^2)
//!
//! with f(c) = (2 - 2c)^(-s/2), or (arccos c + offset)^-s, or minus their logarithms for s = 0. The half-space
//! form is the full form of the 2N points {u_i, -u_i}, from N x N cosines.
//!
//! The map from neurons to energy is one operation, because its gradient is then a single product with the neurons (see
//! [`kernels::cosines`]), and directions are not stored.
//!
//! Lin et al., Regularizing Neural Networks via Minimizing Hyperspherical Energy, CVPR 2020, section 3.

mod form;
#[cfg(test)]
mod tests;

use autograd::{DType, Fused, Input, Sample, Scalar, Shape, Tensor, fused_keeping};
use kernels::cosines::{Kept, Sums, Vectors};

pub use form::PairEnergy;

/// Up to this many rows the reverse pass starts from the N x N coefficients of the forward pass; beyond, they are
/// computed again by blocks.
const KEPT: usize = 1024;

/// The sum over ordered pairs of neurons of the energy of their cosine (see [`PairEnergy`]), one for each matrix of a
/// batch: \[B, N, d\] to \[B\]. It depends only on the neurons' directions w / sqrt(|w|^2 + eps); in half-space the
/// points are {u, -u}. Nearly coinciding neurons are computed to full precision. A neuron of zeros with `eps` = 0
/// counts as orthogonal to all, and has no gradient.
///
/// It also returns the lengths sqrt(|w|^2 + eps), constants in f64, \[B, N\]: the length of a neuron with an element
/// that is not finite is not finite either.
///
/// Memory is O(B N^2) up to 1,024 rows, and O(N) times a block beyond.
///
/// # Panics
/// If there are not three axes, s, the offset or `eps` is negative or not finite, the floor is not above 0, or `still`
/// is below it.
#[track_caller]
pub fn pair_energy(w: &Tensor, form: PairEnergy, eps: f64) -> (Tensor, Tensor) {
    check(&form, eps, w);
    let [n, d] = [w.shape()[1], w.shape()[2]];
    let keep = if !w.is_tracked() || n > KEPT {
        Keep::Nothing
    } else if d < n {
        Keep::Gradient
    } else {
        Keep::Coefficients
    };
    let (sums, kept) = fused_keeping(PairSums { form, eps, keep }, &[w]);
    (sums, kept.0.clone())
}

/// [`pair_energy`] in plain operations, with its N x N matrices: gradients of its gradients differentiate it, and its
/// kernels are compared with it.
///
/// Its cosines are inaccurate where rows nearly coincide (2e-8 relative at an angle of 1e-4 in f64); the kernels are
/// accurate there.
///
/// # Panics
/// As [`pair_energy`].
#[track_caller]
pub fn pair_energy_definition(w: &Tensor, form: PairEnergy, eps: f64) -> Tensor {
    check(&form, eps, w);
    definition(&form, eps, w)
}

#[track_caller]
fn check(form: &PairEnergy, eps: f64, w: &Tensor) {
    assert!(w.rank() == 3, "pair_energy: expected neurons of shape [B, N, d], found {}", w.shape());
    let PairEnergy { s, angular, offset, floor, still, .. } = *form;
    let check = |name: &str, value: f64| {
        assert!(
            value >= 0.0 && value.is_finite(),
            "pair_energy: {name} = {value} must be finite and at least 0"
        );
    };
    check("s", s);
    check("offset", offset);
    check("eps", eps);
    assert!(floor > 0.0 && floor.is_finite(), "pair_energy: floor = {floor} must be finite and above 0");
    assert!(angular || offset == 0.0, "pair_energy: offset = {offset} belongs to angles");
    assert!(still >= floor, "pair_energy: still = {still} must be at least the floor, {floor}");
}

#[derive(Debug)]
struct PairSums {
    form: PairEnergy,
    eps: f64,
    keep: Keep,
}

/// What is saved for backward. The coefficients of the gradient are n x n, the gradient itself is n x d: the smaller
/// one is kept.
#[derive(Clone, Copy, Debug)]
enum Keep {
    Nothing,
    Coefficients,
    Gradient,
}

impl Fused for PairSums {
    /// The lengths, \[B, N\]; the coefficients, \[B, N, N\], or the gradients, \[B, N, d\].
    type Kept = (Tensor, Option<Tensor>);
    const NAME: &'static str = "pair_energy";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        definition(&self.form, self.eps, &x[0])
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, Self::Kept) {
        match x[0].dtype() {
            DType::F32 => self.forward_as::<f32>(&x[0]),
            DType::F64 => self.forward_as::<f64>(&x[0]),
        }
    }

    fn backward(&self, x: &[Tensor], kept: &Self::Kept, g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        vec![Some(match g.dtype() {
            DType::F32 => self.backward_as::<f32>(&x[0], kept, g),
            DType::F64 => self.backward_as::<f64>(&x[0], kept, g),
        })]
    }

    /// The products of rows, once per pair.
    fn flops(&self, x: &[Tensor], _: &Shape) -> u64 {
        let [b, n, d] = [0, 1, 2].map(|axis| x[0].shape()[axis] as u64);
        b * n * n.saturating_sub(1) * d
    }
}

impl PairSums {
    fn neurons<'a, T: Scalar>(&self, w: &'a Tensor) -> Vectors<'a, T> {
        Vectors { w: w.data::<T>(), eps: self.eps, n: w.shape()[1], d: w.shape()[2] }
    }

    fn forward_as<T: Scalar>(&self, w: &Tensor) -> (Tensor, (Tensor, Option<Tensor>)) {
        let neurons = self.neurons::<T>(w);
        let (batch, n) = (w.shape()[0], neurons.n);
        let (mut sums, mut lengths) = (vec![0.0; batch], vec![0.0; batch * n]);
        let kept = match self.keep {
            Keep::Nothing => {
                Sums(self.form).forward_batch(neurons, None, &mut lengths, &mut sums);
                None
            }
            Keep::Coefficients => Some(Tensor::build([batch, n, n].into(), |k| {
                Sums(self.form).forward_batch(neurons, Some(k), &mut lengths, &mut sums);
            })),
            Keep::Gradient => Some(Tensor::build(*w.shape(), |dw| {
                Sums(self.form).forward_batch_with_gradients(neurons, dw, &mut lengths, &mut sums);
            })),
        };
        let sums = Tensor::from_fn([batch], T::DTYPE, |b| sums[b]);
        (sums, (Tensor::new(&lengths, [batch, n]), kept))
    }

    fn backward_as<T: Scalar>(&self, w: &Tensor, kept: &(Tensor, Option<Tensor>), g: &Tensor) -> Tensor {
        let (lengths, kept) = kept;
        let kept = match (self.keep, kept) {
            (Keep::Coefficients, Some(k)) => Kept::Coefficients(k.data::<T>()),
            (Keep::Gradient, Some(gradient)) => Kept::Gradient(gradient.data::<T>()),
            _ => Kept::Nothing,
        };
        Tensor::build(*w.shape(), |dw| {
            let neurons = self.neurons::<T>(w);
            Sums(self.form).backward_batch(kept, neurons, lengths.data::<f64>(), g.data::<T>(), dw);
        })
    }
}

fn definition(form: &PairEnergy, eps: f64, w: &Tensor) -> Tensor {
    let (u, n) = (w.normalize_rows(eps), w.shape()[1]);
    let own = Tensor::eye(n, u.dtype());
    let other = 1.0 - &own;
    let c = u.matmul_nt(&u);
    if form.half_space {
        let negative = -&c;
        let antipodes = pair(form, &negative);
        (&other * (pair(form, &c) + &antipodes) * 2.0 + &own * antipodes * 2.0).sum([1, 2])
    } else {
        (&other * pair(form, &c)).sum([1, 2])
    }
}

/// f of every cosine. Up to `still` and, for angles, at opposite points, it is a constant: a mask outside the graph
/// selects these elements, and they are moved to c = 0, where all derivatives are moderate.
fn pair(form: &PairEnergy, c: &Tensor) -> Tensor {
    let value = c.detach();
    let (live, still) = if form.angular {
        let epsilon = if c.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let sine2 = (1.0 - &value) * (1.0 + &value);
        // A cosine that is 1 or -1 up to rounding counts as 1 or -1: arccos would amplify the difference to half the
        // digits.
        let inside = (sine2 - 16.0 * epsilon).step();
        let angle = (&value * &inside + value.sign() * (1.0 - &inside)).acos();
        let live = (&angle - form.still).step() * inside;
        (live, power(form.s, &(angle.clamp(form.floor, f64::INFINITY) + form.offset)))
    } else {
        let square = 2.0 - 2.0 * &value;
        let live = (&square - form.still).step();
        (live, power(0.5 * form.s, &square.clamp(form.floor, f64::INFINITY)) * scale(form))
    };
    let c = c * &live;
    let f = if form.angular {
        power(form.s, &(c.acos() + form.offset))
    } else {
        power(0.5 * form.s, &(2.0 - 2.0 * c)) * scale(form)
    };
    f * &live + still * (1.0 - &live)
}

/// x^-p, or -log x for p = 0.
fn power(p: f64, x: &Tensor) -> Tensor {
    if p == 0.0 { -x.log() } else { x.powf(-p) }
}

/// The logarithm of a chord is half that of its square.
fn scale(form: &PairEnergy) -> f64 {
    if form.s == 0.0 { 0.5 } else { 1.0 }
}

/// Samples of the operation for gradient checks.
pub(crate) fn samples() -> Vec<Sample> {
    let mut list = Vec::new();
    for s in [0.0, 1.0, 2.0, 2.5] {
        for angular in [false, true] {
            for half_space in [false, true] {
                let offset = if angular { 0.1 } else { 0.0 };
                let form = PairEnergy { s, angular, offset, half_space, floor: 1e-12, still: 1e-12 };
                let case = format!(
                    "s = {s}, {}, {}",
                    if angular { "angle" } else { "chord" },
                    if half_space { "half-space" } else { "full space" }
                );
                // Rows a little shorter than 1, so that the angle to the antipode has a derivative.
                let sample = move |x: &[Tensor]| pair_energy(&x[0], form, 0.1).0;
                list.push(Sample::new("pair_energy", case, [Input::normal([2, 3, 4])], sample));
            }
        }
    }
    // More rows than dimensions.
    for half_space in [false, true] {
        let form = PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space, floor: 1e-12, still: 1e-12 };
        let case = if half_space { "5 rows in the plane, half-space" } else { "5 rows in the plane" };
        let sample = move |x: &[Tensor]| pair_energy(&x[0], form, 0.5).0;
        list.push(Sample::new("pair_energy", case, [Input::normal([2, 5, 2])], sample));
    }
    // Two rows of three nearly coincide.
    for (angular, half_space) in [(false, false), (false, true), (true, false), (true, true)] {
        let form = PairEnergy { s: 1.0, angular, offset: 0.0, half_space, floor: 1e-12, still: 1e-12 };
        let case = format!(
            "near neurons, {}, {}",
            if angular { "angle" } else { "chord" },
            if half_space { "half-space" } else { "full space" }
        );
        list.push(Sample::new("pair_energy", case, [Input::normal([3, 4])], move |x| {
            let near = Tensor::from([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.1]]);
            let w = near.to_dtype(x[0].dtype()).matmul(&x[0]);
            pair_energy(&w.unsqueeze(0), form, 1e-2).0
        }));
    }
    let form =
        PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: true, floor: 1e-12, still: 1e-12 };
    // Far from length 1, copies of the neurons represent their points.
    for (case, size) in [("tiny neurons", 1e-12), ("huge neurons", 1e12)] {
        list.push(Sample::new("pair_energy", case, [Input::normal([1, 3, 4])], move |x| {
            pair_energy(&(&x[0] * size), form, 0.0).0
        }));
    }
    for (case, dims) in [("no matrix", [0, 3, 2]), ("no row", [2, 0, 2]), ("one row", [2, 1, 3])] {
        let sample = move |x: &[Tensor]| pair_energy(&x[0], form, 0.1).0;
        list.push(Sample::new("pair_energy", case, [Input::normal(dims)], sample));
    }
    list
}
