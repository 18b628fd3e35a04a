//! Gradient checks of the layers and models.

use autograd::{ConvOptions, DType, Group, Input, Key, Sample, Tensor};

use crate::attack::Norm;
use crate::binary::AdaptiveShift;
use crate::layers::{
    Activation, AvgPool2d, BatchNorm, Conv2d, Dropout, Flatten, GlobalAvgPool, GlobalMaxPool, GroupNorm,
    LayerNorm, Linear, MaxPool2d, PRelu, Sequential,
};
use crate::losses::{Classifier, Covariance, CrossEntropy, Isda, Loss, Mse, Outputs};
use crate::meta::{Adaptation, Learner, MetaModel};
use crate::models::{self, Model};
use crate::module::{Context, Kind, Module};
use crate::penalties::{
    DeformationPenalty, GradientPenalty, LossGradientPenalty, Penalty, SpectralPenalty, TangentPenalty,
    Transforms,
};
use crate::train::{Batch, BatchLoss, Step, Targets};

/// Samples of every layer, loss and penalty, every family of models, and every learner of second order: functions of the
/// input and of all parameters.
///
/// Those of models ([`Group::Model`]) are for f64. Their thousands of ReLUs and maxima have kinks too close together
/// for a difference quotient in f32.
pub fn samples() -> Vec<Sample> {
    let mut list = layers();
    list.extend(losses());
    list.extend(penalties());
    list.extend(networks());
    list.extend(learners());
    list
}

/// Penalties as functions of the parameters of a smooth network. Second derivatives of a penalty are third ones of the
/// network, too many for difference quotients in f32: like models they are for f64. Gradients that hold a part of the
/// penalty constant (a perturbation, predictions) are no derivatives, and are compared with PyTorch instead.
fn penalties() -> Vec<Sample> {
    let sample = |penalty: &dyn Penalty, activation: Activation| {
        let layers = Sequential::new()
            .with("conv", Conv2d::new(1, 2, 3, DType::F64).padding(1))
            .with("f", activation)
            .with("pool", AvgPool2d::new(2))
            .with("flatten", Flatten)
            .with("fc", Linear::new(8, 3, DType::F64));
        let model = Model::new("small", [1, 4, 4], 3, layers).expect("the shapes fit");
        let inputs =
            model.named_parameters().iter().map(|(_, t)| Input::normal(t.shape())).collect::<Vec<_>>();
        let (name, penalty) = (format!("{} penalty", penalty.name()), penalty.clone_penalty());
        let f = move |p: &[Tensor]| {
            let mut parameters = p.iter();
            let model = model.map(|_, _| parameters.next().expect("one value a parameter").clone());
            let x = Tensor::normal([4, 1, 4, 4], p[0].dtype(), Key::new(6));
            let loss = BatchLoss::new(model, Batch::new(x, vec![2, 0, 1, 1]));
            penalty.clone_penalty().penalty(&loss).expect("the options are in range")
        };
        Sample::new(name, format!("{activation:?}"), inputs, f).group(Group::Model)
    };
    let tangents = Transforms::new(|x, count, key| {
        let shape = [&[x.shape()[0], count], &x.shape()[1..]].concat();
        Tensor::normal(&shape, x.dtype(), key)
    });
    let against = |against| LossGradientPenalty { against, weight: 1.0 };
    let all: [Box<dyn Penalty>; 6] = [
        Box::new(GradientPenalty { weight: 1.0 }),
        Box::new(against(Norm::L2)),
        Box::new(against(Norm::LInf)),
        Box::new(DeformationPenalty { versions: 3, ..DeformationPenalty::new(1.0, tangents.clone()) }),
        Box::new(TangentPenalty { directions: 3, ..TangentPenalty::new(1.0, tangents) }),
        Box::new(SpectralPenalty::exact(1.0)),
    ];
    let smooth = [Activation::Softplus, Activation::Tanh];
    all.iter().flat_map(|penalty| smooth.map(|activation| sample(&**penalty, activation))).collect()
}

