//! Elements by index: gather, index_select, take, and their adjoints, which add to the places read.

use crate::axis::Axis;
use crate::dtype::dispatch;
use crate::kinds::elementwise::same_dtype;
use crate::kinds::linear::{Linear, linear};
use crate::ops::index::Index;
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Two shapes, `from` and `to`, and the places in `from` that `to` is read from.
#[derive(Clone, Debug)]
struct Places {
    from: Shape,
    to: Shape,
    axis: usize,
    index: Index,
}

/// A pair of maps: one reads at `Places`, its adjoint adds there.
macro_rules! readers {
    ($($(#[$doc:meta])* $read:ident $name:literal, $add:ident $adjoint:literal:
        |$p:ident, $x:ident, $out:ident| $forward:expr; $backward:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        struct $read(Places);
        #[derive(Clone, Debug)]
        struct $add(Places);
        impl Linear for $read {
            type Adjoint = $add;
            const NAME: &'static str = $name;
            fn apply(&self, x: &Tensor) -> Tensor {
                let $p = &self.0;
                dispatch!(x.dtype(), T => Tensor::build::<T>($p.to, |$out| {
                    let $x = x.slice::<T>();
                    $forward;
                }))
            }
            fn adjoint(&self) -> $add {
                $add(self.0.clone())
            }
            fn kept_bytes(&self) -> usize {
                self.0.index.bytes()
            }
        }
        impl Linear for $add {
            type Adjoint = $read;
            const NAME: &'static str = $adjoint;
            fn apply(&self, x: &Tensor) -> Tensor {
                let $p = &self.0;
                dispatch!(x.dtype(), T => Tensor::build::<T>($p.from, |$out| {
                    let $x = x.slice::<T>();
                    $backward;
                }))
            }
            fn adjoint(&self) -> $read {
                $read(self.0.clone())
            }
            fn kept_bytes(&self) -> usize {
                self.0.index.bytes()
            }
        }
    )*};
}
readers! {
    /// One element along `axis` for each index, elementwise over the other axes.
    Gather "gather", ScatterAdd "scatter_add": |p, x, out|
        kernels::layout::gather(x, &p.from, p.axis, p.index.data(), p.index.shape(), out);
        kernels::layout::scatter_add(x, p.index.shape(), p.axis, p.index.data(), &p.from, out);
    /// One whole slab across `axis` for each index.
    IndexSelect "index_select", IndexAdd "index_add": |p, x, out|
        kernels::layout::index_select(x, &p.from, p.axis, p.index.data(), out);
        kernels::layout::index_add(x, p.axis, p.index.data(), &p.from, out);
    /// One element by its row-major position for each index.
    Take "take", PutAdd "put_add": |p, x, out|
        kernels::layout::take(x, p.index.data(), out);
        kernels::layout::put_add(x, p.index.data(), out);
}

/// The places of a gather from (or a scatter into) `shape`.
#[track_caller]
fn along(op: &str, x: &Tensor, axis: impl Into<Axis>, index: &Index) -> Places {
    let axis = x.axis(op, axis);
    let (from, to) = (*x.shape(), *index.shape());
    let fits = to.rank() == from.rank() && (0..from.rank()).all(|a| a == axis || to[a] <= from[a]);
    assert!(
        fits,
        "{op}: an index of shape {to} does not fit shape {from}: as many axes are needed, none longer but axis {axis}"
    );
    index.check(op, from[axis]);
    Places { from, to, axis, index: index.clone() }
}

/// The places of an index_select from (or an index_add into) `shape`.
#[track_caller]
fn slabs(op: &str, x: &Tensor, axis: impl Into<Axis>, index: &Index) -> Places {
    let axis = x.axis(op, axis);
    let from = *x.shape();
    index.check(op, from[axis]);
    let to = [&from[..axis], index.shape(), &from[axis + 1..]].concat();
    Places { from, to: Shape::new(&to), axis, index: index.clone() }
}

#[track_caller]
fn check_source(op: &str, x: &Tensor, source: &Tensor, needed: &Shape) {
    same_dtype(op, x, source);
    assert!(
        source.shape() == needed,
        "{op}: the source of shape {} must have shape {needed}, a number for each place",
        source.shape()
    );
}

/// # Elements by index
impl Tensor {
    /// For each entry of `index` one element along `axis`, elementwise over the other axes: `out[i, j] = self[i,
    /// index[i, j]]` for axis 1. `out` has the shape of the index.
    ///
    /// ```
    /// use autograd::{Index, Tensor};
    /// // The score of each row's label.
    /// let scores = Tensor::from([[0.1, 0.9], [0.7, 0.3]]);
    /// let labels = Index::from([1, 0]);
    /// assert_eq!(scores.gather(1, &labels.reshape([2, 1])).to_vec::<f64>(), [0.9, 0.7]);
    /// ```
    ///
    /// # Panics
    /// If the index has another number of axes, is longer than `self` along another axis, or names an element that does
    /// not exist.
    #[track_caller]
    pub fn gather(&self, axis: impl Into<Axis>, index: &Index) -> Tensor {
        linear(Gather(along("gather", self, axis, index)), self)
    }

    /// `self` plus each element of `source` at the place that [`Tensor::gather`] reads for it. Elements with the same
    /// place are added in order.
    ///
    /// # Panics
    /// As [`Tensor::gather`], or if `source` does not have the dtype of `self` and the shape of the index.
    #[track_caller]
    pub fn scatter_add(&self, axis: impl Into<Axis>, index: &Index, source: &Tensor) -> Tensor {
        let places = along("scatter_add", self, axis, index);
        check_source("scatter_add", self, source, &places.to);
        self + linear(ScatterAdd(places), source)
    }

    /// The slabs of `axis` that `index` names: `out[i, j, k] = self[i, index[j], k]` for axis 1. An index of
    /// several axes puts all of them in the place of `axis`; with axis 0 of a table this is an embedding.
    ///
    /// # Panics
    /// If `axis` is not an axis, an index is not below its size, or the result would have more than six axes.
    #[track_caller]
    pub fn index_select(&self, axis: impl Into<Axis>, index: &Index) -> Tensor {
        linear(IndexSelect(slabs("index_select", self, axis, index)), self)
    }

    /// `self` plus each slab of `source` at the slab that [`Tensor::index_select`] reads for it. Slabs with the same
    /// place are added in order.
    ///
    /// # Panics
    /// As [`Tensor::index_select`], or if `source` does not have the dtype of `self` and the shape of its result.
    #[track_caller]
    pub fn index_add(&self, axis: impl Into<Axis>, index: &Index, source: &Tensor) -> Tensor {
        let places = slabs("index_add", self, axis, index);
        check_source("index_add", self, source, &places.to);
        self + linear(IndexAdd(places), source)
    }

    /// The elements at the given row-major positions, in the shape of the index.
    ///
    /// # Panics
    /// If a position is not below the number of elements.
    #[track_caller]
    pub fn take(&self, index: &Index) -> Tensor {
        index.check("take", self.numel());
        let places = Places { from: *self.shape(), to: *index.shape(), axis: 0, index: index.clone() };
        linear(Take(places), self)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = || Input::normal([3, 4, 2]);
    let source = || Input::normal([2, 3, 2]);
    let colliding = || Index::new(&[0, 3, 3, 3, 1, 0, 0, 3, 2, 2, 2, 3], [2, 3, 2]);
    let first = || Index::new(&[2, 0, 0, 2, 2, 2, 1, 1], [4, 2, 1]);
    let nothing = || Index::new(&[0; 0], [0, 4, 2]);
    vec![
        Sample::new("gather", "colliding", [x()], move |x| x[0].gather(1, &colliding())),
        Sample::new("gather", "first axis", [x()], move |x| x[0].gather(0, &first())),
        Sample::new("gather", "last axis", [Input::normal([2, 4])], |x| {
            x[0].gather(-1, &Index::new(&[3, 3, 0, 1, 1, 1], [2, 3]))
        }),
        Sample::new("gather", "nothing", [x()], move |x| x[0].gather(0, &nothing())),
        Sample::new("gather", "from nothing", [Input::normal([0, 4])], |x| {
            x[0].gather(1, &Index::new(&[0; 0], [0, 2]))
        }),
        Sample::new("scatter_add", "colliding", [x(), source()], move |x| {
            x[0].scatter_add(1, &colliding(), &x[1])
        }),
        Sample::new("scatter_add", "nothing", [x(), Input::normal([0, 4, 2])], move |x| {
            x[0].scatter_add(0, &nothing(), &x[1])
        }),
        Sample::new("scatter_add", "a part of itself", [Input::normal([4])], |x| {
            x[0].scatter_add(0, &Index::from([1, 1]), &(x[0].slice_axis(0, ..2) * x[0].select(0, 3)))
        }),
        Sample::new("index_select", "rows", [x()], |x| x[0].index_select(0, &Index::from([2, 0, 2, 2]))),
        Sample::new("index_select", "middle", [x()], |x| x[0].index_select(1, &Index::from([3, 3]))),
        Sample::new("index_select", "an index of two axes", [x()], |x| {
            x[0].index_select(0, &Index::new(&[0, 1, 1, 1], [2, 2]))
        }),
        Sample::new("index_select", "a scalar index", [x()], |x| {
            x[0].index_select(-1, &Index::new(&[1], []))
        }),
        Sample::new("index_select", "nothing", [x()], |x| x[0].index_select(1, &Index::from([0u8; 0]))),
        Sample::new("index_add", "colliding", [x(), Input::normal([3, 3, 2])], |x| {
            x[0].index_add(1, &Index::from([2, 0, 2]), &x[1])
        }),
        Sample::new("take", "colliding", [x()], |x| x[0].take(&Index::new(&[23, 0, 5, 23], [2, 2]))),
        Sample::new("take", "nothing", [Input::normal([0])], |x| x[0].take(&Index::from([0u8; 0]))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn scattering_adds_where_gathering_reads() {
        let zero = Tensor::zeros([2, 3], DType::F32);
        let index = Index::new(&[2, 2, 0, 1], [2, 2]);
        let y = zero.scatter_add(1, &index, &Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]));
        assert_eq!(y.to_vec::<f32>(), [0.0, 0.0, 3.0, 3.0, 4.0, 0.0]);
        assert_eq!(y.gather(1, &index).to_vec::<f32>(), [3.0, 3.0, 3.0, 4.0]);
        let y = zero.index_add(1, &Index::from([1, 1]), &Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]));
        assert_eq!(y.to_vec::<f32>(), [0.0, 3.0, 0.0, 0.0, 7.0, 0.0]);
        assert_eq!(y.index_select(1, &Index::from([1])).to_vec::<f32>(), [3.0, 7.0]);
        assert_eq!(y.take(&Index::from([4, 0])).to_vec::<f32>(), [7.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "gather: index 3 at position 2 is not below 3")]
    fn a_gathered_element_exists() {
        let _ = Tensor::zeros([1, 3], DType::F32).gather(1, &Index::new(&[0, 1, 3], [1, 3]));
    }

    #[test]
    #[should_panic(expected = "gather: an index of shape [2, 1] does not fit shape [1, 3]")]
    fn a_gather_index_fits() {
        let _ = Tensor::zeros([1, 3], DType::F32).gather(1, &Index::new(&[0, 0], [2, 1]));
    }

    #[test]
    #[should_panic(
        expected = "scatter_add: the source of shape [2] must have shape [1], a number for each place"
    )]
    fn each_place_gets_a_number() {
        let x = Tensor::zeros([3], DType::F32);
        let _ = x.scatter_add(0, &Index::from([1]), &Tensor::zeros([2], DType::F32));
    }

    #[test]
    #[should_panic(expected = "index_select: index 4 at position 0 is not below 3")]
    fn a_selected_slab_exists() {
        let _ = Tensor::zeros([3, 2], DType::F32).index_select(0, &Index::from([4]));
    }

    #[test]
    #[should_panic(expected = "take: index 6 at position 0 is not below 6")]
    fn a_taken_element_exists() {
        let _ = Tensor::zeros([3, 2], DType::F32).take(&Index::from([6]));
    }
}
