//! Implicit semantic data augmentation.

use autograd::transform::checkpoint;
use autograd::{DType, Index, Tensor};
use registry::{Row, Setting};

use super::cross_entropy::classes;
use super::{ClassCovariance, Classifier, Covariance, CrossEntropy, Loss, LossSpec, Outputs};
use crate::error::Error;
use crate::train::{Step, Targets};

/// Implicit semantic data augmentation (Wang, Pan, Song, Zhang, Huang, Wu, NeurIPS 2019, arXiv 1909.12220): a bound of
/// the expected cross-entropy of features a + e, e normal with the covariance lambda S_y of the features of the class y,
///
///   E[-log softmax(z(a + e))_y]  <=  cross-entropy(z'),   z'_j = z_j + lambda / 2 (w_j - w_y)' S_y (w_j - w_y)
///
/// for the logits z_j = w_j' a + b_j of a linear classifier (equation 5; Jensen's inequality, and the mean of the
/// exponential of a normal variable). The logit of y itself does not change. S is the [`ClassCovariance`] of all features
/// seen in training, those of the batch included: a constant, and state. The gradient reaches w through both of its
/// roles, w_j and w_y.
///
/// Differences of weights are taken first and in f64, so that nothing cancels where weights are close. The quadratic
/// forms need C d^2 products for each class in the batch (diagonal: C d), and no copy of w for each example.
///
/// Evaluations report the plain cross-entropy.
///
/// ```
/// use autograd::{DType, Key, Tensor};
/// use nn::{Batch, Covariance, CrossEntropy, Isda, Optimizer, Trainer};
/// let model = nn::models::build("mlp", [1, 4, 4], 2, 1, Key::new(0), DType::F64)?;
/// let batch = Batch::new(Tensor::normal([8, 1, 4, 4], DType::F64, Key::new(1)), vec![0, 1, 0, 1, 0, 1, 0, 1]);
/// let mut trainer = Trainer::new(model, Optimizer::sgd(0.9), 0.01, Key::new(0));
/// let plain = trainer.batch_loss(&batch).pass()?.loss.item();
/// trainer = trainer.loss(Isda::new(0.5, Covariance::Full));
/// assert!(trainer.step(&batch)?.loss > plain);
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Isda {
    /// The strength lambda; 0.5 or 0.25 in the paper for CIFAR with full covariances, 7.5 for ImageNet with diagonal ones.
    pub lambda: f64,
    /// The growth of lambda over the run; `None`: lambda in every step.
    pub ramp: Option<Ramp>,
    /// The covariances, which each training step updates before its loss.
    pub estimate: ClassCovariance,
    /// The covariances do not change. The loss is then the function of the outputs that its gradient belongs to, as
    /// gradient checks need.
    pub frozen: bool,
}

/// lambda t / T in step t: at first the estimates are poor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    /// The number T of steps of the run.
    pub total: u64,
    /// t grows every so many steps: 1, or the steps of an epoch, as in the published code for CIFAR and ImageNet.
    pub every: u64,
}

impl Ramp {
    /// Growth in every step, as in the paper.
    pub fn new(total: u64) -> Ramp {
        Ramp { total, every: 1 }
    }

    /// The share of lambda, from 0 in step 0 to at most 1.
    fn share(self, step: u64) -> f64 {
        (step - step % self.every).min(self.total) as f64 / self.total as f64
    }
}

/// lambda = 0.5 without a ramp, full covariances.
impl Default for Isda {
    fn default() -> Isda {
        Isda::new(0.5, Covariance::Full)
    }
}

pub(super) const ROW: Row<LossSpec> = Row {
    name: "isda",
    help: "cross-entropy under implicit augmentation of the features of the classifier",
    settings: &[
        Setting::new("isda-lambda"),
        Setting::new("isda-covariance"),
        Setting::new("isda-unlabelled"),
    ],
    make: |options| {
        let lambda = options.lambda.unwrap_or(Isda::default().lambda);
        Box::new(Isda { ramp: options.ramp, frozen: options.frozen, ..Isda::new(lambda, options.covariance) })
    },
};

