//! Products over axes and along them. There is no division, so gradients of every order are correct with any number of
//! zeros.

use crate::axis::{Axes, Axis};
use crate::ops::pad::Padding;
use crate::ops::reduce::{reduction, sum_over};
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

/// # Products
impl Tensor {
    /// The product over `axes`; 1 over no elements. Neighbours are multiplied in pairs, then the products in pairs, so
    /// the error is that of log2 n roundings. A partial product may overflow or underflow where the whole does not.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from([2.0, 0.0, 5.0]).requires_grad();
    /// let y = x.prod(..);
    /// assert_eq!(y.item(), 0.0);
    /// assert_eq!(y.grad(&x).to_vec::<f64>(), [0.0, 10.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::sum`].
    #[track_caller]
    #[doc(alias = "product")]
    pub fn prod(&self, axes: impl Into<Axes>) -> Tensor {
        let r = reduction("prod", self, axes);
        let mut n = r.count();
        if n == 0 {
            return sum_over(r, self) + 1.0;
        }
        let (reduced, kept): (Vec<usize>, Vec<usize>) = (0..self.rank()).partition(|&axis| r.reduced[axis]);
        let order = [kept, reduced].concat();
        let x = if order.is_sorted() { self.clone() } else { self.permute(&order) };
        let outer = r.output.numel();
        let mut x = x.reshape([outer, n]);
        while n > 1 {
            if !n.is_multiple_of(2) {
                x = x.pad(&[(0, 1)], Padding::Constant(1.0));
            }
            n = n.div_ceil(2);
            let pairs = x.reshape([outer, n, 2]);
            x = pairs.select(2, 0) * pairs.select(2, 1);
        }
        x.reshape(r.output)
    }

