use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::simd::SETTINGS;

/// Runs `pieces` pieces and asserts that each came once.
fn each_once(pieces: usize) {
    let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
    run(pieces, |i| {
        counts[i].fetch_add(1, Relaxed);
    });
    assert!(counts.iter().all(|c| c.load(Relaxed) == 1), "{pieces} pieces");
}

#[test]
fn every_piece_comes_once_for_any_number_of_threads() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    for n in [1, 2, 7, 3, 70, 1, 2] {
        set_threads(n);
        assert_eq!(threads(), n);
        (0..200).for_each(|round| each_once(round % 20));
        each_once(10_000);
    }
}

#[test]
fn a_caller_sleeps_until_the_last_piece_is_done() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(3);
    for _ in 0..50 {
        let (caller, done) = (thread::current().id(), AtomicUsize::new(0));
        run(3, |_| {
            if thread::current().id() != caller {
                thread::sleep(Duration::from_millis(2));
            }
            done.fetch_add(1, Relaxed);
        });
        assert_eq!(done.into_inner(), 3);
    }
}

#[test]
fn two_threads_share_the_pieces() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(2);
    // Other tests may have the workers at one time, not at all times.
    let shared = (0..10_000).any(|_| {
        let seen = Mutex::new(HashSet::new());
        run(8, |_| {
            thread::sleep(Duration::from_micros(100));
            seen.lock().unwrap().insert(thread::current().id());
        });
        seen.into_inner().unwrap().len() == 2
    });
    assert!(shared);
}

#[test]
fn each_thread_begins_with_consecutive_pieces_of_its_own() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(2);
    let caller = thread::current().id();
    // As above: other tests may have the worker.
    let halves = (0..10_000).any(|_| {
        let by_caller = Mutex::new(Vec::new());
        run(8, |i| {
            thread::sleep(Duration::from_micros(100));
            if thread::current().id() == caller {
                by_caller.lock().unwrap().push(i);
            }
        });
        by_caller.into_inner().unwrap() == [4, 5, 6, 7]
    });
    assert!(halves);
}

#[test]
fn runs_nest() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(3);
    let count = AtomicUsize::new(0);
    run(10, |_| {
        run(10, |_| {
            run(10, |_| {
                count.fetch_add(1, Relaxed);
            })
        })
    });
    assert_eq!(count.into_inner(), 1000);
}

#[test]
fn many_threads_may_call_while_the_number_changes() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        for caller in 0..4 {
            scope.spawn(move || {
                for round in 0..2000 {
                    each_once(round % 9);
                    if round % 50 == caller {
                        // Long enough for the workers to fall asleep.
                        thread::sleep(Duration::from_micros(200));
                    }
                }
            });
        }
        for round in 0..200 {
            set_threads(1 + round % 5);
            thread::sleep(Duration::from_micros(50));
        }
    });
}

#[test]
fn a_panic_in_any_piece_reaches_the_caller_and_the_pool_works_on() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(4);
    for bad in 0..50 {
        let result = catch_unwind(AssertUnwindSafe(|| {
            run(50, |i| {
                thread::sleep(Duration::from_micros(10));
                assert!(i != bad, "piece {i}");
            });
        }));
        let text = *result.unwrap_err().downcast::<String>().unwrap();
        assert_eq!(text, format!("piece {bad}"));
        each_once(50);
    }
}

#[test]
fn chunks_cover_a_slice() {
    let mut out = vec![0; 1003];
    chunks(&mut out, 10, |i, chunk| chunk.fill(i));
    assert!(out.iter().enumerate().all(|(i, &v)| v == i / 10));
    chunks(&mut [0; 0], 10, |_, _| panic!("nothing to do"));
}

#[test]
fn map_keeps_the_order() {
    assert_eq!(map(100, |i| i * i), (0..100).map(|i| i * i).collect::<Vec<_>>());
    assert!(map(0, |i| i).is_empty());
}

/// A pool of a program that uses the kernels.
fn pool(n: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(n).thread_name(|i| format!("program-{i}")).build().unwrap()
}

