//! The objective of a network: which layers are regularised, by which regulariser, with which weight.
//!
//!   loss + sum over hidden layers of lambda_h E(layer) + lambda_o E(classifier)
//!
//! Published settings (Lin et al., CVPR 2020, sections 3 and 5): hidden layers, convolutions among them, have
//! lambda_h = 1, half-space and s = 2, projected, except for the first, whose d = 27 is below k: it uses the half-space
//! energy without projection. The classifier has lambda_o = 10, full space, s = 2, no projection. Paper and published
//! code agree on all of this; settings of single variants are in `presets.rs`.
//!
//! A peer ([`crate::peers`]) covers every layer with one weight, lambda_h = lambda_o unless lambda_o is given.

use std::collections::HashSet;

use autograd::Tensor;
use nn::{Regulariser, Role, Step, Weight};

use crate::angle::smallest_angle;
use crate::ap::Preserve;
use crate::energy::{self, Energy, Reduce, checked_rows};
use crate::error::{Error, Problem};
use crate::group::Groups;
use crate::learned::Learning;
use crate::pattern;
use crate::peers::{self, PeerOptions, Poles};
use crate::projection::Projections;
use crate::regulariser::{measured, sum_over};
use crate::table::{self, Build, Hidden};

/// The options of a regulariser. The default is the published setting.
#[derive(Clone, Debug)]
pub struct Options {
    /// The hidden layers' energy: s, angular, eps, ..., where `half_space` is replaced by the next field.
    pub energy: Energy,
    /// Half-space for hidden layers; `None`: as the name specifies.
    pub half_space: Option<bool>,
    /// lambda_h, the weight of every hidden layer.
    pub weight: f64,
    /// lambda_o, the weight of the classifier; `None`: see [`Options::classifier_weight`].
    pub head_weight: Option<f64>,
    /// k (r of bilateral ones), C, distribution, variance and seed of random projections.
    pub projections: Projections,
    /// The number of steps between draws of projections, and of random groups.
    pub redraw: u64,
    /// What the projections of `ap` preserve.
    pub preserve: Preserve,
    /// How the projections of `ap` and `adv` are learned.
    pub learning: Learning,
    /// The groups of `group`.
    pub groups: Groups,
    /// `mgd`: the width of its kernel.
    pub gamma: f64,
    /// `ocnn`: the stride of its convolutions; `None`: each layer's own.
    pub stride: Option<usize>,
    /// `mhc`: gamma of its soft minimum; `orthoreg`: lambda.
    pub sharpness: f64,
    /// How the poles of `mhp` and `mhc` are learned.
    pub poles: Poles,
    /// Regularise only layers whose name matches one of these (`*` matches any letters); empty: all.
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
            preserve: Preserve::Cosine,
            learning: Learning::default(),
            groups: Groups::default(),
            gamma: 1.0,
            stride: None,
            sharpness: 10.0,
            poles: Poles::default(),
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

    /// Whether random projections have fewer dimensions than the weights they apply to.
    pub(crate) fn projects(&self, weight: &Weight) -> bool {
        let d = energy::dimensions(weight.value.shape()).unwrap_or(0);
        weight.role != Role::Classifier && d > self.projections.k
    }

    /// The options of peers, for hidden layers or for the classifier, which is in full space.
    fn peer(&self, hidden: bool) -> PeerOptions {
        let (seed, Energy { eps, scale, .. }) = (self.projections.seed, self.energy);
        let half_space = hidden && self.half_space.unwrap_or(false);
        let Options { gamma, stride, sharpness, poles, .. } = *self;
        PeerOptions { seed, eps, gamma, stride, half_space, scale, sharpness, poles }
    }
}

/// The layers that a rule covers.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// The roles it covers.
    pub roles: Vec<Role>,
    /// Patterns of names, of which one must match; empty: every name.
    pub names: Vec<String>,
    /// Only layers whose neurons have fewer dimensions than this.
    pub below: Option<usize>,
    /// Only layers with fewer input channels than this.
    pub below_channels: Option<usize>,
}

