//! Whether a JPEG file is complete. Decoders fill what is missing with grey or black, without an error.

/// Whether the file reaches its end-of-image marker. Markers are followed from segment to segment, so that the end of a
/// thumbnail in a comment does not count (ITU-T T.81, annex B).
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    const START: u8 = 0xd8;
    const END: u8 = 0xd9;
    // The first two bytes are the start of the image.
    let mut at = 2;
    // Outside of entropy-coded data, every segment starts where the last one ends; within, at the next marker.
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) {
        at += found + 1;
        match bytes.get(at) {
            None => return false,
            Some(&END) => return true,
            // A byte 0xff of the data, padding before a marker, a restart, or markers without a segment.
            Some(0x00 | 0x01 | 0xd0..=0xd7 | &START) => at += 1,
            Some(0xff) => {}
            Some(_) => {
                let Some(&[high, low]) = bytes.get(at + 1..at + 3) else { return false };
                at += 1 + usize::from(u16::from_be_bytes([high, low])).max(2);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, ImageFormat, RgbImage};
    use proptest::prelude::*;

    fn jpeg(side: u32) -> Vec<u8> {
        let picture = RgbImage::from_fn(side, side, |x, y| image::Rgb([(x * 40) as u8, (y * 9) as u8, 7]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        DynamicImage::from(picture).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn what_follows_the_end_does_not_matter_and_a_thumbnail_in_a_segment_is_no_end() {
        let whole = jpeg(9);
        assert!(is_complete(&whole) && is_complete(&[&whole[..], b"appended"].concat()));
        // An application segment that holds a whole picture, before the segments of this one.
        let thumbnail = jpeg(3);
        let length = (thumbnail.len() as u16 + 2).to_be_bytes();
        let with = [&whole[..2], &[0xff, 0xe1], &length, &thumbnail, &whole[2..]].concat();
        assert!(is_complete(&with) && !is_complete(&with[..with.len() - 5]));
        assert!(!is_complete(&[]) && !is_complete(&[0xff, 0xd8]) && !is_complete(&[0xff, 0xd8, 0xff]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_beginning_is_complete(side in 1u32..20, share in 0.0..1.0) {
            let bytes = jpeg(side);
            let length = (share * bytes.len() as f64) as usize;
            prop_assert!(is_complete(&bytes));
            prop_assert!(!is_complete(&bytes[..length]), "{length} of {} bytes", bytes.len());
        }
    }
}
