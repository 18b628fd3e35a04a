//! How a run is going, on standard error: a line that is redrawn on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use nn::StepMetrics;

use crate::failure::Failure;
use crate::tui::Screen;

/// Between two plain lines.
const PAUSE: Duration = Duration::from_secs(5);
/// Between two drawings on a terminal.
const FRAME: Duration = Duration::from_millis(100);
/// Goes to the line's start and clears it, as every terminal since the VT100 does.
const CLEAR: &str = "\r\x1b[2K";

/// The progress of a run of known length.
pub struct Progress {
    terminal: bool,
    total: u64,
    first: u64,
    images: u64,
    start: Instant,
    said: Option<Instant>,
    screen: Option<Screen>,
}

impl Progress {
    /// A run of `total` steps that resumes at step `first`.
    pub fn new(total: u64, first: u64) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let now = Instant::now();
        // A run that is over at once needs no plain line.
        let said = (!terminal).then_some(now);
        Progress { terminal, total, first, images: 0, start: now, said, screen: None }
    }

    /// The same with live curves on the whole terminal.
    pub fn live(total: u64, first: u64, title: String) -> Result<Progress, Failure> {
        Ok(Progress { screen: Some(Screen::open(title)?), ..Progress::new(total, first) })
    }

    /// A step on `images` images is done.
    pub fn step(&mut self, m: &StepMetrics, images: usize) {
        self.images += images as u64;
        if let Some(screen) = &mut self.screen {
            screen.step(m.step + 1, m.loss, m.accuracy);
        }
        let pause = if self.terminal { FRAME } else { PAUSE };
        if self.said.is_some_and(|said| said.elapsed() < pause) {
            return;
        }
        self.said = Some(Instant::now());
        let done = m.step + 1;
        let each = self.start.elapsed().as_secs_f64() / (done - self.first) as f64;
        let line = format!(
            "step {done}/{}  loss {:.4}{}  {:.0} images/s  {} left",
            self.total,
            m.loss,
            // Real targets have none.
            if m.accuracy.is_nan() { String::new() } else { format!("  acc {:.3}", m.accuracy) },
            self.images_per_second(),
            duration(each * (self.total - done) as f64),
        );
        if let Some(screen) = &self.screen {
            screen.draw(&format!("{} {line}", bar(done, self.total)));
        } else if self.terminal {
            eprint!("{CLEAR}{} {line}", bar(done, self.total));
        } else {
            eprintln!("{line}");
        }
    }

    /// A line that stays.
    pub fn say(&mut self, text: &str) {
        match &mut self.screen {
            Some(screen) => screen.say(text),
            None => eprintln!("{}{text}", if self.terminal { CLEAR } else { "" }),
        }
    }

    /// What was seen between steps, for the live curves: loss and accuracy (NaN of real targets) on the test set; mean energies of the layers,
    /// full and half-space, and the smallest angle in any.
    pub fn seen(&mut self, step: u64, test: Option<[f64; 2]>, layers: Option<[f64; 3]>) {
        let Some(screen) = &mut self.screen else { return };
        if let Some([loss, accuracy]) = test {
            screen.test(step, loss, accuracy);
        }
        if let Some([full, half_space, angle]) = layers {
            screen.energy(step, full, half_space, angle);
        }
    }

    /// Since the start of this session.
    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.screen.is_none() {
            eprint!("{CLEAR}");
        }
    }
}

/// A bar that leaves room for the line in 80 columns.
fn bar(done: u64, total: u64) -> String {
    const WIDTH: u64 = 10;
    let full = (WIDTH * done / total.max(1)).min(WIDTH) as usize;
    "\u{2588}".repeat(full) + &"\u{2591}".repeat(WIDTH as usize - full)
}

/// Whole seconds, with minutes and hours where there are any.
fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill_and_times_read() {
        assert_eq!(bar(0, 7).chars().filter(|&c| c == '\u{2588}').count(), 0);
        assert_eq!(bar(7, 7), "\u{2588}".repeat(10));
        assert_eq!((bar(0, 0).chars().count(), bar(9, 7).chars().count()), (10, 10));
        assert_eq!([0.4, 59.6, 3600.0, 86399.0].map(duration), ["0 s", "1:00", "1:00:00", "23:59:59"]);
    }
}
