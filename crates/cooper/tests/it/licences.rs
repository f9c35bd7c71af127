//! What Debian packages say of their licences, judged before anything of them runs; and waivers for all that a verdict holds.

use cooper_core::Base;
use serde_json::Value;
use testkit::archive::Signing;
use testkit::{DebPackage, DebianArchive, Server, SigningKey, Wheel};

use crate::context::{World, archive, index};

/// A package that cannot be made part of an image: whoever runs a script of it fails otherwise than by a refusal.
fn failing(name: &str) -> DebPackage {
    let fails = "#!/bin/sh\nexit 1\n";
    DebPackage::new(name, "1.0")
        .script("preinst", fails)
        .script("postinst", fails)
}

fn copyright(name: &str) -> String {
    format!("usr/share/doc/{name}/copyright")
}

fn archive_of_licences() -> DebianArchive {
    let bare = |name: &str| DebPackage::new(name, "1.0").without_copyright();
    let said = |name: &str, text: &[u8]| bare(name).file(&copyright(name), text, 0o644);
    let mut large = b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
        Files: *\nCopyright: x\nLicense: Expat\n\n"
        .to_vec();
    large.resize(50 << 20, b'\n');
    archive()
        .package(failing("silent").without_copyright())
        .package(failing("denied").licence("CC-BY-NC-4.0"))
        .package(
            failing("astray")
                .without_copyright()
                .symlink(&copyright("astray"), "../../../../../etc/passwd"),
        )
        .package(
            failing("borrowing")
                .without_copyright()
                .depends("jq")
                .symlink("usr/share/doc/borrowing", "jq"),
        )
        .package(
            DebPackage::new("owner", "1.0")
                .source("both")
                .licence("BSD-3-clause"),
        )
        .package(
            bare("sharing")
                .source("both")
                .depends("owner")
                .symlink("usr/share/doc/sharing", "owner"),
        )
        .package(DebPackage::new("odd", "1.0").licence("odd-licence"))
        .package(said("large", &large))
        .package(said("wide", b"\xff\xfeL\0i\0c\0e\0n\0c\0e\0:\0 \0x\0\n\0"))
        .package(said("garbled", b"\xc3\x28\xa0\xa1 \xe2\x28 \0\0 \xf0\x90"))
}

fn world() -> World {
    World::of(&archive_of_licences(), &index())
}

/// Code, effect and package of each finding about a licence.
fn licences(document: &Value) -> Vec<String> {
    let findings = document["findings"].as_array().unwrap().iter();
    let of_licence = findings.filter(|finding| finding["code"].as_str().unwrap().starts_with("LICENCE-"));
    let mut all: Vec<String> = of_licence
        .map(|finding| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let package = text(&finding["package"]["name"]);
            format!(
                "{} {} {package}",
                text(&finding["effect"]),
                text(&finding["code"])
            )
        })
        .collect();
    all.sort();
    all
}

#[test]
fn what_is_denied_or_missing_is_refused_before_its_scripts_run() {
    let world = world();
    for (name, code, why) in [
        (
            "silent",
            "LICENCE-MISSING",
            "no source says anything about its licence",
        ),
        (
            "denied",
            "LICENCE-DENIED",
            "`CC-BY-NC-4.0` (DEP-5) is not among the accepted licences",
        ),
        (
            "astray",
            "LICENCE-MISSING",
            "its copyright file is a link to `../../../../../etc/passwd`, which no package has",
        ),
        (
            "borrowing",
            "LICENCE-MISSING",
            "its copyright file is a link to `jq`, which no package has",
        ),
    ] {
        let refused = world
            .cooper(&["create", "a", "--packages", name, "--json"])
            .with(3)
            .json();
        let error = &refused["error"];
        assert_eq!(licences(error), [format!("hold {code} {name}")], "{refused}");
        let finding = &error["findings"][0];
        assert_eq!(finding["message"], why);
        assert_eq!(finding["path"], serde_json::json!([name]));
        world.cooper(&["inspect", "a"]).with(1);
    }
    // A waiver lifts it: then the script is what fails.
    let waive = [
        "waive",
        "LICENCE-DENIED",
        "--package",
        "denied",
        "--version",
        "1.0",
    ];
    let terms = ["--reason", "agreed", "--until", "2999-01-01", "--by", "ada"];
    world.cooper(&[&waive[..], &terms].concat()).good();
    let failed = world.cooper(&["create", "a", "--packages", "denied"]).with(1);
    assert!(failed.stderr.contains("denied preinst"), "{failed}");
}

