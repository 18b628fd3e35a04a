//! `comhe train --tui`: live curves on the terminal, drawn on standard error with the control sequences that every
//! terminal since the VT100 and xterm understands.

mod canvas;
mod terminal;

use std::collections::VecDeque;

use crate::failure::Failure;
use canvas::Canvas;
pub use terminal::restore;

/// Curves are kept as at most twice so many points, each the mean of equally many readings.
const POINTS: usize = 512;
/// Messages on the screen.
const SAID: usize = 4;
/// Colours of the terminal's own palette: blue, yellow, green, magenta.
const COLOURS: [u8; 4] = [94, 93, 92, 95];

/// A curve of bounded length: when it is full, neighbours become one point.
#[derive(Default)]
struct Curve {
    points: Vec<(f64, f64)>,
    /// Readings that a point is the mean of, and those of the next point.
    each: usize,
    waiting: Vec<(f64, f64)>,
}

impl Curve {
    fn push(&mut self, x: f64, y: f64) {
        if !y.is_finite() {
            return;
        }
        self.each = self.each.max(1);
        self.waiting.push((x, y));
        if self.waiting.len() == self.each {
            self.points.push(mean(&self.waiting));
            self.waiting.clear();
        }
        if self.points.len() == 2 * POINTS {
            self.points = self.points.chunks(2).map(mean).collect();
            self.each *= 2;
        }
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n)
}

/// A chart's title, and its curves with their names.
type Chart<'a> = (&'a str, Vec<(&'a str, &'a Curve)>);

/// What has been seen of a run.
#[derive(Default)]
struct Curves {
    training_loss: Curve,
    test_loss: Curve,
    training_accuracy: Curve,
    test_accuracy: Curve,
    full: Curve,
    half_space: Curve,
    angle: Curve,
}

/// The live screen of a run.
pub struct Screen {
    title: String,
    curves: Curves,
    said: VecDeque<String>,
    /// All that was said, for when the screen is gone.
    all: Vec<String>,
}

impl Screen {
    /// Takes over the terminal, if standard error is one.
    pub fn open(title: String) -> Result<Screen, Failure> {
        terminal::enter()?;
        Ok(Screen::new(title))
    }

    fn new(title: String) -> Screen {
        Screen { title, curves: Curves::default(), said: VecDeque::new(), all: Vec::new() }
    }

    /// A step is done; the accuracy of real targets is NaN, and not drawn.
    pub fn step(&mut self, step: u64, loss: f64, accuracy: f64) {
        self.curves.training_loss.push(step as f64, loss);
        if !accuracy.is_nan() {
            self.curves.training_accuracy.push(step as f64, 100.0 * accuracy);
        }
    }

    /// An evaluation after `step` steps.
    pub fn test(&mut self, step: u64, loss: f64, accuracy: f64) {
        self.curves.test_loss.push(step as f64, loss);
        if !accuracy.is_nan() {
            self.curves.test_accuracy.push(step as f64, 100.0 * accuracy);
        }
    }

    /// The mean energies of the layers, and the smallest angle in any, in radians.
    pub fn energy(&mut self, step: u64, full: f64, half_space: f64, angle: f64) {
        self.curves.full.push(step as f64, full);
        self.curves.half_space.push(step as f64, half_space);
        self.curves.angle.push(step as f64, angle.to_degrees());
    }

    /// A line that stays.
    pub fn say(&mut self, text: &str) {
        self.all.push(text.into());
        self.said.push_back(text.into());
        if self.said.len() > SAID {
            self.said.pop_front();
        }
    }

    /// Draws all, with the progress line on top.
    pub fn draw(&self, progress: &str) {
        let (width, height) = terminal::size();
        terminal::show(&self.frame(progress, width, height));
    }

    /// The lines of the screen.
    fn frame(&self, progress: &str, width: usize, height: usize) -> Vec<String> {
        let mut lines = vec![format!("\x1b[1m{}\x1b[0m", cut(&self.title, width)), cut(progress, width)];
        let of = &self.curves;
        let charts: [Chart; 4] = [
            ("loss", vec![("training", &of.training_loss), ("test", &of.test_loss)]),
            ("accuracy %", vec![("training", &of.training_accuracy), ("test", &of.test_accuracy)]),
            ("energy", vec![("full space", &of.full), ("half-space", &of.half_space)]),
            ("smallest angle, degrees", vec![("any layer", &of.angle)]),
        ];
        let foot = self.said.len() + 1;
        // Two by two; where that is too narrow or too low, as many as fit below one another.
        let columns = if width >= 80 { 2 } else { 1 };
        let room = height.saturating_sub(lines.len() + foot);
        let rows = (room / 7).clamp(1, charts.len() / columns);
        let each = room / rows;
        for row in charts.chunks(columns).take(if room >= 5 { rows } else { 0 }) {
            let cells: Vec<Vec<String>> = row.iter().map(|c| chart(c, width / columns - 1, each)).collect();
            lines.extend(
                (0..each).map(|i| cells.iter().map(|cell| cell[i].as_str()).collect::<Vec<_>>().join("  ")),
            );
        }
        lines.extend(self.said.iter().map(|text| cut(text, width)));
        lines.push(format!("\x1b[90m{}\x1b[0m", cut("Ctrl-C ends the run with a checkpoint", width)));
        lines.truncate(height);
        lines
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
        self.all.iter().for_each(|line| eprintln!("{line}"));
    }
}

