//! Pooling over windows of an image: maximum and average.

mod average;
mod max;
#[cfg(test)]
mod tests;

pub use average::{adaptive_average, adaptive_average_adjoint};

/// Windows over `planes` images (batch times channels), each of `input[0]` x `input[1]` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Images: batch times channels.
    pub planes: usize,
    /// Height and width of an image.
    pub input: [usize; 2],
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// From one window to the next, down and right.
    pub stride: [usize; 2],
    /// Border on every side, at most half a window, so that every window holds an element.
    pub padding: [usize; 2],
}

impl Pool2d {
    /// Height and width of the output: (input + 2 padding - kernel) / stride + 1, rounded down.
    ///
    /// # Panics
    /// If a window is empty or larger than the padded image, a stride is 0, or the padding exceeds half a
    /// window.
    pub fn output(&self) -> [usize; 2] {
        std::array::from_fn(|a| {
            let (n, k, s, p) = (self.input[a], self.kernel[a], self.stride[a], self.padding[a]);
            assert!(k > 0 && s > 0, "pool: kernel {k} and stride {s} must be at least 1");
            assert!(p <= k / 2, "pool: padding {p} is more than half of kernel {k}");
            assert!(n > 0 && n + 2 * p >= k, "pool: kernel {k} does not fit {n} elements padded by {p}");
            (n + 2 * p - k) / s + 1
        })
    }

    /// Elements of the images.
    pub fn input_len(&self) -> usize {
        self.planes * self.input[0] * self.input[1]
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        let [h, w] = self.output();
        self.planes * h * w
    }

    /// The elements that window number `i` along axis `axis` covers, without the border.
    fn window(&self, axis: usize, i: usize) -> std::ops::Range<usize> {
        let (start, p) = (i * self.stride[axis], self.padding[axis]);
        start.saturating_sub(p)..(start + self.kernel[axis] - p).min(self.input[axis])
    }

    fn check(&self, input: usize, output: usize) {
        assert_eq!(input, self.input_len(), "pool: images of the given size");
        assert_eq!(output, self.output_len(), "pool: output of the given size");
    }

    /// Whether windows are 2 x 2 and tile the image: the common case, which has its own loops.
    fn halves(&self) -> bool {
        self.kernel == [2, 2] && self.stride == [2, 2] && self.padding == [0, 0]
    }

    /// Planes that one thread takes at a time: about 16 thousand elements.
    fn grain(&self) -> usize {
        ((1 << 14) / (self.input[0] * self.input[1]).max(1)).max(1)
    }
}
