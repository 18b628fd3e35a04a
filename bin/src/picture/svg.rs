//! A picture as SVG.

use std::fmt::Write;

use image::RgbImage;

use super::{Anchor, BODY, Colour, Fill, GRID, INK, LIGHT, PALE, PAPER, Picture, Shape};
use crate::plot::COLOURS;

/// The whole file.
pub fn text(picture: &Picture) -> String {
    let paper = "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
    let [width, height] = picture.size;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\">\n{}{paper}{}</svg>\n",
        gradients(picture),
        shapes(picture, hex)
    )
}

/// An element of a page, with the colours of the page's style.
pub fn inline(picture: &Picture) -> String {
    let [width, height] = picture.size;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         role=\"img\">\n{}</svg>\n",
        shapes(picture, themed)
    )
}

/// The looks of all balls.
fn balls(picture: &Picture) -> Vec<[Colour; 3]> {
    let mut balls: Vec<[Colour; 3]> = Vec::new();
    for shape in &picture.shapes {
        match shape {
            Shape::Disc { fill: Fill::Ball(colours), .. } if !balls.contains(colours) => balls.push(*colours),
            _ => {}
        }
    }
    balls
}

fn gradients(picture: &Picture) -> String {
    let [fx, fy] = LIGHT.map(|v| 0.5 + 0.5 * v);
    let gradient = |(i, [light, own, rim]): (usize, &[Colour; 3])| {
        format!(
            "<radialGradient id=\"ball{i}\" cx=\"0.5\" cy=\"0.5\" r=\"0.5\" fx=\"{fx}\" fy=\"{fy}\">\
             <stop offset=\"0\" stop-color=\"{}\"/><stop offset=\"{BODY}\" stop-color=\"{}\"/>\
             <stop offset=\"1\" stop-color=\"{}\"/></radialGradient>\n",
            hex(*light),
            hex(*own),
            hex(*rim)
        )
    };
    format!("<defs>\n{}</defs>\n", balls(picture).iter().enumerate().map(gradient).collect::<String>())
}

/// All shapes, in order.
fn shapes(picture: &Picture, colour_of: impl Fn(Colour) -> String) -> String {
    let balls = balls(picture);
    let mut body = String::new();
    for shape in &picture.shapes {
        // Writing to a string does not fail.
        let _ = match shape {
            Shape::Disc { at: [x, y], radius, fill, opacity } => {
                let fill = match fill {
                    Fill::Flat(colour) => colour_of(*colour),
                    Fill::Ball(look) => {
                        format!("url(#ball{})", balls.iter().position(|b| b == look).unwrap_or_default())
                    }
                };
                writeln!(
                    body,
                    "<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"{radius:.2}\" fill=\"{fill}\"{}/>",
                    attribute(*opacity)
                )
            }
            Shape::Line { points, width, colour, opacity } => {
                writeln!(
                    body,
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width:.2}\" \
                     stroke-linecap=\"round\" stroke-linejoin=\"round\"{}/>",
                    written(points),
                    colour_of(*colour),
                    attribute(*opacity)
                )
            }
            Shape::Text { at: [x, y], anchor, size, colour, text } => {
                let anchor = match anchor {
                    Anchor::Start => "start",
                    Anchor::Middle => "middle",
                    Anchor::End => "end",
                };
                writeln!(
                    body,
                    "<text x=\"{x:.2}\" y=\"{y:.2}\" text-anchor=\"{anchor}\" font-family=\"sans-serif\" \
                     font-size=\"{size}\" fill=\"{}\">{}</text>",
                    colour_of(*colour),
                    escaped(text)
                )
            }
            Shape::Area { points, colour, opacity } => {
                writeln!(
                    body,
                    "<polygon points=\"{}\" fill=\"{}\"{}/>",
                    written(points),
                    colour_of(*colour),
                    attribute(*opacity)
                )
            }
            Shape::Box { at: [x, y], size: [w, h], colour, opacity, note } => {
                let end = match note.as_str() {
                    "" => "/>".to_string(),
                    note => format!("><title>{}</title></rect>", escaped(note)),
                };
                // Neighbours must not leave a seam between them.
                writeln!(
                    body,
                    "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{w:.2}\" height=\"{h:.2}\" fill=\"{}\" \
                     shape-rendering=\"crispEdges\"{}{end}",
                    colour_of(*colour),
                    attribute(*opacity)
                )
            }
            Shape::Pixels { at: [x, y], size: [w, h], image } => {
                writeln!(
                    body,
                    "<image x=\"{x:.2}\" y=\"{y:.2}\" width=\"{w:.2}\" height=\"{h:.2}\" \
                     style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
                    png(image)
                )
            }
        };
    }
    body
}

