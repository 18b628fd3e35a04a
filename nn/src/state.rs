//! Loading named tensors into a model.

use std::collections::{BTreeMap, BTreeSet};

use autograd::Tensor;

use crate::error::Error;
use crate::module::Module;

/// PyTorch's counter of batches, which is ignored here.
const COUNTER: &str = "num_batches_tracked";

/// Replaces every tensor of `model` by the one of its name, converted to its dtype. The leaves of the graph remain the
/// same.
///
/// A state dict of PyTorch loads as it is: its `num_batches_tracked` entries are ignored.
///
/// # Errors
/// If a tensor is missing, unexpected, or of another shape; all of them are listed, and the model is unchanged.
pub fn load_state_dict(model: &mut dyn Module, tensors: &[(String, Tensor)]) -> Result<(), Error> {
    let given: BTreeMap<&str, &Tensor> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
    let mut left: BTreeSet<&str> =
        given.keys().copied().filter(|name| name.rsplit('.').next() != Some(COUNTER)).collect();
    let mut wrong = Vec::new();
    model.visit(&mut |name, t, _| {
        left.remove(name);
        match given.get(name) {
            None => wrong.push(format!("{name} {} is missing", t.shape())),
            Some(new) if new.shape() != t.shape() => {
                wrong.push(format!("{name} has shape {}, {} is needed", new.shape(), t.shape()));
            }
            Some(_) => {}
        }
    });
    wrong.extend(left.iter().map(|name| format!("{name} {} is left over", given[name].shape())));
    if !wrong.is_empty() {
        return Err(Error::Mismatch(wrong));
    }
    model.visit_mut(&mut |name, t, _| t.assign(&given[name].detach().to_dtype(t.dtype())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use autograd::{DType, Key};

    use super::*;
    use crate::{Archive, Init, Linear, Sequential};

    fn net(dtype: DType, key: u64) -> Sequential {
        let mut net = Sequential::new()
            .with("fc1", Linear::new(3, 4, dtype))
            .with("fc2", Linear::new(4, 2, dtype).without_bias());
        net.initialise(Init::HE_NORMAL, Key::new(key));
        net
    }

    fn numbers(net: &Sequential) -> Vec<f64> {
        net.state_dict().iter().flat_map(|(_, t)| t.to_vec::<f64>()).collect()
    }

    #[test]
    fn a_state_dict_goes_through_bytes_and_across_dtypes() {
        for (from, to) in [(DType::F64, DType::F64), (DType::F32, DType::F64), (DType::F64, DType::F32)] {
            let (a, mut b) = (net(from, 1), net(to, 2));
            let leaf = b.named_parameters()[0].1.clone();
            let bytes = Archive::of(a.state_dict()).to_bytes().unwrap();
            load_state_dict(&mut b, &Archive::from_bytes(&bytes).unwrap().tensors).unwrap();
            let rounded: Vec<f64> = numbers(&a)
                .iter()
                .map(|v| if to == DType::F32 { f64::from(*v as f32) } else { *v })
                .collect();
            assert_eq!(numbers(&b), rounded);
            assert!(b.named_parameters().iter().all(|(_, t)| t.is_leaf() && t.dtype() == to));
            let loss = b.named_parameters()[0].1.sum(..);
            assert!(loss.backward().get(&leaf).is_some(), "the leaf is still the same leaf");
        }
    }

    #[test]
    fn everything_that_does_not_fit_is_listed_and_nothing_changes() {
        let mut net = net(DType::F64, 1);
        let before = numbers(&net);
        let mut tensors = net.state_dict();
        tensors[0].1 = Tensor::zeros([4, 5], DType::F64);
        tensors[1].0 = "fc1.offset".into();
        tensors.push(("bn.num_batches_tracked".into(), Tensor::from(3.0)));
        let error = load_state_dict(&mut net, &tensors).unwrap_err().to_string();
        assert_eq!(
            error,
            "the tensors do not fit: fc1.weight has shape [4, 5], [4, 3] is needed; \
             fc1.bias [4] is missing; fc1.offset [4] is left over"
        );
        assert_eq!(numbers(&net), before);
    }
}
