//! The op tables: a scalar function is one line with its value and its derivative.

/// `Name "name": |x, y| value; derivative;`, where y is the value.
macro_rules! unary_ops {
    ($($(#[$doc:meta])* $op:ident $name:literal: |$x:ident, $y:ident| $f:expr; $d:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $op;
        impl crate::kinds::elementwise::Unary for $op {
            const NAME: &'static str = $name;
            #[inline(always)]
            fn f<R: kernels::Real>(&self, $x: R) -> R {
                $f
            }
            #[inline(always)]
            #[allow(unused_variables)]
            fn d<R: kernels::Real>(&self, $x: R, $y: R) -> R {
                $d
            }
        }
    )*};
}

/// `Name "name": |a, b, y| value; derivative by a; derivative by b;`, where y is the value.
macro_rules! binary_ops {
    ($($(#[$doc:meta])* $op:ident $name:literal: |$a:ident, $b:ident, $y:ident| $f:expr; $da:expr; $db:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $op;
        impl crate::kinds::elementwise::Binary for $op {
            const NAME: &'static str = $name;
            #[inline(always)]
            fn f<R: kernels::Real>(&self, $a: R, $b: R) -> R {
                $f
            }
            #[inline(always)]
            #[allow(unused_variables)]
            fn da<R: kernels::Real>(&self, $a: R, $b: R, $y: R) -> R {
                $da
            }
            #[inline(always)]
            #[allow(unused_variables)]
            fn db<R: kernels::Real>(&self, $a: R, $b: R, $y: R) -> R {
                $db
            }
        }
    )*};
}

pub(crate) use {binary_ops, unary_ops};
