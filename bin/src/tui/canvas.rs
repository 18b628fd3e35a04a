//! Curves in Braille letters, eight dots each: two across, four down.

/// Dots of a letter by column and row, as Unicode numbers them.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// Letters in lines, each with its dots and the colour of the last curve in it.
pub struct Canvas {
    width: usize,
    height: usize,
    letters: Vec<(u8, u8)>,
}

impl Canvas {
    /// An empty canvas of `width` x `height` letters.
    pub fn new(width: usize, height: usize) -> Canvas {
        Canvas { width, height, letters: vec![(0, 0); width * height] }
    }

    /// Draws a curve over the ranges of the axes, in a colour of the terminal's palette.
    pub fn curve(&mut self, points: &[(f64, f64)], x: [f64; 2], y: [f64; 2], colour: u8) {
        let dots = [(2 * self.width - 1) as f64, (4 * self.height - 1) as f64];
        let place =
            |p: &(f64, f64)| [(p.0 - x[0]) / (x[1] - x[0]) * dots[0], (y[1] - p.1) / (y[1] - y[0]) * dots[1]];
        let first = points.first().into_iter().map(|p| [place(p); 2]);
        for [a, b] in first.chain(points.windows(2).map(|p| [place(&p[0]), place(&p[1])])) {
            let steps = (b[0] - a[0]).abs().max((b[1] - a[1]).abs()).ceil().max(1.0);
            for i in 0..=steps as usize {
                let t = i as f64 / steps;
                self.dot([0, 1].map(|k| (a[k] + t * (b[k] - a[k])).round() as usize), colour);
            }
        }
    }

    fn dot(&mut self, [x, y]: [usize; 2], colour: u8) {
        if x < 2 * self.width && y < 4 * self.height {
            let letter = &mut self.letters[y / 4 * self.width + x / 2];
            *letter = (letter.0 | DOTS[x % 2][y % 4], colour);
        }
    }

    /// The lines as text.
    pub fn lines(&self) -> Vec<String> {
        let letter = |&(dots, colour): &(u8, u8)| match dots {
            0 => " ".to_string(),
            _ => format!("\x1b[{colour}m{}\x1b[0m", char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ')),
        };
        self.letters.chunks(self.width.max(1)).map(|line| line.iter().map(letter).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagonal_goes_from_corner_to_corner() {
        let mut canvas = Canvas::new(2, 1);
        canvas.curve(&[(0.0, 0.0), (3.0, 3.0)], [0.0, 3.0], [0.0, 3.0], 94);
        let dots: Vec<u8> = canvas.letters.iter().map(|l| l.0).collect();
        assert_eq!(dots, [0x40 | 0x20, 0x02 | 0x08].map(|d: u8| d));
        assert!(canvas.lines()[0].starts_with("\x1b[94m"));
    }
}
