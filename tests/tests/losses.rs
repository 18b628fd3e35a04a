//! Losses against PyTorch, to second order.

use autograd::{CrossEntropy, Index, Reduction, Tensor};
use tests::Fixtures;

const TOLERANCE: f64 = 1e-9;

struct Case<'a> {
    f: &'a Fixtures,
    name: &'a str,
}

impl Case<'_> {
    fn given(&self, name: &str) -> Option<Tensor> {
        self.f.get(&format!("{}/{name}", self.name)).cloned()
    }

    fn t(&self) -> Tensor {
        self.given("t").expect("a target")
    }

    fn reduction(&self) -> Reduction {
        match self.name.rsplit(['_', '/']).next() {
            Some("mean") => Reduction::Mean,
            Some("sum") => Reduction::Sum,
            other => panic!("{}: reduction {other:?}", self.name),
        }
    }

    fn check(&self, loss: impl Fn(&Tensor) -> Tensor) {
        let x = self.given("x").expect("an input");
        self.f.check(self.name, &[("x", x)], &["t", "weights", "pos_weight"], TOLERANCE, |x| loss(&x[0]));
    }
}

fn each(prefix: &str, check: impl Fn(Case<'_>)) {
    let f = Fixtures::read("losses");
    for name in f.cases(prefix).keys() {
        check(Case { f: &f, name });
    }
}

#[test]
fn cross_entropy() {
    each("cross_entropy/", |case| {
        let smoothing = case.name.split("_ls").nth(1).and_then(|s| s.split('_').next()).expect("a smoothing");
        let options = CrossEntropy {
            label_smoothing: smoothing.parse().unwrap(),
            class_weights: case.given("weights").map(|w| w.to_vec()),
            reduction: case.reduction(),
            ..CrossEntropy::default()
        };
        let t = case.t();
        if case.name.contains("/labels") {
            let labels: Vec<u32> = t.to_vec::<f64>().iter().map(|&v| v as u32).collect();
            case.check(|x| x.cross_entropy(&Index::from(labels.clone()), options.clone()));
        } else {
            case.check(|x| x.cross_entropy_soft(&t, options.clone()));
        }
    });
}

#[test]
fn regression() {
    each("mse/", |case| case.check(|x| x.mse(&case.t(), case.reduction())));
    each("l1/", |case| case.check(|x| x.l1(&case.t(), case.reduction())));
    for delta in [0.5, 1.0] {
        each(&format!("huber_{delta:?}/"), |case| {
            case.check(|x| x.huber(&case.t(), delta, case.reduction()))
        });
        each(&format!("smooth_l1_{delta:?}/"), |case| {
            case.check(|x| x.smooth_l1(&case.t(), delta, case.reduction()));
        });
    }
}

#[test]
fn bce_with_logits() {
    each("bce_with_logits/", |case| {
        let weight = case.given("pos_weight");
        case.check(|x| x.bce_with_logits(&case.t(), weight.as_ref(), case.reduction()));
    });
}

#[test]
fn softmax() {
    each("softmax/", |case| case.check(|x| x.softmax(-1)));
    each("log_softmax/", |case| case.check(|x| x.log_softmax(-1)));
}

#[test]
fn with_narrower_instruction_sets() {
    tests::again_with_narrower_instruction_sets();
}
