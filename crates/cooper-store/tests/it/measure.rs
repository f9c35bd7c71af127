//! Measurements, run by hand: `cargo test -p cooper-store --release -- --ignored --nocapture measure`.

use std::time::Instant;

use super::{Fixture, open};

fn median(mut times: Vec<u128>) -> u128 {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
#[ignore = "a measurement"]
fn measure_open() {
    let fixture = Fixture::new();
    let times = (0..200).map(|_| {
        let began = Instant::now();
        let _store = open(fixture.root());
        began.elapsed().as_micros()
    });
    println!("open: {} µs", median(times.collect()));
}

#[test]
#[ignore = "a measurement"]
fn measure_put() {
    let fixture = Fixture::new();
    let files: Vec<Vec<u8>> = (0..85_u32).map(|at| at.to_le_bytes().repeat(125_000)).collect();
    for threads in [1, 2, 8, 16] {
        let fixture = Fixture::new();
        let began = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (files, store) = (&files, &fixture.store);
                scope.spawn(move || {
                    for bytes in files.iter().skip(thread).step_by(threads) {
                        store.put_blob(bytes).unwrap();
                    }
                });
            }
        });
        println!(
            "85 blobs of 500 kB in {threads} threads: {} ms",
            began.elapsed().as_millis()
        );
    }
    let times = (0..50_u32).map(|at| {
        let began = Instant::now();
        fixture.store.put_blob(&at.to_le_bytes()).unwrap();
        began.elapsed().as_micros()
    });
    println!("a small blob: {} µs", median(times.collect()));
    let times = (0..50_u32).map(|at| {
        let began = Instant::now();
        fixture
            .store
            .cache_put("kind", &at.to_string(), b"entry")
            .unwrap();
        began.elapsed().as_micros()
    });
    println!("a small cache entry: {} µs", median(times.collect()));
}

#[test]
#[ignore = "a measurement"]
fn measure_create_version() {
    let fixture = Fixture::new();
    let record = fixture.record("image");
    let (owner, version) = ("local".parse().unwrap(), "1.0.0".parse().unwrap());
    for at in 0..500 {
        let name = format!("image{}", at / 5).parse().unwrap();
        let began = Instant::now();
        fixture
            .store
            .create_version(&owner, &name, &version, &record)
            .unwrap();
        if [0, 10, 100, 499].contains(&at) {
            println!("name number {at}: {} µs", began.elapsed().as_micros());
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn measure_roots() {
    let config = cooper_store::IntakeConfig {
        attempts: 1,
        ..super::fetch::quick()
    };
    for scheme in ["http", "https"] {
        // Nothing listens there: what takes time is what comes before.
        let url = format!("{scheme}://127.0.0.1:1/").parse().unwrap();
        let began = Instant::now();
        let intake = cooper_store::Intake::new(config.clone()).unwrap();
        intake
            .fetch_bytes(&super::fetch::bytes_from(&[url], 1))
            .unwrap_err();
        println!("first {scheme} request: {} µs", began.elapsed().as_micros());
    }
}
