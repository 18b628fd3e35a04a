//! Two-dimensional convolution in its three slots.
//!
//! y\[n, k, i, j\] = sum over c, u, v of w\[k, c, u, v\] x\[n, c, s i + d u - p, s j + d v - p\] is linear in x
//! and in w. Contracting the product with one operand gives the slot of another: the forward map writes y,
//! its adjoints write x and w. Gradients of any order are made of these three maps.

// Tiles of registers are indexed by constants, and closures would lose the instruction set.
#![allow(clippy::needless_range_loop)]

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::real::Element;
use winograd::transform::{F2, F2Of5, F4};

mod correlate;
pub mod definition;
mod padded;
mod piece;
mod weight;
mod winograd;

/// The sizes of a two-dimensional convolution (cross-correlation, as in every neural network library).
///
/// x is (batch, in_channels, input), w is (out_channels, in_channels / groups, kernel) and y is
/// (batch, out_channels, output), all row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Images.
    pub batch: usize,
    /// Groups of channels that are convolved independently; divides both channel counts.
    pub groups: usize,
    /// Channels of x, over all groups.
    pub in_channels: usize,
    /// Channels of y, over all groups.
    pub out_channels: usize,
    /// Height and width of x.
    pub input: [usize; 2],
    /// Height and width of w.
    pub kernel: [usize; 2],
    /// Steps of the window.
    pub stride: [usize; 2],
    /// Zeros added on each side.
    pub padding: [usize; 2],
    /// Distance between kernel elements.
    pub dilation: [usize; 2],
}

impl Conv2d {
    /// Height and width of y: (input + 2 padding - dilation (kernel - 1) - 1) / stride + 1.
    ///
    /// # Panics
    /// If the kernel does not fit into the padded input, or if a stride, dilation or kernel size is 0.
    pub fn output(&self) -> [usize; 2] {
        std::array::from_fn(|i| {
            assert!(
                self.stride[i] > 0 && self.dilation[i] > 0 && self.kernel[i] > 0,
                "{self:?}: zero step or kernel"
            );
            let (padded, span) =
                (self.input[i] + 2 * self.padding[i], self.dilation[i] * (self.kernel[i] - 1) + 1);
            assert!(
                span <= padded,
                "{self:?}: the kernel spans {span}, more than the padded input's {padded}"
            );
            (padded - span) / self.stride[i] + 1
        })
    }

    /// Multiplications and additions of one slot, done directly.
    pub fn flops(&self) -> u64 {
        let [oh, ow] = self.output();
        2 * (self.batch * oh * ow * self.weights()) as u64
    }

