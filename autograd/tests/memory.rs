//! Memory promises. Counts are of the whole process, so these tests have a binary of their own and run one at a
//! time.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use autograd::{
    CrossEntropy, Custom, DType, Fused, Index, Key, Tensor, custom, fused, inspect, memory, profile,
    release_memory, set_threads,
};
use common::{small_net, small_net_step};

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

#[test]
fn a_chain_of_a_million_nodes_runs_forward_backward_and_drops() {
    let _guard = alone();
    let before = memory().live_buffers;
    {
        let x = Tensor::from(1.0).requires_grad();
        let mut y = x.clone();
        for _ in 0..1_000_000 {
            y = y.sin() + 1e-3;
        }
        let kept = y.clone();
        assert!(kept.grad(&[&x])[0].item().is_finite()); // leaves the graph as it is
        assert!(y.backward()[&x].item().is_finite());
        drop(kept); // the whole chain at once
    }
    assert_eq!(memory().live_buffers, before);
}

#[test]
fn consuming_backward_frees_the_graph_as_it_goes() {
    let _guard = alone();
    let x = Tensor::normal([1000], DType::F64, Key::new(1)).requires_grad();
    let before = memory().live_bytes;
    let mut y = x.clone();
    for _ in 0..100 {
        y = y.sin();
    }
    assert!(memory().live_bytes - before > 90 * 8000);
    let loss = y.sum(..);
    drop(y);
    let grads = loss.backward();
    assert_eq!(memory().live_bytes - before, 8000); // the gradient of x
    drop(grads);
    assert_eq!(memory().live_bytes, before);
}

#[test]
fn the_second_step_allocates_no_tensor_memory_and_the_live_count_returns() {
    let _guard = alone();
    set_threads(2);
    let (mut w, x) = small_net();
    let before = memory().live_buffers;
    small_net_step(&mut w, &x);
    small_net_step(&mut w, &x);
    let settled = memory();
    assert_eq!(settled.live_buffers, before);
    for _ in 0..5 {
        small_net_step(&mut w, &x);
        let now = memory();
        assert_eq!((now.live_buffers, now.allocations), (before, settled.allocations));
    }
}

#[test]
fn owners_that_drop_a_buffer_at_the_same_time_count_it_once() {
    let _guard = alone();
    let before = memory();
    for (len, count) in [(8, 20_000), (5000, 2000)] {
        let one: Vec<Tensor> = (0..count).map(|_| Tensor::zeros([len], DType::F32)).collect();
        let other = one.clone();
        thread::scope(|scope| {
            scope.spawn(|| drop(one));
            scope.spawn(|| drop(other));
        });
        let after = memory();
        assert_eq!((after.live_buffers, after.live_bytes), (before.live_buffers, before.live_bytes));
    }
}

#[test]
fn what_a_thread_had_is_counted_after_its_end() {
    let _guard = alone();
    let before = memory();
    let given = thread::spawn(|| Tensor::zeros([10], DType::F64)).join().unwrap();
    assert_eq!(memory().live_bytes, before.live_bytes + 80);
    thread::spawn(|| drop(given)).join().unwrap();
    assert_eq!((memory().live_buffers, memory().live_bytes), (before.live_buffers, before.live_bytes));
}

/// x, with a gradient that no memory is large enough for.
#[derive(Debug)]
struct Vast;
impl Custom for Vast {
    const NAME: &'static str = "vast";
    fn forward(&self, x: &[Tensor]) -> Tensor {
        &x[0] * 1.0
    }
    fn gradient(&self, _: &[Tensor], _: &Tensor, _: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(Tensor::zeros([1 << 50], DType::F64))]
    }
}

#[test]
fn out_of_memory_names_the_operation_the_shape_and_the_bytes() {
    let _guard = alone();
    let (row, column) = (Tensor::ones([1 << 25], DType::F32), Tensor::ones([1 << 25, 1], DType::F32));
    let x = Tensor::from(1.0).requires_grad();
    let y = custom(Vast, &[&x]);
    let before = memory();
    let message = |f: &dyn Fn()| {
        let error = catch_unwind(AssertUnwindSafe(f)).expect_err("no machine has so much memory");
        *error.downcast::<String>().expect("a message")
    };
    let table = "out of memory: 4503599627370496 bytes are needed for a tensor f32 [33554432, 33554432]";
    let line = line!() + 1;
    let added = message(&|| drop(&row + &column));
    assert_eq!(added, format!("{table} as the result of add called at {}:{line}:34", file!()));
    let product = message(&|| drop(column.matmul(&row.reshape([1, 1 << 25]))));
    assert!(
        product.starts_with(&format!("{table} as the result of matmul called at {}", file!())),
        "{product}"
    );
    let repeated = message(&|| drop(row.broadcast_to([1 << 25, 1 << 25])));
    assert!(repeated.starts_with(&format!("{table} as the result of broadcast called at")), "{repeated}");
    let gradient = message(&|| drop(y.grad(&[&x])));
    let expected = "out of memory: 9007199254740992 bytes are needed for a tensor f64 [1125899906842624] as the result of the \
                    gradient of vast called at";
    assert!(gradient.starts_with(expected), "{gradient}");
    // Outside of an operation there is none to name.
    let made = message(&|| drop(Tensor::zeros([1 << 50], DType::F32)));
    assert_eq!(made, "out of memory: 4503599627370496 bytes are needed for a tensor f32 [1125899906842624]");
    let after = memory();
    assert_eq!((after.live_buffers, after.live_bytes), (before.live_buffers, before.live_bytes));
}

