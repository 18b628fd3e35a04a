//! A trained network as signs and thresholds.

use autograd::{Shape, Tensor};
use kernels::binary::{Filters, MOST, bits};

use super::conv::{Conv, Thresholds};
use super::{Block, Packed, Tail};
use crate::binary::net::Parts;
use crate::binary::{BinaryConv, MultiSign};
use crate::error::Error;
use crate::layers::BatchNorm;
use crate::models::Model;
use crate::module::{Context, Module};

impl Packed {
    /// Packs a one-bit network (`basenet*`, `boolnet*`).
    ///
    /// # Errors
    /// If the model is none, or a number of it is not finite.
    pub fn new(model: &Model) -> Result<Packed, Error> {
        if let Some((name, _)) = model.state_dict().iter().find(|(_, t)| !t.is_finite()) {
            return Err(Error::Config(format!("model {}: {name} is not finite", model.name)));
        }
        let model = model.detached();
        let (design, width, parts) = Parts::of(&model)?;
        let last = &parts.blocks.last().expect("a network has blocks").1;
        let tail = Tail {
            scale: last.conv2.scale().detach(),
            bn2: last.bn2.clone(),
            bn3: last.bn3.clone().expect("the last block has a third norm"),
        };
        let blocks = parts.blocks.iter().map(|(path, block)| Ok((path.clone(), fold(block, path)?)));
        Ok(Packed {
            name: model.name.clone(),
            design,
            input: model.input,
            classes: model.classes,
            width,
            dtype: model.dtype(),
            blocks: blocks.collect::<Result<_, Error>>()?,
            stem: parts.stem,
            tail,
            head: parts.head,
        })
    }
}

fn fold(block: &crate::binary::Block, path: &str) -> Result<Block, Error> {
    let spec = block.spec;
    let conv = |name: &str, conv: &BinaryConv, bn: Option<&BatchNorm>| {
        let n = conv.weight.shape()[1..].iter().product::<usize>();
        if n > MOST {
            let text = format!("{path}.{name}: a filter has {n} signs; at most {MOST} can be packed");
            return Err(Error::Config(text));
        }
        let signs = bn.map(|bn| thresholds(conv, bn, &block.sign, &format!("{path}.{name}"))).transpose()?;
        Ok::<Conv, Error>(pack(conv, signs))
    };
    Ok(Block {
        spec,
        conv1: conv("conv1", &block.conv1, Some(&block.bn1))?,
        conv2: conv("conv2", &block.conv2, (!spec.last).then_some(&block.bn2))?,
        downsample: match &block.downsample {
            Some(down) => Some(Conv { pool: spec.stride, ..conv("downsample", &down.conv, Some(&down.bn))? }),
            None => None,
        },
    })
}

/// The signs of the weights, in the order kernel position, channel.
fn pack(conv: &BinaryConv, signs: Option<Thresholds>) -> Conv {
    let dims = conv.weight.shape();
    let (filters, channels, taps) = (dims[0], dims[1], dims[2] * dims[3]);
    let w = conv.weight.to_vec::<f64>();
    let row = |filter: usize| {
        let at = move |i: usize| (filter * channels + i % channels) * taps + i / channels;
        bits::pack((0..channels * taps).map(|i| w[at(i)] >= 0.0))
    };
    let per_group = filters / conv.options.groups;
    let group = |g: usize| {
        let rows: Vec<u64> = (g * per_group..(g + 1) * per_group).flat_map(row).collect();
        Filters::new(&rows, per_group, channels * taps)
    };
    Conv {
        groups: (0..conv.options.groups).map(group).collect(),
        kernel: dims[2],
        stride: conv.options.stride[0],
        dilation: conv.options.dilation[0],
        pool: 1,
        signs,
    }
}

/// The thresholds that the real layers have at the integers -n, -n + 2, ..., n of a sum of n signs.
///
/// # Errors
/// If the sign does not change at most once.
pub(super) fn thresholds(
    conv: &BinaryConv,
    bn: &BatchNorm,
    sign: &MultiSign,
    layer: &str,
) -> Result<Thresholds, Error> {
    let filters = conv.weight.shape()[0];
    let n = conv.weight.shape()[1..].iter().product::<usize>() as i32;
    let count = n as usize + 1;
    let integer = |step: usize| 2 * step as i32 - n;
    let sums = Tensor::from_fn(Shape::new(&[count, filters, 1, 1]), conv.weight.dtype(), |i| {
        f64::from(integer(i / filters))
    });
    let y = bn.clone().forward(&conv.scaled(&sums), &mut Context::eval());
    let found = sign.apply(&y.detach()).to_vec::<f32>();
    let slices = sign.offsets().len();
    let at =
        |step: usize, slice: usize, filter: usize| found[(step * slices + slice) * filters + filter] > 0.0;
    let gamma = bn.weight.to_vec::<f64>();
    let flip: Vec<bool> = gamma.iter().map(|&gamma| gamma < 0.0).collect();
    let mut limits = Vec::with_capacity(slices * filters);
    for slice in 0..slices {
        for (filter, &flip) in flip.iter().enumerate() {
            // As a function of the integer, (sign xor flip) is first false, then true.
            let high = |step: &usize| at(*step, slice, filter) ^ flip;
            let first = (0..count).find(high);
            if first.is_some_and(|first| !(first..count).all(|step| high(&step))) {
                return Err(Error::Config(format!("{layer}: filter {filter} has no threshold")));
            }
            limits.push(match first {
                Some(0) => i32::MIN,
                Some(step) => integer(step),
                None => i32::MAX,
            });
        }
    }
    Ok(Thresholds { slices, limits, flips: bits::pack(flip) })
}
