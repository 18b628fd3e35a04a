//! A picture in pixels: each shape covers a pixel by how near its edge runs to the middle, and is blended over what
//! is below.

use image::RgbImage;

use super::glyphs;
use super::{BODY, Colour, Fill, LIGHT, Picture, Shape};

/// Pixels a unit of length.
const SCALE: f64 = 1.5;

/// The picture's pixels.
pub fn image(picture: &Picture) -> RgbImage {
    let [width, height] = picture.size.map(|v| (v * SCALE).round().max(1.0) as usize);
    let mut canvas = Canvas { width, height, pixels: vec![[255.0; 3]; width * height] };
    for shape in &picture.shapes {
        canvas.draw(shape);
    }
    let bytes = canvas.pixels.iter().flatten().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
    RgbImage::from_raw(width as u32, height as u32, bytes).expect("three bytes a pixel")
}

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<[f64; 3]>,
}

impl Canvas {
    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Disc { at, radius, fill, opacity } => {
                let (c, r) = (at.map(|v| v * SCALE), radius * SCALE);
                let corners = [[c[0] - r, c[1] - r], [c[0] + r, c[1] + r]];
                self.blend(&corners, 0.0, *opacity, |p| {
                    let off = [p[0] - c[0], p[1] - c[1]];
                    let colour = match fill {
                        Fill::Flat(colour) => colour.map(f64::from),
                        Fill::Ball(colours) => shaded(colours, off.map(|v| v / r)),
                    };
                    (r - length(off), colour)
                });
            }
            Shape::Line { points, width, colour, opacity } => {
                let points: Vec<[f64; 2]> = points.iter().map(|p| p.map(|v| v * SCALE)).collect();
                self.stroke(&points, width * SCALE / 2.0, *opacity, colour.map(f64::from));
            }
            Shape::Area { points, colour, opacity } => {
                let points: Vec<[f64; 2]> = points.iter().map(|p| p.map(|v| v * SCALE)).collect();
                self.fill(&points, *opacity, colour.map(f64::from));
            }
            Shape::Box { at, size, colour, opacity, .. } => {
                // Whole pixels: neighbours must not leave a seam between them.
                self.rectangle(*at, *size, *opacity, |_| colour.map(f64::from));
            }
            Shape::Pixels { at, size, image } => {
                let [w, h] = [image.width(), image.height()];
                self.rectangle(*at, *size, 1.0, |[x, y]| {
                    let place = |share: f64, n: u32| ((share * f64::from(n)) as u32).min(n.saturating_sub(1));
                    image.get_pixel(place(x, w), place(y, h)).0.map(f64::from)
                });
            }
            Shape::Text { at, anchor, size, colour, text } => {
                glyphs::strokes(*at, *anchor, *size, *colour, text)
                    .iter()
                    .for_each(|stroke| self.draw(stroke));
            }
        }
    }

    /// A line: each segment looks at the pixels around it alone, and what is nearest to any of them counts once.
    fn stroke(&mut self, points: &[[f64; 2]], half: f64, opacity: f64, colour: [f64; 3]) {
        let [rows, columns] = [1, 0].map(|axis| self.range(points, half, axis));
        let mut depths = vec![f64::NEG_INFINITY; rows.len() * columns.len()];
        for ends in points.windows(2) {
            let [own_rows, own_columns] = [1, 0].map(|axis| self.range(ends, half, axis));
            for y in own_rows {
                for x in own_columns.clone() {
                    let depth = half - to_segment([x as f64 + 0.5, y as f64 + 0.5], ends[0], ends[1]);
                    let best = &mut depths[(y - rows.start) * columns.len() + x - columns.start];
                    *best = best.max(depth);
                }
            }
        }
        for (i, depth) in depths.iter().enumerate() {
            let (x, y) = (columns.start + i % columns.len(), rows.start + i / columns.len());
            self.mix(x, y, opacity * (depth + 0.5).clamp(0.0, 1.0), colour);
        }
    }

    /// A polygon, by the even-odd rule on lines through the pixels.
    fn fill(&mut self, points: &[[f64; 2]], opacity: f64, colour: [f64; 3]) {
        const LINES: usize = 4;
        let [rows, columns] = [1, 0].map(|axis| self.range(points, 0.0, axis));
        for y in rows {
            let mut covered = vec![0.0; columns.len()];
            for line in 0..LINES {
                let level = y as f64 + (line as f64 + 0.5) / LINES as f64;
                let edges = points.iter().zip(points.iter().cycle().skip(1));
                let crossing = |(a, b): (&[f64; 2], &[f64; 2])| {
                    ((a[1] <= level) != (b[1] <= level))
                        .then(|| a[0] + (level - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
                };
                let mut crossings: Vec<f64> = edges.filter_map(crossing).collect();
                crossings.sort_by(f64::total_cmp);
                for inside in crossings.chunks_exact(2) {
                    let first = (inside[0].max(0.0) as usize).max(columns.start);
                    for x in first..(inside[1].max(0.0).ceil() as usize).min(columns.end) {
                        let overlap = inside[1].min(x as f64 + 1.0) - inside[0].max(x as f64);
                        covered[x - columns.start] += overlap.max(0.0) / LINES as f64;
                    }
                }
            }
            covered.iter().enumerate().for_each(|(i, c)| self.mix(columns.start + i, y, opacity * c, colour));
        }
    }

    /// A rectangle of whole pixels, whose colour follows from the place in it, from 0 to 1.
    fn rectangle(
        &mut self,
        at: [f64; 2],
        size: [f64; 2],
        opacity: f64,
        colour: impl Fn([f64; 2]) -> [f64; 3],
    ) {
        let [columns, rows] = [0, 1].map(|axis| {
            let [from, to] = [at[axis], at[axis] + size[axis]].map(|v| (v * SCALE).round().max(0.0) as usize);
            from..to.min([self.width, self.height][axis])
        });
        let (w, h) = (size[0] * SCALE, size[1] * SCALE);
        for y in rows.clone() {
            for x in columns.clone() {
                let place = [(x - columns.start) as f64 + 0.5, (y - rows.start) as f64 + 0.5];
                self.mix(x, y, opacity, colour([place[0] / w, place[1] / h]));
            }
        }
    }

    /// The rows or columns that some points and a margin around them touch.
    fn range(&self, around: &[[f64; 2]], margin: f64, axis: usize) -> std::ops::Range<usize> {
        let size = [self.width, self.height][axis];
        let values = || around.iter().map(|p| p[axis]);
        let low = values().fold(f64::INFINITY, f64::min) - margin - 1.0;
        let high = values().fold(f64::NEG_INFINITY, f64::max) + margin + 1.0;
        (low.max(0.0) as usize).min(size)..(high.max(0.0).ceil() as usize).min(size)
    }

    fn mix(&mut self, x: usize, y: usize, share: f64, colour: [f64; 3]) {
        if share > 0.0 {
            let pixel = &mut self.pixels[y * self.width + x];
            pixel.iter_mut().zip(colour).for_each(|(old, new)| *old += share * (new - *old));
        }
    }

    /// Blends over all pixels around some points what `f` says of each: how deep inside the shape it is, and its
    /// colour there.
    fn blend(
        &mut self,
        around: &[[f64; 2]],
        margin: f64,
        opacity: f64,
        f: impl Fn([f64; 2]) -> (f64, [f64; 3]),
    ) {
        let [rows, columns] = [1, 0].map(|axis| self.range(around, margin, axis));
        for y in rows {
            for x in columns.clone() {
                let (depth, colour) = f([x as f64 + 0.5, y as f64 + 0.5]);
                self.mix(x, y, opacity * (depth + 0.5).clamp(0.0, 1.0), colour);
            }
        }
    }
}

/// The colour of a ball at a place relative to its centre and radius: along the ray from the light through the place,
/// by how far it is on its way to the rim.
fn shaded(&[light, own, rim]: &[Colour; 3], at: [f64; 2]) -> [f64; 3] {
    let ray = [at[0] - LIGHT[0], at[1] - LIGHT[1]];
    // |LIGHT + q ray| = 1, and t = 1 / q.
    let (a, b) = (dot(ray, ray), dot(ray, LIGHT));
    let t = if a == 0.0 { 0.0 } else { a / ((b * b + a * (1.0 - dot(LIGHT, LIGHT))).sqrt() - b) };
    let (from, to, part) =
        if t < BODY { (light, own, t / BODY) } else { (own, rim, ((t - BODY) / (1.0 - BODY)).min(1.0)) };
    [0, 1, 2].map(|i| f64::from(from[i]) + part * (f64::from(to[i]) - f64::from(from[i])))
}

fn dot(a: [f64; 2], b: [f64; 2]) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

fn length(a: [f64; 2]) -> f64 {
    dot(a, a).sqrt()
}

/// The distance of a point from a segment.
fn to_segment(p: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
    let (along, to) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
    let square = dot(along, along);
    let t = if square > 0.0 { (dot(along, to) / square).clamp(0.0, 1.0) } else { 0.0 };
    length([to[0] - t * along[0], to[1] - t * along[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_where_they_should_be() {
        let red = Fill::Ball([[255, 200, 200], [200, 0, 0], [80, 0, 0]]);
        let shapes = vec![
            Shape::Disc { at: [20.0, 20.0], radius: 10.0, fill: red, opacity: 1.0 },
            Shape::Line {
                points: vec![[0.0, 38.0], [40.0, 38.0]],
                width: 2.0,
                colour: [0, 0, 255],
                opacity: 0.5,
            },
        ];
        let image = image(&Picture { size: [40.0, 40.0], shapes });
        assert_eq!(image.dimensions(), (60, 60));
        let at = |x: f64, y: f64| image.get_pixel((x * SCALE) as u32, (y * SCALE) as u32).0;
        assert_eq!(at(1.0, 1.0), [255; 3]);
        assert_eq!(at(20.0, 38.0), [128, 128, 255]);
        assert!(at(16.8, 16.2)[1] > 150, "light: {:?}", at(16.8, 16.2));
        assert!(at(28.5, 24.5)[0] < 120, "rim: {:?}", at(28.5, 24.5));
        assert_eq!(at(20.0, 32.0), [255; 3]);
    }

    #[test]
    fn gradients_meet_light_body_and_rim() {
        let colours = [[0, 0, 0], [100, 0, 0], [200, 0, 0]];
        assert_eq!(shaded(&colours, LIGHT), [0.0; 3]);
        assert!((shaded(&colours, [0.0, 1.0])[0] - 200.0).abs() < 1e-9);
        assert!((shaded(&colours, [0.6, -0.8])[0] - 200.0).abs() < 1e-9);
        assert!((to_segment([0.0, 5.0], [-1.0, 0.0], [1.0, 0.0]) - 5.0).abs() < 1e-15);
        assert!((to_segment([4.0, 4.0], [0.0, 0.0], [1.0, 0.0]) - 5.0).abs() < 1e-15);
    }
}
