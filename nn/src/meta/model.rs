//! What meta-training learns.

use autograd::{Shape, Tensor};

use super::{Adaptation, Learner};
use crate::error::Error;
use crate::models::Model;
use crate::module::{Change, Context, Kind, Module, See, join};
use crate::summary::Summary;

/// A model with what else is meta-learned: the parameters of the meta-optimiser.
#[derive(Clone)]
pub struct MetaModel {
    /// The model before adaptation.
    pub model: Model,
    /// Of Meta-SGD, the rates: the same model with a rate in the place of each element of each parameter. Their names
    /// are those of the parameters with `rates.` in front.
    pub rates: Option<Model>,
}

/// The prefix of the names of rates.
const RATES: &str = "rates";

impl MetaModel {
    /// A model that is to adapt so.
    pub fn new(model: Model, adaptation: &Adaptation) -> MetaModel {
        let rate = |p: &Tensor| Tensor::full(p.shape(), adaptation.rate, p.dtype()).requires_grad();
        let rates = (adaptation.learner == Learner::MetaSgd).then(|| model.map(|_, p| rate(p)));
        MetaModel { model, rates }
    }

    /// The rates in the order of the parameters; empty without any.
    pub(super) fn rates(&self) -> Vec<&Tensor> {
        self.rates.iter().flat_map(|rates| rates.named_parameters()).map(|(_, rate)| rate).collect()
    }
}

impl Module for MetaModel {
    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        self.model.forward(x, cx)
    }

    fn visit<'a>(&'a self, see: See<'_, 'a>) {
        self.model.visit(see);
        if let Some(rates) = &self.rates {
            rates.visit(&mut |name, t, kind| {
                if kind == Kind::Parameter {
                    see(&join(RATES, name), t, kind);
                }
            });
        }
    }

    fn visit_mut<'a>(&'a mut self, change: Change<'_, 'a>) {
        self.model.visit_mut(change);
        if let Some(rates) = &mut self.rates {
            rates.visit_mut(&mut |name, t, kind| {
                if kind == Kind::Parameter {
                    change(&join(RATES, name), t, kind);
                }
            });
        }
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        self.model.plan(path, input, plan)
    }
}
