//! What a process is in, and what runs that it starts are in, too: two callers that are not in the same share no background
//! runner.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::{Value, json};

/// The namespaces that decide what a run finds, reaches and is counted in.
const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
/// Its groups, its resource limits, and its label of a security module: all are passed on to what it starts.
const INHERITED: [&str; 3] = ["cgroup", "limits", "attr/current"];

/// What identifies them. Of an ordinary user before it becomes root of a namespace, which is another one each time.
pub(super) struct Surroundings(Value);

impl Surroundings {
    /// Those of this process, as far as it can read what they are.
    pub(super) fn of_process() -> Self {
        let own = Path::new("/proc/self");
        let namespaces = NAMESPACES.map(|name| {
            let found = fs::metadata(own.join("ns").join(name)).ok();
            found.map(|found| (found.dev(), found.ino()))
        });
        let inherited = INHERITED.map(|name| fs::read(own.join(name)).ok());
        let inherited = inherited.map(|text| text.map(|text| String::from_utf8_lossy(&text).into_owned()));
        Self(json!([namespaces, inherited]))
    }

    pub(super) fn identity(&self) -> &Value {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_there() {
        let Surroundings(found) = Surroundings::of_process();
        assert!(
            found[0].as_array().unwrap().iter().all(Value::is_array),
            "{found}"
        );
        assert!(found[1][0].is_string() && found[1][1].is_string(), "{found}");
    }
}
