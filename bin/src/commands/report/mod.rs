//! `comhe report`: an HTML page on runs, with its pictures and tables as files.

mod collect;
mod curves;
mod formats;
mod groups;
mod layers;
mod meta;
mod network;
mod page;
mod results;
pub mod settings;

use std::path::{Path, PathBuf};

use clap::Args;
use nn::write_atomic;

use crate::failure::Failure;
use crate::output::{self, Table};
use crate::picture::Picture;
use crate::statistics::count;
use crate::{run_folder, setup, system};
use collect::Found;
use curves::Band;
use groups::{Group, Named};
use meta::Section as MetaSection;
use network::Section;
use page::Part;

/// A self-contained HTML page on runs, with its pictures and tables as files
#[derive(Args, Debug)]
#[group(skip)]
#[command(after_help = "Examples:
  comhe report runs/fashion14-lenet-none-1           one run
  comhe report runs --out report                     all runs in a folder, grouped
  comhe report rp1 rp2 rp3 none1 none2 none3 --band sd
  comhe report runs/compare-1                        a comparison (it has no weights, thus no filters)

Runs that differ only in their seed are a group, shown as the mean over its seeds with a band. An
explicit default is no difference. Of several runs with the same settings and seed one is counted, and
the others are named. Differences are to the group without the regulariser, or else the method, attack,
input penalty, spectral control, loss or teacher, whose other settings are the same, paired by seed, with
95 % intervals by Student's t. Runs that were stopped or killed are shown up to their last step; the
tables have the finished runs of a group, if there are any. Groups with real targets are compared by
their loss, in a table of their own. Runs of comhe meta are a section of their own; their differences are
to the group without noise.

The weights before training are recomputed from the settings and the seed of each run; those after it
are its final.safetensors, or its last checkpoint. Confusion matrices need the data of the run.

