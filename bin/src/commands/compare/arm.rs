//! The arms of a comparison: regulariser, method and loss.

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::config::{Choice, Config};

/// What the runs of one row have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// The regulariser.
    pub reg: String,
    /// The method, if it is not that of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The loss, if it is not that of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<String>,
}

impl Arm {
    /// Its name: the parts in which arms of the plan differ.
    pub fn name(&self, plan: &Plan) -> String {
        let reg = (plan.regs.len() > 1).then_some(&self.reg);
        let parts: Vec<&str> = [self.loss.as_ref(), self.method.as_ref(), reg]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if parts.is_empty() { self.reg.clone() } else { parts.join(", ") }
    }

    /// The settings of the arm, from those that all arms share.
    pub fn config(&self, shared: &Config) -> Config {
        let method = self.method.as_ref().map(|name| Choice::named(name));
        Config {
            reg: self.reg.clone(),
            method: method.unwrap_or(shared.method),
            loss: self.loss.as_ref().map(|name| Choice::named(name)).or(shared.loss),
            ..shared.clone()
        }
    }
}

/// Every combination, in the order of the lists; an empty list leaves the setting as it is.
pub fn arms(regs: &[String], methods: &[String], losses: &[String]) -> Vec<Arm> {
    let or_one = |names: &[String]| match names {
        [] => vec![None],
        names => names.iter().cloned().map(Some).collect(),
    };
    let mut arms = Vec::new();
    for loss in or_one(losses) {
        for method in or_one(methods) {
            arms.extend(regs.iter().map(|reg| Arm {
                reg: reg.clone(),
                method: method.clone(),
                loss: loss.clone(),
            }));
        }
    }
    arms
}
