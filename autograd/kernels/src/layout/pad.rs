//! Padding, and its adjoint.

use super::{strides, zero};
use crate::real::Element;
use crate::{MAX_RANK, par};

/// The values of the border.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill<T> {
    /// This constant.
    Constant(T),
    /// The mirror image without the edge itself: c b | a b c | b a.
    Reflect,
    /// The nearest element: a a | a b c | c c.
    Replicate,
}

/// Pads `x` (shape `dims`) with `before[a]` elements in front of axis a and `after[a]` behind it; `out` has
/// `before[a] + dims[a] + after[a]` elements along axis a.
///
/// # Panics
/// If a slice does not have its shape's size, a reflection would need an element that the axis does not have
/// (padding of an axis of length n is at most n - 1), or there is nothing to replicate.
pub fn pad<T: Copy + Send + Sync>(
    x: &[T],
    dims: &[usize],
    before: &[usize],
    after: &[usize],
    fill: Fill<T>,
    out: &mut [T],
) {
    let plan = Plan::new(dims, before, after, &fill);
    plan.check(x.len(), out.len());
    par::chunks(out, plan.outer_len.max(1), |item, out| {
        let x = &x[item * plan.inner_len..][..plan.inner_len];
        plan.rows(|row, source| {
            let out = &mut out[row..row + plan.width];
            let Some(source) = source else {
                let Fill::Constant(v) = fill else { unreachable!("only a constant has no source") };
                return out.fill(v);
            };
            let (left, rest) = out.split_at_mut(plan.left);
            let (middle, right) = rest.split_at_mut(plan.length);
            middle.copy_from_slice(&x[source..source + plan.length]);
            match fill {
                Fill::Constant(v) => {
                    left.fill(v);
                    right.fill(v);
                }
                _ => {
                    let edges = left.iter_mut().chain(right);
                    edges.zip(plan.edges()).for_each(|(v, i)| *v = x[source + i]);
                }
            }
        });
    });
}

/// The adjoint of [`pad`]: each element of `g` (the padded shape) is added to the element of `out` (shape
/// `dims`) that it was copied from. The value of a constant border has no effect.
///
/// # Panics
/// As [`pad`].
pub fn pad_adjoint<T: Element>(
    g: &[T],
    dims: &[usize],
    before: &[usize],
    after: &[usize],
    fill: Fill<T>,
    out: &mut [T],
) {
    let plan = Plan::new(dims, before, after, &fill);
    plan.check(out.len(), g.len());
    if plan.inner_len == 0 {
        return;
    }
    if plan.outer_len == 0 {
        return zero(out);
    }
    par::chunks(out, plan.inner_len, |item, out| {
        out.fill(T::ZERO);
        let g = &g[item * plan.outer_len..][..plan.outer_len];
        plan.rows(|row, source| {
            let Some(source) = source else { return };
            let (left, rest) = g[row..row + plan.width].split_at(plan.left);
            let (middle, right) = rest.split_at(plan.length);
            let out = &mut out[source..source + plan.length];
            out.iter_mut().zip(middle).for_each(|(v, &g)| *v = *v + g);
            if !matches!(fill, Fill::Constant(_)) {
                left.iter().chain(right).zip(plan.edges()).for_each(|(&g, i)| out[i] = out[i] + g);
            }
        });
    });
}

/// Where every row (a run along the last axis) of a padded tensor comes from. The leading axes that are not
/// padded number independent items.
struct Plan {
    items: usize,
    /// Elements of an item before and after padding.
    inner_len: usize,
    outer_len: usize,
    /// The source index of every index along each axis of an item but the last, `None` in a constant border.
    sources: Vec<Vec<Option<usize>>>,
    strides: [usize; MAX_RANK],
    /// The last axis: padded length, left border, length, and the sources of both borders.
    width: usize,
    left: usize,
    length: usize,
    borders: Vec<Option<usize>>,
}

impl Plan {
    fn new<T>(dims: &[usize], before: &[usize], after: &[usize], fill: &Fill<T>) -> Plan {
        assert!(
            before.len() == dims.len() && after.len() == dims.len(),
            "pad: a number before and after each of the {} axes",
            dims.len()
        );
        if dims.is_empty() {
            return Plan::new(&[1], &[0], &[0], fill);
        }
        for a in 0..dims.len() {
            let (n, most) = (dims[a], before[a].max(after[a]));
            match fill {
                Fill::Constant(_) => {}
                Fill::Reflect => assert!(
                    most == 0 || most < n,
                    "pad: {most} elements beyond axis {a} of length {n} cannot be reflected"
                ),
                Fill::Replicate => assert!(most == 0 || n > 0, "pad: axis {a} has no element to replicate"),
            }
        }
        let last = dims.len() - 1;
        let padded = |a: usize| before[a] > 0 || after[a] > 0;
        let first = (0..last).find(|&a| padded(a)).unwrap_or(last);
        let source = |a: usize, i: usize| -> Option<usize> {
            let (i, n) = (i as isize - before[a] as isize, dims[a] as isize);
            let inside = match fill {
                Fill::Constant(_) => return (0..n).contains(&i).then_some(i as usize),
                Fill::Reflect if i < 0 => -i,
                Fill::Reflect if i >= n => 2 * (n - 1) - i,
                Fill::Reflect => i,
                Fill::Replicate => i.clamp(0, n - 1),
            };
            Some(inside as usize)
        };
        let size = |a: usize| before[a] + dims[a] + after[a];
        let border = (0..before[last]).chain(before[last] + dims[last]..size(last));
        Plan {
            items: dims[..first].iter().product(),
            inner_len: dims[first..].iter().product(),
            outer_len: (first..=last).map(size).product(),
            sources: (first..last).map(|a| (0..size(a)).map(|i| source(a, i)).collect()).collect(),
            strides: strides(&dims[first..]).0,
            width: size(last),
            left: before[last],
            length: dims[last],
            borders: border.map(|i| source(last, i)).collect(),
        }
    }

    fn check(&self, inner: usize, outer: usize) {
        assert_eq!(inner, self.items * self.inner_len, "pad: unpadded slice of the given shape");
        assert_eq!(outer, self.items * self.outer_len, "pad: padded slice of the given shape");
    }

    /// Calls `f(start of the row in the padded item, start of its source row)` for every row of an item.
    fn rows(&self, mut f: impl FnMut(usize, Option<usize>)) {
        let count: usize = self.sources.iter().map(Vec::len).product();
        for row in 0..count {
            let (mut rest, mut start) = (row, Some(0));
            for (sources, stride) in self.sources.iter().zip(&self.strides).rev() {
                let source = sources[rest % sources.len()];
                rest /= sources.len();
                start = start.zip(source).map(|(start, i)| start + i * stride);
            }
            f(row * self.width, start);
        }
    }

    /// The sources of the left and right border of a row; none of them is `None` unless the fill is constant.
    fn edges(&self) -> impl Iterator<Item = usize> {
        self.borders.iter().flatten().copied()
    }
}
