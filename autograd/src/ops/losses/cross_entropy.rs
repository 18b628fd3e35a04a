//! Cross-entropy between logits and labels or target probabilities.

use kernels::softmax::{self, Targets};

use super::Reduction;
use crate::dtype::{Scalar, dispatch};
use crate::kinds::elementwise::same_dtype;
use crate::kinds::fused::{Fused, fused};
use crate::ops::{Index, Mask};
use crate::sample::{Group, Input, Sample};
use crate::tensor::Tensor;

/// Options of [`Tensor::cross_entropy`] and [`Tensor::cross_entropy_soft`]. The default is the plain mean.
#[derive(Clone, Debug, Default)]
pub struct CrossEntropy {
    /// Label smoothing a (Szegedy et al. 2016): t' = (1 - a) t + a / K.
    pub label_smoothing: f64,
    /// A factor w_k for the term of each class; 1 if absent.
    pub class_weights: Option<Vec<f64>>,
    /// Items with this label are ignored: their loss and gradient are 0 for any logits, and the mean is over the others
    /// (NaN if there are none). It need not be below the number of classes: `Some(255)` is usual, where PyTorch has
    /// -100. [`Tensor::cross_entropy_soft`] has no labels and does not read it.
    pub ignore_index: Option<u32>,
    /// How per-item losses are reduced.
    pub reduction: Reduction,
}

impl CrossEntropy {
    /// w_k
    fn weight(&self, class: usize) -> f64 {
        self.class_weights.as_ref().map_or(1.0, |w| w[class])
    }

    /// Checks logits and options, and returns K.
    #[track_caller]
    fn check(&self, name: &str, logits: &Tensor) -> usize {
        assert!(logits.rank() == 2, "{name}: logits {} need two axes, [N, K]", logits.shape());
        let classes = logits.shape()[1];
        let a = self.label_smoothing;
        assert!((0.0..=1.0).contains(&a), "{name}: label_smoothing = {a} must be in 0..=1");
        if let Some(w) = &self.class_weights {
            assert!(
                w.len() == classes,
                "{name}: {} class weights for the {classes} classes of the logits {}",
                w.len(),
                logits.shape()
            );
            if let Some(class) = w.iter().position(|&w| !(w >= 0.0 && w.is_finite())) {
                panic!("{name}: class weight {class} is {}; it must be finite and not negative", w[class]);
            }
        }
        classes
    }
}

/// The losses of the items, `[N]`, for logits [N, K]: - sum_k T_nk log softmax(x_n)_k with constant T.
#[derive(Clone, Debug)]
struct ItemLosses {
    labels: Index,
    options: CrossEntropy,
}

impl ItemLosses {
    /// T_nk = w_k t'_nk.
    fn targets(&self, x: &Tensor) -> Tensor {
        let classes = x.shape()[1];
        let a = self.options.label_smoothing;
        Tensor::from_fn(x.shape(), x.dtype(), |i| {
            let (item, class) = (i / classes, i % classes);
            let hit = if self.labels.data()[item] as usize == class { 1.0 - a } else { 0.0 };
            self.options.weight(class) * (hit + a / classes as f64)
        })
    }

    /// Calls `f` with the same targets as the kernels take them, for logits `x`.
    fn with_targets<T: Scalar, R>(&self, x: &Tensor, f: impl FnOnce(&Targets<T>) -> R) -> R {
        let weights = self.options.class_weights.as_ref();
        let weights: Option<Vec<T>> = weights.map(|w| w.iter().map(|&w| T::from_f64(w)).collect());
        f(&Targets {
            labels: self.labels.data(),
            classes: x.shape()[1],
            smoothing: T::from_f64(self.options.label_smoothing),
            weights: weights.as_deref(),
        })
    }
}

impl Fused for ItemLosses {
    /// log softmax x.
    type Kept = Tensor;
    const NAME: &'static str = "cross_entropy";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        let targets = self.targets(&x[0]);
        // Where T is 0, a logit of -infinity has no effect.
        let log_p = x[0].log_softmax(1).masked_fill(&targets.eq(0.0), 0.0);
        -(log_p * targets).sum(1)
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, Tensor) {
        let x = &x[0];
        dispatch!(x.dtype(), T => self.with_targets(x, |targets| {
            let mut losses = vec![<T as kernels::Element>::ZERO; self.labels.numel()];
            let log_p = Tensor::build::<T>(*x.shape(), |log_p| {
                softmax::cross_entropy_forward(x.slice(), targets, log_p, &mut losses);
            });
            (Tensor::new(&losses, [losses.len()]), log_p)
        }))
    }

    fn backward(&self, _: &[Tensor], log_p: &Tensor, g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        let dx = dispatch!(g.dtype(), T => self.with_targets(log_p, |targets| {
            Tensor::build::<T>(*log_p.shape(), |dx| {
                softmax::cross_entropy_backward(log_p.slice(), targets, g.slice(), dx);
            })
        }));
        vec![Some(dx)]
    }
}

