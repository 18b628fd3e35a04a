//! The loss of a training step as a function of parameters and inputs.

use std::ops::Range;

use autograd::{Key, Tensor, detect_anomaly};

use super::gradient::{Gradient, Parts, of_leaves};
use super::{Batch, Regulariser, Step};
use crate::error::Error;
use crate::losses::{CrossEntropy, Loss, Outputs};
use crate::models::Model;
use crate::module::{Context, Kind, Module};
use crate::penalties::Penalty;

/// The loss of a batch as a function: of the parameters of the model, and of the inputs.
///
///   loss(outputs, targets) + penalties of the network's layers and of its inputs + regulariser(weights)
///
/// Evaluating it changes nothing here: the state after an evaluation (running statistics, the state of the loss, the
/// penalties and the regulariser) is in the [`Pass`]. Two evaluations at the same point give the same result.
///
/// ```
/// use autograd::{DType, Key, Tensor};
/// use nn::{Batch, BatchLoss};
/// let model = nn::models::build("mlp", [1, 4, 4], 2, 1, Key::new(0), DType::F64)?;
/// let batch = Batch::new(Tensor::normal([8, 1, 4, 4], DType::F64, Key::new(1)), vec![0, 1, 0, 1, 0, 1, 0, 1]);
/// let loss = BatchLoss::new(model, batch);
/// let gradient = loss.gradient()?;
/// // A step of gradient descent lowers the loss.
/// let there = loss.moved(|name, p| p - &gradient.parameters[name] * 0.01);
/// assert!(there.pass()?.loss.item() < gradient.loss);
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone)]
pub struct BatchLoss {
    /// The network; its parameters are where the function is evaluated.
    pub model: Model,
    /// Inputs and targets.
    pub batch: Batch,
    /// The loss of outputs and targets.
    pub loss: Box<dyn Loss>,
    /// Penalties on the network as a function of its inputs.
    pub penalties: Vec<Box<dyn Penalty>>,
    /// The penalty on the weights.
    pub regulariser: Option<Box<dyn Regulariser>>,
    /// Training or evaluation, and the key of random draws.
    pub context: Context,
    /// The progress of training.
    pub step: Step,
}

/// The state that evaluations change.
#[derive(Clone)]
pub(crate) struct State {
    /// Its buffers are the state; its parameters are those of the evaluation.
    pub model: Model,
    pub loss: Box<dyn Loss>,
    pub penalties: Vec<Box<dyn Penalty>>,
    pub regulariser: Option<Box<dyn Regulariser>>,
}

/// One evaluation of a [`BatchLoss`].
pub struct Pass {
    /// The objective, a scalar: the sum of all terms.
    pub loss: Tensor,
    /// The loss without the regulariser.
    pub fit: Tensor,
    /// The regulariser's term.
    pub regulariser: Option<Tensor>,
    /// The terms of `fit`, by name: the loss of the outputs, the penalties of layers, those of the inputs.
    pub terms: Vec<(String, Tensor)>,
    /// The outputs of the network.
    pub outputs: Outputs,
    /// The outputs of all ReLUs with the paths of their layers, if the context keeps them.
    pub relus: Vec<(String, Tensor)>,
    pub(crate) state: State,
}

impl BatchLoss {
    /// The mean cross-entropy of a batch in training, without penalties.
    pub fn new(model: Model, batch: Batch) -> BatchLoss {
        BatchLoss {
            model,
            batch,
            loss: Box::new(CrossEntropy::default()),
            penalties: Vec::new(),
            regulariser: None,
            context: Context::train(Key::new(0)),
            step: Step::default(),
        }
    }

