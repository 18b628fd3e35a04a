//! First and second derivatives of a loss along directions, against difference quotients.

use autograd::{DType, Grads, Key, Tensor};
use nn::{BatchLoss, Error, Module};

/// The largest relative errors of first and second derivatives.
pub const TOLERANCES: [f64; 2] = [1e-5, 1e-4];
/// Steps of difference quotients, relative to a tensor's length, from the first on until one agrees: a kink of a ReLU or
/// maximum within a step spoils its quotient, and is outside of smaller ones. A wrong derivative agrees with none.
const FIRST: &[f64] = &[1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9];
const SECOND: &[f64] = &[1e-5, 1e-6, 1e-7, 1e-8, 1e-9];
/// A step agrees if its error is below this share of the tolerance.
const AGREES: f64 = 0.1;
/// Derivatives of a tensor this much smaller than those of all tensors count as so large: the rest is rounding.
const FLOOR: f64 = 1e-4;

/// A term of a loss, or the sum of all.
#[derive(Clone, Copy)]
pub enum Term {
    Sum,
    /// One of [`Pass::terms`](nn::Pass::terms).
    Fit(usize),
    Regulariser,
}

/// A term as a function of the trained parameters, at a point, with its gradient there and directions to check it along.
pub struct Check<'a> {
    loss: &'a BatchLoss,
    term: Term,
    at: &'a [Tensor],
    gradient: Vec<Tensor>,
    /// Of the length of the parameter: a random one.
    random: Vec<Tensor>,
    /// The same and half as long along the gradient, whose derivative is not by chance near 0.
    uphill: Vec<Tensor>,
}

