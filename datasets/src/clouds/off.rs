//! Meshes in the OFF format, as text: the word OFF; the numbers of vertices, faces and edges; a line a vertex (x y z);
//! a line a face (n, then n vertices by number from 0). What follows these numbers in a line, colours for instance, is
//! passed over, as are blank lines and what stands behind a #.
//!
//! Some files of ModelNet40 have the numbers glued to the word: `OFF3514 3546 0`.

use std::path::Path;

use kernels::random::Key;
use rand::RngExt;

use super::Point;
use crate::error::Error;
use crate::files;

/// Triangles in space. Faces with more corners are cut into a fan.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh {
    /// The corners.
    pub vertices: Vec<[f64; 3]>,
    /// Three corners each, by number.
    pub triangles: Vec<[usize; 3]>,
}

impl Mesh {
    /// Reads an OFF file.
    ///
    /// # Errors
    /// If it is not one: which line, what is there, and what should be.
    pub fn read(path: &Path) -> Result<Mesh, Error> {
        let bytes = files::read_up_to(files::open(path)?, u64::MAX, path)?;
        if bytes.starts_with(b"OFF BINARY") {
            return Err(Error::unusable(path, "is a binary OFF file; only the text form is read"));
        }
        Mesh::parse(&String::from_utf8_lossy(&bytes), path)
    }

    /// Reads the text of an OFF file; `place` is for messages.
    ///
    /// # Errors
    /// As [`Mesh::read`].
    pub fn parse(text: &str, place: &Path) -> Result<Mesh, Error> {
        let bad = |line: usize, what: String| Error::unusable(place, format_args!("line {line}: {what}"));
        let total = text.lines().count();
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(i, line)| (i + 1, line.split('#').next().unwrap_or_default().trim()))
            .filter(|(_, line)| !line.is_empty());
        let Some((number, first)) = lines.next() else {
            return Err(Error::unusable(place, "is empty; an OFF mesh starts with the word OFF"));
        };
        let Some(rest) = first.strip_prefix("OFF") else {
            return Err(bad(number, format!("starts with {:?}, not with the word OFF", shortened(first))));
        };
        let counts = if rest.trim().is_empty() { lines.next() } else { Some((number, rest)) };
        let Some((number, counts)) = counts else {
            return Err(bad(number, "the numbers of vertices and faces should follow".into()));
        };
        let parsed: Option<Vec<usize>> = counts.split_whitespace().map(|n| n.parse().ok()).collect();
        let Some(&[vertex_count, face_count, ..]) = parsed.as_deref() else {
            let found = shortened(counts);
            return Err(bad(number, format!("{found:?} should be the numbers of vertices, faces and edges")));
        };
        let ended = |what: &str, at: usize, count: usize| {
            Error::unusable(
                place,
                format_args!("ends at line {total}, after {at} of {count} {what} (truncated?)"),
            )
        };

        let mut vertices = Vec::new();
        while vertices.len() < vertex_count {
            let Some((number, line)) = lines.next() else {
                return Err(ended("vertices", vertices.len(), vertex_count));
            };
            let mut numbers = line.split_whitespace().map(str::parse::<f64>);
            let mut next = || numbers.next().and_then(Result::ok).filter(|v| v.is_finite());
            match (next(), next(), next()) {
                (Some(x), Some(y), Some(z)) => vertices.push([x, y, z]),
                _ => {
                    let (found, i) = (shortened(line), vertices.len());
                    return Err(bad(number, format!("{found:?} should be vertex {i}: three finite numbers")));
                }
            }
        }
        let mut triangles = Vec::new();
        for face in 0..face_count {
            let Some((number, line)) = lines.next() else { return Err(ended("faces", face, face_count)) };
            let mut numbers = line.split_whitespace().map(|n| n.parse::<usize>().ok());
            let corners: Option<Vec<usize>> =
                numbers.next().flatten().and_then(|n| (0..n).map(|_| numbers.next().flatten()).collect());
            let Some(corners) = corners else {
                let found = shortened(line);
                return Err(bad(
                    number,
                    format!("{found:?} should be face {face}: a number n, then n numbers of vertices"),
                ));
            };
            if let Some(corner) = corners.iter().find(|&&c| c >= vertex_count) {
                return Err(bad(
                    number,
                    format!("face {face} has vertex {corner}, but there are {vertex_count}, from 0 on"),
                ));
            }
            // Points and edges, which some files have among the faces, have no area.
            triangles.extend(corners.windows(2).skip(1).map(|pair| [corners[0], pair[0], pair[1]]));
        }
        Ok(Mesh { vertices, triangles })
    }

    /// `count` points drawn uniformly by area; None if there is no area.
    pub(super) fn sample(&self, count: usize, key: Key) -> Option<Vec<Point>> {
        let corners = |t: &[usize; 3]| t.map(|i| self.vertices[i]);
        let mut sum = 0.0;
        let cumulated: Vec<f64> = self
            .triangles
            .iter()
            .map(|t| {
                let [a, b, c] = corners(t);
                let (u, v) = (minus(b, a), minus(c, a));
                let cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
                sum += cross.iter().map(|v| v * v).sum::<f64>().sqrt();
                sum
            })
            .collect();
        if sum <= 0.0 || !sum.is_finite() {
            return None;
        }
        let mut rng = key.rng(0);
        let draw = |_| {
            let at = rng.random::<f64>() * sum;
            let triangle = cumulated.partition_point(|&c| c <= at).min(self.triangles.len() - 1);
            let [a, b, c] = corners(&self.triangles[triangle]);
            // Uniform in the triangle: the square root makes the strips along its base equally likely by area.
            let (r, s) = (rng.random::<f64>().sqrt(), rng.random::<f64>());
            [0, 1, 2].map(|i| (1.0 - r) * a[i] + r * ((1.0 - s) * b[i] + s * c[i]))
        };
        Some((0..count).map(draw).collect())
    }
}

fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// The beginning of a line, for a message.
fn shortened(line: &str) -> String {
    line.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Mesh, Error> {
        Mesh::parse(text, Path::new("a.off"))
    }

    #[test]
    fn every_spelling_of_a_square() {
        let square = Mesh {
            vertices: vec![[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]],
            triangles: vec![[0, 1, 2], [0, 2, 3]],
        };
        let body = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3 255 0 0\n";
        for head in ["OFF\n4 1 0\n", "OFF4 1 0\n", "OFF 4 1 0\n", "# made by hand\nOFF\n\n4 1 0 # counts\n"] {
            assert_eq!(parse(&format!("{head}{body}")).unwrap(), square, "{head}");
        }
        assert_eq!(parse(&format!("OFF\n4 1 0\n{body}").replace('\n', "\r\n")).unwrap(), square);
    }

    #[test]
    fn mistakes_come_with_their_line() {
        for (text, part) in [
            ("", "is empty"),
            ("PLY\n", "line 1: starts with \"PLY\""),
            ("COFF\n1 0 0\n", "line 1: starts with \"COFF\""),
            ("OFF\n", "line 1: the numbers of vertices and faces should follow"),
            ("OFF\n3 x\n", "line 2: \"3 x\" should be the numbers"),
            ("OFF\n2 0 0\n0 0 0\n", "ends at line 3, after 1 of 2 vertices"),
            ("OFF\n1 0 0\n\n0 nan 0\n", "line 4: \"0 nan 0\" should be vertex 0"),
            ("OFF\n1 1 0\n0 0 0\n3 0 0\n", "line 4: \"3 0 0\" should be face 0"),
            ("OFF\n1 1 0\n0 0 0\n3 0 0 1\n", "line 4: face 0 has vertex 1, but there are 1"),
            ("OFF\n1 2 0\n0 0 0\n3 0 0 0\n", "ends at line 4, after 1 of 2 faces"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with("a.off: ") && message.contains(part), "{message}");
        }
    }

    #[test]
    fn points_are_spread_by_area() {
        // Two right triangles, one with nine times the area, at z = 0 and z = 1.
        let mesh = Mesh {
            vertices: vec![
                [0.0, 0.0, 0.0],
                [3.0, 0.0, 0.0],
                [0.0, 3.0, 0.0],
                [0.0, 0.0, 1.0],
                [1.0, 0.0, 1.0],
                [0.0, 1.0, 1.0],
            ],
            triangles: vec![[0, 1, 2], [3, 4, 5], [0, 0, 1]],
        };
        let points = mesh.sample(20_000, Key::new(3)).unwrap();
        let large = points.iter().filter(|p| p[2] == 0.0).count() as f64 / 20_000.0;
        assert!((large - 0.9).abs() < 0.01, "{large}");
        assert!(points.iter().all(|p| p[0] >= 0.0 && p[1] >= 0.0 && p[0] + p[1] <= 3.0 + 1e-12));
        // The mean over a triangle is its centroid.
        let mean = points.iter().filter(|p| p[2] == 0.0).map(|p| p[0]).sum::<f64>() / (20_000.0 * large);
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert_eq!(points, mesh.sample(20_000, Key::new(3)).unwrap());
        assert!(Mesh { triangles: vec![[0, 0, 1]], ..mesh }.sample(5, Key::new(3)).is_none());
    }
}
