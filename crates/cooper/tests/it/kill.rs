//! `kill -9` at random moments of a create: the store stays whole, and the next create works.

use std::time::{Duration, Instant};

use crate::context::World;

/// How often a create is killed.
const KILLS: u32 = 200;

#[test]
fn a_create_that_is_killed_leaves_a_whole_store() {
    let world = World::new();
    let started = Instant::now();
    world.create_example();
    // A create of something new takes at most as long as the first one.
    let longest = started.elapsed();
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    for round in 0..KILLS {
        let name = format!("n{round}");
        let (python, debian) = (["mechanize", "requests", "old"], ["wget", "jq", "libxslt1.1"]);
        let choice = round as usize;
        let args = [
            "create",
            &name,
            "--dependencies",
            python[choice % 3],
            "--packages",
            debian[choice / 3 % 3],
            "--refresh",
        ];
        if round % 10 == 0 {
            // From an empty cache: the trees are made anew.
            let _ = std::fs::remove_dir_all(world.host.path("store/cache"));
        }
        let mut child = world.host.start(&args);
        std::thread::sleep(longest.mul_f64(random.fraction()));
        child.kill().unwrap();
        child.wait().unwrap();
        let checked = world.cooper(&["fsck"]);
        assert_eq!(checked.status, 0, "round {round}: {checked}");
    }
    let again = world.create_example();
    assert_eq!(again["created"], serde_json::json!(false));
    world
        .cooper(&["create", "last", "--packages", "wget,jq", "--dependencies", "old"])
        .good();
    world.cooper(&["fsck"]).good();
    assert!(Duration::from_millis(1) < longest);
}

/// xorshift64: the moments are the same in every run of the test, the machine makes them differ enough.
struct Random(u64);

impl Random {
    fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }
}
