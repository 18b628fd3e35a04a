//! Rows divided by their length: the directions of a layer's neurons.

use kernels::norm;

use crate::axis::keep;
use crate::dtype::dispatch;
use crate::kinds::fused::{Fused, fused_keeping};
use crate::ops::softmax::largest;
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

/// w / sqrt(|w|^2 + eps) of each row.
#[derive(Clone, Copy, Debug)]
struct UnitRows {
    eps: f64,
}

impl Fused for UnitRows {
    /// The directions u and the lengths sqrt(|w|^2 + eps).
    type Kept = (Tensor, Tensor);
    const NAME: &'static str = "normalize_rows";

    /// With every row divided by a constant of about its own size, so that no square underflows or overflows.
    fn definition(&self, x: &[Tensor]) -> Tensor {
        let w = &x[0];
        let root = Tensor::scalar(self.eps.sqrt(), w.dtype());
        let size = largest(&w.value().abs()).maximum(&root);
        // Zero rows without epsilon: divided by 1 and multiplied by 0.
        let alive = size.step();
        let size = size + (1.0 - &alive);
        let (v, root) = (w / &size, root / &size);
        let n = ((&v * &v).sum(keep(-1)) + &root * &root + (1.0 - &alive)).sqrt();
        v / n * alive
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, Self::Kept) {
        let w = &x[0];
        let len = w.shape()[w.rank() - 1];
        let rows = w.shape()[..w.rank() - 1].iter().product();
        dispatch!(w.dtype(), T => {
            let mut n = vec![<T as kernels::Element>::ZERO; rows];
            let u = Tensor::build::<T>(*w.shape(), |u| {
                norm::unit_rows_forward(w.slice(), len, self.eps, u, &mut n);
            });
            (u.clone(), (u, Tensor::new(&n, [rows])))
        })
    }

    fn backward(&self, _: &[Tensor], kept: &Self::Kept, g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        let (u, n) = kept;
        let len = u.shape()[u.rank() - 1];
        vec![Some(dispatch!(u.dtype(), T => Tensor::build::<T>(*u.shape(), |dw| {
            norm::unit_rows_backward(u.slice(), len, n.slice(), g.slice(), dw);
        })))]
    }
}

impl Tensor {
    /// Each row (along the last axis of [.., d]) divided by its length: u = w / sqrt(|w|^2 + eps).
    ///
    /// A row of zeros with `eps` = 0 has no direction: its u is 0, and so are all its derivatives. Rows whose squares
    /// would underflow or overflow are normalised correctly.
    ///
    /// # Panics
    /// If the tensor has no axis, or `eps` is negative.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let w = Tensor::from([[3.0, 4.0], [0.0, 0.0]]);
    /// assert_eq!(w.normalize_rows(0.0).to_vec::<f64>(), [0.6, 0.8, 0.0, 0.0]);
    /// ```
    #[track_caller]
    pub fn normalize_rows(&self, eps: f64) -> Tensor {
        self.normalize_rows_with_lengths(eps).0
    }

    /// [`Tensor::normalize_rows`], and the lengths sqrt(|w|^2 + eps) that the rows were divided by, constants: one per
    /// row, in row-major order of all axes but the last.
    ///
    /// # Panics
    /// As [`Tensor::normalize_rows`].
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let (u, lengths) = Tensor::from([[3.0, 4.0], [0.0, 0.0]]).normalize_rows_with_lengths(0.0);
    /// assert_eq!((u.to_vec::<f64>(), lengths.to_vec::<f64>()), (vec![0.6, 0.8, 0.0, 0.0], vec![5.0, 0.0]));
    /// ```
    #[track_caller]
    pub fn normalize_rows_with_lengths(&self, eps: f64) -> (Tensor, Tensor) {
        assert!(self.rank() > 0, "normalize_rows: a scalar has no rows; [.., d] is needed");
        assert!(eps >= 0.0, "normalize_rows: eps = {eps} must not be negative");
        let (u, kept) = fused_keeping(UnitRows { eps }, &[self]);
        (u, kept.1.clone())
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let sample = |case: &str, dims: &[usize], eps: f64| {
        Sample::new("normalize_rows", case, [Input::normal(dims)], move |x| x[0].normalize_rows(eps))
    };
    vec![
        sample("eps 0", &[3, 4], 0.0),
        sample("eps 0.01", &[3, 4], 0.01),
        sample("long rows", &[2, 70], 1e-4),
        sample("one element", &[2, 1], 0.1),
        sample("batch", &[2, 2, 3], 1e-4),
        sample("vector", &[3], 0.1),
        sample("no rows", &[0, 3], 1e-4),
        sample("no columns", &[3, 0], 1e-4),
        Sample::new("normalize_rows", "cosines", [Input::normal([3, 4])], |x| {
            let u = x[0].normalize_rows(0.0);
            u.matmul_nt(&u)
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    /// Value, gradient and second derivative of the first component's sum.
    fn orders(w: &Tensor, eps: f64) -> [Vec<f64>; 3] {
        let w = w.requires_grad();
        let u = w.normalize_rows(eps);
        let weight = Tensor::from_fn(w.shape(), w.dtype(), |i| 1.0 + i as f64);
        let d = (&u * &weight).sum(..).recorded().grad(&[&w]).remove(0);
        let dd = (&d * &weight).sum(..).grad(&[&w]).remove(0);
        [u.to_vec(), d.to_vec(), dd.to_vec()]
    }

    #[test]
    fn a_row_of_zeros_is_finite_at_every_order() {
        let w = Tensor::from([[0.0, 0.0, 0.0], [1.0, 2.0, 2.0]]);
        for order in orders(&w, 0.0) {
            assert_eq!(order[..3], [0.0; 3]);
            assert!(order.iter().all(|v| v.is_finite()));
        }
        // With an epsilon, u = w / sqrt(eps) near 0.
        let [u, d, _] = orders(&w, 0.25);
        assert_eq!((&u[..3], &d[..3]), (&[0.0; 3][..], &[2.0, 4.0, 6.0][..]));
    }

    #[test]
    fn tiny_and_huge_rows_keep_their_direction() {
        for size in [1e-200, 1e-30, 1e30, 1e200] {
            let [u, d, _] = orders(&(Tensor::from([[3.0, 4.0]]) * size), 0.0);
            assert!((u[0] - 0.6).abs() < 1e-15 && (u[1] - 0.8).abs() < 1e-15, "{size}: {u:?}");
            // d = (g - u (u . g)) / |w| with g = (1, 2)
            let want = (1.0 - 0.6 * 2.2) / (5.0 * size);
            assert!((d[0] / want - 1.0).abs() < 1e-12, "{size}: {d:?}, not {want}");
        }
        for size in [1e-25, 1e25] {
            let u = (Tensor::from([[3.0f32, 4.0]]) * size).normalize_rows(0.0).to_vec::<f64>();
            assert!((u[0] - 0.6).abs() < 1e-6 && (u[1] - 0.8).abs() < 1e-6, "{size}: {u:?}");
        }
    }

    #[test]
    #[should_panic(expected = "normalize_rows: a scalar has no rows; [.., d] is needed")]
    fn rows_need_an_axis() {
        let _ = Tensor::from(3.0).normalize_rows(0.0);
    }
}
