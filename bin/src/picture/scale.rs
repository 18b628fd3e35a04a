//! Colours for numbers, and round numbers on logarithmic axes.

use super::Colour;

/// Viridis (van der Walt and Smith, matplotlib), nine of its colours: even steps for the eye, with any colour vision.
const VIRIDIS: [Colour; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];

/// The colour of a share from 0 to 1.
pub fn viridis(share: f64) -> Colour {
    let at = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let from = (at as usize).min(VIRIDIS.len() - 2);
    let part = at - from as f64;
    [0, 1, 2].map(|k| {
        let [a, b] = [VIRIDIS[from][k], VIRIDIS[from + 1][k]].map(f64::from);
        (a + part * (b - a)).round() as u8
    })
}

/// 1, 2 and 5 times the powers of ten between two positive values; of many, the powers alone.
pub fn decades(low: f64, high: f64) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all: Vec<f64> = powers.flat_map(|p| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(p))).collect();
    let within: Vec<f64> = all.into_iter().filter(|v| (low..=high).contains(v)).collect();
    if within.len() <= 8 {
        within
    } else {
        within.into_iter().filter(|v| v.log10().fract().abs() < 1e-9).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_middle() {
        assert_eq!((viridis(-1.0), viridis(0.5), viridis(2.0)), (VIRIDIS[0], VIRIDIS[4], VIRIDIS[8]));
        assert_eq!(decades(0.3, 30.0), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!(decades(0.01, 1000.0).len(), 6);
    }
}
