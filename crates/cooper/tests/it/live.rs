//! The main job on the live archives: real packages, real wheels, both bases. Nothing here names a version.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use crate::context::{Done, Host};

/// A host that fetches from where this machine's own apt and pip fetch.
pub(crate) fn live_host() -> Host {
    live(Host::new())
}

/// A policy that notes what the standard one holds.
const LENIENT: &str = "[names]\ndirect = 'note'\ntransitive = 'note'\n[age]\ndays_min = 0\n[licences]\npython_denied = 'note'\n\
     python_doubtful = 'note'\n[provenance]\nstartup_code = 'note'\nnative_in_pure = 'note'\n";

/// Let a host fetch from where this machine's own apt and pip fetch.
#[expect(
    clippy::disallowed_methods,
    reason = "a live test uses the host's own configuration"
)]
pub(crate) fn live(mut host: Host) -> Host {
    let passed_on = [
        "PIP_INDEX_URL",
        "PIP_CERT",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
    ];
    for name in passed_on {
        if let Ok(value) = std::env::var(name) {
            host.set(name, &value);
        }
    }
    // Real sets are as they are: what they are refused for is tested elsewhere.
    let policy = host.write("lenient-policy.toml", LENIENT);
    host.set("COOPER_POLICY", policy.to_str().unwrap());
    host
}

fn create(host: &Host, args: &[&str]) -> Value {
    let args: Vec<&str> = ["create"]
        .iter()
        .chain(args)
        .chain(&["--json"])
        .copied()
        .collect();
    host.cooper(&args).good().json()
}

fn python(host: &Host, image: &str, code: &str) -> Done {
    host.cooper(&["run", image, "-c", code]).good()
}

/// What an image promises, and what it must not have.
const PROMISES: &str = r#"
import locale, os, pathlib, pwd, ssl, subprocess, sys, time, zoneinfo
import mechanize

assert sys.version_info[:2] == tuple(map(int, sys.argv[1].split("."))), sys.version
assert pwd.getpwuid(os.getuid()).pw_uid != 0
assert locale.getencoding().lower() == sys.stdout.encoding == "utf-8"
assert zoneinfo.ZoneInfo("Europe/Berlin").utcoffset(__import__("datetime").datetime(2026, 7, 1)).seconds == 7200
assert len(ssl.create_default_context().get_ca_certs()) > 100
assert subprocess.run(["python", "-c", "pass"]).returncode == 0
assert subprocess.run(["python3", "-m", "pip"], capture_output=True).returncode != 0
assert subprocess.run(["dpkg", "--audit"], capture_output=True, text=True, check=True).stdout == ""
listed = subprocess.run(["dpkg-query", "-W", "-f", "${Status}\n"], capture_output=True, text=True, check=True).stdout
assert set(listed.splitlines()) == {"install ok installed"}, set(listed.splitlines())
assert "wget " in subprocess.run(["dpkg-query", "-W", "wget"], capture_output=True, text=True).stdout.replace("\t", " ")
assert "ID=debian" in pathlib.Path("/etc/os-release").read_text()
assert pathlib.Path("/usr/share/doc/wget/copyright").exists()
assert mechanize.__file__.endswith(".py") and pathlib.Path(mechanize.__cached__).exists(), mechanize.__cached__
broken = subprocess.run(["ldd", "/usr/bin/wget"], capture_output=True, text=True).stdout
assert "not found" not in broken, broken
"#;

fn main_job(base: &str, version: &str) {
    let host = live_host();
    let request = [
        "example_name",
        "--base",
        base,
        "--dependencies",
        "mechanize",
        "--packages",
        "wget",
    ];
    let created = create(&host, &request);
    assert_eq!(created["created"], Value::Bool(true));
    let script = host.write("project/promises.py", PROMISES);
    host.cooper(&["run", "example_name", script.to_str().unwrap(), version])
        .good();
    let wget = host
        .cooper(&["run", "example_name", "--", "wget", "--version"])
        .good();
    assert!(wget.stdout.starts_with("GNU Wget "), "{wget}");
    assert_eq!(create(&host, &request)["created"], Value::Bool(false));
    python(&host, "example_name", BYTECODE);
    host.cooper(&["run", "example_name", "--", "sh", "-c", CERTIFICATES])
        .good();
    host.cooper(&["fsck"]).good();
    same_from_its_lock(&host, &created["digest"]);
}

/// In another store, under another umask, time zone and locale, on one processor, with maintainer scripts as they are
/// shipped.
fn same_from_its_lock(host: &Host, digest: &Value) {
    let lock = host.cooper(&["inspect", "example_name", "--lock"]).good().stdout;
    let mut other = live_host();
    other.set("TZ", "Asia/Tokyo");
    other.set("LC_ALL", "tr_TR.UTF-8");
    other.set("COOPER_BUILD_SCRIPTS_AS_SHIPPED", "true");
    other.write("project/example.lock", &lock);
    let script = "umask 077; exec taskset --cpu-list 0 \"$@\"";
    let args = ["create", "copy", "--locked", "example.lock", "--json"];
    let copy = other.cooper_from_shell(script, &args).good().json();
    assert_eq!(copy["digest"], *digest, "{}", differences(host, &other));
}

