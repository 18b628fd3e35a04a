//! One strip of a matrix product: packs the operand of the shorter side, then computes the result piece by piece
//! along the longer one.
//!
//! A piece packs its own part of the longer operand, a slab of the sum at a time, so that it never leaves the
//! second-level cache; nothing is packed twice. The cut into pieces does not change a bit of the result: every element
//! is the same sum in the same order.

use std::ops::Range;

use super::pack::{self, Source};
use super::vector::{self, TileKernel, Vector};
use super::{DEPTH, scratch, tile};
use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd::Level;

/// Products of fewer multiply-adds than this are done by the calling thread alone.
pub const SMALL: usize = 80 * 80 * 80;
/// Numbers that a piece of work packs, about.
const PACK: usize = 8192;
/// Bytes of an operand that fit in the second-level cache, together with as many of the other.
const CACHED: usize = 1 << 17;
/// Up to this many columns a left operand whose rows are contiguous is read where it lies: packing it would take as
/// long as a good part of the product.
const FEW: usize = 128;
/// The least number of pieces per thread: it keeps the imbalance at the end small.
const PIECES: usize = 8;

/// c = alpha a b + beta c with an m x k and a k x n operand, rows of c being `ldc` apart.
#[derive(Clone, Copy)]
pub struct Strip<T> {
    /// m, n and k.
    pub size: [usize; 3],
    /// alpha and beta.
    pub scale: [T; 2],
    /// The left operand.
    pub a: Source<T>,
    /// The right operand.
    pub b: Source<T>,
    /// The first number of the result.
    pub c: *mut T,
    /// Numbers from one row of the result to the next.
    pub ldc: usize,
    /// The column of the diagonal in the first row, if tiles that lie wholly to its left may be left out.
    pub diagonal: Option<isize>,
}

// SAFETY: the pointers are followed by unsafe methods alone, whose callers promise that pieces are disjoint.
unsafe impl<T: Sync> Sync for Strip<T> {}

impl<T: Element> Strip<T> {
    /// Computes the strip with the instructions of `level`.
    ///
    /// # Safety
    /// The operands and the result must hold their matrices, and the machine must have the instructions.
    pub unsafe fn run(&self, level: Level) {
        let ([m, n, k], (rows, cols)) = (self.size, vector::tile::<T>(level));
        let (lefts, rights) = ((m.div_ceil(rows), rows), (n.div_ceil(cols), cols));
        let ((short, narrow), (long, wide)) = if self.across() { (lefts, rights) } else { (rights, lefts) };
        let depth = DEPTH.min(k);
        let job = |what, panels: Range<usize>, shared: *mut T, own: *mut T| {
            // SAFETY: the memory holds all panels of the shorter side. The rest is the caller's promise.
            unsafe { vector::dispatch(level, Job { strip: self, what, panels, shared, own }) }
        };
        if m * n * k < SMALL {
            return scratch::with(short * narrow * k + long * wide * depth, |memory: &mut [T]| {
                let (shared, own) = memory.split_at_mut(short * narrow * k);
                job(What::Both, 0..long, shared.as_mut_ptr(), own.as_mut_ptr());
            });
        }
        let cached = CACHED / size_of::<T>() / (wide * depth);
        let count = cached.min(long.div_ceil(PIECES * par::threads())).max(1);
        scratch::with(short * narrow * k, |memory: &mut [T]| {
            let shared = Shared::new(memory);
            let few = (PACK / (narrow * k)).max(1);
            par::run(short.div_ceil(few), |i| {
                let panels = i * few..short.min((i + 1) * few);
                // SAFETY: the start of the memory.
                job(What::Pack, panels, unsafe { shared.at(0) }, std::ptr::null_mut());
            });
            let pieces = long.div_ceil(count);
            par::run(pieces, |i| {
                scratch::with(count * wide * depth, |own: &mut [T]| {
                    // The last columns first: where tiles are left out, they have the most.
                    let i = pieces - 1 - i;
                    let panels = i * count..long.min((i + 1) * count);
                    // SAFETY: as above.
                    job(What::Multiply, panels, unsafe { shared.at(0) }, own.as_mut_ptr());
                });
            });
        });
    }

    /// Whether columns are cut, not rows.
    fn across(&self) -> bool {
        self.size[1] >= self.size[0]
    }

    /// Whether rows are cut, and the left operand is not packed.
    fn direct(&self) -> bool {
        !self.across() && self.a.depth == 1 && self.size[1] <= FEW
    }
}

/// A piece of work on panels of one side.
struct Job<'a, T> {
    strip: &'a Strip<T>,
    what: What,
    /// Panels of the shorter side to pack, or of the longer one to compute.
    panels: Range<usize>,
    /// Where all panels of the shorter side are packed.
    shared: *mut T,
    /// Where a slab of this piece's panels of the longer side is packed.
    own: *mut T,
}

#[derive(Clone, Copy)]
enum What {
    /// Packs panels of the shorter side.
    Pack,
    /// Packs panels of the longer side and multiplies them with all of the shorter one.
    Multiply,
    /// All of the one and then the other.
    Both,
}

