//! Independent measurements side by side.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// f of each item, in order, on as many threads as the engine may use. What a measurement gives depends on its item
/// alone, so the number of threads changes nothing but the time.
pub(super) fn across<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { break };
            done.push((i, f(item)));
        }
        done
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..autograd::threads().min(items.len())).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_items() {
        let items: Vec<u64> = (0..100).collect();
        assert_eq!(across(&items, |i| i * i), items.iter().map(|i| i * i).collect::<Vec<_>>());
        assert!(across(&[], |i: &u64| *i).is_empty());
    }
}