#[test]
fn what_is_doubtful_is_noted_and_kept_with_the_image() {
    let world = world();
    let packages = "sharing,odd,large,wide,garbled,wget";
    let made = world
        .cooper(&["create", "a", "--packages", packages, "--json"])
        .good()
        .json();
    let noted = [
        "note LICENCE-COPYLEFT-OS wget",
        "note LICENCE-UNKNOWN garbled",
        "note LICENCE-UNKNOWN odd",
        "note LICENCE-UNKNOWN wide",
        "note LICENCE-UNSURE large",
    ];
    assert_eq!(licences(&made), noted, "{made}");
    let kept = world.cooper(&["inspect", "a", "--json"]).good().json();
    assert_eq!(licences(&kept["verdict"]), noted);
    let of_wget = made["findings"].as_array().unwrap().iter();
    let mut of_wget = of_wget.filter(|finding| finding["package"]["name"] == "wget");
    assert_eq!(of_wget.next().unwrap()["evidence"], "DEP-5, exact");
    // For people, one line for each code.
    let told = world.cooper(&["create", "b", "--packages", packages]).good();
    assert!(
        told.stderr
            .contains("note: LICENCE-UNKNOWN: 3 Debian packages (garbled, odd, wide)"),
        "{told}"
    );
    let explained = |name: &str| {
        let args = ["check", "--image", "a", "--explain-licence", name, "--json"];
        world.cooper(&args).good().json()["answer"].clone()
    };
    assert_eq!(explained("sharing")["expression"], "BSD-3-Clause");
    let large = explained("large")["statements"][0]["note"].to_string();
    assert!(
        large.contains("of 52428800 bytes only the beginning was read"),
        "{large}"
    );
}

#[test]
fn a_policy_may_hold_the_doubtful_and_refuses_a_base_that_was_made_before() {
    let mut world = world();
    world.cooper(&["create", "a", "--packages", "jq"]).good();
    let mut under = |policy: &str, status: i32| {
        let file = world.host.write("policy.toml", policy);
        world.host.set("COOPER_POLICY", file.to_str().unwrap());
        let created = world.cooper(&["create", "b", "--packages", "large", "--json"]);
        let checked = world.cooper(&["check", "--image", "a", "--json"]);
        (
            licences(&created.with(status).json()["error"]),
            licences(&checked.json()),
        )
    };
    let (held, _) = under("[licences]\ndebian_doubtful = 'hold'\n", 3);
    assert_eq!(held, ["hold LICENCE-UNSURE large"]);
    let (held, checked) = under("[licences]\ndebian_deny = ['MIT']\ndebian_denied = 'refuse'\n", 3);
    assert!(
        held.contains(&"refuse LICENCE-DENIED large".to_owned()),
        "{held:?}"
    );
    let of_base = held
        .iter()
        .filter(|line| line.starts_with("refuse LICENCE-DENIED"))
        .count();
    assert!(of_base > 5, "{held:?}");
    assert!(
        checked.contains(&"refuse LICENCE-DENIED jq".to_owned()),
        "{checked:?}"
    );
}

#[test]
fn check_judges_what_is_here_and_says_what_is_not() {
    let world = World::of(
        &archive(),
        &index().wheel(Wheel::new("startup", "1.0").file("startup.pth", "import os; os.system('id')\n")),
    );
    let lenient = world
        .host
        .write("lenient.toml", "[provenance]\nstartup_code = 'note'\n");
    let mut here = world.another_host();
    here.set("COOPER_POLICY", lenient.to_str().unwrap());
    let create = ["create", "a", "--dependencies", "startup", "--packages", "wget"];
    here.cooper(&create).good();
    let lock = here.cooper(&["inspect", "a", "--lock"]).good().stdout;
    let lock = here.write("a.lock", &lock);
    here.unset("COOPER_POLICY");
    let codes = |checked: &Value| {
        let findings = checked["findings"].as_array().unwrap().iter();
        let codes = findings.map(|finding| finding["code"].as_str().unwrap().to_owned());
        codes.collect::<Vec<_>>()
    };
    for what in [["--image", "a"], ["--lock", lock.to_str().unwrap()]] {
        let args = [&["check"], &what[..], &["--json"]].concat();
        let checked = here.cooper(&args).with(3).json();
        let codes = codes(&checked);
        assert!(codes.contains(&"PROVENANCE-STARTUP-CODE".to_owned()), "{checked}");
        assert!(codes.contains(&"LICENCE-COPYLEFT-OS".to_owned()), "{checked}");
        assert_eq!(checked["notes"], serde_json::json!([]));
    }
    // Another store has nothing to judge by, and says so.
    let there = world.another_host();
    let checked = there
        .cooper(&["check", "--lock", lock.to_str().unwrap(), "--json"])
        .json();
    assert!(!codes(&checked).contains(&"PROVENANCE-STARTUP-CODE".to_owned()));
    let unread = &checked["artefacts_not_judged"];
    assert_eq!(unread["python"], serde_json::json!(["startup"]), "{unread}");
    let note = checked["notes"][0].as_str().unwrap();
    assert!(
        note.contains("licence, start-up code and native code of startup; licence of ")
            && note.contains("cooper create"),
        "{note}"
    );
}

