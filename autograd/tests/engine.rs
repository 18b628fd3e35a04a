//! Promises of the engine as a whole: orders, threads, cuts, misuse. Memory is in memory.rs.

mod common;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::thread;

use autograd::{DType, Key, Tensor, detect_anomaly, inspect, parallel_map, set_threads, threads};
use common::{small_net, small_net_step};
use rayon::prelude::*;

/// The number of threads belongs to the process: tests that set it take turns.
static THREADS: Mutex<()> = Mutex::new(());

/// The bits of losses and weights after some steps.
fn trained_bits() -> (Vec<u64>, Vec<u32>) {
    let (mut w, x) = small_net();
    let losses: Vec<u64> = (0..3).map(|_| small_net_step(&mut w, &x).to_bits()).collect();
    let weights: Vec<u32> = w.iter().flat_map(|w| w.data::<f32>().iter().map(|v| v.to_bits())).collect();
    (losses, weights)
}

#[test]
fn training_gives_the_same_bits_for_any_number_of_threads() {
    let _turn = THREADS.lock();
    let run = |n: usize| {
        set_threads(n);
        assert_eq!(threads(), n);
        trained_bits()
    };
    let one = run(1);
    for n in [2, 3, 7] {
        assert!(run(n) == one, "{n} threads gave other bits than one");
    }
    set_threads(2);
}

#[test]
fn training_gives_the_same_bits_in_a_rayon_pool_nested_and_at_the_same_time() {
    let _turn = THREADS.lock();
    set_threads(1);
    let one = trained_bits();
    set_threads(3);
    for size in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(size).build().unwrap();
        assert_eq!(pool.install(threads), size.min(3));
        assert!(pool.install(trained_bits) == one, "in a pool of {size}");
        // The pool's own loop: whole trainings as its pieces.
        let all: Vec<_> = pool.install(|| (0..7).into_par_iter().map(|_| trained_bits()).collect());
        assert!(all.iter().all(|bits| *bits == one), "7 trainings in a pool of {size}");
    }
    // A loop of the engine whose pieces train, and ordinary threads that train at the same time.
    assert!(parallel_map(5, |_| trained_bits()).iter().all(|bits| *bits == one));
    thread::scope(|scope| {
        let others: Vec<_> = (0..3).map(|_| scope.spawn(trained_bits)).collect();
        others.into_iter().for_each(|other| assert!(other.join().unwrap() == one));
    });
    set_threads(2);
}

#[test]
fn a_live_graph_never_sees_an_update() {
    let mut w = Tensor::from([2.0, 3.0]).requires_grad();
    let y = (&w * &w).sum(..);
    w.update::<f64>(|w| w.fill(100.0));
    assert_eq!(y.backward()[&w].to_vec::<f64>(), [4.0, 6.0]); // 2 w, as w was
    assert_eq!(w.to_vec::<f64>(), [100.0, 100.0]);
}

#[test]
fn an_update_without_other_holders_is_in_place() {
    let mut w = Tensor::zeros([64], DType::F32).requires_grad();
    let before = w.data::<f32>().as_ptr();
    w.update::<f32>(|w| w[0] = 1.0);
    assert_eq!(w.data::<f32>().as_ptr(), before);
}

#[test]
fn only_wanted_gradients_are_computed() {
    // The branch through b would panic in anomaly mode if it were visited: 0 * log'(0) is not a number.
    let a = Tensor::from(2.0).requires_grad();
    let b = Tensor::from(0.0).requires_grad();
    let y = &a * 3.0 + b.sqrt();
    let g = detect_anomaly(|| y.grad(&[&a])).expect("the branch through b is not visited");
    assert_eq!(g[0].item(), 3.0);
    assert!(detect_anomaly(|| y.grad(&[&b])).is_err());
}

#[test]
fn a_gradient_of_an_intermediate_value() {
    let x = Tensor::from(2.0).requires_grad();
    let h = &x * &x;
    let y = h.sin() * &x;
    let g = y.grad(&[&h, &x]);
    assert!((g[0].item() - 2.0 * 4f64.cos()).abs() < 1e-15);
    assert!((g[1].item() - (4f64.sin() + 2.0 * 4f64.cos() * 4.0)).abs() < 1e-14);
}

