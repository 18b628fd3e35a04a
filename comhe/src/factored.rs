//! Networks whose hidden weights have a low rank: CoMHE's bilateral projection as a layer, form (ii).
//!
//!   W = L (R P')^-1 R,   L (N x r) and R (r x d) are learned, P (r x d) is a constant
//!
//! L and R are the transposes of Y1 and Y2 in [`low_rank_weight`]: their rows are the points whose energy the
//! method takes. A regulariser sees the two as two hidden layers, so that `mhe` or `hs-mhe` on them is E(Y1) + E(Y2).
//!
//! This works for any network: in each forward pass the products replace the weights. A layer's `NAME.weight` is
//! replaced by the parameters `NAME.left` and `NAME.right` and the buffer `NAME.projection`.

use std::collections::BTreeMap;

use autograd::{Shape, Tensor};
use nn::{Change, Context, Kind, Model, Module, Role, See, Sequential, Summary, Weight};

use crate::error::Error;
use crate::low_rank::{LowRank, low_rank_weight};

const WEIGHT: &str = ".weight";
const PROJECTION: &str = ".projection";

/// The factors of a weight.
#[derive(Clone)]
struct Factors {
    left: Tensor,
    right: Tensor,
    projection: Tensor,
    /// A placeholder for the weight, of its shape, between forward passes.
    place: Tensor,
}

/// A network with factors, by the names of the weights they replace.
#[derive(Clone)]
struct Factored {
    net: Sequential,
    factors: BTreeMap<String, Factors>,
}

/// The network with weights of rank `r` in all hidden layers whose N and d are larger, drawn from `seed`.
///
/// # Errors
/// If no hidden layer is larger, or a projection cannot be drawn.
pub fn factored(model: &Model, r: usize, seed: u64) -> Result<Model, Error> {
    let mut factors = BTreeMap::new();
    for weight in model.weights() {
        let (n, d) = (weight.value.shape()[0], weight.value.shape()[1..].iter().product());
        if weight.role != Role::Classifier && r < n.min(d) {
            let place = Tensor::zeros(weight.value.shape(), weight.value.dtype());
            let drawn = LowRank::init(n, d, r, place.dtype(), &weight.name, seed)?;
            let leaf = |y: &Tensor| y.detach().transpose(0, 1).requires_grad();
            let (left, right) = (leaf(&drawn.y1), leaf(&drawn.y2));
            let projection = drawn.projection().clone();
            factors.insert(weight.name, Factors { left, right, projection, place });
        }
    }
    if factors.is_empty() {
        let largest = |w: &Weight| w.value.shape()[0].min(w.value.shape()[1..].iter().product());
        let hidden = model.weights().iter().filter(|w| w.role != Role::Classifier).map(largest).max();
        return Err(Error::option(match hidden {
            Some(most) => format!(
                "rank {r} changes nothing: no hidden layer of {} has more than {most} neurons and dimensions; take less \
                 than that",
                model.name
            ),
            None => format!("rank {r} changes nothing: {} has no hidden layer", model.name),
        }));
    }
    let mut net = Factored { net: model.layers().clone(), factors };
    net.set(|factors| factors.place.clone());
    // It adds no prefix to the names of the inner network.
    let layers = Sequential::new().with("", net);
    Ok(Model::new(model.name.clone(), model.input, model.classes, layers).expect("shapes are the same"))
}

/// Checks that all weights of low rank can be computed.
///
/// # Errors
/// If one cannot: the message names the layer.
pub fn check_factors(model: &Model) -> Result<(), Error> {
    let state: BTreeMap<String, Tensor> = model.state_dict().into_iter().collect();
    for (name, p) in &state {
        let Some(layer) = name.strip_suffix(PROJECTION) else { continue };
        if let (Some(left), Some(right)) = (state.get(&left(layer)), state.get(&right(layer))) {
            let _ = low_rank_weight(&left.transpose(0, 1), &right.transpose(0, 1), p)
                .map_err(|e| e.in_layer(layer))?;
        }
    }
    Ok(())
}

fn left(layer: &str) -> String {
    format!("{layer}.left")
}

fn right(layer: &str) -> String {
    format!("{layer}.right")
}

impl Factors {
    /// The weight, differentiable. NaN if it cannot be computed, which ends a run; [`check_factors`] returns the
    /// reason.
    fn weight(&self) -> Tensor {
        let (y1, y2) = (self.left.transpose(0, 1), self.right.transpose(0, 1));
        let weight = low_rank_weight(&y1, &y2, &self.projection);
        weight.map_or_else(|_| &self.place + f64::NAN, |w| w.reshape(self.place.shape()))
    }
}

impl Factored {
    /// Replaces the weights of the network by tensors.
    fn set(&mut self, of: impl Fn(&Factors) -> Tensor) {
        let factors = &self.factors;
        self.net.visit_mut(&mut |name, t, _| {
            if let Some(factors) = factors.get(name) {
                *t = of(factors);
            }
        });
    }
}

