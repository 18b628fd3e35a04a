//! BaseNet and BoolNet as sequences of blocks.

use std::collections::HashSet;

use autograd::DType;

use super::block::{Block, BlockSpec};
use super::{AdaptiveShift, MultiSign};
use crate::archive::Archive;
use crate::error::Error;
use crate::layers::{BatchNorm, Conv2d, GlobalAvgPool, Linear, MaxPool2d, PRelu, Sequential};
use crate::models::Model;
use crate::module::{Kind, Module};
use crate::state::load_state_dict;

/// What the maps between the layers of a network hold, for its [costs](super::costs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// Signs, as many bits as slices.
    Binary,
    /// Real numbers in 32 bits, with real shortcuts (Liu et al. 2018, arXiv 1808.00278); the 3x3 convolutions are binary.
    RealShortcuts,
}

/// A one-bit network, named `FAMILYFORM-kSLICES`: `boolnet18-k4`, `basenet-small-k1`.
///
/// `18` has the 18 layers of the paper: a 7x7 stem of stride 2 with max pooling, four stages of two blocks with 64 to
/// 512 filters. `-small` has a 3x3 stem of stride 1 with 32 filters and two stages of one block with 32 and 64, for
/// images of 14 or 28 pixels. `boolnet18-star` keeps the resolution of the third stage in the fourth (BoolNet*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Design {
    /// Whether maps carry twice the channels of BaseNet: the family BoolNet.
    pub doubled: bool,
    /// S.
    pub slices: usize,
    /// Whether it is the small form.
    pub small: bool,
    /// Whether the last stage has stride 1 and dilated convolutions.
    pub star: bool,
}

impl Design {
    /// The design of a network's name.
    pub fn named(name: &str) -> Option<Design> {
        let (body, slices) = name.rsplit_once("-k")?;
        let slices = slices.parse().ok().filter(|slices| [1, 4, 8].contains(slices))?;
        let (doubled, small, star) = match body {
            "basenet18" => (false, false, false),
            "boolnet18" => (true, false, false),
            "boolnet18-star" => (true, false, true),
            "basenet-small" => (false, true, false),
            "boolnet-small" => (true, true, false),
            _ => return None,
        };
        Some(Design { doubled, slices, small, star })
    }

    /// Filters of the first stage at width 1.
    pub(super) fn base(&self) -> usize {
        if self.small { 32 } else { 64 }
    }

    /// The least common factor of height and width: each halving must come out even.
    pub(crate) fn factor(&self) -> usize {
        if self.small { 2 } else { 32 }
    }

    /// The real layers before the first sign.
    pub(super) fn stem(&self, channels: usize, width: usize, dtype: DType) -> Sequential {
        let filters = self.base() * width;
        let conv = |kernel, stride| {
            Conv2d::new(channels, filters, kernel, dtype).padding(kernel / 2).stride(stride).without_bias()
        };
        let mut stem = Sequential::new();
        stem.push("conv", if self.small { conv(3, 1) } else { conv(7, 2) });
        stem.push("bn", BatchNorm::new(filters, dtype));
        if !self.small {
            stem.push("pool", MaxPool2d { kernel: [3, 3], stride: [2, 2], padding: [1, 1] });
        }
        match self.doubled {
            true => stem.push("shift", AdaptiveShift::new(filters, dtype)),
            false => stem.push("norm", BatchNorm::new(filters, dtype)),
        }
        stem
    }

    /// The real layers after the last block.
    pub(super) fn head(&self, classes: usize, width: usize, dtype: DType) -> Sequential {
        let filters = self.blocks(width).last().expect("a network has blocks").1.filters;
        Sequential::new()
            .with("prelu", PRelu::new(filters, dtype))
            .with("avgpool", GlobalAvgPool)
            .with("fc", Linear::new(filters, classes, dtype))
    }

