//! The mean of each window, for fixed windows and for windows that divide an image into a given number.

use std::ops::Range;

use super::Pool2d;
use crate::cascade::cascade;
use crate::gemm::scratch;
use crate::par;
use crate::real::{Arithmetic, Element};
use crate::reduce::fold::{Same, add_lanes, row_sum};
use crate::simd::{self, Kernel};

impl Pool2d {
    /// The mean of each window. With `count_border` the sum is divided by the window's size, the border
    /// counting as zeros; without, by the number of elements it covers.
    ///
    /// # Panics
    /// If a slice does not have its size.
    pub fn average<T: Element>(&self, x: &[T], count_border: bool, out: &mut [T]) {
        self.check(x.len(), out.len());
        self.means(count_border).forward(x, out);
    }

    /// The adjoint of [`Pool2d::average`]: zeroes `out` (shaped as the images), then adds the share of each
    /// element of `g` to every place of its window.
    ///
    /// # Panics
    /// If a slice does not have its size.
    pub fn average_adjoint<T: Element>(&self, g: &[T], count_border: bool, out: &mut [T]) {
        self.check(out.len(), g.len());
        self.means(count_border).adjoint(g, out);
    }

    fn means(&self, count_border: bool) -> Means<impl Fn(usize, usize) -> Range<usize> + Sync + '_> {
        let area = (self.kernel[0] * self.kernel[1]) as f64;
        Means {
            planes_a_piece: self.grain(),
            input: self.input,
            output: self.output(),
            window: |axis, i| self.window(axis, i),
            divisor: count_border.then_some(area),
            halves: self.halves(),
        }
    }
}

/// The mean of `output[0]` x `output[1]` windows that cover each of `planes` images: window i of n over a length
/// of m reaches from floor(i m / n) to ceil((i + 1) m / n), so windows may share elements.
///
/// # Panics
/// If an image is empty while its output is not, or a slice does not have its size.
pub fn adaptive_average<T: Element>(
    x: &[T],
    planes: usize,
    input: [usize; 2],
    output: [usize; 2],
    out: &mut [T],
) {
    check_adaptive(planes, input, output, x.len(), out.len());
    adaptive(input, output).forward(x, out);
}

/// The adjoint of [`adaptive_average`]; `out` is shaped as the images.
///
/// # Panics
/// As [`adaptive_average`].
pub fn adaptive_average_adjoint<T: Element>(
    g: &[T],
    planes: usize,
    input: [usize; 2],
    output: [usize; 2],
    out: &mut [T],
) {
    check_adaptive(planes, input, output, out.len(), g.len());
    adaptive(input, output).adjoint(g, out);
}

fn check_adaptive(planes: usize, input: [usize; 2], output: [usize; 2], input_len: usize, output_len: usize) {
    assert!(input.iter().all(|&n| n > 0), "adaptive average: empty images ({input:?})");
    assert_eq!(input_len, planes * input[0] * input[1], "adaptive average: images of the given size");
    assert_eq!(output_len, planes * output[0] * output[1], "adaptive average: output of the given size");
}

fn adaptive(input: [usize; 2], output: [usize; 2]) -> Means<impl Fn(usize, usize) -> Range<usize> + Sync> {
    Means {
        planes_a_piece: ((1 << 14) / (input[0] * input[1])).max(1),
        input,
        output,
        window: move |axis: usize, i: usize| {
            let (m, n) = (input[axis], output[axis]);
            i * m / n..((i + 1) * m).div_ceil(n)
        },
        divisor: None,
        halves: false,
    }
}

/// Means over the windows `window(axis, i)`.
struct Means<W> {
    planes_a_piece: usize,
    input: [usize; 2],
    output: [usize; 2],
    window: W,
    /// What sums are divided by, if not by the number of elements.
    divisor: Option<f64>,
    /// Whether the windows are 2 x 2 and tile the image.
    halves: bool,
}

impl<W: Fn(usize, usize) -> Range<usize> + Sync> Means<W> {
    fn forward<T: Element>(&self, x: &[T], out: &mut [T]) {
        let (area, windows) = (self.input[0] * self.input[1], self.output[0] * self.output[1]);
        if out.is_empty() {
            return;
        }
        par::chunks(out, self.planes_a_piece * windows, |piece, out| {
            let x = &x[piece * self.planes_a_piece * area..][..out.len() / windows * area];
            simd::dispatch(Forward { means: self, x, out });
        });
    }

    fn adjoint<T: Element>(&self, g: &[T], out: &mut [T]) {
        let (area, windows) = (self.input[0] * self.input[1], self.output[0] * self.output[1]);
        if windows == 0 {
            return out.fill(T::ZERO);
        }
        let met = [0, 1].map(|axis| if self.halves { vec![] } else { self.met(axis) });
        let pitch = self.input[1].next_multiple_of(LANES);
        let room = if self.halves { 0 } else { self.output[1] + self.output[0] * pitch };
        par::chunks(out, self.planes_a_piece * area, |piece, out| {
            let g = &g[piece * self.planes_a_piece * windows..][..out.len() / area * windows];
            scratch::with(room, |memory| {
                simd::dispatch(Adjoint { means: self, met: &met, pitch, memory, g, out });
            });
        });
    }

    /// For each row or column of the image, the windows that cover it: neighbours, since both ends of windows rise.
    fn met(&self, axis: usize) -> Vec<Range<usize>> {
        let mut met = vec![0..0; self.input[axis]];
        for i in 0..self.output[axis] {
            for at in (self.window)(axis, i) {
                met[at] = if met[at].is_empty() { i..i + 1 } else { met[at].start..i + 1 };
            }
        }
        met
    }

