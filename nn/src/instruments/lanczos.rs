//! The largest eigenvalue of a symmetric operator that is given by its products with vectors.

use autograd::{DType, Key, Tensor};

use super::symmetric::eigen;

/// Limits of the iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lanczos {
    /// The largest number of products.
    pub products: usize,
    /// The tolerance of the residual, relative to the eigenvalue.
    pub tolerance: f64,
}

impl Default for Lanczos {
    /// 40 products, a thousandth.
    fn default() -> Lanczos {
        Lanczos { products: 40, tolerance: 1e-3 }
    }
}

/// The largest eigenvalue as computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Largest {
    /// The eigenvalue, from below.
    pub value: f64,
    /// The residual |A x - value x| of the unit eigenvector x: an eigenvalue lies within this distance of `value`.
    pub residual: f64,
    /// The number of products computed.
    pub products: usize,
}

impl Lanczos {
    /// The largest (not the absolutely largest) eigenvalue of a symmetric operator on vectors of `n` numbers, by
    /// Lanczos's method with full reorthogonalisation (Lanczos 1950; Golub and Van Loan, Matrix Computations, section
    /// 10.1 to 10.3): `product` gives A v for v of shape \[n\]. The start vector is drawn from `key`. Stores one vector
    /// per product.
    ///
    /// ```
    /// use autograd::{DType, Key, Tensor};
    /// use nn::instruments::Lanczos;
    /// let d = Tensor::from([1.0, -7.0, 5.0]);
    /// let found = Lanczos::default().largest(3, DType::F64, Key::new(0), |v| &d * v);
    /// assert!((found.value - 5.0).abs() < 1e-12);
    /// ```
    ///
    /// # Panics
    /// If `n` or the number of products is 0, or a product has another shape.
    pub fn largest(
        &self,
        n: usize,
        dtype: DType,
        key: Key,
        mut product: impl FnMut(&Tensor) -> Tensor,
    ) -> Largest {
        assert!(
            n > 0 && self.products > 0,
            "Lanczos: {} products with vectors of {n} numbers",
            self.products
        );
        let start = Tensor::normal([n], dtype, key);
        let mut basis: Vec<Tensor> = vec![&start * (1.0 / length(&start))];
        // The diagonal of the operator in the basis, and the off-diagonal.
        let (mut alpha, mut beta): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        loop {
            let q = basis.last().expect("there is a first vector");
            let mut w = product(q);
            assert!(w.shape() == q.shape(), "Lanczos: a product has shape {}, not {}", w.shape(), q.shape());
            alpha.push(dot(&w, q));
            // One pass leaves rounding errors in proportion to what was subtracted; two passes are enough.
            for _ in 0..2 {
                for q in &basis {
                    w = &w - &(q * dot(&w, q));
                }
            }
            let left = length(&w);
            let k = alpha.len();
            let best = eigen(&tridiagonal(&alpha, &beta)).remove(0);
            let residual = left * best.vector[k - 1].abs();
            let scale = alpha.iter().chain(&beta).fold(0.0f64, |m, v| m.max(v.abs()));
            // If only rounding errors are left, the subspace is invariant.
            let closed = left <= scale * rounding(dtype) || k == n;
            let enough = residual <= self.tolerance * best.value.abs();
            if closed || enough || k == self.products || !residual.is_finite() {
                let residual = if k == n { residual.min(scale * rounding(dtype)) } else { residual };
                return Largest { value: best.value, residual, products: k };
            }
            beta.push(left);
            basis.push(&w * (1.0 / left));
        }
    }
}

fn tridiagonal(alpha: &[f64], beta: &[f64]) -> Vec<Vec<f64>> {
    let entry = |i: usize, j: usize| match i.abs_diff(j) {
        0 => alpha[i],
        1 => beta[i.min(j)],
        _ => 0.0,
    };
    (0..alpha.len()).map(|i| (0..alpha.len()).map(|j| entry(i, j)).collect()).collect()
}

fn rounding(dtype: DType) -> f64 {
    10.0 * if dtype == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON }
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    (a * b).sum(..).item()
}

fn length(a: &Tensor) -> f64 {
    dot(a, a).sqrt()
}
