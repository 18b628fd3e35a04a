//! Trilinear contractions: a form T(a, b, c) that is linear in each argument, and one operation for each slot.
//!
//! Leaving one slot open and filling the other two gives a tensor of the open slot's shape. Matrix product and
//! convolution are "leave c open"; the gradient of any of the three operations with respect to an argument is
//! another of the three, so one rule serves all of them to every order.

use std::fmt::Debug;

use crate::node::{self, Rule};
use crate::pass::Pullback;
use crate::running;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// An argument of a trilinear form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    A,
    B,
    C,
}

impl Slot {
    /// The other two slots, in order.
    fn others(self) -> [Slot; 2] {
        match self {
            Slot::A => [Slot::B, Slot::C],
            Slot::B => [Slot::A, Slot::C],
            Slot::C => [Slot::A, Slot::B],
        }
    }
}

/// A trilinear form of fixed sizes.
pub(crate) trait Trilinear: Clone + Debug + Send + Sync + 'static {
    /// The name, in error messages and graph drawings, of the operation that leaves `open` open.
    fn name(&self, open: Slot) -> &'static str;
    /// Contracts the tensors in the other two slots, given in slot order as constants.
    fn contract(&self, open: Slot, p: &Tensor, q: &Tensor) -> Tensor;
    /// Floating-point operations of one contraction (the same for all three).
    fn flops(&self) -> u64;
}

/// The contraction that leaves `open` open, recorded; `p` and `q` fill the other slots, in slot order.
#[track_caller]
pub(crate) fn contract<F: Trilinear>(form: F, open: Slot, p: &Tensor, q: &Tensor) -> Tensor {
    let value = running::run(form.name(open), || form.contract(open, p, q));
    node::record(form.name(open), value, &[p, q], |_| TrilinearRule {
        p: q.is_tracked().then(|| p.value()),
        q: p.is_tracked().then(|| q.value()),
        form,
        open,
    })
}

/// Each factor is saved only if the other one needs a gradient.
#[derive(Debug)]
struct TrilinearRule<F> {
    form: F,
    open: Slot,
    p: Option<Tensor>,
    q: Option<Tensor>,
}

impl<F: Trilinear> Rule for TrilinearRule<F> {
    fn name(&self) -> &'static str {
        self.form.name(self.open)
    }

    fn pullback(&self, cx: &mut Pullback<'_>) {
        for (i, slot) in self.open.others().into_iter().enumerate() {
            if !cx.wants(i) {
                continue;
            }
            let kept = if i == 0 { &self.q } else { &self.p };
            let factor = cx.input(1 - i, kept.as_ref().expect("kept because this input is tracked"));
            // g fills the slot that was open; put the two factors in slot order.
            let g = cx.g().clone();
            let (p, q) = if slot.others()[0] == self.open { (g, factor) } else { (factor, g) };
            cx.give(i, contract(self.form.clone(), slot, &p, &q));
        }
    }

    fn kept_bytes(&self) -> usize {
        self.p.iter().chain(&self.q).map(|t| t.buffer().bytes()).sum()
    }

    fn flops(&self, _: &Shape) -> u64 {
        self.form.flops()
    }
}
