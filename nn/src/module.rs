//! Modules: named tensors and a function of them.

use autograd::{DType, Key, Shape, Tensor, named_scope};

use crate::error::Error;
use crate::init::Init;
use crate::losses::Classifier;
use crate::summary::Summary;

/// The kind of a named tensor of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A learned tensor: a leaf of the graph that the optimiser changes.
    Parameter,
    /// A tensor outside the graph, such as running statistics.
    Buffer,
}

/// The context of a forward pass: what it depends on besides its input.
#[derive(Clone, Debug)]
pub struct Context {
    /// Whether layers that behave differently in training (batch norm, dropout) are in training mode.
    pub train: bool,
    /// Whether batch norm's running statistics become those of the batch.
    pub(crate) adopt: bool,
    key: Key,
    draws: u64,
    penalties: Vec<(&'static str, Tensor)>,
    classifier: Option<Classifier>,
    tap: Option<Tap>,
}

/// Stores the outputs of ReLUs.
#[derive(Clone, Debug, Default)]
struct Tap {
    path: Vec<String>,
    relus: Vec<(String, Tensor)>,
}

impl Context {
    /// Training mode; `key` determines the random draws of this step, for example dropout's.
    pub fn train(key: Key) -> Context {
        Context {
            train: true,
            adopt: false,
            key,
            draws: 0,
            tap: None,
            penalties: Vec::new(),
            classifier: None,
        }
    }

    /// Evaluation mode: no random draws, and no running statistics change.
    pub fn eval() -> Context {
        Context { train: false, ..Context::train(Key::new(0)) }
    }

    /// Training in which batch norm takes the batch's mean and biased variance as its running statistics, instead of
    /// averaging: evaluation then normalises with the statistics of this batch.
    pub fn adopting(self) -> Context {
        Context { train: true, adopt: true, ..self }
    }

    /// The same context, which keeps the outputs of ReLUs for [`Context::relus`].
    pub fn tapped(self) -> Context {
        Context { tap: Some(Tap::default()), ..self }
    }

    /// The same context with different random draws for each number.
    pub fn redrawn(self, number: u64) -> Context {
        Context { key: self.key.stream(&format!("pass {number}")), ..self }
    }

    /// Whether it keeps the outputs of ReLUs.
    pub(crate) fn is_tapped(&self) -> bool {
        self.tap.is_some()
    }

    /// Records a fully connected layer with its input. The last one of a forward pass is the classifier.
    pub fn linear(&mut self, features: &Tensor, weight: &Tensor, bias: Option<&Tensor>) {
        let bias = bias.cloned();
        self.classifier = Some(Classifier { features: features.clone(), weight: weight.clone(), bias });
    }

    /// The last fully connected layer so far.
    pub fn take_classifier(&mut self) -> Option<Classifier> {
        self.classifier.take()
    }

    /// Runs `f` as the part `name` of a model: see [`named_scope`].
    pub fn scope<R>(&mut self, name: &str, f: impl FnOnce(&mut Context) -> R) -> R {
        if let Some(tap) = &mut self.tap {
            tap.path.push(name.to_string());
        }
        let result = named_scope(name, || f(self));
        if let Some(tap) = &mut self.tap {
            tap.path.pop();
        }
        result
    }

    /// Records the output of a ReLU, with units or channels on its second axis.
    pub fn relu(&mut self, y: &Tensor) {
        if let Some(tap) = &mut self.tap {
            tap.relus.push((tap.path.join("."), y.detach()));
        }
    }

    /// The outputs of all ReLUs so far with the paths of their layers, if they were kept.
    pub fn relus(self) -> Vec<(String, Tensor)> {
        self.tap.unwrap_or_default().relus
    }

    /// Adds a term of one element to the training loss: one that depends on activations, which a regulariser of weights
    /// does not have. Terms with the same name are added.
    pub fn penalise(&mut self, name: &'static str, term: Tensor) {
        match self.penalties.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum = &*sum + term,
            None => self.penalties.push((name, term)),
        }
    }

