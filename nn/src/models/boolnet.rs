//! The one-bit networks of [`binary`](crate::binary).

use registry::{Row, Setting};

use super::{Blueprint, ModelSpec, SPEC};
use crate::binary::{self, Design};
use crate::error::Error;
use crate::layers::Sequential;

/// The settings of [`Anneal`](crate::binary::Anneal).
const TEMPERATURE: [Setting; 2] = [Setting::new("temperature-factor"), Setting::new("temperature-every")];

/// A row whose name says its design.
macro_rules! row {
    ($constant:ident, $name:literal, $help:literal) => {
        pub(super) const $constant: Row<ModelSpec> = Row {
            name: $name,
            help: $help,
            settings: &TEMPERATURE,
            make: ModelSpec { layers: |b| layers($name, b), check, ..SPEC },
        };
    };
}

row!(BASENET18_K1, "basenet18-k1", "one-bit network of 18 layers, for images of multiples of 32");
row!(BASENET18_K4, "basenet18-k4", "one-bit network of 18 layers in 4 slices");
row!(BASENET18_K8, "basenet18-k8", "one-bit network of 18 layers in 8 slices");
row!(BOOLNET18_K1, "boolnet18-k1", "one-bit network of 18 layers with maps of twice the channels");
row!(
    BOOLNET18_K4,
    "boolnet18-k4",
    "one-bit network of 18 layers with maps of twice the channels in 4 slices"
);
row!(
    BOOLNET18_K8,
    "boolnet18-k8",
    "one-bit network of 18 layers with maps of twice the channels in 8 slices"
);
row!(BOOLNET18_STAR, "boolnet18-star-k4", "boolnet18-k4 with twice the final resolution (BoolNet*)");
row!(BASENET_SMALL_K1, "basenet-small-k1", "one-bit network of 6 layers, for images of even sides");
row!(BASENET_SMALL_K4, "basenet-small-k4", "one-bit network of 6 layers in 4 slices");
row!(BASENET_SMALL_K8, "basenet-small-k8", "one-bit network of 6 layers in 8 slices");
row!(BOOLNET_SMALL_K1, "boolnet-small-k1", "one-bit network of 6 layers with maps of twice the channels");
row!(BOOLNET_SMALL_K4, "boolnet-small-k4", "one-bit network of 6 layers, twice the channels, 4 slices");
row!(BOOLNET_SMALL_K8, "boolnet-small-k8", "one-bit network of 6 layers, twice the channels, 8 slices");

fn layers(name: &str, b: Blueprint) -> Sequential {
    let design = Design::named(name).expect("the rows are named by designs");
    binary::layers(design, b.input[0], b.classes, b.width, b.dtype)
}

/// Whether every halving of the image comes out even.
fn check(name: &str, [_, height, width]: [usize; 3]) -> Result<(), Error> {
    let factor = Design::named(name).map_or(1, |design| design.factor());
    if height.is_multiple_of(factor) && width.is_multiple_of(factor) {
        return Ok(());
    }
    Err(Error::Config(format!(
        "model {name} does not take images of {height} x {width}: height and width must be multiples of {factor}"
    )))
}
