//! Credentials for indexes and mirrors: used where they belong, and nowhere to be found afterwards.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cooper_core::Base;
use testkit::archive::Signing;
use testkit::{DebPackage, DebianArchive, Fault, PythonIndex, Sdist, Server, SigningKey, Wheel};

use crate::context::{Done, Host, World, archive, index};
use crate::live::live;

const PASSWORD: &str = "correct-horse-battery";
/// `alice` and the password as a header has them.
const HEADER: &str = "Basic YWxpY2U6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5";

/// How a host comes by its credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Address,
    Netrc,
    Variable,
    UserFile,
    Helper,
}

const WAYS: [Way; 5] = [
    Way::Address,
    Way::Netrc,
    Way::Variable,
    Way::UserFile,
    Way::Helper,
];

/// Give a host the credentials of a server; the variables that name its addresses are set already.
fn configure(host: &mut Host, server: &Server, way: Way, variables: &[&str]) {
    let base = server.base_url();
    let with_login = base.replace("http://", &format!("http://alice:{PASSWORD}@"));
    let user_file = "home/.config/cooper/cooper.toml";
    match way {
        Way::Address => {
            for name in variables {
                let address = host.variable(name).unwrap().replace(base, &with_login);
                host.set(name, &address);
            }
        }
        Way::Netrc => {
            let text = format!("machine 127.0.0.1 login alice password {PASSWORD}\n");
            private(&host.write("home/.netrc", &text), 0o600);
        }
        Way::Variable => host.set("COOPER_CREDENTIALS", &with_login),
        Way::UserFile => {
            host.write(user_file, &format!("network.credentials = [\"{with_login}\"]\n"));
        }
        Way::Helper => {
            let script = format!(
                "#!/bin/sh\ntest \"$1\" = get || exit 9\necho asked >> \"$0.log\"\nwhile read -r line && test -n \"$line\"; do :; done\n\
                 echo username=alice\necho password={PASSWORD}\n"
            );
            let helper = host.write("home/helper", &script);
            private(&helper, 0o700);
            let text = format!("network.credential_helper = [\"{}\"]\n", helper.display());
            host.write(user_file, &text);
        }
    }
}

