//! Input that is wrong before anything is fetched: the message, the hint, the exit status, and nothing left behind.

use crate::context::{Host, done};

#[test]
fn words_that_make_no_request() {
    let host = Host::new();
    let text = host.transcript(&[
        &["create", "Example_Name", "--packages", "wget"],
        &["create", "a/b", "--packages", "wget"],
        &["create", "a", "b", "--packages", "wget"],
        &["create", "a"],
        &["create", "a", "--dependencies", ""],
        &["create", "a", "--dependencies", "a,,b"],
        &["create", "a", "--packages", "wget,"],
        &["create", "a", "--packages", "Wget"],
        &["create", "a", "--packages", "wget>=1"],
        &["create", "a", "--dependencies", "a b"],
        &["create", "a", "--dependencies", "a[b"],
        &["create", "a", "--dependencies", "https://x.test/a.whl"],
        &["create", "a", "--packages", "wget", "--base", "debian:sid"],
        &["create", "name=a", "dependancies=mechanize"],
        &["create", "name=a", "name=b", "packages=wget"],
        &["create", "a", "packages=wget", "--packages", "jq"],
        &["create", "a", "--depends", "mechanize"],
        &["create", "a", "--packages", "wget", "--refresh", "--offline"],
    ]);
    host.assert_snapshot("words_that_make_no_request", &text);
    assert!(!host.path("store").exists(), "nothing was made");
}

#[test]
fn chat_lines_that_are_no_command() {
    let host = Host::new();
    let text = host.transcript(&[
        &["/docker_image_create"],
        &["/docker_image_create name=Example packages=wget"],
        &["/docker_image_create name=example dependancies=mechanize"],
        &["/docker_image_create name=example dependencies="],
        &["/docker_image_create name=example dependencies=mechanize, requests"],
        &["/docker_image_create name=example dependencies='mechanize"],
        &["/docker_image_create", "name=example", "nam=x"],
        &["/docker_image_update image=example"],
        &["/docker_imagse"],
        &["/dokcer_images", "--json"],
        &["/"],
    ]);
    host.assert_snapshot("chat_lines_that_are_no_command", &text);
}

#[test]
fn commands_and_flags_that_are_not() {
    let host = Host::new();
    let text = host.transcript(&[
        &["creat", "a"],
        &["frobnicate"],
        &["images", "--sort", "age"],
        &["images", "--pakage", "x"],
        &["images", "--package", "a b"],
        &["images", "--json", "--sort", "age"],
        &["inspect", "Example"],
        &["inspect", "a:latest"],
        &["inspect", "a/b/c"],
        &["fsck", "extra"],
    ]);
    host.assert_snapshot("commands_and_flags_that_are_not", &text);
}

#[test]
fn an_empty_store_has_no_images() {
    let host = Host::new();
    let text = host.transcript(&[
        &["images"],
        &["images", "--json"],
        &["images", "x"],
        &["/docker_images"],
        &["inspect", "example_name"],
        &["inspect", "example_name", "--json"],
        &["inspect", "local/example_name:1.0.0.1", "--lock"],
        &["run", "example_name", "-c", "pass"],
        &["run", "example_name", "--json", "-c", "pass"],
        &["fsck"],
        &["fsck", "--json"],
    ]);
    host.assert_snapshot("an_empty_store_has_no_images", &text);
}

#[test]
fn runs_that_cannot_be() {
    let host = Host::new();
    let text = host.transcript(&[
        &["run", "a"],
        &["run", "a", "missing.py"],
        &["run", "a", "wget"],
        &["run", "a", "."],
        &["run", "a", "-c"],
        &["run", "a", "--memroy", "1GiB", "x.py"],
        &["run", "--memory", "lots", "a", "-c", "pass"],
        &["run", "--timeout", "0", "a", "-c", "pass"],
        &["run", "--cpus", "-1", "a", "-c", "pass"],
        &["run", "--env", "x", "a", "-c", "pass"],
        &["run", "A", "-c", "pass"],
    ]);
    host.assert_snapshot("runs_that_cannot_be", &text);
}

#[test]
fn locks_that_are_none() {
    let host = Host::new();
    host.write("project/text.lock", "not JSON");
    host.write("project/empty.lock", "");
    host.write("project/object.lock", "{}");
    let text = host.transcript(&[
        &["create", "a", "--locked", "missing.lock"],
        &["create", "a", "--locked", "text.lock"],
        &["create", "a", "--locked", "empty.lock"],
        &["create", "a", "--locked", "object.lock", "--json"],
        &["create", "a", "--locked", "-"],
        &["create", "a", "--locked", "text.lock", "--packages", "wget"],
        &["create", "a", "packages=wget", "--locked", "text.lock"],
    ]);
    host.assert_snapshot("locks_that_are_none", &text);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let host = Host::new();
    for args in [
        &["--help"][..],
        &["create", "--help"],
        &["config"],
        &["images", "--json"],
        &["version"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = done(&host.command(args).stdout(writer).output().unwrap());
        assert_eq!((gone.status, gone.stderr.as_str()), (0, ""), "{args:?}");
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let full = done(&host.command(&["version"]).stdout(full).output().unwrap());
    assert_eq!(full.status, 1, "{full}");
    assert!(
        full.stderr.starts_with("error: cannot write to standard output"),
        "{full}"
    );
}
