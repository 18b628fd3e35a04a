//! ISDA against PyTorch (tests/fixtures/isda.py), and what holds of it by definition.

mod common;

use autograd::{DType, Key, Tensor};
use common::{below, fixture, formula};
use nn::{
    Activation, Archive, Batch, BatchLoss, BnStats, ClassCovariance, Classifier, Covariance, CrossEntropy,
    Flatten, Isda, Linear, Loss, Model, Module, Optimizer, Outputs, Passes, Ramp, Sam, Sequential, Step,
    Targets, Trainer,
};
use proptest::prelude::*;

const FORMS: [Covariance; 2] = [Covariance::Full, Covariance::Diagonal];

/// The outputs of a linear classifier of leaves a, w and b.
fn outputs(a: &Tensor, w: &Tensor, b: &Tensor) -> Outputs {
    let classifier = Classifier { features: a.clone(), weight: w.clone(), bias: Some(b.clone()) };
    Outputs { values: a.matmul_nt(w) + b, classifier: Some(classifier) }
}

/// Features, weight, bias and labels.
struct Case {
    a: Tensor,
    w: Tensor,
    b: Tensor,
    labels: Vec<u32>,
}

fn draw(shape: &[usize], key: Key, name: &str) -> Tensor {
    Tensor::normal(shape, DType::F64, key.stream(name))
}

impl Case {
    fn new(n: usize, d: usize, classes: usize, seed: u64) -> Case {
        let key = Key::new(seed);
        let labels = Tensor::uniform([n], DType::F64, key.stream("labels")).to_vec::<f64>();
        Case {
            a: draw(&[n, d], key, "a"),
            w: draw(&[classes, d], key, "w"),
            b: draw(&[classes], key, "b"),
            labels: labels.into_iter().map(|u| (u * classes as f64) as u32).collect(),
        }
    }

    fn outputs(&self) -> Outputs {
        outputs(&self.a, &self.w, &self.b)
    }

    /// An estimate of other features of the same classes.
    fn seen(&self, form: Covariance) -> ClassCovariance {
        let (classes, d) = (self.w.shape()[0], self.a.shape()[1]);
        let features = draw(&[6 * classes, d], Key::new(9), "seen");
        let labels: Vec<u32> = (0..6 * classes).map(|i| (i % classes) as u32).collect();
        let mut estimate = ClassCovariance::new(form);
        estimate.update(&features, &labels, classes).unwrap();
        estimate
    }

    fn isda(&self, lambda: f64, form: Covariance) -> Isda {
        Isda { estimate: self.seen(form), frozen: true, ..Isda::new(lambda, form) }
    }

    fn of(&self, loss: &dyn Loss) -> f64 {
        self.value(loss).item()
    }

    fn value(&self, loss: &dyn Loss) -> Tensor {
        let targets = Targets::Classes(self.labels.clone());
        loss.clone_loss().loss(&self.outputs(), &targets, Step::default()).unwrap()
    }

    /// The gradients by features, weight and bias.
    fn gradients(&self, loss: &dyn Loss) -> [Vec<f64>; 3] {
        let leaf = |t: &Tensor| t.detach().requires_grad();
        let case = Case { a: leaf(&self.a), w: leaf(&self.w), b: leaf(&self.b), labels: self.labels.clone() };
        let grads = case.value(loss).grad(&[&case.a, &case.w, &case.b]);
        [0, 1, 2].map(|i| grads[i].to_vec::<f64>())
    }
}

fn ce(case: &Case) -> f64 {
    case.of(&CrossEntropy::default())
}

#[track_caller]
fn assert_near(a: &Tensor, b: &Tensor, tolerance: f64, what: &str) {
    let error = (a - b).norm(..).item();
    assert!(error <= tolerance * (1e-3 + b.norm(..).item()), "{what}: {a:?}\n{b:?}\ndiffer by {error:e}");
}

