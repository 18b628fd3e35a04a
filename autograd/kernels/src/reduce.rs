//! Sums and extrema over axes, in a fixed order.
use crate::Element;
/// Sum (plain loops).
pub fn sum<T: Element>(x: &[T], dims: &[usize], axes: &[bool], out: &mut [T]) {
    out.fill(T::ZERO);
    for (i, &v) in x.iter().enumerate() {
        let (mut rest, mut o, mut stride) = (i, 0, 1);
        for a in (0..dims.len()).rev() {
            let k = rest % dims[a];
            rest /= dims[a];
            if !axes[a] {
                o += k * stride;
                stride *= dims[a];
            }
        }
        out[o] = out[o] + v;
    }
}