    /// The blocks with their paths.
    pub(super) fn blocks(&self, width: usize) -> Vec<(String, BlockSpec)> {
        let (stages, depth) = if self.small { (2, 1) } else { (4, 2) };
        let mut carried = self.base() * width;
        let mut blocks = Vec::new();
        for stage in 0..stages {
            let filters = (self.base() * width) << stage;
            let dilated = self.star && stage + 1 == stages;
            for block in 0..depth {
                let changes = stage > 0 && block == 0;
                let first = stage == 0 && block == 0;
                let split = self.doubled && !changes && !first;
                let spec = BlockSpec {
                    slices: self.slices,
                    channels: if split { filters } else { carried },
                    filters,
                    stride: if changes && !dilated { 2 } else { 1 },
                    dilation: [if dilated && block > 0 { 2 } else { 1 }; 2],
                    downsample: changes,
                    split,
                    doubled: self.doubled,
                    last: stage + 1 == stages && block + 1 == depth,
                };
                carried = filters * if self.doubled { 2 } else { 1 };
                blocks.push((format!("layer{}.{block}", stage + 1), spec));
            }
        }
        blocks
    }
}

/// The parts of a network: the real stem, the blocks, the real head.
pub(super) struct Parts {
    pub stem: Sequential,
    pub sign: MultiSign,
    pub blocks: Vec<(String, Block)>,
    pub head: Sequential,
}

impl Parts {
    pub(super) fn new(
        design: Design,
        channels: usize,
        classes: usize,
        width: usize,
        dtype: DType,
    ) -> Result<Parts, Error> {
        let block = |(path, spec)| Ok((path, Block::new(spec, dtype)?));
        let blocks = design.blocks(width).into_iter().map(block).collect::<Result<_, Error>>()?;
        Ok(Parts {
            stem: design.stem(channels, width, dtype),
            sign: MultiSign::new(design.slices)?,
            blocks,
            head: design.head(classes, width, dtype),
        })
    }

    /// The parts of a model that is named by its design.
    ///
    /// # Errors
    /// If it is not a one-bit network.
    pub(super) fn of(model: &Model) -> Result<(Design, usize, Parts), Error> {
        let refuse = || {
            let text =
                format!("model {}: only one-bit networks (basenet*, boolnet*) can be packed", model.name);
            Error::Config(text)
        };
        let design = Design::named(&model.name).ok_or_else(refuse)?;
        let state = Archive::of(model.state_dict());
        let filters = state.get("stem.conv.weight").ok_or_else(refuse)?.shape()[0];
        let width = filters / design.base();
        let mut parts = Parts::new(design, model.input[0], model.classes, width, model.dtype())?;
        load_state_dict(&mut parts.stem, &state.part("stem"))?;
        for (path, block) in &mut parts.blocks {
            load_state_dict(block, &state.part(path))?;
        }
        load_state_dict(&mut parts.head, &state.part("head"))?;
        Ok((design, width, parts))
    }

    /// The parts as the layers of a model.
    pub(super) fn into_layers(self) -> Sequential {
        let mut layers = Sequential::new().with("stem", self.stem).with("sign", self.sign);
        let mut stages: Vec<(String, Sequential)> = Vec::new();
        for (path, block) in self.blocks {
            let (stage, index) = path.split_once('.').expect("a stage and an index");
            if stages.last().is_none_or(|(name, _)| name != stage) {
                stages.push((stage.to_string(), Sequential::new()));
            }
            stages.last_mut().expect("one was pushed").1.push(index, block);
        }
        stages.into_iter().for_each(|(name, stage)| layers.push(name, stage));
        layers.with("head", self.head)
    }
}

/// The layers of a network of a design, for [`models`](crate::models).
pub(crate) fn layers(
    design: Design,
    channels: usize,
    classes: usize,
    width: usize,
    dtype: DType,
) -> Sequential {
    Parts::new(design, channels, classes, width, dtype)
        .expect("the slices of a design are even")
        .into_layers()
}

/// Binary weights start as He-normal draws by fan-out times 0.01, so that at T = 1 a network starts nearly linear. They
/// are drawn already, by fan-in.
pub(crate) fn start(model: &mut Model) {
    let mut binary = HashSet::new();
    model.visit(&mut |name, _, kind| {
        if let (Kind::Buffer, Some(layer)) = (kind, name.strip_suffix(".temperature")) {
            binary.insert(format!("{layer}.weight"));
        }
    });
    model.visit_mut(&mut |name, t, _| {
        if binary.contains(name) {
            let factor = 0.01 * (t.shape()[1] as f64 / t.shape()[0] as f64).sqrt();
            let scaled = t.detach() * factor;
            t.assign(&scaled);
        }
    });
}
