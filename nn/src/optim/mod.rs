//! Optimisers: how gradients change parameters.

mod adam;
mod average;
mod clip;
mod groups;
mod lbfgs;
mod memory;
mod muon;
mod radam;
mod schedule;
mod sgd;
mod spectral;

pub use adam::Adam;
pub use average::Average;
pub use clip::{Clip, global_norm};
pub use groups::ParameterGroup;
pub use lbfgs::Lbfgs;
pub use muon::{Muon, orthogonalised};
pub use radam::RAdam;
pub use schedule::Schedule;
pub use sgd::Sgd;
pub use spectral::{SpectralConstraint, with_singular_values_at_most};

use std::collections::BTreeMap;

use autograd::{Grads, Tensor};
use registry::Row;

use crate::error::Error;
use crate::module::{Kind, Module};
use memory::Memories;

/// One parameter in an update, as the input of a [`Transform`].
pub struct Update<'a> {
    /// The parameter's name in the state dict.
    pub name: &'a str,
    /// The parameter, which the transform changes in place.
    pub parameter: &'a mut Tensor,
    /// Its gradient, as changed by the previous transforms; `None` once it has been applied.
    pub gradient: &'a mut Option<Tensor>,
    /// The tensors that the transform keeps for the parameter, in the order of [`Transform::slots`]; zeros at first.
    pub slots: &'a mut [Tensor],
    /// The number of this update of the parameter, from 1 on.
    pub count: u64,
    /// The learning rate.
    pub lr: f64,
    /// The weight decay.
    pub weight_decay: f64,
}

/// A transformation of gradients: one link in the chain of an [`Optimizer`].
///
/// It changes the gradients of all parameters, or applies them to the parameters. Its state is the tensors in the
/// slots, which the optimiser allocates, checkpoints and restores.
///
/// ```
/// use autograd::Tensor;
/// use nn::{Adam, Optimizer, Transform, Update};
///
/// /// Subtracts its mean from the gradient of each weight (Yong et al. 2020, arXiv 2004.01461).
/// #[derive(Clone)]
/// struct Centralise;
/// impl Transform for Centralise {
///     fn name(&self) -> &'static str {
///         "centralise"
///     }
///     fn apply(&mut self, updates: &mut [Update<'_>]) {
///         for update in updates.iter_mut().filter(|u| u.parameter.rank() >= 2) {
///             let axes: Vec<isize> = (1..update.parameter.rank() as isize).collect();
///             if let Some(g) = update.gradient.take() {
///                 *update.gradient = Some(&g - g.mean(autograd::keep(&axes[..])));
///             }
///         }
///     }
/// }
/// let optimizer = Optimizer::new(Centralise).then(Adam::default());
/// ```
pub trait Transform: CloneTransform + Send + Sync {
    /// Its name in messages, and the prefix of its state in a checkpoint.
    fn name(&self) -> &'static str;

