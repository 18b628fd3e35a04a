//! Attacks: perturbations of inputs, within a radius, that raise the loss; and the accuracy under them.

use autograd::{Key, Tensor};
use registry::{Row, Setting};

use crate::error::Error;
use crate::metrics::label_ranks;
use crate::models::Model;
use crate::module::{Context, Module};
use crate::train::{Batch, BatchLoss};

/// The norm in which a perturbation is measured, over all elements of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// The Euclidean norm.
    L2,
    /// The largest magnitude.
    LInf,
}

/// Projected gradient ascent (PGD) on the loss of each input within a ball around it (Madry et al., ICLR 2018, arXiv
/// 1706.06083; in the form of Bietti et al., ICML 2019, arXiv 1810.00363):
///
///   d = P(d + step u),   u the direction of steepest ascent of the loss at x + d, P the projection onto the ball
///
/// with u = g / |g|_2 in l2, sign g in l-inf, for each input by itself. Where the gradient g is 0, so is u. Radius and
/// step are in the units of the inputs; x + d is not clipped to a range of pixels. Batch norm in training mode couples
/// the inputs of a batch: g then is the gradient of their mean loss.
///
/// ```
/// use autograd::{DType, Key, Tensor};
/// use nn::{Attack, Batch, BatchLoss};
/// let model = nn::models::build("mlp", [1, 4, 4], 2, 1, Key::new(0), DType::F64)?;
/// let loss = BatchLoss::new(model, Batch::new(Tensor::normal([2, 1, 4, 4], DType::F64, Key::new(1)), vec![0, 1]));
/// let attacked = loss.on(Attack::l2(0.5).inputs(&loss)?);
/// assert!(attacked.pass()?.loss.item() > loss.pass()?.loss.item());
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attack {
    /// The norm.
    pub norm: Norm,
    /// The radius of the ball; with 0 inputs remain as they are.
    pub eps: f64,
    /// The number of steps.
    pub steps: usize,
    /// The length of a step.
    pub step: f64,
    /// Whether to start at a uniform draw from the cube [-eps, eps]^d instead of 0; for l-inf.
    pub random_start: bool,
}

impl Attack {
    /// In l2, from 0, five steps of 1.5 eps / 5.
    pub fn l2(eps: f64) -> Attack {
        Attack { norm: Norm::L2, eps, steps: 5, step: 0.0, random_start: false }.steps(5)
    }

    /// In l-inf, from a random start, five steps of 0.01.
    pub fn linf(eps: f64) -> Attack {
        Attack { norm: Norm::LInf, eps, steps: 5, step: 0.01, random_start: true }
    }

    /// With another number of steps; in l2 their length becomes 1.5 eps / steps.
    pub fn steps(self, steps: usize) -> Attack {
        let step = match self.norm {
            Norm::L2 => 1.5 * self.eps / steps.max(1) as f64,
            Norm::LInf => self.step,
        };
        Attack { steps, step, ..self }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// If a number is out of range, or an attack in l2 has a random start.
    pub fn check(&self) -> Result<(), Error> {
        for (what, value) in [("eps", self.eps), ("step", self.step)] {
            if !(value >= 0.0 && value.is_finite()) {
                let text = format!("attack: {what} is {value}; it must be finite and not negative");
                return Err(Error::Config(text));
            }
        }
        if self.steps == 0 {
            return Err(Error::Config("attack: steps is 0; it must be at least 1".to_string()));
        }
        if self.norm == Norm::L2 && self.random_start {
            return Err(Error::Config("attack: a random start is for l-inf".to_string()));
        }
        Ok(())
    }

    /// The inputs of a batch after the attack: outside every graph. The loss is that of the outputs, without penalties
    /// and regulariser; the start is drawn from the key of its context.
    ///
    /// # Errors
    /// As [`Attack::check`] and [`BatchLoss::fit`]; if the network has no gradient by its inputs.
    ///
    /// # Panics
    /// If the inputs do not fit the model.
    pub fn inputs(&self, loss: &BatchLoss) -> Result<Tensor, Error> {
        let fixed = BatchLoss { model: loss.model.detached(), ..loss.clone() };
        let x = loss.batch.inputs.detach();
        let start = self.random_start.then(|| {
            let uniform = Tensor::uniform(x.shape(), x.dtype(), loss.context.stream("attack"));
            (uniform * 2.0 - 1.0) * self.eps
        });
        self.ascend(&x, start, |x| fixed.fit(x))
    }

    /// x + d after the steps on any function of the inputs, from `start` or 0.
    pub(crate) fn ascend(
        &self,
        x: &Tensor,
        start: Option<Tensor>,
        f: impl Fn(&Tensor) -> Result<Tensor, Error>,
    ) -> Result<Tensor, Error> {
        self.check()?;
        if self.eps == 0.0 || x.numel() == 0 {
            return Ok(x.clone());
        }
        let mut d = start.unwrap_or_else(|| Tensor::zeros(x.shape(), x.dtype()));
        for _ in 0..self.steps {
            let at = (x + &d).requires_grad();
            let y = f(&at)?;
            if !y.is_tracked() {
                let text =
                    "attack: the network has no gradient by its inputs (packed one-bit networks have none)";
                return Err(Error::Config(text.to_string()));
            }
            let g = y.grad(&at);
            d = self.norm.project(&(d + self.norm.direction(&g) * self.step), self.eps);
        }
        Ok(x + d)
    }
}

impl Norm {
    /// The direction of length 1 along which a function with gradient g rises fastest, row by row; 0 for a gradient of 0.
    fn direction(self, g: &Tensor) -> Tensor {
        match self {
            Norm::L2 => g.flatten(1).normalize_rows(0.0).reshape(g.shape()),
            Norm::LInf => g.sign(),
        }
    }

