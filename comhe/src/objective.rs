//! The network's objective: which layers are regularised, by what, and how strongly.
//!
//!   loss + sum over hidden layers of lambda_h E(layer) + lambda_o E(classifier)
//!
//! Published settings (Lin et al., CVPR 2020, sections 3 and 5): hidden layers, convolutions among them, have
//! lambda_h = 1, half-space and s = 2, projected, but for the first, whose d = 27 is below k = 40: it takes the
//! half-space energy itself. The classifier has lambda_o = 10, full space, s = 2, no projection. Paper and
//! published code agree on all of this.
//!
//! A peer ([`crate::peers`]) covers every layer with one weight, lambda_h = lambda_o unless lambda_o is given.

use std::collections::HashSet;

use autograd::{DType, Tensor};

use crate::energy::{Energy, Reduce, checked_rows};
use crate::error::{Error, Problem};
use crate::pattern;
use crate::peers::{self, PeerOptions};
use crate::projection::Projections;
use crate::random::RandomProjection;
use crate::regulariser::{LayerWeight, Regulariser, Role, Step, smallest_angle};

/// The regularisers that [`Objective::new`] knows beside the [`peers`], and what they are.
pub const NAMES: [(&str, &str); 4] = [
    ("none", "no regulariser"),
    ("mhe", "hyperspherical energy, full space"),
    ("hs-mhe", "hyperspherical energy, half-space"),
    ("rp", "half-space energy under random projections (RP-CoMHE)"),
];

/// What can be said about a regulariser besides its name. The default is the published setting.
#[derive(Clone, Debug)]
pub struct Options {
    /// The hidden layers' energy: s, angular, eps, ..., where `half_space` is replaced by the next field.
    pub energy: Energy,
    /// Half-space for hidden layers; `None`: as the name says.
    pub half_space: Option<bool>,
    /// lambda_h, the weight of every hidden layer.
    pub weight: f64,
    /// lambda_o, the weight of the classifier; `None`: see [`Options::classifier_weight`].
    pub head_weight: Option<f64>,
    /// k, C, distribution and seed of random projections.
    pub projections: Projections,
    /// Steps between draws of projections.
    pub redraw: u64,
    /// `mgd`: the width of its kernel.
    pub gamma: f64,
    /// `ocnn`: the stride of its convolutions.
    pub stride: usize,
    /// Regularise only layers whose name matches one of these (`*` stands for any letters); empty: all.
    pub include: Vec<String>,
    /// Leave out layers whose name matches one of these.
    pub exclude: Vec<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            energy: Energy::default(),
            half_space: None,
            weight: 1.0,
            head_weight: None,
            projections: Projections::default(),
            redraw: 1,
            gamma: 1.0,
            stride: 1,
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }
}

impl Options {
    /// lambda_o: as given, or by the regulariser's name. The published weight of the classifier's energy is 10;
    /// a peer ([`peers`]) treats the classifier like every other layer, so that there it is lambda_h.
    pub fn classifier_weight(&self, name: &str) -> f64 {
        self.head_weight.unwrap_or(if peers::knows(name) { self.weight } else { 10.0 })
    }

    fn peer(&self) -> PeerOptions {
        let (seed, eps) = (self.projections.seed, self.energy.eps);
        PeerOptions { seed, eps, gamma: self.gamma, stride: self.stride }
    }
}

/// Which layers a rule is for.
#[derive(Clone, Debug)]
pub struct Select {
    /// The roles it covers.
    pub roles: Vec<Role>,
    /// Patterns of names, of which one must match; empty: every name.
    pub names: Vec<String>,
    /// Only layers whose neurons have fewer dimensions than this.
    pub below: Option<usize>,
}

impl Select {
    fn covers(&self, layer: &LayerWeight, d: usize) -> bool {
        self.roles.contains(&layer.role)
            && (self.names.is_empty() || pattern::any(&self.names, layer.name))
            && self.below.is_none_or(|k| d < k)
    }
}

/// A regulariser, the layers it is for, and its weight lambda.
pub struct Rule {
    /// Which layers.
    pub select: Select,
    /// lambda.
    pub weight: f64,
    /// What.
    pub regulariser: Box<dyn Regulariser>,
}

/// The regularising part of a network's objective: the first rule that covers a layer is the layer's.
pub struct Objective {
    /// In order of precedence.
    pub rules: Vec<Rule>,
    include: Vec<String>,
    exclude: Vec<String>,
    /// What [`Objective::report`] calls the energy.
    energy: Energy,
}

