//! Letters as strokes, for pictures in pixels.

use super::{Anchor, Colour, Shape};

/// From one letter to the next, in units of the grid.
const ADVANCE: f64 = 5.8;
/// Units of the grid in the size of a font.
const UNITS: f64 = 9.5;

/// A letter's strokes: points as two digits, x from 0 to 4 and y from 0 to 8, upwards, where 2 is the base line, 6 the
/// top of small letters and 8 of capitals. `None` where there is no such letter.
fn glyph(letter: char) -> Option<&'static str> {
    Some(match letter {
        ' ' => "",
        '0' => "120307183847433212",
        '1' => "0728 2822 1232",
        '2' => "07183847460242",
        '3' => "07183847463515 354443321203",
        '4' => "32380444",
        '5' => "480805354443321203",
        '6' => "473818070312324344351504",
        '7' => "084812",
        '8' => "15060718384746351504031232434435",
        '9' => "031232434738180706153546",
        'a' => "4642 4332120305163645",
        'b' => "0802 0312324345361605",
        'c' => "4536160503123243",
        'd' => "4842 4332120305163645",
        'e' => "04444536160503123243",
        'f' => "38281712 0636",
        'g' => "4641301001 4332120305163645",
        'h' => "0802 0516364542",
        'i' => "2622 2828",
        'j' => "26211000 2828",
        'k' => "0802 3604 1442",
        'l' => "2822",
        'm' => "0602 05162522 25364542",
        'n' => "0602 0516364542",
        'o' => "120305163645433212",
        'p' => "0600 0312324345361605",
        'q' => "4640 4332120305163645",
        'r' => "0602 05163645",
        's' => "45361605143443321203",
        't' => "18132232 0636",
        'u' => "0603123243 4642",
        'v' => "062246",
        'w' => "0612253246",
        'x' => "0642 0246",
        'y' => "0622 4610",
        'z' => "06460242",
        'A' => "022842 0535",
        'B' => "02083847463505 35444332 3202",
        'C' => "4738180703123243",
        'E' => "48080242 0535",
        'F' => "480802 0535",
        'G' => "47381807031232434525",
        'H' => "0802 4842 0545",
        'I' => "1838 2822 1232",
        'J' => "4843321203",
        'K' => "0802 4805 1542",
        'L' => "080242",
        'O' => "180703123243473818",
        'P' => "02083847463505",
        'Q' => "180703123243473818 2441",
        'S' => "473818070615354443321203",
        'T' => "0848 2822",
        'U' => "080312324348",
        'V' => "082248",
        'W' => "0812263248",
        'X' => "0842 0248",
        'Y' => "082548 2522",
        'Z' => "08480242",
        '%' => "0248 0708181707 3233434232",
        ':' => "2222 2626",
        ';' => "2211 2626",
        '_' => "0141",
        '!' => "2824 2222",
        '?' => "07183847462524 2222",
        '\'' => "2826",
        '"' => "1816 3836",
        '[' => "38181232",
        ']' => "18383212",
        '{' => "3827261514231232",
        '}' => "1827263534233212",
        '<' => "460442",
        '>' => "064402",
        '|' => "2821",
        '\\' => "0842",
        '#' => "1713 3733 0646 0444",
        '*' => "2723 0644 0446",
        '&' => "42061728370402123244",
        '@' => "342535454637170703123242",
        '$' => "47180706153544321203 2821",
        '~' => "0516253445",
        '`' => "1827",
        'D' => "02082846442202",
        'M' => "0208254842",
        'N' => "02084248",
        'R' => "02083847463505 2542",
        '\u{b0}' => "1728372617",
        '.' => "1212",
        ',' => "2211",
        '-' => "0545",
        '+' => "0545 2327",
        '=' => "0444 0646",
        '^' => "162836",
        '/' => "0248",
        '(' => "38272332",
        ')' => "18272312",
        _ => return None,
    })
}

/// What stands for letters that are not here.
const BOX: &str = "0208484202";

/// A text as lines.
pub fn strokes(at: [f64; 2], anchor: Anchor, size: f64, colour: Colour, text: &str) -> Vec<Shape> {
    let unit = size / UNITS;
    let width = (text.chars().count() as f64 * ADVANCE - (ADVANCE - 4.0)) * unit;
    let left = match anchor {
        Anchor::Start => at[0],
        Anchor::Middle => at[0] - width / 2.0,
        Anchor::End => at[0] - width,
    };
    let mut lines = Vec::new();
    for (i, letter) in text.chars().enumerate() {
        let origin = left + i as f64 * ADVANCE * unit;
        for stroke in glyph(letter).unwrap_or(BOX).split_whitespace() {
            let place = |pair: &[u8]| {
                let [x, y] = [pair[0], pair[1]].map(|digit| f64::from(digit - b'0'));
                [origin + x * unit, at[1] - (y - 2.0) * unit]
            };
            let points = stroke.as_bytes().chunks_exact(2).map(place).collect();
            lines.push(Shape::Line { points, width: 0.09 * size, colour, opacity: 1.0 });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_letter_is_pairs_of_digits_inside_the_grid() {
        let printable = (' '..='~').map(|letter| glyph(letter).unwrap_or_else(|| panic!("no {letter:?}")));
        for letter in printable.chain([BOX]) {
            for stroke in letter.split_whitespace() {
                assert!(stroke.len() % 2 == 0 && stroke.len() >= 4, "{letter}");
                for pair in stroke.as_bytes().chunks_exact(2) {
                    assert!((b'0'..=b'4').contains(&pair[0]) && (b'0'..=b'8').contains(&pair[1]), "{letter}");
                }
            }
        }
        assert!(glyph('\u{e4}').is_none());
    }

    #[test]
    fn texts_lie_where_they_are_anchored() {
        let right = |anchor| {
            let x = |shape: &Shape| match shape {
                Shape::Line { points, .. } => points.iter().map(|p| p[0]).fold(0.0, f64::max),
                _ => 0.0,
            };
            strokes([100.0, 50.0], anchor, UNITS, [0; 3], "00").iter().map(x).fold(0.0, f64::max)
        };
        let width = ADVANCE + 4.0;
        assert!((right(Anchor::End) - 100.0).abs() < 1e-9);
        assert!((right(Anchor::Middle) - 100.0 - width / 2.0).abs() < 1e-9);
        assert!((right(Anchor::Start) - 100.0 - width).abs() < 1e-9);
    }
}
