//! Energy under random projections (RP-CoMHE).
//!
//!   E(W) = (1/C) sum over c of E_s(P_c W'),   P_c in R^{k x d} random, a constant for the gradient
//!
//! Neurons are projected first and then normalised. Spreading the projected neurons spreads the neurons, since random
//! projections preserve angles approximately, and is easier in dimension k.
//!
//! Source: Lin et al., CVPR 2020, section 3.1. Paper and published code agree (Gaussian, k = 40, C = 20,
//! half-space), except that the paper redraws every certain number of iterations, the code in each, and that entries of P
//! have variance 1/k in the paper and 1 in the code.

use std::collections::HashMap;

use autograd::Tensor;
use nn::{Regulariser, Step, Weight};
use registry::Row;

use crate::energy::{Energy, checked_rows};
use crate::error::Error;
use crate::projection::{self, Projections, check_redraw};
use crate::regulariser::per_layer;
use crate::table::{
    Build, C, DISTRIBUTION, HALF_SPACE, HEAD_WEIGHT, Hidden, K, REDRAW, RegulariserSpec, VARIANCE, WEIGHT,
    below, pairs, sizes,
};

/// The mean over projections of the energy of the projected neurons, for a given P of shape k x d or C x k x d.
///
/// # Errors
/// If the weight or P has a wrong shape, an element is not finite, or a projected row is zero while eps = 0.
pub fn projected_energy(energy: &Energy, w: &Tensor, p: &Tensor) -> Result<Tensor, Error> {
    let rows = checked_rows(w)?;
    let p = projection::explicit(p, rows.shape()[1], w.dtype())?;
    mean_energy(energy, &rows, &p)
}

/// [`projected_energy`] of checked rows under projections C x k x d that were drawn for them.
fn mean_energy(energy: &Energy, rows: &Tensor, p: &Tensor) -> Result<Tensor, Error> {
    energy.check_neurons(rows)?;
    Ok(energy.of_batch(&projection::project(rows, p), true)?.mean(..))
}

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "rp",
    help: "half-space energy under random projections (RP-CoMHE)",
    settings: &[WEIGHT, HEAD_WEIGHT, HALF_SPACE, K, C, REDRAW, DISTRIBUTION, VARIANCE],
    make: RegulariserSpec {
        build: Build::Energy(|options| {
            let (half, projections) = (options.hidden_energy(true), options.projections);
            let regulariser = Box::new(RandomProjection::new(half, projections, options.redraw)?);
            Ok(Hidden { name: "rp", regulariser, small: below(projections.k) })
        }),
        memory: |weight, options| {
            // The matrices, new ones and those of the step before; of each neuron under each the product, sorted by
            // projection, as direction, and the gradient of that.
            let ([n, d], Projections { k, c, .. }) = (sizes(weight), options.projections);
            match options.projects(weight) {
                true => (k * c) as f64 * (2.0 * d + 4.0 * n),
                false => pairs(weight, options),
            }
        },
    },
};

/// The regulariser: draws its projections and keeps them until the next redraw.
///
/// It has no state to save: the projections of a step are a function of the step's number.
#[derive(Clone, Debug)]
pub struct RandomProjection {
    energy: Energy,
    projections: Projections,
    redraw: u64,
    /// By layer: the number of the draw, and P.
    drawn: HashMap<String, (u64, Tensor)>,
}

impl RandomProjection {
    /// Energies under projections that are redrawn every `redraw` steps.
    ///
    /// # Errors
    /// If an option is out of range: k, C and `redraw` are at least 1.
    pub fn new(energy: Energy, projections: Projections, redraw: u64) -> Result<RandomProjection, Error> {
        energy.check()?;
        projections.check()?;
        check_redraw(redraw)?;
        Ok(RandomProjection { energy, projections, redraw, drawn: HashMap::new() })
    }

    /// The projections of a layer at a step.
    fn projections(&self, layer: &Weight, rows: &Tensor, step: Step) -> Result<(u64, Tensor), Error> {
        let draw = step.index / self.redraw;
        match self.drawn.get(&layer.name) {
            Some((number, p)) if *number == draw && p.dtype() == rows.dtype() => Ok((draw, p.clone())),
            _ => {
                let p = self.projections.draw(&layer.name, draw, rows.shape()[1], rows.dtype())?;
                Ok((draw, p))
            }
        }
    }
}

