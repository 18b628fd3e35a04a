//! Writes a contact sheet of a data set's training images as they come out of the loader.
//!
//! `cargo run --release -p datasets --example sheet -- cifar10 crop-flip-cutout sheet.png`
//!
//! A row is one class: the first image as it is, then the same image as eleven epochs augment it.

use datasets::{Dataset, Loader, LoaderConfig, Options, load};
use image::{Rgb, RgbImage};

/// Pixels of the sheet to a pixel of an image.
const SCALE: usize = 3;
const EPOCHS: u64 = 11;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, augment, out] = &arguments[..] else {
        eprintln!("usage: sheet DATASET AUGMENTATION OUT.png");
        std::process::exit(2);
    };
    if let Err(error) = write(name, augment, out) {
        eprintln!("{error}");
        std::process::exit(2);
    }
}

fn write(name: &str, augment: &str, out: &str) -> Result<(), Box<dyn std::error::Error>> {
    let data = load(name, &Options::default())?;
    let [_, h, w] = data.shape();
    let classes = data.classes.len().min(10);
    let first: Vec<usize> = (0..classes)
        .filter_map(|c| data.train.labels().unwrap_or_default().iter().position(|&l| l as usize == c))
        .collect();
    let split = std::sync::Arc::new(data.train.select(&first));
    let config =
        |augment| LoaderConfig { batch_size: first.len(), shuffle: false, augment, ..Default::default() };
    let plain = Loader::new(split.clone(), config("none".parse()?));
    let augmented = Loader::new(split, config(augment.parse()?));

    let columns = EPOCHS as usize + 1;
    let mut sheet = RgbImage::new((columns * (w + 1) * SCALE) as u32, (first.len() * (h + 1) * SCALE) as u32);
    for column in 0..columns {
        let batch =
            if column == 0 { plain.batch::<f32>(0, 0) } else { augmented.batch::<f32>(column as u64 - 1, 0) };
        for (row, pixels) in batch.images.chunks(data.train.image_len()).enumerate() {
            draw(&mut sheet, &data, pixels, [row * (h + 1) * SCALE, column * (w + 1) * SCALE]);
        }
    }
    sheet.save(out)?;
    println!(
        "{}: {} training, {} test images of {:?}",
        data.name,
        data.train.len(),
        data.test.len(),
        data.shape()
    );
    data.notes.iter().for_each(|note| println!("{note}"));
    Ok(())
}

/// Draws one standardised image, its standardisation undone, bytes or levels stretched to 0..=255.
fn draw(sheet: &mut RgbImage, data: &Dataset, pixels: &[f32], [top, left]: [usize; 2]) {
    let [channels, h, w] = data.shape();
    let standard = data.standardisation();
    let stretch = if data.name == "digits" { 255.0 / 16.0 } else { 1.0 };
    for (y, x) in (0..h * SCALE).flat_map(|y| (0..w * SCALE).map(move |x| (y, x))) {
        let colour = std::array::from_fn(|k| {
            let c = k.min(channels - 1);
            let v = f64::from(pixels[c * h * w + y / SCALE * w + x / SCALE]);
            ((v * standard.std[c] + standard.mean[c]) * stretch).round() as u8
        });
        sheet.put_pixel((left + x) as u32, (top + y) as u32, Rgb(colour));
    }
}
