//! What a doctor says of the store and of the clock; of the host and of sandboxes the sandbox speaks itself.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use cooper_core::Clock;
use cooper_sandbox::{Check, State};
use rustix::fs::Access;

/// An image of the usual size takes a tenth of that while it is made.
const FREE_BYTES_MIN: u64 = 2 << 30;

/// Whether there is a store at this place, or could be one, and how much room it has. Nothing is made.
pub fn store_check(store: &Path) -> Check {
    let shown = store.display();
    let there = store.ancestors().find(|place| place.exists());
    let place = there.unwrap_or(Path::new("/"));
    let choose = "choose another folder: `--store DIR` or COOPER_STORE";
    if !place.is_dir() {
        let told = format!("{shown}: {} is no folder", place.display());
        return Check::new("store", State::Bad, told).remedy(choose);
    }
    if rustix::fs::access(place, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let told = format!("{shown}: this user may not write {}", place.display());
        return Check::new("store", State::Bad, told).remedy(choose);
    }
    let own = rustix::process::geteuid().as_raw();
    let owner = fs::metadata(place).map_or(own, |metadata| metadata.uid());
    if place == store && owner != own {
        let told =
            format!("{shown}: it belongs to user {owner}, and what others make in it is lost on that user");
        return Check::new("store", State::Bad, told).remedy(choose);
    }
    let free = rustix::fs::statvfs(place).map_or(0, |state| state.f_bavail.saturating_mul(state.f_frsize));
    let told = format!("{shown}: {:.1} GiB free", as_gib(free));
    if free < FREE_BYTES_MIN {
        return Check::new("store", State::Weak, told).remedy("cooper gc --keep 1");
    }
    Check::new("store", State::Good, told)
}

/// Whether the clock can be right: it is not before this program was made. Signed indexes expire by it.
pub fn clock_check(clock: &dyn Clock) -> Check {
    let now = clock.now();
    let made = fs::metadata("/proc/self/exe").and_then(|program| program.modified());
    let made = made
        .ok()
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let made = made.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    let is_possible = now.as_second() >= made;
    let told = if is_possible {
        format!("{now}")
    } else {
        format!("{now}, and this program was made later than that")
    };
    Check::holds("clock", is_possible, told).remedy("sudo timedatectl set-ntp true")
}

#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
fn as_gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    use cooper_core::clock::PinnedClock;

    use super::*;

    #[test]
    fn a_clock_before_the_program_is_wrong() {
        let at = |text: &str| clock_check(&PinnedClock(text.parse().unwrap())).state;
        assert_eq!(at("1999-01-01T00:00:00Z"), State::Bad);
        assert_eq!(at("2200-01-01T00:00:00Z"), State::Good);
    }

    #[test]
    fn a_store_needs_a_folder_that_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let state = |path: &Path| store_check(path).state;
        assert_ne!(state(folder.path()), State::Bad);
        assert_ne!(state(&folder.path().join("new/deep")), State::Bad);
        let file = folder.path().join("file");
        fs::File::create(&file).unwrap();
        assert_eq!(state(&file.join("store")), State::Bad);
        std::os::unix::fs::chown(folder.path(), Some(4242), None).unwrap();
        let foreign = store_check(folder.path());
        assert_eq!(foreign.state, State::Bad);
        assert!(foreign.told.contains("4242") && foreign.remedy.is_some());
    }
}
