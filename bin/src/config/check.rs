//! What a setting may be, as far as that does not depend on files.

use std::fmt::Display;
use std::str::FromStr;

use comhe::{Distribution, Energy, Grouping, Preserve, REGULARISERS, Variance, short};
use datasets::{Augment, catalogue};
use nn::{BnStats, Covariance, Masks, Scope};

use super::{Config, MOST_THREADS, Schedule, Settings};
use crate::failure::Failure;
use crate::setup;

impl Config {
    /// Checks what does not depend on files.
    pub fn check(&self) -> Result<(), Failure> {
        let positive = [
            ("width", self.width as u64, "it multiplies the number of filters"),
            ("low-rank", self.low_rank.unwrap_or(1) as u64, "it is the rank of weights"),
            ("batch-size", self.batch_size as u64, "images are needed to learn from"),
            ("reg-k", self.reg_k.unwrap_or(1) as u64, "the energy needs a dimension to live in"),
            ("reg-c", self.reg_c as u64, "projections are averaged"),
            ("reg-redraw", self.reg_redraw, "1 draws anew in every step"),
            ("reg-groups", self.reg_groups as u64, "coordinates are put into them"),
            ("threads", self.threads.unwrap_or(1) as u64, "one thread does the work"),
            ("eval-every", self.eval_every.unwrap_or(1), "leave it out for one evaluation an epoch"),
            ("energy-every", self.energy_every.unwrap_or(1), "leave it out for some with evaluations"),
            ("watch-every", self.watch_every.unwrap_or(1), "leave it out for every tenth step"),
            ("checkpoint-every", self.checkpoint_every, "the last step always writes one"),
            ("early-stopping", self.early_stopping.unwrap_or(1), "it counts evaluations"),
            ("attack-steps", self.attack_steps.unwrap_or(1) as u64, "use --attack none for no attack"),
            ("input-steps", self.input_steps.unwrap_or(1) as u64, "the perturbation is found in steps"),
            ("spectral-steps", self.spectral_steps as u64, "the power iteration needs a product"),
            ("temperature-every", self.temperature_every.unwrap_or(1), "it counts steps"),
            ("steps", self.steps.unwrap_or(1), "a run has a step"),
            ("epochs", self.epochs.unwrap_or(1), "a run goes through the data"),
        ];
        if let Some((name, _, why)) = positive.iter().find(|(_, value, _)| *value == 0) {
            return Err(Failure::usage(format_args!("--{name} is 0; it must be at least 1: {why}")));
        }
        let large = [
            ("width", self.width as u64, 64),
            ("threads", self.threads.unwrap_or(1) as u64, MOST_THREADS as u64),
        ];
        if let Some((name, value, most)) = large.iter().find(|(_, value, most)| value > most) {
            return Err(Failure::usage(format_args!("--{name} is {value}; it can be at most {most}")));
        }
        if let Some((key, _)) = self.paths().into_iter().find(|(_, path)| path.as_os_str().is_empty()) {
            return Err(Failure::usage(format_args!("--{key} is empty; it takes a path, or is left out")));
        }
        if let Some((key, name, what)) = self.wrong_name() {
            return Err(Failure::usage(format_args!("--{key} is {name}: {what}")));
        }
        if self.watch_every.is_some() && self.watch.is_empty() {
            return Err(Failure::usage("--watch-every has no effect without --watch"));
        }
        const ABOVE_0: &str = "a finite number above 0";
        const ABOVE_0_TO_1: &str = "above 0, at most 1";
        const FINITE: &str = "a finite number, not negative";
        const SHARE: &str = "in 0..1, 1 excluded";
        let (most, below_one) = (f64::MAX, 1f64.next_down());
        let rates: [(&str, Option<f64>, f64, &str); 31] = [
            ("lr", Some(self.rate()), most, FINITE),
            ("weight-decay", Some(self.weight_decay), most, FINITE),
            ("reg-s", Some(self.reg_s), most, "a finite number, not negative; usually 0, 1 or 2"),
            ("reg-eps", Some(self.reg_eps), most, FINITE),
            ("reg-inner-decay", Some(self.reg_inner_decay), most, FINITE),
            ("reg-pole-decay", Some(self.reg_pole_decay), most, FINITE),
            ("reg-pole-momentum", Some(self.reg_pole_momentum), below_one, SHARE),
            ("reg-weight", Some(self.reg_weight), most, FINITE),
            ("reg-head-weight", self.reg_head_weight, most, FINITE),
            ("loss-floor", Some(self.loss_floor), most, FINITE),
            ("isda-lambda", Some(self.isda_lambda), most, FINITE),
            ("isda-unlabelled", self.isda_unlabelled, most, FINITE),
            ("input-weight", self.input_weight, most, FINITE),
            ("input-eps", self.input_eps, most, FINITE),
            ("spectral-weight", Some(self.spectral_weight), most, FINITE),
            ("method-eps", self.method_eps, most, FINITE),
            ("method-lr", self.method_lr, most, FINITE),
            ("method-eta", self.method_eta, most, FINITE),
            ("attack-eps", self.attack_eps, most, FINITE),
            ("attack-step", self.attack_step, most, FINITE),
            ("momentum", Some(self.momentum), below_one, SHARE),
            ("plateau", self.plateau, below_one, SHARE),
            ("ema", self.ema, below_one, SHARE),
            ("label-smoothing", Some(self.label_smoothing), below_one, SHARE),
            ("label-noise", Some(self.label_noise), 1.0, "in 0..=1"),
            ("hold-out", Some(self.hold_out), below_one, SHARE),
            ("clip", self.clip, most, ABOVE_0),
            ("method-pass-clip", self.method_pass_clip, most, ABOVE_0),
            ("temperature-factor", self.temperature_factor, 1.0, ABOVE_0_TO_1),
            ("spectral-tau", Some(self.spectral_tau), most, ABOVE_0),
            ("spectral-kappa", Some(self.spectral_kappa), most, ABOVE_0),
        ];
        let wrong = |value: f64, most: f64, rule: &str| {
            !(0.0..=most).contains(&value) || [ABOVE_0, ABOVE_0_TO_1].contains(&rule) && value == 0.0
        };
        let given =
            rates.iter().filter_map(|(name, value, most, rule)| Some((name, (*value)?, *most, *rule)));
        if let Some((name, value, _, rule)) =
            given.into_iter().find(|(_, v, most, rule)| wrong(*v, *most, rule))
        {
            return Err(Failure::usage(format_args!("--{name} is {}; it must be {rule}", short(value))));
        }
        if self.attack_step == Some(0.0) && self.attack_eps != Some(0.0) {
            return Err(Failure::usage("--attack-step is 0; it must be above 0, or nothing moves"));
        }
        if self.plateau_patience.is_some() && self.plateau.is_none() {
            return Err(Failure::usage("--plateau-patience has no effect without --plateau"));
        }
        let dtype = setup::dtype(self);
        let most = Energy::largest_s(dtype);
        if self.reg_s > most {
            let s = short(self.reg_s);
            return Err(Failure::usage(format_args!("--reg-s is {s}; in {dtype} it can be at most {most}")));
        }
        if self.isda_unlabelled.is_some() && self.train_size.is_none() {
            return Err(Failure::usage(
                "--isda-unlabelled has no effect without --train-size: unlabelled images are those that it leaves out",
            ));
        }
        if !self.teacher.is_empty() && self.has_loss("isda") {
            return Err(Failure::usage(
                "--teacher gives distributions of classes, and --loss isda needs labels",
            ));
        }
        if self.inner_rate().is_none() {
            let found = &self.reg_inner_lr;
            return Err(Failure::usage(format_args!(
                "--reg-inner-lr is {found}; it must be network, or a finite number, not negative"
            )));
        }
        if self.steps.is_some() && self.epochs.is_some() {
            return Err(Failure::usage("--steps is set beside epochs; a run has one length"));
        }
        if self.schedule != Schedule::Step && !self.milestones.is_empty() {
            return Err(Failure::usage("--milestones belong to --schedule step"));
        }
        if !self.milestones.is_sorted_by(|a, b| a < b) {
            let list = format!("{:?}", self.milestones);
            return Err(Failure::usage(format_args!(
                "--milestones are {list}; each must be later than the one before"
            )));
        }
        Ok(())
    }