    /// The nearest point of the ball of radius `eps`, row by row.
    fn project(self, d: &Tensor, eps: f64) -> Tensor {
        match self {
            Norm::L2 => {
                let (unit, lengths) = d.flatten(1).normalize_rows_with_lengths(0.0);
                (unit * lengths.clamp(0.0, eps).unsqueeze(1)).reshape(d.shape())
            }
            Norm::LInf => d.clamp(-eps, eps),
        }
    }
}

/// The settings of attacks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AttackOptions {
    /// The radius; 0.1 by default.
    pub eps: Option<f64>,
    /// The number of steps; 5 by default.
    pub steps: Option<usize>,
    /// The length of a step; by default 1.5 eps / steps in l2, and 0.01 in l-inf.
    pub step: Option<f64>,
}

/// How an attack is made; `None`: there is none.
pub type AttackSpec = fn(&AttackOptions) -> Option<Attack>;

const SETTINGS: &[Setting] = &[Setting::new("eps"), Setting::new("steps"), Setting::new("step")];

/// Every attack that is chosen by name, the default first.
pub static ATTACKS: &[Row<AttackSpec>] = &[
    Row { name: "none", help: "inputs as they are", settings: &[], make: |_| None },
    Row {
        name: "pgd-l2",
        help: "projected gradient ascent in the Euclidean norm",
        settings: SETTINGS,
        make: |options| Some(options.of(Attack::l2)),
    },
    Row {
        name: "pgd-linf",
        help: "projected gradient ascent in the maximum norm, from a random start",
        settings: SETTINGS,
        make: |options| Some(options.of(Attack::linf)),
    },
];

impl AttackOptions {
    fn of(&self, attack: fn(f64) -> Attack) -> Attack {
        let attack = attack(self.eps.unwrap_or(0.1));
        let attack = attack.steps(self.steps.unwrap_or(attack.steps));
        Attack { step: self.step.unwrap_or(attack.step), ..attack }
    }
}

/// The accuracy of a classifier on inputs as they are and under an attack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Robustness {
    /// The number of inputs.
    pub images: usize,
    /// The share of inputs that are classified correctly.
    pub clean: f64,
    /// The share of inputs that are classified correctly both as they are and after the attack.
    pub robust: f64,
}

/// Evaluates a classifier under an attack on its cross-entropy: with running statistics and without dropout. Without
/// inputs the shares are NaN. Random starts are drawn from `key`, for each batch anew.
///
/// An attack finds some perturbation, not the worst one: the share is an upper bound of the accuracy that holds for all
/// perturbations of the ball.
///
/// # Errors
/// As [`Attack::check`]; if the targets are not classes of the model.
///
/// # Panics
/// If the inputs of a batch do not fit the model.
pub fn robust_accuracy(
    model: &Model,
    attack: Attack,
    batches: impl IntoIterator<Item = Batch>,
    key: Key,
) -> Result<Robustness, Error> {
    let (mut images, mut clean, mut robust) = (0, 0usize, 0usize);
    for (i, batch) in batches.into_iter().enumerate() {
        let mut context = Context::train(key.step(i as u64));
        context.train = false;
        let loss = BatchLoss { context, ..BatchLoss::new(model.detached(), batch) };
        let Some(labels) = loss.batch.targets.labels() else {
            return Err(Error::Config(
                "robust accuracy: the targets are real values; classes are needed".into(),
            ));
        };
        let ranks = |x: &Tensor| label_ranks(&loss.outputs(x).values, &labels);
        let before = ranks(&loss.batch.inputs);
        let after = ranks(&attack.inputs(&loss)?);
        images += labels.len();
        clean += before.iter().filter(|&&rank| rank == 0).count();
        robust += before.iter().zip(&after).filter(|&(&a, &b)| a == 0 && b == 0).count();
    }
    let share = |count: usize| count as f64 / images as f64;
    Ok(Robustness { images, clean: share(clean), robust: share(robust) })
}