#[test]
fn values_and_gradients_of_pytorch() {
    let fixture = fixture("isda");
    for (form, lambda) in FORMS.iter().flat_map(|f| [0.5, 2.5].map(|lambda| (*f, lambda))) {
        let case = format!("{form}{lambda}");
        let get = |name: &str| fixture.get(&format!("{case}/{name}")).unwrap();
        let input = |name: &str, n: usize| formula(&format!("isda/{name}"), [n, 5]);
        let [a0, a1, u] = ["a0", "a1", "u"].map(|name| (input(name, 10) * 2.0).requires_grad());
        let (w, b) = (input("w", 4).requires_grad(), formula("isda/b", [4]).requires_grad());
        let labels = [below("isda/labels0", 4, 10), below("isda/labels1", 3, 10)];
        let mut isda = Isda::new(lambda, form);
        let targets = |i: usize| Targets::Classes(labels[i].clone());
        let _ = isda.loss(&outputs(&a0, &w, &b), &targets(0), Step::default()).unwrap();
        let loss = isda.loss(&outputs(&a1, &w, &b), &targets(1), Step::default()).unwrap();
        let state = isda.state();
        assert_near(&state[2].1, get("covariance"), 1e-13, "covariance");
        assert!((loss.item() / get("loss").item() - 1.0).abs() < 1e-12, "{case}");
        for (g, name) in loss.grad(&[&a1, &w, &b]).iter().zip(["da", "dw", "db"]) {
            assert_near(g, get(name), 1e-11, &format!("{case}: {name}"));
        }
        let bound = isda.consistency(&outputs(&u, &w, &b), Step::default()).unwrap();
        assert!((bound.item() / get("bound").item() - 1.0).abs() < 1e-12, "{case}");
        for (g, name) in bound.grad(&[&u, &w, &b]).iter().zip(["bound_du", "bound_dw", "bound_db"]) {
            assert_near(g, get(name), 1e-11, &format!("{case}: {name}"));
        }
    }
}

#[test]
fn without_lambda_or_without_variance_it_is_cross_entropy() {
    let case = Case::new(7, 4, 3, 1);
    let plain = (ce(&case), case.gradients(&CrossEntropy::default()));
    for form in FORMS {
        let zero = case.isda(0.0, form);
        assert_eq!((case.of(&zero), case.gradients(&zero)), plain, "bit for bit");
        let state: Vec<(String, Tensor)> =
            case.seen(form).state().into_iter().map(|(name, t)| (name, t * 0.0)).collect();
        let mut still = case.isda(0.5, form);
        still.load_state(&state).unwrap();
        assert_eq!((case.of(&still), case.gradients(&still)), plain);
        // One example of each class has no variance.
        let alone = Case { labels: vec![2, 0, 1], a: case.a.narrow(0, 0, 3), ..Case::new(1, 4, 3, 1) };
        assert_eq!(alone.of(&Isda::new(0.5, form)), ce(&alone));
        let bound = zero.consistency(&case.outputs(), Step::default()).unwrap().item();
        assert!(bound.abs() < 1e-15, "{bound}");
    }
}

#[test]
fn one_class_has_loss_0_and_two_classes_a_softplus() {
    for form in FORMS {
        let one = Case::new(5, 3, 1, 2);
        assert_eq!(one.of(&one.isda(0.5, form)), 0.0);
        let two = Case::new(6, 3, 2, 3);
        let (isda, z) = (two.isda(0.8, form), two.outputs().values);
        let v = two.w.select(0, 0) - two.w.select(0, 1);
        let softplus = |i: usize| {
            let y = two.labels[i] as usize;
            let s = isda.estimate.covariance(y);
            let sv = if form == Covariance::Full { s.matmul(&v.unsqueeze(1)).reshape([3]) } else { s * &v };
            let gap = z.at(&[i, 1 - y]) - z.at(&[i, y]) + 0.4 * (sv * &v).sum(..).item();
            (1.0 + gap.exp()).ln()
        };
        let expected = (0..6).map(softplus).sum::<f64>() / 6.0;
        assert!((two.of(&isda) - expected).abs() < 1e-14);
    }
}

