//! The registers of AVX2 and AVX-512.

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::{Vector, square};
use crate::real::Element;

/// 16 f32 or 8 f64.
#[derive(Clone, Copy)]
pub struct Avx512<T>(__m512, PhantomData<T>);
/// 8 f32 or 4 f64.
#[derive(Clone, Copy)]
pub struct Avx2<T>(__m256, PhantomData<T>);

#[inline(always)]
fn single<T>() -> bool {
    size_of::<T>() == 4
}

/// Both instruction sets differ in names only: the instructions for f32 | f64.
macro_rules! vector {
    ($name:ident, $lanes:literal, $pd:ident $ps:ident, $set:ident $setd:ident, $load:ident, $store:ident,
     $($op:ident $single:ident $double:ident),*; $fma:ident $fmad:ident; $zip:ident $max_abs:ident) => {
        impl<T: Element> Vector<T> for $name<T> {
            const LANES: usize = $lanes * 4 / size_of::<T>();
            #[inline(always)]
            unsafe fn splat(v: T) -> Self {
                // SAFETY: the caller's promise. The type of the same size is f32 or f64 itself.
                let register = unsafe {
                    if single::<T>() {
                        $set(std::mem::transmute_copy::<T, f32>(&v))
                    } else {
                        $ps($setd(std::mem::transmute_copy::<T, f64>(&v)))
                    }
                };
                $name(register, PhantomData)
            }
            #[inline(always)]
            unsafe fn load(p: *const T) -> Self {
                // SAFETY: the caller's promise.
                $name(unsafe { $load(p.cast()) }, PhantomData)
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut T) {
                // SAFETY: the caller's promise.
                unsafe { $store(p.cast(), self.0) }
            }
            $(
                #[inline(always)]
                fn $op(self, b: Self) -> Self {
                    // SAFETY: a value of this type exists, so the machine has the instructions.
                    let register = unsafe {
                        if single::<T>() { $single(self.0, b.0) } else { $ps($double($pd(self.0), $pd(b.0))) }
                    };
                    $name(register, PhantomData)
                }
            )*
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: as above.
                let register = unsafe {
                    if single::<T>() {
                        $fma(self.0, b.0, c.0)
                    } else {
                        $ps($fmad($pd(self.0), $pd(b.0), $pd(c.0)))
                    }
                };
                $name(register, PhantomData)
            }
            #[inline(always)]
            fn max_abs(self, b: Self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $max_abs::<T>(self.0, b.0) }, PhantomData)
            }
            #[inline(always)]
            fn zip(self, b: Self) -> (Self, Self) {
                // SAFETY: as above.
                let (low, high) = unsafe { $zip::<T>(self.0, b.0) };
                ($name(low, PhantomData), $name(high, PhantomData))
            }
            #[inline(always)]
            unsafe fn transpose(src: *const T, ld: usize, dst: *mut T, ldd: usize) {
                // SAFETY: the caller's promise.
                unsafe {
                    if single::<T>() {
                        square::<T, Self, $lanes>(src, ld, dst, ldd)
                    } else {
                        square::<T, Self, { $lanes / 2 }>(src, ld, dst, ldd)
                    }
                }
            }
        }
    };
}
vector!(Avx512, 16, _mm512_castps_pd _mm512_castpd_ps, _mm512_set1_ps _mm512_set1_pd, _mm512_loadu_ps, _mm512_storeu_ps,
    add _mm512_add_ps _mm512_add_pd, sub _mm512_sub_ps _mm512_sub_pd, mul _mm512_mul_ps _mm512_mul_pd;
    _mm512_fmadd_ps _mm512_fmadd_pd; zip512 max_abs512);
vector!(Avx2, 8, _mm256_castps_pd _mm256_castpd_ps, _mm256_set1_ps _mm256_set1_pd, _mm256_loadu_ps, _mm256_storeu_ps,
    add _mm256_add_ps _mm256_add_pd, sub _mm256_sub_ps _mm256_sub_pd, mul _mm256_mul_ps _mm256_mul_pd;
    _mm256_fmadd_ps _mm256_fmadd_pd; zip256 max_abs256);

#[inline]
#[target_feature(enable = "avx512f")]
fn zip512<T>(a: __m512, b: __m512) -> (__m512, __m512) {
    if single::<T>() {
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        (_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b))
    } else {
        let (low, high) =
            (_mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15));
        let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
        let (low, high) = (_mm512_permutex2var_pd(a, low, b), _mm512_permutex2var_pd(a, high, b));
        (_mm512_castpd_ps(low), _mm512_castpd_ps(high))
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn zip256<T>(a: __m256, b: __m256) -> (__m256, __m256) {
    // Unpacking works within 128-bit halves; the halves are put in order afterwards.
    let (low, high) = if single::<T>() {
        (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b))
    } else {
        let (a, b) = (_mm256_castps_pd(a), _mm256_castps_pd(b));
        (_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)))
    };
    (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high))
}

// Numbers that are not negative are in the order of their bits, and NaN comes after infinity.

#[inline]
#[target_feature(enable = "avx512f")]
fn max_abs512<T>(a: __m512, b: __m512) -> __m512 {
    let (a, b) = (_mm512_castps_si512(a), _mm512_castps_si512(b));
    _mm512_castsi512_ps(if single::<T>() {
        _mm512_max_epi32(a, _mm512_and_si512(b, _mm512_set1_epi32(i32::MAX)))
    } else {
        _mm512_max_epi64(a, _mm512_and_si512(b, _mm512_set1_epi64(i64::MAX)))
    })
}

#[inline]
#[target_feature(enable = "avx2")]
fn max_abs256<T>(a: __m256, b: __m256) -> __m256 {
    let (a, b) = (_mm256_castps_si256(a), _mm256_castps_si256(b));
    _mm256_castsi256_ps(if single::<T>() {
        _mm256_max_epi32(a, _mm256_and_si256(b, _mm256_set1_epi32(i32::MAX)))
    } else {
        let b = _mm256_and_si256(b, _mm256_set1_epi64x(i64::MAX));
        _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(b, a))
    })
}
