//! The signs of one image.

use autograd::{DType, Scalar, Tensor};
use kernels::binary::bits;

/// Signs in words: pixel by pixel, in each the slices, in each the channels, rounded up to whole words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub slices: usize,
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
    pub data: Vec<u64>,
}

impl Map {
    /// The signs of x + o for each offset o, of image `n` of x [N, C, H, W].
    pub fn new(x: &Tensor, n: usize, offsets: &[f64]) -> Map {
        match x.dtype() {
            DType::F32 => Map::of::<f32>(x, n, offsets),
            DType::F64 => Map::of::<f64>(x, n, offsets),
        }
    }

    fn of<T: Scalar>(x: &Tensor, n: usize, offsets: &[f64]) -> Map {
        let (channels, size) = (x.shape()[1], [x.shape()[2], x.shape()[3]]);
        let pixels = size[0] * size[1];
        let mut map = Map::empty(offsets.len(), channels, size);
        let words = map.words();
        let step = offsets.len() * words;
        let image = &x.data::<T>()[n * channels * pixels..][..channels * pixels];
        for (c, plane) in image.chunks_exact(pixels.max(1)).enumerate() {
            for (s, &offset) in offsets.iter().enumerate() {
                let first = s * words + c / 64;
                for (word, x) in map.data[first..].iter_mut().step_by(step).zip(plane) {
                    *word |= u64::from(x.to_f64() + offset >= 0.0) << (c % 64);
                }
            }
        }
        map
    }

    /// All signs -1.
    pub fn empty(slices: usize, channels: usize, size: [usize; 2]) -> Map {
        let data = vec![0; size[0] * size[1] * slices * channels.div_ceil(64)];
        Map { slices, channels, size, data }
    }

    /// The words of one slice of one pixel.
    pub fn words(&self) -> usize {
        self.channels.div_ceil(64)
    }

    /// A slice of a pixel.
    pub fn slice(&self, pixel: usize, slice: usize) -> &[u64] {
        let words = self.words();
        &self.data[(pixel * self.slices + slice) * words..][..words]
    }

    /// `channels` channels from `first` on.
    pub fn part(&self, first: usize, channels: usize) -> Map {
        let mut part = Map::empty(self.slices, channels, self.size);
        let words = part.words();
        for (to, from) in part.data.chunks_exact_mut(words).zip(self.data.chunks_exact(self.words())) {
            bits::extract(from, first, channels, to);
        }
        part
    }

    /// The product with another map of the same shape.
    pub fn xnor(&mut self, other: &Map) {
        let (channels, words) = (self.channels, self.words());
        for (a, b) in self.data.chunks_exact_mut(words).zip(other.data.chunks_exact(words)) {
            bits::xnor(a, b, channels);
        }
    }

    /// The disjunction with another map of the same shape.
    pub fn or(&mut self, other: &Map) {
        bits::or(&mut self.data, &other.data);
    }

    /// The channels of this and another map in turns.
    pub fn interleave(&self, other: &Map) -> Map {
        let mut out = Map::empty(self.slices, 2 * self.channels, self.size);
        let (words, both) = (self.words(), out.words());
        let pairs = self.data.chunks_exact(words).zip(other.data.chunks_exact(words));
        for (out, (a, b)) in out.data.chunks_exact_mut(both).zip(pairs) {
            bits::interleave(a, b, out);
        }
        out
    }
}