#[test]
fn it_bounds_the_sampled_loss_and_its_moment_is_exact() {
    let case = Case::new(3, 4, 3, 5);
    let lambda: f64 = 0.3;
    let isda = case.isda(lambda, Covariance::Full);
    let (draws, mut loss, mut moments) = (40_000, 0.0, 0.0);
    for i in 0..3 {
        let y = case.labels[i] as usize;
        let root = isda.estimate.covariance(y).cholesky() * lambda.sqrt();
        let noise = draw(&[draws, 4], Key::new(i as u64), "noise");
        let z = (case.a.narrow(0, i, 1) + noise.matmul_nt(&root)).matmul_nt(&case.w) + &case.b;
        let gaps = (&z - z.narrow(1, y, 1)).exp().sum(1);
        moments += gaps.mean(..).item().ln() / 3.0;
        loss += gaps.log().mean(..).item() / 3.0;
    }
    let bound = case.of(&isda);
    assert!(ce(&case) < bound && loss < bound, "{loss} {bound}");
    assert!((moments - bound).abs() < 0.02 * bound, "{moments} {bound}");
    // Without labels: the divergence that is sampled lies between 0 and the bound.
    let bound = isda.consistency(&case.outputs(), Step::default()).unwrap().item();
    let z = case.outputs().values;
    let (log_p, predicted) = (z.log_softmax(1), z.argmax(1).to_vec());
    let mut divergence = 0.0;
    for (i, &c) in predicted.iter().enumerate() {
        let root = isda.estimate.covariance(c).cholesky() * lambda.sqrt();
        let noise = draw(&[draws, 4], Key::new(i as u64), "noise");
        let z = (case.a.narrow(0, i, 1) + noise.matmul_nt(&root)).matmul_nt(&case.w) + &case.b;
        let own = log_p.narrow(0, i, 1);
        divergence += ((&own - z.log_softmax(1)) * own.exp()).sum(1).mean(..).item() / 3.0;
    }
    assert!(0.0 < divergence && divergence < bound, "{divergence} {bound}");
}

#[test]
fn features_get_the_gradient_of_cross_entropy_at_the_augmented_logits() {
    let case = Case::new(6, 4, 3, 6);
    for form in FORMS {
        // The batch's own features change the estimate, and get no gradient through it.
        let mut isda = Isda { frozen: false, ..case.isda(0.6, form) };
        let [da, _, db] = case.gradients(&isda);
        let targets: Targets = case.labels.clone().into();
        let _ = isda.loss(&case.outputs(), &targets, Step::default()).unwrap();
        let z = case.outputs().values;
        let augmented = Tensor::from_fn([6, 3], DType::F64, |at| {
            let (i, j) = (at / 3, at % 3);
            let y = case.labels[i] as usize;
            let (v, s) =
                (case.w.select(0, j as isize) - case.w.select(0, y as isize), isda.estimate.covariance(y));
            let sv = if form == Covariance::Full { s.matmul(&v.unsqueeze(1)).reshape([4]) } else { s * &v };
            z.at(&[i, j]) + 0.3 * (sv * v).sum(..).item()
        });
        let r = augmented.requires_grad();
        let r = CrossEntropy::default()
            .loss(&Outputs::new(r.clone()), &targets, Step::default())
            .unwrap()
            .grad(&r);
        assert_near(&Tensor::new(&da, [6, 4]), &r.matmul(&case.w), 1e-13, "features");
        assert_near(&Tensor::new(&db, [3]), &r.sum(0), 1e-13, "bias");
    }
}