The folder gets report.html, a page that loads nothing from outside, report.md, every picture as SVG and
PNG, and the tables results, runs, differences and settings (of comhe meta: meta, meta-runs and so on) as CSV, Markdown and LaTeX (booktabs). The
path of the page is printed last.")]
pub struct Report {
    /// Run folders of train and meta, folders of a comparison, or folders that contain some
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Folder of the report; files of an earlier one are replaced [default: a new one in runs/]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Band around a mean
    #[arg(long, value_enum, default_value_t)]
    band: Band,
    /// Folder of the data sets, if it has changed since the runs
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Threads for the evaluation [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

const PAGE: &str = "report.html";

/// The files of a report.
struct Files {
    page: String,
    markdown: String,
    tables: Vec<(&'static str, Table)>,
    pictures: Vec<(String, Picture)>,
}

/// Writes the page on the runs of a folder into that folder.
pub fn write_page(folder: &Path) -> Result<(), Failure> {
    let report =
        Report { runs: vec![folder.into()], out: None, band: Band::default(), data_dir: None, threads: None };
    Ok(write_atomic(&folder.join(PAGE), report.files(collect::all(&report.runs)?)?.page.as_bytes())?)
}

impl Report {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        if self.threads.is_some_and(|n| !(1..=1024).contains(&n)) {
            return Err(Failure::usage("--threads must be from 1 to 1024"));
        }
        autograd::set_threads(self.threads.unwrap_or_else(setup::cores));
        let found = collect::all(&self.runs)?;
        let folder = self.out.clone().unwrap_or_else(|| run_folder::fresh("report"));
        run_folder::made(&folder)?;
        self.files(found)?.write(&folder)?;
        output::line(&folder.join(PAGE).display().to_string())
    }

    /// The files of the report on these runs.
    fn files(&self, Found { runs, meta }: Found) -> Result<Files, Failure> {
        let (groups, of_meta) = (groups::of_runs(runs), MetaSection::of(meta, self.band)?);
        let (angles, filters) = network::weights(&groups);
        let confusions = network::confusions(&groups, self.data_dir.as_ref());
        let named = |list: Vec<(&'static str, Picture)>| -> Vec<(String, Picture)> {
            list.into_iter().map(|(name, picture)| (name.to_string(), picture)).collect()
        };
        let curves = named(curves::pictures(&groups, self.band));
        let layers = named(layers::pictures(&groups));
        let mut tables = results::results(&groups);
        let scores: Vec<&str> = tables.iter().map(|(name, _)| *name).collect();
        tables.push(("runs", results::runs(&groups)));
        let named_groups: Vec<Named> = groups.iter().map(Group::named).collect();
        tables.extend(results::differences(&named_groups).map(|table| ("differences", table)));
        tables.push(("settings", results::shared(&named_groups)));
        let of = |names: &[&str]| -> Vec<String> {
            let named = tables.iter().filter(|(name, _)| names.contains(name));
            named.map(|(_, table)| formats::html(table)).collect()
        };
        let mut words = self.words(&groups);
        if groups.is_empty() {
            (words.title, words.lead) = (of_meta.title(), Vec::new());
        }
        words.lead.extend(of_meta.lead());
        let body = words.markdown(&tables, &curves, &layers, [&angles, &filters, &confusions]);
        let shown = |pictures: &[(String, Picture)]| pictures.iter().map(|(_, p)| p.inline()).collect();
        let part =
            |heading, words: &[String], pictures: &[(String, Picture)], remarks: &[String], tables| Part {
                heading,
                words: words.to_vec(),
                remarks: remarks.to_vec(),
                pictures: shown(pictures),
                tables,
            };
        let section = |heading, words: &[String], s: &Section| {
            part(heading, words, &s.pictures, &s.remarks, Vec::new())
        };
        let mut parts = vec![
            part("Results", &words.results, &[], &words.runs, of(&scores)),
            part("Curves", &words.curves, &curves, &[], Vec::new()),
            part("Layers", &words.layers, &layers, &[], Vec::new()),
            section("Angles", &words.angles, &angles),
            section("First-layer filters", &words.filters, &filters),
            section("Confusions", &words.confusions, &confusions),
            part("Configuration", &words.settings, &[], &[], of(&["differences", "settings"])),
            part("Runs", &[], &[], &[], of(&["runs"])),
        ];
        let mut markdown = heading(&words.title, &words.lead);
        if groups.is_empty() {
            (parts, tables) = (Vec::new(), Vec::new());
        } else {
            markdown += &body;
        }
        if !of_meta.is_empty() {
            parts.push(of_meta.part());
            markdown += &of_meta.markdown();
        }
        tables.extend(of_meta.tables);
        let footer = format!("comhe {} ({}), {}", env!("CARGO_PKG_VERSION"), system::COMMIT, system::now());
        Ok(Files {
            page: page::html(&words.title, &words.lead, &parts, &footer),
            markdown,
            tables,
            pictures: [
                curves,
                layers,
                angles.pictures,
                filters.pictures,
                confusions.pictures,
                of_meta.pictures,
            ]
            .concat(),
        })
    }

    /// The text of the report.
    fn words(&self, groups: &[Group]) -> Words {
        let line = |text: &str| vec![text.to_string()];
        let setting = |key: &str| unique(groups.iter().map(|g| groups::text(&g.settings, key))).join(", ");
        let block = curves::block(groups);
        let each = if block > 1 {
            format!(" A point of the training curves is the mean of {block} steps.")
        } else {
            String::new()
        };
        let baseline = match &results::baselines(groups)[..] {
            [] => "There is no baseline: no group is another one without its regulariser, method, attack, penalty, loss or teacher.".into(),
            [one] => format!("Differences are to {one}, paired by seed, with 95 % intervals of the mean by Student's t."),
            _ => "Differences are to the group without the regulariser (or else the method, attack, input penalty, spectral control, loss or teacher) whose other settings are the same, paired by seed, with 95 % intervals of the mean by Student's t.".into(),
        };
        let runs = || groups.iter().flat_map(|g| &g.runs);
        let notes = runs().flat_map(|run| {
            let ended = (!run.finished).then(|| format!("{}: {}", run.name, run.state()));
            ended.into_iter().chain(run.notes.iter().map(|note| format!("{}: {note}", run.name)))
        });
        Words {
            title: format!("{} on {}", setting("model"), setting("dataset")),
            lead: vec![
                format!("{} in {}", count(runs().count(), "run"), count(groups.len(), "group"))
                    + ": "
                    + &groups
                        .iter()
                        .map(|g| format!("{} ({})", g.name, count(g.runs.len(), "seed")))
                        .collect::<Vec<_>>()
                        .join(", "),
            ],
            results: vec![format!(
                "Means over the n finished runs of a group, each at its last evaluation on {}. Energies (mean of the layers) and angles (smallest of all layers) are those of the first and the last measurement. {baseline}",
                match groups::evaluated_on(groups) {
                    "test" => "the test set",
                    "validation" => "held-out training examples",
                    _ => "the test set, or held-out training examples",
                }
            )],
            runs: notes.collect(),
            curves: vec![format!(
                "Lines are means over the seeds of a group; bands go {}.{each}",
                self.band.words()
            )],
            layers: line(
                "Means over the seeds of a group; all maps have the same scale. Energies are means over the pairs of a layer: the lower, the more uniformly its neurons are distributed.",
            ),
            angles: line(
                "Shares of all pairs of neurons, over all seeds of a group. The weights before training are recomputed from the settings and the seed of each run; those after it are the saved ones. Up to 0.1 % of the pairs at either end are not shown.",
            ),
            filters: line(
                "The first seed of each group after training; each filter is scaled by its largest absolute weight, and grey is 0.",
            ),
            confusions: line(
                "The first seed of each group on the images that it was evaluated on: one row per label, one column per predicted class.",
            ),
            settings: line(
                "The settings in which the groups differ, and those that they share. Settings without effect are left out.",
            ),
        }
    }
}

/// The values without repetitions, in the order of their first occurrences.
fn unique(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = Vec::new();
    values.for_each(|value| {
        if !seen.contains(&value) {
            seen.push(value);
        }
    });
    seen
}

impl Files {
    /// Writes all files.
    fn write(&self, folder: &Path) -> Result<(), Failure> {
        let file = |name: &str, text: &str| write_atomic(&folder.join(name), text.as_bytes());
        for (name, table) in &self.tables {
            file(&format!("{name}.csv"), &formats::csv(table))?;
            file(&format!("{name}.md"), &formats::markdown(table))?;
            file(&format!("{name}.tex"), &formats::latex(table))?;
        }
        self.pictures.iter().try_for_each(|(name, picture)| picture.write(folder, name))?;
        file(PAGE, &self.page)?;
        Ok(file("report.md", &self.markdown)?)
    }
}

/// A text in Markdown, whose markup is shown as text.
fn plain(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '\\' | '*' | '_' | '`' | '[' | ']' | '#' | '|' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        out
    })
}

