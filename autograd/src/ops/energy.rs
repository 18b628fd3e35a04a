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

use kernels::energy::{PairEnergy, Points};

use crate::check::{Input, Sample};
use crate::dtype::{DType, Scalar};
use crate::kinds::fused::{Fused, fused};
use crate::tensor::Tensor;

/// Up to this many rows the reverse pass starts from the N x N slopes of the forward pass; beyond, they are computed again by blocks.
const KEPT: usize = 1024;

/// # Hyperspherical energy
impl Tensor {
    /// The sum over ordered pairs of rows of the energy of their cosine (see [`PairEnergy`]), one for each matrix
    /// of a batch of directions: \[B, N, d\] to \[B\]. In half-space the points are {u, -u}. Rows are taken to
    /// have length 1 (or a little less, if they were normalised with an epsilon).
    ///
    /// Memory is O(B N^2) up to 1,024 rows, and O(N) times a block beyond.
    ///
    /// ```
    /// use autograd::{PairEnergy, Tensor};
    ///
    /// // Two orthogonal rows are at distance sqrt 2: 1 / 2 each way.
    /// let u = Tensor::from([[[1.0, 0.0], [0.0, 1.0]]]);
    /// let form = PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: false, floor: 1e-12, still: 1e-12 };
    /// assert_eq!(u.pair_energy(form).to_vec::<f64>(), [1.0]);
    /// ```
    ///
    /// # Panics
    /// If there are not three axes, s or the offset is negative or not finite, the floor is not above 0, or `still` is below it.
    #[track_caller]
    pub fn pair_energy(&self, form: PairEnergy) -> Tensor {
        self.pair_sums(form, None)
    }

    /// [`Tensor::pair_energy`] of rows u = w / sqrt(|w|^2 + eps), told what each lacks to length 1: the constants
    /// `lack` = 1 - |u|^2 = eps / (|w|^2 + eps), \[B, N\]. Nearly coinciding rows keep all their digits then,
    /// however little it is.
    ///
    /// # Panics
    /// As [`Tensor::pair_energy`], and if `lack` has another shape or type.
    #[track_caller]
    pub fn pair_energy_lacking(&self, form: PairEnergy, lack: &Tensor) -> Tensor {
        check(&form, self);
        assert!(
            **lack.shape() == self.shape()[..2] && lack.dtype() == self.dtype(),
            "pair_energy: expected what the {} rows of {} lack, found {} of {}",
            self.shape(),
            self.dtype(),
            lack.shape(),
            lack.dtype()
        );
        self.pair_sums(form, Some(lack.detach()))
    }

    #[track_caller]
    fn pair_sums(&self, form: PairEnergy, lack: Option<Tensor>) -> Tensor {
        check(&form, self);
        let [n, d] = [self.shape()[1], self.shape()[2]];
        let keep = if !self.is_tracked() || n > KEPT {
            Keep::Nothing
        } else if d < n {
            Keep::Gradient
        } else {
            Keep::Slopes
        };
        fused(PairSums { form, lack, keep }, &[self])
    }

    /// [`Tensor::pair_energy`] in plain operations, with its N x N matrices: what the gradients of its gradients
    /// differentiate, and what its kernels are held against.
    ///
    /// Cosines lose digits where rows nearly coincide (2e-8 relative at an angle of 1e-4 in f64), which the
    /// kernels do not.
    ///
    /// # Panics
    /// As [`Tensor::pair_energy`].
    #[track_caller]
    pub fn pair_energy_definition(&self, form: PairEnergy) -> Tensor {
        check(&form, self);
        definition(&form, self)
    }
}

#[track_caller]
fn check(form: &PairEnergy, u: &Tensor) {
    assert!(u.rank() == 3, "pair_energy: expected directions of shape [B, N, d], found {}", u.shape());
    let PairEnergy { s, offset, floor, still, .. } = *form;
    assert!(s >= 0.0 && s.is_finite(), "pair_energy: s = {s} must be finite and at least 0");
    assert!(
        offset >= 0.0 && offset.is_finite(),
        "pair_energy: offset = {offset} must be finite and at least 0"
    );
    assert!(floor > 0.0 && floor.is_finite(), "pair_energy: floor = {floor} must be finite and above 0");
    assert!(still >= floor, "pair_energy: still = {still} must be at least the floor, {floor}");
}

#[derive(Debug)]
struct PairSums {
    form: PairEnergy,
    /// What rows lack to length 1, \[B, N\].
    lack: Option<Tensor>,
    keep: Keep,
}

/// What the reverse pass finds. The slopes f'(c_ij) are n x n, the gradient that follows from them n x d: the smaller
/// one is kept.
#[derive(Clone, Copy, Debug)]
enum Keep {
    Nothing,
    Slopes,
    Gradient,
}

impl Fused for PairSums {
    /// The slopes f'(c_ij), \[B, N, N\], or the gradients, \[B, N, d\].
    type Kept = Option<Tensor>;
    const NAME: &'static str = "pair_energy";

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

impl PairSums {
    fn points<'a, T: Scalar>(&'a self, u: &'a Tensor) -> Points<'a, T> {
        let lack = self.lack.as_ref().map(Tensor::slice::<T>);
        Points { u: u.slice::<T>(), lack, n: u.shape()[1], d: u.shape()[2] }
    }