    /// The terms of the forward pass, by name, in the order of first use.
    pub fn penalties(&self) -> &[(&'static str, Tensor)] {
        &self.penalties
    }

    /// The key of draws outside the layers, by purpose: an attack's start, deformations. The same in every pass of a step.
    pub fn stream(&self, name: &str) -> Key {
        self.key.stream("context").stream(name)
    }

    /// The key of the next layer that draws. Layers are counted in the order of the forward pass.
    pub fn next_key(&mut self) -> Key {
        self.draws += 1;
        self.key.stream("layer").stream(&self.draws.to_string())
    }
}

/// A visitor of one named tensor of a module.
pub type See<'f, 'a> = &'f mut dyn FnMut(&str, &'a Tensor, Kind);
/// A visitor of one named tensor of a module that may change it.
pub type Change<'f, 'a> = &'f mut dyn FnMut(&str, &'a mut Tensor, Kind);

/// A function with named tensors: a layer, a block, a network.
///
/// Modules are plain values: a clone is an independent model that shares its elements until one of the two is changed.
/// The two visitors come from [`tensors!`](crate::tensors), which takes the fields of the struct:
///
/// ```
/// use autograd::{DType, Key, Shape, Tensor};
/// use nn::{Context, Error, Init, Linear, Module, Summary};
///
/// #[derive(Clone)]
/// struct Twice {
///     inner: Linear,
///     gain: Tensor,
/// }
///
/// impl Module for Twice {
///     nn::tensors!(child inner, parameter gain);
///
///     fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
///         let y = self.inner.forward(x, cx);
///         self.inner.forward(&y, cx) * &self.gain
///     }
///
///     fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
///         let middle = self.inner.plan(path, input, plan)?;
///         self.inner.plan(path, &middle, plan)
///     }
/// }
///
/// let gain = Tensor::ones([4], DType::F64).requires_grad();
/// let mut net = Twice { inner: Linear::new(4, 4, DType::F64), gain };
/// net.initialise(Init::HE_NORMAL, Key::new(0));
/// let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["inner.weight", "inner.bias", "gain"]);
/// ```
pub trait Module: CloneModule + Send + Sync {
    /// The output for a batch: the first axis of `x` counts its items.
    ///
    /// # Panics
    /// If the shape of `x` does not fit; [`Module::check`] checks it beforehand.
    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor;

