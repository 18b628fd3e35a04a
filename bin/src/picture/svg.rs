//! A picture as SVG.

use std::fmt::Write;

use super::{Anchor, BODY, Colour, Fill, INK, LIGHT, Picture, Shape};

/// The whole file.
pub fn text(picture: &Picture) -> String {
    let [width, height] = picture.size;
    let mut balls: Vec<[Colour; 3]> = Vec::new();
    let mut body = String::new();
    for shape in &picture.shapes {
        // Writing to a string does not fail.
        let _ = match shape {
            Shape::Disc { at: [x, y], radius, fill, opacity } => {
                let fill = match fill {
                    Fill::Flat(colour) => hex(*colour),
                    Fill::Ball(colours) => {
                        let i = balls.iter().position(|b| b == colours).unwrap_or_else(|| {
                            balls.push(*colours);
                            balls.len() - 1
                        });
                        format!("url(#ball{i})")
                    }
                };
                writeln!(
                    body,
                    "<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"{radius:.2}\" fill=\"{fill}\"{}/>",
                    attribute(*opacity)
                )
            }
            Shape::Line { points, width, colour, opacity } => {
                let points: Vec<String> = points.iter().map(|[x, y]| format!("{x:.2},{y:.2}")).collect();
                writeln!(
                    body,
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width:.2}\" \
                     stroke-linecap=\"round\" stroke-linejoin=\"round\"{}/>",
                    points.join(" "),
                    hex(*colour),
                    attribute(*opacity)
                )
            }
            Shape::Box { at: [x, y], size: [w, h], colour, opacity, note } => {
                let note = note.replace('&', "&amp;").replace('<', "&lt;");
                writeln!(
                    body,
                    "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{w:.2}\" height=\"{h:.2}\" fill=\"{}\" \
                     shape-rendering=\"crispEdges\"{}><title>{note}</title></rect>",
                    hex(*colour),
                    attribute(*opacity)
                )
            }
            Shape::Text { at: [x, y], anchor, size, text } => {
                let anchor = match anchor {
                    Anchor::Start => "start",
                    Anchor::Middle => "middle",
                    Anchor::End => "end",
                };
                let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                writeln!(
                    body,
                    "<text x=\"{x:.2}\" y=\"{y:.2}\" text-anchor=\"{anchor}\" font-family=\"sans-serif\" \
                     font-size=\"{size}\" fill=\"{}\">{text}</text>",
                    hex(INK)
                )
            }
        };
    }
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
    let gradients: String = balls.iter().enumerate().map(gradient).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\">\n\
         <defs>\n{gradients}</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn hex([r, g, b]: Colour) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
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
}