    /// Evaluates the loss at the model's own parameters.
    ///
    /// # Errors
    /// If loss, penalties or regulariser fail, or give more than one element.
    ///
    /// # Panics
    /// If the inputs do not fit the model.
    pub fn pass(&self) -> Result<Pass, Error> {
        self.batch.check()?;
        let BatchLoss { model, batch, loss, penalties, regulariser, context, step } = self.clone();
        let mut state = State { model, loss, penalties, regulariser };
        let mut cx = context;
        let values = state.model.forward(&batch.inputs, &mut cx);
        let outputs = Outputs { values, classifier: cx.take_classifier() };
        let term = state.loss.loss(&outputs, &batch.targets, step)?;
        let mut fit = scalar(term, state.loss.name())?;
        let mut terms = vec![(state.loss.name().to_string(), fit.clone())];
        for (name, term) in cx.penalties() {
            fit += term;
            terms.push((name.to_string(), term.clone()));
        }
        for penalty in &mut state.penalties {
            let term = scalar(penalty.penalty(self)?, penalty.name())?;
            fit += &term;
            terms.push((penalty.name().to_string(), term));
        }
        let regulariser = match &mut state.regulariser {
            Some(r) => Some(scalar(r.penalty(&self.model.weights(), step)?, "the regulariser")?),
            None => None,
        };
        let loss = match &regulariser {
            // The constant 0 of a regulariser that covers no weight adds nothing to the graph.
            Some(term) if term.is_tracked() || term.item() != 0.0 => &fit + term,
            _ => fit.clone(),
        };
        Ok(Pass { loss, fit, regulariser, terms, outputs, relus: cx.relus(), state })
    }

    /// The outputs of the network on other inputs.
    ///
    /// # Panics
    /// If they do not fit the model.
    pub fn outputs(&self, inputs: &Tensor) -> Outputs {
        let mut cx = self.context.clone();
        let values = self.model.clone().forward(inputs, &mut cx);
        Outputs { values, classifier: cx.take_classifier() }
    }

    /// The loss of the outputs on other inputs, without penalties and regulariser.
    ///
    /// # Errors
    /// As [`Loss::loss`].
    ///
    /// # Panics
    /// If the inputs do not fit the model.
    pub fn fit(&self, inputs: &Tensor) -> Result<Tensor, Error> {
        let mut loss = self.loss.clone();
        scalar(loss.loss(&self.outputs(inputs), &self.batch.targets, self.step)?, self.loss.name())
    }

    /// The value at parameters given in the order of [`Module::named_parameters`], which may be tracked.
    ///
    /// # Errors
    /// As [`BatchLoss::pass`].
    ///
    /// # Panics
    /// If their number or a shape differs.
    #[track_caller]
    pub fn at(&self, parameters: &[Tensor]) -> Result<Tensor, Error> {
        let mut given = parameters.iter();
        let model = self.model.map(|_, _| given.next().expect("a tensor for each parameter").clone());
        assert!(given.next().is_none(), "BatchLoss: more tensors than parameters");
        Ok(BatchLoss { model, ..self.clone() }.pass()?.loss)
    }

    /// The same loss with parameters moved to `f` of each. Leaves of the graph are replaced by new leaves, and
    /// constants remain constants.
    ///
    /// # Panics
    /// If `f` changes a shape.
    #[track_caller]
    pub fn moved(&self, mut f: impl FnMut(&str, &Tensor) -> Tensor) -> BatchLoss {
        let model = self.model.map(|name, p| {
            let new = f(name, &p.detach()).detach();
            if p.is_tracked() { new.requires_grad() } else { new }
        });
        BatchLoss { model, ..self.clone() }
    }

    /// The same loss on other inputs with the same targets.
    pub fn on(&self, inputs: Tensor) -> BatchLoss {
        let batch = Batch { inputs, ..self.batch.clone() };
        BatchLoss { batch, ..self.clone() }
    }

    /// The same loss with different dropout masks for each number.
    pub fn redrawn(&self, number: u64) -> BatchLoss {
        BatchLoss { context: self.context.clone().redrawn(number), ..self.clone() }
    }

    /// The same loss, starting from the state after another evaluation.
    pub fn after(&self, gradient: &Gradient) -> BatchLoss {
        let State { model: left, loss, penalties, regulariser } = gradient.state.clone();
        let mut model = self.model.clone();
        adopt(&mut model, &left);
        BatchLoss { model, loss, penalties, regulariser, ..self.clone() }
    }