#[test]
fn close_weights_do_not_cancel_in_f32() {
    // Rows near 1000 that differ by 1e-3: their squares have no digit of the difference left.
    let case = Case::new(8, 6, 4, 7);
    let w = (draw(&[4, 6], Key::new(7), "difference") * 1e-3 + 1000.0).to_dtype(DType::F32);
    for form in FORMS {
        let isda = Isda { lambda: 1e6, ..case.isda(0.0, form) };
        let of = |dtype: DType| {
            let (w, targets) = (w.to_dtype(dtype), Targets::Classes(case.labels.clone()));
            let classifier = Classifier { features: case.a.to_dtype(dtype), weight: w, bias: None };
            let values = Tensor::zeros([8, 4], dtype);
            let outputs = Outputs { values, classifier: Some(classifier) };
            isda.clone().loss(&outputs, &targets, Step::default()).unwrap().item()
        };
        let (single, double) = (of(DType::F32), of(DType::F64));
        assert!(double > 2.0 * 4f64.ln() / 2.0 && (single / double - 1.0).abs() < 1e-6, "{single} {double}");
    }
}

/// flatten, fc1, relu, fc2.
fn mlp(outputs: usize) -> Model {
    let layers = Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(4, 6, DType::F64))
        .with("relu", Activation::Relu)
        .with("fc2", Linear::new(6, outputs, DType::F64));
    let mut model = Model::new("small", [1, 2, 2], outputs, layers).unwrap();
    model.initialise(nn::Init::HE_NORMAL, Key::new(1));
    model
}

/// Eight examples of three classes, each with its own mean.
fn batch(i: u64) -> Batch {
    let labels = vec![0, 1, 2, 0, 1, 2, 0, 1];
    let means = Tensor::from_fn([8, 1, 2, 2], DType::F64, |at| f64::from(labels[at / 4] as usize == at % 4));
    Batch::new(Tensor::normal([8, 1, 2, 2], DType::F64, Key::new(2).step(i)) + means, labels)
}

fn trainer(form: Covariance) -> Trainer {
    let isda = Isda { ramp: Some(Ramp::new(20)), ..Isda::new(0.5, form) };
    Trainer::new(mlp(3), Optimizer::sgd(0.9), 0.05, Key::new(3)).loss(isda)
}

#[test]
fn a_run_keeps_what_it_promises() {
    for form in FORMS {
        let mut t = trainer(form);
        let (mut features, mut labels) = (Vec::new(), Vec::new());
        for i in 0..20 {
            let loss = t.batch_loss(&batch(i));
            let isda = Isda { ramp: Some(Ramp::new(20)), ..Isda::new(0.5, form) };
            assert!((isda.lambda_at(loss.step) - 0.5 * i as f64 / 20.0).abs() < 1e-15);
            let plain = BatchLoss { loss: Box::new(CrossEntropy::default()), ..loss.clone() };
            features.push(loss.outputs(&loss.batch.inputs).classifier.unwrap().features.detach());
            labels.extend(loss.batch.targets.labels().unwrap().to_vec());
            let plain = plain.pass().unwrap().loss.item();
            let found = t.step(&batch(i)).unwrap().loss;
            assert!(if i == 0 { found == plain } else { found > plain }, "step {i}: {found} {plain}");
        }
        // The estimate is that of all recorded features at once.
        let all = Tensor::concat(&features.iter().collect::<Vec<_>>(), 0);
        let state = t.loss.state();
        for class in 0..3u32 {
            let rows: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == class).collect();
            let x = all.index_select(0, &autograd::Index::new(&rows, [rows.len()]));
            let centred = &x - x.mean(0);
            let full = centred.matmul_tn(&centred) / rows.len() as f64;
            let expected = if form == Covariance::Full { full } else { full.diagonal(0) };
            assert_near(&state[2].1.select(0, class as isize), &expected, 1e-12, "covariance");
            assert_eq!(state[0].1.at(&[class as usize]), rows.len() as f64);
        }
    }
}

