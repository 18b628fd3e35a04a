//! Points on a sphere, or on a circle, with the edges of their convex hull drawn along the surface: what lies behind
//! shows faintly through.

use std::f64::consts::PI;

use super::{Colour, Fill, Picture, Shape};

const SIZE: f64 = 800.0;
const RADIUS: f64 = 350.0;
/// Beyond so many points no edges are drawn.
const MOST_EDGES: usize = 400;
/// Pieces of an edge.
const PIECES: usize = 48;

/// The sphere in its own colours, from the light to the rim.
const GLASS: [Colour; 3] = [[255, 255, 255], [226, 234, 245], [166, 184, 212]];
const EDGE: Colour = [38, 66, 110];
/// Points, and their antipodes in half-space.
const BALLS: [[Colour; 3]; 2] =
    [[[255, 226, 190], [233, 108, 44], [140, 40, 8]], [[222, 240, 255], [74, 142, 206], [20, 66, 122]]];

type Vector = [f64; 3];

/// A picture of points of length 1 in space; with `antipodes` those are drawn as well, in another colour.
pub fn of_sphere(points: &[Vector], antipodes: bool) -> Picture {
    let seen: Vec<Vector> = turned(points);
    let opposite = seen.iter().map(|p| p.map(|v| -v)).filter(|_| antipodes);
    let all: Vec<Vector> = seen.iter().copied().chain(opposite).collect();
    let edges = if all.len() <= MOST_EDGES { hull_edges(&all) } else { Vec::new() };
    let closest = closest(&all);
    let size = (0.12 * closest * RADIUS).clamp(2.5, 17.0);
    let width = (0.17 * size).clamp(0.8, 2.6);

    let mut shapes = Vec::new();
    let arcs: Vec<Vec<Vector>> = edges.iter().map(|&(i, j)| arc(all[i], all[j])).collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|&i, &j| all[i][2].total_cmp(&all[j][2]));
    let ball = |i: usize| {
        // Nearer points are a little larger, those behind as pale as through frosted glass.
        let radius = size * (1.0 + 0.18 * all[i][2]);
        let colours = BALLS[usize::from(i >= points.len())];
        let fill =
            Fill::Ball(if all[i][2] < 0.0 { colours.map(|c| mixed(c, GLASS[1], 0.7)) } else { colours });
        Shape::Disc { at: on_paper(all[i]), radius, fill, opacity: 1.0 }
    };
    // A shadow of the sphere's own shape gives it a ground.
    for (radius, opacity) in [(1.035, 0.05), (1.025, 0.06), (1.012, 0.08)] {
        let at = [SIZE / 2.0 + 5.0, SIZE / 2.0 + 8.0];
        let fill = Fill::Flat([60, 74, 100]);
        shapes.push(Shape::Disc { at, radius: radius * RADIUS, fill, opacity });
    }
    let centre = [SIZE / 2.0; 2];
    shapes.push(Shape::Disc { at: centre, radius: RADIUS, fill: Fill::Ball(GLASS), opacity: 1.0 });
    shapes.extend(arcs.iter().flat_map(|arc| visible(arc, false, width)));
    shapes.extend(order.iter().filter(|&&i| all[i][2] < 0.0).map(|&i| ball(i)));
    shapes.extend(arcs.iter().flat_map(|arc| visible(arc, true, width)));
    shapes.extend(order.iter().filter(|&&i| all[i][2] >= 0.0).map(|&i| ball(i)));
    Picture { size: [SIZE; 2], shapes }
}

/// A picture of points of length 1 in the plane, with the polygon that they span.
pub fn of_circle(points: &[[f64; 2]], antipodes: bool) -> Picture {
    let opposite = points.iter().map(|p| p.map(|v| -v)).filter(|_| antipodes);
    let all: Vec<[f64; 2]> = points.iter().copied().chain(opposite).collect();
    let place = |[x, y]: [f64; 2]| [SIZE / 2.0 + RADIUS * x, SIZE / 2.0 - RADIUS * y];
    let mut around: Vec<[f64; 2]> = all.clone();
    around.sort_by(|a, b| a[1].atan2(a[0]).total_cmp(&b[1].atan2(b[0])));
    around.extend(around.first().copied());
    let circle = (0..=240).map(|i| PI * f64::from(i) / 120.0).map(|t| place([t.cos(), t.sin()])).collect();
    let mut shapes = vec![
        Shape::Line { points: circle, width: 2.0, colour: GLASS[2], opacity: 1.0 },
        Shape::Line {
            points: around.into_iter().map(place).collect(),
            width: 2.0,
            colour: EDGE,
            opacity: 0.8,
        },
    ];
    let radius = (1.0 * RADIUS / all.len() as f64).clamp(2.5, 17.0);
    shapes.extend(all.iter().enumerate().map(|(i, &p)| {
        let fill = Fill::Ball(BALLS[usize::from(i >= points.len())]);
        Shape::Disc { at: place(p), radius, fill, opacity: 1.0 }
    }));
    Picture { size: [SIZE; 2], shapes }
}

