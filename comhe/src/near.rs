//! Slopes of neurons that nearly coincide, in full precision.
//!
//! At angle a the slopes of two such neurons are large, s, and opposite. The gradient with respect to a projection P is
//! a sum over neurons, (dE/dY)' W, in which they cancel up to s a b, where the neurons themselves are at angle b. The
//! product of slopes and directions that is the kernels' gradient rounds each of the two separately and has an error of
//! e s, a relative error of e / (a b). Differentiated through their difference u_i - u_j the slopes are exactly
//! opposite, and the relative error is e / b.
//!
//! So the pairs whose cosine is near 1 (or -1) are computed separately, by x = 2 - 2c = |u_i - u_j|^2 + the deficits of
//! both from length 1, eps / (|y|^2 + eps), which depend on y, too. These are plain operations, differentiable to any
//! order. In single precision there are too few digits for this to help.

use autograd::{DType, Index, Tensor, keep};

use crate::energy::Energy;
use crate::error::Error;
use crate::pair_energy::PairEnergy;

/// The distance of the cosine from 1 that defines a near pair: an angle of 0.044.
const NEAR: f64 = 1.0 / 1024.0;

impl Energy {
    /// The energy of projected neurons, \[N, k\], for gradients that sum over neurons.
    pub(crate) fn of_projected_in_full(&self, y: &Tensor) -> Result<Tensor, Error> {
        if y.dtype() == DType::F32 || y.shape()[0] < 2 {
            return self.of_projected(y);
        }
        self.check()?;
        let u = self.directions(&y.unsqueeze(0), true)?.reshape(y.shape());
        let (near, far) = self.pairs_apart(&u.detach());
        if near.is_empty() {
            return self.of_projected(y);
        }
        let form = self.checked_form(y.dtype(), y.shape()[0])?;
        let lack = lacking(y, self.eps);
        let sum = near_pairs(&form, &u, &lack, &near) + far_pairs(&form, &u, &far);
        let sum = if self.half_space { sum * 4.0 + antipodes(&form, &lack) } else { sum * 2.0 };
        Ok(self.finish(sum, y.shape()[0]))
    }

    /// The pairs i < j of directions that are near, and the others.
    fn pairs_apart(&self, u: &Tensor) -> (Vec<[usize; 2]>, Vec<[usize; 2]>) {
        let opposite = self.half_space || self.angular;
        let (n, cosines) = (u.shape()[0], u.matmul_nt(u));
        let cosines = cosines.data::<f64>();
        let is_near = |&[i, j]: &[usize; 2]| {
            let c = cosines[i * n + j];
            (if opposite { c.abs() } else { c }) > 1.0 - NEAR
        };
        (0..n).flat_map(|i| (i + 1..n).map(move |j| [i, j])).partition(is_near)
    }
}

/// eps / (|y|^2 + eps) of each row, scaled so that no square overflows.
fn lacking(y: &Tensor, eps: f64) -> Tensor {
    let n = y.shape()[0];
    let size = y.detach().abs().max(keep(1)).clamp(eps.sqrt().max(f64::MIN_POSITIVE), f64::INFINITY);
    let (v, root) = (y / &size, (eps.sqrt() / &size).reshape([n]));
    let part = &root * &root;
    &part / ((&v * &v).sum(1) + &part)
}

/// The sum of the energies of pairs, from their chords.
fn near_pairs(form: &PairEnergy, u: &Tensor, lack: &Tensor, pairs: &[[usize; 2]]) -> Tensor {
    let side = |s: usize| Index::new(&pairs.iter().map(|p| p[s]).collect::<Vec<_>>(), [pairs.len()]);
    let (i, j) = (side(0), side(1));
    let (a, b) = (u.index_select(0, &i), u.index_select(0, &j));
    let both = lack.take(&i) + lack.take(&j);
    let square = |chord: Tensor| {
        let chord = (&chord * &chord).sum(1);
        // Chords that consist of rounding errors: the points coincide, and the direction of the gradient is undefined.
        let known = (chord.detach() - 64.0 * f64::EPSILON * f64::EPSILON).step();
        chord * known + &both
    };
    both_signs(form, &square(&a - &b), &square(&a + &b))
}

/// The sum of the energies of pairs, from their cosines.
fn far_pairs(form: &PairEnergy, u: &Tensor, pairs: &[[usize; 2]]) -> Tensor {
    let n = u.shape()[0];
    let places: Vec<usize> = pairs.iter().map(|&[i, j]| i * n + j).collect();
    let c = u.matmul_nt(u).take(&Index::new(&places, [places.len()]));
    both_signs(form, &(2.0 - 2.0 * &c), &(2.0 + 2.0 * &c))
}

/// f(c), in half-space f(c) + f(-c), summed over pairs with x = 2 - 2c and y = 2 + 2c.
fn both_signs(form: &PairEnergy, x: &Tensor, y: &Tensor) -> Tensor {
    let sum = of_pairs(form, x, y).sum(..);
    if form.half_space { sum + of_pairs(form, y, x).sum(..) } else { sum }
}

/// The energies of neurons and their antipodes, in both orders, for which 2 + 2c = 2 (1 - |u|^2).
fn antipodes(form: &PairEnergy, lack: &Tensor) -> Tensor {
    // The angle of a point of length exactly 1 is pi and has no slope.
    let known = lack.detach().step();
    let lack = if form.angular { lack * &known + lack.detach() * (1.0 - known) } else { lack.clone() };
    of_pairs(form, &(4.0 - 2.0 * &lack), &(2.0 * &lack)).sum(..) * 2.0
}

/// f of pairs with x = 2 - 2c and y = 2 + 2c. Up to `still`, and of angles that are pi, it is a constant.
fn of_pairs(form: &PairEnergy, x: &Tensor, y: &Tensor) -> Tensor {
    if !form.angular {
        let live = (x.detach() - form.still).step();
        let x = x * &live + x.detach().clamp(form.floor, f64::INFINITY) * (1.0 - live);
        return if form.s == 0.0 { x.log() * -0.5 } else { x.powf(-0.5 * form.s) };
    }
    let angle = |x: &Tensor, y: &Tensor| x.sqrt().atan2(&y.sqrt()) * 2.0;
    let energy = |t: Tensor| if form.s == 0.0 { -t.log() } else { t.powf(-form.s) };
    let value = angle(&x.detach(), &y.detach());
    let live = (&value - form.still).step() * y.detach().step();
    // Constants are evaluated at another point, where all derivatives are moderate.
    let elsewhere = 1.0 - &live;
    let moving = energy(angle(&(x * &live + &elsewhere), &(y * &live + &elsewhere)) + form.offset);
    moving * &live + energy(value.clamp(form.floor, f64::INFINITY) + form.offset) * elsewhere
}
