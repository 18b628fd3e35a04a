//! A confusion matrix: a row a label, a column a predicted class, the share of the row as shade and number.

use super::{Anchor, INK, PALE, PAPER, Picture, Shape, text_width};
use crate::plot::COLOURS;

/// Side of the whole matrix, and the largest of a cell.
const SIDE: f64 = 340.0;
const CELL: f64 = 34.0;
/// With smaller cells there is no room for numbers.
const WRITTEN: f64 = 22.0;

/// The matrix of `counts[label][predicted]`.
pub fn picture(title: &str, classes: &[String], counts: &[Vec<u64>]) -> Picture {
    let n = counts.len().max(1);
    let cell = (SIDE / n as f64).min(CELL);
    let every = (14.0 / cell).ceil().max(1.0) as usize;
    let left = classes.iter().map(|c| text_width(11.0, &shortened(c))).fold(30.0, f64::max) + 24.0;
    let top = 68.0;
    let side = cell * n as f64;
    let blue = super::chart::colour(COLOURS[0]);
    let mut shapes = vec![Shape::text([16.0, 24.0], Anchor::Start, 15.0, INK, title)];
    shapes.push(Shape::text(
        [left, 44.0],
        Anchor::Start,
        11.0,
        PALE,
        "predicted, in the order of the rows; % of a row",
    ));
    for (i, row) in counts.iter().enumerate() {
        let total = row.iter().sum::<u64>();
        let y = top + i as f64 * cell;
        let name = classes.get(i).map_or_else(|| i.to_string(), |c| shortened(c));
        if i % every == 0 {
            shapes.push(Shape::text([left - 8.0, y + cell / 2.0 + 4.0], Anchor::End, 11.0, INK, &name));
            if cell >= WRITTEN {
                shapes.push(Shape::text(
                    [left + (i as f64 + 0.5) * cell, top - 6.0],
                    Anchor::Middle,
                    11.0,
                    PALE,
                    &i.to_string(),
                ));
            }
        }
        for (j, &count) in row.iter().enumerate() {
            let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
            let at = [left + j as f64 * cell, y];
            let predicted = classes.get(j).cloned().unwrap_or_else(|| j.to_string());
            let note = format!("{name} taken for {predicted}: {count} of {total}");
            let gap = if cell >= WRITTEN { 1.5 } else { 0.0 };
            let size = [cell - gap; 2];
            shapes.push(Shape::Box { at, size, colour: blue, opacity: 0.05 + 0.95 * share, note });
            if cell >= WRITTEN && count > 0 {
                let colour = if share > 0.5 { PAPER } else { INK };
                let place = [at[0] + cell / 2.0 - 0.75, y + cell / 2.0 + 3.5];
                shapes.push(Shape::text(place, Anchor::Middle, 11.0, colour, &percent(share)));
            }
        }
    }
    Picture {
        size: [(left + side + 16.0).max(text_width(15.0, title) + 32.0).max(left + 300.0), top + side + 16.0],
        shapes,
    }
}

/// Whole percents, and what is there but rounds to none.
fn percent(share: f64) -> String {
    let text = format!("{:.0}", 100.0 * share);
    if text == "0" { "<1".into() } else { text }
}

fn shortened(name: &str) -> String {
    const LONGEST: usize = 18;
    if name.chars().count() <= LONGEST {
        return name.into();
    }
    name.chars().take(LONGEST - 2).collect::<String>() + ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_are_shares_of_the_row() {
        let picture = picture("t", &["a".into(), "b".into()], &[vec![3, 1], vec![0, 0]]);
        let cells: Vec<(f64, &str)> = picture
            .shapes
            .iter()
            .filter_map(|s| match s {
                Shape::Box { opacity, note, .. } => Some((*opacity, note.as_str())),
                _ => None,
            })
            .collect();
        assert_eq!(cells[0], (0.05 + 0.95 * 0.75, "a taken for a: 3 of 4"));
        assert_eq!(cells[2].0, 0.05);
        assert_eq!((percent(0.004).as_str(), percent(0.996).as_str()), ("<1", "100"));
    }
}
