//! The tensors that gradients are taken with respect to, and the container in which the gradients are returned.

use crate::tensor::Tensor;

/// Tensors that gradients are taken with respect to. The gradients are returned in a container of the same kind: one
/// tensor for one, an array for an array, a vector for a slice.
///
/// ```
/// use autograd::Tensor;
/// let x = Tensor::from(3.0).requires_grad();
/// let y = Tensor::from(5.0).requires_grad();
/// let z = &x * &y;
/// let [dx, dy] = z.grad([&x, &y]);
/// assert_eq!((dx.item(), dy.item()), (5.0, 3.0));
/// assert_eq!(z.grad(&x).item(), 5.0);
/// let all: Vec<Tensor> = z.grad(&[&x, &y]);
/// assert_eq!(all.len(), 2);
/// ```
pub trait Inputs {
    /// The gradients, in the order of the inputs.
    type Gradients;
    /// The inputs.
    fn tensors(&self) -> &[&Tensor];
    /// Puts the gradients, one for each input, into their container.
    fn gradients(found: Vec<Tensor>) -> Self::Gradients;
}

impl Inputs for &Tensor {
    type Gradients = Tensor;
    fn tensors(&self) -> &[&Tensor] {
        std::slice::from_ref(self)
    }
    fn gradients(mut found: Vec<Tensor>) -> Tensor {
        found.pop().expect("a gradient for each input")
    }
}

impl<const N: usize> Inputs for [&Tensor; N] {
    type Gradients = [Tensor; N];
    fn tensors(&self) -> &[&Tensor] {
        self
    }
    fn gradients(found: Vec<Tensor>) -> [Tensor; N] {
        found.try_into().expect("a gradient for each input")
    }
}

/// Containers whose gradients are a vector.
macro_rules! slices {
    ($([$($n:ident)?] $t:ty;)*) => {$(
        impl$(<const $n: usize>)? Inputs for $t {
            type Gradients = Vec<Tensor>;
            fn tensors(&self) -> &[&Tensor] {
                &self[..]
            }
            fn gradients(found: Vec<Tensor>) -> Vec<Tensor> {
                found
            }
        }
    )*};
}
slices! {
    [] &[&Tensor];
    [N] &[&Tensor; N];
    [] &Vec<&Tensor>;
    [] Vec<&Tensor>;
}
