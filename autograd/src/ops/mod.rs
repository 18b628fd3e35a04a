//! The operations, one file per family: definition, shape rule, kind and gradcheck samples together.

#[cfg(test)]
mod adjoints;
mod batch_norm;
mod cat;
mod cholesky;
mod conv;
mod create;
mod cumsum;
mod determinant;
mod dropout;
mod eigh;
mod elementwise;
mod extrema;
mod gather;
mod gram;
mod index;
mod layer_norm;
mod linalg;
mod logsumexp;
mod losses;
mod mask;
mod matmul;
mod matrix;
mod norm;
mod normalize;
mod pad;
mod pool;
mod power;
mod product;
mod reduce;
mod shape;
mod slice;
mod softmax;
mod sort;
mod svd;
mod vector_norm;
mod where_;

mod activation;
mod alias;
mod assign;

pub(crate) mod arith;
pub(crate) mod op_macros;

pub use arith::Number;
pub use batch_norm::BatchStats;
pub use conv::{ConvOptions, conv2d_shape};
pub use index::Index;
pub use losses::{CrossEntropy, Reduction};
pub use mask::{Mask, Operand};
pub use matmul::{Transpose, matmul_with};
pub use pad::Padding;
pub use pool::pool2d_shape;

use crate::sample::Sample;

/// The samples of every operation of the engine.
pub fn samples() -> Vec<Sample> {
    let families = [
        arith::samples,
        elementwise::samples,
        activation::samples,
        power::samples,
        reduce::samples,
        shape::samples,
        matmul::samples,
        conv::samples,
        slice::samples,
        cat::samples,
        pad::samples,
        matrix::samples,
        gram::samples,
        gather::samples,
        where_::samples,
        cumsum::samples,
        product::samples,
        sort::samples,
        batch_norm::samples,
        extrema::samples,
        logsumexp::samples,
        norm::samples,
        vector_norm::samples,
        pool::samples,
        layer_norm::samples,
        normalize::samples,
        softmax::samples,
        losses::samples,
        dropout::samples,
        linalg::samples,
        determinant::samples,
        eigh::samples,
        svd::samples,
        cholesky::samples,
    ];
    families.into_iter().flat_map(|samples| samples()).collect()
}

#[cfg(test)]
mod tests {
    use crate::DType;

    #[test]
    fn every_sample_passes_at_orders_1_and_2_in_f64() {
        let failed: Vec<String> = super::samples()
            .iter()
            .filter_map(|s| {
                let report = s.check(DType::F64, 2);
                (!report.pass()).then(|| format!("{} ({}):\n{report}", s.name, s.case))
            })
            .collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }

    #[test]
    fn rounding_hides_less_than_the_tolerance_in_f64() {
        for sample in super::samples() {
            for o in sample.check(DType::F64, 2).orders {
                let order = o.order;
                assert!(
                    o.blind < o.tolerance,
                    "{} ({}), order {order}: {:e}",
                    sample.name,
                    sample.case,
                    o.blind
                );
            }
        }
    }

    #[test]
    fn every_sample_passes_at_orders_1_and_2_in_f32() {
        let failed: Vec<String> = super::samples()
            .iter()
            .filter_map(|s| {
                let report = s.check(DType::F32, 2);
                (!report.pass()).then(|| format!("{} ({}):\n{report}", s.name, s.case))
            })
            .collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }
}
