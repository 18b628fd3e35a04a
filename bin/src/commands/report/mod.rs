//! `comhe report`: runs as one page, and its pictures and tables as files.

mod collect;
mod curves;
mod formats;
mod groups;
mod layers;
mod network;
mod page;
mod results;

use std::path::{Path, PathBuf};

use clap::Args;
use nn::write_atomic;

use crate::failure::Failure;
use crate::output::{self, Table};
use crate::picture::Picture;
use crate::{run_folder, setup, system};
use collect::Run;
use curves::Band;
use groups::Group;
use network::Section;
use page::Part;

/// Runs as one self-contained HTML page, and its pictures and tables as files
#[derive(Args, Debug)]
#[group(skip)]
#[command(after_help = "Examples:
  comhe report runs/fashion14-lenet-none-1           one run
  comhe report runs --out report                     all runs in a folder, grouped
  comhe report rp1 rp2 rp3 none1 none2 none3 --band sd
  comhe report runs/compare-1                        a comparison: no weights, thus no filters

Runs that differ in nothing but their seed are a group: a line for the mean of its seeds, a band
around it. Differences are to the group without a regulariser and with the same settings
otherwise, paired by seed, with 95 % intervals by Student's t. Runs that were stopped or killed
are shown as far as they came; tables take the finished ones of a group, if it has any.

The weights before training are drawn again from each run's settings and seed; those after it are
its final.safetensors, or its last checkpoint. Confusion matrices need the data of the run.

