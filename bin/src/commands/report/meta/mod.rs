//! The runs of `comhe meta`: a section of their own.

mod runs;
mod tables;

pub use runs::MetaRun;

use super::collect::state;
use super::curves::{Band, Readings, averaged, block_of, places};
use super::groups::text;
use super::page::Part;
use super::{formats, images, lines, unique};
use crate::failure::Failure;
use crate::output::Table;
use crate::picture::Picture;
use crate::picture::bands::{Series, chart};
use crate::statistics::count;
use runs::{MetaGroup, Point, groups};
use tables::tables;

const HEADING: &str = "Meta-learning";

/// The section of the report.
pub struct Section {
    groups: Vec<MetaGroup>,
    words: Vec<String>,
    remarks: Vec<String>,
    pub tables: Vec<(&'static str, Table)>,
    pub pictures: Vec<(String, Picture)>,
}

impl Section {
    /// Of these runs.
    pub fn of(runs: Vec<MetaRun>, band: Band) -> Result<Section, Failure> {
        let groups = groups(runs)?;
        let block = block_of(groups.iter().flat_map(|group| &group.runs).map(MetaRun::done));
        let each =
            if block > 1 { format!("; a point is the mean of {block} meta-steps") } else { String::new() };
        let words = vec![
            "Means over the n finished runs of a group; the score of a run is its mean over test tasks after adaptation \
             without noise. Differences are to the group with --noise none whose other settings are the same, paired by \
             seed. Intervals are those of the mean by Student's t."
                .into(),
            format!(
                "Curves are of training tasks, with the noise of the run: lines are means over the seeds of a group, and \
                 bands go {}{each}.",
                band.words()
            ),
        ];
        let (remarks, tables, pictures) = (remarks(&groups), tables(&groups), pictures(&groups, band));
        Ok(Section { groups, words, remarks, tables, pictures })
    }

    /// Whether there is no run.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The title of a report on nothing else.
    pub fn title(&self) -> String {
        let tasks = unique(self.groups.iter().map(|group| text(&group.settings, "task")));
        format!("Meta-learning on {}", tasks.join(", "))
    }

    /// The groups in a line, if there are any.
    pub fn lead(&self) -> Option<String> {
        let runs = self.groups.iter().map(|group| group.runs.len()).sum();
        let each =
            self.groups.iter().map(|group| format!("{} ({})", group.name, count(group.runs.len(), "seed")));
        let each = each.collect::<Vec<_>>().join(", ");
        let head =
            format!("{} of meta-learning in {}", count(runs, "run"), count(self.groups.len(), "group"));
        (runs > 0).then(|| format!("{head}: {each}"))
    }

    /// The section of the page.
    pub fn part(&self) -> Part {
        Part {
            heading: HEADING,
            words: self.words.clone(),
            remarks: self.remarks.clone(),
            pictures: self.pictures.iter().map(|(_, picture)| picture.inline()).collect(),
            tables: self.tables.iter().map(|(_, table)| formats::html(table)).collect(),
        }
    }

    /// The section in Markdown.
    pub fn markdown(&self) -> String {
        let tables: String = self.tables.iter().map(|(_, table)| formats::markdown(table) + "\n").collect();
        let (words, remarks) = (lines(&self.words), lines(&self.remarks));
        format!("## {HEADING}\n\n{words}{tables}{remarks}{}", images(&self.pictures))
    }
}

/// Query loss and accuracy after adaptation over the steps, for each kind of task: file name and picture.
fn pictures(groups: &[MetaGroup], band: Band) -> Vec<(String, Picture)> {
    let block = block_of(groups.iter().flat_map(|group| &group.runs).map(MetaRun::done));
    let tasks = unique(groups.iter().map(|group| text(&group.settings, "task")));
    let drawn = |i: usize, what: &str, title: &str, log: bool, of: &dyn Fn(&Point) -> f64| {
        let own = groups.iter().filter(|group| text(&group.settings, "task") == tasks[i]);
        let readings = |run: &MetaRun| -> Readings {
            averaged(run.points.iter().map(|point| (point.step, of(point))), block)
        };
        let series: Vec<Series> = own
            .map(|group| Series {
                name: group.name.clone(),
                colour: group.colour,
                places: places(&group.runs.iter().map(readings).collect::<Vec<_>>(), band),
            })
            .collect();
        let file = if tasks.len() == 1 { what.to_string() } else { format!("{what}-{}", i + 1) };
        Some((file, chart(&format!("{title}, {}", tasks[i]), "meta-step", log, &series)?))
    };
    let accuracy = |point: &Point| 100.0 * point.query_acc.unwrap_or(f64::NAN);
    let each = |i: usize| {
        [
            drawn(i, "meta-loss", "Query loss after adaptation", true, &|point| point.query_loss),
            drawn(i, "meta-accuracy", "Query accuracy after adaptation, %", false, &accuracy),
        ]
    };
    (0..tasks.len()).flat_map(each).flatten().collect()
}

/// What is said below the tables: how unfinished runs ended, and notes on the folders.
fn remarks(groups: &[MetaGroup]) -> Vec<String> {
    let of = |run: &MetaRun| {
        let ended = (!run.finished).then(|| format!("{}: {}", run.name, state(false, &run.manifest)));
        let notes = run.notes.iter().map(|note| format!("{}: {note}", run.name));
        ended.into_iter().chain(notes).collect::<Vec<_>>()
    };
    groups.iter().flat_map(|group| &group.runs).flat_map(of).collect()
}