fn losses() -> Vec<Sample> {
    let sample = |name: &str, case: &str, loss: &dyn Loss, input: Input, targets: Targets| {
        let loss = loss.clone_loss();
        let f = move |x: &[Tensor]| {
            let targets = match &targets {
                Targets::Distributions(t) => Targets::Distributions(t.to_dtype(x[0].dtype())),
                other => other.clone(),
            };
            let value = loss.clone().loss(&Outputs::new(x[0].clone()), &targets, Step::default());
            value.expect("outputs and targets fit")
        };
        Sample::new(name, case, [input], f).group(Group::Loss)
    };
    let floor = CrossEntropy { floor: 1e-4, ..CrossEntropy::default() };
    let smoothed = CrossEntropy { smoothing: 0.1, ..floor.clone() };
    let labels = || Targets::Classes(vec![2, 0, 2]);
    let shares = Tensor::from([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.0, 0.9, 0.1]]);
    let logits = || Input::normal([3, 3]);
    let mut list = vec![
        sample("cross-entropy with a floor", "", &floor, logits(), labels()),
        sample("cross-entropy with a floor", "smoothed", &smoothed, logits(), labels()),
        sample("cross-entropy with a floor", "soft", &floor, logits(), Targets::Distributions(shares)),
        sample("mse of classes", "", &Mse, logits(), labels()),
        sample(
            "mse of values",
            "a column",
            &Mse,
            Input::normal([3, 1]),
            Targets::Values(Tensor::from([1.0, -2.0, 0.5])),
        ),
    ];
    list.extend(augmented());
    list
}

/// ISDA as a function of features, weight and bias of the classifier. Of the four classes one has a single example and
/// one none; one label occurs twice.
fn augmented() -> Vec<Sample> {
    let sample = |case: &str, form: Covariance| {
        let mut isda = Isda { frozen: true, ..Isda::new(0.7, form) };
        let seen = Tensor::normal([7, 3], DType::F64, Key::new(7));
        isda.estimate.update(&seen, &[0, 0, 0, 1, 1, 1, 2], 4).expect("features and labels fit");
        let f = move |x: &[Tensor]| {
            let classifier =
                Classifier { features: x[0].clone(), weight: x[1].clone(), bias: Some(x[2].clone()) };
            let outputs = Outputs { values: x[0].matmul_nt(&x[1]) + &x[2], classifier: Some(classifier) };
            let value = isda.clone().loss(&outputs, &vec![1, 0, 1, 2].into(), Step::default());
            value.expect("outputs and targets fit")
        };
        let inputs = [Input::normal([4, 3]), Input::normal([4, 3]), Input::normal([4])];
        Sample::new("isda", case, inputs, f).group(Group::Loss)
    };
    vec![sample("full", Covariance::Full), sample("diagonal", Covariance::Diagonal)]
}

fn layers() -> Vec<Sample> {
    use DType::F64;
    let n = |dims: &[usize]| Input::normal(dims);
    let image = || n(&[2, 4, 4, 5]);
    let apart = || Input::apart([2, 2, 4, 5], 0);
    let kinked = || Input::away_from(0.0, 0.2, [3, 4]);
    let options = ConvOptions { stride: [2, 1], padding: [1, 0], dilation: [1, 2], groups: 2 };
    let two = Sequential::new()
        .with("fc1", Linear::new(3, 4, F64))
        .with("tanh", Activation::Tanh)
        .with("fc2", Linear::new(4, 2, F64));
    let mut list = vec![
        layer("linear", "", Linear::new(4, 3, F64), n(&[5, 4]), true),
        layer("linear", "without bias", Linear::new(4, 3, F64).without_bias(), n(&[5, 4]), true),
        layer("linear", "no items", Linear::new(4, 3, F64), n(&[0, 4]), true),
        layer("conv2d layer", "", Conv2d::new(4, 3, 3, F64).padding(1), image(), true),
        layer(
            "conv2d layer",
            "all options",
            Conv2d::with_options(4, 2, [3, 2], options, F64),
            n(&[1, 4, 3, 4]),
            true,
        ),
        layer("batch_norm layer", "train, images", BatchNorm::new(4, F64), image(), true),
        layer("batch_norm layer", "train, features", BatchNorm::new(3, F64).eps(1e-3), n(&[5, 3]), true),
        layer("batch_norm layer", "eval", BatchNorm::new(4, F64), image(), false),
        layer("layer_norm layer", "", LayerNorm::new(&[4, 5], F64), n(&[2, 4, 5]), true),
        layer("group_norm layer", "", GroupNorm::new(2, 4, F64), image(), true),
        layer("dropout layer", "train", Dropout::new(0.4), n(&[4, 5]), true),
        layer("dropout layer", "eval", Dropout::new(0.4), n(&[4, 5]), false),
        layer("max_pool2d layer", "", MaxPool2d::new(2), apart(), true),
        layer(
            "max_pool2d layer",
            "overlapping",
            MaxPool2d { kernel: [3, 2], stride: [1, 1], padding: [1, 0] },
            apart(),
            true,
        ),
        layer("avg_pool2d layer", "", AvgPool2d::new(2), image(), true),
        layer("global_avg_pool", "", GlobalAvgPool, image(), true),
        layer("global_max_pool", "", GlobalMaxPool, apart(), true),
        layer("flatten layer", "", Flatten, image(), true),
        layer("prelu layer", "", PRelu::new(4, F64), Input::away_from(0.0, 0.2, [2, 4, 3, 2]), true),
        layer("adaptive shift", "train", AdaptiveShift::new(4, F64), image(), true),
        layer("adaptive shift", "eval", AdaptiveShift::new(4, F64), image(), false),
        layer("sequential", "", two, n(&[5, 3]), true),
    ];
    use Activation::*;
    for f in [Relu, LeakyRelu(0.1), Tanh, Sigmoid, Gelu, Silu, Softplus] {
        list.push(layer("activation", &format!("{f:?}"), f, kinked(), true));
    }
    list
}

