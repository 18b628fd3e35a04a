//! The landscape as a curve, and as a map in colours with lines of equal loss.

use super::Sample;
use super::contour::segments;
use crate::picture::{Anchor, Colour, Picture, Shape, chart};
use crate::plot::{Curve, number, range, ticks};

/// The loss along one direction.
pub fn curve(samples: &[Sample]) -> Option<Picture> {
    let points = samples.iter().map(|s| (s.at[0], s.loss)).collect();
    let classes = samples.iter().any(|s| s.accuracy.is_some());
    let name = if classes { "mean cross-entropy" } else { "mean squared error" };
    let curve = Curve { name: name.into(), points, spread: Vec::new() };
    chart::of_curves("Loss along a random direction", "step, relative to the filters' lengths", &[curve])
}

const SIZE: [f64; 2] = [640.0, 560.0];
const LEFT: f64 = 70.0;
const TOP: f64 = 48.0;
/// The map's side.
const SIDE: f64 = 440.0;
/// Lines of equal loss.
const LEVELS: usize = 12;
const LINE: Colour = [255, 255, 255];
const INK: Colour = [40, 44, 52];

/// The loss along two directions, `n` points each. Colours and lines are even in the logarithm of the loss.
pub fn map(samples: &[Sample], n: usize) -> Option<Picture> {
    let log = |s: &Sample| s.loss.max(1e-12).ln();
    let [low, high] = range(samples.iter().map(log).filter(|v| v.is_finite()))?;
    let share = |v: f64| (v - low) / (high - low);
    let [first, last] = [samples.first()?.at[0], samples.last()?.at[0]];
    let x = |a: f64| LEFT + SIDE * (a - first) / (last - first);
    let y = |b: f64| TOP + SIDE - SIDE * (b - first) / (last - first);
    let line = |points: Vec<[f64; 2]>, width, colour| Shape::Line { points, width, colour, opacity: 1.0 };
    let text =
        |at, anchor, size, text: &str| Shape::Text { at, anchor, size, colour: INK, text: text.into() };
    let block = |at, size, colour, note| Shape::Box { at, size, colour, opacity: 1.0, note };

    let mut shapes = vec![text([LEFT, 26.0], Anchor::Start, 16.0, "Loss along two random directions")];
    // Each point is the middle of a cell; those at the edge are cut to the frame.
    let half = SIDE / (n - 1) as f64 / 2.0;
    for s in samples {
        let [cx, cy] = [x(s.at[0]), y(s.at[1])];
        let [from_x, to_x] = [cx - half, cx + half].map(|v| v.clamp(LEFT, LEFT + SIDE));
        let [from_y, to_y] = [cy - half, cy + half].map(|v| v.clamp(TOP, TOP + SIDE));
        let colour = if log(s).is_finite() { viridis(share(log(s))) } else { [128; 3] };
        let note = format!("a {}, b {}: loss {}", number(s.at[0]), number(s.at[1]), number(s.loss));
        shapes.push(block([from_x, from_y], [to_x - from_x, to_y - from_y], colour, note));
    }
    let value = |i: usize, j: usize| log(&samples[j * n + i]);
    let cell = SIDE / (n - 1) as f64;
    let levels: Vec<f64> =
        (1..=LEVELS).map(|k| low + (high - low) * k as f64 / (LEVELS + 1) as f64).collect();
    for level in &levels {
        for ends in segments(n, value, *level) {
            let points = ends.map(|[i, j]| [LEFT + cell * i, TOP + SIDE - cell * j]).to_vec();
            shapes.push(Shape::Line { points, width: 1.0, colour: LINE, opacity: 0.75 });
        }
    }
    // The weights themselves.
    let (cx, cy) = (x(0.0), y(0.0));
    for (dx, dy) in [(6.0, 0.0), (0.0, 6.0)] {
        shapes.push(line(vec![[cx - dx, cy - dy], [cx + dx, cy + dy]], 2.0, [255, 60, 60]));
    }
    let base = TOP + SIDE;
    for v in ticks(first, last) {
        shapes.push(line(vec![[x(v), base], [x(v), base + 5.0]], 1.0, INK));
        shapes.push(text([x(v), base + 20.0], Anchor::Middle, 12.0, &number(v)));
        shapes.push(line(vec![[LEFT - 5.0, y(v)], [LEFT, y(v)]], 1.0, INK));
        shapes.push(text([LEFT - 9.0, y(v) + 4.0], Anchor::End, 12.0, &number(v)));
    }
    let caption = "steps, relative to the filters' lengths; lines: equal loss";
    shapes.push(text([LEFT + SIDE / 2.0, base + 44.0], Anchor::Middle, 12.0, caption));
    // The scale on the right, with the lines' levels.
    let bar = LEFT + SIDE + 24.0;
    const STEPS: usize = 110;
    let slice = SIDE / STEPS as f64;
    for k in 0..STEPS {
        let colour = viridis((k as f64 + 0.5) / STEPS as f64);
        shapes.push(block([bar, base - slice * (k + 1) as f64], [18.0, slice], colour, String::new()));
    }
    for level in [low].into_iter().chain(levels).chain([high]) {
        let at = base - SIDE * share(level);
        shapes.push(line(vec![[bar + 18.0, at], [bar + 23.0, at]], 1.0, INK));
        let loss = format!("{:.3}", level.exp());
        shapes.push(text([bar + 28.0, at + 4.0], Anchor::Start, 12.0, &loss));
    }
    Some(Picture { size: SIZE, shapes })
}

/// Viridis (van der Walt and Smith, matplotlib), five of its colours: even steps for the eye.
fn viridis(share: f64) -> Colour {
    const COLOURS: [[f64; 3]; 5] = [
        [68.0, 1.0, 84.0],
        [59.0, 81.0, 139.0],
        [33.0, 144.0, 141.0],
        [92.0, 200.0, 99.0],
        [253.0, 231.0, 37.0],
    ];
    let at = share.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f64;
    let from = (at as usize).min(COLOURS.len() - 2);
    let part = at - from as f64;
    [0, 1, 2].map(|k| (COLOURS[from][k] + part * (COLOURS[from + 1][k] - COLOURS[from][k])).round() as u8)
}