impl Isda {
    /// Without a ramp, and with covariances that have seen nothing.
    pub fn new(lambda: f64, covariance: Covariance) -> Isda {
        Isda { lambda, ramp: None, estimate: ClassCovariance::new(covariance), frozen: false }
    }

    /// lambda in a step.
    pub fn lambda_at(&self, step: Step) -> f64 {
        self.lambda * self.ramp.map_or(1.0, |ramp| ramp.share(step.index))
    }

    /// The bound for examples without labels: of the expected divergence between the predictions p at the features a and
    /// those at a + e, e normal with the covariance lambda S_c of the predicted class c,
    ///
    ///   E[KL(p(a) || p(a + e))]  <=  mean over the batch of sum_j p_j (logsumexp_k z'_jk - z_j) - H(p)
    ///   z'_jk = z_k + lambda / 2 (w_k - w_j)' S_c (w_k - w_j)
    ///
    /// with p held constant; H is the entropy. For a p that is one-hot in the label it is the loss of labelled examples.
    /// It is at least 0, and 0 for lambda = 0. The journal version (T-PAMI 2021, arXiv 2007.10538) trains with an upper
    /// bound of the same divergence on unlabelled images; this one is derived from the left side.
    /// [`ConsistencyPenalty`](crate::ConsistencyPenalty) adds it to the loss of labelled batches.
    ///
    /// ```
    /// use autograd::{DType, Key, Tensor};
    /// use nn::{Batch, BatchLoss, Covariance, Isda};
    /// let model = nn::models::build("mlp", [1, 4, 4], 2, 1, Key::new(0), DType::F64)?;
    /// let draw = |i| Tensor::normal([4, 1, 4, 4], DType::F64, Key::new(i));
    /// let loss = BatchLoss::new(model, Batch::new(draw(1), vec![0, 1, 0, 1]));
    /// let mut isda = Isda::new(0.5, Covariance::Diagonal);
    /// let features = loss.outputs(&draw(1)).classifier.unwrap().features;
    /// isda.estimate.update(&features.detach(), &[0, 1, 0, 1], 2)?;
    /// let unlabelled = loss.outputs(&draw(2));
    /// assert!(isda.consistency(&unlabelled, loss.step)?.item() > 0.0);
    /// # Ok::<(), nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the model does not end in a linear classifier of the classes of the estimate.
    pub fn consistency(&self, outputs: &Outputs, step: Step) -> Result<Tensor, Error> {
        self.check()?;
        let z = &outputs.values;
        let predicted: Vec<u32> = if z.rank() == 2 { z.argmax(1).data().to_vec() } else { Vec::new() };
        let classifier = classifier(outputs, &Targets::Classes(predicted.clone()))?;
        self.fits(&classifier.weight)?;
        let (present, position) = present(&predicted);
        let w = classifier.weight.to_dtype(DType::F64);
        let forms: Vec<Tensor> = present.iter().map(|&class| self.forms(&w, class)).collect();
        let forms = Tensor::stack(&forms.iter().collect::<Vec<_>>(), 0).to_dtype(z.dtype());
        let added = forms.index_select(0, &position) * (self.lambda_at(step) / 2.0);
        let log_p = z.detach().log_softmax(1);
        // logsumexp_k z'_jk - z_j + log p_j
        let terms = (z.unsqueeze(1) + added).logsumexp(2) - z + &log_p;
        Ok((terms * log_p.exp()).sum(1).mean(..))
    }

    /// (w_k - w_j)' S_class (w_k - w_j) for all k, `[C]`. Only w is kept for the reverse pass.
    fn form(&self, w: &Tensor, class: u32, j: usize) -> Tensor {
        let covariance = self.estimate.covariance(class as usize).clone();
        let form = move |w: &[Tensor]| {
            let v = &w[0] - w[0].narrow(0, j, 1);
            let sv = if covariance.rank() == 2 { v.matmul(&covariance) } else { &v * &covariance };
            (sv * v).sum(1)
        };
        checkpoint(form, &[w])
    }