impl<T: Element> TileKernel<T> for Job<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>, const R: usize>(self) {
        let Job { strip, what, panels, shared, own } = self;
        let [m, n, _] = strip.size;
        let (lefts, rights) = (m.div_ceil(R), n.div_ceil(2 * V::LANES));
        let short = if strip.across() { lefts } else { rights };
        let width = if strip.across() { R } else { 2 * V::LANES };
        // SAFETY: inherited.
        unsafe {
            let pack = match what {
                What::Pack => panels.clone(),
                What::Multiply => 0..0,
                What::Both => 0..short,
            };
            if !pack.is_empty() {
                for slab in strip.slabs() {
                    let to = shared.add(slab.start * short * width + pack.start * slab.len() * width);
                    strip.pack::<V, R>(strip.across(), pack.clone(), slab, to);
                }
            }
            if let What::Pack = what {
                return;
            }
            let mut beta = strip.scale[1];
            for slab in strip.slabs() {
                let depth = slab.len();
                let all = shared.add(slab.start * short * width);
                if !strip.direct() {
                    strip.pack::<V, R>(!strip.across(), panels.clone(), slab.clone(), own);
                }
                // Panels are found by their number from the first of all on.
                let packed = |at| Lefts { at, panel: depth * R, line: 1, step: R };
                let (a, b, lefts, rights) = if strip.across() {
                    let first = own.wrapping_sub(panels.start * depth * 2 * V::LANES);
                    (packed(all), first, 0..lefts, panels.clone())
                } else if strip.direct() {
                    let Source { at, line, .. } = strip.a.skip(0, slab.start);
                    (Lefts { at, panel: R * line, line, step: 1 }, all, panels.clone(), 0..rights)
                } else {
                    let first = own.wrapping_sub(panels.start * depth * R);
                    (packed(first), all, panels.clone(), 0..rights)
                };
                strip.multiply::<V, R>(a, b, depth, beta, lefts, rights);
                beta = T::ONE;
            }
        }
    }
}

/// Panels of the left operand, packed or where they lie.
#[derive(Clone, Copy)]
struct Lefts<T> {
    /// The first number of panel 0.
    at: *const T,
    /// Numbers from one panel to the next, from one row of a panel to the next, and from one step of the sum to the
    /// next.
    panel: usize,
    line: usize,
    step: usize,
}

impl<T: Element> Strip<T> {
    /// The steps of the sum between two visits to the result; at least one slab, so that a sum of nothing is written.
    #[inline(always)]
    fn slabs(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let k = self.size[2];
        (0..k.max(1)).step_by(DEPTH).map(move |from| from..k.min(from + DEPTH))
    }

    /// Packs panels of the left operand or of the right one, one slab deep, one after another.
    #[inline(always)]
    unsafe fn pack<V: Vector<T>, const R: usize>(
        &self,
        left: bool,
        panels: Range<usize>,
        slab: Range<usize>,
        to: *mut T,
    ) {
        let ([m, n, _], (k, wide)) = (self.size, (slab.len(), 2 * V::LANES));
        // SAFETY: inherited.
        unsafe {
            if left {
                for (at, i) in panels.enumerate() {
                    let from = self.a.skip(i * R, slab.start);
                    pack::left::<T, V, R>(from, R.min(m - i * R), k, to.add(at * R * k));
                }
            } else {
                let from = self.b.skip(panels.start * wide, slab.start);
                let lines = n.min(panels.end * wide) - panels.start * wide;
                pack::rights::<T, V>(from, lines, k, to);
            }
        }
    }

    /// A block of the result from packed panels, one slab deep.
    #[inline(always)]
    unsafe fn multiply<V: Vector<T>, const R: usize>(
        &self,
        a: Lefts<T>,
        b: *const T,
        depth: usize,
        beta: T,
        lefts: Range<usize>,
        rights: Range<usize>,
    ) {
        let Strip { size: [m, n, _], scale: [alpha, _], ldc, diagonal, .. } = *self;
        let wide = 2 * V::LANES;
        let left_out = |i, j| diagonal.is_some_and(|at| (j * wide + wide) as isize <= (i * R) as isize + at);
        // As many rows as fit in the second-level cache for all columns; a panel of columns fits in the first-level
        // one.
        let high = const { CACHED / size_of::<T>() / (R * DEPTH) };
        let mut top = lefts.start;
        while top < lefts.end {
            let lefts = top..lefts.end.min(top + high);
            top += high;
            for j in rights.clone() {
                let cols = wide.min(n - j * wide);
                for i in lefts.clone() {
                    if left_out(i, j) {
                        continue;
                    }
                    let (lines, scale) = (R.min(m - i * R), [alpha, beta]);
                    let (size, step) = ([lines, cols], a.step);
                    // SAFETY: inherited; packed panels hold `depth` steps.
                    unsafe {
                        let a = tile::first_rows(a.at.wrapping_add(i * a.panel), a.line, lines);
                        let b = b.wrapping_add(j * depth * wide);
                        let c = self.c.add(i * R * ldc + j * wide);
                        if cols <= V::LANES {
                            block::<T, V, R, 1>(depth, a, step, b, scale, size, c, ldc);
                        } else {
                            block::<T, V, R, 2>(depth, a, step, b, scale, size, c, ldc);
                        }
                    }
                }
            }
        }
    }
}

/// One tile of the result from a panel of each operand.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn block<T: Element, V: Vector<T>, const R: usize, const W: usize>(
    k: usize,
    a: [*const T; R],
    step: usize,
    b: *const T,
    scale: [T; 2],
    size: [usize; 2],
    c: *mut T,
    ldc: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = tile::zero::<T, V, R, W>();
        tile::accumulate(&mut sum, k, a, [0, step], b, W * V::LANES);
        tile::blend(&mut sum, scale, size, c, ldc);
    }
}
