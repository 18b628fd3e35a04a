//! Omniglot (Lake, Salakhutdinov, Tenenbaum, Science 350, 2015): 1,623 characters of 50 alphabets by 20 drawers.

use std::path::Path;
use std::sync::Arc;

use super::{TaskOptions, Tasks, of_classes};
use crate::dataset::{Pixels, Split, Standardisation};
use crate::error::Error;
use crate::load::Options;
use crate::npy::{self, Values};

/// Bits of all images, [characters, drawers, 98]: 28 x 28 pixels, row-major, the most significant bit of a byte first; 1
/// is ink.
const IMAGES: &str = "omniglot/omniglot28_bits.npy";
/// The alphabets: first and last character (both included), split, name.
const ALPHABETS: &str = "omniglot/alphabets.csv";
const SIDE: usize = 28;

/// Training tasks of the background alphabets, test tasks of the evaluation alphabets.
pub(super) fn tasks(options: &TaskOptions) -> Result<Tasks, Error> {
    let size = options.image_size;
    if size != SIDE && size != SIDE / 2 {
        return Err(Error::usage(format_args!("omniglot has images of 28 or 14 pixels, not {size}")));
    }
    let data = Options { data_dir: options.data_dir.clone(), ..Options::default() };
    let files = data.folder()?.map(|dir| [dir.join(IMAGES), dir.join(ALPHABETS)]);
    let Some(files) = files.filter(|files| files.iter().all(|file| file.is_file())) else {
        return Err(Error::missing(format_args!(
            "omniglot needs {IMAGES} and {ALPHABETS} in the folder that --data-dir or {} names",
            crate::DATA_VARIABLE
        )));
    };
    let images = Images::read(&files[0])?;
    let text = std::fs::read_to_string(&files[1]).map_err(|e| Error::io(&files[1], "read", &e))?;
    let characters = |split: &str| characters(&text, split, images.characters, &files[1]);
    let (train, test) = (characters("background")?, characters("evaluation")?);
    let note = format!(
        "omniglot at {size} x {size} pixels: {} characters of the background alphabets for training, {} of the evaluation \
         alphabets for testing; no rotations",
        train.len(),
        test.len()
    );
    let splits = [train, test].map(|chosen| Arc::new(images.split(&chosen, size)));
    let tasks = of_classes("omniglot", splits, options, vec![note])?;
    Ok(Tasks { files: files.to_vec(), ..tasks })
}

/// The images as they are in the file.
struct Images {
    bits: Vec<u8>,
    characters: usize,
    drawers: usize,
}

impl Images {
    fn read(path: &Path) -> Result<Images, Error> {
        let array = npy::read(path)?;
        match (&array.shape[..], array.values) {
            (&[characters, drawers, bytes], Values::U8(bits)) if bytes * 8 == SIDE * SIDE => {
                Ok(Images { bits, characters, drawers })
            }
            (shape, _) => Err(Error::unusable(
                path,
                format_args!("has shape {shape:?}; uint8 of characters x drawers x 98 is needed"),
            )),
        }
    }

    /// These characters, labelled by their numbers: ink counted in squares, so that values are from 0 to 1.
    fn split(&self, characters: &[usize], size: usize) -> Split {
        let block = SIDE / size;
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for &character in characters {
            for drawer in 0..self.drawers {
                let image = &self.bits[(character * self.drawers + drawer) * SIDE * SIDE / 8..];
                let ink = |y: usize, x: usize| image[(y * SIDE + x) / 8] >> (7 - (y * SIDE + x) % 8) & 1;
                let squares = (0..size * size).map(|i| (i / size * block, i % size * block));
                let within = |(y, x): (usize, usize)| {
                    (0..block * block).map(|i| ink(y + i / block, x + i % block)).sum::<u8>()
                };
                pixels.extend(squares.map(within));
                labels.push(character as u32);
            }
        }
        let standardisation = Standardisation::uniform(1, 0.0, (block * block) as f64);
        Split::new([1, size, size], Pixels::U8(pixels), labels, standardisation)
    }
}

/// The characters of the alphabets of a split, of `all`.
fn characters(text: &str, split: &str, all: usize, path: &Path) -> Result<Vec<usize>, Error> {
    let mut chosen = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let fields: Vec<&str> = line.splitn(4, ',').collect();
        let range = match fields[..] {
            [first, last, of, _] => first.parse::<usize>().ok().zip(last.parse::<usize>().ok()).zip(Some(of)),
            _ => None,
        };
        match range {
            Some(((first, last), of)) if first <= last && last < all => {
                if of == split {
                    chosen.extend(first..=last);
                }
            }
            _ => {
                let number = number + 1;
                return Err(Error::unusable(
                    path,
                    format_args!("line {number}: {line:?} is not first,last,split,name of {all} characters"),
                ));
            }
        }
    }
    Ok(chosen)
}
