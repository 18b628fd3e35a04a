//! Where the time of a computation goes, by operation.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::dtype::DType;
use crate::node::NodeRef;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The time of a computation by operation. Made by [`profile`].
#[derive(Clone, Debug)]
pub struct Profile {
    /// One row per operation, the slowest first; then the time between operations.
    pub rows: Vec<ProfileRow>,
    /// The time of the whole computation.
    pub total: Duration,
}

/// One operation of a [`Profile`], in one direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProfileRow {
    /// Its name; `-` for the time between operations, in optimisers for example.
    pub op: &'static str,
    /// Whether this is its part of the reverse pass.
    pub backward: bool,
    /// How often it ran.
    pub calls: u64,
    /// The total time of all calls.
    pub time: Duration,
    /// Bytes of its inputs and outputs; in the reverse pass, of what was saved for backward, and of the incoming and
    /// outgoing gradients. A lower bound of the memory traffic without caches.
    pub bytes: u64,
    /// Floating-point operations; in the reverse pass, those of the forward pass for each input with a gradient.
    /// Forward, only of operations that are part of a graph.
    pub flops: u64,
}

impl Profile {
    /// Floating-point operations in total.
    pub fn flops(&self) -> u64 {
        self.rows.iter().map(|row| row.flops).sum()
    }

    /// Bytes in total.
    pub fn bytes(&self) -> u64 {
        self.rows.iter().map(|row| row.bytes).sum()
    }
}

/// A profile that is being taken.
struct Recording {
    rows: HashMap<(&'static str, bool), ProfileRow>,
    /// When the last operation ended.
    last: Instant,
}

thread_local! {
    /// Whether a profile is being taken and no rule is running: the operations inside a rule are counted as the rule.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
    static RECORDING: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// Runs `f` and measures the time of each operation, forward and in reverse passes. Operations run when they are
/// called, so the time from the end of one to the end of the next is attributed to the next one. What runs in a nested
/// profile is counted by the inner one only.
///
/// ```
/// use autograd::{DType, Key, Tensor, profile};
/// let [a, b] = [1, 2].map(|k| Tensor::normal([50, 50], DType::F32, Key::new(k)).requires_grad());
/// let (grads, profile) = profile(|| a.matmul(&b).sum(..).backward());
/// assert_eq!(grads.len(), 2);
/// let product = profile.rows.iter().find(|r| r.op == "matmul" && r.backward).unwrap();
/// assert_eq!((product.calls, product.flops), (1, 2 * 2 * 50 * 50 * 50));
/// assert!(profile.flops() >= 3 * 2 * 50 * 50 * 50);
/// println!("{profile}");
/// ```
pub fn profile<R>(f: impl FnOnce() -> R) -> (R, Profile) {
    /// Restores the outer profile, also when `f` panics.
    struct Restore(Option<Recording>, bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECORDING.with(|r| *r.borrow_mut() = self.0.take());
            RUNNING.set(self.1);
        }
    }
    let start = Instant::now();
    let outer = RECORDING.with(|r| r.borrow_mut().replace(Recording { rows: HashMap::new(), last: start }));
    let restore = Restore(outer, RUNNING.replace(true));
    let result = f();
    let total = start.elapsed();
    let recording = RECORDING.with(|r| r.borrow_mut().take()).expect("begun above");
    drop(restore);
    let mut rows: Vec<ProfileRow> = recording.rows.into_values().collect();
    let free = |op| rows.iter().any(|row| row.op == op && !row.backward && row.bytes == 0);
    let free: Vec<bool> = rows.iter().map(|row| free(row.op)).collect();
    rows.iter_mut().zip(free).filter(|(_, free)| *free).for_each(|(row, _)| row.bytes = 0);
    rows.sort_by_key(|row| (std::cmp::Reverse(row.time), row.op, row.backward));
    let known: Duration = rows.iter().map(|row| row.time).sum();
    rows.push(ProfileRow { op: "-", calls: 1, time: total.saturating_sub(known), ..ProfileRow::default() });
    (result, Profile { rows, total })
}

/// Whether operations are recorded.
#[inline]
pub(crate) fn running() -> bool {
    RUNNING.get()
}

/// Records that an operation has just returned `value`.
#[cold]
pub(crate) fn forward(op: &'static str, value: &Tensor, inputs: &[&Tensor], flops: u64) {
    // A reshape moves no data.
    let (mut moved, mut free) = (bytes(value.shape(), value.dtype()), false);
    for x in inputs {
        moved += bytes(x.shape(), x.dtype());
        free |= x.shares_data(value);
    }
    note(op, false, if free { 0 } else { moved }, flops);
}

/// Runs the rule of `node` for the gradient `g` of its result, and records it.
#[cold]
pub(crate) fn backward(node: &NodeRef, g: Tensor, rule: impl FnOnce(Tensor)) {
    let gradients = || node.edges.iter().filter(|edge| edge.is_tracked());
    let sent: u64 = gradients().map(|edge| bytes(&edge.shape, g.dtype())).sum();
    let moved = bytes(g.shape(), g.dtype()) + node.rule.kept_bytes() as u64 + sent;
    let flops = node.rule.flops(&node.shape) * gradients().count() as u64;
    // The time of the reverse pass between two rules is attributed to the next one.
    RUNNING.set(false);
    rule(g);
    RUNNING.set(true);
    note(node.rule.name(), true, moved, flops);
}

fn note(op: &'static str, backward: bool, bytes: u64, flops: u64) {
    RECORDING.with(|r| {
        let mut recording = r.borrow_mut();
        let Some(Recording { rows, last }) = recording.as_mut() else { return };
        let row = rows.entry((op, backward)).or_insert_with(|| ProfileRow {
            op,
            backward,
            ..ProfileRow::default()
        });
        let now = Instant::now();
        row.time += now - *last;
        row.calls += 1;
        row.bytes += bytes;
        row.flops += flops;
        *last = now;
    });
}

fn bytes(shape: &Shape, dtype: DType) -> u64 {
    (shape.numel() * dtype.bytes()) as u64
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24} {:<8} {:>6} {:>10} {:>6} {:>9} {:>8} {:>9} {:>8}",
            "operation", "pass", "calls", "ms", "%", "MB", "GB/s", "MFLOP", "GFLOP/s"
        )?;
        for row in &self.rows {
            let seconds = row.time.as_secs_f64();
            let share = 100.0 * seconds / self.total.as_secs_f64();
            let pass = match (row.op, row.backward) {
                ("-", _) => "",
                (_, true) => "backward",
                _ => "forward",
            };
            let rate = |amount: u64| amount as f64 / seconds / 1e9;
            writeln!(
                f,
                "{:<24} {pass:<8} {:>6} {:>10.3} {share:>6.1} {:>9.1} {:>8.1} {:>9.1} {:>8.1}",
                row.op,
                row.calls,
                1e3 * seconds,
                row.bytes as f64 / 1e6,
                rate(row.bytes),
                row.flops as f64 / 1e6,
                rate(row.flops)
            )?;
        }
        write!(f, "{:<24} {:<8} {:>6} {:>10.3}", "total", "", "", 1e3 * self.total.as_secs_f64())
    }
}

