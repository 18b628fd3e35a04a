//! Parameter groups.

/// Settings for the parameters whose names match a pattern.
///
/// ```
/// use nn::ParameterGroup;
/// let biases = ParameterGroup::new("*.bias").weight_decay(0.0).lr_factor(2.0);
/// assert!(biases.matches("layer1.0.conv1.bias"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterGroup {
    /// The pattern of the names: `*` matches any text, `?` one character.
    pub pattern: String,
    /// Multiplies the learning rate.
    pub lr_factor: f64,
    /// Replaces the optimiser's weight decay.
    pub weight_decay: Option<f64>,
    /// Whether these parameters are frozen: not updated, with or without a gradient.
    pub frozen: bool,
}

impl ParameterGroup {
    /// A group of the parameters whose names match, with the default settings.
    pub fn new(pattern: impl Into<String>) -> ParameterGroup {
        ParameterGroup { pattern: pattern.into(), lr_factor: 1.0, weight_decay: None, frozen: false }
    }

    /// The same group with its learning rate multiplied.
    pub fn lr_factor(self, lr_factor: f64) -> ParameterGroup {
        ParameterGroup { lr_factor, ..self }
    }

    /// The same group with its own weight decay.
    pub fn weight_decay(self, decay: f64) -> ParameterGroup {
        ParameterGroup { weight_decay: Some(decay), ..self }
    }

    /// The same group, frozen.
    pub fn frozen(self) -> ParameterGroup {
        ParameterGroup { frozen: true, ..self }
    }

    /// Whether the group covers a name.
    pub fn matches(&self, name: &str) -> bool {
        glob(self.pattern.as_bytes(), name.as_bytes())
    }
}

/// Whether `name` matches `pattern`. On a mismatch the last `*` matches one more character, so the time is at most the
/// product of their lengths.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("*", "fc.weight", true),
            ("*.bias", "layer1.0.bn1.bias", true),
            ("*.bias", "bias", false),
            ("layer?.*.conv1.*", "layer2.0.conv1.weight", true),
            ("layer?.*.conv1.*", "layer12.0.conv1.weight", false),
            ("bn*", "conv1.bn", false),
            ("*a*b", "xaayabb", true),
            ("*a*b", "xaaya", false),
            ("fc", "fc", true),
            ("fc", "fc1", false),
            ("", "x", false),
        ] {
            assert_eq!(ParameterGroup::new(pattern).matches(name), fits, "{pattern} {name}");
        }
    }
}