impl Regulariser for RandomProjection {
    fn penalty(&mut self, weights: &[Weight], step: Step) -> Result<Tensor, nn::Error> {
        per_layer(weights, |layer| {
            let rows = checked_rows(&layer.value)?;
            let (draw, p) = self.projections(layer, &rows, step)?;
            self.drawn.insert(layer.name.clone(), (draw, p.clone()));
            mean_energy(&self.energy, &rows, &p)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regulariser::measured;
    use autograd::{DType, Key};

    fn weight() -> Tensor {
        Tensor::normal([6, 12], DType::F64, Key::new(1)).requires_grad()
    }

    #[test]
    fn is_the_mean_of_the_energies_of_the_projected_rows() {
        let w = weight();
        let p = Tensor::normal([3, 4, 12], DType::F64, Key::new(2));
        let energy = Energy { half_space: true, ..Energy::default() };
        let got = projected_energy(&energy, &w, &p).unwrap();
        let mut want = Tensor::from(0.0);
        for c in 0..3 {
            let p = Tensor::new(&p.data::<f64>()[c * 48..(c + 1) * 48], [4, 12]);
            want += energy.definition(&w.matmul_nt(&p)).unwrap() / 3.0;
        }
        assert!((got.item() / want.item() - 1.0).abs() < 1e-14);
        let difference = &got.backward()[&w] - &want.backward()[&w];
        assert!(difference.to_vec::<f64>().iter().all(|d| d.abs() < 1e-14));
    }

    #[test]
    fn identity_and_rotations_change_nothing() {
        let w = weight();
        let energy = Energy { eps: 0.0, ..Energy::default() };
        let want = energy.of(&w).unwrap().item();
        let rotation = Projections { c: 2, ..Projections::frame(12, 0) };
        for p in [Tensor::eye(12, DType::F64), rotation.draw("w", 0, 12, DType::F64).unwrap()] {
            let got = projected_energy(&energy, &w, &p).unwrap().item();
            assert!((got / want - 1.0).abs() < 1e-13);
        }
    }

    #[test]
    fn projections_change_every_few_steps_and_a_restart_finds_them_again() {
        let w = weight();
        let layer = [Weight::new("fc", &w)];
        let new = || {
            RandomProjection::new(Energy::default(), Projections { k: 3, c: 2, ..Projections::default() }, 3)
                .unwrap()
        };
        let mut rp = new();
        let run: Vec<f64> =
            (0..9).map(|i| rp.penalty(&layer, Step { index: i, lr: 0.1 }).unwrap().item()).collect();
        assert!(
            run[0] == run[1] && run[1] == run[2] && run[2] != run[3] && run[3] == run[5] && run[5] != run[6]
        );
        let late = Step { index: 7, lr: 0.1 };
        assert_eq!(new().penalty(&layer, late).unwrap().item(), run[7]);
        assert_eq!(measured(&new(), &layer[0], late).unwrap(), run[7]);
        assert!(RandomProjection::new(Energy::default(), Projections::default(), 0).is_err());
    }

    #[test]
    fn more_dimensions_than_before_are_allowed() {
        let w = weight();
        let layer = [Weight::new("fc", &w)];
        let wide = Projections { k: 40, c: 2, ..Projections::default() };
        let mut rp = RandomProjection::new(Energy::default(), wide, 1).unwrap();
        assert!(rp.penalty(&layer, Step { index: 0, lr: 0.1 }).unwrap().item().is_finite());
    }

    #[test]
    fn a_row_that_the_projection_sends_to_zero_is_named() {
        let w = Tensor::from([[1.0, 0.0], [0.0, 1.0]]);
        let p = Tensor::from([[1.0, 0.0]]);
        let energy = Energy { eps: 0.0, ..Energy::default() };
        let error = projected_energy(&energy, &w, &p).unwrap_err().to_string();
        assert!(error.starts_with("row 1 under projection 0 is zero"), "{error}");
    }
}