/// What is not the same in `example_name` of one store and `copy` of the other: layers, and the files of their trees.
fn differences(host: &Host, other: &Host) -> String {
    let shown = |host: &Host, name: &str| host.cooper(&["inspect", name, "--json"]).good().json();
    let (one, two) = (shown(host, "example_name"), shown(other, "copy"));
    let layers = |image: &Value| image["layers"].as_array().cloned().unwrap_or_default();
    let mut told = format!("{}\n{}\n", one["config"], two["config"]);
    for (a, b) in layers(&one).iter().zip(&layers(&two)).filter(|(a, b)| a != b) {
        let _ = writeln!(told, "{a}\n{b}");
        let tree = |host: &Host, layer: &Value| {
            let id = layer["diff_id"].as_str().unwrap_or_default().replace(':', "/");
            host.path("store/trees").join(id)
        };
        let mut diff = Command::new("diff");
        diff.args(["-rq", "--no-dereference"]);
        let files = diff.arg(tree(host, a)).arg(tree(other, b)).output().unwrap();
        told += &String::from_utf8_lossy(&files.stdout);
    }
    told
}

/// The standard library's bytecode is what the interpreter itself makes of the sources.
const BYTECODE: &str = r#"
import importlib.util, marshal, os, pathlib, sys, sysconfig
count = 0
for source in pathlib.Path(sysconfig.get_path("stdlib")).rglob("*.py"):
    cached = pathlib.Path(importlib.util.cache_from_source(str(source)))
    if "dist-packages" in source.parts or not cached.exists():
        continue
    data, status = cached.read_bytes(), source.stat()
    header = importlib.util.MAGIC_NUMBER + bytes(4) + int(status.st_mtime).to_bytes(4, "little") + status.st_size.to_bytes(4, "little")
    assert data[:16] == header, cached
    assert marshal.loads(data[16:]) == compile(source.read_bytes(), str(source), "exec", dont_inherit=True), cached
    count += 1
assert count > 500, count
"#;

/// The certificates are what Debian's own program makes of them.
const CERTIFICATES: &str = r"
set -e
mkdir /work/certs
update-ca-certificates --etccertsdir /work/certs --hooksdir '' >/dev/null
diff -r --no-dereference /etc/ssl/certs /work/certs
";

#[test]
fn live_main_job_on_trixie() {
    main_job("debian:trixie", "3.13");
}

#[test]
fn live_main_job_on_bookworm() {
    main_job("debian:bookworm", "3.11");
}

/// Four sets of requirements as automation scripts have them: extension modules, pure Python, and what each imports.
#[test]
fn live_requirement_sets() {
    let sets = [
        ("lxml", "lxml", "import lxml.etree, lxml.html"),
        (
            "ldap",
            "ldap3,pyasn1,pycryptodome",
            "import ldap3, pyasn1.codec.ber.encoder, Crypto.Cipher.AES",
        ),
        (
            "yarapy",
            "plyara,yara-python",
            "import plyara, yara; yara.compile(source='rule a { condition: true }')",
        ),
        (
            "taxii2",
            "antlr4-python3-runtime,certifi,charset-normalizer,idna,pytz,requests,simplejson,six,stix2,stix2-patterns,taxii2-client,urllib3",
            "import antlr4, requests, simplejson, six, stix2, stix2patterns, taxii2client, pytz",
        ),
    ];
    let host = live_host();
    for (name, dependencies, imports) in sets {
        let created = create(&host, &[name, "--dependencies", dependencies]);
        let installed = created["packages"]["python"].as_array().unwrap().len();
        assert!(installed >= dependencies.split(',').count(), "{name}: {created}");
        python(&host, name, imports);
    }
    host.cooper(&["fsck"]).good();
}

/// Imports every library that a distribution brings; what cannot be imported is said.
const IMPORTS: &str = r#"
import importlib, importlib.metadata, sys
failed, count = [], 0
for name, distributions in sorted(importlib.metadata.packages_distributions().items()):
    if name.isidentifier() and not name.startswith("_") and name != "LICENSE":
        count += 1
        try:
            importlib.import_module(name)
        except BaseException as error:
            failed.append(f"{name} of {distributions}: {error!r}")
assert count and not failed, "\n".join(failed)
"#;

/// Real sets, one with a source distribution, one with native libraries. They lie beside the repository, where there
/// is one; elsewhere names without versions stand in.
#[test]
fn live_requirement_sets_become_images_whose_libraries_import() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/requirements");
    let host = live_host();
    for (name, stands_in) in [
        ("splunksdk-py3", "docopt"),
        ("ldap", "ldap3"),
        ("dnstwist", "dnspython"),
        ("pandas", "pandas"),
    ] {
        let set = folder.join(format!("{name}.txt"));
        let file = if set.exists() {
            set
        } else {
            println!("SKIPPED: the requirement set {name} is not there; {stands_in} stands in");
            host.write(&format!("project/{name}.txt"), stands_in)
        };
        let created = create(&host, &[name, "--requirements", file.to_str().unwrap()]);
        assert_eq!(created["created"], Value::Bool(true), "{created}");
        python(&host, name, IMPORTS);
    }
}
