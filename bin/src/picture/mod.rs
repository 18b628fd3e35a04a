//! Pictures as lists of shapes, written as SVG and as PNG alike.

pub mod bands;
pub mod chart;
mod glyphs;
pub mod grid;
pub mod heat;
pub mod histogram;
pub mod matrix;
mod png;
pub mod scale;
pub mod sphere;
mod svg;

pub use svg::escaped;

use std::path::Path;

use image::RgbImage;

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
    Text { at: [f64; 2], anchor: Anchor, size: f64, colour: Colour, text: String },
    /// A filled polygon without an outline.
    Area { points: Vec<[f64; 2]>, colour: Colour, opacity: f64 },
    /// A filled rectangle from its upper left corner; a viewer shows the note where the pointer rests.
    Box { at: [f64; 2], size: [f64; 2], colour: Colour, opacity: f64, note: String },
    /// A small image whose pixels stay squares.
    Pixels { at: [f64; 2], size: [f64; 2], image: RgbImage },
}

impl Shape {
    /// A line that hides what is below it.
    pub fn line(points: Vec<[f64; 2]>, width: f64, colour: Colour) -> Shape {
        Shape::Line { points, width, colour, opacity: 1.0 }
    }

    /// A line of text.
    pub fn text(at: [f64; 2], anchor: Anchor, size: f64, colour: Colour, text: &str) -> Shape {
        Shape::Text { at, anchor, size, colour, text: text.into() }
    }
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

/// The colour of text.
pub const INK: Colour = [40, 44, 52];
/// The colour of lines behind what is drawn.
pub const GRID: Colour = [222, 224, 228];
/// The colour of what all is drawn on.
pub const PAPER: Colour = [255, 255, 255];
/// What stands back: a comparison's past, the text of notes.
pub const PALE: Colour = [150, 156, 166];

/// Shapes on white, the first below all others.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Width and height.
    pub size: [f64; 2],
    /// What is drawn, in order.
    pub shapes: Vec<Shape>,
}

/// About how wide a text is.
pub fn text_width(size: f64, text: &str) -> f64 {
    0.56 * size * text.chars().count() as f64
}

impl Picture {
    /// The picture as part of a page: its ink, paper, grid and curves have the colours of the page's style
    /// (`--ink`, `--paper`, `--grid`, `--pale`, `--s0`, `--s1`, ...), so that they follow its theme.
    pub fn inline(&self) -> String {
        svg::inline(self)
    }

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