fn private(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What must not be anywhere: the password, and the forms that a header and an address have.
fn assert_silent(what: &str, bytes: &[u8]) {
    for secret in [PASSWORD, HEADER.trim_start_matches("Basic ")] {
        let found = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(
            !found,
            "{what} has `{secret}`:\n{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

fn assert_done_silent(done: &Done) {
    assert_silent("standard output", done.stdout.as_bytes());
    assert_silent("standard error", done.stderr.as_bytes());
}

/// Every file below a folder: as it is and, where it is compressed, unpacked.
fn assert_folder_silent(folder: &Path) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        assert_silent("a name", path.as_os_str().as_encoded_bytes());
        if kind.is_dir() {
            files += assert_folder_silent(&path);
        } else if kind.is_file() {
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            let what = path.display().to_string();
            assert_silent(&what, &bytes);
            let mut unpacked = Vec::new();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                flate2::read::MultiGzDecoder::new(&bytes[..])
                    .read_to_end(&mut unpacked)
                    .unwrap();
                assert_silent(&what, &unpacked);
            }
        }
    }
    files
}

/// The usual world behind a guard.
fn guarded(way: Way) -> World {
    let mut world = World::of(&archive(), &index());
    for pattern in ["/debian/*", "/debian-security/*", "/simple/*", "/files/*"] {
        world.server.guard(pattern, HEADER);
    }
    world.host.set("COOPER_LOG", "trace");
    let variables = [
        "COOPER_DEBIAN_MIRROR",
        "COOPER_DEBIAN_SECURITY_MIRROR",
        "COOPER_PYTHON_INDEX",
    ];
    configure(&mut world.host, &world.server, way, &variables);
    world
}

#[test]
fn credentials_are_used_and_kept_nowhere() {
    for way in WAYS {
        let world = guarded(way);
        let create = [
            "create",
            "example_name",
            "--dependencies",
            "mechanize",
            "--packages",
            "wget",
        ];
        for args in [
            &["config"][..],
            &["config", "--json"],
            &create,
            &["create", "other", "--dependencies", "requests", "--json"],
            &["inspect", "example_name"],
            &["inspect", "example_name", "--json"],
            &["inspect", "example_name", "--lock"],
            &["update", "--all", "--json"],
            &["images", "--json"],
            &["save", "example_name", "-o", "image.tar"],
            &["fsck"],
        ] {
            let done = world.cooper(args).good();
            assert_done_silent(&done);
        }
        assert!(
            world.server.requests().iter().all(|asked| asked.status != 401),
            "{way:?}"
        );
        assert!(assert_folder_silent(&world.host.path("store")) > 50);
        assert_folder_silent(&world.host.path("project"));
        if way == Way::Helper {
            // Once for each place in each call that asks anything.
            let calls = std::fs::read_to_string(world.host.path("home/helper.log")).unwrap();
            assert!((3..=9).contains(&calls.lines().count()), "{calls}");
        }
    }
}

#[test]
fn failures_name_where_credentials_are_said_and_not_what_they_are() {
    let create = ["create", "example_name", "--dependencies", "mechanize"];
    for way in WAYS {
        for fault in [
            Fault::Status(401),
            Fault::Status(403),
            Fault::Status(500),
            Fault::CutShort(10),
            Fault::NoAnswer,
        ] {
            let world = guarded(way);
            world.server.fault("/simple/*", fault.clone());
            let told = world.cooper(&create).with(1);
            assert_done_silent(&told);
            assert_done_silent(
                &world
                    .cooper(&["create", "x", "--dependencies", "requests", "--json"])
                    .with(1),
            );
            let source = match way {
                Way::Address => "its address in `python.index` (environment COOPER_PYTHON_INDEX)",
                Way::Netrc => "/home/.netrc",
                Way::Variable => "`network.credentials` (environment COOPER_CREDENTIALS)",
                Way::UserFile => "/cooper.toml:1)",
                Way::Helper => "the credential helper `",
            };
            if matches!(fault, Fault::Status(401 | 403)) {
                assert!(told.stderr.contains(source), "{way:?}: {told}");
            }
            assert_folder_silent(&world.host.path("store"));
        }
    }
}

#[test]
fn without_credentials_the_hint_says_where_to_put_them() {
    let world = World::new();
    world.server.guard("/simple/*", HEADER);
    let told = world
        .cooper(&["create", "example_name", "--dependencies", "mechanize"])
        .with(1);
    for said in [
        "status 401",
        "without a user name and password",
        "machine 127.0.0.1 login USER",
        "COOPER_CREDENTIALS",
    ] {
        assert!(told.stderr.contains(said), "{told}");
    }
    world.host.write(
        "home/.netrc",
        &format!("machine 127.0.0.1 login alice password {PASSWORD}\n"),
    );
    private(&world.host.path("home/.netrc"), 0o644);
    let told = world
        .cooper(&["create", "example_name", "--dependencies", "mechanize"])
        .with(2);
    assert!(told.stderr.contains("chmod 600"), "{told}");
    assert_done_silent(&told);
    private(&world.host.path("home/.netrc"), 0o600);
    world
        .cooper(&["create", "example_name", "--dependencies", "mechanize"])
        .good();
}

#[test]
fn a_project_chooses_neither_helper_nor_credentials() {
    for text in [
        "network.credential_helper = [\"/bin/true\"]\n",
        "network.credentials = [\"http://alice:correct-horse-battery@127.0.0.1/\"]\n",
    ] {
        let world = World::new();
        world.host.write("project/cooper.toml", text);
        world.host.write(
            "home/.config/cooper/cooper.toml",
            "trust.allow_project_sources = true\n",
        );
        let told = world.cooper(&["create", "x", "--packages", "wget"]).with(2);
        assert!(
            told.stderr.contains("a project's file may not set `network.cred"),
            "{told}"
        );
        assert_done_silent(&told);
        assert_done_silent(&world.cooper(&["config", "--json"]).with(2));
    }
}

#[test]
fn a_helper_that_fails_is_an_error() {
    let world = World::new();
    world.host.write(
        "home/.config/cooper/cooper.toml",
        "network.credential_helper = [\"sh\", \"-c\", \"echo password=correct-horse-battery; exit 3\"]\n",
    );
    let told = world.cooper(&["create", "x", "--packages", "wget"]).with(1);
    assert!(
        told.stderr.contains("the credential helper has no answer for"),
        "{told}"
    );
    assert_done_silent(&told);
    assert_eq!(world.server.requests(), []);
}

/// The image says which index each file came from, and its lock is enough to fetch it again.
#[test]
fn several_indexes_are_told_apart() {
    let mut world = World::new();
    let own = PythonIndex::new().wheel(
        Wheel::new("internal", "1.0")
            .requires("requests")
            .package("internal", ""),
    );
    let own = Server::start(own.routes());
    for pattern in ["/simple/*", "/files/*"] {
        own.guard(pattern, HEADER);
    }
    let both = format!("{} {}", own.url("simple/"), world.server.url("simple/"));
    world.host.set("COOPER_PYTHON_INDEX", &both);
    let login = own
        .base_url()
        .replace("http://", &format!("http://alice:{PASSWORD}@"));
    world.host.set("COOPER_CREDENTIALS", &login);
    world
        .cooper(&["create", "x", "--dependencies", "internal"])
        .good();
    assert!(
        world
            .server
            .requests()
            .iter()
            .all(|asked| asked.header("authorization").is_none())
    );
    let shown = world.cooper(&["inspect", "x"]).good();
    for server in [&own, &world.server] {
        assert!(
            shown.stdout.contains(&format!("{} (1)", server.url("simple/"))),
            "{shown}"
        );
    }
    let lock = world.cooper(&["inspect", "x", "--lock"]).good();
    assert!(
        lock.stdout
            .contains(&format!("\"index\": \"{}\"", own.url("simple/"))),
        "{lock}"
    );

    let mut other = world.another_host();
    other.set("COOPER_PYTHON_INDEX", &both);
    other.set("COOPER_CREDENTIALS", &login);
    other
        .cooper_with_input(&["create", "copy", "--locked", "-"], &lock.stdout)
        .good();
    assert_folder_silent(&other.path("store"));
}

/// What a build step sees: its environment, its files, its own command line.
#[test]
fn live_builds_see_no_credentials() {
    let look = "import os, glob\n\
                seen = repr(dict(os.environ))\n\
                for path in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline') + ['/proc/self/mountinfo']:\n    \
                    try: seen += repr(open(path, 'rb').read())\n    \
                    except OSError: pass\n\
                for folder, _, names in os.walk('/'):\n    \
                    if folder.startswith(('/proc', '/sys', '/usr')): continue\n    \
                    for name in names:\n        \
                        try: seen += repr(open(os.path.join(folder, name), 'rb').read(65536)) if os.path.isfile(os.path.join(folder, name)) else ''\n        \
                        except OSError: pass\n\
                print(seen)\n\
                assert 'correct-horse' + '-battery' not in seen and '.netrc' not in seen.split('dict')[0]\n\
                assert 'COOPER' not in repr(dict(os.environ)), seen\n\
                return wheel(wheel_directory)";
    let sdist: Sdist = crate::sources::sources("looks", look);
    let server = Server::start(PythonIndex::new().sdist(sdist).routes());
    for pattern in ["/simple/*", "/files/*"] {
        server.guard(pattern, HEADER);
    }
    let mut host = live(Host::in_memory(3 << 30));
    host.set("COOPER_LOG", "trace");
    host.set("COOPER_PYTHON_INDEX", &server.url("simple/"));
    for way in WAYS {
        configure(&mut host, &server, way, &["COOPER_PYTHON_INDEX"]);
    }
    let done = host.cooper(&["create", "x", "--dependencies", "looks"]).good();
    assert_done_silent(&done);
    assert!(assert_folder_silent(&host.path("store")) > 50);
}

/// A company's Debian archive behind a password, beside Debian's.
#[test]
fn a_source_with_its_own_key_and_password_is_told_in_the_lock() {
    let world = World::new();
    let tool = DebPackage::new("acme-tool", "1.0")
        .depends("wget")
        .file("usr/bin/acme", "#!/bin/sh\n", 0o755);
    let own = DebianArchive::new(Base::Trixie)
        .package(tool)
        .signing(&Signing::By(SigningKey::stranger()));
    let own = Server::start(own.routes());
    own.guard("/debian/*", HEADER);
    let key = SigningKey::stranger().certificate_armoured();
    let uri = own
        .url("debian")
        .replace("http://", &format!("http://alice:{PASSWORD}@"));
    let text = format!(
        "[[debian.source]]\nname = \"acme\"\nuris = \"{uri}\"\nsuites = \"trixie\"\nsigned_by = \"acme.asc\"\n"
    );
    let configure = |host: &Host, text: &str| {
        host.write("home/.config/cooper/acme.asc", &key);
        host.write("home/.config/cooper/cooper.toml", text);
    };
    configure(&world.host, &text);
    world.cooper(&["create", "x", "--packages", "acme-tool"]).good();
    let shown = world.cooper(&["inspect", "x"]).good();
    assert!(shown.stdout.contains("trixie+acme:trixie:main (1)"), "{shown}");
    let config = world.cooper(&["config"]).good();
    assert!(config.stdout.contains("***@127.0.0.1"), "{config}");
    let lock = world.cooper(&["inspect", "x", "--lock"]).good();
    for done in [
        &shown,
        &config,
        &lock,
        &world.cooper(&["config", "--json"]).good(),
    ] {
        assert_done_silent(done);
    }
    assert_folder_silent(&world.host.path("store"));

    let other = world.another_host();
    let told = other
        .cooper_with_input(&["create", "copy", "--locked", "-"], &lock.stdout)
        .with(1);
    assert!(told.stderr.contains("[[debian.source]]"), "{told}");
    configure(&other, &text);
    let copy = other
        .cooper_with_input(&["create", "copy", "--locked", "-", "--json"], &lock.stdout)
        .good()
        .json();
    let document = world.cooper(&["inspect", "x", "--json"]).good().json();
    assert_eq!(copy["digest"], document["digest"]);

    // A project adds no archive.
    world.host.write("project/cooper.toml", &text);
    let told = world.cooper(&["create", "y", "--packages", "acme-tool"]).with(2);
    assert!(told.stderr.contains("may not set `debian.source`"), "{told}");
    assert_done_silent(&told);
}