    /// What the sum over a window is divided by.
    #[inline(always)]
    fn count<T: Element>(&self, rows: &Range<usize>, columns: &Range<usize>) -> T {
        T::from_f64(self.divisor.unwrap_or((rows.len() * columns.len()) as f64))
    }
}

struct Forward<'a, T, W> {
    means: &'a Means<W>,
    x: &'a [T],
    out: &'a mut [T],
}

impl<T: Element, W: Fn(usize, usize) -> Range<usize> + Sync> Kernel for Forward<'_, T, W> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Forward { means, x, out } = self;
        let ([h, w], [oh, ow]) = (means.input, means.output);
        for (row, out) in out.chunks_exact_mut(ow).enumerate() {
            let (plane, i) = (row / oh, row % oh);
            let x = &x[plane * h * w..(plane + 1) * h * w];
            if means.halves {
                let (top, bottom) = x[2 * i * w..2 * (i + 1) * w].split_at(w);
                let quarter = T::from_f64(0.25);
                for ((out, top), bottom) in out.iter_mut().zip(top.as_chunks().0).zip(bottom.as_chunks().0) {
                    let ([a, b], [c, d]): (&[T; 2], &[T; 2]) = (top, bottom);
                    *out = (*a + *b + *c + *d) * quarter;
                }
                continue;
            }
            let rows = (means.window)(0, i);
            for (j, out) in out.iter_mut().enumerate() {
                let columns = (means.window)(1, j);
                let sum = cascade!(
                    rows.len(),
                    T::ZERO,
                    |r, sum| {
                        let row = &x[(rows.start + r) * w..][columns.clone()];
                        *sum = *sum + row_sum::<T, A, 1>(&Same, [row]);
                    },
                    |a: &mut T, b: &T| *a = *a + *b
                );
                *out = sum / means.count(&rows, &columns);
            }
        }
    }
}

struct Adjoint<'a, T, W> {
    means: &'a Means<W>,
    met: &'a [Vec<Range<usize>>; 2],
    /// Room for the shares of a row of windows, and for a row of sums, `pitch` apart, for each row of windows.
    pitch: usize,
    memory: &'a mut [T],
    g: &'a [T],
    out: &'a mut [T],
}

impl<T: Element, W: Fn(usize, usize) -> Range<usize> + Sync> Kernel for Adjoint<'_, T, W> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Adjoint { means, met: [down, across], pitch, memory, g, out } = self;
        let ([h, w], [oh, ow]) = (means.input, means.output);
        if means.halves {
            return halves_adjoint(g, means.output, means.input, out);
        }
        // A pixel is in all pairs of a row and a column of windows that cover it: columns are summed first.
        let (shares, sums) = memory.split_at_mut(ow);
        for (g, out) in g.chunks_exact(oh * ow).zip(out.chunks_exact_mut(h * w)) {
            for (i, (g, sums)) in g.chunks_exact(ow).zip(sums.chunks_exact_mut(pitch)).enumerate() {
                let rows = (means.window)(0, i);
                for (j, (share, &g)) in shares.iter_mut().zip(g).enumerate() {
                    *share = g / means.count(&rows, &(means.window)(1, j));
                }
                for (sum, windows) in sums.iter_mut().zip(across) {
                    *sum = row_sum::<T, A, 1>(&Same, [&shares[windows.clone()]]);
                }
                sums[w..].fill(T::ZERO);
            }
            for (out, windows) in out.chunks_exact_mut(w).zip(down) {
                add_rows(&sums[windows.start * pitch..windows.end * pitch], pitch, out);
            }
        }
    }
}

/// Columns whose sums are computed together.
const LANES: usize = 32;

/// The sums of the columns of rows that are `pitch` apart.
#[inline(always)]
fn add_rows<T: Element>(rows: &[T], pitch: usize, out: &mut [T]) {
    for (i, out) in out.chunks_mut(LANES).enumerate() {
        let [sums] = cascade!(
            rows.len() / pitch,
            [[T::ZERO; LANES]],
            |r, sums| {
                let row = &rows[r * pitch + i * LANES..][..LANES];
                for l in 0..LANES {
                    sums[0][l] = sums[0][l] + row[l];
                }
            },
            add_lanes
        );
        match out.first_chunk_mut::<LANES>() {
            Some(out) => *out = sums,
            None => out.copy_from_slice(&sums[..out.len()]),
        }
    }
}

/// A quarter of each element of `g` to the four of its window, 0 to what lies in none.
#[inline(always)]
fn halves_adjoint<T: Element>(g: &[T], [oh, ow]: [usize; 2], [h, w]: [usize; 2], out: &mut [T]) {
    for (plane, out) in out.chunks_exact_mut(h * w).enumerate() {
        if h % 2 + w % 2 > 0 {
            out.fill(T::ZERO);
        }
        for i in 0..oh {
            let g = &g[(plane * oh + i) * ow..][..ow];
            let (top, bottom) = out[2 * i * w..2 * (i + 1) * w].split_at_mut(w);
            let places = top.as_chunks_mut().0.iter_mut().zip(bottom.as_chunks_mut().0);
            for (&g, (top, bottom)) in g.iter().zip(places) {
                let quarter = g / T::from_f64(4.0);
                (*top, *bottom) = ([quarter; 2], [quarter; 2]);
            }
        }
    }
}
