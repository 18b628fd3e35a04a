//! A parametric model of the energy of inference.

use std::ops::AddAssign;

use super::block::BlockSpec;
use super::net::{Design, Twin};
use crate::models::Model;

/// What a layer costs for one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// Its path.
    pub layer: String,
    /// Bits of its weights and thresholds, each read once.
    pub weight_bits: u64,
    /// Bits of maps that it reads.
    pub read_bits: u64,
    /// Bits of the map that it writes.
    pub written_bits: u64,
    /// Products of signs: XNOR and popcount of one bit.
    pub binary_ops: u64,
    /// Multiplications and additions of real numbers, as pairs.
    pub real_ops: u64,
    /// Comparisons of integers.
    pub compares: u64,
}

/// The sum of two costs keeps the first one's path.
impl AddAssign<&Cost> for Cost {
    fn add_assign(&mut self, other: &Cost) {
        self.weight_bits += other.weight_bits;
        self.read_bits += other.read_bits;
        self.written_bits += other.written_bits;
        self.binary_ops += other.binary_ops;
        self.real_ops += other.real_ops;
        self.compares += other.compares;
    }
}

/// Energies in picojoules. All are assumptions: the coefficients behind the published totals are not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// To read one bit of a weight.
    pub weight_bit: f64,
    /// To read or write one bit of a map.
    pub map_bit: f64,
    /// Of the product of two signs and its addition.
    pub binary_op: f64,
    /// Of a multiplication and an addition in 32-bit floating point.
    pub real_op: f64,
    /// Of a comparison of integers.
    pub compare: f64,
}

/// From the 45 nm table of Horowitz (ISSCC 2014), in which 32 bits from DRAM take 640 pJ, a product in FP32 3.7 pJ, a sum
/// 0.9 pJ, and a sum in INT32 0.1 pJ. Maps are in DRAM, too, since they are larger than the 8 kB of SRAM of the table (5
/// pJ for 32 bits); one bit of XNOR and popcount takes a 32nd of an integer sum.
impl Default for Coefficients {
    fn default() -> Coefficients {
        let dram_bit = 640.0 / 32.0;
        Coefficients {
            weight_bit: dram_bit,
            map_bit: dram_bit,
            binary_op: 0.1 / 32.0,
            real_op: 4.6,
            compare: 0.1,
        }
    }
}

/// The energy of a layer or a network for one image, in picojoules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Energy {
    /// Of reading weights.
    pub weights: f64,
    /// Of reading and writing maps.
    pub maps: f64,
    /// Of products, sums and comparisons.
    pub arithmetic: f64,
}

impl Energy {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.weights + self.maps + self.arithmetic
    }
}

impl Cost {
    /// The energy,
    ///
    ///   e_w weight bits + e_m (bits read + bits written) + e_b binary ops + e_r real ops + e_c comparisons
    pub fn energy(&self, e: &Coefficients) -> Energy {
        Energy {
            weights: e.weight_bit * self.weight_bits as f64,
            maps: e.map_bit * (self.read_bits + self.written_bits) as f64,
            arithmetic: e.binary_op * self.binary_ops as f64
                + e.real_op * self.real_ops as f64
                + e.compare * self.compares as f64,
        }
    }
}

