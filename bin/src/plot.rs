//! Curves as SVG: panels one below the other that share the x axis and a legend.

use std::fmt::Write;

use crate::picture::text_width;

/// The right end of the axes.
const RIGHT: f64 = 670.0;
/// The height of a panel, of which the title takes [`TOP`], and the numbers of the x axis [`FOOT`].
const PANEL: f64 = 324.0;
const TOP: f64 = 36.0;
const FOOT: f64 = 24.0;
const LEFT: f64 = 72.0;
/// The least width of the column on the right, for the legend, of which the marks take [`MARK`].
const LEGEND: f64 = 190.0;
const MARK: f64 = 38.0;
/// Below the last panel, for the name of the x axis.
const BOTTOM: f64 = 20.0;
/// A line of the legend.
const LINE: f64 = 18.0;
/// Distinguishable with any colour vision (Okabe and Ito).
pub const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/// Where there are more curves than those: from the first to the last by way of these, blue to red.
const SCALE: [[f64; 3]; 5] = [
    [50.0, 50.0, 150.0],
    [30.0, 140.0, 200.0],
    [40.0, 160.0, 90.0],
    [230.0, 160.0, 20.0],
    [180.0, 20.0, 40.0],
];
/// Longer curves are averaged to so many points; the points of much shorter ones are marked.
const POINTS: usize = 400;
const MARKED: usize = 30;

/// A named curve.
pub struct Curve {
    /// Its name in the legend. The curves of all panels have the same names in the same order.
    pub name: String,
    /// Its points, x ascending; points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// How far it extends to either side at each point; empty if it does not.
    pub spread: Vec<f64>,
}

/// A set of axes with a title.
pub struct Panel<'a> {
    /// What is drawn.
    pub title: &'a str,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// A picture of some panels; None if there is nothing to draw in any. Panels without a point are left out.
pub fn figure(x_label: &str, panels: &[Panel]) -> Option<String> {
    let panels: Vec<&Panel> = panels.iter().filter(|panel| axes(panel).is_some()).collect();
    let height = PANEL * panels.len() as f64 + BOTTOM;
    let widest = panels.iter().flat_map(|panel| &panel.curves).map(|curve| text_width(12.0, &curve.name));
    let titles = panels.iter().map(|panel| LEFT + text_width(15.0, panel.title)).fold(0.0, f64::max);
    let width = (RIGHT + MARK + 8.0 + widest.fold(0.0, f64::max)).max(RIGHT + LEGEND).max(titles).ceil();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (i, panel) in panels.iter().enumerate() {
        draw(&mut svg, panel, PANEL * i as f64)?;
    }
    let middle = (LEFT + RIGHT) / 2.0;
    text(&mut svg, middle, height - 8.0, "middle", x_label);
    legend(&mut svg, &panels.first()?.curves, height - BOTTOM - FOOT - TOP);
    svg.push_str("</svg>\n");
    Some(svg)
}

/// The ranges of x and y; None without a point.
fn axes(panel: &Panel) -> Option<[[f64; 2]; 2]> {
    let points = || panel.curves.iter().flat_map(|curve| thinned(&curve.points));
    let bands = panel.curves.iter().flat_map(band).flat_map(|(_, low, high)| [low, high]);
    Some([range(points().map(|p| p.0))?, range(points().map(|p| p.1).chain(bands))?])
}

/// A panel whose upper edge is at `top`.
fn draw(svg: &mut String, panel: &Panel, top: f64) -> Option<()> {
    let [[x0, x1], [y0, y1]] = axes(panel)?;
    let (right, upper, lower) = (RIGHT, top + TOP, top + PANEL - FOOT);
    let x = |v: f64| LEFT + (v - x0) / (x1 - x0) * (right - LEFT);
    let y = |v: f64| lower - (v - y0) / (y1 - y0) * (lower - upper);

    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" font-size=\"15\">{}</text>",
        upper - 12.0,
        escaped(panel.title)
    );
    for v in ticks(y0, y1) {
        let y = y(v);
        let _ =
            writeln!(svg, "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>");
        text(svg, LEFT - 6.0, y + 4.0, "end", &number(v));
    }
    for v in ticks(x0, x1) {
        let (x, end) = (x(v), lower + 4.0);
        let _ =
            writeln!(svg, "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{lower}\" y2=\"{end}\" stroke=\"#888\"/>");
        text(svg, x, lower + 16.0, "middle", &number(v));
    }
    let count = panel.curves.len();
    for (i, curve) in panel.curves.iter().enumerate() {
        let band = band(curve);
        let there = band.iter().map(|&(at, low, _)| (at, low));
        let back = band.iter().rev().map(|&(at, _, high)| (at, high));
        let outline = path(there.chain(back), x, y);
        if !outline.is_empty() {
            let colour = colour(i, count);
            let _ = writeln!(svg, "<polygon points=\"{outline}\" fill=\"{colour}\" fill-opacity=\"0.13\"/>");
        }
    }
    for (i, curve) in panel.curves.iter().enumerate() {
        let (points, colour) = (thinned(&curve.points), colour(i, count));
        let line = path(points.iter().copied(), x, y);
        let _ = writeln!(
            svg,
            "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        );
        for &(px, py) in points.iter().filter(|_| points.len() <= MARKED) {
            let (x, y) = (x(px), y(py));
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\" fill=\"{colour}\"/>");
        }
    }
    Some(())
}