fn written(points: &[[f64; 2]]) -> String {
    points.iter().map(|[x, y]| format!("{x:.2},{y:.2}")).collect::<Vec<_>>().join(" ")
}

/// A text as XML takes it, in elements and in attributes: without letters that XML has no place for.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || ['\u{fffe}', '\u{ffff}'].contains(&c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// An image file as base64 text (RFC 4648).
fn png(image: &RgbImage) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, image::ImageFormat::Png).expect("memory takes any image");
    let mut text = String::new();
    for block in file.get_ref().chunks(3) {
        let bits = block.iter().fold(0u32, |bits, &b| bits << 8 | u32::from(b)) << (8 * (3 - block.len()));
        for i in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * i) & 63) as usize]);
            text.push(if i <= block.len() { letter } else { '=' });
        }
    }
    text
}

fn hex([r, g, b]: Colour) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// A colour of the page's style where it has one for this role.
fn themed(colour: Colour) -> String {
    let own = hex(colour);
    let role = [(INK, "ink"), (PAPER, "paper"), (GRID, "grid"), (PALE, "pale")];
    match (role.iter().find(|(c, _)| *c == colour), COLOURS.iter().position(|c| *c == own)) {
        (Some((_, name)), _) => format!("var(--{name})"),
        (_, Some(i)) => format!("var(--s{i})"),
        _ => own,
    }
}

fn attribute(opacity: f64) -> String {
    if opacity < 1.0 { format!(" opacity=\"{opacity:.3}\"") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_shared_gradients() {
        let ball = Fill::Ball([[255, 255, 255], [200, 0, 0], [90, 0, 0]]);
        let disc = |x, fill| Shape::Disc { at: [x, 2.0], radius: 1.0, fill, opacity: 0.5 };
        let line = Shape::Line {
            points: vec![[0.0, 0.0], [3.0, 4.0]],
            width: 1.0,
            colour: [0, 0, 16],
            opacity: 1.0,
        };
        let shapes = vec![disc(1.0, ball), disc(2.0, ball), disc(3.0, Fill::Flat([1, 2, 3])), line];
        let svg = text(&Picture { size: [10.0, 5.0], shapes });
        assert_eq!(svg.matches("<radialGradient").count(), 1);
        assert_eq!(svg.matches("url(#ball0)").count(), 2);
        assert!(svg.contains("points=\"0.00,0.00 3.00,4.00\"") && svg.contains("#000010"));
        assert!(svg.contains("viewBox=\"0 0 10 5\"") && svg.contains("opacity=\"0.500\""));
    }

    #[test]
    fn hostile_text_and_small_images() {
        assert_eq!(escaped("<a & \"b\">\u{1b}[0m"), "&lt;a &amp; &quot;b&quot;&gt;\u{fffd}[0m");
        let dot = |bytes: usize| png(&RgbImage::new(bytes as u32, 1));
        assert!(dot(1).starts_with("iVBORw0KGgo") && (1..9).all(|n| dot(n).len() % 4 == 0));
        let box_with = |note: &str| Shape::Box {
            at: [0.0; 2],
            size: [1.0; 2],
            colour: INK,
            opacity: 1.0,
            note: note.into(),
        };
        let svg = inline(&Picture { size: [9.0; 2], shapes: vec![box_with("<b>"), box_with("")] });
        assert!(
            svg.contains("var(--ink)")
                && svg.contains("<title>&lt;b&gt;</title></rect>")
                && svg.contains("crispEdges\"/>")
        );
        assert_eq!((themed(PAPER).as_str(), themed([0, 0x72, 0xb2]).as_str()), ("var(--paper)", "var(--s0)"));
    }
}
