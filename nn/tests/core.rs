//! The loss of a step as a function, and what is built on it from outside the crate.

use autograd::{DType, Key, Tensor, gradcheck};
use nn::{
    Activation, Batch, BatchLoss, BatchNorm, Context, CrossEntropy, Dropout, Error, Flatten, Gradient,
    Linear, Loss, Method, Model, Module, Mse, Optimizer, Outputs, ParameterGroup, Penalty, Regulariser, Sam,
    Sequential, Sgd, Step, Targets, Trainer, Transform, Update, Weight, evaluate_loss,
};

/// fc, batch norm, tanh, dropout, fc: smooth, with running statistics and random draws.
fn model(outputs: usize, dropout: f64) -> Model {
    let layers = Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(4, 6, DType::F64))
        .with("bn", BatchNorm::new(6, DType::F64))
        .with("tanh", Activation::Tanh)
        .with("dropout", Dropout::new(dropout))
        .with("fc2", Linear::new(6, outputs, DType::F64));
    let mut model = Model::new("small", [1, 2, 2], outputs, layers).unwrap();
    model.initialise(nn::Init::HE_NORMAL, Key::new(1));
    model
}

fn inputs(i: u64) -> Tensor {
    Tensor::normal([8, 1, 2, 2], DType::F64, Key::new(2).step(i))
}

fn batch(i: u64) -> Batch {
    Batch::new(inputs(i), vec![0, 1, 2, 0, 1, 2, 0, 1])
}

/// The mean squared norm of the gradient of each input's loss by the input.
#[derive(Clone)]
struct InputGradient;

impl Penalty for InputGradient {
    fn name(&self) -> &str {
        "input-gradient"
    }
    fn penalty(&mut self, loss: &BatchLoss) -> Result<Tensor, Error> {
        let x = loss.batch.inputs.detach().requires_grad();
        let g = loss.fit(&x)?.recorded().grad(&[&x]).remove(0);
        Ok((&g * &g).sum(..) * loss.batch.len() as f64)
    }
}

/// A penalty on weights that counts its evaluations.
#[derive(Clone)]
struct Counting(f64);

impl Regulariser for Counting {
    fn penalty(&mut self, weights: &[Weight], _: Step) -> Result<Tensor, Error> {
        self.0 += 1.0;
        let squares = weights.iter().map(|w| (&w.value * &w.value).sum(..));
        Ok(squares.reduce(|a, b| a + b).unwrap() * 0.01)
    }
    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("count".into(), Tensor::from(self.0))]
    }
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        self.0 = state[0].1.item();
        Ok(())
    }
    fn metrics(&self) -> Vec<(String, f64)> {
        vec![("count".into(), self.0)]
    }
}

/// Cross-entropy times a scale that follows the number of batches seen.
#[derive(Clone)]
struct Scaled(f64);

impl Loss for Scaled {
    fn name(&self) -> &str {
        "scaled"
    }
    fn loss(&mut self, outputs: &Outputs, targets: &Targets, step: Step) -> Result<Tensor, Error> {
        self.0 += 1.0;
        Ok(CrossEntropy::default().loss(outputs, targets, step)? * (1.0 + self.0 / 10.0))
    }
    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("seen".into(), Tensor::from(self.0))]
    }
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        self.0 = state[0].1.item();
        Ok(())
    }
}

fn trainer(dropout: f64) -> Trainer {
    Trainer::new(model(3, dropout), Optimizer::sgd(0.9), 0.1, Key::new(3))
        .loss(Scaled(0.0))
        .penalty(InputGradient)
        .regulariser(Counting(0.0))
}

fn bits(tensors: impl IntoIterator<Item = (String, Tensor)>) -> Vec<(String, Vec<u64>)> {
    tensors.into_iter().map(|(n, t)| (n, t.to_vec::<f64>().into_iter().map(f64::to_bits).collect())).collect()
}