/// The state of one layer, for the log.
#[derive(Clone, Debug)]
pub struct LayerReport {
    /// The layer's name.
    pub name: String,
    /// How many neurons.
    pub n: usize,
    /// Their dimension.
    pub d: usize,
    /// The name of its regulariser, if it has one.
    pub regulariser: Option<&'static str>,
    /// lambda, 0 without a regulariser.
    pub weight: f64,
    /// The penalty before lambda: the projected energy, where the regulariser projects.
    pub penalty: Option<f64>,
    /// The mean energy in full space.
    pub full: f64,
    /// The mean energy in half-space.
    pub half_space: f64,
    /// The smallest angle between two neurons, in radians.
    pub smallest_angle: Option<f64>,
}

impl Objective {
    /// The published rules for a regulariser given by name.
    ///
    /// # Errors
    /// If the name is unknown (the message has the nearest one), or an option is out of range.
    pub fn new(name: &str, options: &Options) -> Result<Objective, Error> {
        let half_space = match name {
            "none" | "mhe" => false,
            "hs-mhe" | "rp" => true,
            _ if peers::knows(name) => false,
            _ => {
                let known = NAMES.iter().chain(&peers::NAMES).map(|(name, _)| name.to_string()).collect();
                return Err(Problem::Unknown { what: "regulariser", name: name.into(), known }.into());
            }
        };
        let head_weight = options.classifier_weight(name);
        for (name, weight) in [("weight", options.weight), ("head weight", head_weight)] {
            if !weight.is_finite() {
                return Err(Error::option(format!("{name} = {weight}: it must be finite")));
            }
        }
        options.energy.check()?;
        let hidden = Energy { half_space: options.half_space.unwrap_or(half_space), ..options.energy };
        let head = Energy { half_space: false, ..options.energy };
        let rule = |roles: &[Role], below, weight, regulariser| Rule {
            select: Select { roles: roles.to_vec(), names: Vec::new(), below },
            weight,
            regulariser,
        };
        let mut rules = Vec::new();
        if peers::knows(name) {
            options.peer().check()?;
            // The same function for every layer, each rule with its own weight.
            let of = |roles, weight| Some(rule(roles, None, weight, peers::peer(name, &options.peer())?));
            rules.extend(of(&[Role::Classifier], head_weight));
            rules.extend(of(&[Role::Conv, Role::Hidden], options.weight));
        } else if name != "none" {
            let before = &[Role::Conv, Role::Hidden];
            rules.push(rule(&[Role::Classifier], None, head_weight, Box::new(head) as Box<_>));
            if name == "rp" {
                let projected = RandomProjection::new(hidden, options.projections, options.redraw)?;
                let plain = Energy { half_space: true, ..hidden };
                let k = Some(options.projections.k);
                rules.push(rule(before, k, options.weight, Box::new(plain)));
                rules.push(rule(before, None, options.weight, Box::new(projected)));
            } else {
                rules.push(rule(before, None, options.weight, Box::new(hidden)));
            }
        }
        let Options { include, exclude, energy, .. } = options.clone();
        let energy = Energy { reduce: Reduce::Mean, ..energy };
        Ok(Objective { rules, include, exclude, energy })
    }

