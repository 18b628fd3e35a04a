//! Files of reference numbers.

use std::collections::BTreeMap;
use std::fs;

use autograd::Tensor;
use safetensors::SafeTensors;

/// Tensors by name, all f64.
pub type File = BTreeMap<String, Tensor>;

/// The reference numbers of a family.
pub fn load(family: &str) -> File {
    let path = format!("{}/../tests/fixtures/{family}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let bytes = fs::read(&path).expect(&path);
    let file = SafeTensors::deserialize(&bytes).expect(&path);
    let tensor = |(name, view): (String, safetensors::tensor::TensorView)| {
        let numbers: Vec<f64> = view
            .data()
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().expect("chunks of eight bytes")))
            .collect();
        (name, Tensor::new(&numbers, view.shape()))
    };
    file.tensors().into_iter().map(tensor).collect()
}
