//! The smallest angle between two neurons.

use autograd::Tensor;

use crate::energy::checked_rows;
use crate::error::Error;

/// The smallest angle between two neurons in radians, `None` if there are fewer than two. Records no graph, and needs
/// memory for a band of rows only.
///
/// # Errors
/// If the weight has a wrong shape or an element that is not finite. A zero row has no angle and is skipped.
pub fn smallest_angle(w: &Tensor) -> Result<Option<f64>, Error> {
    const BAND: usize = 256;
    let rows = checked_rows(&w.detach())?.to_dtype(autograd::DType::F64);
    let (n, d) = (rows.shape()[0], rows.shape()[1]);
    let mut u = Vec::with_capacity(n * d);
    for row in rows.data::<f64>().chunks_exact(d.max(1)) {
        // Divided by the largest element first, so that squares neither overflow nor underflow.
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
                // Cosines order the angles up to rounding; the angle itself is computed from the chords.
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
