//! Weight initialisation.

use autograd::{DType, Key, Shape, Tensor};

/// Whether fan-in or fan-out sets the variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// The inputs of a neuron: preserves the variance of activations in the forward pass.
    In,
    /// The outputs that depend on an input: preserves the variance of gradients in the reverse pass.
    Out,
}

/// A distribution of initial weights.
///
/// A weight has shape [out, in, kernel...]; its fan-in is in times the kernel's size, its fan-out out times
/// it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with variance 2 / fan, for ReLU (He et al. 2015, arXiv 1502.01852).
    HeNormal(Fan),
    /// Uniform with variance 2 / fan.
    HeUniform(Fan),
    /// Normal with variance 2 / (fan-in + fan-out) (Glorot and Bengio 2010).
    XavierNormal,
    /// Uniform with variance 2 / (fan-in + fan-out).
    XavierUniform,
    /// Normal with variance 1 / fan-in (LeCun et al. 1998).
    LeCunNormal,
    /// Uniform with variance 1 / fan-in.
    LeCunUniform,
    /// A uniformly drawn orthogonal matrix times the gain: orthonormal rows of length fan-in, or columns if
    /// there are more rows (Saxe et al. 2014, arXiv 1312.6120).
    Orthogonal(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform from the first number to the second.
    Uniform(f64, f64),
    /// All elements equal to this constant.
    Constant(f64),
}

impl Init {
    /// Normal with variance 2 / fan-in: the default of the models of this crate.
    pub const HE_NORMAL: Init = Init::HeNormal(Fan::In);
    /// All elements 0.
    pub const ZEROS: Init = Init::Constant(0.0);

    /// A weight of this shape, drawn from `key`. Drawn in f64 and rounded, so that both dtypes have the same initial
    /// weights up to rounding.
    pub fn draw(self, shape: &Shape, dtype: DType, key: Key) -> Tensor {
        let [fan_in, fan_out] = fans(shape);
        let map = |draws: Tensor, offset: f64, factor: f64| {
            let draws = draws.data::<f64>();
            Tensor::from_fn(shape, dtype, |i| offset + factor * draws[i])
        };
        let normal = |variance: f64| map(Tensor::normal(shape, DType::F64, key), 0.0, variance.sqrt());
        let between = |lo: f64, hi: f64| map(Tensor::uniform(shape, DType::F64, key), lo, hi - lo);
        let uniform = |variance: f64| between(-(3.0 * variance).sqrt(), (3.0 * variance).sqrt());
        let fan = |fan: Fan| if fan == Fan::In { fan_in } else { fan_out };
        match self {
            Init::HeNormal(side) => normal(2.0 / fan(side)),
            Init::HeUniform(side) => uniform(2.0 / fan(side)),
            Init::XavierNormal => normal(2.0 / (fan_in + fan_out)),
            Init::XavierUniform => uniform(2.0 / (fan_in + fan_out)),
            Init::LeCunNormal => normal(1.0 / fan_in),
            Init::LeCunUniform => uniform(1.0 / fan_in),
            Init::Orthogonal(gain) => map(orthogonal(shape, key), 0.0, gain),
            Init::Normal(deviation) => normal(deviation * deviation),
            Init::Uniform(lo, hi) => between(lo, hi),
            Init::Constant(value) => Tensor::full(shape, value, dtype),
        }
    }
}

/// Fan-in and fan-out of a weight [out, in, kernel...]; a vector counts as one input.
fn fans(shape: &Shape) -> [f64; 2] {
    let dim = |axis: usize| shape.get(axis).copied().unwrap_or(1);
    let kernel: usize = shape.iter().skip(2).product();
    [(dim(1) * kernel) as f64, (dim(0) * kernel) as f64]
}

