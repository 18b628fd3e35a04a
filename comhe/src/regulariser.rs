//! What a regulariser is: a function of one layer's weight, with state of its own if it needs some.

use autograd::Tensor;

use crate::energy::{Energy, checked_rows};
use crate::error::Error;

/// What a layer does in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A convolution.
    Conv,
    /// A fully connected layer before the last.
    Hidden,
    /// The last layer, whose neurons are the classes.
    Classifier,
}

/// A layer's weight, as a regulariser sees it.
#[derive(Clone, Copy, Debug)]
pub struct LayerWeight<'a> {
    /// The weight's name in the network: unique, and the same in every step and every run.
    pub name: &'a str,
    /// What the layer does.
    pub role: Role,
    /// The weight: N x d, or \[C_out, C_in, kh, kw\].
    pub weight: &'a Tensor,
    /// How many pixels a convolution's kernel moves, down and across; \[1, 1\] for other layers.
    pub stride: [usize; 2],
}

/// Where training is. What a regulariser draws or repeats follows from it alone, so that a resumed run goes on as
/// it would have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// How many updates came before.
    pub index: u64,
    /// The network's present learning rate: the published step size of learned projections.
    pub lr: f64,
}

/// A penalty on a layer's weight.
pub trait Regulariser: Send {
    /// The name it is chosen by.
    fn name(&self) -> &'static str;

    /// The penalty as a scalar that can be differentiated; may change the regulariser's own state (draw a
    /// projection, learn one). Called once a layer and step.
    ///
    /// # Errors
    /// If the weight cannot be regularised: a wrong shape, a zero row, an element that is not finite.
    fn penalty(&mut self, layer: &LayerWeight, step: Step) -> Result<Tensor, Error>;

    /// The penalty's value alone, without graph and without a change of state: for the log.
    ///
    /// # Errors
    /// As [`Regulariser::penalty`].
    fn measure(&self, layer: &LayerWeight, step: Step) -> Result<f64, Error>;

    /// The tensors that a checkpoint must hold to resume, by name; none if the state follows from the step.
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Takes up the state that [`Regulariser::state`] gave.
    ///
    /// # Errors
    /// If a tensor is not part of this regulariser's state.
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        match state.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(Error::option(format!("{name}: the regulariser {} has no state", self.name())))
            }
        }
    }
}

/// Energy without projection, full space or half-space.
impl Regulariser for Energy {
    fn name(&self) -> &'static str {
        if self.half_space { "hs-mhe" } else { "mhe" }
    }

    fn penalty(&mut self, layer: &LayerWeight, _: Step) -> Result<Tensor, Error> {
        self.of(layer.weight)
    }

    fn measure(&self, layer: &LayerWeight, _: Step) -> Result<f64, Error> {
        Ok(self.of(&layer.weight.detach())?.item())
    }
}

/// The smallest angle between two neurons in radians, `None` if there are fewer than two. No graph, and memory
/// for a band of rows only.
///
/// # Errors
/// If the weight has a wrong shape or an element that is not finite. A zero row has no angle and is passed over.
pub fn smallest_angle(w: &Tensor) -> Result<Option<f64>, Error> {
    const BAND: usize = 256;
    let rows = checked_rows(&w.detach())?.to_dtype(autograd::DType::F64);
    let (n, d) = (rows.shape()[0], rows.shape()[1]);
    let mut u = Vec::with_capacity(n * d);
    for row in rows.data::<f64>().chunks_exact(d.max(1)) {
        // By the largest element first, so that squares neither overflow nor vanish.
        let largest = row.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        if largest > 0.0 {
            let norm = row.iter().map(|v| (v / largest) * (v / largest)).sum::<f64>().sqrt();
            u.extend(row.iter().map(|v| v / largest / norm));
        }
    }
    let n = u.len() / d.max(1);
    let all = Tensor::new(&u, [n, d]);
    let (mut largest, mut smallest) = (f64::NEG_INFINITY, None::<f64>);
    for start in (0..n).step_by(BAND) {
        let band = BAND.min(n - start);
        let cosines = Tensor::new(&u[start * d..(start + band) * d], [band, d]).matmul_nt(&all);
        for (i, row) in cosines.data::<f64>().chunks_exact(n).enumerate() {
            for (j, &c) in row.iter().enumerate().skip(start + i + 1) {
                // Cosines order the angles but for their last digits; the angle itself comes from the chords.
                if c >= largest - 1e-14 {
                    largest = largest.max(c);
                    let pair = |i: usize| u[i * d..(i + 1) * d].iter();
                    let chord = |sign: f64| {
                        pair(start + i).zip(pair(j)).map(|(u, v)| (u + sign * v).powi(2)).sum::<f64>().sqrt()
                    };
                    let angle = 2.0 * chord(-1.0).atan2(chord(1.0));
                    smallest = Some(smallest.map_or(angle, |a| a.min(angle)));
                }
            }
        }
    }
    Ok(smallest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::{DType, Key};

    #[test]
    fn the_smallest_angle_is_found_to_its_last_digits() {
        let angle = 1e-7f64;
        let mut w = Tensor::normal([300, 4], DType::F64, Key::new(3)).to_vec::<f64>();
        w[4 * 290..4 * 291].copy_from_slice(&[5.0, 0.0, 0.0, 0.0]);
        w[4 * 7..4 * 8].copy_from_slice(&[1e200 * angle.cos(), 1e200 * angle.sin(), 0.0, 0.0]);
        let found = smallest_angle(&Tensor::new(&w, [300, 4])).unwrap().unwrap();
        assert!((found / angle - 1.0).abs() < 1e-8, "{found}");
        assert_eq!(smallest_angle(&Tensor::from([[1.0, 2.0]])).unwrap(), None);
        assert_eq!(smallest_angle(&Tensor::zeros([0, 3], DType::F32)).unwrap(), None);
        let right = smallest_angle(&Tensor::from([[0.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])).unwrap().unwrap();
        assert_eq!(right, std::f64::consts::FRAC_PI_2);
        let opposite = smallest_angle(&Tensor::from([[0.0f32, 2.0], [0.0, -1.0]])).unwrap().unwrap();
        assert_eq!(opposite, std::f64::consts::PI);
    }
}