The folder gets report.html (which loads nothing from anywhere), report.md, every picture as SVG
and PNG, and the tables results, runs and settings as CSV, Markdown and LaTeX (booktabs). The
path of the page is printed last.")]
pub struct Report {
    /// Run folders, folders of a comparison, or folders that hold some
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The folder of the report; files of an earlier one are replaced [default: a new one in runs/]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The band around a mean
    #[arg(long, value_enum, default_value_t)]
    band: Band,
    /// Where the data of the runs lie, if not where they were
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Threads for the evaluation [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

const PAGE: &str = "report.html";

/// A report before it is written.
struct Made {
    page: String,
    markdown: String,
    tables: Vec<(&'static str, Table)>,
    pictures: Vec<(String, Picture)>,
}

/// Writes the page alone of what a folder holds into that folder.
pub fn write_page(folder: &Path) -> Result<(), Failure> {
    let report =
        Report { runs: vec![folder.into()], out: None, band: Band::default(), data_dir: None, threads: None };
    Ok(write_atomic(&folder.join(PAGE), report.made(collect::all(&report.runs)?).page.as_bytes())?)
}

impl Report {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        if self.threads.is_some_and(|n| !(1..=1024).contains(&n)) {
            return Err(Failure::usage("--threads must be from 1 to 1024"));
        }
        autograd::set_threads(self.threads.unwrap_or_else(setup::cores));
        let runs = collect::all(&self.runs)?;
        let folder = self.out.clone().unwrap_or_else(|| run_folder::fresh("report"));
        run_folder::made(&folder)?;
        self.made(runs).write(&folder)?;
        output::line(&folder.join(PAGE).display().to_string())
    }

    /// Everything that is written.
    fn made(&self, runs: Vec<Run>) -> Made {
        let (count, groups) = (runs.len(), groups::of_runs(runs));
        let (angles, filters) = network::weights(&groups);
        let confusions = network::confusions(&groups, self.data_dir.as_ref());
        let named = |list: Vec<(&'static str, Picture)>| -> Vec<(String, Picture)> {
            list.into_iter().map(|(name, picture)| (name.to_string(), picture)).collect()
        };
        let curves = named(curves::pictures(&groups, self.band));
        let layers = named(layers::pictures(&groups));
        let tables = [
            ("results", Some(results::results(&groups))),
            ("runs", Some(results::runs(&groups))),
            ("differences", results::differences(&groups)),
            ("settings", Some(results::shared(&groups))),
        ];
        let of = |names: &[&str]| -> Vec<String> {
            let named = tables.iter().filter(|(name, _)| names.contains(name));
            named.filter_map(|(_, table)| table.as_ref()).map(formats::html).collect()
        };
        let words = self.words(&groups, count);
        let markdown = words.markdown(&tables, &curves, &layers, [&angles, &filters, &confusions]);
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
        let parts = [
            part("Results", &words.results, &[], &words.runs, of(&["results"])),
            part("Curves", &words.curves, &curves, &[], Vec::new()),
            part("Layers", &words.layers, &layers, &[], Vec::new()),
            section("Angles", &words.angles, &angles),
            section("First-layer filters", &words.filters, &filters),
            section("Confusions", &words.confusions, &confusions),
            part("Configuration", &words.settings, &[], &[], of(&["differences", "settings"])),
            part("Runs", &[], &[], &[], of(&["runs"])),
        ];
        let footer = format!("comhe {} ({}), {}", env!("CARGO_PKG_VERSION"), system::COMMIT, system::now());
        Made {
            page: page::html(&words.title, &words.lead, &parts, &footer),
            markdown,
            tables: tables.into_iter().filter_map(|(name, table)| Some((name, table?))).collect(),
            pictures: [curves, layers, angles.pictures, filters.pictures, confusions.pictures].concat(),
        }
    }

    /// What is said beside pictures and tables.
    fn words(&self, groups: &[Group], count: usize) -> Words {
        let line = |text: &str| vec![text.to_string()];
        let setting = |key: &str| {
            let mut values: Vec<String> = groups.iter().map(|g| groups::text(&g.settings, key)).collect();
            values.dedup();
            values.join(", ")
        };
        let block = curves::block(groups);
        let each = if block > 1 {
            format!(" A point of the training curves is the mean of {block} steps.")
        } else {
            String::new()
        };
        let based = groups.iter().filter_map(|g| results::baseline(g, groups)).map(|g| g.name.clone());
        let mut based: Vec<String> = based.collect();
        based.dedup();
        let baseline = match &based[..] {
            [] => "No group without a regulariser has the settings of another, so that there is no baseline.".into(),
            [one] => format!("Differences are to {one}, paired by seed, with 95 % intervals of the mean by Student's t."),
            _ => "Differences are to the group without a regulariser that shares all other settings, paired by seed, with 95 % intervals of the mean by Student's t.".into(),
        };
        let runs = groups.iter().flat_map(|g| &g.runs);
        let told = runs.flat_map(|run| {
            let ended = (!run.finished).then(|| format!("{}: {}", run.name, run.state()));
            ended.into_iter().chain(run.notes.iter().map(|note| format!("{}: {note}", run.name)))
        });
        let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        Words {
            title: format!("{} on {}", setting("model"), setting("dataset")),
            lead: vec![
                format!("{} in {}", plural(count, "run"), plural(groups.len(), "group"))
                    + ": "
                    + &groups
                        .iter()
                        .map(|g| format!("{} ({})", g.name, plural(g.runs.len(), "seed")))
                        .collect::<Vec<_>>()
                        .join(", "),
            ],
            results: vec![format!(
                "Means over the finished runs of a group (n of them), each at its last evaluation on {}; energies and angles (mean of the layers, smallest in any) go from the first to the last measurement. {baseline}",
                match groups::judge(groups) {
                    "test" => "the test set",
                    "validation" => "held-out training examples",
                    _ => "the test set, or held-out training examples",
                }
            )],
            runs: told.collect(),
            curves: vec![format!(
                "Lines are means over the seeds of a group, bands go {}.{each}",
                self.band.words()
            )],
            layers: line(
                "Means over the seeds of a group; every map has the same scale. Energies are means over the pairs of a layer; the lower, the more spread its neurons.",
            ),
            angles: line(
                "Shares of all pairs of neurons, over all seeds of a group. The weights before training were drawn again from each run's settings and seed, as at its start; those after it are its saved ones. Up to a pair in a thousand at either end lies outside.",
            ),
            filters: line(
                "After training, of the first seed of each group; each filter is scaled by its own largest weight, and grey is 0.",
            ),
            confusions: line(
                "The first seed of each group on the images that it was judged on: a row a label, a column a predicted class.",
            ),
            settings: line("What differs between the groups, and what they share."),
        }
    }
}

impl Made {
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

/// What is said, a field a part.
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
    /// The report in Markdown, with its pictures by name.
    fn markdown(
        &self,
        tables: &[(&str, Option<Table>)],
        curves: &[(String, Picture)],
        layers: &[(String, Picture)],
        [angles, filters, confusions]: [&Section; 3],
    ) -> String {
        // Backslashes and brackets as text, tags as text.
        let plain = |line: &String| {
            line.chars().fold(String::new(), |mut out, c| {
                match c {
                    '\\' | '*' | '_' | '`' | '[' | ']' | '#' | '|' => out.extend(['\\', c]),
                    '<' => out.push_str("&lt;"),
                    '&' => out.push_str("&amp;"),
                    c if c.is_control() => out.push(' '),
                    c => out.push(c),
                }
                out
            })
        };
        let lines = |words: &[String]| words.iter().map(|w| plain(w) + "\n\n").collect::<String>();
        let images = |list: &[(String, Picture)]| {
            list.iter().map(|(n, _)| format!("![{n}]({n}.svg)\n\n")).collect::<String>()
        };
        let table = |name: &str| {
            let found = tables.iter().find(|(n, _)| *n == name).and_then(|(_, t)| t.as_ref());
            found.map(|t| formats::markdown(t) + "\n").unwrap_or_default()
        };
        let section =
            |words: &[String], s: &Section| lines(words) + &images(&s.pictures) + &lines(&s.remarks);
        [
            format!("# {}\n\n{}", plain(&self.title), lines(&self.lead)),
            format!("## Results\n\n{}{}{}", lines(&self.results), table("results"), lines(&self.runs)),
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