    /// (w_k - w_j)' S_class (w_k - w_j) for all j and k, [C, C], from the products w_j' S_class w_k.
    fn forms(&self, w: &Tensor, class: u32) -> Tensor {
        let covariance = self.estimate.covariance(class as usize);
        let sw = if covariance.rank() == 2 { w.matmul(covariance) } else { w * covariance };
        let products = sw.matmul_nt(w);
        let own = products.diagonal(0);
        own.unsqueeze(0) + own.unsqueeze(1) - products * 2.0
    }

    /// Whether the estimate is of the classes and features of a classifier.
    fn fits(&self, w: &Tensor) -> Result<(), Error> {
        let known = self.estimate.classes();
        let width = if known > 0 { self.estimate.mean(0).numel() } else { 0 };
        if known > 0 && **w.shape() == [known, width] {
            return Ok(());
        }
        Err(Error::Config(format!(
            "isda: the estimate is of {known} classes with {width} features, the classifier has shape {}",
            w.shape()
        )))
    }

    fn check(&self) -> Result<(), Error> {
        let bad = |text: String| Err(Error::Config(format!("isda: {text}")));
        if !(self.lambda >= 0.0 && self.lambda.is_finite()) {
            return bad(format!("lambda is {}; it must be finite and not negative", self.lambda));
        }
        match self.ramp {
            Some(Ramp { total: 0, .. }) => bad("the ramp has 0 steps; it needs at least 1".to_string()),
            Some(Ramp { every: 0, .. }) => {
                bad("the ramp grows every 0 steps; it needs at least 1".to_string())
            }
            _ => Ok(()),
        }
    }
}

/// The classifier of the outputs.
fn classifier<'a>(outputs: &'a Outputs, targets: &Targets) -> Result<&'a Classifier, Error> {
    let classes = classes(&outputs.values, targets)?;
    let last = outputs.classifier.as_ref().filter(|last| last.weight.shape()[0] == classes);
    last.ok_or_else(|| {
        let what = "its features are the input of a linear classifier, and the model does not end in one";
        Error::Config(format!("isda: {what}"))
    })
}

/// The classes among labels, and where the class of each label is among these.
fn present(labels: &[u32]) -> (Vec<u32>, Index) {
    let mut present = labels.to_vec();
    present.sort_unstable();
    present.dedup();
    let place = |label| present.binary_search(label).expect("a class of a label is present") as u32;
    let places: Vec<u32> = labels.iter().map(place).collect();
    (present, Index::new(&places, [labels.len()]))
}

impl Loss for Isda {
    fn name(&self) -> &str {
        "isda"
    }

    fn loss(&mut self, outputs: &Outputs, targets: &Targets, step: Step) -> Result<Tensor, Error> {
        self.check()?;
        let Targets::Classes(labels) = targets else {
            return Err(Error::Config("isda: the targets must be classes, one for each input".to_string()));
        };
        let classifier = classifier(outputs, targets)?;
        let z = &outputs.values;
        if !self.frozen {
            self.estimate.update(&classifier.features.detach(), labels, z.shape()[1])?;
        }
        self.fits(&classifier.weight)?;
        let lambda = self.lambda_at(step);
        let augmented = if lambda > 0.0 {
            let (present, position) = present(labels);
            let w = classifier.weight.to_dtype(DType::F64);
            let rows: Vec<Tensor> = present.iter().map(|&y| self.form(&w, y, y as usize)).collect();
            let forms = Tensor::stack(&rows.iter().collect::<Vec<_>>(), 0) * (lambda / 2.0);
            z + forms.to_dtype(z.dtype()).index_select(0, &position)
        } else {
            z.clone()
        };
        CrossEntropy::default().loss(&Outputs::new(augmented), targets, step)
    }

    fn evaluation(&self) -> Box<dyn Loss> {
        Box::new(CrossEntropy::default())
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.estimate.state()
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        self.estimate.load_state(state)
    }
}
