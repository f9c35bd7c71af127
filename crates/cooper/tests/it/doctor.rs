//! `cooper doctor` on the host of the tests: what differs from host to host is filtered, and every wall holds.

use serde_json::Value;

use crate::context::Host;

/// What other hosts have otherwise.
const OF_HOST: [&str; 9] = [
    "kernel",
    "landlock",
    "overlay",
    "cgroup-memory",
    "cgroup-pids",
    "cgroup-cpu",
    "kvm",
    "crun",
    "runsc",
];

fn filtered(text: &str) -> String {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some(_), Some(code)) if OF_HOST.contains(&code) => format!("[STATE] {code} [HOST]\n"),
            (Some("helps:"), _) => String::new(),
            _ => format!("{}\n", line.replace("cgroup-v1", "cgroup-v2")),
        }
    };
    text.lines().map(line).collect()
}

fn checks(document: &Value) -> Vec<(&str, &str)> {
    let checks = document["checks"].as_array().unwrap().iter();
    checks
        .map(|check| (check["check"].as_str().unwrap(), check["state"].as_str().unwrap()))
        .collect()
}

#[test]
fn the_walls_hold_on_this_host() {
    let host = Host::new();
    let told = host.cooper(&["doctor"]).good();
    host.assert_snapshot("the_walls_hold_on_this_host", &filtered(&told.stdout));
    let document = host.cooper(&["doctor", "--json"]).good().json();
    assert_eq!(document["good"], true);
    let walls: Vec<_> = checks(&document)
        .into_iter()
        .filter(|(code, _)| code.starts_with("run-"))
        .collect();
    assert_eq!(walls.len(), 13, "{walls:?}");
    for (code, state) in walls {
        assert_eq!(state, "good", "{code}");
    }
}

#[test]
fn what_is_bad_is_told_by_the_exit_status() {
    let host = Host::new();
    host.write("project/file", "in the way");
    let told = host
        .cooper(&["doctor", "--store", "file/store", "--json"])
        .with(1)
        .json();
    assert_eq!(told["good"], false);
    let store = told["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["check"] == "store");
    let store = store.unwrap();
    assert_eq!(store["state"], "bad");
    assert!(store["remedy"].as_str().unwrap().contains("--store"), "{store}");
}

#[test]
fn it_leaves_nothing_behind() {
    let mut host = Host::new();
    let folder = host.path("temporary");
    std::fs::create_dir(&folder).unwrap();
    host.set("TMPDIR", &folder.display().to_string());
    host.cooper(&["doctor", "-q"]).good();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    assert!(!host.path("store").exists(), "it looks and makes nothing");
}