/// A chart as lines of equal width: a title with the newest values, then the curves with the ends of the axis.
fn chart((title, curves): &Chart, width: usize, height: usize) -> Vec<String> {
    const AXIS: usize = 9;
    let mut head = title.to_string();
    let mut shown = head.chars().count();
    for (i, (name, curve)) in curves.iter().enumerate() {
        let Some((_, last)) = curve.points.last() else { continue };
        let text = format!("  {name} {last:.4}");
        if shown + text.chars().count() > width {
            break;
        }
        shown += text.chars().count();
        head += &format!("\x1b[{}m{text}\x1b[0m", COLOURS[i]);
    }
    let mut lines = vec![head + &" ".repeat(width.saturating_sub(shown))];
    let (plot_width, plot_height) = (width.saturating_sub(AXIS + 1).max(1), height.saturating_sub(2).max(1));
    let all = || curves.iter().flat_map(|(_, c)| &c.points);
    let range = |f: fn(&(f64, f64)) -> f64| crate::plot::range(all().map(f));
    let (Some(x), Some(y)) = (range(|p| p.0), range(|p| p.1)) else {
        lines.resize(height, " ".repeat(width));
        return lines;
    };
    let mut canvas = Canvas::new(plot_width, plot_height);
    for (i, (_, curve)) in curves.iter().enumerate() {
        canvas.curve(&curve.points, x, y, COLOURS[i]);
    }
    for (i, line) in canvas.lines().into_iter().enumerate() {
        let label = match i {
            0 => format!("{:.4}", y[1]),
            i if i + 1 == plot_height => format!("{:.4}", y[0]),
            _ => String::new(),
        };
        lines.push(format!("\x1b[90m{label:>AXIS$}\x1b[0m {line}"));
    }
    lines.resize(height, " ".repeat(width));
    lines
}

/// At most so many letters, none of them a control.
fn cut(text: &str, width: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters on the screen, without control sequences.
    fn letters(line: &str) -> usize {
        let mut inside = false;
        line.chars()
            .filter(|&c| {
                let was = inside || c == '\x1b';
                inside = was && !c.is_ascii_alphabetic();
                !was
            })
            .count()
    }

    #[test]
    fn frames_fit_any_terminal() {
        let mut screen = Screen::new("lenet".into());
        (0..50).for_each(|i| screen.step(i, 1.0 / (i + 1) as f64, 0.5));
        screen.test(49, f64::NAN, 0.7);
        for (width, height) in [(1, 1), (20, 5), (79, 24), (80, 24), (200, 60)] {
            let lines = screen.frame("step 1", width, height);
            assert!(lines.len() <= height, "{width} x {height}");
            if width >= 20 {
                assert!(lines.iter().all(|l| letters(l) <= width), "{width} x {height}: {lines:#?}");
            }
        }
        std::mem::forget(screen);
    }

    #[test]
    fn curves_keep_their_shape_in_bounded_memory() {
        let mut curve = Curve::default();
        (0..100_000).for_each(|i| curve.push(f64::from(i), f64::from(i)));
        assert!((POINTS / 2..2 * POINTS).contains(&curve.points.len()));
        assert!(curve.points.iter().all(|(x, y)| x == y) && curve.points.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_panic_gives_the_terminal_back_before_it_speaks() {
        // The test runs itself again, on a terminal of its own.
        const AGAIN: &str = "COMHE_TEST_ON_A_TERMINAL";
        if std::env::var_os(AGAIN).is_some() {
            let _screen = Screen::open("a run".into()).unwrap();
            panic!("as a mistake would");
        }
        let me = std::env::current_exe().unwrap();
        let test = "--exact tui::tests::a_panic_gives_the_terminal_back_before_it_speaks --nocapture";
        let lines = format!("{AGAIN}=1 '{}' {test}; stty -a", me.display());
        let script = std::process::Command::new("script")
            .args(["--quiet", "--command", &lines, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .stdin(std::process::Stdio::null())
            .output()
            .expect("script, of util-linux, makes a terminal");
        let shown = String::from_utf8_lossy(&script.stdout);
        let (before, after) = shown.split_once("\x1b[?1049l").expect("it is given back");
        assert!(before.contains("\x1b[?1049h") && !before.contains("as a mistake would"), "{shown:?}");
        assert!(after.contains("as a mistake would") && !after.contains("\x1b["), "{shown:?}");
        assert!(after.contains(" icanon ") && after.contains(" echo "), "{shown:?}");
    }
}