    /// The first setting whose value is not a name that there is: its key, its value, and the message.
    fn wrong_name(&self) -> Option<(&'static str, &str, String)> {
        fn wrong<T: FromStr<Err: Display>>(name: &str) -> Option<String> {
            name.parse::<T>().err().map(|e| e.to_string())
        }
        let data = || catalogue::find(&self.dataset).err().map(|e| e.to_string());
        let names: [(&str, &str, Option<String>); 12] = [
            ("dataset", &self.dataset, data()),
            ("augment", &self.augment, wrong::<Augment>(&self.augment)),
            ("model", &self.model, registry::find(nn::models::MODELS, "model", &self.model).err()),
            ("reg", &self.reg, registry::find(REGULARISERS, "regulariser", &self.reg).err()),
            ("reg-distribution", &self.reg_distribution, wrong::<Distribution>(&self.reg_distribution)),
            ("reg-variance", &self.reg_variance, wrong::<Variance>(&self.reg_variance)),
            ("reg-objective", &self.reg_objective, wrong::<Preserve>(&self.reg_objective)),
            ("reg-group-kind", &self.reg_group_kind, wrong::<Grouping>(&self.reg_group_kind)),
            ("isda-covariance", &self.isda_covariance, wrong::<Covariance>(&self.isda_covariance)),
            ("method-scope", &self.method_scope, wrong::<Scope>(&self.method_scope)),
            ("bn-stats", &self.bn_stats, wrong::<BnStats>(&self.bn_stats)),
            ("method-masks", &self.method_masks, wrong::<Masks>(&self.method_masks)),
        ];
        names.into_iter().find_map(|(key, name, wrong)| Some((key, name, wrong?)))
    }
}