#[test]
fn a_run_resumes_bit_for_bit() {
    let bits = |t: &Trainer| {
        let all = t.checkpoint().tensors.into_iter();
        all.map(|(n, t)| (n, t.to_vec::<f64>().into_iter().map(f64::to_bits).collect::<Vec<_>>()))
            .collect::<Vec<_>>()
    };
    for form in FORMS {
        let mut whole = trainer(form);
        (0..4).for_each(|i| drop(whole.step(&batch(i)).unwrap()));
        let saved = Archive::from_bytes(&whole.checkpoint().to_bytes().unwrap()).unwrap();
        let mut resumed = trainer(form);
        resumed.restore(&saved).unwrap();
        for i in 4..8 {
            assert_eq!(whole.step(&batch(i)).unwrap().loss, resumed.step(&batch(i)).unwrap().loss);
        }
        assert_eq!(bits(&whole), bits(&resumed));
        // A form, or a loss, that the state is not of.
        let other = if form == Covariance::Full { Covariance::Diagonal } else { Covariance::Full };
        let error = trainer(other).restore(&saved).unwrap_err().to_string();
        assert!(error.contains(&format!("are not of one {other} estimate")), "{error}");
        assert!(Trainer::new(mlp(3), Optimizer::sgd(0.9), 0.05, Key::new(3)).restore(&saved).is_err());
    }
}

#[test]
fn a_step_with_two_passes_adds_its_examples_once_or_in_each() {
    for (bn_stats, times) in [(BnStats::Clean, 1.0), (BnStats::Every, 2.0)] {
        let mut t = trainer(Covariance::Full);
        t.method = Box::new(Sam { rho: 0.05, passes: Passes { bn_stats, ..Passes::default() } });
        t.step(&batch(0)).unwrap();
        assert_eq!(t.loss.state()[0].1.to_vec::<f64>(), [3.0 * times, 3.0 * times, 2.0 * times]);
    }
    // A step that fails adds none.
    let mut t = trainer(Covariance::Full);
    assert!(t.step(&Batch::new(batch(0).inputs * f64::NAN, vec![0; 8])).is_err());
    assert!(t.loss.state().is_empty());
}

#[test]
fn the_ramp_grows_by_step_or_by_epoch() {
    let at = |ramp, index| Isda { ramp, ..Isda::default() }.lambda_at(Step { index, lr: 0.1 });
    assert_eq!(at(None, 7), 0.5);
    assert_eq!([0, 5, 10, 11].map(|i| at(Some(Ramp::new(10)), i)), [0.0, 0.25, 0.5, 0.5]);
    let epochs = Some(Ramp { total: 10, every: 5 });
    assert_eq!([0, 4, 5, 9].map(|i| at(epochs, i)), [0.0, 0.0, 0.25, 0.25]);
}

