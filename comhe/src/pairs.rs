//! The sum over pairs: the one operation behind every energy.
//!
//! For directions u_1..u_N (rows) and a function f of the cosine c_ij = u_i . u_j:
//!
//!   full space   E = sum over ordered i != j of f(c_ij)
//!   half-space   E = sum over ordered i != j of 2 (f(c_ij) + f(-c_ij))  +  2 sum over i of f(-|u_i|^2)
//!
//! with f(c) = (2 - 2c)^(-s/2), or (arccos c + offset)^-s, or minus their logarithms for s = 0. The half-space
//! form is the full form of the 2N points {u_i, -u_i}, from N x N cosines.
//!
//! Lin et al., Regularizing Neural Networks via Minimizing Hyperspherical Energy, CVPR 2020, section 3.

use autograd::{DType, Fused, Scalar, Tensor, fused};
use kernels::energy::PairEnergy;

/// Up to this many rows the N x N slopes are kept for the reverse pass; beyond, they are computed again by blocks.
const KEPT: usize = 1024;

/// The sums for a batch of directions, \[B, N, d\] to \[B\].
pub(crate) fn pair_sums(form: PairEnergy, u: &Tensor) -> Tensor {
    let keep = u.is_tracked() && u.shape()[1] <= KEPT;
    fused(Pairs { form, keep }, &[u])
}

#[derive(Debug)]
struct Pairs {
    form: PairEnergy,
    keep: bool,
}

impl Fused for Pairs {
    /// The slopes f'(c_ij), \[B, N, N\].
    type Kept = Option<Tensor>;
    const NAME: &'static str = "hyperspherical_energy";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        definition(&self.form, &x[0])
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, Option<Tensor>) {
        match x[0].dtype() {
            DType::F32 => self.forward_as::<f32>(&x[0]),
            DType::F64 => self.forward_as::<f64>(&x[0]),
        }
    }

    fn backward(&self, x: &[Tensor], kept: &Option<Tensor>, g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        vec![Some(match g.dtype() {
            DType::F32 => self.backward_as::<f32>(&x[0], kept.as_ref(), g),
            DType::F64 => self.backward_as::<f64>(&x[0], kept.as_ref(), g),
        })]
    }
}

impl Pairs {
    fn forward_as<T: Scalar>(&self, u: &Tensor) -> (Tensor, Option<Tensor>) {
        let [batch, n, d] = dims(u);
        let matrix = |b: usize| &u.data::<T>()[b * n * d..(b + 1) * n * d];
        if !self.keep {
            let sums = Tensor::from_fn([batch], T::DTYPE, |b| self.form.forward(matrix(b), n, d));
            return (sums, None);
        }
        let mut slopes = Tensor::zeros([batch, n, n], T::DTYPE);
        let mut sums = Vec::with_capacity(batch);
        slopes.update::<T>(|slopes| {
            for b in 0..batch {
                let slopes = &mut slopes[b * n * n..(b + 1) * n * n];
                sums.push(self.form.forward_with_slopes(matrix(b), n, d, slopes));
            }
        });
        (Tensor::from_fn([batch], T::DTYPE, |b| sums[b]), Some(slopes))
    }

    fn backward_as<T: Scalar>(&self, u: &Tensor, slopes: Option<&Tensor>, g: &Tensor) -> Tensor {
        let [batch, n, d] = dims(u);
        let mut du = Tensor::zeros(u.shape(), T::DTYPE);
        du.update::<T>(|du| {
            for (b, &scale) in g.data::<T>().iter().enumerate().take(batch) {
                let rows = b * n * d..(b + 1) * n * d;
                let (u, du) = (&u.data::<T>()[rows.clone()], &mut du[rows]);
                match slopes {
                    Some(slopes) => {
                        let slopes = &slopes.data::<T>()[b * n * n..(b + 1) * n * n];
                        self.form.backward_from_slopes(slopes, u, n, d, scale, du);
                    }
                    None => self.form.backward(u, n, d, scale, du),
                }
            }
        });
        du
    }
}

fn dims(u: &Tensor) -> [usize; 3] {
    [u.shape()[0], u.shape()[1], u.shape()[2]]
}

/// The same in plain operations: what the gradients of gradients differentiate.
///
/// Its cosines lose digits where rows nearly coincide (2e-8 relative at an angle of 1e-4 in f64), which the
/// kernels do not.
pub(crate) fn definition(form: &PairEnergy, u: &Tensor) -> Tensor {
    let n = u.shape()[1];
    let own = Tensor::eye(n, u.dtype());
    let other = 1.0 - &own;
    let c = u.matmul_nt(u);
    if form.half_space {
        let negative = -&c;
        let antipodes = pair(form, &negative);
        (&other * (pair(form, &c) + &antipodes) * 2.0 + &own * antipodes * 2.0).sum([1, 2])
    } else {
        (&other * pair(form, &c)).sum([1, 2])
    }
}

/// f of every cosine. At the floor and, for angles, at opposite points, f is constant: what decides is a mask
/// outside the graph, and the masked elements are moved to c = 0, where all derivatives are moderate.
fn pair(form: &PairEnergy, c: &Tensor) -> Tensor {
    let value = c.detach();
    let (live, still) = if form.angular {
        let epsilon = if c.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let sine2 = (1.0 - &value) * (1.0 + &value);
        // A cosine that is 1 or -1 up to rounding is that: arccos would make half its digits of the difference.
        let inside = (sine2 - 16.0 * epsilon).step();
        let angle = (&value * &inside + value.sign() * (1.0 - &inside)).acos();
        let live = (&angle - form.floor).step() * inside;
        (live, power(form.s, &(angle.clamp(form.floor, f64::INFINITY) + form.offset)))
    } else {
        let square = 2.0 - 2.0 * &value;
        let live = (&square - form.floor).step();
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