    /// Visits every tensor, named by its path, in the order of the forward pass.
    fn visit<'a>(&'a self, see: See<'_, 'a>);

    /// As [`Module::visit`], to change them.
    fn visit_mut<'a>(&'a mut self, change: Change<'_, 'a>);

    /// The shape that [`Module::forward`] gives for `input`, with one row per layer in `plan`; computes nothing.
    ///
    /// # Errors
    /// If the input does not fit: which layer, all shapes, and the rule.
    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error>;

    /// The table of layers for a batch of one item of shape `input`: shapes, parameters, FLOPs.
    ///
    /// # Errors
    /// If the shape does not fit a layer.
    fn check(&self, input: &[usize]) -> Result<Summary, Error> {
        let batch: Vec<usize> = [1].iter().chain(input).copied().collect();
        let mut plan = Summary::default();
        self.plan("", &Shape::new(&batch), &mut plan)?;
        Ok(plan)
    }

    /// The parameters with their names.
    fn named_parameters(&self) -> Vec<(String, &Tensor)> {
        let mut list = Vec::new();
        self.visit(&mut |name, t, kind| {
            if kind == Kind::Parameter {
                list.push((name.to_string(), t));
            }
        });
        list
    }

    /// The number of learned elements.
    fn parameter_count(&self) -> usize {
        self.named_parameters().iter().map(|(_, t)| t.numel()).sum()
    }

    /// Every tensor, parameters and buffers, with its name, outside every graph.
    fn state_dict(&self) -> Vec<(String, Tensor)> {
        let mut list = Vec::new();
        self.visit(&mut |name, t, _| list.push((name.to_string(), t.detach())));
        list
    }

    /// Draws every weight (a parameter with at least two axes) by `init`, from the key and its own name:
    /// adding a layer does not change the others. Biases and the parameters of norms are left unchanged.
    fn initialise(&mut self, init: Init, key: Key) {
        self.visit_mut(&mut |name, t, kind| {
            if kind == Kind::Parameter && t.rank() >= 2 {
                t.assign(&init.draw(t.shape(), t.dtype(), key.stream(name)));
            }
        });
    }

    /// The same model with each parameter replaced by `f` of it. The results may be tracked, for example a step of
    /// gradient descent that is itself differentiated.
    ///
    /// # Panics
    /// If `f` changes a shape.
    #[track_caller]
    fn map(&self, mut f: impl FnMut(&str, &Tensor) -> Tensor) -> Self
    where
        Self: Sized + Clone,
    {
        let mut model = self.clone();
        model.visit_mut(&mut |name, t, kind| {
            if kind == Kind::Parameter {
                let new = f(name, t);
                assert!(
                    new.shape() == t.shape(),
                    "map: parameter {name} of shape {} became {}",
                    t.shape(),
                    new.shape()
                );
                *t = new;
            }
        });
        model
    }

    /// The same model outside every graph: evaluating it records nothing.
    fn detached(&self) -> Self
    where
        Self: Sized + Clone,
    {
        self.map(|_, t| t.detach())
    }

    /// The same model, with its own leaves, in another dtype.
    fn to_dtype(&self, dtype: DType) -> Self
    where
        Self: Sized + Clone,
    {
        let mut model = self.clone();
        model.visit_mut(&mut |_, t, kind| {
            let new = t.detach().to_dtype(dtype);
            *t = if kind == Kind::Parameter { new.requires_grad() } else { new };
        });
        model
    }
}

/// Clones a boxed trait object. Every `Clone` module implements it.
pub trait CloneModule {
    /// A copy of the module in a box.
    fn boxed(&self) -> Box<dyn Module>;
}

impl<M: Module + Clone + 'static> CloneModule for M {
    fn boxed(&self) -> Box<dyn Module> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Module> {
    fn clone(&self) -> Box<dyn Module> {
        (**self).boxed()
    }
}

/// The path of a part: `layer1` and `conv1.weight` make `layer1.conv1.weight`.
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// The two visitors of a [`Module`](crate::Module) from its fields, in the order of the forward pass:
/// `parameter` and `buffer` are tensors, `optional` is an `Option` of a parameter, `child` a module.
#[macro_export]
macro_rules! tensors {
    ($($kind:ident $field:ident),* $(,)?) => {
        fn visit<'a>(&'a self, see: $crate::See<'_, 'a>) {
            $($crate::tensors!(@$kind see, &self.$field, $field, visit);)*
            let _ = see;
        }
        fn visit_mut<'a>(&'a mut self, change: $crate::Change<'_, 'a>) {
            $($crate::tensors!(@$kind change, &mut self.$field, $field, visit_mut);)*
            let _ = change;
        }
    };
    (@parameter $f:ident, $tensor:expr, $name:ident, $visit:ident) => {
        $f(stringify!($name), $tensor, $crate::Kind::Parameter)
    };
    (@buffer $f:ident, $tensor:expr, $name:ident, $visit:ident) => {
        $f(stringify!($name), $tensor, $crate::Kind::Buffer)
    };
    (@optional $f:ident, $option:expr, $name:ident, $visit:ident) => {
        if let Some(tensor) = $option {
            $f(stringify!($name), tensor, $crate::Kind::Parameter)
        }
    };
    (@child $f:ident, $module:expr, $name:ident, $visit:ident) => {
        $crate::Module::$visit($module, &mut |name, tensor, kind| {
            $f(&$crate::join(stringify!($name), name), tensor, kind)
        })
    };
}