#[test]
fn an_evaluation_changes_nothing_and_repeats_itself() {
    let loss = trainer(0.5).batch_loss(&batch(0));
    let before = bits(loss.model.state_dict());
    let (a, b) = (loss.gradient().unwrap(), loss.gradient().unwrap());
    assert_eq!(a.numbers, b.numbers);
    assert_eq!(bits(a.parameters.clone()), bits(b.parameters));
    assert_eq!(bits(loss.model.state_dict()), before);
    // The terms add up, each under its name.
    let names: Vec<&str> = a.terms.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["scaled", "input-gradient"]);
    assert!((a.terms.iter().map(|(_, v)| v).sum::<f64>() - a.fit).abs() < 1e-15);
    assert!((a.fit + a.reg - a.loss).abs() < 1e-15 && a.reg > 0.0);
    // Other masks, another loss; the same number, the same masks.
    let redrawn = loss.redrawn(1).gradient().unwrap();
    assert_ne!(redrawn.loss, a.loss);
    assert_eq!(loss.redrawn(1).gradient().unwrap().numbers, redrawn.numbers);
    // The next step has other masks in its further passes, too.
    let mut later = trainer(0.5);
    later.step(&batch(0)).unwrap();
    let next = BatchLoss { context: later.batch_loss(&batch(0)).context, ..loss.clone() };
    assert_ne!(next.redrawn(1).gradient().unwrap().loss, redrawn.loss);
    assert_ne!(loss.redrawn(2).gradient().unwrap().loss, redrawn.loss);
}

#[test]
fn all_terms_together_have_the_gradient_that_differences_say() {
    let loss = trainer(0.5).batch_loss(&batch(0));
    let (names, parameters) = loss.parameters();
    gradcheck(|p| loss.at(p).unwrap(), &parameters, 2).assert();
    let gradient = loss.gradient().unwrap();
    let by_function = autograd::transform::grad(|p| loss.at(p).unwrap(), &parameters);
    for (name, g) in names.iter().zip(&by_function) {
        assert!((g - &gradient.parameters[name]).norm(..).item() < 1e-14, "{name}");
    }
    // As a function of the inputs, too; the penalty above takes them as constants.
    let loss = loss.data_term();
    gradcheck(|x| loss.on(x[0].clone()).pass().unwrap().loss, &[inputs(0)], 2).assert();
}

#[test]
fn extra_passes_leave_no_trace() {
    let (mut plain, mut sam) = (trainer(0.5), trainer(0.5).method(Sam::default()));
    let (a, b) = (plain.step(&batch(0)).unwrap(), sam.step(&batch(0)).unwrap());
    // The losses are those of the clean pass, and each state has moved once.
    assert_eq!((a.loss, a.fit, a.reg, &a.extra), (b.loss, b.fit, b.reg, &b.extra));
    assert_eq!(b.extra[0], ("count".to_string(), 1.0));
    let buffers = |t: &Trainer| -> Vec<(String, Tensor)> {
        t.model.state_dict().into_iter().filter(|(name, _)| name.contains("running")).collect()
    };
    assert_eq!(bits(buffers(&plain)), bits(buffers(&sam)));
    assert_ne!(bits(plain.model.state_dict()), bits(sam.model.state_dict()));
}

#[test]
fn a_method_can_let_every_pass_move_the_state() {
    /// The second pass starts where the first one ended, and its state is kept.
    struct Every;
    impl Method for Every {
        fn name(&self) -> &str {
            "every"
        }
        fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
            let first = loss.gradient()?;
            let second = loss.after(&first).gradient()?;
            Ok(first.with_state_of(&second))
        }
    }
    let mut t = trainer(0.0).method(Every);
    let mut by_hand = trainer(0.0).batch_loss(&batch(0)).model;
    assert_eq!(t.step(&batch(0)).unwrap().extra[0], ("count".to_string(), 2.0));
    (0..2).for_each(|_| drop(by_hand.forward(&inputs(0), &mut Context::train(Key::new(0)))));
    for ((name, a), (_, b)) in t.model.state_dict().iter().zip(by_hand.state_dict()) {
        if name.contains("running") {
            assert_eq!(a.to_vec::<f64>(), b.to_vec::<f64>(), "{name}");
        }
    }
}

#[test]
fn a_failed_step_leaves_the_trainer_as_it_was() {
    #[derive(Clone)]
    struct Failing;
    impl Penalty for Failing {
        fn name(&self) -> &str {
            "failing"
        }
        fn penalty(&mut self, _: &BatchLoss) -> Result<Tensor, Error> {
            Err(Error::other(std::io::Error::other("no luck")))
        }
    }
    let mut t = trainer(0.5);
    t.step(&batch(0)).unwrap();
    let before = bits(t.checkpoint().tensors);
    t.penalties.push(Box::new(Failing));
    let error = t.step(&batch(1)).unwrap_err();
    assert_eq!(error.to_string(), "no luck");
    assert!(matches!(error, Error::Other(e) if e.downcast_ref::<std::io::Error>().is_some()));
    assert_eq!(bits(t.checkpoint().tensors), before);
}

