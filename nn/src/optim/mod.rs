//! Optimisers: how gradients change parameters.

mod clip;
mod groups;
mod schedule;

pub use clip::{Clip, global_norm};
pub use groups::ParameterGroup;
pub use schedule::Schedule;

use std::collections::BTreeMap;

use autograd::optim::{Adam, Sgd};
use autograd::{DType, Grads, Scalar, Tensor};

use crate::error::Error;
use crate::module::{Kind, Module};

/// A rule for updating a parameter p from its gradient g, with weight decay w and learning rate lr. The
/// formulas are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// g += w p; v = momentum v + (1 - dampening) g, but v = g at the first step; p -= lr v, or
    /// p -= lr (g + momentum v) with `nesterov` (Sutskever et al. 2013).
    Sgd {
        /// How much of the velocity stays.
        momentum: f64,
        /// How much of a gradient does not enter the velocity.
        dampening: f64,
        /// Whether the step looks ahead along the velocity.
        nesterov: bool,
    },
    /// g += w p; m and s are running means of g and g^2; p -= lr m' / (sqrt(s') + eps), primes for the means
    /// corrected for their start at 0 (Kingma and Ba 2015, arXiv 1412.6980). `decoupled` is AdamW: p -= lr w
    /// p in place of g += w p (Loshchilov and Hutter 2019, arXiv 1711.05101).
    Adam {
        /// How much of the two running means stays.
        betas: [f64; 2],
        /// Added to the root of the mean square.
        eps: f64,
        /// Whether weight decay shrinks the parameter rather than joining the gradient.
        decoupled: bool,
    },
}

impl Rule {
    /// SGD with this momentum, without dampening or Nesterov's step.
    pub const fn sgd(momentum: f64) -> Rule {
        Rule::Sgd { momentum, dampening: 0.0, nesterov: false }
    }
    /// Adam with the usual constants.
    pub const ADAM: Rule = Rule::Adam { betas: [0.9, 0.999], eps: 1e-8, decoupled: false };
    /// AdamW with the usual constants.
    pub const ADAMW: Rule = Rule::Adam { betas: [0.9, 0.999], eps: 1e-8, decoupled: true };

    /// The names of the tensors that are kept for each parameter.
    fn slots(self) -> &'static [&'static str] {
        match self {
            Rule::Sgd { momentum: 0.0, .. } => &[],
            Rule::Sgd { .. } => &["velocity"],
            Rule::Adam { .. } => &["mean", "square"],
        }
    }
}

/// A rule, its settings, and what it remembers of each parameter.
#[derive(Clone, Debug)]
pub struct Optimizer {
    /// How a parameter is updated.
    pub rule: Rule,
    /// Weight decay of every parameter outside the groups that say otherwise, biases and norms included.
    pub weight_decay: f64,
    /// Limits on the gradient.
    pub clip: Clip,
    /// Parameters with settings of their own; the first group that matches counts.
    pub groups: Vec<ParameterGroup>,
    memory: BTreeMap<String, Memory>,
}

/// What is remembered of a parameter.
#[derive(Clone, Debug)]
struct Memory {
    updates: u64,
    slots: Vec<Tensor>,
}

/// The name, in a saved state, of the number of updates.
const UPDATES: &str = "updates";

impl Optimizer {
    /// An optimiser without weight decay, clipping or groups.
    pub fn new(rule: Rule) -> Optimizer {
        Optimizer { rule, weight_decay: 0.0, clip: Clip::None, groups: Vec::new(), memory: BTreeMap::new() }
    }

    /// The same optimiser with weight decay.
    pub fn weight_decay(self, weight_decay: f64) -> Optimizer {
        Optimizer { weight_decay, ..self }
    }

    /// The same optimiser with clipped gradients.
    pub fn clip(self, clip: Clip) -> Optimizer {
        Optimizer { clip, ..self }
    }

    /// The same optimiser with one more group.
    pub fn group(mut self, group: ParameterGroup) -> Optimizer {
        self.groups.push(group);
        self
    }

    fn group_of(&self, name: &str) -> Option<&ParameterGroup> {
        self.groups.iter().find(|g| g.matches(name))
    }

    /// Whether the parameters of a name stay as they are.
    pub fn is_frozen(&self, name: &str) -> bool {
        self.group_of(name).is_some_and(|g| g.frozen)
    }