/// The costs of a network for one image, layer by layer, with bits counted at the width at which inference stores them: 1
/// for each sign of each slice, 32 for real numbers and thresholds. Batch norm, activations, pooling and signs are
/// computed as the convolution before them produces its sums, and move no bits. The second half of BoolNet's maps stays
/// where it is.
///
/// `twin` counts a one-bit network as it is, or as its twin of one slice with real maps and shortcuts. Of another
/// network all numbers have 32 bits.
pub fn costs(model: &Model, twin: Twin) -> Vec<Cost> {
    let summary = model.summary();
    let [c, h, w] = model.input;
    let mut map = 32 * (c * h * w) as u64;
    let mut costs: Vec<Cost> = Vec::new();
    let design = Design::named(&model.name);
    for row in &summary.rows {
        if let (Some(design), "sign") = (design, row.name.as_str()) {
            let width = row.output[2] / design.base();
            let blocks = match twin {
                Twin::Binary => design,
                Twin::RealShortcuts => Design { doubled: false, slices: 1, star: false, ..design },
            };
            let stored = bits(twin, blocks.slices);
            let mut size = [row.output[3], row.output[4]].map(|n| n as u64);
            let pixels = size[0] * size[1];
            let first = costs.last_mut().expect("the stem has a convolution");
            first.written_bits = pixels * row.output[2] as u64 * stored;
            first.compares += pixels * row.output[2] as u64 * blocks.slices as u64;
            for (path, spec) in blocks.blocks(width) {
                costs.extend(block(&path, &spec, &mut size, twin));
            }
            map = costs.last().expect("a network has blocks").written_bits;
            continue;
        }
        if row.name.starts_with("layer") && design.is_some() {
            continue;
        }
        let weights = 32 * row.parameters as u64;
        let written = 32 * row.output[1..].iter().product::<usize>() as u64;
        let moves = row.layer.starts_with("Conv2d") || row.layer.starts_with("Linear");
        let cost = match costs.last_mut() {
            Some(last) if !moves => last,
            _ => {
                costs.push(Cost { layer: row.name.clone(), read_bits: map, ..Cost::default() });
                costs.last_mut().expect("one was pushed")
            }
        };
        cost.weight_bits += weights;
        cost.real_ops += row.flops / 2;
        if row.layer.contains("Add") {
            cost.read_bits += written;
        }
        cost.written_bits = written;
        map = written;
    }
    costs
}

/// The bits of an element of a map.
fn bits(twin: Twin, slices: usize) -> u64 {
    match twin {
        Twin::Binary => slices as u64,
        Twin::RealShortcuts => 32,
    }
}

/// The convolutions of a block; `size` becomes that of its output.
fn block(path: &str, spec: &BlockSpec, size: &mut [u64; 2], twin: Twin) -> Vec<Cost> {
    let [slices, channels, filters, stride] =
        [spec.slices, spec.channels, spec.filters, spec.stride].map(|n| n as u64);
    let stored = bits(twin, spec.slices);
    let before = size[0] * size[1];
    *size = size.map(|n| n / stride);
    let after = size[0] * size[1];
    let (input, output) = (before * channels * stored, after * filters * stored);
    // Thresholds of 32 bits and flips, or scale and shift of batch norm, and what they take.
    let (norm, real, compares) = match twin {
        Twin::Binary => (filters * (32 * slices + 1), 0, after * filters * slices),
        Twin::RealShortcuts => (64 * filters, after * filters, 0),
    };
    let cost = |name: &str| Cost {
        layer: format!("{path}.{name}"),
        weight_bits: norm,
        real_ops: real,
        compares,
        written_bits: output,
        ..Cost::default()
    };
    let mut costs = Vec::new();
    if spec.downsample {
        let mut down = Cost { read_bits: input, ..cost("downsample") };
        match twin {
            Twin::Binary => {
                down.weight_bits += filters * slices * channels;
                down.binary_ops = before * filters * slices * channels;
                down.compares += if stride > 1 { before * filters } else { 0 };
            }
            Twin::RealShortcuts => {
                down.weight_bits += 32 * filters * channels;
                down.real_ops += after * filters * channels;
            }
        }
        costs.push(down);
    }
    let mut conv1 = cost("conv1");
    conv1.weight_bits += filters * channels * 9;
    conv1.binary_ops = after * filters * channels * 9;
    conv1.read_bits = input + if spec.downsample { output } else { input };
    let mut conv2 = cost("conv2");
    conv2.weight_bits += filters * filters * 9;
    conv2.binary_ops = after * filters * filters * 9;
    conv2.read_bits = 2 * output;
    if spec.last {
        // Batch norm of the sums and of the mean of the slices, both real.
        conv2.weight_bits += 128 * filters - norm;
        (conv2.compares, conv2.real_ops) = (0, after * filters * (2 + slices));
        conv2.written_bits = 32 * after * filters;
    }
    costs.extend([conv1, conv2]);
    costs
}