/// # Cross-entropy
impl Tensor {
    /// The cross-entropy of logits [N, K] and labels `[N]`: for each item - w_y log softmax(x)_y, with label
    /// smoothing - sum_k w_k t'_k log softmax(x)_k. As in PyTorch, the mean of weighted losses divides by the sum
    /// of the labels' weights, not by N. A scalar, or `[N]` if not reduced.
    ///
    /// # Panics
    /// If the logits do not have two axes, the labels are not `[N]`, a label is not below K, the weights are not K,
    /// or the smoothing is not in 0..=1.
    ///
    /// ```
    /// # use autograd::{CrossEntropy, Index, Tensor};
    /// let logits = Tensor::from([[0.0, 3f64.ln()]]);
    /// let loss = logits.cross_entropy(&Index::from([1]), CrossEntropy::default());
    /// assert!((loss.item() - (4.0f64 / 3.0).ln()).abs() < 1e-15);
    /// ```
    #[track_caller]
    pub fn cross_entropy(&self, labels: &Index, options: CrossEntropy) -> Tensor {
        let classes = options.check("cross_entropy", self);
        assert!(
            *labels.shape() == [self.shape()[0]],
            "cross_entropy: labels {} must be [{}], one for each item of the logits {}",
            labels.shape(),
            self.shape()[0],
            self.shape()
        );
        let ignored = |label: u32| options.ignore_index == Some(label);
        if labels.data().iter().any(|&label| ignored(label)) {
            return self.cross_entropy_ignoring(labels, options);
        }
        if let Some(at) = labels.data().iter().position(|&label| label as usize >= classes) {
            panic!(
                "cross_entropy: label {} at position {at} is not below {classes}, the number of classes",
                labels.data()[at]
            );
        }
        let total: f64 = labels.data().iter().map(|&label| options.weight(label as usize)).sum();
        let reduction = options.reduction;
        let losses = fused(ItemLosses { labels: labels.clone(), options }, &[self]);
        match reduction {
            Reduction::Mean => losses.sum(..) / total,
            other => other.of(losses),
        }
    }

    /// [`Tensor::cross_entropy`] where some labels are the ignored one.
    #[track_caller]
    fn cross_entropy_ignoring(&self, labels: &Index, options: CrossEntropy) -> Tensor {
        let classes = self.shape()[1];
        let ignored: Vec<bool> = labels.data().iter().map(|&l| options.ignore_index == Some(l)).collect();
        let others = || labels.data().iter().enumerate().filter(|&(i, _)| !ignored[i]);
        if let Some((at, label)) = others().find(|&(_, &label)| label as usize >= classes) {
            panic!(
                "cross_entropy: label {label} at position {at} is not below {classes}, the number of classes"
            );
        }
        let total: f64 = others().map(|(_, &label)| options.weight(label as usize)).sum();
        let labels: Vec<u32> =
            labels.data().iter().zip(&ignored).map(|(&l, &out)| if out { 0 } else { l }).collect();
        let ignored = Mask::new(&ignored, [ignored.len()]);
        // Left out before the loss, too, so that NaN in their logits has no effect.
        let rows = Mask::new(&ignored.to_vec(), [labels.len(), 1]);
        let logits = self.masked_fill(&rows, 0.0);
        let reduction = options.reduction;
        let losses = fused(ItemLosses { labels: Index::from(labels), options }, &[&logits]);
        let losses = losses.masked_fill(&ignored, 0.0);
        match reduction {
            Reduction::Mean => losses.sum(..) / total,
            other => other.of(losses),
        }
    }