#[test]
fn all_that_a_verdict_holds_is_waived_at_once() {
    let wheel = |name: &str| Wheel::new(name, "1.0").package(name, "");
    let world = World::of(
        &archive_of_licences(),
        &index()
            .wheel(wheel("copyleft").licence("GPL-3.0-only"))
            .wheel(wheel("lesser").licence("LGPL-3.0-only"))
            .wheel(wheel("mute").without_licence())
            .wheel(wheel("banned").licence("MIT")),
    );
    let create = |status: i32| {
        let args = ["create", "a", "--dependencies", "copyleft,lesser,mute", "--json"];
        world.cooper(&args).with(status)
    };
    let refused = create(3).stdout;
    let file = world.host.write("refused.json", &refused);
    let waive = |source: &str, more: &[&str]| {
        let terms = ["--reason", "agreed", "--until", "2999-01-01", "--by", "ada"];
        let args = [&["waive", "--from", source], &terms[..], more].concat();
        world.host.cooper_with_input(&args, &refused)
    };
    let file = file.to_str().unwrap();
    let shown = waive(file, &["--dry-run"]).good().stdout;
    assert!(
        shown.contains("would waive LICENCE-DENIED for copyleft 1.0")
            && shown.contains("3 waivers would be given"),
        "{shown}"
    );
    let listed = || world.cooper(&["waive", "--list", "--json"]).good().json()["waivers"].clone();
    assert_eq!(listed(), serde_json::json!([]));
    let given = waive("-", &["--only", "licence-denied", "--json"]).good().json();
    assert_eq!(given["waivers"].as_array().unwrap().len(), 2, "{given}");
    create(3);
    waive(file, &["--only", "LICENCE-MISSING"]).good();
    create(0);
    let all = listed();
    assert_eq!(all[2]["package"], "mute");
    assert_eq!(
        (&all[2]["version"], &all[2]["reason"]),
        (&"1.0".into(), &"agreed".into())
    );
    // The image's own verdict has nothing left that holds.
    let kept = world.cooper(&["inspect", "a", "--json"]).good().stdout;
    let kept = world.host.write("kept.json", &kept);
    let nothing = waive(kept.to_str().unwrap(), &[]).with(2);
    assert!(
        nothing.stderr.contains("nothing of this verdict holds"),
        "{nothing}"
    );
    waive(file, &["--only", "NO-SUCH"]).with(2);
    let not_json = world.host.write("not.json", "[");
    waive(not_json.to_str().unwrap(), &[]).with(2);
}

#[test]
fn what_refuses_is_said_and_not_waived() {
    let mut world = World::of(
        &archive(),
        &index().wheel(Wheel::new("mute", "1.0").without_licence()),
    );
    let policy = world.host.write(
        "policy.toml",
        "[packages]\ndeny = ['python:html5lib']\n[licences]\npython_denied = 'refuse'\n",
    );
    world.host.set("COOPER_POLICY", policy.to_str().unwrap());
    let refused = world.cooper(&["check", "mechanize", "--json"]).with(3).stdout;
    let terms = ["--reason", "agreed", "--until", "2999-01-01", "--by", "ada"];
    let args = [&["waive", "--from", "-"], &terms[..]].concat();
    let told = world.host.cooper_with_input(&args, &refused);
    let told = told.with(3);
    assert!(
        told.stdout.contains("no waiver lifts PACKAGE-DENIED html5lib"),
        "{told}"
    );
}