#[test]
fn third_order_by_hand() {
    let x = Tensor::from(0.7).requires_grad();
    let y = x.tanh();
    let d1 = y.recorded().grad(&[&x]).remove(0);
    let d2 = d1.recorded().grad(&[&x]).remove(0);
    let d3 = d2.grad(&[&x]).remove(0).item();
    let t = 0.7f64.tanh();
    let expected = -2.0 * (1.0 - t * t) * (1.0 - 3.0 * t * t);
    assert!((d3 - expected).abs() < 1e-14);
}

#[test]
fn a_missing_gradient_names_the_cut() {
    let a = Tensor::from(2.0).requires_grad();
    let b = Tensor::from(3.0).requires_grad();
    let cut = a.sin().detach();
    let line = line!() - 1;
    let grads = (cut * &b).backward();
    let reason = grads.reason(&a);
    assert!(grads.get(&a).is_none());
    assert!(reason.contains("does not depend on it"), "{reason}");
    assert!(reason.contains(&format!("cut by detach at {}:{line}", file!())), "{reason}");
}

#[test]
#[should_panic(expected = "depends on nothing that requires a gradient: the graph was cut by detach at")]
fn backward_from_behind_a_cut_says_so() {
    let a = Tensor::from(2.0).requires_grad();
    let _ = a.sin().detach().exp().backward();
}

#[test]
#[should_panic(
    expected = "backward: the gradient of a tensor of shape [2] is not defined; reduce it to one element"
)]
fn backward_needs_a_scalar() {
    let _ = Tensor::from([1.0, 2.0]).requires_grad().backward();
}

#[test]
#[should_panic(expected = "update: this tensor of shape [] is the result of a recorded operation")]
fn a_recorded_result_cannot_be_changed() {
    let a = Tensor::from(2.0).requires_grad();
    (&a * 2.0).update::<f64>(|v| v[0] = 0.0);
}

#[test]
fn misuse_panics_at_the_user_s_line() {
    let place = Arc::new(Mutex::new(String::new()));
    let (seen, me) = (place.clone(), thread::current().id());
    let old = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if thread::current().id() == me {
            *seen.lock().unwrap() = info.location().unwrap().to_string();
        }
    }));
    let a = Tensor::zeros([2, 3], DType::F32);
    let line = line!() + 1;
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| a.matmul(&a)));
    std::panic::set_hook(old);
    assert!(result.is_err());
    let place = place.lock().unwrap();
    assert!(place.starts_with(&format!("{}:{line}:", file!())), "{place}");
}

#[test]
fn anomaly_mode_names_the_first_bad_operation() {
    let x = Tensor::from([1.0, -1.0]).requires_grad();
    let line = line!() + 1;
    let found = detect_anomaly(|| (x.log() + 1.0).sum(..)).expect_err("log of -1");
    assert_eq!((found.op, found.backward, found.site.line()), ("log", false, line));
    assert_eq!(found.element, (1, "NaN".to_string()));
    let text = found.to_string();
    assert!(text.contains("log [[2]] -> [2]") && text.contains("NaN at element 1"), "{text}");
}

#[test]
fn the_inspector_counts_bytes_and_flops() {
    let a = Tensor::normal([4, 5], DType::F32, Key::new(1)).requires_grad();
    let b = Tensor::normal([5, 6], DType::F32, Key::new(2)).requires_grad();
    let graph = inspect(&a.matmul(&b).relu().sum(..));
    let ops: Vec<&str> = graph.nodes.iter().map(|n| n.op).collect();
    assert_eq!(ops, ["leaf", "leaf", "matmul", "relu", "sum"]);
    assert_eq!(graph.nodes[2].flops, 2 * 4 * 5 * 6);
    assert_eq!(graph.nodes[2].kept_bytes, 4 * (20 + 30));
    assert_eq!(graph.nodes[3].kept_bytes, 4 * 24); // its output alone
    assert_eq!(graph.nodes[2].inputs, [0, 1]);
    assert!(graph.to_dot().contains("n0 -> n2;") && graph.to_string().contains("matmul"));
}

#[test]
fn tensors_move_between_threads() {
    let x = Tensor::from([1.0, 2.0]).requires_grad();
    let y = thread::spawn({
        let x = x.clone();
        move || (&x * &x).sum(..)
    })
    .join()
    .unwrap();
    assert_eq!((y * 2.0).backward()[&x].to_vec::<f64>(), [4.0, 8.0]);
}
