//! Files that PyTorch wrote (tests/fixtures/bridge.py) give what PyTorch gives.

mod common;

use autograd::{DType, Key};
use common::{fixture, formula};
use nn::{Context, Module, load_state_dict, models};

#[test]
fn networks_trained_by_pytorch() {
    let expected = fixture("torch_logits");
    for name in ["mlp", "cnn6"] {
        let mut model = models::build(name, [1, 14, 14], 10, 1, Key::new(0), DType::F32).unwrap();
        load_state_dict(&mut model, &fixture(&format!("torch_{name}")).tensors).unwrap();
        let x = formula(&format!("bridge/{name}"), [20, 1, 14, 14]).to_dtype(DType::F32);
        let found = model.forward(&x, &mut Context::eval()).to_vec::<f64>();
        let reference = expected.get(&format!("{name}/logits")).unwrap().to_vec::<f64>();
        let most = reference.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for (a, b) in found.iter().zip(&reference) {
            assert!((a - b).abs() <= 1e-5 * most, "{name}: {a}, PyTorch {b}");
        }
    }
}
