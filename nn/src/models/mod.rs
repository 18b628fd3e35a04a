//! Whole networks, by name.

mod boolnet;
mod cnn;
mod conv4;
mod lenet;
mod mlp;
mod pointnet;
mod resnet_cifar;
mod resnet_imagenet;
mod resnet_plain;
mod vgg;

use std::sync::Arc;

use autograd::{DType, Key, Shape, Tensor};
use registry::Row as Named;

use crate::error::Error;
use crate::init::Init;
use crate::layers::Sequential;
use crate::module::{Change, Context, Kind, Module, See};
use crate::summary::{Row, Summary};

/// A network for images: a sequence of layers with its input shape and number of outputs.
#[derive(Clone)]
pub struct Model {
    /// Its name in [`build`].
    pub name: String,
    /// The shape [C, H, W] of an image.
    pub input: [usize; 3],
    /// The number of classes, or of outputs.
    pub classes: usize,
    layers: Sequential,
    /// Where the weights are; found once, for all copies.
    places: Arc<[Place]>,
}

/// The role of a weight in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The filters of a convolution.
    Conv,
    /// The neurons of a fully connected layer before the last.
    Hidden,
    /// The neurons of the last fully connected layer, one for each class.
    Classifier,
}

/// A weight of a network, as the input of a regulariser.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Its name in the state dict: unique, and the same in every step and every run.
    pub name: String,
    /// Its value: [out, in, kh, kw] or [out, in].
    pub value: Tensor,
    /// Its role.
    pub role: Role,
    /// The stride of a convolution, (height, width); 1 for other layers.
    pub stride: [usize; 2],
}

impl Weight {
    /// A weight of a layer before the last, of stride 1.
    ///
    /// ```
    /// use autograd::{DType, Tensor};
    /// use nn::{Role, Weight};
    /// let weight = Weight::new("fc1.weight", &Tensor::zeros([4, 8], DType::F32));
    /// assert_eq!(weight.role, Role::Hidden);
    /// ```
    pub fn new(name: impl Into<String>, value: &Tensor) -> Weight {
        let role = if value.rank() > 2 { Role::Conv } else { Role::Hidden };
        Weight { name: name.into(), value: value.clone(), role, stride: [1, 1] }
    }

    /// The same weight in another role.
    pub fn role(self, role: Role) -> Weight {
        Weight { role, ..self }
    }

    /// The same weight outside every graph.
    pub fn detached(&self) -> Weight {
        Weight { value: self.value.detach(), ..self.clone() }
    }
}

/// A weight among the parameters of a network.
struct Place {
    parameter: usize,
    name: String,
    role: Role,
    stride: [usize; 2],
}

impl Model {
    /// A network from its layers.
    ///
    /// # Errors
    /// If the layers do not accept an image: which one, and why.
    pub fn new(
        name: impl Into<String>,
        input: [usize; 3],
        classes: usize,
        layers: Sequential,
    ) -> Result<Model, Error> {
        let places = places(&layers, &layers.check(&input)?).into();
        Ok(Model { name: name.into(), input, classes, layers, places })
    }

    /// The layers.
    pub fn layers(&self) -> &Sequential {
        &self.layers
    }

    /// The weights of convolutions and fully connected layers, in the order of the forward pass: the parameters with at
    /// least two axes. The last with exactly two is the classifier's.
    pub fn weights(&self) -> Vec<Weight> {
        let mut weights = Vec::with_capacity(self.places.len());
        let (mut places, mut parameter) = (self.places.iter().peekable(), 0);
        self.visit(&mut |_, t, kind| {
            if kind == Kind::Parameter {
                if let Some(&Place { ref name, role, stride, .. }) =
                    places.next_if(|p| p.parameter == parameter)
                {
                    weights.push(Weight { name: name.clone(), value: t.clone(), role, stride });
                }
                parameter += 1;
            }
        });
        weights
    }

