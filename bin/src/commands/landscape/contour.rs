//! Lines of equal height of a grid of values: marching squares.

/// The segments, in units of the grid, along which the bilinear surface through `value(column, row)` has height
/// `level`. Cells with a corner that is not finite have none.
pub fn segments(n: usize, value: impl Fn(usize, usize) -> f64, level: f64) -> Vec<[[f64; 2]; 2]> {
    let mut found = Vec::new();
    for (j, i) in (1..n).flat_map(|j| (1..n).map(move |i| (j, i))) {
        // Around the cell; each edge goes from a corner to the next.
        let corners = [(i - 1, j - 1), (i, j - 1), (i, j), (i - 1, j)];
        let heights = corners.map(|(i, j)| value(i, j));
        if heights.iter().any(|h| !h.is_finite()) {
            continue;
        }
        let crossing = |edge: usize| {
            let (from, to) = (edge, (edge + 1) % 4);
            let [a, b] = [heights[from], heights[to]];
            ((a < level) != (b < level)).then(|| {
                let part = (level - a) / (b - a);
                let [x, y] = [(corners[from].0, corners[to].0), (corners[from].1, corners[to].1)];
                [x, y].map(|(p, q)| p as f64 + part * (q as f64 - p as f64))
            })
        };
        let points: Vec<[f64; 2]> = (0..4).filter_map(crossing).collect();
        match points[..] {
            [a, b] => found.push([a, b]),
            // A saddle: the middle decides which corners belong together.
            [a, b, c, d] => {
                let middle = heights.iter().sum::<f64>() / 4.0;
                let first_alone = (middle < level) != (heights[0] < level);
                found.extend(if first_alone { [[d, a], [b, c]] } else { [[a, b], [c, d]] });
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found() {
        let n = 41;
        let at = |i: usize| (i as f64 - 20.0) / 10.0;
        let lines = segments(n, |i, j| at(i).hypot(at(j)), 1.5);
        assert!(lines.len() > 60);
        let mut length = 0.0;
        for [a, b] in lines {
            for p in [a, b] {
                let r = ((p[0] - 20.0) / 10.0).hypot((p[1] - 20.0) / 10.0);
                assert!((r - 1.5).abs() < 0.005, "{r}");
            }
            length += (a[0] - b[0]).hypot(a[1] - b[1]) / 10.0;
        }
        assert!((length - 3.0 * std::f64::consts::PI).abs() < 0.02, "{length}");
        assert!(segments(3, |_, _| f64::NAN, 0.0).is_empty());
        // A saddle: two lines that do not cross.
        assert_eq!(segments(2, |i, j| if i == j { 1.0 } else { 0.0 }, 0.4).len(), 2);
    }
}
