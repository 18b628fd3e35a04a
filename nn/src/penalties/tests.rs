use autograd::{DType, Key};

use super::*;
use crate::layers::{Flatten, Linear, Sequential};
use crate::models::Model;
use crate::module::Module;
use crate::train::Batch;

fn loss() -> BatchLoss {
    let layers = Sequential::new().with("flatten", Flatten).with("fc", Linear::new(4, 3, DType::F64));
    let mut model = Model::new("linear", [1, 2, 2], 3, layers).unwrap();
    model.initialise(crate::Init::HE_NORMAL, Key::new(1));
    let inputs = Tensor::normal([5, 1, 2, 2], DType::F64, Key::new(2));
    BatchLoss::new(model, Batch::new(inputs, vec![0, 1, 2, 0, 1]))
}

#[test]
fn every_name_builds_a_penalty_of_that_name() {
    let same = Transforms::new(|x, count, _| {
        let shape = [&[x.shape()[0], count], &x.shape()[1..]].concat();
        x.unsqueeze(1).broadcast_to(&shape) + 1.0
    });
    let options = PenaltyOptions {
        deformations: Some(same.clone()),
        tangents: Some(same),
        ..PenaltyOptions::default()
    };
    for row in PENALTIES {
        match (row.make)(&options).unwrap() {
            None => assert_eq!(row.name, "none"),
            Some(mut penalty) => {
                assert_eq!(penalty.name(), row.name);
                assert!(penalty.penalty(&loss()).unwrap().item() > 0.0, "{}", row.name);
            }
        }
    }
}

#[test]
fn mistakes_are_explained() {
    let of = |name: &str, options: PenaltyOptions| {
        let row = registry::find(PENALTIES, "penalty", name).unwrap();
        (row.make)(&options).err().unwrap().to_string()
    };
    let weight = |w| PenaltyOptions { weight: Some(w), ..PenaltyOptions::default() };
    assert_eq!(of("gradient", weight(-1.0)), "gradient: weight is -1; it must be finite and not negative");
    assert!(of("loss-gradient-l1", weight(f64::NAN)).contains("loss-gradient-l1: weight is NaN"));
    let steps = PenaltyOptions { steps: Some(0), ..PenaltyOptions::default() };
    assert_eq!(of("adversarial", steps), "adversarial: steps is 0; it must be at least 1");
    let eps = PenaltyOptions { eps: Some(f64::INFINITY), ..PenaltyOptions::default() };
    assert!(of("adversarial", eps).contains("eps is inf"));
    assert_eq!(of("tangent", PenaltyOptions::default()), "tangent: transforms of images are needed");
    let wrong = Transforms::new(|x, _, _| x.clone());
    let error = DeformationPenalty::new(0.1, wrong).penalty(&loss()).unwrap_err().to_string();
    assert!(error.contains("shape [5, 1, 2, 2], not [5, 31, 1, 2, 2]"), "{error}");
    let spectral = |name: &str, options: SpectralOptions| {
        let row = registry::find(SPECTRAL, "spectral control", name).unwrap();
        (row.make)(&options).err().unwrap().to_string()
    };
    let standard = SpectralOptions::default();
    assert!(spectral("penalty", SpectralOptions { steps: 0, ..standard }).contains("steps is 0"));
    assert!(spectral("constraint", SpectralOptions { tau: 0.0, ..standard }).contains("tau is 0"));
    assert!(spectral("constraint", SpectralOptions { kappa: -2.0, ..standard }).contains("kappa is -2"));
}

#[test]
fn state_of_the_power_iteration_that_does_not_fit_is_an_error() {
    let mut penalty = SpectralPenalty::iterated(0.01, 2);
    penalty.load_state(&[("fc.weight".into(), Tensor::ones([7], DType::F64))]).unwrap();
    let error = penalty.penalty(&loss()).unwrap_err().to_string();
    assert!(
        error.contains("spectral.fc.weight: the kept vector has shape [7]; [4] of f64 is needed"),
        "{error}"
    );
}

#[test]
fn a_weight_of_zeros_has_no_spectral_gradient() {
    let loss = loss().moved(|_, p| p * 0.0);
    for mut penalty in [SpectralPenalty::iterated(1.0, 2), SpectralPenalty::exact(1.0)] {
        let value = penalty.penalty(&loss).unwrap();
        assert_eq!(value.item(), 0.0);
        let weight = loss.model.named_parameters()[0].1;
        assert_eq!(value.backward()[weight].to_vec::<f64>(), [0.0; 12]);
    }
}
