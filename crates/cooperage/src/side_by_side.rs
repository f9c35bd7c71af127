//! One question about many things, asked on every processor.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The answers, in the order of the things. Few things are not worth a thread.
pub(crate) fn side_by_side<T: Sync, R: Send>(things: &[T], ask: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if threads == 1 || things.len() < 2 {
        return things.iter().map(ask).collect();
    }
    let next = AtomicUsize::new(0);
    let share = || {
        let mut answers = Vec::new();
        while let Some((at, thing)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            things.get(at).map(|thing| (at, thing))
        } {
            answers.push((at, ask(thing)));
        }
        answers
    };
    let mut answers: Vec<(usize, R)> = std::thread::scope(|scope| {
        let running: Vec<_> = (1..threads).map(|_| scope.spawn(share)).collect();
        let mut answers = share();
        for part in running {
            answers.extend(
                part.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        answers
    });
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_in_the_order_of_the_things() {
        let things: Vec<u64> = (0..1_000).collect();
        let doubled: Vec<u64> = things.iter().map(|thing| thing * 2).collect();
        assert_eq!(side_by_side(&things, |thing| thing * 2), doubled);
        assert_eq!(side_by_side(&[] as &[u64], |thing| *thing), Vec::<u64>::new());
    }
}