fn layer(name: &str, case: &str, layer: impl Module + Clone + 'static, x: Input, train: bool) -> Sample {
    let mut inputs = vec![x];
    inputs.extend(layer.named_parameters().iter().map(|(_, t)| Input::normal(t.shape())));
    let f = move |x: &[Tensor]| {
        let mut layer = layer.to_dtype(x[0].dtype());
        put(&mut layer, &x[1..]);
        forward(&mut layer, &x[0], train)
    };
    Sample::new(name, case, inputs, f).group(Group::Layer)
}

/// A network and its batch change by this much for an input of 1, so that no difference quotient crosses a kink.
const SPREAD: f64 = 1e-3;

fn networks() -> Vec<Sample> {
    let sample = |mut model: Model, case: &str| {
        let (train, [c, h, w]) = (case != "eval", model.input);
        let name = model.name.clone();
        model.visit_mut(&mut away_from_kinks);
        let batch = Tensor::normal([3, c, h, w], DType::F64, Key::new(6));
        let mut inputs = vec![Input::normal(batch.shape())];
        inputs.extend(model.named_parameters().iter().map(|(_, t)| Input::normal(t.shape())));
        let f = move |x: &[Tensor]| {
            let dtype = x[0].dtype();
            let mut model = model.to_dtype(dtype);
            let parameters: Vec<Tensor> = model
                .named_parameters()
                .iter()
                .zip(&x[1..])
                .map(|((_, p), x)| p.detach() + x * SPREAD)
                .collect();
            put(&mut model, &parameters);
            let mut cx = context(train);
            let y = model.forward(&(batch.to_dtype(dtype) + &x[0] * SPREAD), &mut cx);
            cx.penalties().iter().fold(y, |y, (_, term)| y + term)
        };
        Sample::new(&name, case, inputs, f).group(Group::Model)
    };
    let tiny = |name: &str, size: usize, train: bool| {
        let model = models::build(name, [1, size, size], 3, 1, Key::new(5), DType::F64);
        sample(model.expect("the sizes are right"), if train { "train" } else { "eval" })
    };
    let few = |name: &str, input: [usize; 3], case: &str| sample(models::tiny(name, input), case);
    vec![
        tiny("mlp", 3, true),
        tiny("lenet", 4, true),
        tiny("cnn6", 8, true),
        tiny("cnn9", 8, true),
        tiny("cnn9", 8, false),
        tiny("conv4", 8, true),
        tiny("resnet20", 8, true),
        // At half the size the last batch norms would have three values per channel, too few for f32.
        few("resnet18", [1, 64, 64], "few filters and blocks"),
        few("resnet50", [1, 64, 64], "few filters and blocks"),
        few("pointnet", [3, 7, 1], "few neurons, with the penalty"),
        few("pointnet-vanilla", [3, 7, 1], "few neurons"),
        few("vgg11", [1, 8, 8], "few filters"),
        few("resnet18-nobn", [1, 8, 8], "few filters"),
    ]
}