    fn weights(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// Checks the sizes once, before any kernel runs.
    fn check(&self, x: usize, w: usize, y: usize) {
        let [oh, ow] = self.output();
        let g = self.groups;
        assert!(
            g > 0 && self.in_channels.is_multiple_of(g) && self.out_channels.is_multiple_of(g),
            "{self:?}: groups divide channels"
        );
        assert_eq!(
            x,
            self.batch * self.in_channels * self.input[0] * self.input[1],
            "{self:?}: elements of x"
        );
        assert_eq!(w, self.weights(), "{self:?}: elements of w");
        assert_eq!(y, self.batch * self.out_channels * oh * ow, "{self:?}: elements of y");
    }

    /// The Winograd tiles to use, if any, for a slot with tiles over `output` whose sums and results run over these
    /// channels.
    fn tiles<T>(&self, output: [usize; 2], sums: usize, results: usize) -> Option<Tiles> {
        let kernel = self.kernel[0];
        let applies = size_of::<T>() == size_of::<f32>()
            && (self.kernel, self.stride, self.dilation, self.groups) == ([kernel; 2], [1, 1], [1, 1], 1)
            && self.padding[0].max(self.padding[1]) < kernel;
        // 36 multiplications a tile and the transforms, against 9 or 25 a pixel: a tile must be used to a large enough
        // part.
        let pays = |side: usize, pixels: usize| {
            let tiles = output.iter().map(|n| n.div_ceil(side)).product::<usize>();
            self.batch * tiles >= 16 && output[0] * output[1] >= pixels * tiles && sums.min(4 * results) >= 12
        };
        match (kernel, algorithm()) {
            _ if !applies => None,
            (3, Algorithm::F2) => Some(Tiles::F2),
            (3, Algorithm::F4) => Some(Tiles::F4),
            (3, Algorithm::Auto) if pays(4, 6) => Some(Tiles::F4),
            (3, Algorithm::Auto) if pays(2, 2) => Some(Tiles::F2),
            (5, Algorithm::Auto) if pays(2, 2) => Some(Tiles::F2Of5),
            _ => None,
        }
    }

    /// Writes y, the convolution of `x` with `w`.
    ///
    /// # Panics
    /// As [`Conv2d::output`]; if groups do not divide the channels; if a slice has the wrong length.
    pub fn forward<T: Element>(&self, x: &[T], w: &[T], y: &mut [T]) {
        self.check(x.len(), w.len(), y.len());
        match self.tiles::<T>(self.output(), self.in_channels, self.out_channels) {
            Some(Tiles::F4) => winograd::pass::forward::<T, F4, 4, 3, 6>(self, x, w, y),
            Some(Tiles::F2) => winograd::pass::forward::<T, F2, 2, 3, 4>(self, x, w, y),
            Some(Tiles::F2Of5) => winograd::pass::forward::<T, F2Of5, 2, 5, 6>(self, x, w, y),
            None => correlate::forward(self, x, w, y),
        }
    }

    /// Writes x, the contraction of `y` and `w` (a transposed convolution): the gradient of sum(y . forward)
    /// with respect to x.
    ///
    /// # Panics
    /// As [`Conv2d::forward`].
    pub fn grad_input<T: Element>(&self, y: &[T], w: &[T], x: &mut [T]) {
        self.check(x.len(), w.len(), y.len());
        match self.tiles::<T>(self.input, self.out_channels, self.in_channels) {
            Some(Tiles::F4) => winograd::pass::grad_input::<T, F4, 4, 3, 6>(self, y, w, x),
            Some(Tiles::F2) => winograd::pass::grad_input::<T, F2, 2, 3, 4>(self, y, w, x),
            Some(Tiles::F2Of5) => winograd::pass::grad_input::<T, F2Of5, 2, 5, 6>(self, y, w, x),
            None => correlate::grad_input(self, y, w, x),
        }
    }

    /// Writes w, the contraction of `x` and `y`: the gradient of sum(y . forward) with respect to w.
    ///
    /// # Panics
    /// As [`Conv2d::forward`].
    pub fn grad_weight<T: Element>(&self, x: &[T], y: &[T], w: &mut [T]) {
        self.check(x.len(), w.len(), y.len());
        let channels = self.in_channels.min(self.out_channels);
        match self.tiles::<T>(self.output(), channels, channels) {
            Some(Tiles::F4) => winograd::weight::grad_weight::<T, F4, 4, 3, 6>(self, x, y, w),
            Some(Tiles::F2) => winograd::weight::grad_weight::<T, F2, 2, 3, 4>(self, x, y, w),
            Some(Tiles::F2Of5) => winograd::weight::grad_weight::<T, F2Of5, 2, 5, 6>(self, x, y, w),
            None => weight::grad_weight(self, x, y, w),
        }
    }
}

/// Winograd's tiles.
enum Tiles {
    /// F(2x2, 3x3).
    F2,
    /// F(4x4, 3x3).
    F4,
    /// F(2x2, 5x5).
    F2Of5,
}

/// How convolutions are computed.
///
/// Winograd's algorithm does 3 x 3 kernels with stride 1, dilation 1, one group and a padding of at most 2 with
/// 2.25 (F2) or 4 (F4) times fewer multiplications, at the price of rounding: see [`Algorithm::bound`]. It is
/// for f32 only; f64 is always direct. Kernels of 5 x 5 are done with 2.8 times fewer under `Auto`. Images that hold a
/// number that is not finite, or 256 times larger than most large ones, are done directly. So are all cases in which an
/// intermediate value could overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Algorithm {
    /// Winograd where it pays, by size: F(4x4) where a batch has 16 of its tiles, else F(2x2).
    Auto,
    /// Always the plain sum of products.
    Direct,
    /// Winograd F(2x2, 3x3) where it applies.
    F2,
    /// Winograd F(4x4, 3x3) where it applies.
    F4,
}

impl Algorithm {
    /// The largest error of an element of a 3 x 3 or 5 x 5 convolution in f32, relative to the root mean square of all,
    /// that the tests allow for noise in up to 512 channels. The errors measured are a third of it: 1.5e-5 with F4,
    /// 5e-6 else.
    pub fn bound(self) -> f64 {
        match self {
            Algorithm::Auto | Algorithm::F4 => 5e-5,
            Algorithm::F2 | Algorithm::Direct => 2e-5,
        }
    }
}

static ALGORITHM: AtomicU8 = AtomicU8::new(Algorithm::Auto as u8);

/// Chooses the algorithm of every convolution of the process, from the next one on.
pub fn set_algorithm(a: Algorithm) {
    ALGORITHM.store(a as u8, Relaxed);
}

/// The algorithm in use: [`Algorithm::Auto`] unless [`set_algorithm`] was called.
pub fn algorithm() -> Algorithm {
    [Algorithm::Auto, Algorithm::Direct, Algorithm::F2, Algorithm::F4][ALGORITHM.load(Relaxed) as usize]
}

#[cfg(test)]
mod tests;