/// The orthogonal factor of a normal matrix [out, fan-in], which is uniform over all orthogonal ones.
fn orthogonal(shape: &Shape, key: Key) -> Tensor {
    let rows = shape.first().copied().unwrap_or(1);
    let columns = shape.numel() / rows.max(1);
    let (count, len) = (rows.min(columns), rows.max(columns));
    let draws = Tensor::normal([count, len], DType::F64, key);
    let mut vectors: Vec<Vec<f64>> = draws.data::<f64>().chunks(len.max(1)).map(<[f64]>::to_vec).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for i in 0..vectors.len() {
        let (done, rest) = vectors.split_at_mut(i);
        let v = &mut rest[0];
        // Gram-Schmidt orthogonalisation; a second pass removes the rounding errors of the first.
        for _ in 0..2 {
            for u in &*done {
                let along = dot(u, v);
                v.iter_mut().zip(u).for_each(|(v, u)| *v -= along * u);
            }
        }
        let norm = dot(v, v).sqrt();
        v.iter_mut().for_each(|v| *v /= norm);
    }
    let at = |i: usize| {
        let (row, column) = (i / columns, i % columns);
        if rows <= columns { vectors[row][column] } else { vectors[column][row] }
    };
    Tensor::from_fn(shape, DType::F64, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(t: &Tensor) -> [f64; 2] {
        let v = t.to_vec::<f64>();
        let n = v.len() as f64;
        let mean = v.iter().sum::<f64>() / n;
        [mean, v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n]
    }

    #[test]
    fn fans_count_the_kernel() {
        assert_eq!(fans(&Shape::new(&[8, 3, 5, 2])), [30.0, 80.0]);
        assert_eq!(fans(&Shape::new(&[8, 3])), [3.0, 8.0]);
        assert_eq!(fans(&Shape::new(&[8])), [1.0, 8.0]);
    }

    #[test]
    fn variances_are_those_of_the_papers() {
        let shape = Shape::new(&[64, 32, 3, 3]); // fan-in 288, fan-out 576
        for (init, variance) in [
            (Init::HE_NORMAL, 2.0 / 288.0),
            (Init::HeNormal(Fan::Out), 2.0 / 576.0),
            (Init::HeUniform(Fan::In), 2.0 / 288.0),
            (Init::HeUniform(Fan::Out), 2.0 / 576.0),
            (Init::XavierNormal, 2.0 / 864.0),
            (Init::XavierUniform, 2.0 / 864.0),
            (Init::LeCunNormal, 1.0 / 288.0),
            (Init::LeCunUniform, 1.0 / 288.0),
            (Init::Normal(0.3), 0.09),
            (Init::Uniform(-0.5, 0.5), 1.0 / 12.0),
        ] {
            for dtype in [DType::F32, DType::F64] {
                let [mean, measured] = moments(&init.draw(&shape, dtype, Key::new(1)));
                // Of 18,432 draws the variance has a standard error of 1 %, the mean one of 0.7 % of the
                // deviation.
                assert!((measured / variance - 1.0).abs() < 0.05, "{init:?}: {measured}, not {variance}");
                assert!(mean.abs() < 0.035 * variance.sqrt(), "{init:?}: mean {mean}");
            }
        }
        assert_eq!(
            Init::Constant(0.5).draw(&shape, DType::F32, Key::new(1)).to_vec::<f64>(),
            [0.5; 64 * 288]
        );
    }

    #[test]
    fn both_dtypes_start_alike() {
        let draw =
            |dtype| Init::HeUniform(Fan::In).draw(&Shape::new(&[7, 5]), dtype, Key::new(2)).to_vec::<f32>();
        assert_eq!(draw(DType::F32), draw(DType::F64));
    }

    #[test]
    fn orthogonal_rows_or_columns() {
        for dims in [[4, 9], [9, 4], [6, 6], [1, 1], [0, 3]] {
            let w = Init::Orthogonal(2.0).draw(&Shape::new(&dims), DType::F64, Key::new(3));
            let gram = if dims[0] <= dims[1] { w.matmul_nt(&w) } else { w.matmul_tn(&w) };
            let n = dims[0].min(dims[1]);
            for i in 0..n * n {
                let expected = if i / n == i % n { 4.0 } else { 0.0 };
                assert!((gram.at(&[i / n, i % n]) - expected).abs() < 1e-13, "{dims:?}");
            }
        }
        let conv =
            Init::Orthogonal(1.0).draw(&Shape::new(&[4, 2, 3, 3]), DType::F64, Key::new(3)).reshape([4, 18]);
        assert!((conv.matmul_nt(&conv).at(&[2, 2]) - 1.0).abs() < 1e-13);
    }
}
