//! The definition of convolution as plain loops, the reference that the fast path is tested against.

use super::Conv2d;
use crate::real::Element;

/// Calls `f` with the indices (x, w, y) of every product in the sum.
fn products(s: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
    let ([oh, ow], [h, w], [kh, kw]) = (s.output(), s.input, s.kernel);
    let (cg, kg) = (s.in_channels / s.groups, s.out_channels / s.groups);
    for n in 0..s.batch {
        for k in 0..s.out_channels {
            for c in 0..cg {
                let channel = n * s.in_channels + k / kg * cg + c;
                for (u, v) in (0..kh).flat_map(|u| (0..kw).map(move |v| (u, v))) {
                    for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
                        let (row, col) =
                            (s.stride[0] * i + s.dilation[0] * u, s.stride[1] * j + s.dilation[1] * v);
                        // Outside the image, x is 0.
                        let (Some(row), Some(col)) =
                            (row.checked_sub(s.padding[0]), col.checked_sub(s.padding[1]))
                        else {
                            continue;
                        };
                        if row < h && col < w {
                            let y = ((n * s.out_channels + k) * oh + i) * ow + j;
                            f((channel * h + row) * w + col, ((k * cg + c) * kh + u) * kw + v, y);
                        }
                    }
                }
            }
        }
    }
}

/// y = the convolution of x with w.
pub fn forward<T: Element>(s: &Conv2d, x: &[T], w: &[T], y: &mut [T]) {
    y.fill(T::ZERO);
    products(s, |i, j, k| y[k] = y[k] + x[i] * w[j]);
}

/// x = the contraction of y and w.
pub fn grad_input<T: Element>(s: &Conv2d, y: &[T], w: &[T], x: &mut [T]) {
    x.fill(T::ZERO);
    products(s, |i, j, k| x[i] = x[i] + y[k] * w[j]);
}

/// w = the contraction of x and y.
pub fn grad_weight<T: Element>(s: &Conv2d, x: &[T], y: &[T], w: &mut [T]) {
    w.fill(T::ZERO);
    products(s, |i, j, k| w[j] = w[j] + x[i] * y[k]);
}