/// What every waiver of these tests says.
const TERMS: [&str; 6] = ["--reason", "agreed", "--until", "2999-01-01", "--by", "ada"];

#[test]
fn a_whole_set_is_waived_as_it_is_judged() {
    let mut world = World::of(
        &archive(),
        &index()
            .wheel(Wheel::new("copyleft", "1.0").licence("GPL-3.0-only"))
            .wheel(
                Wheel::new("copyleft", "2.0")
                    .licence("GPL-3.0-only")
                    .uploaded("2999-01-01T00:00:00Z"),
            )
            .wheel(Wheel::new("denied", "1.0")),
    );
    let waive = |world: &World, set: &[&str], more: &[&str]| {
        let args = [&["waive"], set, &TERMS[..], more].concat();
        world.cooper(&args)
    };
    // What the plan alone tells, and what the artefacts tell as soon as they are here.
    let file = world.host.write("requirements.txt", "copyleft==2.0\n");
    let set = ["--requirements", file.to_str().unwrap()];
    let shown = waive(&world, &set, &["--dry-run"]).good();
    assert!(
        shown
            .stdout
            .starts_with("would waive AGE-FUTURE for copyleft 2.0: the index took it in at 2999"),
        "{shown}"
    );
    assert!(shown.stderr.contains("not judged here"), "{shown}");
    waive(&world, &set, &[]).good();
    let create = ["create", "a", "--dependencies", "copyleft==2.0", "--json"];
    let held = world.cooper(&create).with(3).json();
    assert_eq!(licences(&held["error"]), ["hold LICENCE-DENIED copyleft"]);
    let given = waive(&world, &["--dependencies", "copyleft==2.0"], &[]).good();
    assert!(
        given
            .stdout
            .starts_with("waiver 2: LICENCE-DENIED for copyleft 2.0: `GPL-3.0-only`")
            && given.stdout.contains("1 waiver by ada until 2999-01-01"),
        "{given}"
    );
    world.cooper(&create).good();
    // An image by what is known now: the waivers were for the other version and for another name.
    waive(&world, &["--image", "a"], &[]).with(2);
    world.cooper(&["waive", "--revoke", "2", "--by", "ada"]).good();
    let only = waive(&world, &["--image", "a"], &["--only", "licence-denied", "--json"]);
    assert_eq!(only.good().json()["waivers"][0]["finding"], "LICENCE-DENIED");
    // What refuses stays.
    let policy = world
        .host
        .write("policy.toml", "[packages]\ndeny = ['python:denied']\n");
    world.host.set("COOPER_POLICY", policy.to_str().unwrap());
    let told = waive(&world, &["--dependencies", "denied==1.0"], &[]).with(3);
    assert!(
        told.stdout.contains("no waiver lifts PACKAGE-DENIED denied 1.0"),
        "{told}"
    );
    // A set is one kind of thing, and nothing beside a finding.
    for wrong in [
        ["AGE-YOUNG", "--image", "a"],
        ["--image", "a", "--requirements"],
        ["--list", "--image", "a"],
    ] {
        waive(&world, &wrong, &[]).with(2);
    }
    world
        .cooper(&[&["waive", "--only", "AGE-YOUNG"], &TERMS[..]].concat())
        .with(2);
}

/// An archive with a key of its own, which no guidelines bind.
fn archive_of_acme() -> DebianArchive {
    let text = |name: &str, text: &str| {
        let package = DebPackage::new(name, "1.0").without_copyright();
        package.file(&copyright(name), text, 0o644)
    };
    let proprietary = "Copyright Acme Corp. All rights reserved. For customers of Acme Corp alone.\n";
    let fails = "#!/bin/sh\nexit 1\n";
    let tool = text("acme-tool", proprietary).script("postinst", "#!/bin/sh\necho ran > /etc/acme\n");
    let broken = text("acme-broken", proprietary).script("preinst", fails);
    DebianArchive::new(Base::Trixie)
        .package(tool)
        .package(broken)
        .package(failing("acme-silent").without_copyright())
        .package(failing("acme-noncommercial").licence("CC-BY-NC-4.0"))
        .signing(&Signing::By(SigningKey::stranger()))
}