/// a + b, as a fused operation that saves a tensor and as a custom one.
#[derive(Debug)]
struct Sum;
impl Fused for Sum {
    type Kept = (Tensor, Option<Tensor>);
    const NAME: &'static str = "fused_sum";
    fn definition(&self, x: &[Tensor]) -> Tensor {
        &x[0] + &x[1]
    }
    fn forward(&self, x: &[Tensor]) -> (Tensor, Self::Kept) {
        (&x[0] + &x[1], (Tensor::zeros([7], DType::F32), Some(Tensor::zeros([2], DType::F64))))
    }
    fn backward(&self, _: &[Tensor], _: &Self::Kept, g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        vec![Some(g.clone()), Some(g.clone())]
    }
}
impl Custom for Sum {
    const NAME: &'static str = "custom_sum";
    fn forward(&self, x: &[Tensor]) -> Tensor {
        &x[0] + &x[1]
    }
    fn gradient(&self, _: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(g.clone()), Some(g.clone())]
    }
}

/// What the last operation of `y` keeps, in bytes.
fn kept(y: &Tensor) -> usize {
    inspect(y).nodes.last().expect("a node").kept_bytes
}

#[test]
fn an_operation_keeps_what_its_gradient_needs_and_says_so() {
    let _guard = alone();
    let normal = |shape: &[usize], i: u64| Tensor::normal(shape, DType::F32, Key::new(i));
    let (a, b) = (normal(&[4, 5], 1), normal(&[5, 6], 2));
    let (ta, tb) = (a.requires_grad(), b.requires_grad());
    // A factor is kept if the other one has a gradient.
    assert_eq!(kept(&ta.matmul(&tb)), 4 * (20 + 30));
    assert_eq!(kept(&ta.matmul(&b)), 4 * 30);
    assert_eq!(kept(&a.matmul(&tb)), 4 * 20);
    assert_eq!(kept(&(&ta * &a)), 4 * 20);
    assert_eq!(kept(&(&ta * &ta)), 4 * (20 + 20));
    // The input, the output, both or neither.
    assert_eq!(kept(&ta.sin()), 4 * 20);
    assert_eq!(kept(&ta.exp()), 4 * 20);
    assert_eq!(kept(&(&ta / &a)), 4 * 20);
    assert_eq!(kept(&(&a / &ta)), 4 * (20 + 20));
    assert_eq!(kept(&(&ta + &ta)), 0);
    // Indices and masks.
    assert_eq!(kept(&ta.index_select(0, &Index::new(&[0, 2, 1], [3]))), 4 * 3);
    assert_eq!(kept(&a.gt(0.0).select(&ta, &a)), 4 * 20);
    assert_eq!(kept(&ta.transpose(0, 1)), 0);
    // The inputs and the output; the inputs and what a kernel saves.
    assert_eq!(kept(&custom(Sum, &[&ta, &ta])), 4 * (20 + 20 + 20));
    assert_eq!(kept(&fused(Sum, &[&ta, &ta])), 4 * (20 + 20) + 4 * 7 + 8 * 2);
    assert_eq!(kept(&ta.softmax(1)), 4 * (20 + 20));
    let loss = ta.cross_entropy(&Index::new(&[0, 1, 2, 3], [4]), CrossEntropy::default());
    let entropy =
        inspect(&loss).nodes.into_iter().find(|n| n.op.contains("cross_entropy")).expect("the loss");
    assert!(entropy.kept_bytes >= 4 * (20 + 20), "{}: {}", entropy.op, entropy.kept_bytes);

    let y = ta.softmax(1);
    let (_, profile) = profile(|| y.vjp(&a, &[&ta]));
    let row = profile.rows.iter().find(|row| row.op == "softmax").expect("softmax");
    assert_eq!(row.bytes, 4 * (20 + 20) + 4 * (20 + 20)); // what is kept; the gradients that came and went
}

#[test]
fn a_gradient_that_is_not_wanted_is_not_computed() {
    let _guard = alone();
    let [a, b] = [1, 2].map(|i| Tensor::normal([37, 37], DType::F32, Key::new(i)).requires_grad());
    let fresh = |y: &Tensor, inputs: &[&Tensor]| {
        release_memory();
        let before = memory().allocations;
        let gradients = y.grad(inputs);
        assert_eq!(gradients.len(), inputs.len());
        memory().allocations - before
    };
    for y in [a.matmul(&b), Tensor::concat(&[&a, &b], 0), a.gt(0.0).select(&a, &b), &a / &b] {
        let y = y.sum(..);
        let (first, second, both) = (fresh(&y, &[&a]), fresh(&y, &[&b]), fresh(&y, &[&a, &b]));
        assert!(first < both && second < both, "{y:?}: {first} and {second} buffers, {both} for both");
    }
}
