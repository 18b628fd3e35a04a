//! The identity of a run: the settings that its weights depend on. Manifest and checkpoints hold them, so that a run
//! does not resume with settings that were edited or damaged, or from a checkpoint of another run.

use serde_json::{Value, json};

use crate::config::{self, Settings, file};
use crate::failure::Failure;

/// Where manifest and checkpoint have them.
pub const SETTINGS: &str = "settings";

/// The settings that may not change when a run resumes.
pub fn of(config: &impl Settings) -> Result<Value, Failure> {
    Ok(json!(fixed(config)?))
}

fn fixed<S: Settings>(config: &S) -> Result<toml::Table, Failure> {
    let mut settings = config::table(config)?;
    let changeable = S::changeable();
    settings.retain(|key, _| !changeable.contains(&key));
    Ok(settings)
}

/// The first setting that differs, in words; a setting that was not known `then` had its default.
pub fn difference<S: Settings>(then: &Value, now: &S) -> Result<Option<String>, Failure> {
    let read = serde_json::from_value(then.clone()).map_err(|e| e.to_string());
    let then = match read.and_then(file::from_table::<S>) {
        Ok(then) => then,
        Err(e) => return Ok(Some(format!("its {SETTINGS} cannot be read: {e}"))),
    };
    let (then, now) = (fixed(&then)?, fixed(now)?);
    let told = |value: Option<&toml::Value>| value.map_or("not set".to_string(), toml::Value::to_string);
    // A loss that is not set is the one that suits the data, which settings are completed with.
    let completed = |key: &str| key == "loss" && then.contains_key(key) != now.contains_key(key);
    let differs = |key: &&String| then.get(*key) != now.get(*key) && !completed(key);
    let changed = then.keys().chain(now.keys()).find(differs);
    Ok(changed.map(|key| format!("{key} was {}, and is {}", told(then.get(key)), told(now.get(key)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_setting_that_weights_depend_on_is_named_and_others_may_change() {
        let run = Config { lr: Some(0.1), reg: "rp".into(), ..Config::default() };
        let then = of(&run).unwrap();
        let change = |now: Config| difference(&then, &now).unwrap().unwrap_or_default();
        assert_eq!(change(Config { steps: Some(3), threads: Some(1), ..run.clone() }), "");
        assert_eq!(change(Config { lr: Some(0.2), ..run.clone() }), "lr was 0.1, and is 0.2");
        assert_eq!(change(Config { lr: None, ..run.clone() }), "lr was 0.1, and is not set");
        assert_eq!(change(Config { low_rank: Some(2), ..run.clone() }), "low-rank was not set, and is 2");
        let unknown = difference(&json!({"new": 1}), &run).unwrap().unwrap();
        assert!(
            unknown.starts_with("its settings cannot be read: new = 1: unknown field `new`"),
            "{unknown}"
        );
        assert_eq!(difference(&json!({"lr": 0.1, "reg": "rp"}), &run).unwrap(), None);
        let mse = Config { loss: Some(crate::config::Choice::named("mse")), ..run.clone() };
        assert_eq!(change(mse.clone()), "", "the data had chosen it");
        let then = of(&mse).unwrap();
        let other = Config { loss: Some(crate::config::Choice::default()), ..run.clone() };
        let text = difference(&then, &other).unwrap().unwrap();
        assert_eq!(text, "loss was \"mse\", and is \"cross-entropy\"");
    }
}
