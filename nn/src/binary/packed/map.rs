//! The signs of one image.

use autograd::{DType, Scalar, Tensor};
use kernels::binary::{FOUR, compare};

/// Signs in nibbles: slice by slice, in each the channels in fours, in each the pixels, a byte with four signs for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub slices: usize,
    /// A multiple of 4.
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
    pub data: Vec<u8>,
}

/// The least number of type f32 that is not below `v`.
fn least(v: f64) -> f32 {
    let near = v as f32;
    if f64::from(near) < v { near.next_up() } else { near }
}

impl Map {
    /// The signs of x + o for each offset o, of image `n` of x [N, C, H, W]: x >= -o.
    pub fn new(x: &Tensor, n: usize, offsets: &[f64]) -> Map {
        match x.dtype() {
            DType::F32 => Map::of::<f32>(x, n, offsets, |o| least(-o)),
            DType::F64 => Map::of::<f64>(x, n, offsets, |o| -o),
        }
    }

    fn of<T: Scalar>(x: &Tensor, n: usize, offsets: &[f64], limit: impl Fn(f64) -> T) -> Map {
        let mut map = Map::empty(offsets.len(), x.shape()[1], [x.shape()[2], x.shape()[3]]);
        let image = &x.data::<T>()[n * map.channels * map.pixels()..];
        let pixels = map.pixels();
        for (slice, &offset) in map.data.chunks_exact_mut(map.channels / FOUR * pixels).zip(offsets) {
            for (line, x) in slice.chunks_exact_mut(pixels).zip(image.chunks_exact(FOUR * pixels)) {
                compare(x, [limit(offset); FOUR], 0, line);
            }
        }
        map
    }

    /// All signs -1.
    pub fn empty(slices: usize, channels: usize, size: [usize; 2]) -> Map {
        let data = vec![0; slices * channels / FOUR * size[0] * size[1]];
        Map { slices, channels, size, data }
    }

    pub fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// The nibbles of four channels of a slice.
    pub fn line(&mut self, slice: usize, four: usize) -> &mut [u8] {
        let pixels = self.pixels();
        &mut self.data[(slice * self.channels / FOUR + four) * pixels..][..pixels]
    }

    /// The mean of the signs over the slices, for each channel and pixel.
    pub fn means(&self) -> impl Iterator<Item = f64> {
        let (pixels, lines) = (self.pixels(), self.channels / FOUR * self.pixels());
        (0..self.channels * pixels).map(move |i| {
            let (channel, pixel) = (i / pixels, i % pixels);
            let first = channel / FOUR * pixels + pixel;
            let slices = self.data[first..].iter().step_by(lines);
            let ones: u8 = slices.map(|nibble| nibble >> (channel % FOUR) & 1).sum();
            f64::from(2 * ones) / self.slices as f64 - 1.0
        })
    }

    /// The first `channels` channels and the others.
    pub fn split(&self, channels: usize) -> [Map; 2] {
        let (all, first) = (self.channels / FOUR * self.pixels(), channels / FOUR * self.pixels());
        let part = |channels, range: std::ops::Range<usize>| {
            let slices = self.data.chunks_exact(all);
            let data = slices.flat_map(|slice| &slice[range.clone()]).copied().collect();
            Map { channels, data, ..*self }
        };
        [part(channels, 0..first), part(self.channels - channels, first..all)]
    }

    /// The product with another map of the same shape.
    pub fn xnor(&mut self, other: &Map) {
        self.data.iter_mut().zip(&other.data).for_each(|(a, b)| *a ^= b ^ 15);
    }

    /// The disjunction with another map of the same shape.
    pub fn or(&mut self, other: &Map) {
        self.data.iter_mut().zip(&other.data).for_each(|(a, b)| *a |= b);
    }

    /// The channels of this and another map in turns.
    pub fn interleave(&self, other: &Map) -> Map {
        // Bits 0 and 1 at the places 0 and 2.
        let spread = |x: u8| x & 1 | (x & 2) << 1;
        let pixels = self.pixels();
        let mut out = Map::empty(self.slices, 2 * self.channels, self.size);
        let lines = self.data.chunks_exact(pixels).zip(other.data.chunks_exact(pixels));
        for (out, (a, b)) in out.data.chunks_exact_mut(2 * pixels).zip(lines) {
            let (low, high) = out.split_at_mut(pixels);
            for ((low, high), (&a, &b)) in low.iter_mut().zip(high).zip(a.iter().zip(b)) {
                *low = spread(a) | spread(b) << 1;
                *high = spread(a >> 2) | spread(b >> 2) << 1;
            }
        }
        out
    }
}