#[test]
fn everything_with_state_resumes_bit_for_bit() {
    let mut whole = trainer(0.5);
    (0..3).for_each(|i| drop(whole.step(&batch(i)).unwrap()));
    let saved = nn::Archive::from_bytes(&whole.checkpoint().to_bytes().unwrap()).unwrap();
    let mut resumed = trainer(0.5);
    resumed.restore(&saved).unwrap();
    for i in 3..5 {
        let (a, b) = (whole.step(&batch(i)).unwrap(), resumed.step(&batch(i)).unwrap());
        assert_eq!((a.loss, a.extra), (b.loss, b.extra));
    }
    assert_eq!(bits(whole.checkpoint().tensors), bits(resumed.checkpoint().tensors));
}

#[test]
fn frozen_parameters_are_constants_of_the_loss() {
    let mut t = trainer(0.0);
    t.optimizer = Optimizer::sgd(0.9).group(ParameterGroup::new("fc1.*").frozen());
    let gradient = t.gradient(&batch(0)).unwrap();
    assert_eq!(
        gradient.parameters.keys().collect::<Vec<_>>(),
        ["bn.bias", "bn.weight", "fc2.bias", "fc2.weight"]
    );
    let before = t.model.state_dict();
    t.step(&batch(0)).unwrap();
    for ((name, a), (_, b)) in before.into_iter().zip(t.model.state_dict()) {
        assert_eq!(a.to_vec::<f64>() == b.to_vec::<f64>(), name.starts_with("fc1."), "{name}");
    }
    // They thaw: the model itself still has leaves.
    t.optimizer = Optimizer::sgd(0.9);
    assert_eq!(t.gradient(&batch(0)).unwrap().parameters.len(), 6);
}

#[test]
fn regression_learns_a_function() {
    let targets = |i: u64| Targets::Values(inputs(i).mean([1, 2, 3]) * 2.0);
    let mut t = Trainer::new(model(1, 0.0), Optimizer::sgd(0.9), 0.05, Key::new(4)).loss(Mse);
    let mut last = None;
    for i in 0..400 {
        last = Some(t.step(&Batch::new(inputs(i), targets(i))).unwrap());
    }
    let last = last.unwrap();
    assert!(last.accuracy.is_nan());
    let test = (1000..1010).map(|i| Batch::new(inputs(i), targets(i)));
    let found = t.evaluate(test.clone()).unwrap();
    // The variance of the targets is 1; batch norm over eight inputs leaves some of it.
    assert!(found.loss < 0.3 && found.images == 80, "{}", found.loss);
    assert!(found.accuracy.is_nan() && found.confusion.total() == 0);
    let error = evaluate_loss(&t.model, &CrossEntropy::default(), test).unwrap_err().to_string();
    assert!(error.contains("real values"), "{error}");
}

#[test]
fn a_linear_network_ends_at_the_least_squares_solution() {
    let layers = Sequential::new().with("flatten", Flatten).with("fc", Linear::new(4, 2, DType::F64));
    let mut model = Model::new("linear", [1, 2, 2], 2, layers).unwrap();
    model.initialise(nn::Init::HE_NORMAL, Key::new(1));
    let (n, x) = (40, Tensor::normal([40, 1, 2, 2], DType::F64, Key::new(5)));
    // A linear function of the inputs with noise, so that the least loss is not 0.
    let w = Tensor::normal([4, 2], DType::F64, Key::new(6));
    let y = x.reshape([n, 4]).matmul(&w) + 0.7 + Tensor::normal([n, 2], DType::F64, Key::new(7)) * 0.3;
    let ones = Tensor::full([n, 1], 1.0, DType::F64);
    let a = Tensor::concat(&[&x.reshape([n, 4]), &ones], 1);
    let closed = a.matmul_tn(&a).solve(&a.matmul_tn(&y));
    let batch = Batch::new(x, Targets::Values(y.clone()));
    let mut t = Trainer::new(model, Optimizer::sgd(0.9), 0.3, Key::new(4)).loss(Mse);
    for _ in 0..600 {
        t.step(&batch).unwrap();
    }
    for (name, found) in t.model.named_parameters() {
        let expected = if name == "fc.weight" {
            closed.slice_axis(0, 0..4).transpose(0, 1)
        } else {
            closed.slice_axis(0, 4..5)
        };
        let pairs = found.to_vec::<f64>().into_iter().zip(expected.to_vec::<f64>());
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-9), "{name}: {found:?} {expected:?}");
    }
    let found = t.evaluate([batch]).unwrap();
    let residual = y - a.matmul(&closed);
    let least = (&residual * &residual).mean(..).item();
    assert!((found.loss - least).abs() < 1e-12 && found.regression.unwrap().r2() > 0.8, "{}", found.loss);
}

