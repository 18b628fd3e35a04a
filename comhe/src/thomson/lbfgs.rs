//! Minimising a smooth function of points on a sphere: L-BFGS with retraction.
//!
//! Gradients, steps and their history are kept in the tangent spaces: a step moves along the sphere's chord and
//! normalises again (the retraction), and older vectors are projected to the new tangent space (the transport).
//!
//! Sources: Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.4 (the two loops); Absil, Mahony and
//! Sepulchre, Optimization Algorithms on Matrix Manifolds, 2008, sections 4.1 and 8.1 (retraction, transport);
//! Hager and Zhang, SIAM J. Optim. 16, 2005 (the condition on slopes, where differences of values are below rounding).

use std::collections::VecDeque;

use crate::error::Error;

/// The number of stored steps.
const MEMORY: usize = 12;
/// The largest number of halvings of a step.
const HALVINGS: usize = 30;
/// The fraction of the predicted decrease that a step must reach.
const ENOUGH: f64 = 1e-4;
/// How far a point may move in one step, in radians or a little less.
const LONGEST: f64 = 0.5;

/// The result of a minimisation.
#[derive(Clone, Debug)]
pub(super) struct Minimum {
    /// The points, row by row, of length 1.
    pub x: Vec<f64>,
    /// The function there.
    pub value: f64,
    /// The largest element of the gradient, over the mean size of the function per point (at least 1).
    pub residual: f64,
}

/// A step s and the change y of the gradient along it.
struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    /// 1 / s . y
    rho: f64,
}

/// Minimises `f`, which gives value and gradient, over rows of length 1 in dimension `d`, from `x`, until the
/// residual is at most `tolerance`, nothing improves, or `steps` are done.
///
/// # Errors
/// What `f` returns.
pub(super) fn minimise(
    mut f: impl FnMut(&[f64]) -> Result<(f64, Vec<f64>), Error>,
    mut x: Vec<f64>,
    d: usize,
    steps: usize,
    tolerance: f64,
) -> Result<Minimum, Error> {
    normalise(&mut x, d);
    let points = (x.len() / d) as f64;
    let residual = |value: f64, g: &[f64]| largest(g) / (value.abs() / points).max(1.0);
    let (mut value, mut g) = f(&x)?;
    to_tangent(&x, &mut g, d);
    let mut memory: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    for _ in 0..steps {
        if residual(value, &g) <= tolerance {
            break;
        }
        let mut p = direction(&memory, &g);
        to_tangent(&x, &mut p, d);
        let mut slope = dot(&g, &p);
        if slope >= 0.0 {
            memory.clear();
            p = g.iter().map(|g| -g).collect();
            slope = -dot(&g, &g);
        }
        let reach = p.chunks_exact(d).map(|p| dot(p, p)).fold(0.0, f64::max).sqrt();
        // Without history the size of the gradient does not determine the length of the step.
        let mut t = if memory.is_empty() { 0.1 / reach } else { f64::min(1.0, LONGEST / reach) };
        let mut found = None;
        for _ in 0..HALVINGS {
            let mut trial: Vec<f64> = x.iter().zip(&p).map(|(x, p)| x + t * p).collect();
            normalise(&mut trial, d);
            let (v, mut g) = f(&trial)?;
            to_tangent(&trial, &mut g, d);
            // Near the minimum the decrease is below rounding errors; the slope is not.
            let flat = v <= value + 1e-13 * value.abs() && dot(&g, &p).abs() <= 0.9 * slope.abs();
            if v <= value + ENOUGH * t * slope || flat {
                found = Some((trial, v, g));
                break;
            }
            t *= 0.5;
        }
        let Some((next, v, next_g)) = found else {
            if memory.is_empty() {
                break;
            }
            memory.clear();
            continue;
        };
        let mut s: Vec<f64> = p.iter().map(|p| t * p).collect();
        to_tangent(&next, &mut s, d);
        to_tangent(&next, &mut g, d);
        let y: Vec<f64> = next_g.iter().zip(&g).map(|(a, b)| a - b).collect();
        let sy = dot(&s, &y);
        if sy > 1e-12 * (dot(&s, &s) * dot(&y, &y)).sqrt() {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back(Pair { s, y, rho: 1.0 / sy });
        }
        (x, value, g) = (next, v, next_g);
    }
    Ok(Minimum { residual: residual(value, &g), x, value })
}

/// -H g, where H is the approximation of the inverse Hessian by the pairs.
fn direction(memory: &VecDeque<Pair>, g: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = g.iter().map(|g| -g).collect();
    let mut along = Vec::with_capacity(memory.len());
    for pair in memory.iter().rev() {
        let a = pair.rho * dot(&pair.s, &q);
        add(&mut q, -a, &pair.y);
        along.push(a);
    }
    if let Some(last) = memory.back() {
        let scale = 1.0 / (last.rho * dot(&last.y, &last.y));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for (pair, a) in memory.iter().zip(along.into_iter().rev()) {
        let b = pair.rho * dot(&pair.y, &q);
        add(&mut q, a - b, &pair.s);
    }
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(x: &mut [f64], factor: f64, y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += factor * y);
}

fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// Rows to length 1.
fn normalise(x: &mut [f64], d: usize) {
    for row in x.chunks_exact_mut(d) {
        let norm = dot(row, row).sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    }
}

/// Removes from each row of `v` its part along the row of `x`.
fn to_tangent(x: &[f64], v: &mut [f64], d: usize) {
    for (x, v) in x.chunks_exact(d).zip(v.chunks_exact_mut(d)) {
        add(v, -dot(x, v), x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x' A x on the sphere has its minimum at A's lowest eigenvector.
    #[test]
    fn a_quadratic_form_ends_at_its_lowest_eigenvalue() {
        let a = [0.5, 1.0, 2.0, 4.0, 300.0];
        let f = |x: &[f64]| {
            let value = x.iter().zip(&a).map(|(x, a)| a * x * x).sum();
            Ok((value, x.iter().zip(&a).map(|(x, a)| 2.0 * a * x).collect()))
        };
        let found = minimise(f, vec![0.3, 1.0, -2.0, 1.0, 1.0], 5, 500, 1e-11).unwrap();
        assert!((found.value - 0.5).abs() < 1e-14, "{found:?}");
        assert!(found.residual <= 1e-11 && (found.x[0].abs() - 1.0).abs() < 1e-14);
        // A control: too few steps do not.
        let found = minimise(f, vec![0.3, 1.0, -2.0, 1.0, 1.0], 5, 3, 1e-11).unwrap();
        assert!(found.value > 0.5 + 1e-6 && found.residual > 1e-6);
    }
}
