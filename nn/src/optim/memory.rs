//! The per-parameter state of an optimiser's transform.

use std::collections::{BTreeMap, HashMap};

use autograd::{DType, Tensor};

use super::Transform;
use crate::module::Module;

/// The state of one parameter.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub updates: u64,
    pub slots: Vec<Tensor>,
}

/// The state of all parameters, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Memories(BTreeMap<String, Memory>);

/// The name, in a saved state, of the number of updates.
const UPDATES: &str = "updates";

impl Memories {
    /// Zeros for a parameter without state.
    pub fn make_room(&mut self, name: &str, p: &Tensor, slots: &[&str]) {
        if !self.0.contains_key(name) {
            let slots = slots.iter().map(|_| Tensor::zeros(p.shape(), p.dtype())).collect();
            self.0.insert(name.to_string(), Memory { updates: 0, slots });
        }
    }

    /// All of them, mutably.
    pub fn by_name(&mut self) -> HashMap<&str, &mut Memory> {
        self.0.iter_mut().map(|(name, memory)| (name.as_str(), memory)).collect()
    }

    /// One slot, by parameter.
    pub fn slot(&self, transform: &dyn Transform, slot: &str) -> Vec<(String, Tensor)> {
        let of = |(name, memory): (&String, &Memory)| {
            let names = transform.slots(memory.slots.first()?);
            let i = names.iter().position(|known| *known == slot)?;
            Some((name.clone(), memory.slots[i].clone()))
        };
        self.0.iter().filter_map(of).collect()
    }

    /// As named tensors.
    pub fn state(&self, transform: &dyn Transform) -> Vec<(String, Tensor)> {
        let prefix = transform.name();
        let mut list = Vec::new();
        for (name, Memory { updates, slots }) in &self.0 {
            let updates = Tensor::scalar(*updates as f64, DType::F64);
            list.push((format!("{prefix}.{UPDATES}.{name}"), updates));
            let names = slots.first().map_or(&[][..], |like| transform.slots(like));
            for (slot, t) in names.iter().zip(slots) {
                list.push((format!("{prefix}.{slot}.{name}"), t.clone()));
            }
        }
        list
    }

    /// Restores what [`Memories::state`] returned. Tensors that are used are removed from `given`; those that do not
    /// fit are added to `wrong`.
    pub fn taken(
        transform: &dyn Transform,
        model: &dyn Module,
        given: &mut BTreeMap<&str, &Tensor>,
        wrong: &mut Vec<String>,
    ) -> Memories {
        let prefix = transform.name();
        let mut memories = Memories::default();
        for (name, p) in model.named_parameters() {
            let key = format!("{prefix}.{UPDATES}.{name}");
            let Some(updates) = given.remove(key.as_str()) else { continue };
            let mut slots = Vec::new();
            for slot in transform.slots(p) {
                let slot = format!("{prefix}.{slot}.{name}");
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
            if updates.numel() == 1 {
                memories.0.insert(name, Memory { updates: updates.item() as u64, slots });
            } else {
                wrong.push(format!("{key} has shape {}, one number is needed", updates.shape()));
            }
        }
        memories
    }
}