    /// The table of layers for one image of the model's input shape.
    pub fn summary(&self) -> Summary {
        self.check(&self.input).expect("new has checked the input shape")
    }

    /// The dtype of the parameters.
    pub fn dtype(&self) -> DType {
        let mut dtype = DType::F32;
        self.visit(&mut |_, t, kind| {
            if kind == Kind::Parameter {
                dtype = t.dtype();
            }
        });
        dtype
    }
}

/// The weights among the parameters.
fn places(layers: &Sequential, summary: &Summary) -> Vec<Place> {
    let stride = |name: &str| {
        let of = |row: &&Row| name.strip_suffix(".weight") == Some(&row.name);
        summary.rows.iter().find(of).map_or([1, 1], |row| row.stride)
    };
    let role = |t: &Tensor| if t.rank() == 2 { Role::Hidden } else { Role::Conv };
    let parameters = layers.named_parameters().into_iter().enumerate();
    let mut places: Vec<Place> = parameters
        .filter(|(_, (_, t))| t.rank() >= 2)
        .map(|(parameter, (name, t))| Place { parameter, role: role(t), stride: stride(&name), name })
        .collect();
    if let Some(last) = places.iter_mut().rfind(|p| p.role == Role::Hidden) {
        last.role = Role::Classifier;
    }
    places
}

impl Module for Model {
    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        self.layers.forward(x, cx)
    }
    fn visit<'a>(&'a self, see: See<'_, 'a>) {
        self.layers.visit(see);
    }
    fn visit_mut<'a>(&'a mut self, change: Change<'_, 'a>) {
        self.layers.visit_mut(change);
    }
    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        self.layers.plan(path, input, plan)
    }
}

/// How a network is made by name.
#[derive(Clone, Copy)]
pub struct ModelSpec {
    layers: fn(Blueprint) -> Sequential,
    /// Checks of the input shape beyond those of the layers.
    check: fn(&str, [usize; 3]) -> Result<(), Error>,
    /// The approximate number of elements of the largest fully connected weight whose size grows with the image.
    dense: fn(Blueprint) -> f64,
    /// An upper bound of the inputs of the classifier at width 1.
    features: f64,
}

/// No fully connected weight whose size grows with the image, and a classifier of the usual size.
const SPEC: ModelSpec =
    ModelSpec { layers: |_| Sequential::new(), check: |_, _| Ok(()), dense: |_| 0.0, features: 512.0 };

/// Every network of [`build`].
pub static MODELS: &[Named<ModelSpec>] = &[
    lenet::ROW,
    mlp::ROW,
    mlp::MLP40,
    conv4::ROW,
    cnn::CNN6,
    cnn::CNN9,
    cnn::CNN15,
    resnet_cifar::RESNET20,
    resnet_cifar::RESNET32,
    resnet_cifar::RESNET44,
    resnet_cifar::RESNET56,
    resnet_cifar::RESNET110,
    resnet_imagenet::RESNET18,
    resnet_imagenet::RESNET34,
    resnet_imagenet::RESNET50,
    pointnet::POINTNET,
    pointnet::VANILLA,
    vgg::ROW,
    resnet_plain::ROW,
    boolnet::BASENET18_K1,
    boolnet::BASENET18_K4,
    boolnet::BASENET18_K8,
    boolnet::BOOLNET18_K1,
    boolnet::BOOLNET18_K4,
    boolnet::BOOLNET18_K8,
    boolnet::BOOLNET18_STAR,
    boolnet::BASENET_SMALL_K1,
    boolnet::BASENET_SMALL_K4,
    boolnet::BASENET_SMALL_K8,
    boolnet::BOOLNET_SMALL_K1,
    boolnet::BOOLNET_SMALL_K4,
    boolnet::BOOLNET_SMALL_K8,
];

/// The arguments of all network builders.
#[derive(Clone, Copy)]
struct Blueprint {
    input: [usize; 3],
    classes: usize,
    width: usize,
    dtype: DType,
}

