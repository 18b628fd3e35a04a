//! `+=`, `-=`, `*=`, `/=`.

use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Sub, SubAssign};

use crate::tensor::Tensor;

macro_rules! assignments {
    ($($(#[$doc:meta])* $tr:ident $f:ident, $op:ident $call:ident;)*) => {$(
        $(#[$doc])*
        impl<R> $tr<R> for Tensor
        where
            for<'a> &'a Tensor: $op<R, Output = Tensor>,
        {
            #[track_caller]
            fn $f(&mut self, other: R) {
                let result = (&*self).$call(other);
                assert!(
                    result.shape() == self.shape(),
                    "{}: a tensor of shape {} cannot take a result of shape {}; the right operand must broadcast to it",
                    stringify!($f),
                    self.shape(),
                    result.shape()
                );
                *self = result;
            }
        }
    )*};
}
assignments! {
    /// `x += y` is `x = &x + y`: the variable holds the sum from then on, a recorded operation like any other. Clones
    /// of the old tensor keep its elements, and the gradient of a leaf belongs to a clone made before. To change the
    /// elements of a leaf, as an optimiser does, use [`Tensor::update`] or [`Tensor::assign`].
    ///
    /// `y` is a tensor, borrowed or owned, that broadcasts to the shape of `x`, or a number.
    ///
    /// ```
    /// use autograd::Tensor;
    /// let x = Tensor::from([1.0, 2.0]).requires_grad();
    /// let mut y = &x * &x;
    /// y += &x;
    /// y *= 3.0;
    /// let [dx] = y.sum(..).grad([&x]);
    /// assert_eq!(dx.to_vec::<f64>(), [9.0, 15.0]); // 3 (2 x + 1)
    /// ```
    ///
    /// # Panics
    /// If the dtypes differ, the shapes do not broadcast, or the result would have another shape than `x`.
    AddAssign add_assign, Add add;
    /// As `+=`.
    SubAssign sub_assign, Sub sub;
    /// As `+=`.
    MulAssign mul_assign, Mul mul;
    /// As `+=`.
    DivAssign div_assign, Div div;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn variables_are_rebound_and_handles_are_not() {
        let mut x = Tensor::from([4.0, 6.0]);
        let old = x.clone();
        x += Tensor::from([1.0, 1.0]);
        x -= &Tensor::from(2.0);
        x *= 2.0f32;
        x /= 3.0;
        assert_eq!(x.to_vec::<f64>(), [2.0, 10.0 / 3.0]);
        assert_eq!(old.to_vec::<f64>(), [4.0, 6.0]);
    }

    #[test]
    fn gradients_flow_through_assignments() {
        let x = Tensor::from([2.0f32, 3.0]).requires_grad();
        let mut y = x.clone();
        assert!(y.is_leaf());
        y *= &x;
        y /= 2.0;
        y -= &x;
        assert!(!y.is_leaf());
        let [dx] = y.sum(..).grad([&x]);
        assert_eq!(dx.to_vec::<f64>(), [1.0, 2.0]);
    }

    #[test]
    fn the_right_operand_broadcasts() {
        let mut x = Tensor::zeros([2, 2], DType::F64);
        x += &Tensor::from([1.0, 2.0]);
        assert_eq!(x.to_vec::<f64>(), [1.0, 2.0, 1.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "add_assign: a tensor of shape [2] cannot take a result of shape [3, 2]")]
    fn the_left_operand_does_not_grow() {
        let mut x = Tensor::zeros([2], DType::F64);
        x += Tensor::zeros([3, 2], DType::F64);
    }
}