/// The sum over a recorded chain of `count` operations (product, sum, sine, difference, in turn) on `len` numbers, whose
/// time, divided by `count`, is what an operation costs apart from its arithmetic.
///
/// It is defined in this crate so that it is compiled like the operations, not like the code that measures it.
///
/// ```
/// let gradients = autograd::tiny_operations(1000, 8).backward();
/// assert_eq!(gradients.len(), 4);
/// ```
pub fn tiny_operations(count: usize, len: usize) -> Tensor {
    let leaf = |v: f64| Tensor::full([len], v, DType::F32).requires_grad();
    let [mut t, a, b, c] = [0.5, 1.0001, 0.001, 0.0005].map(leaf);
    for _ in 0..count / 4 {
        t = (&t * &a + &b).sin() - &c;
    }
    t.sum(..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_ran_and_nothing_else() {
        let x = Tensor::from([1.0, 2.0, 3.0]).requires_grad();
        let before = x.exp();
        let ((), profile) = profile(|| {
            let y = (&x * &x).tanh() + &before;
            let _ = y.sum(..).backward();
        });
        let find = |op, backward| profile.rows.iter().find(|r| r.op == op && r.backward == backward).cloned();
        for op in ["mul", "tanh", "add", "sum"] {
            assert_eq!(find(op, false).map(|r| r.calls), Some(1), "{op}");
            assert_eq!(find(op, true).map(|r| r.calls), Some(1), "{op}");
        }
        // Made before, differentiated inside.
        assert_eq!((find("exp", false), find("exp", true).map(|r| r.calls)), (None, Some(1)));
        let product = find("mul", false).unwrap();
        assert_eq!((product.bytes, product.flops), (3 * 3 * 8, 3));
        let ((), shaped) = super::profile(|| drop(x.reshape([3, 1]).sum(..).backward()));
        let moved = |backward| {
            shaped.rows.iter().find(|r| r.op == "reshape" && r.backward == backward).unwrap().bytes
        };
        assert_eq!([moved(false), moved(true)], [0, 0]);
        let sum: Duration = profile.rows.iter().map(|r| r.time).sum();
        assert_eq!(sum, profile.total);
        assert!(!running());
    }

    #[test]
    fn ends_when_the_computation_panics() {
        let panicked = std::panic::catch_unwind(|| profile(|| panic!("as it may")));
        assert!(panicked.is_err() && !running());
    }
}
