//! Contenders that take turns, and what was measured of them.

use std::time::Duration;

use crate::error::BenchError;
use crate::say;

/// What a turn gives: a time or a number of bytes, as a number that medians and ratios are of.
pub(crate) trait Measure {
    /// Seconds, or bytes.
    fn number(self) -> f64;
}

impl Measure for Duration {
    fn number(self) -> f64 {
        self.as_secs_f64()
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes(pub(crate) u64);

impl Measure for Bytes {
    #[expect(clippy::cast_precision_loss, reason = "a ratio of bytes needs no more digits")]
    fn number(self) -> f64 {
        self.0 as f64
    }
}

/// Someone who does the work of a case.
pub(crate) struct Contender<'a> {
    name: String,
    turn: Box<dyn FnMut() -> Result<f64, BenchError> + 'a>,
}

impl<'a> Contender<'a> {
    /// `turn` does the work once: what it prepares and checks is not in what it measures.
    pub(crate) fn new<M: Measure>(
        name: impl Into<String>,
        mut turn: impl FnMut() -> Result<M, BenchError> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            turn: Box::new(move || turn().map(Measure::number)),
        }
    }
}

/// What was measured of one contender.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) times: Result<Times, String>,
}

/// At least one measure, the least first.
#[derive(Debug, Clone)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    /// None when nothing was measured.
    pub(crate) fn of(mut times: Vec<f64>) -> Option<Self> {
        times.sort_unstable_by(f64::total_cmp);
        (!times.is_empty()).then_some(Self(times))
    }

    /// The middle one, or the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let upper = self.0.len() / 2;
        let lower = (self.0.len() - 1) / 2;
        f64::midpoint(self.0[lower], self.0[upper])
    }

    pub(crate) fn least(&self) -> f64 {
        self.0[0]
    }

    pub(crate) fn most(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Let the contenders take turns: A B C, A B C, … Who fails once is out, and its first failure is kept.
///
/// The first `warm_ups` turns of each are not counted.
pub(crate) fn play(mut contenders: Vec<Contender<'_>>, warm_ups: usize, turns: usize) -> Vec<Series> {
    let mut times: Vec<Result<Vec<f64>, String>> = contenders.iter().map(|_| Ok(Vec::new())).collect();
    for turn in 0..warm_ups + turns {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let Ok(counted) = times else { continue };
            // What earlier work left to be written must not slow this one down.
            rustix::fs::sync();
            match (contender.turn)() {
                Ok(time) if turn >= warm_ups => counted.push(time),
                Ok(_) => {}
                Err(error) => {
                    say(&format!("  {} FAILED: {}", contender.name, error.chain()));
                    *times = Err(error.chain());
                }
            }
        }
    }
    let series = contenders
        .into_iter()
        .zip(times)
        .map(|(contender, times)| Series {
            name: contender.name,
            times: times.and_then(|times| Times::of(times).ok_or_else(|| "no turn was asked for".to_owned())),
        });
    series.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_median_is_in_the_middle() {
        let times = Times::of(vec![9.0, 1.0, 5.0]).unwrap();
        assert_eq!((times.median(), times.least(), times.most()), (5.0, 1.0, 9.0));
        let even = Times::of(vec![4.0, 1.0, 2.0, 100.0]).unwrap();
        assert_eq!((even.median(), even.count()), (3.0, 4));
        assert!(Times::of(Vec::new()).is_none());
    }

    #[test]
    fn contenders_take_turns_and_a_failure_ends_only_its_own() {
        let order = RefCell::new(String::new());
        let good = |name: char| {
            let order = &order;
            Contender::new(name, move || {
                order.borrow_mut().push(name);
                Ok(Duration::from_millis(1))
            })
        };
        let mut turns = 0;
        let bad = Contender::new("bad", || {
            order.borrow_mut().push('x');
            turns += 1;
            if turns < 2 {
                return Ok(Duration::ZERO);
            }
            Err(BenchError::Usage("broken".to_owned()))
        });
        let series = play(vec![good('a'), bad, good('b')], 1, 2);
        assert_eq!(order.borrow().as_str(), "axbaxbab");
        assert_eq!(series[0].times.as_ref().unwrap().count(), 2);
        assert_eq!(series[1].times.as_ref().unwrap_err(), "broken");
        assert_eq!(series[2].times.as_ref().unwrap().count(), 2);
    }
}
