//! `comhe config show`: the settings that a run would have, and where each comes from.

use clap::{ArgMatches, Args, Subcommand};
use serde_json::json;

use crate::config::layers::Layers;
use crate::config::{Config, tables};
use crate::failure::Failure;
use crate::output;

/// The settings that comhe train would have
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe config show --preset paper-rp
  comhe config show --config run.toml --lr 0.1 --set reg.k=20 > effective.toml")]
pub struct ConfigOf {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Show(Box<Show>),
}

/// Every setting with its origin: default, preset, file:line, --set or flag; the output is a file for --config
#[derive(Args, Debug)]
struct Show {
    /// JSON: one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    settings: Config,
}

impl ConfigOf {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        let What::Show(show) = self.what;
        let none = ArgMatches::default();
        let matches = matches.subcommand().map_or(&none, |(_, given)| given);
        let rows = show.layers.origins(&show.settings, matches)?;
        if show.json {
            return rows.into_iter().try_for_each(|(key, value, origin)| {
                output::json(&json!({ "key": key, "value": value, "origin": origin }))
            });
        }
        let in_file = |(key, value, origin)| (tables::dotted(key), value, origin);
        let mut rows: Vec<_> =
            rows.iter().map(|(key, value, origin)| in_file((key, value, origin))).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        let assignment = |(key, value, _): &(String, &toml::Value, &String)| format!("{key} = {value}");
        let width = rows.iter().map(|row| assignment(row).chars().count()).max().unwrap_or(0);
        rows.iter().try_for_each(|row| output::line(&format!("{:<width$}  # {}", assignment(row), row.2)))
    }
}