    fn forward_as<T: Scalar>(&self, u: &Tensor) -> (Tensor, Option<Tensor>) {
        let points = self.points::<T>(u);
        let (batch, n) = (u.shape()[0], points.n);
        let mut sums = vec![0.0; batch];
        let kept = match self.keep {
            Keep::Nothing => {
                self.form.forward_batch(points, None, &mut sums);
                None
            }
            Keep::Slopes => Some(Tensor::build([batch, n, n].into(), |slopes| {
                self.form.forward_batch(points, Some(slopes), &mut sums);
            })),
            Keep::Gradient => Some(Tensor::build(*u.shape(), |du| {
                self.form.forward_batch_with_gradients(points, du, &mut sums);
            })),
        };
        (Tensor::from_fn([batch], T::DTYPE, |b| sums[b]), kept)
    }

    fn backward_as<T: Scalar>(&self, u: &Tensor, kept: Option<&Tensor>, g: &Tensor) -> Tensor {
        if let (Keep::Gradient, Some(du)) = (self.keep, kept) {
            return du * g.reshape([u.shape()[0], 1, 1]);
        }
        let slopes = kept.map(Tensor::slice::<T>);
        Tensor::build(*u.shape(), |du| {
            self.form.backward_batch(slopes, self.points::<T>(u), g.slice::<T>(), du);
        })
    }
}

fn definition(form: &PairEnergy, u: &Tensor) -> Tensor {
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

/// f of every cosine. Up to `still` and, for angles, at opposite points, it is a constant: what decides is a mask
/// outside the graph, and the masked elements are moved to c = 0, where all derivatives are moderate.
fn pair(form: &PairEnergy, c: &Tensor) -> Tensor {
    let value = c.detach();
    let (live, still) = if form.angular {
        let epsilon = if c.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let sine2 = (1.0 - &value) * (1.0 + &value);
        // A cosine that is 1 or -1 up to rounding is that: arccos would make half its digits of the difference.
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
                list.push(Sample::new("pair_energy", case, [Input::normal([2, 3, 4])], move |x| {
                    x[0].reshape([6, 4]).normalize_rows(0.1).reshape([2, 3, 4]).pair_energy(form)
                }));
            }
        }
    }
    // More rows than dimensions.
    for half_space in [false, true] {
        let form = PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space, floor: 1e-12, still: 1e-12 };
        let case = if half_space { "5 rows in the plane, half-space" } else { "5 rows in the plane" };
        list.push(Sample::new("pair_energy", case, [Input::normal([2, 5, 2])], move |x| {
            x[0].reshape([10, 2]).normalize_rows(0.5).reshape([2, 5, 2]).pair_energy(form)
        }));
    }
    // Two rows of three nearly coincide, and what they lack is told.
    for (angular, half_space) in [(false, false), (false, true), (true, false), (true, true)] {
        let form = PairEnergy { s: 1.0, angular, offset: 0.0, half_space, floor: 1e-12, still: 1e-12 };
        let case = format!(
            "told what rows lack, {}, {}",
            if angular { "angle" } else { "chord" },
            if half_space { "half-space" } else { "full space" }
        );
        list.push(Sample::new("pair_energy", case, [Input::normal([3, 4])], move |x| {
            let eps = 1e-2;
            let near = Tensor::from([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.1]]);
            let w = near.to_dtype(x[0].dtype()).matmul(&x[0]);
            let norm = w.detach().norm(1);
            let lack = eps / (&norm * &norm + eps);
            w.normalize_rows(eps).unsqueeze(0).pair_energy_lacking(form, &lack.unsqueeze(0))
        }));
    }
    let form =
        PairEnergy { s: 2.0, angular: false, offset: 0.0, half_space: true, floor: 1e-12, still: 1e-12 };
    for (case, dims) in [("no matrix", [0, 3, 2]), ("no row", [2, 0, 2]), ("one row", [2, 1, 3])] {
        list.push(Sample::new("pair_energy", case, [Input::normal(dims)], move |x| {
            let [b, n, d] = dims;
            x[0].reshape([b * n, d]).normalize_rows(0.1).reshape(dims).pair_energy(form)
        }));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coinciding_rows_have_the_energy_of_the_floor_and_no_gradient() {
        let form =
            PairEnergy { s: 1.0, angular: false, offset: 0.0, half_space: false, floor: 1e-4, still: 1e-4 };
        let u = Tensor::from([[[0.6, 0.8], [0.6, 0.8]]]).requires_grad();
        let e = u.pair_energy(form).sum(..);
        assert!((e.item() - 2.0 * 100.0).abs() < 1e-9, "{}", e.item());
        assert_eq!(e.backward()[&u].to_vec::<f64>(), [0.0; 4]);
    }

    #[test]
    #[should_panic(expected = "pair_energy: expected directions of shape [B, N, d], found [2, 3]")]
    fn directions_come_in_batches() {
        let form =
            PairEnergy { s: 1.0, angular: false, offset: 0.0, half_space: false, floor: 1e-4, still: 1e-4 };
        Tensor::zeros([2, 3], DType::F64).pair_energy(form);
    }
}
