//! How a run is going, on standard error: a line that is redrawn on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use nn::StepMetrics;

/// Between two plain lines.
const PAUSE: Duration = Duration::from_secs(5);

/// The progress of a run of known length.
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    first: u64,
    images: u64,
    start: Instant,
    said: Instant,
}

impl Progress {
    /// A run of `total` steps that goes on from step `first`.
    pub fn new(total: u64, first: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} step {pos}/{len}  {msg}  {eta} left")
                .expect("the template is right");
            ProgressBar::new(total).with_position(first).with_style(style)
        });
        let now = Instant::now();
        Progress { bar, total, first, images: 0, start: now, said: now }
    }

    /// A step on `images` images is done.
    pub fn step(&mut self, m: &StepMetrics, images: usize) {
        self.images += images as u64;
        let rate = self.images_per_second();
        let text = format!("loss {:.4}  acc {:.3}  {rate:.0} images/s", m.loss, m.accuracy);
        let done = m.step + 1;
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(text);
            }
            None if self.said.elapsed() >= PAUSE => {
                self.said = Instant::now();
                let each = self.start.elapsed().as_secs_f64() / (done - self.first) as f64;
                let left = each * (self.total - done) as f64;
                eprintln!("step {done}/{}  {text}  {left:.0} s left", self.total);
            }
            None => {}
        }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Since the start of this session.
    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