impl<'a> Check<'a> {
    /// The term at `at`, the values of the trained parameters in their order.
    pub fn new(loss: &'a BatchLoss, term: Term, at: &'a [Tensor], key: Key) -> Result<Check<'a>, Error> {
        let draw = |(i, x): (usize, &Tensor)| {
            unit(&Tensor::normal(x.shape(), DType::F64, key.stream("direction").step(i as u64))) * size(x)
        };
        let random: Vec<Tensor> = at.iter().enumerate().map(draw).collect();
        let mut check = Check { loss, term, at, gradient: Vec::new(), random, uphill: Vec::new() };
        check.gradient = check.gradient_at(at)?;
        let along = |((g, r), x): ((&Tensor, &Tensor), &Tensor)| unit(g) * (0.5 * size(x)) + r;
        check.uphill = check.gradient.iter().zip(&check.random).zip(at).map(along).collect();
        Ok(check)
    }

    /// The errors of first and second derivatives by all parameters together.
    pub fn together(&self) -> Result<[f64; 2], Error> {
        let exact: f64 = self.slopes().iter().sum();
        let first = best(FIRST, TOLERANCES[0], |h| {
            let found = self.quotient(&self.uphill, h)?;
            Ok(vec![relative((found - exact).abs(), found.abs().max(exact.abs()), 0.0)])
        })?;
        let product = self.product()?;
        let second = best(SECOND, TOLERANCES[1], |h| {
            let found = self.product_quotient(h)?;
            let off: Vec<Tensor> = found.iter().zip(&product).map(|(a, b)| a - b).collect();
            let scale = norm(&found).max(norm(&product));
            Ok(vec![relative(norm(&off), scale, FLOOR * norm(&self.gradient))])
        })?;
        Ok([first[0], second[0]])
    }

    /// The errors of first and second derivatives by each parameter: along its own direction, and of its part of the
    /// Hessian's product with the random direction.
    pub fn by_tensor(&self) -> Result<Vec<[f64; 2]>, Error> {
        let (slopes, product) = (self.slopes(), self.product()?);
        let least = FLOOR * slopes.iter().map(|s| s * s).sum::<f64>().sqrt();
        let alone = |i: usize| -> Vec<Tensor> {
            let direction = |(k, d): (usize, &Tensor)| if k == i { d.clone() } else { zeros(d) };
            self.uphill.iter().enumerate().map(direction).collect()
        };
        let first = (0..self.at.len()).map(|i| {
            let direction = alone(i);
            let found = best(FIRST, TOLERANCES[0], |h| {
                let found = self.quotient(&direction, h)?;
                Ok(vec![relative((found - slopes[i]).abs(), found.abs().max(slopes[i].abs()), least)])
            });
            found.map(|found| found[0])
        });
        let first = first.collect::<Result<Vec<f64>, Error>>()?;
        let least = FLOOR * (norm(&product) + norm(&self.gradient));
        let second = best(SECOND, TOLERANCES[1], |h| {
            let found = self.product_quotient(h)?;
            let pairs = found.iter().zip(&product);
            Ok(pairs.map(|(a, b)| relative(length(&(a - b)), length(a).max(length(b)), least)).collect())
        })?;
        Ok(first.into_iter().zip(second).map(|(a, b)| [a, b]).collect())
    }

    fn value(&self, parameters: &[Tensor]) -> Result<Tensor, Error> {
        let mut given = parameters.iter();
        let model = self.loss.model.map(|_, p| match p.is_leaf() {
            true => given.next().expect("a value for each trained parameter").clone(),
            false => p.clone(),
        });
        let pass = BatchLoss { model, ..self.loss.clone() }.pass()?;
        Ok(match self.term {
            Term::Sum => pass.loss,
            Term::Fit(i) => pass.terms[i].1.clone(),
            Term::Regulariser => pass.regulariser.expect("the loss has a regulariser"),
        })
    }

    fn gradient_at(&self, parameters: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let leaves: Vec<Tensor> = parameters.iter().map(Tensor::requires_grad).collect();
        Ok(taken(self.value(&leaves)?, Tensor::backward, &leaves))
    }

    /// The slope of each parameter along its part of [`Check::uphill`].
    fn slopes(&self) -> Vec<f64> {
        self.gradient.iter().zip(&self.uphill).map(|(g, d)| (g * d).sum(..).item()).collect()
    }

    /// The Hessian's product with the random direction.
    fn product(&self) -> Result<Vec<Tensor>, Error> {
        let leaves: Vec<Tensor> = self.at.iter().map(Tensor::requires_grad).collect();
        let gradient = taken(self.value(&leaves)?, |y| y.recorded().backward(), &leaves);
        let slopes = gradient.iter().zip(&self.random).map(|(g, d)| (g * d).sum(..));
        let slope = slopes.reduce(|a, b| a + b).expect("a network has parameters");
        Ok(taken(slope, Tensor::backward, &leaves))
    }

    /// The difference quotient of the value.
    fn quotient(&self, direction: &[Tensor], h: f64) -> Result<f64, Error> {
        let at = |h: f64| Ok::<_, Error>(self.value(&moved(self.at, direction, h))?.item());
        Ok((at(h)? - at(-h)?) / (2.0 * h))
    }

    /// That of the gradient, along the random direction.
    fn product_quotient(&self, h: f64) -> Result<Vec<Tensor>, Error> {
        let at = |h: f64| self.gradient_at(&moved(self.at, &self.random, h));
        Ok(at(h)?.iter().zip(at(-h)?).map(|(a, b)| (a - b) * (0.5 / h)).collect())
    }
}

/// The gradients of the leaves; zeros of those that y does not depend on.
fn taken(y: Tensor, backward: impl Fn(Tensor) -> Grads, leaves: &[Tensor]) -> Vec<Tensor> {
    let mut grads = y.is_tracked().then(|| backward(y));
    let of = |leaf: &Tensor| grads.as_mut().and_then(|grads| grads.take(leaf)).unwrap_or_else(|| zeros(leaf));
    leaves.iter().map(of).collect()
}