/// A colour with a share of another.
fn mixed(a: Colour, b: Colour, share: f64) -> Colour {
    [0, 1, 2].map(|i| (f64::from(a[i]) + share * (f64::from(b[i]) - f64::from(a[i]))) as u8)
}

fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn scaled(a: Vector, factor: f64) -> Vector {
    a.map(|v| factor * v)
}

fn plus(a: Vector, b: Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

fn unit(a: Vector) -> Vector {
    scaled(a, 1.0 / dot(a, a).sqrt())
}

/// The points turned so that the first is at the top, leaning to the eye, with its nearest neighbour a little to the
/// right of the line towards the eye. The eye is at z = infinity, y is up.
fn turned(points: &[Vector]) -> Vec<Vector> {
    const LEAN: f64 = 0.42;
    const TURN: f64 = 0.2;
    let Some(&top) = points.first() else { return Vec::new() };
    let neighbour = points[1..].iter().copied().max_by(|a, b| dot(*a, top).total_cmp(&dot(*b, top)));
    // Any direction that is not the first point's will do where there is no neighbour.
    let across = |p: Vector| plus(p, scaled(top, -dot(p, top)));
    let forward = [neighbour.unwrap_or(top), [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
        .map(across)
        .into_iter()
        .find(|p| dot(*p, *p) > 1e-6)
        .map_or([0.0, 0.0, 1.0], unit);
    let right = cross(top, forward);
    let (sin, cos) = TURN.sin_cos();
    let (lean_sin, lean_cos) = LEAN.sin_cos();
    let seen = |p: &Vector| {
        let [x, y, z] = [dot(*p, right), dot(*p, top), dot(*p, forward)];
        let [x, z] = [x * cos + z * sin, z * cos - x * sin];
        [x, y * lean_cos - z * lean_sin, z * lean_cos + y * lean_sin]
    };
    points.iter().map(seen).collect()
}

fn on_paper(p: Vector) -> [f64; 2] {
    [SIZE / 2.0 + RADIUS * p[0], SIZE / 2.0 - RADIUS * p[1]]
}

/// The smallest distance of two points; of one point, 2.
fn closest(points: &[Vector]) -> f64 {
    let pairs = points.iter().enumerate().flat_map(|(i, a)| points[..i].iter().map(move |b| dot(*a, *b)));
    let largest = pairs.fold(-1.0, f64::max);
    (2.0 - 2.0 * largest).max(0.0).sqrt()
}

/// The edges of the convex hull: pairs that have all other points on one side of some plane through both. Seen along
/// the pair, the others span less than half a turn around it; a diagonal of a flat face has half a turn.
fn hull_edges(points: &[Vector]) -> Vec<(usize, usize)> {
    const FLAT: f64 = 1e-5;
    let mut edges = Vec::new();
    for j in 0..points.len() {
        for i in 0..j {
            let (a, b) = (points[i], points[j]);
            let middle = scaled(plus(a, b), 0.5);
            if dot(middle, middle) < 1e-10 {
                continue; // antipodes: no shortest arc
            }
            let outward = unit(middle);
            let side = unit(cross(outward, plus(b, scaled(a, -1.0))));
            let turns = points.iter().enumerate().filter(|(k, _)| *k != i && *k != j).map(|(_, p)| {
                let from = plus(*p, scaled(middle, -1.0));
                dot(from, side).atan2(-dot(from, outward))
            });
            let (low, high) =
                turns.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), t| (l.min(t), h.max(t)));
            if points.len() == 2 || high - low < PI - FLAT {
                edges.push((i, j));
            }
        }
    }
    edges
}

/// Points along the shortest arc between two points.
fn arc(a: Vector, b: Vector) -> Vec<Vector> {
    let angle = dot(a, b).clamp(-1.0, 1.0).acos();
    let at = |i: usize| {
        let t = i as f64 / PIECES as f64;
        let weights = [((1.0 - t) * angle).sin(), (t * angle).sin()];
        unit(plus(scaled(a, weights[0]), scaled(b, weights[1])))
    };
    (0..=PIECES).map(at).collect()
}

/// The part of an arc that is in front, or behind, up to the rim.
fn visible(arc: &[Vector], front: bool, width: f64) -> Option<Shape> {
    // A great circle's shorter arc crosses the rim at most once: the part is in one piece.
    let mut points = Vec::new();
    for (i, &p) in arc.iter().enumerate() {
        if let Some(&before) =
            i.checked_sub(1).and_then(|i| arc.get(i)).filter(|b| (b[2] >= 0.0) != (p[2] >= 0.0))
        {
            let rim = plus(scaled(before, p[2]), scaled(p, -before[2]));
            points.push(on_paper(unit(scaled(rim, if p[2] >= 0.0 { 1.0 } else { -1.0 }))));
        }
        if (p[2] >= 0.0) == front {
            points.push(on_paper(p));
        }
    }
    let opacity = if front { 0.85 } else { 0.22 };
    (points.len() > 1).then_some(Shape::Line { points, width, colour: EDGE, opacity })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(points: &[Vector]) -> usize {
        hull_edges(&points.iter().map(|p| unit(*p)).collect::<Vec<_>>()).len()
    }

    #[test]
    fn hulls_have_their_edges() {
        let octahedron = [
            [1.0, 0.0, 0.0],
            [-1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, -1.0, 0.0],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, -1.0],
        ];
        assert_eq!(edges(&octahedron), 12);
        let sign = |i: usize, bit: usize| if i >> bit & 1 == 1 { 1.0 } else { -1.0 };
        let cube: Vec<Vector> = (0..8).map(|i| [sign(i, 0), sign(i, 1), sign(i, 2)]).collect();
        assert_eq!(edges(&cube), 12, "no diagonals");
        let tetrahedron: Vec<Vector> = [0, 3, 5, 6].iter().map(|&i| cube[i]).collect();
        assert_eq!(edges(&tetrahedron), 6);
        let triangle = [[1.0, 0.0, 0.0], [-0.5, 0.75f64.sqrt(), 0.0], [-0.5, -(0.75f64.sqrt()), 0.0]];
        assert_eq!(edges(&triangle), 3);
        assert_eq!(edges(&triangle[..2]), 1);
        assert_eq!(edges(&triangle[..1]), 0);
    }

    #[test]
    fn arcs_are_cut_at_the_rim() {
        let half = arc([0.0, 0.6, 0.8], [0.6, 0.0, -0.8]);
        let ends = |front| match visible(&half, front, 1.0) {
            Some(Shape::Line { points, .. }) => [points[0], points[points.len() - 1]],
            other => panic!("{other:?}"),
        };
        let rim = on_paper(unit([0.6, 0.6, 0.0]));
        let near = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).abs() + (a[1] - b[1]).abs() < 1e-9;
        assert!(near(ends(true)[1], rim) && near(ends(false)[0], rim));
        assert!(visible(&arc([0.0, 0.6, 0.8], [0.6, 0.0, 0.8]), false, 1.0).is_none());
    }

    #[test]
    fn turning_keeps_lengths_and_angles() {
        let points = [[0.6, 0.8, 0.0], [0.0, 0.0, 1.0], [0.48, -0.6, 0.64]];
        let seen = turned(&points);
        for i in 0..3 {
            for j in 0..3 {
                assert!((dot(seen[i], seen[j]) - dot(points[i], points[j])).abs() < 1e-12);
            }
        }
        assert!(seen[0][1] > 0.9 && seen[0][2] > 0.0, "the first is on top, in front: {:?}", seen[0]);
        assert!(turned(&[]).is_empty() && turned(&points[..1]).len() == 1);
    }

    #[test]
    fn every_number_of_points_can_be_drawn() {
        let points: Vec<Vector> = (0..500)
            .map(|i| {
                let (z, t) = (1.0 - (2.0 * f64::from(i) + 1.0) / 500.0, 2.4 * f64::from(i));
                let r = (1.0 - z * z).sqrt();
                [r * t.cos(), r * t.sin(), z]
            })
            .collect();
        for n in [1, 2, 3, 30, 500] {
            let picture = of_sphere(&points[..n], false);
            let balls = |p: &Picture| p.shapes.iter().filter(|s| matches!(s, Shape::Disc { .. })).count() - 4;
            assert_eq!(balls(&picture), n);
            assert_eq!(balls(&of_sphere(&points[..n], true)), 2 * n);
        }
        assert_eq!(of_circle(&[[1.0, 0.0], [0.0, 1.0]], true).shapes.len(), 6);
    }
}