#[test]
fn inside_a_pool_only_its_threads_compute() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    for (size, set, expected) in [(3, 8, 3), (3, 2, 2), (3, 3, 3), (1, 8, 1)] {
        set_threads(set);
        pool(size).install(|| {
            assert_eq!(threads(), expected, "{size} threads in the pool, set_threads({set})");
            let seen = Mutex::new(HashSet::new());
            for _ in 0..200 {
                run(2 * size, |_| {
                    thread::sleep(Duration::from_micros(50));
                    let name = thread::current().name().map(String::from);
                    seen.lock().unwrap().insert(name.expect("threads of the pool have names"));
                });
            }
            let seen = seen.into_inner().unwrap();
            assert!(seen.iter().all(|name| name.starts_with("program-")), "{seen:?}");
            // With fewer helpers than threads, different ones may come at different times.
            assert!(seen.len() > 1 || expected == 1, "no thread of the pool helped");
            (0..100).for_each(each_once);
        });
    }
    set_threads(2);
}

#[test]
fn by_default_all_threads_of_a_pool_compute() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let before = THREADS.swap(0, Relaxed);
    assert_eq!(pool(5).install(threads), 5);
    assert_eq!(threads(), available());
    THREADS.store(before, Relaxed);
}

#[test]
fn callers_in_pools_and_outside_do_not_disturb_one_another() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(3);
    let pool = pool(2);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..2000).for_each(|round| each_once(round % 9)));
        }
        // Loops of the program, whose pieces run kernels, whose pieces run kernels.
        pool.install(|| {
            use rayon::prelude::*;
            (0..200).into_par_iter().for_each(|round| {
                each_once(round % 9);
                let count = AtomicUsize::new(0);
                run(4, |_| {
                    run(5, |_| {
                        count.fetch_add(1, Relaxed);
                    })
                });
                assert_eq!(count.into_inner(), 20);
            });
        });
    });
    set_threads(2);
}

#[test]
fn a_kernel_runs_no_other_task_of_the_pool_while_it_waits() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(2);
    thread_local! { static DEPTH: AtomicUsize = const { AtomicUsize::new(0) } }
    let task = || {
        DEPTH.with(|depth| {
            assert_eq!(depth.fetch_add(1, Relaxed), 0, "a task started within another one's kernel");
            for _ in 0..50 {
                run(4, |_| thread::sleep(Duration::from_micros(20)));
            }
            depth.fetch_sub(1, Relaxed);
        });
    };
    pool(2).scope(|scope| (0..20).for_each(|_| scope.spawn(move |_| task())));
}

#[test]
fn helpers_leave_the_pool_to_its_other_tasks() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(2);
    let had_its_turn = AtomicBool::new(false);
    pool(2).scope(|scope| {
        scope.spawn(|scope| {
            // The other thread helps before there is anything else to do.
            (0..1000).for_each(|_| each_once(4));
            scope.spawn(|_| had_its_turn.store(true, Relaxed));
            let start = Instant::now();
            while !had_its_turn.load(Relaxed) {
                each_once(4);
                assert!(start.elapsed() < Duration::from_secs(20), "the other task still waits");
            }
        });
    });
}

#[test]
fn pieces_may_run_loops_of_rayon_whose_pieces_run_kernels() {
    use rayon::prelude::*;
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(3);
    let piece = |i: usize| {
        // While it waits for the loop, a thread executes other tasks of the pool, for example helping another job.
        let sums: Vec<usize> =
            (0..8usize).into_par_iter().map(|j| map(5, |k| i + j * k).iter().sum()).collect();
        each_once(7);
        sums.iter().sum::<usize>()
    };
    let one = || (0..20).for_each(|_| assert_eq!(map(6, piece), [280, 320, 360, 400, 440, 480]));
    let pool = pool(3);
    pool.scope(|scope| (0..4).for_each(|_| scope.spawn(move |_| one())));
    set_threads(2);
}

#[test]
fn long_jobs_one_after_another_keep_their_helpers() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(2);
    // Longer than a helper's maximum time, so that it returns, or is started again, between any two of them.
    let helped = || {
        let (caller, seen) = (thread::current().id(), AtomicBool::new(false));
        run(2, |_| {
            seen.fetch_or(thread::current().id() != caller, Relaxed);
            thread::sleep(Duration::from_millis(10));
        });
        seen.into_inner()
    };
    // On a busy machine, a helper may be late now and then.
    let count = (0..60).filter(|_| helped()).count();
    assert!(count >= 54, "{count} of 60 jobs had a helper");
}

#[test]
fn only_some_threads_for_each_processor_are_started() {
    let _turn = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(100_000);
    assert_eq!(threads(), 100_000);
    assert!(pool::Pool::of_this_thread().helpers() <= 4 * available());
    (0..200).for_each(each_once);
    set_threads(2);
}
