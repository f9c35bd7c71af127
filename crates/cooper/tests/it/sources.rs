//! Wheels that are built from sources: on a live base, with sources of a made index, since building takes a real
//! interpreter. Good sources become a wheel that is remembered and can be built again; hostile ones are contained.

use std::time::{Duration, Instant};

use cooper_core::Clock as _;
use cooper_core::clock::SystemClock;
use serde_json::{Value, json};
use testkit::{PythonIndex, Sdist, Server, Wheel};

use crate::context::{Host, World, archive, index};
use crate::live::live_host;

/// A build backend whose `build_wheel` does this.
fn backend(name: &str, build_wheel: &str) -> String {
    let lines: Vec<String> = build_wheel.lines().map(|line| format!("    {line}\n")).collect();
    let body = lines.concat();
    format!(
        r#"
import base64, hashlib, os, sys, zipfile

def wheel(folder, name=None, version="1.0", tag="py3-none-any", source="value = 1\n"):
    name = name or {name:?}
    info = f"{{name}}-{{version}}.dist-info"
    files = {{
        f"{{name}}.py": source,
        f"{{info}}/METADATA": f"Metadata-Version: 2.1\nName: {{name}}\nVersion: {{version}}\nLicense: MIT\n",
        f"{{info}}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {{tag}}\n",
    }}
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{{path}},sha256={{digest}},{{len(text)}}\n"
    files[f"{{info}}/RECORD"] = record + f"{{info}}/RECORD,,\n"
    filename = f"{{name}}-{{version}}-{{tag}}.whl"
    with zipfile.ZipFile(os.path.join(folder, filename), "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return filename

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
{body}
"#
    )
}

/// How sources say that they bring their backend, and what it asks for.
fn pyproject(requires: &str) -> String {
    format!("[build-system]\nrequires = [{requires}]\nbuild-backend = 'backend'\nbackend-path = ['.']\n")
}

/// Sources with such a backend.
pub(crate) fn sources(name: &str, build_wheel: &str) -> Sdist {
    Sdist::new(name, "1.0")
        .field("Dynamic", "Requires-Dist")
        .file("pyproject.toml", pyproject(""))
        .file("backend.py", backend(name, build_wheel))
}

/// A live host whose Python index is this one.
fn host_of(index: &PythonIndex) -> (Host, Server) {
    let server = Server::start(index.routes());
    let mut host = live_host();
    host.set("COOPER_PYTHON_INDEX", &server.url("simple/"));
    (host, server)
}

fn create(host: &Host, name: &str, dependency: &str) -> Value {
    host.cooper(&["create", name, "--dependencies", dependency, "--json"])
        .good()
        .json()
}

fn good(name: &str) -> Sdist {
    sources(name, "return wheel(wheel_directory)")
}

#[test]
fn live_sources_become_a_wheel_that_is_remembered_and_built_again() {
    let asks = "import helper\nreturn wheel(wheel_directory, source=f'value = {helper.value}\\n')";
    let asks = sources("asks", asks).file("pyproject.toml", pyproject("'helper'"));
    let ask = "def get_requires_for_build_wheel(settings):\n    return ['helper>=1']\n\nfrom inner import build_wheel\n";
    let more = good("more").file("backend.py", ask).file(
        "inner.py",
        backend("more", "import helper\nreturn wheel(wheel_directory)"),
    );
    let index = PythonIndex::new()
        .wheel(Wheel::new("helper", "1").package("helper", "value = 7\n"))
        .wheel(Wheel::new("old", "0.9").package("old", "value = 9\n"))
        .sdist(good("old"))
        .sdist(good("plain"))
        .sdist(asks)
        .sdist(more);
    let (host, server) = host_of(&index);

    let created = create(&host, "a", "plain");
    let findings = created["findings"].as_array().unwrap();
    let of_python = findings
        .iter()
        .filter(|one| one["package"]["ecosystem"] == "python");
    let codes: Vec<&Value> = of_python.map(|one| &one["code"]).collect();
    assert_eq!(codes, [&json!("INTEGRITY-BUILT-HERE")], "{created}");
    host.cooper(&["run", "a", "-c", "import plain; assert plain.value == 1"])
        .good();

    // The same wheel for another image, and with nothing fetched.
    let fetched = server.requests().len();
    let again = create(&host, "b", "plain");
    assert_eq!(
        (&again["digest"], server.requests().len()),
        (&created["digest"], fetched)
    );

    // What the sources ask for is in the environment and not in the image; a wheel goes before newer sources.
    create(&host, "c", "asks,more,old");
    let check = "import asks, more, old, importlib.util\n\
                 assert asks.value == 7 and old.value == 9 and importlib.util.find_spec('helper') is None";
    host.cooper(&["run", "c", "-c", check]).good();

    // Built again from the lock alone, elsewhere: the same digest.
    let lock = host.cooper(&["inspect", "c", "--lock"]).good().stdout;
    let built = |name: &str| {
        let lock: Value = serde_json::from_str(&lock).unwrap();
        let python = lock["content"]["python"].as_array().unwrap().clone();
        python.into_iter().find(|one| one["name"] == json!(name)).unwrap()["built"].clone()
    };
    assert_eq!(built("asks")["source"]["filename"], json!("asks-1.0.tar.gz"));
    assert_eq!(built("old"), Value::Null);
    let inspected = host.cooper(&["inspect", "c", "--json"]).good().json();
    let of_sources = inspected["packages"]["python"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| !one["built_from"].is_null());
    let of_sources: Vec<&Value> = of_sources.map(|one| &one["built_from"]).collect();
    assert_eq!(
        of_sources,
        [&json!("asks-1.0.tar.gz"), &json!("more-1.0.tar.gz")],
        "{inspected}"
    );
    let mut other = live_host();
    other.set("COOPER_PYTHON_INDEX", &server.url("simple/"));
    other.write("project/c.lock", &lock);
    let copy = other
        .cooper(&["create", "c", "--locked", "c.lock", "--json"])
        .good()
        .json();
    let digest = host.cooper(&["inspect", "c", "--json"]).good().json()["digest"].clone();
    assert_eq!(copy["digest"], digest);
    host.cooper(&["fsck"]).good();
    other.cooper(&["fsck"]).good();
}

/// What hostile sources try, and what is said of it.
const HOSTILE: [(&str, &str, &str); 12] = [
    ("hangs", "import time\ntime.sleep(10_000)", "build.timeout"),
    (
        "forks",
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        sys.exit('no more')",
        "no more",
    ),
    (
        "daemon",
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(10_000)\n    os._exit(0)\nsys.exit('left')",
        "left",
    ),
    (
        "fills",
        "with open('/work/big', 'wb') as file:\n    while True:\n        file.write(b'x' * (1 << 20))",
        "No space left on device",
    ),
    (
        "eats",
        "held = []\nwhile True:\n    held.append(bytearray(1 << 24))",
        "build.memory",
    ),
    (
        "reads",
        "print(open('/etc/shadow').read())\nreturn wheel(wheel_directory)",
        "No such file or directory: '/etc/shadow'",
    ),
    (
        "phones",
        "import socket\nsocket.create_connection(('127.0.0.1', int(os.environ.get('PORT', '80'))), 2)",
        "refused",
    ),
    (
        "resolves",
        "import socket\nsocket.getaddrinfo('example.test', 80)",
        "name resolution",
    ),
    (
        "writes",
        "for path in ('/usr/lib/x', '/etc/x', '/escaped-cooper-test', '/run/cooper/x'):\n    try:\n        open(path, 'w')\n    except OSError as error:\n        print(path, error)\n    else:\n        return wheel(wheel_directory)\nsys.exit('written nowhere')",
        "written nowhere",
    ),
    (
        "other",
        "return wheel(wheel_directory, name='requests')",
        "requests-1.0-py3-none-any.whl",
    ),
    (
        "foreign",
        "return wheel(wheel_directory, tag='cp27-cp27m-win32')",
        "do not fit debian:trixie",
    ),
    (
        "traverses",
        "name = wheel(wheel_directory)\nos.symlink('/etc/passwd', os.path.join(wheel_directory, 'x.whl'))\nreturn '../../../etc/passwd'",
        "/etc/passwd",
    ),
];

#[test]
fn live_hostile_sources_are_contained() {
    let loud = "for _ in range(1 << 10):\n    os.write(1, b'loud ' * (1 << 18))\nsys.exit('at the end')";
    let index = HOSTILE.iter().fold(PythonIndex::new(), |index, (name, body, _)| {
        index.sdist(sources(name, body))
    });
    let index = index.sdist(sources("loud", loud)).sdist(good("honest"));
    let (mut host, _server) = host_of(&index);
    create(&host, "base", "honest");
    host.set("COOPER_BUILD_TIMEOUT", "8s");
    host.set("COOPER_BUILD_MEMORY", "256MiB");
    for (name, _, said) in HOSTILE.iter().chain(&[("loud", "", "at the end")]) {
        let began = Instant::now();
        let done = host
            .cooper(&["create", name, "--dependencies", name, "--json"])
            .with(1);
        let error = done.json()["error"].clone();
        assert_eq!(error["code"], json!("source-build"), "{name}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(said) && message.contains(&format!("{name}-1.0.tar.gz")),
            "{name}: {error}"
        );
        assert!(began.elapsed() < Duration::from_mins(2), "{name}");
        println!("{name}: {}", message.lines().last().unwrap_or_default());
    }
    assert!(!std::path::Path::new("/escaped-cooper-test").exists());
    // The whole log is where the hint says, bounded.
    let error = host
        .cooper(&["create", "loud", "--dependencies", "loud", "--json"])
        .with(1)
        .json()["error"]
        .clone();
    let hint = error["hint"].as_str().unwrap();
    let log = hint
        .split("the whole log: ")
        .nth(1)
        .and_then(|rest| rest.split(';').next())
        .unwrap();
    let length = std::fs::metadata(log).unwrap().len();
    assert!((1 << 20..=16 << 20).contains(&length), "{length}");
    let images = host.cooper(&["images", "--json"]).good().json();
    assert_eq!(images.as_array().unwrap().len(), 1, "{images}");
    host.cooper(&["fsck"]).good();
}

/// The codes of what refuses in a document with findings.
fn refusing(document: &Value) -> Vec<&str> {
    let findings = document["findings"].as_array().unwrap().iter();
    let refusing = findings.filter(|finding| finding["effect"] != "note" && finding["waived"].is_null());
    refusing
        .map(|finding| finding["code"].as_str().unwrap())
        .collect()
}

/// Sources whose metadata is known without building them.
fn plain(name: &str) -> Sdist {
    Sdist::new(name, "1.0")
        .file("pyproject.toml", pyproject(""))
        .file("backend.py", backend(name, "sys.exit('mark')"))
}

fn hours_ago(hours: i64) -> String {
    let time = SystemClock.now().as_second() - hours * 3600;
    cooper_core::Timestamp::from_second(time).unwrap().to_string()
}

/// Sources that a gate refuses, some of which would have to be built for their metadata, and honest ones.
fn judged_sources() -> PythonIndex {
    let needs_build = |sdist: Sdist| sdist.field("Dynamic", "Requires-Dist");
    index()
        .sdist(plain("young").uploaded(&hours_ago(5)))
        .sdist(needs_build(plain("young-to-build").uploaded(&hours_ago(5))))
        .sdist(plain("unseen").without_upload_time())
        .sdist(plain("evil"))
        .sdist(plain("weak"))
        .sdist(plain("sys"))
        .sdist(plain("denied"))
        .sdist(plain("honest"))
        .wheel(Wheel::new("newborn", "1.0").uploaded(&hours_ago(5)))
        .sdist(plain("needs-young").requires("young"))
}

#[test]
fn sources_are_judged_before_anything_is_made_for_their_build() {
    let affected = |id: &str, name: &str| {
        format!(
            r#"{{"id":"{id}","modified":"2026-11-20T00:00:00Z","affected":[{{"package":{{"ecosystem":"PyPI","name":"{name}"}},"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}}]}}]}}]}}"#
        )
    };
    let mut world = World::of(&archive(), &judged_sources());
    let policy = world
        .host
        .write("policy.toml", "[packages]\ndeny = ['python:denied']\n");
    world.host.set("COOPER_POLICY", policy.to_str().unwrap());
    let malicious = world.host.write("mal.json", &affected("MAL-2026-1", "evil"));
    let weak = world.host.write("weak.json", &affected("PYSEC-2026-1", "weak"));
    let (malicious, weak) = (malicious.to_str().unwrap(), weak.to_str().unwrap());
    world
        .cooper(&["advisories", "update", "--from", malicious, "--from", weak])
        .good();
    for (dependencies, code) in [
        ("young==1.0", "AGE-YOUNG"),
        ("young-to-build==1.0", "AGE-YOUNG"),
        ("young-to-build", "AGE-YOUNG"),
        ("needs-young", "AGE-YOUNG"),
        ("unseen", "AGE-FIRST-SEEN"),
        ("evil==1.0", "MALICIOUS-LISTED"),
        ("weak==1.0", "VULNERABILITY-UNFIXED"),
        ("sys", "NAMES-STDLIB"),
        ("denied==1.0", "PACKAGE-DENIED"),
        // What is beside the sources counts too.
        ("honest,newborn==1.0", "AGE-YOUNG"),
    ] {
        let create = ["create", "a", "--dependencies", dependencies, "--json"];
        let refused = world.cooper(&create).with(3).json();
        assert_eq!(refusing(&refused["error"]), [code], "{dependencies}: {refused}");
        let words: Vec<&str> = dependencies.split(',').collect();
        let checked = world.cooper(&[&["check", "--json"], &words[..]].concat()).with(3);
        assert_eq!(refusing(&checked.json()), [code], "{dependencies}: {checked}");
    }
    let requests = world.server.requests();
    assert!(!requests.iter().any(|one| one.path.contains("/pool/")));
    let logs = world.host.path("store/cache/build-log");
    assert!(!logs.exists(), "a build was run");
    // The way to what is refused is told, and a waiver lets the build run, which ends soon in this world.
    let refused = world.cooper(&["check", "needs-young", "--json"]).json();
    assert_eq!(refused["findings"][0]["path"], json!(["needs-young", "young"]));
    assert!(
        refused["notes"][0].as_str().unwrap().contains("not whole"),
        "{refused}"
    );
    let by = ["--reason", "read", "--until", "2999-01-01", "--by", "ada"];
    let waive = ["waive", "AGE-YOUNG", "--package", "young", "--version", "1.0"];
    world.cooper(&[&waive[..], &by].concat()).good();
    let held = world.cooper(&["create", "a", "--dependencies", "young==1.0", "--json"]);
    assert_eq!(held.with(1).json()["error"]["code"], "source-build");
    assert!(logs.exists());
    // What was first seen long ago is old enough.
    let ledger = world.host.path("store/ledgers/first-seen");
    let lines = std::fs::read_to_string(&ledger).unwrap();
    let mut line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(line["name"], "unseen");
    line["at"] = json!(hours_ago(24 * 30));
    world.host.write("store/ledgers/first-seen", &format!("{line}\n"));
    let seen = world.cooper(&["create", "a", "--dependencies", "unseen", "--json"]);
    assert_eq!(seen.with(1).json()["error"]["code"], "source-build");
}

#[test]
fn live_code_of_refused_sources_is_not_run() {
    let young = |sdist: Sdist| sdist.uploaded(&hours_ago(5));
    let index = PythonIndex::new()
        .sdist(young(plain("young")))
        .sdist(young(sources("to-build", "sys.exit('mark')")))
        .sdist(plain("honest"));
    let (mut host, _server) = host_of(&index);
    let lenient = host.variable("COOPER_POLICY").unwrap().to_owned();
    let strict = host.write("strict.toml", "[names]\ndirect = 'note'\n");
    host.set("COOPER_POLICY", strict.to_str().unwrap());
    let create = |host: &Host, dependencies: &str, status: i32| {
        let create = ["create", "a", "--dependencies", dependencies, "--json"];
        host.cooper(&create).with(status).json()["error"].clone()
    };
    for dependencies in ["young==1.0", "to-build==1.0", "honest,young==1.0"] {
        let refused = create(&host, dependencies, 3);
        assert_eq!(refusing(&refused), ["AGE-YOUNG"], "{refused}");
    }
    let logs = host.path("store/cache/build-log");
    assert!(!logs.exists(), "a build was run");
    // The same code leaves its mark where it is run.
    host.set("COOPER_POLICY", &lenient);
    for dependencies in ["young==1.0", "to-build==1.0"] {
        let failed = create(&host, dependencies, 1);
        assert!(failed["message"].as_str().unwrap().contains("mark"), "{failed}");
    }
    assert_eq!(std::fs::read_dir(&logs).unwrap().count(), 2);
}