impl Module for Factored {
    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        self.set(Factors::weight);
        let y = self.net.forward(x, cx);
        // The graph is dropped before the update, since an optimiser changes tensors in place only if they are not
        // shared.
        self.set(|factors| factors.place.clone());
        y
    }

    fn visit<'a>(&'a self, see: See<'_, 'a>) {
        self.net.visit(&mut |name, t, kind| match (self.factors.get(name), name.strip_suffix(WEIGHT)) {
            (Some(factors), Some(layer)) => {
                see(&left(layer), &factors.left, Kind::Parameter);
                see(&right(layer), &factors.right, Kind::Parameter);
                see(&format!("{layer}{PROJECTION}"), &factors.projection, Kind::Buffer);
            }
            _ => see(name, t, kind),
        });
    }

    fn visit_mut<'a>(&'a mut self, change: Change<'_, 'a>) {
        let mut factors: BTreeMap<&str, &'a mut Factors> =
            self.factors.iter_mut().map(|(name, factors)| (name.as_str(), factors)).collect();
        self.net.visit_mut(&mut |name, t, kind| match (factors.remove(name), name.strip_suffix(WEIGHT)) {
            (Some(factors), Some(layer)) => {
                change(&left(layer), &mut factors.left, Kind::Parameter);
                change(&right(layer), &mut factors.right, Kind::Parameter);
                change(&format!("{layer}{PROJECTION}"), &mut factors.projection, Kind::Buffer);
            }
            _ => change(name, t, kind),
        });
    }

    /// The plan of the network with whole weights: shapes are the same.
    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, nn::Error> {
        self.net.plan(path, input, plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::{DType, Key};

    fn lenet(r: usize) -> Result<Model, Error> {
        let model = nn::models::build("lenet", [1, 8, 8], 3, 1, Key::new(1), DType::F64).unwrap();
        factored(&model, r, 2)
    }

    #[test]
    fn hidden_weights_are_products_and_the_rest_is_as_it_was() {
        let mut model = lenet(4).unwrap();
        let names: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
        let layer = |name: &str| ["left", "right", "bias"].map(|part| format!("{name}.{part}"));
        let wanted = [layer("conv1"), layer("conv2"), layer("fc1")].concat();
        assert_eq!(names, [wanted, vec!["fc2.weight".into(), "fc2.bias".into()]].concat());
        let roles: Vec<Role> = model.weights().iter().map(|w| w.role).collect();
        assert_eq!(roles, [vec![Role::Hidden; 6], vec![Role::Classifier]].concat());

        // The same function as that of the network with the products as its weights.
        let mut whole = nn::models::build("lenet", [1, 8, 8], 3, 1, Key::new(3), DType::F64).unwrap();
        let state: BTreeMap<String, Tensor> = model.state_dict().into_iter().collect();
        whole.visit_mut(&mut |name, t, _| {
            let product = |layer: &str| {
                let [y1, y2] =
                    [left(layer), right(layer)].map(|name| Some(state.get(&name)?.transpose(0, 1)));
                low_rank_weight(&y1?, &y2?, state.get(&format!("{layer}{PROJECTION}"))?).ok()
            };
            let weight = state.get(name).cloned().or_else(|| product(name.strip_suffix(WEIGHT)?)).unwrap();
            t.assign(&weight.detach().reshape(t.shape()));
        });
        let x = Tensor::normal([5, 1, 8, 8], DType::F64, Key::new(4));
        let y = model.forward(&x, &mut Context::eval());
        let off = (&y - whole.forward(&x, &mut Context::eval())).norm(..).item();
        assert!(off < 1e-12 * y.norm(..).item(), "{off}");

        // Every factor has a gradient, and two passes give the same result.
        let grads = (&y * &y).sum(..).backward();
        for (name, t) in model.named_parameters() {
            assert!(grads.get(t).is_some_and(|g| g.norm(..).item() > 0.0), "{name}");
        }
        let again = model.forward(&x, &mut Context::eval());
        assert_eq!(again.to_vec::<f64>(), y.to_vec::<f64>());
        check_factors(&model).unwrap();
    }

    #[test]
    fn what_cannot_be_made_is_explained() {
        let line = lenet(200).err().unwrap();
        let said =
            "rank 200 changes nothing: no hidden layer of lenet has more than 128 neurons and dimensions";
        assert!(line.to_string().starts_with(said), "{line}");
        let mut model = lenet(4).unwrap();
        model.visit_mut(&mut |name, t, _| {
            if name == "fc1.right" {
                t.assign(&(t.detach() * 0.0));
            }
        });
        let line = check_factors(&model).unwrap_err();
        assert!(line.to_string().starts_with("fc1: P1 Y2 of shape [4, 4] is singular"), "{line}");
        let y = model.forward(&Tensor::ones([1, 1, 8, 8], DType::F64), &mut Context::eval());
        assert!(!y.is_finite());
    }
}