/// The names of the curves on the right; of more than fit, evenly spaced ones.
fn legend(svg: &mut String, curves: &[Curve], height: f64) {
    let every = curves.len().div_ceil((height / LINE) as usize).max(1);
    for (row, i) in (0..curves.len()).step_by(every).enumerate() {
        let (x, y) = (RIGHT + 14.0, TOP + LINE * (row as f64 + 0.5));
        let (end, colour) = (x + 18.0, colour(i, curves.len()));
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" x2=\"{end}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"3\"/>"
        );
        text(svg, end + 6.0, y + 4.0, "start", &curves[i].name);
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = escaped(text);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

/// Points as SVG writes them.
fn path(points: impl Iterator<Item = (f64, f64)>, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let written: Vec<String> = points.map(|(px, py)| format!("{:.1},{:.1}", x(px), y(py))).collect();
    written.join(" ")
}

/// x, lower and upper edge of a curve's band.
fn band(curve: &Curve) -> Vec<(f64, f64, f64)> {
    let edges = curve.points.iter().zip(&curve.spread).map(|(&(x, y), s)| (x, y - s, y + s));
    edges.filter(|(x, low, high)| [x, low, high].iter().all(|v| v.is_finite())).collect()
}

/// The colour of curve i of `count`.
pub fn colour(i: usize, count: usize) -> String {
    if count <= COLOURS.len() {
        return COLOURS[i].into();
    }
    let at = (i * (SCALE.len() - 1)) as f64 / (count - 1) as f64;
    let from = (at as usize).min(SCALE.len() - 2);
    let part = at - from as f64;
    let [r, g, b] = [0, 1, 2].map(|k| (SCALE[from][k] * (1.0 - part) + SCALE[from + 1][k] * part) as u8);
    format!("#{r:02x}{g:02x}{b:02x}")
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

/// The least and the largest value; of equal ones what is around them, wide enough for numbers of few digits. None of
/// nothing.
pub fn range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let [low, high] = values.fold([f64::INFINITY, f64::NEG_INFINITY], |[l, h], v| [l.min(v), h.max(v)]);
    let scale = low.abs().max(1.0);
    let around = 0.05 * scale;
    let apart = if high - low < 1e-9 * scale { [low - around, high + around] } else { [low, high] };
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

    fn chart(points: &[(f64, f64)], spread: &[f64]) -> Option<String> {
        let curve = Curve { name: "a<b".into(), points: points.to_vec(), spread: spread.to_vec() };
        figure("step", &[Panel { title: "t", curves: vec![curve] }])
    }

    #[test]
    fn a_line_goes_from_corner_to_corner() {
        let svg = chart(&[(0.0, 1.0), (10.0, 3.0)], &[]).unwrap();
        assert!(svg.contains("polyline points=\"72.0,300.0 670.0,36.0\""), "{svg}");
        assert!(svg.contains("a&lt;b") && svg.ends_with("</svg>\n") && !svg.contains("polygon"));
    }

    #[test]
    fn a_band_surrounds_its_line_and_is_part_of_the_range() {
        let svg = chart(&[(0.0, 1.0), (10.0, 3.0)], &[1.0, 1.0]).unwrap();
        assert!(svg.contains("polygon points=\"72.0,300.0 670.0,168.0 670.0,36.0 72.0,168.0\""), "{svg}");
        assert!(svg.contains("polyline points=\"72.0,234.0 670.0,102.0\""), "{svg}");
    }

    #[test]
    fn nothing_odd_is_drawn() {
        assert!(chart(&[], &[]).is_none());
        assert!(chart(&[(0.0, f64::NAN)], &[]).is_none());
        assert!(figure("x", &[]).is_none());
        for points in [&[(1.0, 2.0)][..], &[(0.0, 5.0), (1.0, 5.0), (2.0, f64::INFINITY)]] {
            let svg = chart(points, &[0.0, f64::NAN, 1.0]).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn many_curves_have_colours_of_their_own_and_a_legend_that_fits() {
        let curve =
            |i: usize| Curve { name: format!("layer{i}"), points: vec![(0.0, i as f64)], spread: vec![] };
        let svg = figure("x", &[Panel { title: "t", curves: (0..110).map(curve).collect() }]).unwrap();
        let names = svg.matches(">layer").count();
        assert!((8..=15).contains(&names), "{names} names");
        let colours: std::collections::HashSet<String> = (0..110).map(|i| colour(i, 110)).collect();
        assert!(colours.len() > 100 && colours.contains("#323296") && colours.contains("#b41428"));
    }

    #[test]
    fn long_names_have_room() {
        let name = "cross-entropy, method sam, hs-mhe, a name of some length";
        let curve = Curve { name: name.into(), points: vec![(0.0, 1.0)], spread: vec![] };
        let svg = figure("x", &[Panel { title: "t", curves: vec![curve] }]).unwrap();
        let after = |text: &str| -> f64 {
            let rest = &svg[svg.find(text).unwrap() + text.len()..];
            rest[..rest.find([' ', '"']).unwrap()].parse().unwrap()
        };
        // A character of sans-serif takes about 0.56 of its size.
        assert!(after("viewBox=\"0 0 ") > 708.0 + 0.56 * 12.0 * name.len() as f64, "{svg}");
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
