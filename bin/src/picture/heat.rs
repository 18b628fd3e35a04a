//! Heat maps: a row a layer, a column a step, a map a group, all with one scale.

use super::{Anchor, INK, PALE, Picture, Shape, scale, text_width};
use crate::plot::{number, range};

const WIDTH: f64 = 560.0;
/// Of a row.
const ROW: f64 = 20.0;
/// For first and last value of a row, on its right.
const RIGHT: f64 = 112.0;
/// So many columns are shown, evenly spaced ones.
const COLUMNS: usize = 60;
/// Of the scale.
const BAR: f64 = 180.0;

/// A map: names of the rows, the steps, and a value a row and step where there is one.
pub struct Map {
    pub name: String,
    pub rows: Vec<String>,
    pub steps: Vec<f64>,
    pub values: Vec<Vec<Option<f64>>>,
}

/// The maps below one another; None without a value. `shown` writes a value.
pub fn picture(title: &str, maps: &[Map], shown: impl Fn(f64) -> String) -> Option<Picture> {
    let all =
        || maps.iter().flat_map(|m| m.values.iter().flatten()).flatten().copied().filter(|v| v.is_finite());
    let [low, high] = range(all())?;
    let names = maps.iter().flat_map(|m| &m.rows);
    let left = names.map(|n| text_width(12.0, &shortened(n))).fold(40.0, f64::max).min(180.0) + 26.0;
    let width = WIDTH - left - RIGHT;
    let mut shapes = vec![Shape::text([16.0, 24.0], Anchor::Start, 15.0, INK, title)];
    bar(&mut shapes, [16.0, 38.0], &shown(low), &shown(high));
    let mut y = 72.0;
    for map in maps.iter().filter(|m| m.values.iter().flatten().any(Option::is_some)) {
        shapes.push(Shape::text([16.0, y + 10.0], Anchor::Start, 13.0, INK, &map.name));
        shapes.push(Shape::text([WIDTH - 16.0, y + 10.0], Anchor::End, 11.0, PALE, "first, last"));
        y += 18.0;
        let columns = chosen(map.steps.len());
        let cell = width / columns.len().max(1) as f64;
        for (name, values) in map.rows.iter().zip(&map.values) {
            shapes.push(Shape::text([left - 8.0, y + 14.0], Anchor::End, 12.0, INK, &shortened(name)));
            for (i, &column) in columns.iter().enumerate() {
                let Some(v) = values[column].filter(|v| v.is_finite()) else { continue };
                shapes.push(Shape::Box {
                    at: [left + i as f64 * cell, y],
                    size: [cell, ROW - 2.0],
                    colour: scale::viridis((v - low) / (high - low)),
                    opacity: 1.0,
                    note: format!("{name}, step {}: {}", number(map.steps[column]), shown(v)),
                });
            }
            let known: Vec<f64> = values.iter().flatten().copied().collect();
            if let [Some(first), Some(last)] = [known.first(), known.last()] {
                let ends = format!("{}, {}", shown(*first), shown(*last));
                shapes.push(Shape::text([WIDTH - 16.0, y + 14.0], Anchor::End, 12.0, INK, &ends));
            }
            y += ROW;
        }
        if let [Some(first), Some(last)] = [map.steps.first(), map.steps.last()] {
            shapes.push(Shape::text(
                [left, y + 13.0],
                Anchor::Start,
                11.0,
                PALE,
                &format!("step {}", number(*first)),
            ));
            shapes.push(Shape::text([left + width, y + 13.0], Anchor::End, 11.0, PALE, &number(*last)));
        }
        y += 32.0;
    }
    Some(Picture { size: [WIDTH, y], shapes })
}

/// The scale with its ends.
fn bar(shapes: &mut Vec<Shape>, at: [f64; 2], low: &str, high: &str) {
    const STEPS: usize = 60;
    shapes.push(Shape::text([at[0], at[1] + 11.0], Anchor::Start, 12.0, INK, low));
    let left = at[0] + text_width(12.0, low) + 8.0;
    for i in 0..STEPS {
        let step = BAR / STEPS as f64;
        shapes.push(Shape::Box {
            at: [left + i as f64 * step, at[1]],
            size: [step, 14.0],
            colour: scale::viridis(i as f64 / (STEPS - 1) as f64),
            opacity: 1.0,
            note: String::new(),
        });
    }
    shapes.push(Shape::text([left + BAR + 8.0, at[1] + 11.0], Anchor::Start, 12.0, INK, high));
}

/// Which of n columns are shown: the first and the last always.
fn chosen(n: usize) -> Vec<usize> {
    if n <= COLUMNS { (0..n).collect() } else { (0..COLUMNS).map(|i| i * (n - 1) / (COLUMNS - 1)).collect() }
}

/// Both ends of a long name: names of layers differ in either (input_transform.tnet.conv1, feature_transform.tnet.conv1).
fn shortened(name: &str) -> String {
    const LONGEST: usize = 24;
    let count = name.chars().count();
    if count <= LONGEST {
        return name.into();
    }
    let (start, end) = (9, LONGEST - 9 - 3);
    let part = |from: usize, n: usize| name.chars().skip(from).take(n).collect::<String>();
    format!("{}...{}", part(0, start), part(count - end, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Colour;

    #[test]
    fn cells_have_the_colours_of_their_values_and_gaps_stay_free() {
        let map = Map {
            name: "a".into(),
            rows: vec!["conv1".into(), "fc".into()],
            steps: vec![0.0, 10.0],
            values: vec![vec![Some(1.0), Some(3.0)], vec![None, Some(2.0)]],
        };
        let picture = picture("t", &[map], |v| format!("{v:.1}")).unwrap();
        let cells: Vec<(Colour, &str)> = picture
            .shapes
            .iter()
            .filter_map(|s| match s {
                Shape::Box { colour, note, .. } if !note.is_empty() => Some((*colour, note.as_str())),
                _ => None,
            })
            .collect();
        let expected = [(0.0, "conv1, step 0: 1.0"), (1.0, "conv1, step 10: 3.0"), (0.5, "fc, step 10: 2.0")];
        assert_eq!(cells, expected.map(|(share, note)| (scale::viridis(share), note)));
        assert!(super::picture("t", &[], |v| v.to_string()).is_none());
        assert_eq!((chosen(1000)[0], chosen(1000)[59], chosen(3).len()), (0, 999, 3));
    }
}
