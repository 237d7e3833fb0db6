//! Problems drawn at random, the same ones in every run.

#![allow(dead_code)]

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Hands `cases` problems to `test`, and the simplest that fails to the reader.
pub fn draw<T: Debug>(cases: u32, problems: impl Strategy<Value = T>, test: impl Fn(T)) {
    let rng_seed = RngSeed::Fixed(20);
    let config = Config { cases, rng_seed, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&problems, |problem| {
        test(problem);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