/// The least errors over the steps, of which smaller ones are tried until all errors are small.
fn best(
    steps: &[f64],
    tolerance: f64,
    errors: impl Fn(f64) -> Result<Vec<f64>, Error>,
) -> Result<Vec<f64>, Error> {
    let mut least: Vec<f64> = Vec::new();
    for &h in steps {
        let found = errors(h)?;
        least = match least.is_empty() {
            true => found,
            // The smaller one, and not NaN if one is a number.
            false => least.iter().zip(found).map(|(a, b)| a.min(b)).collect(),
        };
        if least.iter().all(|error| *error <= AGREES * tolerance) {
            break;
        }
    }
    Ok(least)
}

fn relative(off: f64, scale: f64, least: f64) -> f64 {
    if off == 0.0 { 0.0 } else { off / (scale + least) }
}

fn moved(at: &[Tensor], direction: &[Tensor], h: f64) -> Vec<Tensor> {
    at.iter().zip(direction).map(|(x, d)| x + d * h).collect()
}

/// The length of a tensor; of zeros that of ones.
pub fn size(x: &Tensor) -> f64 {
    let length = length(x);
    if length > 0.0 { length } else { (x.numel() as f64).sqrt() }
}

fn zeros(x: &Tensor) -> Tensor {
    Tensor::zeros(x.shape(), x.dtype())
}

fn unit(x: &Tensor) -> Tensor {
    let length = length(x);
    if length > 0.0 { x * (1.0 / length) } else { x.clone() }
}

fn length(x: &Tensor) -> f64 {
    (x * x).sum(..).item().sqrt()
}

fn norm(list: &[Tensor]) -> f64 {
    list.iter().map(|x| length(x).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use nn::{Batch, Loss, Outputs, Step, Targets};

    use super::*;

    /// The mean cubed output, of which some factors are constants for the gradient.
    #[derive(Clone)]
    struct Cubes {
        held: usize,
    }

    impl Loss for Cubes {
        fn name(&self) -> &str {
            "cubes"
        }

        fn loss(&mut self, outputs: &Outputs, _: &Targets, _: Step) -> Result<Tensor, Error> {
            let z = &outputs.values;
            let factor = |i: usize| if i < self.held { z.detach() } else { z.clone() };
            Ok((factor(0) * factor(1) * factor(2)).mean(..))
        }
    }

    fn errors(held: usize) -> (Vec<[f64; 2]>, [f64; 2]) {
        let model = nn::models::build("lenet", [1, 6, 6], 3, 1, Key::new(0), DType::F64).unwrap();
        let batch = Batch::new(Tensor::normal([4, 1, 6, 6], DType::F64, Key::new(1)), vec![0, 1, 2, 0]);
        let loss = BatchLoss { loss: Box::new(Cubes { held }), ..BatchLoss::new(model, batch) };
        let (_, at) = loss.parameters();
        let check = Check::new(&loss, Term::Sum, &at, Key::new(2)).unwrap();
        (check.by_tensor().unwrap(), check.together().unwrap())
    }

    #[test]
    fn right_derivatives_agree_and_wrong_ones_do_not() {
        let passes = |[first, second]: &[f64; 2]| *first < TOLERANCES[0] && *second < TOLERANCES[1];
        let (tensors, together) = errors(0);
        assert!(tensors.iter().chain([&together]).all(passes), "{tensors:?} {together:?}");
        for held in [1, 2] {
            let (tensors, together) = errors(held);
            for [first, second] in tensors.iter().chain([&together]) {
                assert!(*first > 0.1 && *second > 0.1, "{held}: {tensors:?} {together:?}");
            }
        }
    }

    #[test]
    fn a_tensor_without_influence_has_no_error() {
        let zeros = Tensor::zeros([3], DType::F64);
        assert_eq!((relative(0.0, 0.0, 0.0), size(&zeros)), (0.0, 3f64.sqrt()));
        assert_eq!(length(&unit(&zeros)), 0.0);
    }
}