/// The query loss after two steps of adaptation with some gradients dropped, as a function of what is meta-learned.
fn learners() -> Vec<Sample> {
    use DType::F64;
    let layers = Sequential::new()
        .with("flatten", Flatten)
        .with("fc1", Linear::new(3, 4, F64))
        .with("bn", BatchNorm::new(4, F64))
        .with("tanh", Activation::Tanh)
        .with("fc2", Linear::new(4, 2, F64));
    let model = Model::new("small", [3, 1, 1], 2, layers).expect("the layers fit");
    let sample = |case: &str, learner: Learner| {
        let adaptation = Adaptation { learner, steps: 2, rate: 0.1 };
        let start = MetaModel::new(model.clone(), &adaptation);
        let inputs: Vec<Input> =
            start.named_parameters().iter().map(|(_, p)| Input::uniform(0.2, 0.8, p.shape())).collect();
        let f = move |x: &[Tensor]| {
            let batch = |key: u64| {
                let draw = |shape: &[usize]| Tensor::normal(shape, x[0].dtype(), Key::new(key));
                Batch::new(draw(&[5, 3, 1, 1]), Targets::Values(draw(&[5, 2])))
            };
            let mut start = start.to_dtype(x[0].dtype());
            put(&mut start, x);
            let support = BatchLoss { loss: Box::new(Mse), ..BatchLoss::new(start.model.clone(), batch(7)) };
            let kept = |k: usize, name: &str, g: &Tensor| {
                Some(Tensor::ones(*g.shape(), g.dtype()).dropout(0.3, Key::new(k as u64).stream(name)))
            };
            let model = adaptation.adapt(&start, &support, &kept).expect("the batch fits");
            BatchLoss { model, batch: batch(8), ..support }.pass().expect("the batch fits").loss
        };
        Sample::new("adaptation", case, inputs, f).group(Group::Model)
    };
    vec![sample("maml", Learner::Maml), sample("meta-sgd", Learner::MetaSgd), sample("anil", Learner::Anil)]
}

/// Batch norms that leave each channel well above or well below the kink of the ReLU behind it. Those at the
/// end of a residual block are all above: something positive is added to them.
fn away_from_kinks(name: &str, t: &mut Tensor, kind: Kind) {
    let ends = [".bn2.", ".bn3.", ".downsample.1."].iter().any(|end| name.contains(end));
    if kind == Kind::Parameter && (name.contains("bn") || ends) {
        let sign = |i: usize| if i.is_multiple_of(2) || ends { 1.0 } else { -1.0 };
        let value = |i: usize| if name.ends_with("weight") { 0.2 } else { sign(i) };
        t.assign(&Tensor::from_fn(t.shape(), t.dtype(), value));
    }
}

/// Replaces the parameters, in the order of the visitors.
fn put(module: &mut dyn Module, values: &[Tensor]) {
    let mut values = values.iter();
    module.visit_mut(&mut |_, t, kind| {
        if kind == Kind::Parameter {
            *t = values.next().expect("one value a parameter").clone();
        }
    });
}

fn forward(module: &mut dyn Module, x: &Tensor, train: bool) -> Tensor {
    module.forward(x, &mut context(train))
}

fn context(train: bool) -> Context {
    if train { Context::train(Key::new(4)) } else { Context::eval() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_all_pass(samples: Vec<Sample>, dtype: DType) {
        let failed: Vec<String> = samples
            .iter()
            .filter_map(|s| {
                let report = s.check(dtype, 2);
                (!report.pass()).then(|| format!("{} ({}):\n{report}", s.name, s.case))
            })
            .collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }

    #[test]
    fn losses_pass_at_orders_1_and_2() {
        assert_all_pass(losses(), DType::F64);
        assert_all_pass(losses(), DType::F32);
    }

    #[test]
    fn penalties_pass_at_orders_1_and_2() {
        assert_all_pass(penalties(), DType::F64);
    }

    #[test]
    fn layers_pass_at_orders_1_and_2() {
        assert_all_pass(layers(), DType::F64);
        assert_all_pass(layers(), DType::F32);
    }

    #[test]
    fn models_pass_at_orders_1_and_2() {
        assert_all_pass(networks(), DType::F64);
    }

    #[test]
    fn learners_pass_at_orders_1_and_2() {
        assert_all_pass(learners(), DType::F64);
    }
}
