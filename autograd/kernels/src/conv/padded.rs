//! Images with their zeros around them, so that the loops over a kernel's taps need no special cases.

use crate::real::Element;

/// How a window of an image is laid out: rows of the padded image, each as `step[1]` runs of the columns with
/// the same remainder modulo the step, so that the elements of a row that one tap reads are always contiguous.
#[derive(Clone, Copy)]
pub struct Padded {
    /// Height and width of the image itself.
    image: [usize; 2],
    /// Rows and columns of the image from one place of the window to the next.
    step: [usize; 2],
    /// The first tap: where the window of place (0, 0) starts, relative to the image's corner.
    first: [isize; 2],
    /// Distance from the first tap to the last.
    span: [usize; 2],
    /// Numbers in a run.
    pitch: usize,
}

impl Padded {
    /// The layout for windows of these `taps` (places relative to the window's), `columns` of them in a row.
    pub fn new(image: [usize; 2], step: [usize; 2], taps: &[[isize; 2]], columns: usize) -> Self {
        let bound = |i: usize, f: fn(isize, isize) -> isize| taps.iter().map(|t| t[i]).reduce(f).unwrap_or(0);
        let first = [bound(0, isize::min), bound(1, isize::min)];
        let span = [0, 1].map(|i| (bound(i, isize::max) - first[i]) as usize);
        Padded { image, step, first, span, pitch: span[1] / step[1] + columns }
    }

    /// Numbers of one row of the padded image.
    pub fn line(&self) -> usize {
        self.step[1] * self.pitch
    }

    /// Numbers of one channel for `rows` rows of windows.
    pub fn plane(&self, rows: usize) -> usize {
        (self.span[0] + (rows - 1) * self.step[0] + 1) * self.line()
    }

    /// Where `tap` of the window at row 0, column 0 lies. The window at (i, j) is `i * down() + j` further.
    pub fn tap(&self, tap: [isize; 2]) -> usize {
        let [i, j] = [0, 1].map(|d| (tap[d] - self.first[d]) as usize);
        i * self.line() + j % self.step[1] * self.pitch + j / self.step[1]
    }

    /// Numbers from one row of windows to the next.
    pub fn down(&self) -> usize {
        self.step[0] * self.line()
    }

    /// Lays out one channel for the windows of rows `row..row + rows`. Compiled for the caller's instruction set.
    #[inline(always)]
    pub fn fill<T: Element>(&self, channel: &[T], row: usize, rows: usize, out: &mut [T]) {
        let ([h, w], pitch, step) = (self.image, self.pitch, self.step[1]);
        let top = self.first[0] + (row * self.step[0]) as isize;
        for phase in 0..step {
            // Places j with 0 <= left + step j < w are the image's.
            let left = self.first[1] + phase as isize;
            let start = ((-left).max(0) as usize).div_ceil(step).min(pitch);
            let end = ((w as isize - left).max(0) as usize).div_ceil(step).clamp(start, pitch);
            for (i, line) in out[..self.plane(rows)].chunks_exact_mut(self.line()).enumerate() {
                let run = &mut line[phase * pitch..][..pitch];
                let from = top + i as isize;
                if from < 0 || from >= h as isize || start == end {
                    run.fill(T::ZERO);
                    continue;
                }
                clear(&mut run[..start]);
                clear(&mut run[end..]);
                let from = &channel[from as usize * w..][..w];
                copy(&from[(left + (start * step) as isize) as usize..], step, &mut run[start..end]);
            }
        }
    }
}

/// Zeros, mostly one or two: writing them costs less than a call.
#[inline(always)]
fn clear<T: Element>(out: &mut [T]) {
    match out {
        [] => {}
        [v] => *v = T::ZERO,
        [v, w] => (*v, *w) = (T::ZERO, T::ZERO),
        _ => out.fill(T::ZERO),
    }
}

/// Copies every `step`-th number.
#[inline(always)]
fn copy<T: Element>(from: &[T], step: usize, to: &mut [T]) {
    let last = to.len() - 1;
    match step {
        1 => {
            // Rows are short: a few registers, of which the last may overlap the one before.
            const FEW: usize = 8;
            let Some(rest) = to.len().checked_sub(FEW).filter(|&rest| rest <= 8 * FEW) else {
                return to.copy_from_slice(&from[..=last]);
            };
            for at in (0..rest).step_by(FEW).chain([rest]) {
                to[at..at + FEW].copy_from_slice(&from[at..at + FEW]);
            }
        }
        2 => {
            // Whole pairs, so that the loop vectorises.
            for (v, pair) in to[..last].iter_mut().zip(from.chunks_exact(2)) {
                *v = pair[0];
            }
            to[last] = from[2 * last];
        }
        _ => {
            for (v, &from) in to.iter_mut().zip(from.iter().step_by(step)) {
                *v = from;
            }
        }
    }
}