#[test]
fn a_package_of_another_source_is_judged_before_its_scripts_run() {
    let own = Server::start(archive_of_acme().routes());
    let world = World::new();
    let key = SigningKey::stranger().certificate_armoured();
    world.host.write("home/.config/cooper/acme.asc", &key);
    let settings = format!(
        "[[debian.source]]\nname = \"acme\"\nuris = \"{}\"\nsuites = \"trixie\"\nsigned_by = \"acme.asc\"\n",
        own.url("debian")
    );
    world.host.write("home/.config/cooper/cooper.toml", &settings);
    let create = |name: &str| world.cooper(&["create", "a", "--packages", name, "--json"]);
    for (name, code) in [
        ("acme-tool", "LICENCE-UNKNOWN"),
        ("acme-broken", "LICENCE-UNKNOWN"),
        ("acme-silent", "LICENCE-MISSING"),
        ("acme-noncommercial", "LICENCE-DENIED"),
    ] {
        let refused = create(name).with(3).json();
        assert_eq!(
            licences(&refused["error"]),
            [format!("hold {code} {name}")],
            "{refused}"
        );
        world.cooper(&["inspect", "a"]).with(1);
    }
    let waive = |name: &str| {
        let one = ["waive", "LICENCE-UNKNOWN", "--package", name, "--version", "1.0"];
        world.cooper(&[&one[..], &TERMS].concat()).good();
    };
    // Where it is waived, the scripts run.
    waive("acme-broken");
    let failed = create("acme-broken").with(1);
    assert!(failed.stdout.contains("acme-broken preinst"), "{failed}");
    waive("acme-tool");
    let made = create("acme-tool").good().json();
    let kept = world.cooper(&["inspect", "a", "--json"]).good().json();
    for findings in [&made["findings"], &kept["verdict"]["findings"]] {
        let findings = findings.as_array().unwrap();
        let finding = findings.iter().find(|one| one["package"]["name"] == "acme-tool");
        let finding = finding.unwrap();
        assert_eq!(
            (
                &finding["code"],
                &finding["waived"]["waiver"],
                &finding["waived"]["by"]
            ),
            (&"LICENCE-UNKNOWN".into(), &2.into(), &"ada".into()),
            "{finding}"
        );
    }
    let shown = world.cooper(&["inspect", "a"]).good().stdout;
    for told in [
        "1 lifted by waivers",
        "FINDINGS",
        "waived  LICENCE-UNKNOWN  acme-tool 1.0",
        "waiver    2 by ada until 2999-01-01",
    ] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    world.cooper(&["waive", "--revoke", "2", "--by", "ada"]).good();
    world.cooper(&["check", "--image", "a"]).with(3);
}

#[test]
fn a_dry_run_says_what_only_the_artefacts_can_tell() {
    let world = World::of(
        &archive(),
        &index().wheel(Wheel::new("copyleft", "1.0").licence("GPL-3.0-only")),
    );
    let dry = |dependencies: &str, more: &[&str]| {
        let args = [
            "create",
            "a",
            "--dependencies",
            dependencies,
            "--packages",
            "wget",
            "--dry-run",
        ];
        world.cooper(&[&args[..], more].concat())
    };
    let outlook = dry("mechanize", &["--json"]).good().json();
    let unread = &outlook["artefacts_not_judged"];
    assert_eq!(
        unread["gates"],
        serde_json::json!(["licences", "provenance"]),
        "{outlook}"
    );
    assert_eq!(unread["python"], serde_json::json!(["html5lib", "mechanize"]));
    assert!(
        unread["debian"].as_array().unwrap().contains(&"wget".into()),
        "{unread}"
    );
    let told = dry("mechanize", &[]).good().stdout;
    assert!(
        told.contains(
            "  but       not judged here, since the artefacts are not in the store: licence, start-up code"
        ),
        "{told}"
    );
    // What is here is judged.
    dry("copyleft", &[]).good();
    let create = ["create", "a", "--packages", "wget", "--dependencies"];
    world.cooper(&[&create[..], &["mechanize"]].concat()).good();
    world.cooper(&[&create[..], &["copyleft"]].concat()).with(3);
    let outlook = dry("mechanize", &["--json"]).good().json();
    assert_eq!(outlook["artefacts_not_judged"], Value::Null);
    assert!(
        licences(&outlook).contains(&"note LICENCE-COPYLEFT-OS wget".to_owned()),
        "{outlook}"
    );
    dry("copyleft", &[]).with(3);
}