    /// The same loss without the regulariser and the penalties of inputs.
    pub fn data_term(&self) -> BatchLoss {
        BatchLoss { penalties: Vec::new(), regulariser: None, ..self.clone() }
    }

    /// The parameters' names and values, outside every graph.
    pub fn parameters(&self) -> (Vec<String>, Vec<Tensor>) {
        self.model.named_parameters().into_iter().map(|(name, t)| (name, t.detach())).unzip()
    }

    /// The same loss with batch norm's statistics fixed to those of this batch, and no dropout: the loss of each input
    /// then does not depend on the others.
    pub fn apart(&self) -> BatchLoss {
        let mut left = self.model.detached();
        let _ = left.forward(&self.batch.inputs, &mut self.context.clone().adopting());
        let mut model = self.model.clone();
        adopt(&mut model, &left);
        BatchLoss { model, context: Context::eval(), ..self.clone() }
    }

    /// The same loss on a part of the batch.
    pub fn part(&self, range: Range<usize>) -> BatchLoss {
        BatchLoss { batch: self.batch.part(range), ..self.clone() }
    }

    /// The loss and its gradient by each parameter that is a leaf of the graph.
    ///
    /// # Errors
    /// As [`BatchLoss::pass`]; if the loss or a gradient is not finite (the error names the first operation with such a
    /// result), or a parameter has no gradient.
    ///
    /// # Panics
    /// If the inputs do not fit the model.
    pub fn gradient(&self) -> Result<Gradient, Error> {
        let pass = self.pass()?;
        let (numbers, parts) =
            (pass.numbers(&self.batch.targets), self.context.is_tapped().then(|| pass.parts()));
        if !numbers.loss.is_finite() {
            return Err(self.not_finite("the loss".to_string()));
        }
        let (loss, outputs, state) = pass.into_loss();
        let parameters = of_leaves(loss, "the loss", self.model.named_parameters())?;
        if let Some((name, _)) = parameters.iter().find(|(_, g)| !g.is_finite()) {
            return Err(self.not_finite(format!("the gradient of {name}")));
        }
        Ok(Gradient { numbers, outputs, parameters, state, parts })
    }

    /// The error of a loss or gradient that is not finite, with the first operation with such a result.
    fn not_finite(&self, what: String) -> Error {
        let again = detect_anomaly(|| {
            // No reverse pass from a loss that is not finite, since all its gradients are not finite either.
            self.pass().map(|pass| {
                if pass.loss.is_finite() {
                    drop(pass.loss.backward());
                }
            })
        });
        Error::NotFinite { step: self.step.index, what, anomaly: again.err() }
    }
}

/// Takes the buffers of another copy of a model.
pub(super) fn adopt(model: &mut Model, from: &Model) {
    let mut buffers = Vec::new();
    from.visit(&mut |_, t, kind| {
        if kind == Kind::Buffer {
            buffers.push(t.clone());
        }
    });
    if buffers.is_empty() {
        return;
    }
    let mut buffers = buffers.into_iter();
    model.visit_mut(&mut |_, t, kind| {
        if kind == Kind::Buffer {
            *t = buffers.next().expect("copies of a model have the same buffers");
        }
    });
}

/// A term of the loss as a scalar.
fn scalar(term: Tensor, what: &str) -> Result<Tensor, Error> {
    match (term.numel(), term.rank()) {
        (1, 0) => Ok(term),
        (1, _) => Ok(term.reshape(())),
        _ => Err(Error::Config(format!("{what} gave shape {}; one element is needed", term.shape()))),
    }
}

impl Pass {
    /// The loss, the outputs without their graph, and the state. The graph is then not shared, so that a reverse pass
    /// frees it step by step.
    fn into_loss(self) -> (Tensor, Tensor, State) {
        (self.loss, self.outputs.values.detach(), self.state)
    }

    /// The parts that instruments use, with their graphs.
    fn parts(&self) -> Parts {
        Parts { fit: self.fit.clone(), penalty: self.regulariser.clone(), relus: self.relus.clone() }
    }
}
