//! The same tests again, started by an ordinary user who has become root of a user namespace.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testkit::{OrdinaryUser, Subordinate};

/// What is otherwise without the host's root: memory and processor time are in no cgroup, no file is shown with another
/// owner, and some tests make device nodes or look at the host's root to see what they test.
const NEED_THE_HOSTS_ROOT: &[&str] = &[
    "grants::a_hundred_runs_with_grants_leave_nothing_behind",
    "grants::a_private_file_that_is_given_is_readable_and_stays_private_on_the_host",
    "grants::a_root_in_memory_takes_writes_and_forgets_them",
    "grants::setuid_files_of_a_writable_root_give_nothing",
    "leavings::pipes_sockets_and_devices_are_refused_and_nobody_waits",
    "limits::a_run_cannot_use_up_what_the_hosts_root_needs",
    "limits::a_writable_root_without_a_read_only_one_keeps_the_limits",
    "limits::an_out_of_memory_child_is_told_beside_the_programs_own_end",
    "limits::buffers_in_the_kernel_count_as_memory",
    "limits::every_limit_is_held_by_something",
    "limits::files_in_memory_count_as_memory",
    "limits::processor_time_is_bounded_for_all_processes_together",
    "limits::the_callers_own_memory_does_not_count",
    "limits::too_much_memory_ends_the_run",
    "limits::without_controllers_nothing_runs_unless_that_was_allowed",
    "privileges::device_nodes_of_the_root_do_not_work",
    "streams::an_empty_input_is_not_the_hosts_device",
];

/// An ordinary user with this test binary.
struct Stage {
    folder: tempfile::TempDir,
    user: OrdinaryUser,
}

impl Stage {
    fn new(ids: Subordinate) -> Self {
        assert!(
            Path::new("/usr/bin/newuidmap").exists(),
            "install Debian's uidmap: what ordinary users do is tested with it"
        );
        let folder = tempfile::tempdir().unwrap();
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).unwrap();
        let user = OrdinaryUser::new(&folder.path().join("etc"), ids).unwrap();
        let stage = Self { folder, user };
        fs::create_dir(stage.path("tmp")).unwrap();
        stage.user.give(&stage.path("tmp")).unwrap();
        // As they lie in the target folder: some tests look for the examples beside themselves.
        let tests = std::env::current_exe().unwrap();
        let examples = tests.ancestors().nth(2).unwrap().join("examples");
        stage.place(&tests, "target/deps/it");
        for example in ["contained", "unprivileged"] {
            stage.place(&examples.join(example), &format!("target/examples/{example}"));
        }
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn place(&self, from: &Path, to: &str) {
        let to = self.path(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let linked = fs::hard_link(from, &to).or_else(|_| fs::copy(from, &to).map(drop));
        linked.unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }

    /// Start the tests with these arguments.
    fn tests(&self, arguments: &[&str]) -> Output {
        // What is left over by a test that failed must not hold the streams.
        let mut command: Command = self.user.command("timeout");
        command.args(["--kill-after=1", "100"]);
        command.arg(self.path("target/examples/unprivileged"));
        command.arg(self.path("target/deps/it")).args(arguments);
        command
            .env("TMPDIR", self.path("tmp"))
            .env("HOME", self.path("tmp"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
    }

    /// The tests of these modules, each in a process of its own.
    fn pass(&self, modules: &[&str]) {
        let listed = self.tests(&["--list", "--format", "terse"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
        let chosen: Vec<&str> = names
            .filter(|name| modules.contains(&name.split("::").next().unwrap()))
            .filter(|name| !NEED_THE_HOSTS_ROOT.contains(name))
            .collect();
        assert!(chosen.len() > 2 * modules.len(), "{chosen:?}");
        for name in chosen {
            self.pass_one(name);
        }
    }

    fn pass_one(&self, name: &str) {
        let done = self.tests(&["--exact", name, "--test-threads", "1"]);
        let told = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success() && told.contains("1 passed"),
            "{name}: {told}{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

fn with_ids() -> Stage {
    // More than images need: then each run has an id of its own.
    Stage::new(Subordinate::Some(70_000))
}

#[test]
fn views_and_privileges() {
    with_ids().pass(&["views", "privileges", "calls", "network"]);
}

#[test]
fn limits_that_need_no_cgroup() {
    with_ids().pass(&["limits", "concurrent"]);
}

#[test]
fn lives_and_ends() {
    with_ids().pass(&["lives", "ends", "streams"]);
}

#[test]
fn grants_and_leavings() {
    with_ids().pass(&["grants", "leavings"]);
}

#[test]
fn roots_and_refusals() {
    with_ids().pass(&["roots", "refusals"]);
}

#[test]
fn an_allow_list_has_its_gateway() {
    with_ids().pass_one("allow::nothing_is_left_of_a_run");
}

#[test]
fn with_one_id_alone_runs_are_contained_too() {
    let stage = Stage::new(Subordinate::None);
    for name in [
        "views::no_mount_of_the_host_is_seen",
        "views::devices_are_those_that_need_no_hardware",
        "views::nothing_of_the_callers_environment_is_there",
        "lives::a_daemon_dies_with_the_run",
        "lives::orphans_are_reaped_while_the_run_goes_on",
        "limits::processes_and_threads_are_bounded",
        "limits::the_number_of_files_is_bounded",
        "limits::time_over_kills_all",
        "roots::the_top_layer_wins",
        "streams::bytes_on_standard_input_arrive_whole",
        "allow::nothing_is_left_of_a_run",
    ] {
        stage.pass_one(name);
    }
}

#[test]
fn the_list_of_exceptions_has_only_tests_that_are_there() {
    let listed = Command::new(std::env::current_exe().unwrap())
        .args(["--list", "--format", "terse"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for name in NEED_THE_HOSTS_ROOT {
        assert!(listed.contains(&format!("{name}: test\n")), "{name}");
    }
}