impl Select {
    fn covers(&self, layer: &Weight, d: usize) -> bool {
        self.roles.contains(&layer.role)
            && (self.names.is_empty() || pattern::any(&self.names, &layer.name))
            && self.below.is_none_or(|k| d < k)
            && self.below_channels.is_none_or(|count| layer.value.shape()[1] < count)
    }
}

/// A regulariser, the layers it covers, and its weight lambda.
#[derive(Clone)]
pub struct Rule {
    /// The name of the regulariser in reports.
    pub name: &'static str,
    /// Which layers.
    pub select: Select,
    /// lambda.
    pub weight: f64,
    /// What.
    pub regulariser: Box<dyn Regulariser>,
}

/// The regularisation terms of a network's objective: a layer is regularised by the first rule that covers it.
///
/// ```
/// use autograd::{DType, Key};
/// use comhe::{Objective, Options};
/// use nn::{Optimizer, Trainer};
///
/// let model = nn::models::build("lenet", [1, 8, 8], 3, 1, Key::new(0), DType::F32)?;
/// let rp = Objective::new("rp", &Options::default())?;
/// let trainer = Trainer::new(model, Optimizer::sgd(0.9), 0.1, Key::new(1)).regulariser(rp);
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Objective {
    /// The rules in order of precedence.
    pub rules: Vec<Rule>,
    include: Vec<String>,
    exclude: Vec<String>,
    /// The name of the energy in [`Objective::report`].
    energy: Energy,
}

