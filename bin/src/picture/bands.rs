//! Curves with bands around them: the runs of a group as a line and what lies around it.

use super::{Anchor, Colour, GRID, INK, PALE, Picture, Shape, scale, text_width};
use crate::plot::{number, range, ticks};

/// The width grows with a name that is longer.
const WIDTH: f64 = 560.0;
/// Height of the axes.
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const BOTTOM: f64 = 46.0;
/// A line of the legend.
const LINE: f64 = 19.0;
/// With larger quotients of the largest and the smallest value the axis is logarithmic, if it may be.
const DECADES: f64 = 30.0;
/// So few points are marked.
const MARKED: usize = 30;

/// A place on a curve: x, and the middle, lower and upper end of what is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub x: f64,
    pub middle: f64,
    pub low: f64,
    pub high: f64,
}

/// A named curve with its band.
pub struct Series {
    pub name: String,
    pub colour: Colour,
    pub places: Vec<Place>,
}

/// A chart of some series; None without a point. `log`: large ranges of positive values get a logarithmic axis.
pub fn chart(title: &str, x_label: &str, log: bool, series: &[Series]) -> Option<Picture> {
    let series: Vec<Series> = series.iter().map(finite).filter(|s| !s.places.is_empty()).collect();
    let places = || series.iter().flat_map(|s| &s.places);
    let [x0, x1] = range(places().map(|p| p.x))?;
    let [low, high] = range(places().flat_map(|p| [p.low, p.high]))?;
    let log = log && low > 0.0 && high > DECADES * low;
    let scaled = |v: f64| if log { v.log10() } else { v };
    let margin = 0.03 * (scaled(high) - scaled(low));
    let (y0, y1) = (scaled(low) - margin, scaled(high) + margin);

    let title = if log { format!("{title}, logarithmic") } else { title.to_string() };
    let mut shapes = vec![Shape::text([16.0, 24.0], Anchor::Start, 15.0, INK, &title)];
    let width = series.iter().map(|s| 16.0 + entry(s)).fold(WIDTH, f64::max).ceil();
    let top = 40.0 + LINE * legend(&mut shapes, &series, width) as f64 + 6.0;
    let lower = top + HEIGHT;
    let x = |v: f64| LEFT + (v - x0) / (x1 - x0) * (width - LEFT - RIGHT);
    let y = |v: f64| lower - (scaled(v) - y0) / (y1 - y0) * HEIGHT;
    for v in if log { scale::decades(low, high) } else { ticks(y0, y1) } {
        shapes.push(Shape::line(vec![[LEFT, y(v)], [width - RIGHT, y(v)]], 1.0, GRID));
        shapes.push(Shape::text([LEFT - 8.0, y(v) + 4.0], Anchor::End, 12.0, INK, &number(v)));
    }
    for v in ticks(x0, x1) {
        shapes.push(Shape::line(vec![[x(v), lower], [x(v), lower + 5.0]], 1.0, GRID));
        shapes.push(Shape::text([x(v), lower + 19.0], Anchor::Middle, 12.0, INK, &number(v)));
    }
    shapes.push(Shape::text(
        [(LEFT + width - RIGHT) / 2.0, lower + 37.0],
        Anchor::Middle,
        12.0,
        PALE,
        x_label,
    ));
    for s in series.iter().filter(|s| s.places.iter().any(|p| p.high > p.low)) {
        let there = s.places.iter().map(|p| [x(p.x), y(p.high)]);
        let back = s.places.iter().rev().map(|p| [x(p.x), y(p.low)]);
        shapes.push(Shape::Area { points: there.chain(back).collect(), colour: s.colour, opacity: 0.16 });
    }
    for s in &series {
        let points: Vec<[f64; 2]> = s.places.iter().map(|p| [x(p.x), y(p.middle)]).collect();
        if points.len() <= MARKED {
            let fill = super::Fill::Flat(s.colour);
            shapes.extend(points.iter().map(|&at| Shape::Disc { at, radius: 2.6, fill, opacity: 1.0 }));
        }
        shapes.push(Shape::line(points, 1.8, s.colour));
    }
    Some(Picture { size: [width, lower + BOTTOM], shapes })
}

/// The names of the series from the left, in as many lines as they need, which are counted.
fn legend(shapes: &mut Vec<Shape>, series: &[Series], most: f64) -> usize {
    let (mut x, mut row) = (16.0, 0);
    for s in series {
        let width = entry(s);
        if x > 16.0 && x + width > most {
            (x, row) = (16.0, row + 1);
        }
        let y = 44.0 + LINE * row as f64;
        shapes.push(Shape::line(vec![[x + 2.0, y], [x + 18.0, y]], 4.0, s.colour));
        shapes.push(Shape::text([x + 26.0, y + 4.0], Anchor::Start, 12.0, INK, &s.name));
        x += width;
    }
    row + 1
}

/// The width of a name with its mark in the legend.
fn entry(s: &Series) -> f64 {
    26.0 + text_width(12.0, &s.name) + 18.0
}

fn finite(s: &Series) -> Series {
    let all = |p: &&Place| [p.x, p.middle, p.low, p.high].iter().all(|v| v.is_finite());
    Series { name: s.name.clone(), colour: s.colour, places: s.places.iter().filter(all).copied().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[[f64; 3]]) -> Series {
        let place = |(i, v): (usize, &[f64; 3])| Place { x: i as f64, middle: v[0], low: v[1], high: v[2] };
        Series {
            name: "a".into(),
            colour: [0, 0x72, 0xb2],
            places: values.iter().enumerate().map(place).collect(),
        }
    }

    #[test]
    fn bands_surround_their_lines() {
        let picture = chart("t", "step", true, &[series(&[[2.0, 1.0, 3.0], [2.5, 2.0, 3.0]])]).unwrap();
        let area = picture.shapes.iter().find_map(|s| match s {
            Shape::Area { points, .. } => Some(points.clone()),
            _ => None,
        });
        let curve = picture.shapes.iter().rev().find_map(|s| match s {
            Shape::Line { points, .. } => Some(points.clone()),
            _ => None,
        });
        let (area, curve) = (area.unwrap(), curve.unwrap());
        assert_eq!((area.len(), curve.len()), (4, 2));
        assert!(area[0][1] < curve[0][1] && curve[0][1] < area[3][1]);
        assert!(area.iter().all(|p| p[1] >= 0.0 && p[1] <= picture.size[1]));
    }

    #[test]
    fn a_long_name_has_room() {
        let long = Series { name: "n".repeat(100), ..series(&[[1.0; 3]]) };
        let picture = chart("t", "step", false, &[series(&[[1.0; 3]]), long]).unwrap();
        assert!(picture.size[0] > 42.0 + text_width(12.0, &"n".repeat(100)), "{:?}", picture.size);
        assert_eq!(chart("t", "step", false, &[series(&[[1.0; 3]])]).unwrap().size[0], WIDTH);
    }

    #[test]
    fn nothing_odd_is_drawn_and_large_ranges_are_logarithmic() {
        assert!(chart("t", "step", true, &[]).is_none());
        assert!(chart("t", "step", true, &[series(&[[f64::NAN; 3]])]).is_none());
        let labels = |log: bool| {
            let picture = chart("t", "step", log, &[series(&[[0.01; 3], [10.0; 3]])]).unwrap();
            picture
                .shapes
                .iter()
                .any(|s| matches!(s, Shape::Text { text, .. } if text.contains("logarithmic")))
        };
        assert!(labels(true) && !labels(false));
    }
}
