//! Products with W W', which update projected neurons.

use autograd::{DType, Tensor, keep};

/// The Gram matrix of neurons, W W' = size V V' size, where V is W scaled so that nothing overflows.
#[derive(Clone, Debug)]
pub(crate) struct Gram {
    /// V, N x d.
    v: Tensor,
    /// The scales, N x 1, constants: powers of two near the neurons' lengths if these are very small or large, else 1.
    size: Tensor,
    /// V V', N x N, if it is formed.
    product: Option<Tensor>,
}

impl Gram {
    /// The Gram matrix of rows (N x d), which is not formed: a product with it takes two products with V.
    pub(crate) fn implied(rows: &Tensor) -> Gram {
        let norm = rows.detach().norm(keep(1));
        let exponents: Vec<f64> = norm.to_vec::<f64>().iter().map(|norm| norm.log2().floor()).collect();
        let (shape, dtype) = (norm.shape(), rows.dtype());
        // Ordinary lengths, whose squares are far from overflow and underflow, are not scaled.
        if exponents.iter().all(|e| e.abs() <= 20.0) {
            return Gram { v: rows.clone(), size: Tensor::ones(shape, dtype), product: None };
        }
        // A row of zeros gets the smallest scale.
        let most = if dtype == DType::F64 { 1000.0 } else { 120.0 };
        let size = Tensor::from_fn(shape, dtype, |i| exponents[i].clamp(-most, most).exp2());
        Gram { v: rows / &size, size, product: None }
    }

    /// The Gram matrix of rows (N x d), formed.
    pub(crate) fn formed(rows: &Tensor) -> Gram {
        let implied = Gram::implied(rows);
        Gram { product: Some(implied.v.gram()), ..implied }
    }

    /// W W' x, for x N x k.
    pub(crate) fn times(&self, x: &Tensor) -> Tensor {
        let x = x * &self.size;
        let product = match &self.product {
            Some(product) => product.matmul(&x),
            None => self.v.matmul(&self.v.matmul_tn(&x)),
        };
        product * &self.size
    }

    /// w_i . w_j / (n_i n_j) with n = sqrt(|w|^2 + eps), N x N.
    pub(crate) fn cosines(&self, eps: f64) -> Tensor {
        let n = self.size.shape()[0];
        let formed = self.product.clone();
        let product = formed.unwrap_or_else(|| self.v.gram());
        let root = eps.sqrt() / self.size.reshape([n]);
        let square = product.diagonal(0) + &root * &root;
        // Rows of zeros without eps: their cosines are 0.
        let zero = 1.0 - square.detach().step();
        let inverse = (square + zero).rsqrt();
        product * inverse.reshape([n, 1]) * inverse.reshape([1, n])
    }

    pub(crate) fn detach(&self) -> Gram {
        let product = self.product.as_ref().map(Tensor::detach);
        Gram { v: self.v.detach(), size: self.size.clone(), product }
    }
}
