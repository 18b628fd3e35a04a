//! Curves as SVG: axes, grid, legend, lines.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Left, right, top, bottom.
const MARGIN: [f64; 4] = [64.0, 16.0, 40.0, 48.0];
/// Distinguishable with any colour vision (Okabe and Ito).
pub const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/// Longer curves are averaged to so many points.
const POINTS: usize = 400;

/// A named curve.
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its points, x ascending; points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// A picture of some curves; None if there is nothing to draw.
pub fn chart(title: &str, x_label: &str, curves: &[Curve]) -> Option<String> {
    let curves: Vec<(&str, Vec<(f64, f64)>)> =
        curves.iter().map(|c| (c.name.as_str(), thinned(&c.points))).collect();
    let all = || curves.iter().flat_map(|(_, points)| points);
    let [x0, x1] = range(all().map(|p| p.0))?;
    let [y0, y1] = range(all().map(|p| p.1))?;
    let [left, right, top, bottom] = MARGIN;
    let x = |v: f64| left + (v - x0) / (x1 - x0) * (WIDTH - left - right);
    let y = |v: f64| HEIGHT - bottom - (v - y0) / (y1 - y0) * (HEIGHT - top - bottom);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{left}\" y=\"22\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    let mut put = |text: String| {
        svg.push_str(&text);
        svg.push('\n');
    };
    for v in ticks(y0, y1) {
        let (y, end) = (y(v), WIDTH - right);
        put(format!("<line x1=\"{left}\" x2=\"{end}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>"));
        put(format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            y + 4.0,
            number(v)
        ));
    }
    for v in ticks(x0, x1) {
        let (x, base) = (x(v), HEIGHT - bottom);
        put(format!(
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{base}\" y2=\"{}\" stroke=\"#888\"/>",
            base + 4.0
        ));
        put(format!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", base + 18.0, number(v)));
    }
    let middle = (left + WIDTH - right) / 2.0;
    put(format!(
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        HEIGHT - 10.0,
        escaped(x_label)
    ));
    for (i, (name, points)) in curves.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let mut path = String::new();
        for (px, py) in points {
            let _ = write!(path, "{:.1},{:.1} ", x(*px), y(*py));
        }
        put(format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            path.trim_end()
        ));
        let at = WIDTH - right - 110.0 * (curves.len() - i) as f64;
        put(format!(
            "<line x1=\"{at}\" x2=\"{}\" y1=\"18\" y2=\"18\" stroke=\"{colour}\" stroke-width=\"3\"/>",
            at + 18.0
        ));
        put(format!("<text x=\"{}\" y=\"22\">{}</text>", at + 23.0, escaped(name)));
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// At most [`POINTS`] points, each the mean of its neighbours.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> =
        points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let size = finite.len().div_ceil(POINTS).max(1);
    let mean = |block: &[(f64, f64)]| {
        let n = block.len() as f64;
        (block.iter().map(|p| p.0).sum::<f64>() / n, block.iter().map(|p| p.1).sum::<f64>() / n)
    };
    finite.chunks(size).map(mean).collect()
}

/// The least and the largest value, a little apart at least; None of nothing.
pub fn range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let [low, high] = values.fold([f64::INFINITY, f64::NEG_INFINITY], |[l, h], v| [l.min(v), h.max(v)]);
    let least = 1e-9 * low.abs().max(1.0);
    let apart = if high - low < least { [low - least, high + least] } else { [low, high] };
    (low <= high).then_some(apart)
}

/// Round numbers between two values, five or so: 1, 2 or 5 times a power of ten apart.
pub fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|v| *v <= high + 1e-9 * step).take(20).collect()
}

/// At most six digits, none of them noise.
pub fn number(v: f64) -> String {
    let text = format!("{v:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Curve {
        Curve { name: "a<b".into(), points: points.to_vec() }
    }

    #[test]
    fn a_line_goes_from_corner_to_corner() {
        let svg = chart("t", "step", &[curve(&[(0.0, 1.0), (10.0, 3.0)])]).unwrap();
        assert!(svg.contains("points=\"64.0,372.0 704.0,40.0\""), "{svg}");
        assert!(svg.contains("a&lt;b") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn nothing_odd_is_drawn() {
        assert!(chart("t", "x", &[curve(&[])]).is_none());
        assert!(chart("t", "x", &[curve(&[(0.0, f64::NAN)])]).is_none());
        for points in [&[(1.0, 2.0)][..], &[(0.0, 5.0), (1.0, 5.0), (2.0, f64::INFINITY)]] {
            let svg = chart("t", "x", &[curve(points)]).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(0.13, 0.41).iter().map(|v| number(*v)).collect::<Vec<_>>(), ["0.2", "0.3", "0.4"]);
    }

    #[test]
    fn long_curves_are_averaged() {
        let points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), 1.0)).collect();
        let thin = thinned(&points);
        assert_eq!((thin.len(), thin[0]), (334, (1.0, 1.0)));
    }
}
