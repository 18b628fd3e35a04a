//! Convolution as matrix products over one image at a time.

use super::Conv2d;
use crate::gemm::gemm;
use crate::par;
use crate::real::Element;

/// Calls `f` with the place in the column matrix (channel and tap) x (pixel) and the place in the image.
fn columns(s: &Conv2d, mut f: impl FnMut(usize, usize)) {
    let ([oh, ow], [h, w], [kh, kw]) = (s.output(), s.input, s.kernel);
    for r in 0..s.in_channels / s.groups * kh * kw {
        let (c, u, v) = (r / (kh * kw), r / kw % kh, r % kw);
        for i in 0..oh {
            let row = (s.stride[0] * i + s.dilation[0] * u).wrapping_sub(s.padding[0]);
            if row >= h {
                continue;
            }
            for j in 0..ow {
                let col = (s.stride[1] * j + s.dilation[1] * v).wrapping_sub(s.padding[1]);
                if col < w {
                    f((r * oh + i) * ow + j, (c * h + row) * w + col);
                }
            }
        }
    }
}

struct Sizes {
    /// Elements of one group of one image of x and of y, and of one group of w.
    x: usize,
    y: usize,
    w: usize,
    rows: usize,
    taps: usize,
    pixels: usize,
}

fn sizes(s: &Conv2d) -> Sizes {
    let [oh, ow] = s.output();
    let (rows, taps) = (s.out_channels / s.groups, s.in_channels / s.groups * s.kernel[0] * s.kernel[1]);
    let x = s.in_channels / s.groups * s.input[0] * s.input[1];
    Sizes { x, y: rows * oh * ow, w: rows * taps, rows, taps, pixels: oh * ow }
}

pub fn forward<T: Element>(s: &Conv2d, x: &[T], w: &[T], y: &mut [T]) {
    let z = sizes(s);
    if y.is_empty() {
        return;
    }
    par::chunks(y, z.y, |i, y| {
        let mut cols = vec![T::ZERO; z.taps * z.pixels];
        let x = &x[i * z.x..][..z.x];
        columns(s, |at, from| cols[at] = x[from]);
        gemm(
            z.rows,
            z.pixels,
            z.taps,
            T::ONE,
            &w[i % s.groups * z.w..][..z.w],
            false,
            &cols,
            false,
            T::ZERO,
            y,
        );
    });
}

pub fn grad_input<T: Element>(s: &Conv2d, y: &[T], w: &[T], x: &mut [T]) {
    let z = sizes(s);
    if x.is_empty() {
        return;
    }
    par::chunks(x, z.x, |i, x| {
        let mut cols = vec![T::ZERO; z.taps * z.pixels];
        let w = &w[i % s.groups * z.w..][..z.w];
        gemm(z.taps, z.pixels, z.rows, T::ONE, w, true, &y[i * z.y..][..z.y], false, T::ZERO, &mut cols);
        x.fill(T::ZERO);
        columns(s, |from, at| x[at] = x[at] + cols[from]);
    });
}

pub fn grad_weight<T: Element>(s: &Conv2d, x: &[T], y: &[T], w: &mut [T]) {
    let z = sizes(s);
    w.fill(T::ZERO);
    if w.is_empty() {
        return;
    }
    par::chunks(w, z.w, |g, w| {
        let mut cols = vec![T::ZERO; z.taps * z.pixels];
        for n in 0..s.batch {
            let i = n * s.groups + g;
            let x = &x[i * z.x..][..z.x];
            columns(s, |at, from| cols[at] = x[from]);
            gemm(z.rows, z.taps, z.pixels, T::ONE, &y[i * z.y..][..z.y], false, &cols, true, T::ONE, w);
        }
    });
}
