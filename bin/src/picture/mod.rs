//! Pictures as lists of shapes, written as SVG and as PNG alike.

pub mod chart;
mod glyphs;
mod png;
pub mod sphere;
mod svg;

use std::path::Path;

use crate::failure::Failure;

/// Red, green, blue.
pub type Colour = [u8; 3];

/// What a disc is filled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// One colour.
    Flat(Colour),
    /// The look of a ball lit from the upper left: in the light, on its body, at its rim.
    Ball([Colour; 3]),
}

/// A shape; y grows downwards. Opacity goes from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A filled circle.
    Disc { at: [f64; 2], radius: f64, fill: Fill, opacity: f64 },
    /// A line through points, with round ends and joints.
    Line { points: Vec<[f64; 2]>, width: f64, colour: Colour, opacity: f64 },
    /// A line of text; x is its start, middle or end, y its base line.
    Text { at: [f64; 2], anchor: Anchor, size: f64, text: String },
    /// A filled rectangle from its upper left corner; a viewer shows the note where the pointer rests.
    Box { at: [f64; 2], size: [f64; 2], colour: Colour, opacity: f64, note: String },
}

/// Which part of a text its place is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Anchor {
    /// Its left end.
    Start,
    /// Its middle.
    Middle,
    /// Its right end.
    End,
}

/// The colour of all text.
const INK: Colour = [40, 44, 52];

/// Shapes on white, the first below all others.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Width and height.
    pub size: [f64; 2],
    /// What is drawn, in order.
    pub shapes: Vec<Shape>,
}

impl Picture {
    /// Writes FOLDER/NAME.svg and FOLDER/NAME.png.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), Failure> {
        let place = |extension: &str| folder.join(format!("{name}.{extension}"));
        let failed = |path: &Path, e: &dyn std::fmt::Display| {
            Failure::unfinished(format_args!("{}: cannot be written: {e}", path.display()))
        };
        let path = place("svg");
        std::fs::write(&path, svg::text(self)).map_err(|e| failed(&path, &e))?;
        let path = place("png");
        png::image(self).save(&path).map_err(|e| failed(&path, &e))
    }
}

/// Where the light of a ball falls, relative to its centre and radius.
const LIGHT: [f64; 2] = [-0.32, -0.38];
/// Where the body's colour is reached, between the light at 0 and the rim at 1.
const BODY: f64 = 0.55;
