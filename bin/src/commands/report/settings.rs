//! The settings of a run in canonical form: runs that differ in nothing have equal tables.

use std::slice::from_ref;

use toml::{Table, Value};

use crate::config::{self, Choice, Config, parts};
use crate::failure::Failure;
use crate::setup::{self, PLATEAU_PATIENCE};
use crate::statistics::Measure;

/// The settings as a table without those that have no effect, and with the defaults of the others: explicit
/// `--loss mse` on real targets and no `--loss` are equal, as are `--method-eps 0.05` and SAM's default.
pub fn canonical(config: &Config, measure: Option<Measure>) -> Result<Table, Failure> {
    let of_targets =
        measure.map(|m| if m == Measure::Loss { Choice::named("mse") } else { Choice::default() });
    let config = Config { loss: config.loss.or(of_targets), ..config.clone().settled() };
    let mut settings = config::table(&config)?;
    for (key, default) in defaults(&config)? {
        settings.entry(key).or_insert(default);
    }
    settings.retain(|key, _| parts::check(&config, &[key.to_string()], from_ref(&config.reg)).is_ok());
    Ok(settings)
}

/// The radius of the method, by default its own; None if it has none.
pub fn method_eps(config: &Config) -> Option<f64> {
    let default = config.method.make.eps;
    config.method_eps.or(default).filter(|_| config.method.reads("eps"))
}

/// The defaults of settings that depend on other settings.
fn defaults(config: &Config) -> Result<Vec<(&'static str, Value)>, Failure> {
    let options = setup::options(config)?;
    let (reg, whole) = (config.reg.as_str(), |n: usize| Value::from(n as i64));
    let learned = match reg {
        "ap" => Some(1),
        "adv" => Some(10),
        _ => None,
    };
    let k = if learned.is_some() { options.learning.k } else { options.projections.k };
    let patience = config.plateau.map(|_| PLATEAU_PATIENCE as i64);
    let all = [
        ("method", Some(config.method.name.into())),
        ("method-eps", method_eps(config).map(Value::from)),
        ("plateau-patience", patience.map(Value::from)),
        ("reg-head-weight", Some(options.classifier_weight(reg).into())),
        ("reg-half-space", Some((reg != "mhe").into())),
        ("reg-k", Some(whole(k))),
        ("reg-inner-steps", learned.map(whole)),
    ];
    Ok(all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(config: &Config) -> Table {
        super::canonical(config, Some(Measure::Loss)).unwrap()
    }

    #[test]
    fn an_explicit_default_is_the_default() {
        let base = Config::default();
        let explicit =
            Config { loss: Some(Choice::named("mse")), lr: Some(0.05), epochs: Some(10), ..base.clone() };
        assert_eq!(canonical(&explicit), canonical(&base));
        assert_eq!(canonical(&base)["loss"].as_str(), Some("mse"));
        let sam = Config { method: Choice::named("sam"), ..base.clone() };
        assert_eq!(canonical(&Config { method_eps: Some(0.05), ..sam.clone() }), canonical(&sam));
        assert_ne!(canonical(&Config { method_eps: Some(0.1), ..sam.clone() }), canonical(&sam));
        assert_ne!(canonical(&sam), canonical(&base));
        for (reg, head, k, steps) in
            [("mhe", 10.0, None, None), ("rp", 10.0, Some(40), None), ("adv", 10.0, Some(30), Some(10))]
        {
            let given = Config { reg: reg.into(), ..base.clone() };
            let half_space = (reg == "mhe").then_some(false);
            let explicit = Config {
                reg_head_weight: Some(head),
                reg_k: k,
                reg_inner_steps: steps,
                reg_half_space: half_space,
                ..given.clone()
            };
            assert_eq!(canonical(&explicit), canonical(&given), "{reg}");
        }
        let plateau = Config { plateau: Some(0.5), ..base.clone() };
        assert_eq!(canonical(&Config { plateau_patience: Some(5), ..plateau.clone() }), canonical(&plateau));
    }

    #[test]
    fn settings_without_effect_are_left_out() {
        let base = Config::default();
        let weighted = Config { reg_weight: 3.0, reg_c: 7, ..base.clone() };
        assert_eq!(canonical(&weighted), canonical(&base));
        let adam = Config { optimizer: Choice::named("adam"), ..base.clone() };
        assert_eq!(canonical(&Config { momentum: 0.1, ..adam.clone() }), canonical(&adam));
        // The exponent has an effect on the measured energies even without a regulariser.
        assert_ne!(canonical(&Config { reg_s: 1.0, ..base.clone() }), canonical(&base));
    }
}
