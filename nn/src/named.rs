//! Enums by name: one table per enum, of the values and their names.

/// For an enum without data: `ALL`, `name`, and the conversions from and to its names.
macro_rules! named {
    ($kind:ident, $what:literal: $($value:ident = $name:literal),+ $(,)?) => {
        impl $kind {
            /// Every value.
            pub const ALL: [$kind; [$($name),+].len()] = [$($kind::$value),+];

            /// The name that [`str::parse`] accepts.
            pub fn name(self) -> &'static str {
                match self {
                    $($kind::$value => $name),+
                }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $kind {
            type Err = $crate::Error;
            fn from_str(name: &str) -> Result<$kind, $crate::Error> {
                let found = $kind::ALL.into_iter().find(|value| value.name() == name);
                found.ok_or_else(|| {
                    $crate::Error::Config(registry::unknown($what, name, &$kind::ALL.map($kind::name)))
                })
            }
        }
    };
}

pub(crate) use named;
