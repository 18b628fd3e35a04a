use autograd::{DType, Key};

use super::*;
use crate::{Archive, Context, Init, Linear, Sequential};

fn net() -> Sequential {
    let mut net = Sequential::new()
        .with("fc1", Linear::new(3, 4, DType::F64))
        .with("fc2", Linear::new(4, 2, DType::F64));
    net.initialise(Init::HE_NORMAL, Key::new(1));
    net
}

fn loss(net: &Sequential) -> Tensor {
    let x = Tensor::normal([5, 3], DType::F64, Key::new(2));
    let y = net.clone().forward(&x, &mut Context::eval());
    (&y * &y).sum(..)
}

fn numbers(net: &Sequential, pattern: &str) -> Vec<f64> {
    let group = ParameterGroup::new(pattern);
    let list = net.state_dict().into_iter().filter(|(name, _)| group.matches(name));
    list.flat_map(|(_, t)| t.to_vec::<f64>()).collect()
}

#[test]
fn groups_have_their_own_rate_decay_and_rest() {
    let plain = |optimizer: Optimizer| {
        let mut net = net();
        let mut optimizer = optimizer;
        optimizer.check(&net).unwrap();
        let grads = loss(&net).backward();
        optimizer.step(&mut net, grads, 0.1).unwrap();
        net
    };
    let start = net();
    let base = plain(Optimizer::sgd(0.9).weight_decay(0.5));
    let grouped = plain(
        Optimizer::sgd(0.9)
            .weight_decay(0.5)
            .group(ParameterGroup::new("fc1.weight").frozen())
            .group(ParameterGroup::new("fc1.*").lr_factor(3.0))
            .group(ParameterGroup::new("fc2.weight").weight_decay(0.0)),
    );
    assert_eq!(numbers(&grouped, "fc1.weight"), numbers(&start, "fc1.weight"));
    assert_eq!(numbers(&grouped, "fc2.bias"), numbers(&base, "fc2.bias"));
    let moved = |net: &Sequential, pattern: &str| -> Vec<f64> {
        numbers(net, pattern).iter().zip(numbers(&start, pattern)).map(|(a, b)| a - b).collect()
    };
    for (three, one) in moved(&grouped, "fc1.bias").iter().zip(moved(&base, "fc1.bias")) {
        assert!((three - 3.0 * one).abs() < 1e-14);
    }
    for ((without, with), p) in moved(&grouped, "fc2.weight")
        .iter()
        .zip(moved(&base, "fc2.weight"))
        .zip(numbers(&start, "fc2.weight"))
    {
        assert!((without - (with + 0.1 * 0.5 * p)).abs() < 1e-14);
    }
}

#[test]
fn a_parameter_without_gradient_is_an_error_that_names_it_and_the_cut() {
    let mut net = net();
    let before = numbers(&net, "*");
    let mut optimizer = Optimizer::sgd(0.9);
    let cut = net.map(|name, t| if name == "fc1.bias" { t.detach() } else { t.clone() });
    let grads = loss(&cut).backward();
    let error = optimizer.step(&mut net, grads, 0.1).unwrap_err().to_string();
    assert!(error.starts_with("parameter fc1.bias: no gradient for the tensor of shape [4]"), "{error}");
    assert!(error.contains("cut by detach at") && error.contains("optim/tests.rs"), "{error}");
    assert_eq!(numbers(&net, "*"), before, "nothing was updated");
    // A frozen parameter may have no gradient.
    let grads = loss(&cut).backward();
    let mut optimizer = optimizer.group(ParameterGroup::new("fc1.bias").frozen());
    optimizer.step(&mut net, grads, 0.1).unwrap();
    assert_ne!(numbers(&net, "*"), before);
}

#[test]
fn settings_are_checked() {
    let typo = Optimizer::new(Adam::default()).group(ParameterGroup::new("*.wieght"));
    let error = typo.check(&net()).unwrap_err().to_string();
    assert!(error.contains("\"*.wieght\" matches no parameter") && error.contains("fc2.weight"), "{error}");
    let adam = Adam { betas: [0.9, 1.0], ..Adam::default() };
    let clip = Optimizer::sgd(0.0).clip(Clip::Norm(0.0));
    for wrong in [Optimizer::sgd(1.0), Optimizer::sgd(f64::NAN), Optimizer::new(adam), clip] {
        assert!(wrong.check(&net()).is_err());
    }
    let twice = Optimizer::sgd(0.9).then(Sgd::default()).check(&net()).unwrap_err().to_string();
    assert!(twice.contains("two transforms of the name sgd"), "{twice}");
    assert!(Optimizer::new(Adam::decoupled()).weight_decay(-0.1).check(&net()).is_err());
}

#[test]
fn a_saved_optimiser_goes_on_as_if_nothing_had_happened() {
    let nesterov = Sgd { momentum: 0.9, dampening: 0.1, nesterov: true };
    let [adam, adamw] = [Adam::default(), Adam::decoupled()].map(Optimizer::new);
    for new in [Optimizer::sgd(0.0), Optimizer::new(nesterov).clip(Clip::Norm(1.0)), adam, adamw] {
        let (mut net, mut optimizer) = (net(), new.clone().weight_decay(0.01));
        for _ in 0..3 {
            let grads = loss(&net).backward();
            optimizer.step(&mut net, grads, 0.01).unwrap();
        }
        let bytes = Archive::of(optimizer.state()).to_bytes().unwrap();
        let (mut net2, mut optimizer2) = (net.clone(), new.weight_decay(0.01));
        optimizer2.load_state(&net2, &Archive::from_bytes(&bytes).unwrap().tensors).unwrap();
        for (net, optimizer) in [(&mut net, &mut optimizer), (&mut net2, &mut optimizer2)] {
            let grads = loss(net).backward();
            optimizer.step(net, grads, 0.01).unwrap();
        }
        assert_eq!(numbers(&net, "*"), numbers(&net2, "*"));
    }
}

#[test]
fn a_state_that_does_not_fit_is_listed() {
    let mut net = net();
    let mut adam = Optimizer::new(Adam::default());
    let grads = loss(&net).backward();
    adam.step(&mut net, grads, 0.01).unwrap();
    let mut state = adam.state();
    state.retain(|(name, _)| name != "adam.mean.fc1.bias");
    state.push(("adam.mean.fc9.bias".into(), Tensor::from(1.0)));
    for (name, t) in &mut state {
        if name == "adam.square.fc2.weight" {
            *t = Tensor::zeros([3], DType::F32);
        }
    }
    let error = adam.load_state(&net, &state).unwrap_err().to_string();
    for part in [
        "adam.mean.fc1.bias is missing",
        "adam.square.fc2.weight is f32 [3], f64 [2, 4] is needed",
        "adam.mean.fc9.bias is left over",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn updates_happen_in_place() {
    let (mut net, mut optimizer) = (net(), Optimizer::sgd(0.9));
    let address = |net: &Sequential| net.named_parameters()[0].1.data::<f64>().as_ptr();
    let before = address(&net);
    let grads = loss(&net).backward();
    optimizer.step(&mut net, grads, 0.1).unwrap();
    assert_eq!(address(&net), before);
}