/// The state of one layer, for the log.
#[derive(Clone, Debug)]
pub struct LayerReport {
    /// The layer's name.
    pub name: String,
    /// The number of neurons.
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
        let row = table::row(name)?;
        let head_weight = options.classifier_weight(name);
        for (name, weight) in [("weight", options.weight), ("head weight", head_weight)] {
            if !weight.is_finite() {
                return Err(Error::option(format!("{name} = {weight}: it must be finite")));
            }
        }
        options.energy.check()?;
        let mut rules = Vec::new();
        let before = [Role::Conv, Role::Hidden];
        let select = |roles: &[Role]| Select { roles: roles.to_vec(), ..Select::default() };
        match row.make.build {
            Build::Nothing => {}
            build @ (Build::Peer(_) | Build::Head(_) | Build::Pole(_)) => {
                options.peer(false).check()?;
                // The same function for every layer, each rule with its own weight.
                for (roles, weight) in [(&[Role::Classifier][..], head_weight), (&before, options.weight)] {
                    let hidden = roles == before;
                    if hidden && matches!(build, Build::Head(_)) {
                        continue;
                    }
                    if let Some(regulariser) = peers::made(build, &options.peer(hidden)) {
                        rules.push(Rule { name: row.name, select: select(roles), weight, regulariser });
                    }
                }
            }
            Build::Energy(hidden) => {
                let head = Energy { half_space: false, ..options.energy };
                let head = Rule {
                    name: "mhe",
                    select: select(&[Role::Classifier]),
                    weight: head_weight,
                    regulariser: Box::new(head),
                };
                let Hidden { name, regulariser, small } = hidden(options)?;
                rules.push(head);
                // Layers that are too small for it get the half-space energy without projection.
                if let Some(small) = small {
                    let select = Select { roles: before.to_vec(), ..small };
                    let plain = Energy { half_space: true, ..options.energy };
                    let (weight, regulariser) = (options.weight, Box::new(plain));
                    rules.push(Rule { name: "hs-mhe", select, weight, regulariser });
                }
                rules.push(Rule { name, select: select(&before), weight: options.weight, regulariser });
            }
        }
        let Options { include, exclude, energy, .. } = options.clone();
        let energy = Energy { reduce: Reduce::Mean, ..energy };
        Ok(Objective { rules, include, exclude, energy })
    }

    /// Checks that every pattern matches a layer of the network, and that names are unique.
    ///
    /// # Errors
    /// If not: the message has the pattern and the layers there are.
    pub fn check(&self, layers: &[Weight]) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for layer in layers {
            if !seen.insert(&layer.name) {
                return Err(Error::option("two layers have this name".into()).in_layer(&layer.name));
            }
        }
        let of_rules = self.rules.iter().flat_map(|rule| &rule.select.names);
        for pattern in self.include.iter().chain(&self.exclude).chain(of_rules) {
            if !layers.iter().any(|layer| pattern::matches(pattern, &layer.name)) {
                let known = layers.iter().map(|layer| layer.name.clone()).collect();
                let what = "layer that matches";
                return Err(Problem::Unknown { what, name: pattern.clone(), known }.into());
            }
        }
        Ok(())
    }

    /// Energies and angles of every layer, regularised or not. Computed without a graph; no state changes.
    ///
    /// # Errors
    /// As [`Objective::penalty`].
    pub fn report(&self, layers: &[Weight], step: Step) -> Result<Vec<LayerReport>, nn::Error> {
        layers.iter().map(|layer| self.report_one(layer, step)).collect()
    }

    fn report_one(&self, layer: &Weight, step: Step) -> Result<LayerReport, nn::Error> {
        let named = |e: Error| e.in_layer(&layer.name);
        let rows = checked_rows(&layer.value.detach()).map_err(named)?;
        let rule = self.rule_for(layer)?.map(|i| &self.rules[i]);
        let energy =
            |half_space| Energy { half_space, ..self.energy }.of(&rows).map(|e| e.item()).map_err(named);
        Ok(LayerReport {
            name: layer.name.clone(),
            n: rows.shape()[0],
            d: rows.shape()[1],
            regulariser: rule.map(|rule| rule.name),
            weight: rule.map_or(0.0, |rule| rule.weight),
            penalty: rule.map(|rule| measured(&*rule.regulariser, layer, step)).transpose()?,
            full: energy(false)?,
            half_space: energy(true)?,
            smallest_angle: smallest_angle(&rows).map_err(named)?,
        })
    }

    /// The rule that covers a layer.
    fn rule_for(&self, layer: &Weight) -> Result<Option<usize>, Error> {
        let left_out = !self.include.is_empty() && !pattern::any(&self.include, &layer.name);
        if left_out || pattern::any(&self.exclude, &layer.name) || self.rules.is_empty() {
            return Ok(None);
        }
        let d = energy::dimensions(layer.value.shape()).map_err(|e| e.in_layer(&layer.name))?;
        Ok(self.rules.iter().position(|rule| rule.select.covers(layer, d)))
    }
}

impl Regulariser for Objective {
    /// The weighted sum of the penalties of all layers. A constant 0 if no layer is covered.
    fn penalty(&mut self, weights: &[Weight], step: Step) -> Result<Tensor, nn::Error> {
        sum_over(weights, |weight| {
            let Some(i) = self.rule_for(weight)? else { return Ok(None) };
            let rule = &mut self.rules[i];
            if rule.weight == 0.0 {
                return Ok(None);
            }
            let penalty = rule.regulariser.penalty(std::slice::from_ref(weight), step)?;
            Ok(Some(if rule.weight == 1.0 { penalty } else { penalty * rule.weight }))
        })
    }

    /// The state of each rule's regulariser: the names of those of rule i begin with `i.`.
    fn state(&self) -> Vec<(String, Tensor)> {
        let of_rule = |(i, rule): (usize, &Rule)| {
            rule.regulariser.state().into_iter().map(move |(name, t)| (format!("{i}.{name}"), t))
        };
        self.rules.iter().enumerate().flat_map(of_rule).collect()
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), nn::Error> {
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
            ))
            .into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