    /// The cross-entropy of logits [N, K] and target probabilities [N, K]: for each item - sum_k w_k t'_k
    /// log softmax(x)_k, differentiable in both. The mean divides by N, as in PyTorch also with weights. A class with
    /// w_k t'_k = 0 has no effect, even if its logit is -infinity.
    ///
    /// # Panics
    /// If the shapes differ or do not have two axes, the weights are not K, or the smoothing is not in 0..=1.
    #[track_caller]
    pub fn cross_entropy_soft(&self, targets: &Tensor, options: CrossEntropy) -> Tensor {
        same_dtype("cross_entropy_soft", self, targets);
        let classes = options.check("cross_entropy_soft", self);
        assert!(
            self.shape() == targets.shape(),
            "cross_entropy_soft: logits {} and targets {} must have the same shape",
            self.shape(),
            targets.shape()
        );
        let a = options.label_smoothing;
        let smoothed = if a == 0.0 { targets.clone() } else { targets * (1.0 - a) + a / classes as f64 };
        let weights = Tensor::from_fn([classes], self.dtype(), |class| -options.weight(class));
        let targets = smoothed * weights;
        let log_p = self.log_softmax(1);
        // Where the target is 0, a logit of -infinity has no effect.
        let impossible = log_p.eq(f64::NEG_INFINITY);
        let log_p = match impossible.any() {
            true => log_p.masked_fill(&impossible.and(&targets.eq(0.0)), 0.0),
            false => log_p,
        };
        options.reduction.of((log_p * targets).sum(1))
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let options = |label_smoothing: f64, weighted: bool, reduction: Reduction| CrossEntropy {
        label_smoothing,
        class_weights: weighted.then(|| vec![0.5, 2.0, 1.5, 0.0]),
        ignore_index: None,
        reduction,
    };
    let labels = |case: &str, options: CrossEntropy| {
        Sample::new("cross_entropy", case, [Input::normal([3, 4])], move |x| {
            x[0].cross_entropy(&Index::from([2, 0, 2]), options.clone())
        })
    };
    let soft = |case: &str, options: CrossEntropy| {
        let inputs = [Input::normal([3, 4]), Input::uniform(0.0, 1.0, [3, 4])];
        Sample::new("cross_entropy_soft", case, inputs, move |x| {
            x[0].cross_entropy_soft(&x[1], options.clone())
        })
    };
    use Reduction::{Mean, Sum};
    let list = vec![
        labels("mean", options(0.0, false, Mean)),
        labels("sum", options(0.0, false, Sum)),
        labels("items", options(0.0, false, Reduction::None)),
        labels("smoothed", options(0.1, false, Mean)),
        labels("weighted", options(0.0, true, Mean)),
        labels("weighted and smoothed", options(0.2, true, Mean)),
        Sample::new("cross_entropy", "one ignored", [Input::normal([3, 4])], |x| {
            let options =
                CrossEntropy { ignore_index: Some(255), label_smoothing: 0.1, ..Default::default() };
            x[0].cross_entropy(&Index::from([2, 255, 1]), options)
        }),
        Sample::new("cross_entropy", "one class", [Input::normal([2, 1])], |x| {
            x[0].cross_entropy(&Index::from([0, 0]), CrossEntropy::default())
        }),
        Sample::new("cross_entropy", "no items", [Input::normal([0, 3])], |x| {
            x[0].cross_entropy(
                &Index::new::<u32>(&[], [0]),
                CrossEntropy { reduction: Sum, ..Default::default() },
            )
        }),
        Sample::new("cross_entropy", "many classes", [Input::normal([2, 70])], |x| {
            x[0].cross_entropy(
                &Index::from([69, 3]),
                CrossEntropy { label_smoothing: 0.1, ..Default::default() },
            )
        }),
        soft("mean", options(0.0, false, Mean)),
        soft("items", options(0.0, false, Reduction::None)),
        soft("weighted and smoothed", options(0.2, true, Sum)),
        Sample::new("cross_entropy_soft", "targets from the logits", [Input::normal([2, 3])], |x| {
            x[0].cross_entropy_soft(&x[0].softmax(1), CrossEntropy::default())
        }),
    ];
    list.into_iter().map(|s| s.group(Group::Loss)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Key, gradcheck};

    fn logits() -> Tensor {
        Tensor::normal([4, 3], DType::F64, Key::new(1))
    }

    /// The sum it stands for, written out.
    fn naive(x: &Tensor, labels: &[u32], o: &CrossEntropy) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        for (n, &y) in labels.iter().enumerate() {
            let row: Vec<f64> = (0..3).map(|k| x.at(&[n, k])).collect();
            let z: f64 = row.iter().map(|v| v.exp()).sum();
            for (k, v) in row.iter().enumerate() {
                let t = if k == y as usize { 1.0 - o.label_smoothing } else { 0.0 };
                sum -= o.weight(k) * (t + o.label_smoothing / 3.0) * (v.exp() / z).ln();
            }
            total += o.weight(y as usize);
        }
        sum / total
    }

