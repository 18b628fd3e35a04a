//! Small histograms side by side: how something was spread before (an area), and is after (lines).

use super::{Anchor, Colour, GRID, INK, PALE, Picture, Shape, text_width};
use crate::plot::{number, ticks};

const WIDTH: f64 = 860.0;
const COLUMNS: usize = 3;
const PANEL: [f64; 2] = [270.0, 190.0];
const GAP: f64 = 16.0;

/// The shares of values in bins of equal width.
pub struct Shares {
    pub colour: Colour,
    pub shares: Vec<f64>,
}

/// A histogram: where its bins begin and end, what was before, what is after.
pub struct Panel {
    pub title: String,
    pub range: [f64; 2],
    pub before: Option<Vec<f64>>,
    pub after: Vec<Shares>,
}

/// The panels in rows, with a legend; None without a panel.
pub fn picture(title: &str, x_label: &str, legend: &[(String, Colour)], panels: &[Panel]) -> Option<Picture> {
    if panels.is_empty() {
        return None;
    }
    let mut shapes = vec![Shape::text([16.0, 24.0], Anchor::Start, 15.0, INK, title)];
    let (mut x, mut y) = (16.0, 46.0);
    let before = [("before training".to_string(), PALE)];
    for (i, (name, colour)) in before.iter().chain(legend).enumerate() {
        let width = 26.0 + text_width(12.0, name) + 18.0;
        if x > 16.0 && x + width > WIDTH {
            (x, y) = (16.0, y + 19.0);
        }
        let opacity = if i == 0 { 0.45 } else { 1.0 };
        let (width_of_line, points) = (if i == 0 { 10.0 } else { 4.0 }, vec![[x + 4.0, y], [x + 16.0, y]]);
        shapes.push(Shape::Line { points, width: width_of_line, colour: *colour, opacity });
        shapes.push(Shape::text([x + 26.0, y + 4.0], Anchor::Start, 12.0, INK, name));
        x += width;
    }
    let top = y + 18.0;
    for (i, panel) in panels.iter().enumerate() {
        let left = 16.0 + (i % COLUMNS) as f64 * (PANEL[0] + GAP);
        draw(&mut shapes, panel, [left, top + (i / COLUMNS) as f64 * PANEL[1]]);
    }
    let lower = top + panels.len().div_ceil(COLUMNS) as f64 * PANEL[1];
    shapes.push(Shape::text([WIDTH / 2.0, lower + 8.0], Anchor::Middle, 12.0, PALE, x_label));
    Some(Picture { size: [WIDTH, lower + 20.0], shapes })
}

fn draw(shapes: &mut Vec<Shape>, panel: &Panel, [left, top]: [f64; 2]) {
    let [from, to] = panel.range;
    let (width, height) = (PANEL[0], PANEL[1] - 62.0);
    let lower = top + 26.0 + height;
    let highest = panel.before.iter().chain(panel.after.iter().map(|s| &s.shares)).flatten();
    let highest = highest.copied().fold(f64::MIN_POSITIVE, f64::max);
    let x = |v: f64| left + (v - from) / (to - from) * width;
    let y = |share: f64| lower - share / highest * height;
    let outline = |shares: &[f64]| -> Vec<[f64; 2]> {
        let bin = (to - from) / shares.len() as f64;
        let step = |(i, s): (usize, &f64)| {
            let at = from + i as f64 * bin;
            [[x(at), y(*s)], [x(at + bin), y(*s)]]
        };
        let ends = ([x(from), lower], [x(to), lower]);
        [ends.0].into_iter().chain(shares.iter().enumerate().flat_map(step)).chain([ends.1]).collect()
    };
    shapes.push(Shape::text([left, top + 16.0], Anchor::Start, 13.0, INK, &panel.title));
    if let Some(before) = &panel.before {
        shapes.push(Shape::Area { points: outline(before), colour: PALE, opacity: 0.45 });
    }
    let base = vec![[left, lower], [left + width, lower]];
    shapes.push(Shape::Line { points: base, width: 1.0, colour: GRID, opacity: 1.0 });
    for v in ticks(from, to) {
        shapes.push(Shape::text([x(v), lower + 16.0], Anchor::Middle, 11.0, INK, &number(v)));
    }
    for s in &panel.after {
        shapes.push(Shape::Line { points: outline(&s.shares), width: 1.6, colour: s.colour, opacity: 1.0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_share_reaches_the_top() {
        let after = vec![Shares { colour: [1, 2, 3], shares: vec![0.25, 0.75] }];
        let panel = Panel { title: "a".into(), range: [0.0, 180.0], before: Some(vec![0.5, 0.5]), after };
        let picture = picture("t", "degrees", &[("g".into(), [1, 2, 3])], &[panel]).unwrap();
        let heights: Vec<f64> = picture
            .shapes
            .iter()
            .filter_map(|s| match s {
                Shape::Area { points, .. } => Some(points),
                Shape::Line { points, width, .. } if *width == 1.6 => Some(points),
                _ => None,
            })
            .map(|points| points[0][1] - points.iter().map(|p| p[1]).fold(f64::INFINITY, f64::min))
            .collect();
        let height = PANEL[1] - 62.0;
        assert!(
            (heights[0] - height / 1.5).abs() < 1e-9 && (heights[1] - height).abs() < 1e-9,
            "{heights:?}"
        );
        assert!(super::picture("t", "x", &[], &[]).is_none());
    }
}