    /// Whether the network has what the objective asks for: every pattern matches a layer, and names are unique.
    ///
    /// # Errors
    /// If not: the message has the pattern and the layers there are.
    pub fn check(&self, layers: &[LayerWeight]) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for layer in layers {
            if !seen.insert(layer.name) {
                return Err(Error::option("two layers have this name".into()).in_layer(layer.name));
            }
        }
        let of_rules = self.rules.iter().flat_map(|rule| &rule.select.names);
        for pattern in self.include.iter().chain(&self.exclude).chain(of_rules) {
            if !layers.iter().any(|layer| pattern::matches(pattern, layer.name)) {
                let known = layers.iter().map(|layer| layer.name.to_string()).collect();
                let what = "layer that matches";
                return Err(Problem::Unknown { what, name: pattern.clone(), known }.into());
            }
        }
        Ok(())
    }

    /// The weighted sum of the penalties of all layers: add it to the loss. A constant 0 if no layer is covered.
    ///
    /// # Errors
    /// If a weight cannot be regularised: the message names the layer.
    pub fn penalty(&mut self, layers: &[LayerWeight], step: Step) -> Result<Tensor, Error> {
        let mut sum: Option<Tensor> = None;
        for layer in layers {
            let Some(i) = self.rule_for(layer)? else { continue };
            let rule = &mut self.rules[i];
            if rule.weight == 0.0 {
                continue;
            }
            let penalty = rule.regulariser.penalty(layer, step).map_err(|e| e.in_layer(layer.name))?;
            let weighted = if rule.weight == 1.0 { penalty } else { penalty * rule.weight };
            sum = Some(match sum {
                Some(sum) => sum + weighted,
                None => weighted,
            });
        }
        let dtype = layers.first().map_or(DType::F32, |layer| layer.weight.dtype());
        Ok(sum.unwrap_or_else(|| Tensor::scalar(0.0, dtype)))
    }

    /// Energies and angles of every layer, regularised or not. Computed without a graph; no state changes.
    ///
    /// # Errors
    /// As [`Objective::penalty`].
    pub fn report(&self, layers: &[LayerWeight], step: Step) -> Result<Vec<LayerReport>, Error> {
        layers.iter().map(|layer| self.report_one(layer, step).map_err(|e| e.in_layer(layer.name))).collect()
    }

    fn report_one(&self, layer: &LayerWeight, step: Step) -> Result<LayerReport, Error> {
        let rows = checked_rows(&layer.weight.detach())?;
        let rule = self.rule_for(layer)?.map(|i| &self.rules[i]);
        let energy = |half_space| Energy { half_space, ..self.energy }.of(&rows).map(|e| e.item());
        Ok(LayerReport {
            name: layer.name.to_string(),
            n: rows.shape()[0],
            d: rows.shape()[1],
            regulariser: rule.map(|rule| rule.regulariser.name()),
            weight: rule.map_or(0.0, |rule| rule.weight),
            penalty: rule.map(|rule| rule.regulariser.measure(layer, step)).transpose()?,
            full: energy(false)?,
            half_space: energy(true)?,
            smallest_angle: smallest_angle(&rows)?,
        })
    }

    /// The rule that covers a layer.
    fn rule_for(&self, layer: &LayerWeight) -> Result<Option<usize>, Error> {
        let left_out = !self.include.is_empty() && !pattern::any(&self.include, layer.name);
        if left_out || pattern::any(&self.exclude, layer.name) || self.rules.is_empty() {
            return Ok(None);
        }
        let d = checked_rows(layer.weight).map_err(|e| e.in_layer(layer.name))?.shape()[1];
        Ok(self.rules.iter().position(|rule| rule.select.covers(layer, d)))
    }

    /// The tensors that a checkpoint must hold, by name: those of rule i begin with `i.`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let of_rule = |(i, rule): (usize, &Rule)| {
            rule.regulariser.state().into_iter().map(move |(name, t)| (format!("{i}.{name}"), t))
        };
        self.rules.iter().enumerate().flat_map(of_rule).collect()
    }

    /// Takes up the state that [`Objective::state`] gave.
    ///
    /// # Errors
    /// If a tensor is not part of the state.
    pub fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        let mut taken = 0;
        for (i, rule) in self.rules.iter_mut().enumerate() {
            let prefix = format!("{i}.");
            let own: Vec<(String, Tensor)> = state
                .iter()
                .filter_map(|(name, t)| Some((name.strip_prefix(&prefix)?.to_string(), t.clone())))
                .collect();
            taken += own.len();
            rule.regulariser.load_state(&own)?;
        }
        if taken < state.len() {
            let (found, expected) = (state.len(), taken);
            return Err(Error::option(format!(
                "the state has {found} tensors, of which only {expected} belong to the regulariser's rules"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::Key;

    /// A small network: a first convolution with d = 27, another, a hidden layer, a classifier.
    fn network() -> Vec<(&'static str, Role, Tensor)> {
        let layer = |name, role, shape: &[usize], i| {
            let w = Tensor::normal(shape, DType::F64, Key::new(4).step(i));
            (name, role, w.requires_grad())
        };
        vec![
            layer("conv1.weight", Role::Conv, &[8, 3, 3, 3], 1),
            layer("conv2.weight", Role::Conv, &[6, 8, 3, 3], 2),
            layer("fc1.weight", Role::Hidden, &[5, 54], 3),
            layer("fc2.weight", Role::Classifier, &[4, 5], 4),
        ]
    }

    fn layers<'a>(network: &'a [(&'static str, Role, Tensor)]) -> Vec<LayerWeight<'a>> {
        network.iter().map(|(name, role, weight)| LayerWeight { name, role: *role, weight }).collect()
    }

    const START: Step = Step { index: 0, lr: 0.1 };

    #[test]
    fn published_rules_give_each_layer_its_energy() {
        let network = network();
        let layers = layers(&network);
        let full = |i: usize| Energy::default().of(&network[i].2).unwrap().item();
        let half =
            |i: usize| Energy { half_space: true, ..Energy::default() }.of(&network[i].2).unwrap().item();
        let penalty = |name: &str, options: &Options| {
            Objective::new(name, options).unwrap().penalty(&layers, START).unwrap().item()
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12 * b.abs(), "{a}, not {b}");
        let options = Options::default();
        assert_eq!(penalty("none", &options), 0.0);
        close(penalty("mhe", &options), full(0) + full(1) + full(2) + 10.0 * full(3));
        close(penalty("hs-mhe", &options), half(0) + half(1) + half(2) + 10.0 * full(3));
        // The first layer has fewer dimensions than k = 40, and is not projected.
        let projected: f64 = (1..3)
            .map(|i| {
                let d = network[i].2.numel() / network[i].2.shape()[0];
                let p = Projections::default().draw(network[i].0, 0, d, DType::F64).unwrap();
                let energy = Energy { half_space: true, ..Energy::default() };
                crate::random::projected_energy(&energy, &network[i].2, &p).unwrap().item()
            })
            .sum();
        close(penalty("rp", &options), half(0) + projected + 10.0 * full(3));
        let options =
            Options { weight: 0.5, head_weight: Some(0.0), half_space: Some(true), ..Options::default() };
        close(penalty("mhe", &options), 0.5 * (half(0) + half(1) + half(2)));
        let options = Options { include: vec!["conv*".into()], exclude: vec!["*2.weight".into()], ..options };
        close(penalty("mhe", &options), 0.5 * half(0));
    }

    #[test]
    fn gradients_reach_every_covered_layer_and_no_other() {
        let network = network();
        let options = Options { exclude: vec!["fc1*".into()], ..Options::default() };
        let mut objective = Objective::new("rp", &options).unwrap();
        let grads = objective.penalty(&layers(&network), START).unwrap().backward();
        for (name, _, w) in &network {
            assert_eq!(grads.get(w).is_some(), *name != "fc1.weight", "{name}");
        }
    }

    #[test]
    fn the_report_measures_without_changing_anything() {
        let network = network();
        let layers = layers(&network);
        let mut objective = Objective::new("rp", &Options::default()).unwrap();
        let report = objective.report(&layers, START).unwrap();
        let sum: f64 = report.iter().map(|r| r.weight * r.penalty.unwrap()).sum();
        assert!((sum - objective.penalty(&layers, START).unwrap().item()).abs() < 1e-12 * sum);
        let by: Vec<_> = report.iter().map(|r| (r.regulariser.unwrap(), r.n, r.d, r.weight)).collect();
        assert_eq!(by, [("hs-mhe", 8, 27, 1.0), ("rp", 6, 72, 1.0), ("rp", 5, 54, 1.0), ("mhe", 4, 5, 10.0)]);
        assert_eq!(report[0].penalty, Some(report[0].half_space));
        assert_eq!(report[3].penalty, Some(report[3].full));
        assert!(report.iter().all(|r| r.smallest_angle.unwrap() > 0.0));
        let none = Objective::new("none", &Options::default()).unwrap().report(&layers, START).unwrap();
        assert!(none.iter().all(|r| r.penalty.is_none() && r.weight == 0.0 && r.full > 0.0));
    }

    #[test]
    fn mistakes_are_explained() {
        let fails = |name: &str, options: &Options| match Objective::new(name, options) {
            Ok(_) => panic!("{name} was accepted"),
            Err(e) => e.to_string(),
        };
        let options = Options::default();
        assert!(
            fails("hsmhe", &options).contains("there is no regulariser \"hsmhe\"; did you mean \"hs-mhe\"?")
        );
        let no_k = Options { projections: Projections { k: 0, ..Projections::default() }, ..options.clone() };
        assert!(fails("rp", &no_k).contains("k = 0"));
        assert!(fails("rp", &Options { redraw: 0, ..options.clone() }).contains("redraw = 0"));
        assert!(fails("mhe", &Options { weight: f64::NAN, ..options.clone() }).contains("weight = NaN"));

        let mut network = network();
        let missing = Options { include: vec!["conv3.weight".into()], ..options.clone() };
        let error =
            Objective::new("mhe", &missing).unwrap().check(&layers(&network)).unwrap_err().to_string();
        assert!(error.contains("there is no layer that matches \"conv3.weight\"; did you mean"), "{error}");
        let mut objective = Objective::new("mhe", &options).unwrap();
        assert!(objective.check(&layers(&network)).is_ok());
        network[1].2.update::<f64>(|w| w[72] = f64::NAN);
        let error = objective.penalty(&layers(&network), START).unwrap_err().to_string();
        assert_eq!(error, "conv2.weight: element [1, 0, 0, 0] is NaN; all must be finite");
        assert!(objective.load_state(&[("0.P".into(), Tensor::from(1.0))]).is_err());
        assert!(objective.state().is_empty() && objective.load_state(&[]).is_ok());
    }
}
