use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

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
        by_caller.into_inner().unwrap() == [0, 1, 2, 3]
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
fn a_panic_in_any_piece_reaches_the_caller_and_the_crew_goes_on() {
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