#[test]
fn evaluations_are_plain() {
    let case = Case::new(5, 3, 3, 8);
    assert_eq!(case.of(&*case.isda(0.5, Covariance::Full).evaluation()), ce(&case));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let case = Case::new(5, 3, 3, 8);
    let isda = case.isda(0.5, Covariance::Full);
    let of = |isda: &Isda, outputs: &Outputs, targets: Targets| {
        isda.clone().loss(outputs, &targets, Step::default()).err().map(|e| e.to_string()).unwrap_or_default()
    };
    let labels = || Targets::Classes(vec![0; 5]);
    let bare = Outputs::new(case.outputs().values);
    let wide = Case::new(5, 4, 3, 8);
    let ramp = |total, every| Isda { ramp: Some(Ramp { total, every }), ..isda.clone() };
    let shares = Targets::Distributions(Tensor::full([5, 3], 1.0 / 3.0, DType::F64));
    let free = Isda { frozen: false, ..isda.clone() };
    for (found, said) in [
        (
            of(&isda, &bare, labels()),
            "isda: its features are the input of a linear classifier, and the model does not",
        ),
        (of(&isda, &case.outputs(), shares), "isda: the targets must be classes"),
        (of(&isda, &case.outputs(), vec![3; 5].into()), "a label 3, the model 3 classes"),
        (
            of(&free, &wide.outputs(), labels()),
            "4 features of 3 classes do not continue 3 features of 3 classes",
        ),
        (
            of(&isda, &wide.outputs(), labels()),
            "the estimate is of 3 classes with 3 features, the classifier has shape",
        ),
        (
            of(&Isda { frozen: true, ..Isda::default() }, &case.outputs(), labels()),
            "of 0 classes with 0 features",
        ),
        (
            of(&Isda { lambda: -1.0, ..isda.clone() }, &case.outputs(), labels()),
            "lambda is -1; it must be finite",
        ),
        (of(&Isda { lambda: f64::NAN, ..isda.clone() }, &case.outputs(), labels()), "lambda is NaN"),
        (of(&ramp(0, 1), &case.outputs(), labels()), "the ramp has 0 steps"),
        (of(&ramp(10, 0), &case.outputs(), labels()), "the ramp grows every 0 steps"),
    ] {
        assert!(found.contains(said), "{found}");
    }
    // A model that does not end in a linear layer.
    let layers = Sequential::new().with("flatten", Flatten);
    let model = Model::new("flat", [1, 1, 3], 3, layers).unwrap();
    let batch = Batch::new(Tensor::zeros([2, 1, 1, 3], DType::F64), vec![0, 1]);
    let loss = BatchLoss { loss: Box::new(Isda::default()), ..BatchLoss::new(model, batch) };
    assert!(loss.pass().err().unwrap().to_string().contains("does not end in one"));
    let error = isda.clone().load_state(&[("mean".to_string(), Tensor::from(1.0))]).unwrap_err().to_string();
    assert!(error.contains("count, mean and covariance are needed, not mean"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn it_grows_with_lambda_from_cross_entropy(
        n in 1..8usize, d in 1..6usize, classes in 2..5usize, seed: u64, lambda in 1e-3..3.0f64,
    ) {
        let case = Case::new(n, d, classes, seed);
        for form in FORMS {
            let at = |share: f64| case.of(&case.isda(share * lambda, form));
            let values = [ce(&case), at(0.3), at(0.6), at(1.0)];
            prop_assert!(values.windows(2).all(|w| w[0] < w[1]), "{values:?}");
            let bound = case.isda(lambda, form).consistency(&case.outputs(), Step::default()).unwrap().item();
            prop_assert!(bound > 0.0);
        }
    }

    #[test]
    fn a_vector_added_to_every_row_changes_nothing(d in 1..6usize, classes in 1..5usize, seed: u64) {
        let case = Case::new(6, d, classes, seed);
        let u = draw(&[d], Key::new(seed), "u") * 3.0;
        let moved = Case { w: &case.w + u, ..Case::new(6, d, classes, seed) };
        for form in FORMS {
            let (a, b) = (case.of(&case.isda(0.5, form)), moved.of(&case.isda(0.5, form)));
            prop_assert!((a - b).abs() < 1e-11 * (1.0 + a.abs()), "{a} {b}");
        }
    }

    #[test]
    fn a_diagonal_matrix_is_the_diagonal_form(d in 1..6usize, classes in 1..5usize, seed: u64, s in 0.1..2.0f64) {
        let case = Case::new(6, d, classes, seed);
        let diagonal = case.isda(0.5, Covariance::Diagonal);
        let embed = |state: &[(String, Tensor)]| {
            let mut state = state.to_vec();
            state[2].1 = state[2].1.diag_embed(0);
            let mut full = case.isda(0.5, Covariance::Full);
            full.load_state(&state).unwrap();
            full
        };
        let full = embed(&diagonal.state());
        prop_assert!((case.of(&diagonal) - case.of(&full)).abs() < 1e-13);
        for (a, b) in case.gradients(&diagonal).iter().flatten().zip(case.gradients(&full).iter().flatten()) {
            prop_assert!((a - b).abs() < 1e-13);
        }
        // s I: the added term is lambda / 2 s |v|^2.
        let mut state = diagonal.state();
        state[2].1 = Tensor::full([classes, d], s, DType::F64);
        let of = |i: usize| {
            let (z, y) = (case.outputs().values.select(0, i as isize), case.labels[i] as isize);
            let v = &case.w - case.w.select(0, y);
            let z = z + (&v * &v).sum(1) * (0.25 * s);
            (z.logsumexp(0) - z.select(0, y)).item()
        };
        let expected = (0..6).map(of).sum::<f64>() / 6.0;
        prop_assert!((case.of(&embed(&state)) - expected).abs() < 1e-12 * (1.0 + expected));
    }

    #[test]
    fn rotations_change_nothing(d in 2..6usize, classes in 1..5usize, seed: u64) {
        let case = Case::new(6, d, classes, seed);
        let (_, r) = {
            let m = draw(&[d, d], Key::new(seed), "rotation");
            (&m + m.transpose(0, 1)).eigh()
        };
        let isda = case.isda(0.5, Covariance::Full);
        let mut state = isda.state();
        let turned = (0..classes).map(|c| r.matmul_tn(isda.estimate.covariance(c)).matmul(&r)).collect::<Vec<_>>();
        state[2].1 = Tensor::stack(&turned.iter().collect::<Vec<_>>(), 0);
        let mut turned = isda.clone();
        turned.load_state(&state).unwrap();
        let other = Case { a: case.a.matmul(&r), w: case.w.matmul(&r), ..Case::new(6, d, classes, seed) };
        let (a, b) = (case.of(&isda), other.of(&turned));
        prop_assert!((a - b).abs() < 1e-11 * (1.0 + a), "{a} {b}");
    }

    #[test]
    fn the_estimate_is_that_of_all_features_however_they_are_cut(
        cuts in prop::collection::vec(0..12usize, 0..5), d in 1..5usize, classes in 1..4usize, seed: u64, offset in 0.0..1e3f64,
    ) {
        let n = 12;
        let case = Case::new(n, d, classes, seed);
        let a = &case.a + offset;
        let mut cuts = cuts;
        cuts.extend([0, n]);
        cuts.sort_unstable();
        for form in FORMS {
            let mut whole = ClassCovariance::new(form);
            whole.update(&a, &case.labels, classes).unwrap();
            let mut parts = ClassCovariance::new(form);
            for cut in cuts.windows(2) {
                let labels = &case.labels[cut[0]..cut[1]];
                parts.update(&a.slice_axis(0, cut[0]..cut[1]), labels, classes).unwrap();
            }
            let mut backwards = ClassCovariance::new(form);
            let labels: Vec<u32> = case.labels.iter().rev().copied().collect();
            backwards.update(&a.flip(0), &labels, classes).unwrap();
            for class in 0..classes {
                let s = whole.covariance(class);
                prop_assert_eq!(s.to_vec::<f64>(), parts.covariance(class).to_vec::<f64>(), "bit for bit");
                let rows: Vec<usize> = (0..n).filter(|&i| case.labels[i] as usize == class).collect();
                prop_assert_eq!(whole.count(class), rows.len() as u64);
                let tolerance = 1e-13 * (1.0 + offset);
                assert!((s - backwards.covariance(class)).abs().max(..).item() < tolerance);
                if rows.is_empty() {
                    prop_assert!(s.to_vec::<f64>().iter().all(|v| *v == 0.0));
                    continue;
                }
                // The definition, without the offset.
                let x = case.a.index_select(0, &autograd::Index::new(&rows, [rows.len()]));
                let centred = &x - x.mean(0);
                let exact = centred.matmul_tn(&centred) / rows.len() as f64;
                let exact = if form == Covariance::Full { exact } else { exact.diagonal(0) };
                prop_assert!((s - exact).abs().max(..).item() < tolerance);
                prop_assert!((whole.mean(class) - x.mean(0) - offset).abs().max(..).item() < tolerance);
                prop_assert!(rows.len() > 1 || s.abs().max(..).item() == 0.0);
                if form == Covariance::Full {
                    prop_assert_eq!(s.to_vec::<f64>(), s.transpose(0, 1).to_vec::<f64>());
                    prop_assert!(s.eigh().0.min(..).item() > -tolerance);
                }
            }
        }
    }
}
