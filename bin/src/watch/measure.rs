//! One measurement: what the chosen instruments say of a step, for the network and for each layer.

use std::collections::BTreeMap;

use autograd::Tensor;
use comhe::Objective;
use nn::instruments::{
    Dead, Lanczos, Largest, Noise, cosine, dead_units, gradient_noise, layer_of, sharpness, update_ratio,
};
use nn::{Module, Observed, Trainer, global_norm};
use serde_json::{Map, Value, json};

use super::{Instrument, Watch};
use crate::failure::Failure;

/// Tensors by parameter.
type Named = BTreeMap<String, Tensor>;

/// A part of the network: all of it, or a layer.
struct Part {
    /// None is the whole network.
    layer: Option<String>,
    numbers: Map<String, Value>,
}

impl Part {
    fn has(&self, parameter: &str) -> bool {
        self.layer.as_deref().is_none_or(|layer| layer_of(parameter) == layer)
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.numbers.insert(key.into(), value.into());
    }
}

impl Watch {
    /// `{"all": {...}, "layers": [{"name": ..., ...}, ...]}`; a number that does not exist is null.
    pub(super) fn measured(&self, seen: &Observed, trainer: &Trainer) -> Result<Value, Failure> {
        let before = named(&seen.before);
        let mut parts = vec![Part { layer: None, numbers: Map::new() }];
        for (name, _) in seen.before.named_parameters() {
            let layer = layer_of(&name);
            if parts.last().is_none_or(|part| part.layer.as_deref() != Some(layer)) {
                parts.push(Part { layer: Some(layer.into()), numbers: Map::new() });
            }
        }
        if self.has(Instrument::Grad) {
            for part in &mut parts {
                let of = seen.gradients.iter().filter(|(name, _)| part.has(name));
                let norm = global_norm(of.map(|(_, g)| g));
                part.set("grad", norm);
            }
        }
        if self.has(Instrument::Update) {
            let after = named(&trainer.model);
            for part in &mut parts {
                let ratio = update_ratio(pairs(part, &before, &after).into_iter());
                part.set("update", ratio);
            }
        }
        if self.has(Instrument::Cosine) {
            let previous = self.previous.clone().unwrap_or_default();
            let penalty = seen.penalty_gradients();
            let fit = penalty.as_ref().map(|_| seen.fit_gradients()).unwrap_or_default();
            for part in &mut parts {
                let with_previous = cosine(pairs(part, &previous, &seen.gradients).into_iter());
                part.set("cosine_previous", with_previous);
                if let Some(penalty) = &penalty {
                    // Parameters that the regulariser does not see have a gradient of 0 there.
                    let shared = pairs(part, penalty, &fit);
                    let whole = global_norm(fit.iter().filter(|(name, _)| part.has(name)).map(|(_, g)| g));
                    let seen = global_norm(shared.iter().map(|(_, g)| *g));
                    let cosine = cosine(shared.into_iter()).map(|c| c * seen / whole);
                    part.set("cosine_reg", cosine);
                }
            }
        }
        if self.has(Instrument::Noise) {
            let noise = gradient_noise(&seen.loss)?;
            for part in &mut parts {
                let of = |noise: &Vec<(String, Noise)>| -> Noise {
                    noise.iter().filter(|(name, _)| part.has(name)).map(|(_, n)| *n).sum()
                };
                let noise = noise.as_ref().map(of);
                part.set("noise", noise.and_then(|n| n.scale()));
                part.set("noise_trace", noise.map(|n| n.trace));
                part.set("noise_square", noise.map(|n| n.square));
            }
        }
        let blocks = self.has(Instrument::SharpnessLayers);
        if blocks || self.has(Instrument::Sharpness) {
            for part in parts.iter_mut().take(if blocks { usize::MAX } else { 1 }) {
                let key = self.key.step(seen.step);
                let found = sharpness(&seen.loss, |name| part.has(name), Lanczos::default(), key)?;
                let Some(Largest { value, residual, products }) = found else { continue };
                part.set("sharpness", value);
                part.set("sharpness_residual", residual);
                part.set("sharpness_products", products);
            }
        }
        self.spread(seen, trainer, &mut parts)?;
        let mut layers: Vec<Value> = Vec::new();
        let mut all = Map::new();
        for Part { layer, numbers } in parts {
            match layer {
                None => all = numbers,
                Some(name) if !numbers.is_empty() => {
                    layers.push(Value::Object(
                        [("name".into(), json!(name))].into_iter().chain(numbers).collect(),
                    ));
                }
                Some(_) => {}
            }
        }
        if [Instrument::Grad, Instrument::Update, Instrument::Dead].iter().any(|i| self.has(*i)) {
            let mut total = Dead { dead: 0, units: 0 };
            for (name, output) in &seen.relus {
                let Dead { dead, units } = dead_units(output);
                total = Dead { dead: total.dead + dead, units: total.units + units };
                let numbers = [("dead", json!(dead as f64 / units.max(1) as f64)), ("units", json!(units))];
                put(&mut layers, name, numbers);
            }
            if total.units > 0 {
                all.insert("dead".into(), json!(total.dead as f64 / total.units as f64));
                all.insert("units".into(), json!(total.units));
            }
        }
        Ok(json!({ "all": all, "layers": layers }))
    }

    /// Energies and smallest angles of the weights before the update.
    fn spread(&self, seen: &Observed, trainer: &Trainer, parts: &mut [Part]) -> Result<(), Failure> {
        let (energy, angles) = (self.has(Instrument::Energy), self.has(Instrument::Angles));
        if !energy && !angles {
            return Ok(());
        }
        let objective: &Objective = trainer.regulariser_as().expect("every run has one");
        for report in objective.report(&seen.before.weights(), seen.loss.step)? {
            let layer = layer_of(&report.name);
            let Some(part) = parts.iter_mut().find(|part| part.layer.as_deref() == Some(layer)) else {
                continue;
            };
            // A layer of low rank has two weights; the first, the regularised one, is told.
            if energy && !part.numbers.contains_key("full") {
                part.set("full", report.full);
                part.set("half_space", report.half_space);
            }
            if angles && !part.numbers.contains_key("smallest_angle") {
                part.set("smallest_angle", report.smallest_angle);
            }
        }
        Ok(())
    }
}

/// Adds numbers to the entry of a layer, which is made if it is not there.
fn put(layers: &mut Vec<Value>, name: &str, numbers: [(&str, Value); 2]) {
    let at = layers.iter().position(|layer| layer["name"] == name).unwrap_or_else(|| {
        layers.push(json!({ "name": name }));
        layers.len() - 1
    });
    numbers.into_iter().for_each(|(key, value)| layers[at][key] = value);
}

fn named(model: &nn::Model) -> Named {
    model.named_parameters().into_iter().map(|(name, t)| (name, t.detach())).collect()
}

/// The tensors of a part that are in both, side by side.
fn pairs<'a>(part: &Part, a: &'a Named, b: &'a Named) -> Vec<(&'a Tensor, &'a Tensor)> {
    a.iter().filter(|(name, _)| part.has(name)).filter_map(|(name, a)| Some((a, b.get(name)?))).collect()
}
