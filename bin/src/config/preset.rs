//! Published settings as keys of a configuration.

use comhe::{Mode, Options, PRESETS, Preset, REGULARISERS, Scale};

use super::tables;

/// Published settings of something else than the regulariser.
struct Other {
    name: &'static str,
    about: &'static str,
    source: &'static str,
    /// The settings, as a file has them.
    settings: &'static str,
}

const OTHERS: [Other; 2] = [
    Other {
        name: "amp-code",
        about: "AMP in a ball per tensor; every pass moves running statistics, has dropout masks of its own and is clipped \
                to 50",
        source: "published AMP code",
        settings: "method.name = 'amp'\nmethod.scope = 'tensor'\nmethod.bn-stats = 'every'\nmethod.masks = 'renewed'\n\
                   method.pass-clip = 50.0",
    },
    Other {
        name: "asam-code",
        about: "ASAM with rho 0.5 and eta 0.01, biases as in SAM",
        source: "published ASAM code",
        settings: "method.name = 'asam'\nmethod.eps = 0.5\nmethod.eta = 0.01\nmethod.plain-biases = true",
    },
];

/// The presets for `--help`, a paragraph each: what it sets, and where it was published.
pub fn listing() -> String {
    let one = |p: &Preset| format!("\n\n{}: {}; {}. {}.", p.name, p.regulariser, p.about, p.source);
    let other = |o: &Other| format!("\n\n{}: {}. {}.", o.name, o.about, o.source);
    let all: String = PRESETS.iter().map(one).chain(OTHERS.iter().map(other)).collect();
    format!(
        "A published setting; flags win. Those of a regulariser set all of it: unless a line says otherwise s = 2, hidden layers have \
         weight 1 and half-space energy (but for mhe), the classifier weight 10 and full space{all}"
    )
}

/// What a preset sets, by key.
pub fn preset(name: &str) -> Result<toml::Table, String> {
    if let Some(other) = OTHERS.iter().find(|other| other.name == name) {
        let table = toml::from_str(other.settings).expect("settings of a preset");
        return Ok(tables::flat(table, |_| false).expect("each setting once").0);
    }
    let names: Vec<&str> = PRESETS.iter().map(|p| p.name).chain(OTHERS.iter().map(|o| o.name)).collect();
    let preset = Preset::named(name).ok_or_else(|| registry::unknown("preset", name, &names))?;
    let options = (preset.options)();
    let head_weight = options.classifier_weight(preset.regulariser);
    let Options { energy, half_space, projections, preserve, learning, weight, redraw, .. } = options;
    let whole = |n: usize| toml::Value::Integer(n as i64);
    let learned = registry::find(REGULARISERS, "regulariser", preset.regulariser)?.reads("mode");
    let k = if learned { learning.k } else { projections.k };
    let scale = if energy.scale == Scale::Code { "code" } else { "paper" };
    let mode = if learning.mode == Mode::Unrolled { "unrolled" } else { "alternating" };
    let settings: [(&str, toml::Value); 16] = [
        ("reg", preset.regulariser.into()),
        ("reg-weight", weight.into()),
        ("reg-head-weight", head_weight.into()),
        ("reg-s", energy.s.into()),
        ("reg-angular", energy.angular.into()),
        ("reg-eps", energy.eps.into()),
        ("reg-scale", scale.into()),
        ("reg-k", whole(k)),
        ("reg-c", whole(projections.c)),
        ("reg-redraw", whole(redraw as usize)),
        ("reg-distribution", projections.distribution.name().into()),
        ("reg-variance", projections.variance.name().into()),
        ("reg-objective", preserve.name().into()),
        ("reg-inner-decay", learning.decay.into()),
        ("reg-mode", mode.into()),
        ("reg-unroll", whole(learning.unrolled)),
    ];
    let mut table: toml::Table = settings.map(|(key, value)| (key.to_string(), value)).into_iter().collect();
    if let Some(half_space) = half_space {
        table.insert("reg-half-space".into(), half_space.into());
    }
    if let Some(plain) = learning.plain {
        table.insert("reg-inner-steps".into(), whole(plain));
    }
    Ok(table)
}