#[test]
fn losses_see_the_last_linear_layer_and_its_features() {
    #[derive(Clone)]
    struct OfFeatures;
    impl Loss for OfFeatures {
        fn name(&self) -> &str {
            "of-features"
        }
        fn loss(&mut self, outputs: &Outputs, _: &Targets, _: Step) -> Result<Tensor, Error> {
            let last = outputs.classifier.as_ref().expect("the network ends in a linear layer");
            let again = last.features.matmul_nt(&last.weight) + last.bias.as_ref().expect("it has a bias");
            assert_eq!(again.to_vec::<f64>(), outputs.values.to_vec::<f64>());
            assert!(last.features.is_tracked() && last.weight.is_leaf());
            Ok((&last.features * &last.features).mean(..)
                + (&last.weight * &last.weight).sum(..)
                + outputs.values.sum(..))
        }
    }
    let mut t = Trainer::new(model(3, 0.5), Optimizer::sgd(0.0), 0.1, Key::new(5)).loss(OfFeatures);
    assert!(t.gradient(&batch(0)).unwrap().parameters["fc2.weight"].norm(..).item() > 0.0);
}

#[test]
fn a_chain_of_transforms_is_their_composition() {
    /// Multiplies gradients by a factor that grows with the updates.
    #[derive(Clone)]
    struct Growing;
    impl Transform for Growing {
        fn name(&self) -> &'static str {
            "growing"
        }
        fn slots(&self, _: &Tensor) -> &'static [&'static str] {
            &["sum"]
        }
        fn apply(&mut self, updates: &mut [Update<'_>]) {
            for u in updates {
                let g = u.gradient.take().unwrap() * u.count as f64;
                u.slots[0].assign(&(&u.slots[0] + &g));
                *u.gradient = Some(g);
            }
        }
    }
    let start = || (model(3, 0.0), Optimizer::new(Growing).then(Sgd::default()).weight_decay(0.1));
    let gradient = |m: &Model| BatchLoss::new(m.clone(), batch(0)).gradient().unwrap().parameters;
    let (mut m, mut chain) = start();
    let mut by_hand: Vec<(String, Tensor)> =
        m.named_parameters().into_iter().map(|(n, p)| (n, p.detach())).collect();
    let mut sums = std::collections::BTreeMap::new();
    for t in 1..=3 {
        let g = gradient(&m);
        for (name, p) in &mut by_hand {
            *p = &*p - (&g[name] * f64::from(t) + &*p * 0.1) * 0.01;
            let sum = sums.entry(name.clone()).or_insert_with(|| Tensor::zeros(p.shape(), DType::F64));
            *sum = &*sum + &g[name] * f64::from(t);
        }
        chain.update(&mut m, g, 0.01).unwrap();
    }
    for ((name, p), (_, found)) in by_hand.iter().zip(m.named_parameters()) {
        assert!((p - found.detach()).norm(..).item() < 1e-14, "{name}");
    }
    for (name, t) in chain.state() {
        if let Some(parameter) = name.strip_prefix("growing.sum.") {
            assert!((t - &sums[parameter]).norm(..).item() < 1e-14, "{name}");
        }
    }
    let (_, mut other) = start();
    other.load_state(&m, &chain.state()).unwrap();
    assert_eq!(bits(other.state()), bits(chain.state()));
    // A chain that ends nowhere says so.
    let lost = Optimizer::new(Growing).update(&mut m, gradient(&model(3, 0.0)), 0.1).unwrap_err().to_string();
    assert!(lost.contains("no transform of the optimiser applied the gradient of fc1.weight"), "{lost}");
}
