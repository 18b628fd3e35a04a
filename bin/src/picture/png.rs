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
                let half = width * SCALE / 2.0;
                let own = colour.map(f64::from);
                self.blend(&points, half, *opacity, |p| {
                    let nearest = points.windows(2).map(|ends| to_segment(p, ends[0], ends[1]));
                    (half - nearest.fold(f64::INFINITY, f64::min), own)
                });
            }
            Shape::Box { at, size, colour, opacity, .. } => {
                // Whole pixels: neighbours must not leave a seam between them.
                let [columns, rows] = [0, 1].map(|axis| {
                    let [from, to] =
                        [at[axis], at[axis] + size[axis]].map(|v| (v * SCALE).round().max(0.0) as usize);
                    from..to.min([self.width, self.height][axis])
                });
                let colour = colour.map(f64::from);
                for (x, y) in rows.flat_map(|y| columns.clone().map(move |x| (x, y))) {
                    let pixel = &mut self.pixels[y * self.width + x];
                    pixel.iter_mut().zip(colour).for_each(|(old, new)| *old += opacity * (new - *old));
                }
            }
            Shape::Text { at, anchor, size, text } => {
                glyphs::strokes(*at, *anchor, *size, text).iter().for_each(|stroke| self.draw(stroke));
            }
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
        let range = |axis: usize, size: usize| {
            let values = || around.iter().map(|p| p[axis]);
            let low = values().fold(f64::INFINITY, f64::min) - margin - 1.0;
            let high = values().fold(f64::NEG_INFINITY, f64::max) + margin + 1.0;
            (low.max(0.0) as usize).min(size)..(high.max(0.0).ceil() as usize).min(size)
        };
        for y in range(1, self.height) {
            for x in range(0, self.width) {
                let (depth, colour) = f([x as f64 + 0.5, y as f64 + 0.5]);
                let share = opacity * (depth + 0.5).clamp(0.0, 1.0);
                if share > 0.0 {
                    let pixel = &mut self.pixels[y * self.width + x];
                    pixel.iter_mut().zip(colour).for_each(|(old, new)| *old += share * (new - *old));
                }
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
