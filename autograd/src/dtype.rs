//! The two element types, and the dispatch from a runtime dtype to generic code.

use std::fmt;

use kernels::aligned::Aligned;

use crate::buffer::Storage;

/// The element type of a tensor. There are two; mixing them in one operation is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit floats: faster, for training.
    F32,
    /// 64-bit floats: more accurate, for gradient checks.
    F64,
}

impl DType {
    /// Bytes per element.
    pub fn bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F64 => 8,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
        })
    }
}

/// A type that a buffer can hold: f32, f64, or u32 for indices.
pub(crate) trait Stored: Copy + Send + Sync + 'static {
    /// The value that reused memory is filled with in checked builds, so that an element left unwritten is found.
    const POISON: Self;
    fn wrap(data: Aligned<Self>) -> Storage;
    fn memory(storage: &Storage) -> &Aligned<Self>;
    fn memory_mut(storage: &mut Storage) -> &mut Aligned<Self>;
}

/// A floating-point element of a tensor: f32 or f64.
#[allow(private_bounds)]
pub trait Scalar: kernels::Element + Stored {
    /// The runtime name of this type.
    const DTYPE: DType;
}

impl Scalar for f32 {
    const DTYPE: DType = DType::F32;
}
impl Scalar for f64 {
    const DTYPE: DType = DType::F64;
}

macro_rules! stored {
    ($t:ty, $variant:ident, $poison:expr) => {
        impl Stored for $t {
            const POISON: Self = $poison;
            fn wrap(data: Aligned<Self>) -> Storage {
                Storage::$variant(data)
            }
            #[inline]
            fn memory(storage: &Storage) -> &Aligned<Self> {
                match storage {
                    Storage::$variant(v) => v,
                    other => panic!("expected {} data, found {}", stringify!($t), other.name()),
                }
            }
            #[inline]
            fn memory_mut(storage: &mut Storage) -> &mut Aligned<Self> {
                match storage {
                    Storage::$variant(v) => v,
                    other => panic!("expected {} data, found {}", stringify!($t), other.name()),
                }
            }
        }
    };
}
stored!(f32, F32, f32::NAN);
stored!(f64, F64, f64::NAN);
stored!(u32, U32, u32::MAX);

/// Runs generic code for a runtime dtype: `dispatch!(dtype, T => expression)`.
macro_rules! dispatch {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::DType::F64 => {
                type $t = f64;
                $body
            }
        }
    };
}
pub(crate) use dispatch;