/// Paragraphs in Markdown.
fn lines(words: &[String]) -> String {
    words.iter().map(|line| plain(line) + "\n\n").collect()
}

/// Pictures in Markdown, by their names.
fn images(pictures: &[(String, Picture)]) -> String {
    pictures.iter().map(|(name, _)| format!("![{name}]({name}.svg)\n\n")).collect()
}

/// The beginning of the report in Markdown.
fn heading(title: &str, lead: &[String]) -> String {
    format!("# {}\n\n{}", plain(title), lines(lead))
}

/// The text of the sections.
struct Words {
    title: String,
    lead: Vec<String>,
    results: Vec<String>,
    runs: Vec<String>,
    curves: Vec<String>,
    layers: Vec<String>,
    angles: Vec<String>,
    filters: Vec<String>,
    confusions: Vec<String>,
    settings: Vec<String>,
}

impl Words {
    /// The sections in Markdown, with their pictures by name.
    fn markdown(
        &self,
        tables: &[(&str, Table)],
        curves: &[(String, Picture)],
        layers: &[(String, Picture)],
        [angles, filters, confusions]: [&Section; 3],
    ) -> String {
        let table = |name: &str| {
            let found = tables.iter().filter(|(n, _)| *n == name);
            found.map(|(_, t)| formats::markdown(t) + "\n").collect::<String>()
        };
        let section =
            |words: &[String], s: &Section| lines(words) + &images(&s.pictures) + &lines(&s.remarks);
        [
            format!(
                "## Results\n\n{}{}{}",
                lines(&self.results),
                table("results") + &table("results-real"),
                lines(&self.runs)
            ),
            format!("## Curves\n\n{}{}", lines(&self.curves), images(curves)),
            format!("## Layers\n\n{}{}", lines(&self.layers), images(layers)),
            format!("## Angles\n\n{}", section(&self.angles, angles)),
            format!("## First-layer filters\n\n{}", section(&self.filters, filters)),
            format!("## Confusions\n\n{}", section(&self.confusions, confusions)),
            format!(
                "## Configuration\n\n{}{}{}",
                lines(&self.settings),
                table("differences"),
                table("settings")
            ),
            format!("## Runs\n\n{}", table("runs")),
        ]
        .concat()
    }
}