    /// Checks the settings, and that each group covers a parameter.
    ///
    /// # Errors
    /// If a number is out of range, or a pattern matches nothing.
    pub fn check(&self, model: &dyn Module) -> Result<(), Error> {
        let part = |v: f64| (0.0..1.0).contains(&v);
        let sound = match self.rule {
            Rule::Sgd { momentum, dampening, .. } => part(momentum) && (0.0..=1.0).contains(&dampening),
            Rule::Adam { betas, eps, .. } => part(betas[0]) && part(betas[1]) && eps >= 0.0,
        };
        if !sound || self.weight_decay.is_nan() || self.weight_decay < 0.0 {
            return Err(Error::Config(format!(
                "{:?} with weight decay {}: momentum and betas must be in 0..1, dampening in 0..=1, eps and decay not negative",
                self.rule, self.weight_decay
            )));
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

    /// Makes room for what will be remembered of each parameter. A training step does so first, not last:
    /// then its peak of memory is that of all steps, and the next allocates nothing.
    pub(crate) fn prepare(&mut self, model: &dyn Module) {
        for (name, p) in model.named_parameters() {
            if !self.memory.contains_key(&name) && !self.is_frozen(&name) {
                let slots = self.rule.slots().iter().map(|_| Tensor::zeros(p.shape(), p.dtype())).collect();
                self.memory.insert(name, Memory { updates: 0, slots });
            }
        }
    }

    /// Updates the parameters of `model` in place from the gradients of a loss, at learning rate `lr`.
    ///
    /// # Errors
    /// If a parameter that is not frozen has no gradient; nothing is then updated.
    pub fn step(&mut self, model: &mut dyn Module, grads: Grads, lr: f64) -> Result<(), Error> {
        let gradients = self.collect(model, grads)?;
        self.update(model, gradients, lr);
        Ok(())
    }

    /// The gradients of the parameters that are not frozen, by name.
    pub(crate) fn collect(
        &self,
        model: &dyn Module,
        mut grads: Grads,
    ) -> Result<BTreeMap<String, Tensor>, Error> {
        let mut found = BTreeMap::new();
        for (name, p) in model.named_parameters() {
            if self.is_frozen(&name) {
                continue;
            }
            match grads.take(p) {
                Some(g) => drop(found.insert(name, g)),
                None => return Err(Error::NoGradient { name, reason: grads.reason(p) }),
            }
        }
        Ok(found)
    }

    /// Clips the gradients and applies the rule.
    pub(crate) fn update(
        &mut self,
        model: &mut dyn Module,
        mut gradients: BTreeMap<String, Tensor>,
        lr: f64,
    ) {
        self.prepare(model);
        self.clip.apply(gradients.values_mut());
        model.visit_mut(&mut |name, p, kind| {
            if kind == Kind::Parameter
                && let Some(g) = gradients.remove(name)
            {
                match p.dtype() {
                    DType::F32 => self.update_one::<f32>(name, p, &g, lr),
                    DType::F64 => self.update_one::<f64>(name, p, &g, lr),
                }
            }
        });
    }

    fn update_one<T: Scalar>(&mut self, name: &str, p: &mut Tensor, g: &Tensor, lr: f64) {
        let group = self.group_of(name);
        let lr = lr * group.map_or(1.0, |g| g.lr_factor);
        let weight_decay = group.and_then(|g| g.weight_decay).unwrap_or(self.weight_decay);
        let memory = self.memory.get_mut(name).expect("prepare made room for every parameter");
        memory.updates += 1;
        let t = memory.updates;
        let g = g.data::<T>();
        match (self.rule, memory.slots.as_mut_slice()) {
            (Rule::Sgd { momentum, dampening, nesterov }, slots) => {
                let sgd = Sgd { lr, momentum, dampening, nesterov, weight_decay };
                match slots {
                    [v] => p.update::<T>(|p| v.update::<T>(|v| sgd.step(p, g, v, t == 1))),
                    _ => p.update::<T>(|p| sgd.step(p, g, &mut [], t == 1)),
                }
            }
            (Rule::Adam { betas, eps, decoupled }, [m, s]) => {
                let adam = Adam { lr, betas, eps, weight_decay, decoupled };
                p.update::<T>(|p| m.update::<T>(|m| s.update::<T>(|s| adam.step(p, g, m, s, t))));
            }
            (rule, slots) => unreachable!("{rule:?} keeps {} tensors", slots.len()),
        }
    }

    /// What it remembers: for each parameter the tensors of the rule, `velocity.fc.weight` for example, and
    /// the number of updates as `updates.fc.weight`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut list = Vec::new();
        for (name, memory) in &self.memory {
            list.push((format!("{UPDATES}.{name}"), Tensor::scalar(memory.updates as f64, DType::F64)));
            for (slot, t) in self.rule.slots().iter().zip(&memory.slots) {
                list.push((format!("{slot}.{name}"), t.clone()));
            }
        }
        list
    }

    /// Remembers what [`Optimizer::state`] said, in place of what it remembers now.
    ///
    /// # Errors
    /// If a tensor is missing, left over, or has not the shape and dtype of its parameter, all of them
    /// listed.
    pub fn load_state(&mut self, model: &dyn Module, state: &[(String, Tensor)]) -> Result<(), Error> {
        let mut given: BTreeMap<&str, &Tensor> = state.iter().map(|(name, t)| (name.as_str(), t)).collect();
        let mut memory = BTreeMap::new();
        let mut wrong = Vec::new();
        for (name, p) in model.named_parameters() {
            let Some(updates) = given.remove(format!("{UPDATES}.{name}").as_str()) else { continue };
            let mut slots = Vec::new();
            for slot in self.rule.slots() {
                let slot = format!("{slot}.{name}");
                match given.remove(slot.as_str()) {
                    Some(t) if t.shape() == p.shape() && t.dtype() == p.dtype() => slots.push(t.clone()),
                    Some(t) => wrong.push(format!(
                        "{slot} is {} {}, {} {} is needed",
                        t.dtype(),
                        t.shape(),
                        p.dtype(),
                        p.shape()
                    )),
                    None => wrong.push(format!("{slot} is missing")),
                }
            }
            if updates.numel() != 1 {
                wrong.push(format!("{UPDATES}.{name} has shape {}, one number is needed", updates.shape()));
                continue;
            }
            memory.insert(name, Memory { updates: updates.item() as u64, slots });
        }
        wrong.extend(given.keys().map(|name| format!("{name} is left over")));
        if !wrong.is_empty() {
            return Err(Error::Mismatch(wrong));
        }
        self.memory = memory;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
