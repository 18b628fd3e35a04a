//! Curves over axes, as a picture.

use super::{Anchor, Colour, Fill, GRID, INK, Picture, Shape, text_width};
use crate::plot::{COLOURS, Curve, number, range, ticks};

/// The width grows with the title.
const SIZE: [f64; 2] = [720.0, 440.0];
/// So few points are marked.
const MARKED: usize = 30;
/// Left, right, top, bottom.
const MARGIN: [f64; 4] = [72.0, 20.0, 66.0, 50.0];

/// The chart of some curves; None if there is nothing to draw.
pub fn of_curves(title: &str, x_label: &str, curves: &[Curve]) -> Option<Picture> {
    let all = || curves.iter().flat_map(|c| &c.points).filter(|(x, y)| x.is_finite() && y.is_finite());
    let [x0, x1] = range(all().map(|p| p.0))?;
    let [y0, y1] = range(all().map(|p| p.1))?;
    let [left, right, top, bottom] = MARGIN;
    let mut names = vec![left];
    names.extend(curves.iter().scan(left, |at, curve| {
        *at += 25.0 + text_width(12.0, &curve.name) + 18.0;
        Some(*at)
    }));
    let [least, height] = SIZE;
    let widest = (left + text_width(16.0, title)).max(names[curves.len()]);
    let width = least.max((widest + right).ceil());
    let x = |v: f64| left + (v - x0) / (x1 - x0) * (width - left - right);
    let y = |v: f64| height - bottom - (v - y0) / (y1 - y0) * (height - top - bottom);
    let line = |points: Vec<[f64; 2]>, width, colour| Shape::Line { points, width, colour, opacity: 1.0 };
    let text =
        |at, anchor, size, text: &str| Shape::Text { at, anchor, size, colour: INK, text: text.into() };

    let mut shapes = vec![text([left, 26.0], Anchor::Start, 16.0, title)];
    for v in ticks(y0, y1) {
        shapes.push(line(vec![[left, y(v)], [width - right, y(v)]], 1.0, GRID));
        shapes.push(text([left - 8.0, y(v) + 4.0], Anchor::End, 12.0, &number(v)));
    }
    let base = height - bottom;
    for v in ticks(x0, x1) {
        shapes.push(line(vec![[x(v), base], [x(v), base + 5.0]], 1.0, GRID));
        shapes.push(text([x(v), base + 20.0], Anchor::Middle, 12.0, &number(v)));
    }
    let middle = (left + width - right) / 2.0;
    shapes.push(text([middle, height - 10.0], Anchor::Middle, 12.0, x_label));
    for (i, curve) in curves.iter().enumerate() {
        let colour = colour(COLOURS[i % COLOURS.len()]);
        let points = curve.points.iter().filter(|(a, b)| a.is_finite() && b.is_finite());
        let points: Vec<[f64; 2]> = points.map(|&(a, b)| [x(a), y(b)]).collect();
        if points.len() <= MARKED {
            let fill = Fill::Flat(colour);
            shapes.extend(points.iter().map(|&at| Shape::Disc { at, radius: 3.0, fill, opacity: 1.0 }));
        }
        shapes.push(line(points, 2.0, colour));
        let at = names[i];
        shapes.push(line(vec![[at, 46.0], [at + 18.0, 46.0]], 3.0, colour));
        shapes.push(text([at + 25.0, 50.0], Anchor::Start, 12.0, &curve.name));
    }
    Some(Picture { size: [width, height], shapes })
}

/// #rrggbb as numbers.
pub fn colour(hex: &str) -> Colour {
    let value = u32::from_str_radix(&hex[1..], 16).expect("a colour is # and six digits");
    [(value >> 16) as u8, (value >> 8) as u8, value as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_fill_their_frame() {
        let curve =
            |points: &[(f64, f64)]| Curve { name: "a".into(), points: points.to_vec(), spread: Vec::new() };
        let picture = of_curves("t", "step", &[curve(&[(0.0, 1.0), (5.0, f64::NAN), (10.0, 3.0)])]).unwrap();
        let corners = vec![[72.0, 390.0], [700.0, 66.0]];
        assert!(picture.shapes.iter().any(|s| matches!(s, Shape::Line { points, .. } if *points == corners)));
        let discs =
            |picture: &Picture| picture.shapes.iter().filter(|s| matches!(s, Shape::Disc { .. })).count();
        assert_eq!((discs(&picture), picture.size), (2, SIZE));
        assert!(of_curves("t", "x", &[curve(&[])]).is_none());
        // A single point has a mark, its axes few different numbers, and a long title its room.
        let one = of_curves(&"t".repeat(100), "x", &[curve(&[(0.1, 93.333)])]).unwrap();
        let numbers: Vec<&str> = one
            .shapes
            .iter()
            .filter_map(|s| match s {
                Shape::Text { text, .. } => text.parse::<f64>().ok().map(|_| text.as_str()),
                _ => None,
            })
            .collect();
        assert!(discs(&one) == 1 && one.size[0] > 900.0);
        assert!(numbers.iter().all(|text| text.len() <= 5), "{numbers:?}");
        let distinct: std::collections::BTreeSet<&&str> = numbers.iter().collect();
        assert_eq!(distinct.len(), numbers.len(), "{numbers:?}");
        assert_eq!(colour(COLOURS[0]), [0, 0x72, 0xb2]);
    }
}
