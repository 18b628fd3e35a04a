//! The embedded digits: 1,797 images of 8 x 8 pixels, levels 0..=16.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use kernels::random::Key;

use crate::classes;
use crate::dataset::{Dataset, Pixels, Split, Standardisation};
use crate::error::Error;
use crate::files;
use crate::partition;

/// How many of the 1,797 are for training; the other 797 are the test set.
const TRAIN: usize = 1_000;

/// Mean and standard deviation of the pixels of those training images.
const MEAN: f64 = 4.899296875;
const STD: f64 = 6.023215462327021;

/// The digits with a fixed split: the data has no official one, so a stratified draw with seed 0 makes it.
pub(crate) fn load() -> Result<Dataset, Error> {
    let place = Path::new("embedded digits.csv.gz");
    let packed: &[u8] = include_bytes!("../data/digits/digits.csv.gz");
    let mut text = String::new();
    files::unpack(packed)
        .and_then(|mut s| s.read_to_string(&mut text))
        .map_err(|e| Error::io(place, "read", &e))?;
    let all = parse(&text, place)?;
    let (train, test) = partition::split(&all.targets.strata(), TRAIN, Key::new(0).stream("digits"));
    let mut train = all.select(&train);
    let mut test = all.select(&test);
    train.standardisation = Standardisation::uniform(1, MEAN, STD);
    test.standardisation = train.standardisation.clone();
    Ok(Dataset {
        name: "digits".into(),
        train: Arc::new(train),
        validation: None,
        rest: None,
        test: Arc::new(test),
        classes: classes::owned(&classes::DIGITS),
        notes: vec![
            "embedded: Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI), by way of \
             scikit-learn; a fixed stratified split into 1,000 training and 797 test images, since there is no \
             official one"
                .into(),
        ],
    })
}

/// Lines of 64 pixels 0..=16 and a label, with commas between.
fn parse(text: &str, place: &Path) -> Result<Split, Error> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let values: Result<Vec<u8>, _> = line.split(',').map(|v| v.trim().parse()).collect();
        match values.as_deref() {
            Ok([image @ .., label]) if image.len() == 64 && image.iter().all(|&p| p <= 16) && *label <= 9 => {
                pixels.extend_from_slice(image);
                labels.push(u32::from(*label));
            }
            _ => {
                let message = format!("line {} is not 64 pixels 0..=16 and a label 0..=9", number + 1);
                return Err(Error::unusable(place, message));
            }
        }
    }
    Ok(Split::new([1, 8, 8], Pixels::U8(pixels), labels, Standardisation::identity(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_set_is_what_it_says() {
        let data = load().unwrap();
        assert_eq!((data.shape(), data.train.len(), data.test.len()), ([1, 8, 8], 1_000, 797));
        let (train, test) = (data.train.counts(10), data.test.counts(10));
        let both: Vec<usize> = train.iter().zip(&test).map(|(a, b)| a + b).collect();
        assert_eq!(both, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert!(train.iter().all(|n| (96..=102).contains(n)), "{train:?}");
        let sum = |s: &Split| (0..s.len() * 64).map(|i| s.pixels_at(i)).sum::<u64>();
        assert_eq!(sum(&data.train) + sum(&data.test), 561_718);
        let measured = Standardisation::measure(&data.train);
        assert!(
            (measured.mean[0] - MEAN).abs() < 1e-9 && (measured.std[0] - STD).abs() < 1e-9,
            "{measured:?}"
        );
        // The split must not move: published numbers depend on it. The FNV-1a hash of the test pixels:
        let hash = (0..797 * 64).fold(0xcbf2_9ce4_8422_2325u64, |h, i| {
            (h ^ data.test.pixels_at(i)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!(hash, 0x2f95_040a_9283_900a);
    }

    impl Split {
        fn pixels_at(&self, i: usize) -> u64 {
            self.image(i / 64).get(i % 64) as u64
        }
    }

    #[test]
    fn broken_lines_have_numbers() {
        let good = vec!["3"; 65].join(",");
        assert_eq!(parse(&format!("{good}\n{good}\n"), Path::new("d")).unwrap().labels().unwrap(), [3, 3]);
        let cases =
            [vec!["3"; 64].join(","), good.replacen('3', "17", 1), good.replacen('3', "x", 1), "".into()];
        for bad in cases {
            let message = parse(&format!("{good}\n{bad}\n"), Path::new("d")).unwrap_err().to_string();
            assert!(message.starts_with("d: line 2 is not 64 pixels"), "{message}");
        }
    }
}
