//! Energy after projection from both sides (B-CoMHE), form (i).
//!
//! With the neurons as columns of M = W' (d x N):
//!
//!   Y1 = P1 M (r x N),   Y2 = M P2 (d x r),   E(W) = E_s(columns of Y1) + E_s(columns of Y2)
//!
//! The columns of Y1 are the neurons in fewer dimensions, those of Y2 fewer neurons, each a random combination. P1 (r x d)
//! and P2 (N x r) are random constants; C draws of the pair are averaged. Form (ii), where Y1 and Y2 are the
//! parameters, is in `low_rank.rs`.
//!
//! Source: Lin et al., CVPR 2020, section 3.5; there is no published code for it. The paper has one pair and no
//! value for r.

use std::collections::HashMap;

use autograd::Tensor;
use nn::{Regulariser, Step, Weight};
use registry::Row;

use crate::energy::{Energy, checked_rows};
use crate::error::Error;
use crate::projection::{Projections, check_redraw, explicit};
use crate::random::projected_energy;
use crate::regulariser::per_layer;
use crate::table::{
    Build, C, DISTRIBUTION, HALF_SPACE, HEAD_WEIGHT, Hidden, K, REDRAW, RegulariserSpec, VARIANCE, WEIGHT,
    below, pairs, sizes,
};

/// The mean over pairs of projections of the energies of both sides, for P1 of shape r x d or C x r x d and P2 of shape
/// N x r or C x N x r. Without neurons it is 0. The combinations of a single neuron all lie on its line: they are r
/// points that coincide up to eps, and have the energy of such points. Y1 is then a single point and has energy 0.
///
/// # Errors
/// If a shape does not fit, an element is not finite, or a projected row is zero while eps = 0.
pub fn bilateral_energy(energy: &Energy, w: &Tensor, p1: &Tensor, p2: &Tensor) -> Result<Tensor, Error> {
    let rows = checked_rows(w)?;
    let [n, d] = [rows.shape()[0], rows.shape()[1]];
    if n == 0 {
        // Without neurons there are no combinations.
        return energy.of(&rows);
    }
    let p1 = explicit(p1, d, w.dtype())?;
    let [c, r] = [p1.shape()[0], p1.shape()[1]];
    let found = *p2.shape();
    let fits = (p2.rank() == 3 && *found == [c, n, r]) || (p2.rank() == 2 && c == 1 && *found == [n, r]);
    if !fits {
        let single = if c == 1 { format!("[{n}, {r}] or ") } else { String::new() };
        return Err(Error::shape(format!(
            "expected a second projection of shape {single}[{c}, {n}, {r}], to go with the first of {}, found {found}",
            p1.shape()
        )));
    }
    let p2 = explicit(&p2.reshape([c, n, r]).transpose(1, 2), n, w.dtype())?;
    both_sides(energy, &rows, &p1, &p2)
}

/// For P1 \[C, r, d\] and the transpose of P2, \[C, r, N\].
fn both_sides(energy: &Energy, rows: &Tensor, p1: &Tensor, p2: &Tensor) -> Result<Tensor, Error> {
    energy.check_neurons(rows)?;
    let [c, r, n] = [p2.shape()[0], p2.shape()[1], p2.shape()[2]];
    let combined = p2.detach().reshape([c * r, n]).matmul(rows).reshape([c, r, rows.shape()[1]]);
    let fewer_neurons = energy.of_batch(&combined, true)?.mean(..);
    Ok(projected_energy(energy, rows, p1)? + fewer_neurons)
}

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "bilateral",
    help: "half-space energy of fewer dimensions and of fewer neurons (B-CoMHE)",
    settings: &[WEIGHT, HEAD_WEIGHT, HALF_SPACE, K, C, REDRAW, DISTRIBUTION, VARIANCE],
    make: RegulariserSpec {
        build: Build::Energy(|options| {
            let (half, projections) = (options.hidden_energy(true), options.projections);
            let regulariser = Box::new(Bilateral::new(half, projections, options.redraw)?);
            Ok(Hidden { name: "bilateral", regulariser, small: below(projections.k) })
        }),
        memory: |weight, options| {
            // The same as for random projections; those of the set of neurons are identical.
            let ([n, d], Projections { k, c, .. }) = (sizes(weight), options.projections);
            match options.projects(weight) {
                true => (k * c) as f64 * 6.0 * (d + n),
                false => pairs(weight, options),
            }
        },
    },
};

/// The regulariser B-CoMHE. It has no state to save: its draws are a function of the step's number.
#[derive(Clone, Debug)]
pub struct Bilateral {
    energy: Energy,
    projections: Projections,
    redraw: u64,
    /// By layer: the number of the draw, P1 and P2'.
    drawn: HashMap<String, (u64, Tensor, Tensor)>,
}

impl Bilateral {
    /// Energies under pairs of projections that are redrawn every `redraw` steps; r is the `k` of the projections.
    ///
    /// # Errors
    /// If an option is out of range: r, C and `redraw` are at least 1.
    pub fn new(energy: Energy, projections: Projections, redraw: u64) -> Result<Bilateral, Error> {
        energy.check()?;
        projections.check()?;
        check_redraw(redraw)?;
        Ok(Bilateral { energy, projections, redraw, drawn: HashMap::new() })
    }

    /// Draw number `draw` of P1 \[C, r, d\] and P2 \[C, N, r\] for a layer.
    ///
    /// # Errors
    /// If the distribution is orthonormal and r exceeds N or d.
    pub fn draw(
        projections: &Projections,
        layer: &str,
        draw: u64,
        rows: &Tensor,
    ) -> Result<(Tensor, Tensor), Error> {
        let [n, d] = [rows.shape()[0], rows.shape()[1]];
        let p1 = projections.draw(&format!("{layer}/left"), draw, d, rows.dtype())?;
        let p2 = projections.draw(&format!("{layer}/right"), draw, n, rows.dtype())?;
        Ok((p1, p2.transpose(1, 2)))
    }

    /// The pair of a layer at a step, and its number.
    fn pair(&self, layer: &str, rows: &Tensor, step: Step) -> Result<(u64, Tensor, Tensor), Error> {
        let draw = step.index / self.redraw;
        match self.drawn.get(layer) {
            Some((number, p1, p2)) if *number == draw && p1.dtype() == rows.dtype() => {
                Ok((draw, p1.clone(), p2.clone()))
            }
            _ => {
                let (p1, p2) = Bilateral::draw(&self.projections, layer, draw, rows)?;
                Ok((draw, p1, p2.transpose(1, 2)))
            }
        }
    }
}

impl Regulariser for Bilateral {
    fn penalty(&mut self, weights: &[Weight], step: Step) -> Result<Tensor, nn::Error> {
        per_layer(weights, |layer| {
            let rows = checked_rows(&layer.value)?;
            let (draw, p1, p2) = self.pair(&layer.name, &rows, step)?;
            let energy = both_sides(&self.energy, &rows, &p1, &p2)?;
            self.drawn.insert(layer.name.clone(), (draw, p1, p2));
            Ok(energy)
        })
    }
}