    /// The running product along `axis`: element i of the result is the product of the elements 0 to i, with an error of
    /// at most log2 n + 1 roundings.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from([1.0, 2.0, 3.0, 4.0]);
    /// assert_eq!(x.cumprod(0).to_vec::<f64>(), [1.0, 2.0, 6.0, 24.0]);
    /// ```
    ///
    /// # Panics
    /// If `axis` is not an axis.
    #[track_caller]
    pub fn cumprod(&self, axis: impl Into<Axis>) -> Tensor {
        let axis = self.axis("cumprod", axis);
        let n = self.shape()[axis];
        // Hillis and Steele, Data parallel algorithms, 1986: each step doubles the number of factors.
        let (mut y, mut reach) = (self.clone(), 1);
        while reach < n {
            let rest = y.slice_axis(axis, reach..) * y.slice_axis(axis, ..n - reach);
            y = Tensor::concat(&[&y.slice_axis(axis, ..reach), &rest], axis);
            reach *= 2;
        }
        y
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = || Input::normal([2, 3, 4]);
    // Of as many zeros.
    let zeros = |n: usize| [Input::normal([3]), Input::uniform(0.0, 0.0, [n])];
    vec![
        Sample::new("prod", "all", [Input::normal([5])], |x| x[0].prod(..)),
        Sample::new("prod", "last", [x()], |x| x[0].prod(-1)),
        Sample::new("prod", "outer two, kept", [x()], |x| x[0].prod(crate::keep([0, 2]))),
        Sample::new("prod", "no axes", [x()], |x| x[0].prod(())),
        Sample::new("prod", "one element", [Input::normal([3, 1])], |x| x[0].prod(1)),
        Sample::new("prod", "no elements", [Input::normal([2, 0])], |x| x[0].prod(1)),
        Sample::new("prod", "times x", [x()], |x| x[0].prod(crate::keep(1)) * &x[0]),
        Sample::new("prod", "one zero", zeros(1), |x| Tensor::concat(&[&x[0], &x[1]], 0).prod(..)),
        Sample::new("prod", "two zeros", zeros(2), |x| Tensor::concat(&[&x[0], &x[1]], 0).prod(..)),
        Sample::new("cumprod", "last", [x()], |x| x[0].cumprod(-1)),
        Sample::new("cumprod", "middle", [x()], |x| x[0].cumprod(1)),
        Sample::new("cumprod", "one element", [Input::normal([1])], |x| x[0].cumprod(0)),
        Sample::new("cumprod", "no elements", [Input::normal([2, 0])], |x| x[0].cumprod(1)),
        Sample::new("cumprod", "two zeros", zeros(2), |x| Tensor::concat(&[&x[1], &x[0]], 0).cumprod(0)),
        Sample::new("cumprod", "times x", [Input::normal([5])], |x| x[0].cumprod(0) * &x[0]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, keep};

    /// The product of all elements but those at `without`.
    fn others(x: &[f64], without: &[usize]) -> f64 {
        x.iter().enumerate().filter(|(i, _)| !without.contains(i)).map(|(_, v)| v).product()
    }

    #[test]
    fn two_orders_are_products_of_the_others_with_any_number_of_zeros() {
        let lists: [&[f64]; 6] = [
            &[2.0, -3.0, 5.0, 7.0, 11.0],
            &[2.0, 0.0, 5.0, 7.0, 11.0],
            &[0.0, -3.0, 5.0, 0.0, 11.0],
            &[0.0, 0.0, 0.0],
            &[0.0],
            &[4.0, -0.0],
        ];
        for x in lists {
            let n = x.len();
            let leaf = Tensor::from(x).requires_grad();
            let y = leaf.prod(..);
            assert_eq!(y.item(), others(x, &[]));
            let d = y.recorded().grad(&leaf);
            for i in 0..n {
                assert_eq!(d.at(&[i]), others(x, &[i]), "{x:?}");
                let dd = d.select(0, i as isize).grad(&leaf).to_vec::<f64>();
                for (j, &dd) in dd.iter().enumerate() {
                    let exact = if i == j { 0.0 } else { others(x, &[i, j]) };
                    assert_eq!(dd, exact, "{x:?}, {i}, {j}");
                }
            }
            // The last running product is the product.
            let last = leaf.cumprod(0).select(0, -1);
            assert_eq!(last.item(), y.item());
            assert_eq!(last.grad(&leaf).to_vec::<f64>(), y.grad(&leaf).to_vec::<f64>());
        }
    }

    #[test]
    fn products_run_over_and_along_their_axes() {
        let x = Tensor::from([[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        assert_eq!(x.prod(1).to_vec::<f32>(), [6.0, 120.0]);
        assert_eq!(x.prod(0).to_vec::<f32>(), [4.0, 10.0, 18.0]);
        assert_eq!(*x.prod(keep([0, 1])).shape(), [1, 1]);
        assert_eq!(x.prod(..).item(), 720.0);
        assert_eq!(x.cumprod(0).to_vec::<f32>(), [1.0, 2.0, 3.0, 4.0, 10.0, 18.0]);
        assert_eq!(Tensor::zeros([2, 0], DType::F32).prod(1).to_vec::<f32>(), [1.0, 1.0]);
        assert_eq!(Tensor::scalar(3.0, DType::F32).prod(..).item(), 3.0);
    }

    #[test]
    fn nan_and_infinity_stay_in_their_row() {
        let x = Tensor::from([[f64::NAN, 2.0], [f64::INFINITY, 2.0], [3.0, 2.0]]).requires_grad();
        let y = x.prod(1);
        let found = y.to_vec::<f64>();
        assert!(found[0].is_nan() && found[1..] == [f64::INFINITY, 6.0], "{found:?}");
        let d = y.sum(..).grad(&x).to_vec::<f64>();
        assert!(d[1].is_nan() && d[0] == 2.0 && d[2..] == [2.0, f64::INFINITY, 2.0, 3.0], "{d:?}");
        let along = Tensor::from([2.0, 0.0, f64::INFINITY]).cumprod(0).to_vec::<f64>();
        assert!(along[..2] == [2.0, 0.0] && along[2].is_nan(), "{along:?}");
    }

    #[test]
    #[should_panic(expected = "cumprod: axis 1 is outside shape [3], which has 1 axes")]
    fn the_axis_exists() {
        let _ = Tensor::zeros([3], DType::F32).cumprod(1);
    }
}
