//! Between planes, as tensors hold images, and pixels of one register of channels, as tiles want them.

use std::mem::MaybeUninit;

use crate::gemm::vector::Vector;
use crate::real::Element;
use crate::simd;

/// Copies rows `row..row + rows` of up to one register of channels into `to`, \[rows\]\[cols\]\[LANES\].
///
/// `from` holds `channels` planes of `image` pixels. What lies outside of them, including `left` columns before
/// the first, is 0. `most` becomes the largest magnitudes of some of the pixels each, if they exceed it.
///
/// # Safety
/// `to` must have room for rows x cols registers, and `cols` be at least `left` and the image's width; the
/// machine must have the instruction set of `V`.
#[inline(always)]
pub unsafe fn spread<T: Element, V: Vector<T>>(
    from: &[T],
    channels: usize,
    [h, w]: [usize; 2],
    (row, rows): (isize, usize),
    (left, cols): (usize, usize),
    to: *mut T,
    most: &mut V,
) {
    let (lanes, plane) = (V::LANES, h * w);
    let inside = |i: isize| i.clamp(0, h as isize) as usize;
    let (start, end) = (inside(row), inside(row + rows as isize));
    // SAFETY: the caller's promise; `start..end` are rows of the image, `first..` rows of `to`.
    unsafe {
        let zero = V::splat(T::ZERO);
        let first = if start < end { (start as isize - row) as usize } else { rows };
        for i in 0..rows {
            let border = i < first || i >= first + (end - start);
            for j in 0..cols {
                if border || j < left || j >= left + w {
                    zero.store(to.add((i * cols + j) * lanes));
                }
            }
        }
        if start >= end || w == 0 {
            return;
        }
        let from = &from[start * w..];
        let to = to.add((first * cols + left) * lanes);
        let pixels = (end - start) * w;
        let mut done = 0;
        if channels == lanes {
            let mut block = MaybeUninit::<[T; 16 * 16]>::uninit();
            let block = block.as_mut_ptr().cast::<T>();
            let (mut i, mut j) = (0, 0);
            while done + lanes <= pixels {
                for c in 0..lanes {
                    *most = most.max_abs(V::load(from.as_ptr().add(c * plane + done)));
                    // The next channels follow after these pixels have been transformed.
                    simd::prefetch(from.as_ptr().wrapping_add((lanes + c) * plane + done), 1);
                }
                if j + lanes <= w {
                    V::transpose(from.as_ptr().add(done), plane, to.add((i * cols + j) * lanes), lanes);
                    j += lanes;
                    if j == w {
                        (i, j) = (i + 1, 0);
                    }
                } else {
                    V::transpose(from.as_ptr().add(done), plane, block, lanes);
                    for p in 0..lanes {
                        V::load(block.add(p * lanes)).store(to.add((i * cols + j) * lanes));
                        j += 1;
                        if j == w {
                            (i, j) = (i + 1, 0);
                        }
                    }
                }
                done += lanes;
            }
        }
        for p in done..pixels {
            let to = to.add((p / w * cols + p % w) * lanes);
            for c in 0..lanes {
                *to.add(c) = if c < channels { from[c * plane + p] } else { T::ZERO };
            }
            *most = most.max_abs(V::load(to));
        }
    }
}

/// Copies `pixels` registers of up to one register of channels back to planes, `plane` apart, at `to`.
///
/// # Safety
/// `from` must hold the registers and `to` the pixels of every channel; the machine must have the instruction
/// set of `V`.
#[inline(always)]
pub unsafe fn collect<T: Element, V: Vector<T>>(
    from: *const T,
    channels: usize,
    pixels: usize,
    to: *mut T,
    plane: usize,
) {
    let lanes = V::LANES;
    let mut done = 0;
    // SAFETY: the caller's promise.
    unsafe {
        if channels == lanes {
            while done + lanes <= pixels {
                V::transpose(from.add(done * lanes), lanes, to.add(done), plane);
                done += lanes;
            }
        }
        for p in done..pixels {
            for c in 0..channels {
                *to.add(c * plane + p) = *from.add(p * lanes + c);
            }
        }
    }
}
