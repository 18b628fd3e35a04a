//! Small images in rows: the filters of a layer.

use image::{Rgb, RgbImage};

use super::{Anchor, INK, Picture, Shape};

const WIDTH: f64 = 370.0;
const GAP: f64 = 4.0;

/// A filter: channels, height and width, and its values in that order.
pub struct Filter {
    pub shape: [usize; 3],
    pub values: Vec<f64>,
}

/// The filters as images in a grid, each scaled by its own largest magnitude, with 0 in the middle: grey, or red, green
/// and blue of three channels.
pub fn picture(title: &str, filters: &[Filter]) -> Picture {
    let columns = match filters.len() {
        0..=16 => 8,
        17..=40 => 10,
        _ => 12,
    };
    let side = (WIDTH - 32.0 + GAP) / columns as f64 - GAP;
    let mut shapes = vec![Shape::Text {
        at: [16.0, 24.0],
        anchor: Anchor::Start,
        size: 15.0,
        colour: INK,
        text: title.into(),
    }];
    for (i, filter) in filters.iter().enumerate() {
        let at = [16.0 + (i % columns) as f64 * (side + GAP), 38.0 + (i / columns) as f64 * (side + GAP)];
        shapes.push(Shape::Pixels { at, size: [side; 2], image: image(filter) });
    }
    let rows = filters.len().div_ceil(columns);
    Picture { size: [WIDTH, 38.0 + rows as f64 * (side + GAP) + 12.0], shapes }
}

/// One channel is shown in grey, three in colours, of others their mean.
fn image(filter: &Filter) -> RgbImage {
    let [channels, height, width] = filter.shape;
    let at = |c: usize, y: u32, x: u32| filter.values[(c * height + y as usize) * width + x as usize];
    let shown = |x: u32, y: u32| match channels {
        3 => [0, 1, 2].map(|c| at(c, y, x)),
        _ => [(0..channels).map(|c| at(c, y, x)).sum::<f64>() / channels.max(1) as f64; 3],
    };
    let (w, h) = (width as u32, height as u32);
    let pixels = || (0..h).flat_map(|y| (0..w).map(move |x| (x, y)));
    let largest = pixels().flat_map(|(x, y)| shown(x, y)).fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    RgbImage::from_fn(w, h, |x, y| Rgb(shown(x, y).map(|v| (127.5 + 127.5 * v / largest).round() as u8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_in_the_middle_and_the_largest_at_an_end() {
        let grey = image(&Filter { shape: [1, 1, 3], values: vec![-2.0, 0.0, 1.0] });
        assert_eq!([0, 1, 2].map(|x| grey.get_pixel(x, 0).0[0]), [0, 128, 191]);
        let colour = image(&Filter { shape: [3, 1, 1], values: vec![1.0, 0.0, -1.0] });
        assert_eq!(colour.get_pixel(0, 0).0, [255, 128, 0]);
        assert_eq!(picture("t", &[]).shapes.len(), 1);
    }
}
