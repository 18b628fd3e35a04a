//! The sign of activations and of weights, with a straight-through gradient.

use autograd::{Custom, DType, Scalar, Shape, Tensor, custom};

use crate::error::Error;
use crate::layers::misfit;
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// sign v, with sign 0 = +1; NaN remains NaN, so that a network that diverges is noticed.
fn hard(v: f64) -> f64 {
    if v >= 0.0 {
        1.0
    } else if v < 0.0 {
        -1.0
    } else {
        v
    }
}

/// The straight-through derivative: 1 where |v| <= 1, else 0.
fn window(v: f64) -> f64 {
    f64::from(v.abs() <= 1.0)
}

/// `f(x + o)` for each offset o, in a new second axis.
fn sliced(x: &Tensor, offsets: &[f64], f: impl Fn(f64) -> f64) -> Tensor {
    match x.dtype() {
        DType::F32 => sliced_as::<f32>(x, offsets, f),
        DType::F64 => sliced_as::<f64>(x, offsets, f),
    }
}

fn sliced_as<T: Scalar>(x: &Tensor, offsets: &[f64], f: impl Fn(f64) -> f64) -> Tensor {
    let mut dims = x.shape().to_vec();
    dims.insert(1, offsets.len());
    let item = x.shape()[1..].iter().product::<usize>();
    Tensor::build::<T>(Shape::new(&dims), |out| {
        if item == 0 {
            return;
        }
        let slices = out.chunks_exact_mut(item).enumerate();
        for (i, slice) in slices {
            let (n, offset) = (i / offsets.len(), offsets[i % offsets.len()]);
            let x = &x.data::<T>()[n * item..][..item];
            for (y, x) in slice.iter_mut().zip(x) {
                *y = T::from_f64(f(x.to_f64() + offset));
            }
        }
    })
}

/// `f` of each element, outside every graph.
fn each(x: &Tensor, f: impl Fn(f64) -> f64) -> Tensor {
    sliced(&x.detach().reshape([1, x.numel()]), &[0.0], f).reshape(*x.shape())
}

/// [N, ...] to [N, S, ...], a slice for each offset.
#[derive(Debug)]
struct Slices(Vec<f64>);

impl Custom for Slices {
    const NAME: &'static str = "multi_sign";

    fn forward(&self, x: &[Tensor]) -> Tensor {
        sliced(&x[0], &self.0, hard)
    }

    fn gradient(&self, x: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some((g * sliced(&x[0].detach(), &self.0, window)).sum(1))]
    }
}

/// The sign of each element, with sign 0 = +1, and the straight-through gradient g 1\[|x| <= 1\] (Hubara et al. 2016,
/// arXiv 1602.02830, eq. 4). PyTorch's sign of 0 is 0.
///
/// ```
/// use autograd::Tensor;
/// let x = Tensor::from([-2.0, -1.0, 0.0, 0.5, 1.1]).requires_grad();
/// let y = nn::binary::sign(&x);
/// assert_eq!(y.to_vec::<f64>(), [-1.0, -1.0, 1.0, 1.0, 1.0]);
/// assert_eq!(y.sum(..).backward()[&x].to_vec::<f64>(), [0.0, 1.0, 1.0, 1.0, 0.0]);
/// ```
#[track_caller]
pub fn sign(x: &Tensor) -> Tensor {
    custom(Slices(vec![0.0]), &[&x.reshape([1, x.numel()])]).reshape(*x.shape())
}

/// The first factor of a binary weight: inputs are the weight W and the temperature T.
#[derive(Debug)]
pub(super) struct Binarise {
    /// sign W if true, else clip(W / T, -1, 1).
    pub hard: bool,
}

impl Custom for Binarise {
    const NAME: &'static str = "binarise";

    fn forward(&self, x: &[Tensor]) -> Tensor {
        match self.hard {
            true => each(&x[0], hard),
            false => (&x[0] / &x[1]).clamp(-1.0, 1.0),
        }
    }

    /// 1\[|W| <= 1\] for every temperature.
    fn gradient(&self, x: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(g * each(&x[0], window)), None]
    }
}

/// clip(x, -1, 1), with derivative 1 at both ends.
#[derive(Debug)]
pub(super) struct ClosedClip;

impl Custom for ClosedClip {
    const NAME: &'static str = "closed_clip";

    fn forward(&self, x: &[Tensor]) -> Tensor {
        x[0].clamp(-1.0, 1.0)
    }

    fn gradient(&self, x: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(g * each(&x[0], window))]
    }
}

/// The offsets of S slices: i / (h + 1) for i = -h to h without 0, h = S / 2; of one slice 0. Ascending.
///
/// # Errors
/// If `slices` is neither 1 nor even.
///
/// ```
/// assert_eq!(nn::binary::offsets(2)?, [-0.5, 0.5]);
/// # Ok::<(), nn::Error>(())
/// ```
pub fn offsets(slices: usize) -> Result<Vec<f64>, Error> {
    if slices == 1 {
        return Ok(vec![0.0]);
    }
    if slices == 0 || !slices.is_multiple_of(2) {
        return Err(Error::Config(format!(
            "multi-slice sign: {slices} slices; 1 or an even number is needed"
        )));
    }
    let half = slices as i64 / 2;
    Ok((-half..=half).filter(|&i| i != 0).map(|i| i as f64 / (half + 1) as f64).collect())
}

/// The multi-slice sign: [N, C, H, W] to [N, S, C, H, W], slice s being sign(x + o_s) (arXiv 2106.06991, section 3.2):
/// a thermometer code of 1 + S levels. Its gradient is sum_s g_s 1\[|x + o_s| <= 1\].
#[derive(Clone, Debug, PartialEq)]
pub struct MultiSign {
    offsets: Vec<f64>,
}

impl MultiSign {
    /// With the [`offsets`] of `slices` slices.
    ///
    /// # Errors
    /// As [`offsets`].
    pub fn new(slices: usize) -> Result<MultiSign, Error> {
        Ok(MultiSign { offsets: offsets(slices)? })
    }

    /// The offset of each slice.
    pub fn offsets(&self) -> &[f64] {
        &self.offsets
    }

    /// The slices of the signs.
    #[track_caller]
    pub fn apply(&self, x: &Tensor) -> Tensor {
        custom(Slices(self.offsets.clone()), &[x])
    }

    /// The shape of the result.
    pub(super) fn shape(&self, input: &Shape) -> Shape {
        let mut dims = input.to_vec();
        dims.insert(1, self.offsets.len());
        Shape::new(&dims)
    }
}

impl Module for MultiSign {
    tensors!();

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        self.apply(x)
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        if input.rank() < 2 || input.rank() >= autograd::MAX_RANK {
            return misfit(path, "MultiSign", format_args!("input {input}: [N, C, ..] is needed"));
        }
        let output = self.shape(input);
        plan.row(self, path, format!("MultiSign {}", self.offsets.len()), output, output.numel() as u64)
    }
}