    #[test]
    fn agrees_with_the_sum_it_stands_for() {
        let labels = Index::from([2, 0, 1, 2]);
        for label_smoothing in [0.0, 0.3] {
            for class_weights in [None, Some(vec![0.5, 1.0, 3.0])] {
                let o = CrossEntropy {
                    label_smoothing,
                    class_weights,
                    reduction: Reduction::Mean,
                    ..Default::default()
                };
                let got = logits().cross_entropy(&labels, o.clone()).item();
                assert!((got - naive(&logits(), labels.data(), &o)).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn ignored_items_count_nothing() {
        let nan = f64::NAN;
        let x = Tensor::from([[0.3, -1.0, 2.0], [nan, nan, nan], [1.0, 0.5, 0.0]]).requires_grad();
        let kept = Tensor::from([[0.3, -1.0, 2.0], [1.0, 0.5, 0.0]]).requires_grad();
        for reduction in [Reduction::Mean, Reduction::Sum] {
            for class_weights in [None, Some(vec![0.5, 1.0, 3.0])] {
                let o =
                    CrossEntropy { ignore_index: Some(7), class_weights, reduction, ..Default::default() };
                let loss = x.cross_entropy(&Index::from([2, 7, 0]), o.clone());
                let exact =
                    kept.cross_entropy(&Index::from([2, 0]), CrossEntropy { ignore_index: None, ..o });
                assert_eq!(loss.item(), exact.item());
                for (d, exact) in
                    [(loss.grad(&x), exact.grad(&kept)), (loss.recorded().grad(&x), exact.grad(&kept))]
                {
                    let (d, exact) = (d.to_vec::<f64>(), exact.to_vec::<f64>());
                    assert_eq!(d[3..6], [0.0; 3]);
                    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-15;
                    assert!(d[..3].iter().chain(&d[6..]).zip(&exact).all(near), "{d:?} {exact:?}");
                }
            }
        }
        let o = CrossEntropy { ignore_index: Some(0), ..Default::default() };
        let none = x.cross_entropy(&Index::from([0, 0, 0]), o.clone());
        assert!(none.item().is_nan());
        let each = CrossEntropy { reduction: Reduction::None, ..o };
        assert_eq!(x.cross_entropy(&Index::from([0, 0, 0]), each).to_vec::<f64>(), [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "cross_entropy: label 3 at position 1 is not below 3, the number of classes")]
    fn other_labels_are_still_checked() {
        let o = CrossEntropy { ignore_index: Some(255), ..Default::default() };
        let _ = logits().cross_entropy(&Index::from([255, 3, 0, 5]), o);
    }

    #[test]
    fn sure_and_excluded_classes_are_finite() {
        let x = Tensor::from([[1e4, 0.0, f64::NEG_INFINITY], [0.0, -1e4, 0.0]]).requires_grad();
        let loss = x.cross_entropy(
            &Index::from([0, 1]),
            CrossEntropy { reduction: Reduction::None, ..Default::default() },
        );
        assert_eq!(loss.at(&[0]), 0.0);
        assert!((loss.at(&[1]) - 1e4 - 2f64.ln()).abs() < 1e-11);
        let sum = loss.sum(..);
        let recorded = sum.recorded().grad(&[&x]).remove(0).to_vec::<f64>();
        let g = sum.backward()[&x].to_vec::<f64>();
        assert_eq!(g[..3], [0.0; 3]);
        assert!(g.iter().zip(&recorded).all(|(a, b)| (a - b).abs() < 1e-15), "{g:?} {recorded:?}");
        let x = Tensor::from([[0.0f32, f32::NEG_INFINITY]]);
        assert_eq!(x.cross_entropy(&Index::from([0]), CrossEntropy::default()).item(), 0.0);
        assert_eq!(x.cross_entropy(&Index::from([1]), CrossEntropy::default()).item(), f64::INFINITY);
    }

    /// The loss and its gradients by the inputs, from kernels and recorded.
    fn both_ways(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) -> Vec<(f64, Vec<f64>)> {
        let x: Vec<Tensor> = inputs.iter().map(Tensor::requires_grad).collect();
        let refs: Vec<&Tensor> = x.iter().collect();
        let y = f(&x);
        let flat = |d: Vec<Tensor>| d.iter().flat_map(Tensor::to_vec::<f64>).collect();
        vec![(y.item(), flat(y.recorded().grad(&refs))), (y.item(), flat(y.grad(&refs)))]
    }

    #[test]
    fn a_class_without_a_target_counts_nothing_where_it_is_impossible() {
        let inf = f64::INFINITY;
        let (x, t) = (Tensor::from([[-inf, 0.0]]), Tensor::from([[0.0, 1.0]]));
        for (loss, d) in both_ways(&[x, t], |x| x[0].cross_entropy_soft(&x[1], CrossEntropy::default())) {
            assert_eq!((loss, d), (0.0, vec![0.0; 4]));
        }
        // A target of 0 whose class is possible still has a gradient.
        let (x, t) = (Tensor::from([[0.0, 0.0]]), Tensor::from([[0.0, 1.0]]));
        for (_, d) in both_ways(&[x, t], |x| x[0].cross_entropy_soft(&x[1], CrossEntropy::default())) {
            assert!(d[2] == 2f64.ln() && d[3] == 2f64.ln(), "{d:?}");
        }
        // The weight decides as well, for any number of classes and for the label itself.
        for classes in [3, 40] {
            for excluded in [1, classes - 1] {
                let row = |i: usize| if i == excluded { -inf } else { 0.1 * i as f64 };
                let x = Tensor::from_fn([1, classes], DType::F64, row);
                let mut weights = vec![1.0; classes];
                weights[excluded] = 0.0;
                let o = CrossEntropy {
                    label_smoothing: 0.1,
                    class_weights: Some(weights),
                    reduction: Reduction::Sum,
                    ..Default::default()
                };
                for label in [0, excluded] {
                    let labels = Index::from([label as u32]);
                    let found =
                        both_ways(std::slice::from_ref(&x), |x| x[0].cross_entropy(&labels, o.clone()));
                    let z: f64 = (0..classes).map(|i| row(i).exp()).sum();
                    let each = (0..classes).filter(|&i| i != excluded).map(|i| -(row(i) - z.ln()));
                    let own = if label == 0 { 0.9 * z.ln() } else { 0.0 };
                    let want = own + 0.1 / classes as f64 * each.sum::<f64>();
                    for (loss, d) in found {
                        assert!(
                            (loss - want).abs() < 1e-14 * want && d.iter().all(|d| d.is_finite()),
                            "{loss} {d:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_gradient_of_a_sure_label_has_all_its_digits() {
        let x = Tensor::from([[37.43, 0.0]]);
        let p = (-37.43f64).exp() / (1.0 + (-37.43f64).exp());
        for o in [None, Some(vec![2.0, 5.0])] {
            let weight = o.as_ref().map_or(1.0, |w| w[0]);
            let o = CrossEntropy { class_weights: o, reduction: Reduction::Sum, ..Default::default() };
            for (_, d) in
                both_ways(std::slice::from_ref(&x), |x| x[0].cross_entropy(&Index::from([0]), o.clone()))
            {
                assert!((d[0] / (-p * weight) - 1.0).abs() < 1e-14 && d[1] == -d[0], "{d:?}");
            }
        }
    }

    #[test]
    fn the_third_order_is_right_too() {
        let o = CrossEntropy { label_smoothing: 0.1, ..Default::default() };
        gradcheck(|x| x[0].cross_entropy(&Index::from([2, 0, 1, 2]), o.clone()), &[logits()], 3).assert();
    }

    #[test]
    #[should_panic(expected = "cross_entropy: label 3 at position 2 is not below 3, the number of classes")]
    fn labels_are_classes() {
        let _ = logits().cross_entropy(&Index::from([0, 1, 3, 5]), CrossEntropy::default());
    }

    #[test]
    #[should_panic(
        expected = "cross_entropy: labels [2] must be [4], one for each item of the logits [4, 3]"
    )]
    fn every_item_has_a_label() {
        let _ = logits().cross_entropy(&Index::from([0, 1]), CrossEntropy::default());
    }

    #[test]
    #[should_panic(expected = "cross_entropy_soft: logits [4, 3] and targets [3] must have the same shape")]
    fn every_item_has_targets() {
        let _ = logits().cross_entropy_soft(&Tensor::from([0.0, 0.5, 0.5]), CrossEntropy::default());
    }
}
