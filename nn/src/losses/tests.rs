use autograd::{CrossEntropy as Options, DType, Index, Key};

use super::*;

fn of(loss: &dyn Loss, logits: &Tensor, targets: impl Into<Targets>) -> Result<f64, String> {
    let found = loss.clone_loss().loss(&Outputs::new(logits.clone()), &targets.into(), Step::default());
    found.map(|t| t.item()).map_err(|e| e.to_string())
}

fn logits() -> Tensor {
    Tensor::normal([4, 3], DType::F64, Key::new(1))
}

#[test]
fn classes_are_one_hot_distributions() {
    let (z, labels) = (logits(), vec![2, 0, 1, 1]);
    let one_hot = Index::new(&labels, [4]).one_hot(3, DType::F64);
    for smoothing in [0.0, 0.3] {
        for floor in [0.0, 1e-4] {
            let loss = CrossEntropy { smoothing, floor, ..CrossEntropy::default() };
            let hard = of(&loss, &z, labels.clone()).unwrap();
            let soft = of(&loss, &z, Targets::Distributions(one_hot.clone())).unwrap();
            assert!((hard - soft).abs() < 1e-14, "{hard} {soft}");
            let definition = z.softmax(1) + floor;
            let t = &one_hot * (1.0 - smoothing) + smoothing / 3.0;
            let definition = -(definition.log() * t).sum(1).mean(..).item();
            assert!((hard - definition).abs() < 1e-14, "{hard} {definition}");
        }
    }
}

#[test]
fn class_weights_are_those_of_the_engine() {
    let weights = vec![0.5, 2.0, 0.0];
    let loss = CrossEntropy { class_weights: Some(weights.clone()), ..CrossEntropy::default() };
    let options = Options { class_weights: Some(weights), ..Options::default() };
    let expected = logits().cross_entropy(&Index::from([0, 1, 1, 2]), options).item();
    assert_eq!(of(&loss, &logits(), vec![0, 1, 1, 2]), Ok(expected));
}

#[test]
fn a_floor_bounds_the_loss_of_a_confident_mistake() {
    // The wrong class by 1,000: softmax is exactly (1, 0), the loss -log F, and the gradient is 0.
    for dtype in [DType::F32, DType::F64] {
        let z = Tensor::from([[1000.0, 0.0]]).to_dtype(dtype).requires_grad();
        let mut loss = CrossEntropy { floor: 1e-4, ..CrossEntropy::default() };
        let value = loss.loss(&Outputs::new(z.clone()), &vec![1].into(), Step::default()).unwrap();
        assert!((value.item() + 1e-4f64.ln()).abs() < 1e-5, "{value:?}");
        assert!(value.backward()[&z].to_vec::<f64>().iter().all(|g| *g == 0.0));
    }
    // Without one it is the difference of the logits.
    assert_eq!(of(&CrossEntropy::default(), &Tensor::from([[1000.0, 0.0]]), vec![1]), Ok(1000.0));
}

#[test]
fn evaluations_are_plain() {
    let loss = CrossEntropy { smoothing: 0.2, floor: 1e-4, ..CrossEntropy::default() };
    let plain = of(&CrossEntropy::default(), &logits(), vec![0, 1, 2, 0]);
    assert_eq!(of(&*loss.evaluation(), &logits(), vec![0, 1, 2, 0]), plain);
    assert_eq!(Mse.evaluation().name(), "mse");
}

#[test]
fn squares_of_a_column_and_of_classes() {
    let y = Tensor::from([[1.0], [4.0], [-1.0]]);
    let column = of(&Mse, &y, Targets::Values(Tensor::from([[2.0], [2.0], [-1.0]])));
    assert_eq!(column, Ok(5.0 / 3.0));
    assert_eq!(of(&Mse, &y, Targets::Values(Tensor::from([2.0, 2.0, -1.0]))), column);
    // One row (1, 0) against (0, 1), one exact.
    assert_eq!(of(&Mse, &Tensor::from([[1.0, 0.0], [1.0, 0.0]]), vec![1, 0]), Ok(0.5));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let ce = CrossEntropy::default();
    let wide = Targets::Distributions(Tensor::ones([4, 2], DType::F64));
    for (found, said) in [
        (of(&ce, &logits(), vec![0, 1, 3, 0]), "a label 3, the model 3 classes"),
        (of(&ce, &Tensor::from([1.0]), vec![0]), "[N, classes] is needed"),
        (of(&ce, &logits(), Targets::Values(logits())), "the targets are real values"),
        (of(&ce, &logits(), wide), "the targets have shape [4, 2], the outputs [4, 3]"),
        (of(&CrossEntropy::smoothed(1.5), &logits(), vec![0; 4]), "from 0 to 1"),
        (of(&CrossEntropy { floor: f64::NAN, ..ce.clone() }, &logits(), vec![0; 4]), "the floor is NaN"),
        (
            of(&CrossEntropy { class_weights: Some(vec![1.0]), ..ce.clone() }, &logits(), vec![0; 4]),
            "1 class weights for 3 classes",
        ),
        (
            of(&CrossEntropy { floor: 0.1, class_weights: Some(vec![1.0; 3]), ..ce }, &logits(), vec![0; 4]),
            "cannot be combined",
        ),
        (of(&Mse, &logits(), Targets::Values(Tensor::from([1.0]))), "the targets have shape [1]"),
        (of(&Mse, &logits(), vec![0, 1, 3, 0]), "a label 3"),
    ] {
        let error = found.unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}