    /// The names of its state tensors per parameter, each of the parameter's shape.
    fn slots(&self, _parameter: &Tensor) -> &'static [&'static str] {
        &[]
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// If a number is out of range.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Transforms the gradients of all parameters, or applies them.
    fn apply(&mut self, updates: &mut [Update<'_>]);
}

/// Clones a boxed trait object. Every `Clone` transform implements it.
pub trait CloneTransform {
    /// A copy of the transform in a box.
    fn clone_transform(&self) -> Box<dyn Transform>;
}

impl<T: Transform + Clone + 'static> CloneTransform for T {
    fn clone_transform(&self) -> Box<dyn Transform> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Transform> {
    fn clone(&self) -> Box<dyn Transform> {
        (**self).clone_transform()
    }
}

/// A chain of gradient transformations, with their settings and their state per parameter.
///
/// ```
/// use nn::{Adam, Clip, Optimizer};
/// let adam = Optimizer::new(Clip::Norm(1.0)).then(Adam::decoupled()).weight_decay(0.01);
/// ```
#[derive(Clone)]
pub struct Optimizer {
    /// Weight decay of all parameters, biases and norms included, unless a group overrides it.
    pub weight_decay: f64,
    /// Parameter groups with their own settings; the first group that matches is used.
    pub groups: Vec<ParameterGroup>,
    chain: Vec<Link>,
}

/// The settings of optimisers; each optimiser reads those that its row of the table names.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OptimizerOptions {
    /// Momentum coefficient.
    pub momentum: f64,
    /// Whether to use Nesterov momentum.
    pub nesterov: bool,
}

/// How an optimiser is made, and what it costs.
#[derive(Clone, Copy, Debug)]
pub struct OptimizerSpec {
    /// The optimiser with these options.
    pub build: fn(&OptimizerOptions) -> Optimizer,
    /// The default learning rate.
    pub lr: f64,
    /// The size of its state, in copies of the parameters.
    pub copies: f64,
}

/// Every optimiser that is chosen by name, the default first.
pub static OPTIMIZERS: &[Row<OptimizerSpec>] =
    &[sgd::ROW, adam::ADAM, adam::ADAMW, radam::ROW, muon::ROW, lbfgs::ROW];

/// A transform with its state.
#[derive(Clone)]
struct Link {
    transform: Box<dyn Transform>,
    memories: Memories,
}

impl Optimizer {
    /// An optimiser of one transform, without weight decay or groups.
    pub fn new(transform: impl Transform + 'static) -> Optimizer {
        Optimizer { weight_decay: 0.0, groups: Vec::new(), chain: Vec::new() }.then(transform)
    }

    /// SGD with this momentum: see [`Sgd`].
    pub fn sgd(momentum: f64) -> Optimizer {
        Optimizer::new(Sgd { momentum, ..Sgd::default() })
    }

    /// The same optimiser with one more transform after the others.
    pub fn then(mut self, transform: impl Transform + 'static) -> Optimizer {
        self.chain.push(Link { transform: Box::new(transform), memories: Memories::default() });
        self
    }

    /// The same optimiser with weight decay.
    pub fn weight_decay(self, weight_decay: f64) -> Optimizer {
        Optimizer { weight_decay, ..self }
    }

    /// The same optimiser with clipped gradients: [`Clip`] before all other transforms.
    pub fn clip(mut self, clip: Clip) -> Optimizer {
        self.chain.insert(0, Link { transform: Box::new(clip), memories: Memories::default() });
        self
    }

    /// The same optimiser with one more group.
    pub fn group(mut self, group: ParameterGroup) -> Optimizer {
        self.groups.push(group);
        self
    }

    fn group_of(&self, name: &str) -> Option<&ParameterGroup> {
        self.groups.iter().find(|g| g.matches(name))
    }

    /// Whether the parameter of this name is frozen.
    pub fn is_frozen(&self, name: &str) -> bool {
        self.group_of(name).is_some_and(|g| g.frozen)
    }

    /// The same model with its frozen parameters as constants.
    pub(crate) fn freeze<M: Module + Clone>(&self, model: &M) -> M {
        if self.groups.iter().any(|g| g.frozen) {
            model.map(|name, p| if self.is_frozen(name) { p.detach() } else { p.clone() })
        } else {
            model.clone()
        }
    }

    /// Checks the settings, and that each group covers a parameter.
    ///
    /// # Errors
    /// If a number is out of range, two transforms have one name, or a pattern matches nothing.
    pub fn check(&self, model: &dyn Module) -> Result<(), Error> {
        for (i, Link { transform, .. }) in self.chain.iter().enumerate() {
            transform.check()?;
            let name = transform.name();
            if self.chain[..i].iter().any(|before| before.transform.name() == name) {
                return Err(Error::Config(format!("the optimiser has two transforms of the name {name}")));
            }
        }
        if self.weight_decay.is_nan() || self.weight_decay < 0.0 {
            let decay = self.weight_decay;
            return Err(Error::Config(format!("weight decay is {decay}; it must not be negative")));
        }
        let parameters = model.named_parameters();
        for group in &self.groups {
            if !parameters.iter().any(|(name, _)| group.matches(name)) {
                let names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
                return Err(Error::Config(format!(
                    "parameter group {:?} matches no parameter; there are {}",
                    group.pattern,
                    names.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// Allocates the state of each parameter. The first training step does so before the forward pass, so that all
    /// steps have the same peak of memory, and the next step allocates nothing.
    pub(crate) fn prepare(&mut self, model: &dyn Module) {
        for (name, p) in model.named_parameters() {
            if !self.is_frozen(&name) {
                for Link { transform, memories } in &mut self.chain {
                    memories.make_room(&name, p, transform.slots(p));
                }
            }
        }
    }

    /// Updates the parameters of `model` in place from the gradients of a loss, at learning rate `lr`.
    ///
    /// # Errors
    /// If a parameter that is not frozen has no gradient; nothing is then updated.
    pub fn step(&mut self, model: &mut dyn Module, mut grads: Grads, lr: f64) -> Result<(), Error> {
        let mut gradients = BTreeMap::new();
        for (name, p) in model.named_parameters().into_iter().filter(|(name, _)| !self.is_frozen(name)) {
            match grads.take(p) {
                Some(g) => drop(gradients.insert(name, g)),
                None => return Err(Error::NoGradient { name, reason: grads.reason(p) }),
            }
        }
        self.update(model, gradients, lr)
    }

    /// As [`Optimizer::step`], from gradients by name. Gradients of frozen parameters have no effect.
    ///
    /// # Errors
    /// If a parameter that is not frozen has no gradient; nothing is then updated. If no transform applied the
    /// gradients.
    pub fn update(
        &mut self,
        model: &mut dyn Module,
        mut gradients: BTreeMap<String, Tensor>,
        lr: f64,
    ) -> Result<(), Error> {
        /// A parameter with its settings.
        struct Item<'a> {
            name: String,
            parameter: &'a mut Tensor,
            gradient: Option<Tensor>,
            lr: f64,
            weight_decay: f64,
        }
        self.prepare(model);
        let mut items: Vec<Item<'_>> = Vec::new();
        let mut missing = None;
        model.visit_mut(&mut |name, parameter, kind| {
            let group = self.group_of(name);
            if kind != Kind::Parameter || group.is_some_and(|g| g.frozen) {
                return;
            }
            let gradient = gradients.remove(name);
            if gradient.is_none() {
                missing.get_or_insert_with(|| name.to_string());
            }
            let lr = lr * group.map_or(1.0, |g| g.lr_factor);
            let weight_decay = group.and_then(|g| g.weight_decay).unwrap_or(self.weight_decay);
            items.push(Item { name: name.to_string(), parameter, gradient, lr, weight_decay });
        });
        if let Some(name) = missing {
            return Err(Error::NoGradient { name, reason: "no gradient was given".to_string() });
        }
        for Link { transform, memories } in &mut self.chain {
            let mut memories = memories.by_name();
            let mut updates: Vec<Update<'_>> = Vec::with_capacity(items.len());
            for Item { name, parameter, gradient, lr, weight_decay } in &mut items {
                let memory = memories.remove(name.as_str()).expect("prepare made room for every parameter");
                memory.updates += 1;
                let (count, lr, weight_decay) = (memory.updates, *lr, *weight_decay);
                let slots = &mut memory.slots;
                updates.push(Update { name, parameter, gradient, slots, count, lr, weight_decay });
            }
            transform.apply(&mut updates);
        }
        match items.iter().find(|item| item.gradient.is_some()) {
            None => Ok(()),
            Some(Item { name, .. }) => Err(Error::Config(format!(
                "no transform of the optimiser applied the gradient of {name}: end the chain with Sgd::default()"
            ))),
        }
    }

    /// The tensors that a transform keeps in a slot, by parameter; empty if it is not part of the chain.
    pub fn slot(&self, transform: &str, slot: &str) -> BTreeMap<String, Tensor> {
        let links = self.chain.iter().filter(|link| link.transform.name() == transform);
        links.flat_map(|link| link.memories.slot(&*link.transform, slot)).collect()
    }

    /// Its state: for each transform and parameter the tensors in the slots, `sgd.velocity.fc.weight` for example, and
    /// the number of updates as `sgd.updates.fc.weight`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.chain.iter().flat_map(|link| link.memories.state(&*link.transform)).collect()
    }

    /// Replaces its state by one that [`Optimizer::state`] returned.
    ///
    /// # Errors
    /// If a tensor is missing, unexpected, or does not have the shape and dtype of its parameter; all of them are
    /// listed.
    pub fn load_state(&mut self, model: &dyn Module, state: &[(String, Tensor)]) -> Result<(), Error> {
        let mut given: BTreeMap<&str, &Tensor> = state.iter().map(|(name, t)| (name.as_str(), t)).collect();
        let mut wrong = Vec::new();
        let mut taken = |link: &Link| Memories::taken(&*link.transform, model, &mut given, &mut wrong);
        let memories: Vec<Memories> = self.chain.iter().map(&mut taken).collect();
        wrong.extend(given.keys().map(|name| format!("{name} is left over")));
        if !wrong.is_empty() {
            return Err(Error::Mismatch(wrong));
        }
        self.chain.iter_mut().zip(memories).for_each(|(link, memories)| link.memories = memories);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