/// Makes a network by name, with He-normal weights drawn from `key`.
///
/// `input` is the shape [C, H, W] of an image. `width` scales the number of filters: 16 width, 32 width and
/// 64 width for `cnn*` and `resnet*` (the usual ResNets have width 1); 32 width and 64 width for `lenet`, 128
/// width neurons for `mlp` and 40 width for `mlp40`; 32 width filters for `conv4`; `resnet18`, `resnet34`, `resnet50`,
/// `pointnet`, `vgg11`, `resnet18-nobn`, `basenet*` and `boolnet*` have their published sizes times width.
///
/// # Errors
/// If the name is unknown, a number is 0, or the image too small.
///
/// ```
/// use autograd::{DType, Key};
/// let model = nn::models::build("cnn9", [3, 32, 32], 10, 1, Key::new(0), DType::F32)?;
/// println!("{}", model.summary());
/// # Ok::<(), nn::Error>(())
/// ```
pub fn build(
    name: &str,
    input: [usize; 3],
    classes: usize,
    width: usize,
    key: Key,
    dtype: DType,
) -> Result<Model, Error> {
    let [channels, height, across] = input;
    let sizes = [("image channels", channels), ("image height", height), ("image width", across)];
    for (what, value) in [("width", width), ("classes", classes)].into_iter().chain(sizes) {
        if value == 0 {
            return Err(Error::Config(format!("model {name}: {what} is 0; at least 1 is needed")));
        }
    }
    let spec = registry::find(MODELS, "model", name).map_err(Error::Config)?.make;
    let b = Blueprint { input, classes, width, dtype };
    let largest = spec.largest_weight(b);
    if largest > MOST {
        return Err(Error::Config(format!(
            "model {name} of width {width} for {channels} x {height} x {across} in {classes} classes: one of its weights \
             alone would have about {largest:.1e} numbers; at most {MOST:.1e} are possible"
        )));
    }
    (spec.check)(name, input)?;
    let layers = (spec.layers)(b);
    let mut model = Model::new(name, input, classes, layers).map_err(|error| {
        let [_, h, w] = input;
        Error::Config(format!("model {name} does not take images of {h} x {w}: {error}"))
    })?;
    model.initialise(Init::HE_NORMAL, key);
    pointnet::start(&mut model);
    resnet_plain::start(&mut model);
    vgg::start(&mut model);
    crate::binary::start(&mut model);
    Ok(model)
}

/// The largest number of elements of a weight: 4 GiB in f32.
const MOST: f64 = (1u64 << 30) as f64;

impl ModelSpec {
    /// The approximate number of elements of the largest weight that grows with the data, computed before it is
    /// allocated.
    fn largest_weight(&self, b: Blueprint) -> f64 {
        let width = b.width as f64;
        let filters = b.input[0] as f64 * 64.0 * width * 49.0;
        let classifier = b.classes as f64 * self.features * width;
        (self.dense)(b).max(filters).max(classifier)
    }
}

/// The deep families with few filters and layers, for checks of their gradients.
pub(crate) fn tiny(name: &str, input: [usize; 3]) -> Model {
    let b = Blueprint { input, classes: 3, width: 1, dtype: DType::F64 };
    let depth = resnet_imagenet::Depth { blocks: [1, 2, 1, 1], bottleneck: name == "resnet50", filters: 2 };
    let sizes = pointnet::Sizes { shared: [2, 3, 5], dense: [4, 3] };
    let layers = match name {
        "resnet18" | "resnet50" => resnet_imagenet::layers(b, depth),
        "resnet18-nobn" => resnet_plain::layers(b, 2),
        "vgg11" => vgg::layers(b, 2),
        _ => pointnet::layers(b, sizes, name == "pointnet"),
    };
    let mut model = Model::new(name, input, b.classes, layers).expect("the image is large enough");
    // T-nets do not start at 0 here, since they would then pass no signal.
    model.initialise(Init::HE_NORMAL, Key::new(5));
    model
}

#[cfg(test)]
mod tests;
