//! Memory promises. Counts are of the whole process, so these tests have a binary of their own and run one at a
//! time.

mod common;

use std::sync::Mutex;

use autograd::{DType, Key, Tensor, memory, set_threads};
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
