//! Verdicts: what holds, what lifts it, what the solver passes over.

use cooper_core::Clock as _;
use cooper_core::clock::SystemClock;
use serde_json::{Value, json};
use testkit::Wheel;

use crate::advisories::data;
use crate::context::{Host, World, archive, index};

/// A time so many hours ago, as an index writes it.
fn hours_ago(hours: i64) -> String {
    let time = SystemClock.now().as_second() - hours * 3600;
    cooper_core::Timestamp::from_second(time).unwrap().to_string()
}

fn world() -> World {
    World::of(
        &archive(),
        &index()
            .wheel(Wheel::new("fresh", "1.0"))
            .wheel(Wheel::new("fresh", "2.0").uploaded(&hours_ago(5)))
            .wheel(
                Wheel::new("newborn", "1.0")
                    .uploaded(&hours_ago(30))
                    .requires("html5lib"),
            )
            .wheel(Wheel::new("needs-newborn", "1.0").requires("newborn")),
    )
}

fn codes(document: &Value) -> Vec<&str> {
    let findings = document["findings"].as_array().unwrap();
    let refusing = findings.iter().filter(|finding| finding["effect"] != "note");
    refusing
        .map(|finding| finding["code"].as_str().unwrap())
        .collect()
}

#[test]
fn a_young_release_is_passed_over_and_said() {
    let world = world();
    let made = world
        .cooper(&["create", "a", "--dependencies", "fresh", "--json"])
        .good()
        .json();
    assert_eq!(made["packages"]["python"][0]["version"], "1.0", "{made}");
    let notes = made["notes"].to_string();
    assert!(
        notes.contains("fresh 1.0 is taken and not 2.0") && notes.contains("AGE-YOUNG"),
        "{notes}"
    );
    // Whoever insists is told why not, and nothing is made.
    let pinned = world
        .cooper(&["create", "b", "--dependencies", "fresh==2.0", "--json"])
        .with(3)
        .json();
    assert_eq!(codes(&pinned["error"]), ["AGE-YOUNG"], "{pinned}");
    assert!(
        world
            .cooper(&["inspect", "b"])
            .with(1)
            .stderr
            .contains("there is no image")
    );
}

#[test]
fn where_nothing_passes_the_findings_say_how_it_came_into_the_plan() {
    let world = world();
    let refused = world.cooper(&["check", "needs-newborn", "--json"]).with(3).json();
    assert_eq!(codes(&refused), ["AGE-YOUNG"], "{refused}");
    assert_eq!(
        refused["findings"][0]["path"],
        json!(["needs-newborn", "newborn"])
    );
    assert_eq!(refused["outcome"], "refused");
    let told = world.cooper(&["check", "needs-newborn"]).with(3).stdout;
    assert!(
        told.contains("needs-newborn → newborn") && told.contains("cooper waive AGE-YOUNG"),
        "{told}"
    );
}

#[test]
fn a_waiver_lifts_a_hold_until_its_end() {
    let world = world();
    let waive = |finding: &str, until: &str| {
        let args = [
            "waive",
            finding,
            "--package",
            "fresh",
            "--version",
            "2.0",
            "--reason",
            "our own",
            "--by",
            "ada",
        ];
        world.cooper(&[&args[..], &["--until", until, "--json"]].concat())
    };
    let given = waive("age-young", "2999-01-31").good().json();
    assert_eq!(
        (&given["waiver"]["number"], &given["waiver"]["finding"]),
        (&json!(1), &json!("AGE-YOUNG"))
    );
    let made = world
        .cooper(&["create", "b", "--dependencies", "fresh==2.0", "--json"])
        .good()
        .json();
    assert_eq!(made["findings"][0]["waived"]["by"], "ada", "{made}");
    let kept = world.cooper(&["inspect", "b", "--json"]).good().json();
    assert_eq!(kept["verdict"]["findings"][0]["waived"]["waiver"], 1, "{kept}");
    world.cooper(&["waive", "--revoke", "1", "--by", "ada"]).good();
    let again = world.cooper(&["check", "--image", "b", "--json"]).with(3).json();
    assert_eq!(codes(&again), ["AGE-YOUNG"]);
    let listed = world.cooper(&["waive", "--list", "--json"]).good().json();
    assert_eq!(listed["waivers"][0]["state"], "revoked");
    waive("AGE-YOUNG", "2001-01-31").with(2);
    waive("INTEGRITY-NO-HASH", "2999-01-31").with(2);
    waive("MAL-2024-1", "2999-01-31").with(2);
    waive("nonsense", "2999-01-31").with(2);
}

#[test]
fn a_waiver_is_for_one_package_and_version_however_they_are_spelt() {
    let world = world();
    let waive = |package: &str, version: &str| {
        let args = ["waive", "AGE-YOUNG", "--package", package, "--version", version];
        let terms = [
            "--reason",
            "our own",
            "--by",
            "ada",
            "--until",
            "2999-01-31",
            "--json",
        ];
        world.cooper(&[&args[..], &terms].concat())
    };
    waive("Fresh", "v2.0.0").good();
    world
        .cooper(&["create", "b", "--dependencies", "fresh==2.0"])
        .good();
    // A name of Debian stays what it is.
    let given = waive("python3.13", "3.13.5-2").good().json();
    assert_eq!(given["waiver"]["package"], "python3.13", "{given}");
    for (package, version) in [("fresh", "*"), ("fresh", ">=2"), ("fre sh", "2.0"), ("-", "2.0")] {
        waive(package, version).with(2);
    }
    let invalid = [
        "waive",
        "NAMES-INVALID",
        "--package",
        "a",
        "--version",
        "1",
        "--reason",
        "x",
    ];
    let terms = ["--until", "2999-01-31", "--by", "ada"];
    world.cooper(&[&invalid[..], &terms].concat()).with(2);
}

#[test]
fn a_policy_decides_and_an_image_may_only_tighten() {
    let mut world = world();
    let policy = world.host.write(
        "policy.toml",
        "[age]\ndays_min = 0\n[profiles.strict.packages]\ndeny = ['python:fresh']\n\
         [images.'pay-*'.age]\ndays_min = 1\n",
    );
    world.host.set("COOPER_POLICY", policy.to_str().unwrap());
    world
        .cooper(&["policy", "check", policy.to_str().unwrap()])
        .good();
    let taken = |name: &str| {
        let args = ["create", name, "--dependencies", "fresh", "--dry-run", "--json"];
        let outlook = world.cooper(&args).good().json();
        outlook["packages"]["python"][0]["version"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!((taken("a"), taken("pay-a")), ("2.0".to_owned(), "1.0".to_owned()));
    let denied = world
        .cooper(&["check", "fresh", "--profile", "strict", "--json"])
        .with(3)
        .json();
    assert_eq!(codes(&denied), ["PACKAGE-DENIED"], "{denied}");
    world.cooper(&["check", "fresh", "--profile", "unknown"]).with(1);
    let loose = world.host.write("loose.toml", "[images.a.age]\ndays_min = 1\n");
    let told = world
        .cooper(&["policy", "check", loose.to_str().unwrap()])
        .with(1);
    assert!(told.stderr.contains("may only tighten"), "{told}");
}

#[test]
fn what_a_wheel_tells_is_judged_before_it_is_installed() {
    let wheel = |name: &str| Wheel::new(name, "1.0").package(name, "");
    let world = World::of(
        &archive(),
        &index()
            .wheel(wheel("silent").without_licence())
            .wheel(wheel("copyleft").licence("GPL-3.0-only"))
            .wheel(wheel("choice").licence("GPL-3.0-only OR MIT"))
            .wheel(wheel("startup").file("startup.pth", "import os; os.system('id')\n"))
            .wheel(wheel("native").file("native/x.so", "\u{7f}ELF")),
    );
    for (name, code) in [
        ("silent", "LICENCE-MISSING"),
        ("copyleft", "LICENCE-DENIED"),
        ("startup", "PROVENANCE-STARTUP-CODE"),
        ("native", "PROVENANCE-NATIVE-IN-PURE"),
    ] {
        let refused = world
            .cooper(&["create", "a", "--dependencies", name, "--json"])
            .with(3)
            .json();
        assert_eq!(codes(&refused["error"]), [code], "{refused}");
        world.cooper(&["inspect", "a"]).with(1);
    }
    world.cooper(&["create", "a", "--dependencies", "choice"]).good();
    let explained = world
        .cooper(&["check", "--explain-licence", "choice", "--json"])
        .good()
        .json();
    assert_eq!(
        explained["answer"]["expression"], "GPL-3.0-only OR MIT",
        "{explained}"
    );
    let told = world.cooper(&["check", "--explain-licence", "wget"]).with(1);
    assert!(told.stderr.contains("no image has the package"), "{told}");
}

/// Ways in which a wheel may run code whenever Python starts, and hide that; each was run by Python 3.13.
#[test]
fn code_that_runs_at_every_start_is_found_wherever_it_hides() {
    const LINE: &str = "import os; os.system('id')\n";
    const SETUPTOOLS: &str = "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == \
        'local'; enabled and __import__('_distutils_hack').add_shim();\n";
    let wheel = |name: &str| Wheel::new(name, "1.0").package(name, "");
    let pth = |name: &str, text: String| wheel(name).file("a.pth", text);
    let index = index()
        .wheel(pth("marked", format!("\u{feff}{LINE}")))
        .wheel(pth("returned", format!("x\r{LINE}")))
        .wheel(pth("fed", format!("x\u{c}{LINE}")))
        .wheel(pth("separated", format!("x\u{2028}{LINE}")))
        .wheel(pth("borrowed", SETUPTOOLS.to_owned()).file("_distutils_hack/__init__.py", ""))
        .wheel(pth("folder", "folder/inner\n".to_owned()).file("folder/inner/usercustomize.py", ""))
        .wheel(pth("another", "_of_another\n".to_owned()))
        .wheel(wheel("data").data("data", "lib/python3.13/dist-packages/a.pth", LINE, 0o644))
        .wheel(wheel("suffixless").file("suffixless/tool", "\u{7f}ELF\u{2}\u{1}"))
        .wheel(pth("harmless", "# a folder of its own\nharmless\n".to_owned()))
        .wheel(pth("setuptools", SETUPTOOLS.to_owned()));
    let world = World::of(&archive(), &index);
    for (name, code) in [
        ("marked", "PROVENANCE-STARTUP-CODE"),
        ("returned", "PROVENANCE-STARTUP-CODE"),
        ("fed", "PROVENANCE-STARTUP-CODE"),
        ("separated", "PROVENANCE-STARTUP-CODE"),
        ("borrowed", "PROVENANCE-STARTUP-CODE"),
        ("folder", "PROVENANCE-STARTUP-CODE"),
        ("another", "PROVENANCE-STARTUP-CODE"),
        ("data", "PROVENANCE-STARTUP-CODE"),
        ("suffixless", "PROVENANCE-NATIVE-IN-PURE"),
    ] {
        let refused = world
            .cooper(&["create", "a", "--dependencies", name, "--json"])
            .with(3)
            .json();
        assert!(codes(&refused["error"]).contains(&code), "{name}: {refused}");
        world.cooper(&["inspect", "a"]).with(1);
    }
    for name in ["harmless", "setuptools"] {
        world.cooper(&["create", name, "--dependencies", name]).good();
    }
}

#[test]
fn without_evidence_the_verdict_is_unknown_and_production_wants_one() {
    let world = world();
    let checked = world.cooper(&["check", "html5lib", "--json"]).with(4).json();
    assert_eq!(checked["outcome"], "unknown");
    assert!(checked["unjudged"].as_array().unwrap().len() >= 2, "{checked}");
    let refused = world
        .cooper(&[
            "create",
            "a",
            "--dependencies",
            "html5lib",
            "--profile",
            "production",
            "--json",
        ])
        .with(4)
        .json();
    assert_eq!(refused["error"]["code"], "unjudged", "{refused}");
    let sarif = world.cooper(&["check", "fresh==2.0", "--sarif"]).with(3).json();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "AGE-YOUNG", "{sarif}");
}

#[test]
fn lists_of_others_are_judged_offline() {
    let host = Host::new();
    let names = host.write("names.txt", "# some\nrequests\nreqeusts\nsys\n");
    let judged = host.cooper(&["check", "--names", names.to_str().unwrap(), "--json"]);
    let lines: Vec<Value> = judged
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{judged}");
    let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["code", "name", "target", "verdict", "why"]);
    assert_eq!(
        lines[2]["verdict"], "hold",
        "a module of the standard library: {judged}"
    );
    // Without evidence nothing passes, and that is said.
    let unlike = host.write("unlike.txt", "zzqx\n");
    let unlike = host
        .cooper(&["check", "--names", unlike.to_str().unwrap()])
        .with(4);
    assert!(
        unlike.stderr.contains("there is no list of popular names"),
        "{unlike}"
    );
    let pinned = host.write("pinned.txt", "zzqx==1.0\n");
    let args = ["check", "--plan", pinned.to_str().unwrap()];
    let pinned = host.cooper(&[&args[..], &["--json"]].concat()).with(4).json();
    assert_eq!(
        (&pinned["verdict"], &pinned["code"]),
        (&json!("unknown"), &Value::Null),
        "{pinned}"
    );
    let told = host.cooper(&args).with(4);
    assert!(
        told.stderr.contains("no advisories about Python distributions"),
        "{told}"
    );
    let plan = host.write("plan.txt", "jinja2==3.1.2\nnonsense\n");
    let told = host
        .cooper(&["check", "--plan", plan.to_str().unwrap(), "--json"])
        .with(2);
    assert!(told.stdout.contains("plan.txt:2"), "{told}");
    let sbom = host.write(
        "bom.json",
        r#"{"bomFormat":"CycloneDX","components":[{"purl":"pkg:pypi/reqeusts@1.0"}]}"#,
    );
    let told = host.cooper(&["check", "--sbom", sbom.to_str().unwrap(), "--json"]);
    assert!(told.stdout.contains("\"reqeusts\""), "{told}");
    let bad = host.write("bad.json", "{}");
    host.cooper(&["check", "--sbom", bad.to_str().unwrap()]).with(1);
    for (code, status) in [("AGE-YOUNG", 0), ("age-young", 0), ("AGE-YUONG", 2)] {
        host.cooper(&["check", "--why", code]).with(status);
    }
}

/// Whatever stands in a list of names, each line is judged, and a file that is no text is an error.
#[test]
fn odd_lists_of_names_are_judged_line_by_line() {
    let host = Host::new();
    let long = "x".repeat(100_000);
    let text = format!(
        "\u{feff}requests\r\n\r\n  # web\r\n\tnumpy # for arrays\r\nr\u{435}quests\r\nre\u{202e}quests\r\nnum\0py\r\n{long}\r\n-e .\r\nboto3"
    );
    let names = host.write("names.txt", &text);
    let names = names.to_str().unwrap();
    let judged = host.cooper(&["check", "--names", names, "--json"]).with(3);
    let lines: Vec<Value> = judged
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let verdicts: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line["name"].as_str().unwrap(), line["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("requests", "pass"),
            ("numpy", "pass"),
            ("r\u{435}quests", "refuse"),
            ("re\u{202e}quests", "refuse"),
            ("num\0py", "refuse"),
            (long.as_str(), "refuse"),
            ("-e .", "refuse"),
            ("boto3", "pass"),
        ]
    );
    assert!(lines[5]["why"].as_str().unwrap().len() < 200);
    let table = host.cooper(&["check", "--names", names]).with(3).stdout;
    assert!(
        table.lines().all(|line| line.len() < 500),
        "no row is as wide as the longest text"
    );
    assert!(
        !table.contains('\u{202e}') && table.contains("re\\u{202e}quests"),
        "{table}"
    );
    let latin = host.write("latin.txt", "");
    std::io::Write::write_all(
        &mut std::fs::File::create(&latin).unwrap(),
        b"numpy\nr\xe9quests\n",
    )
    .unwrap();
    let told = host
        .cooper(&["check", "--names", latin.to_str().unwrap(), "--json"])
        .with(2);
    assert!(told.stdout.contains("UTF-8"), "{told}");
}

#[test]
fn advisories_hold_and_the_solver_takes_what_they_do_not_name() {
    let (Some(osv), Some(malicious)) = (data("osv-pypi-2024-10.zip"), data("osv-malicious-sample.zip"))
    else {
        return;
    };
    let world = World::of(
        &archive(),
        &index()
            .wheel(Wheel::new("pillow", "9.0.0"))
            .wheel(Wheel::new("pillow", "10.4.0"))
            .wheel(Wheel::new("django", "3.2.0"))
            .wheel(Wheel::new("3web", "1.0.0")),
    );
    world
        .cooper(&["advisories", "update", "--from", &osv, "--from", &malicious])
        .good();
    let held = world
        .cooper(&["create", "a", "--dependencies", "pillow==9.0.0", "--json"])
        .with(3)
        .json();
    let first = &held["error"]["findings"][0];
    assert_eq!(
        (&first["code"], &first["effect"]),
        (&json!("VULNERABILITY-KNOWN"), &json!("hold")),
        "{held}"
    );
    assert!(
        first["hint"].as_str().unwrap().contains("ask for `pillow>="),
        "{held}"
    );
    // Nothing else will do: the verdict on what there would be says why.
    let only = world.cooper(&["check", "django<4", "--json"]).with(3).json();
    assert!(only["findings"].to_string().contains("PYSEC-"), "{only}");
    let taken = world
        .cooper(&["create", "a", "--dependencies", "pillow<11", "--json"])
        .good()
        .json();
    assert_eq!(taken["packages"]["python"][0]["version"], "10.4.0", "{taken}");
    assert!(
        taken["verdict"]["evidence"]
            .as_str()
            .unwrap()
            .starts_with("sha256:"),
        "{taken}"
    );
    let refused = world.cooper(&["check", "3web", "--json"]).with(3).json();
    assert_eq!(codes(&refused), ["MALICIOUS-LISTED"], "{refused}");
    // The evidence of a verdict is kept with the image.
    world.cooper(&["gc"]).good();
    world.cooper(&["fsck"]).good();
    let kept = world.cooper(&["check", "--image", "a", "--json"]).json();
    assert_eq!(kept["evidence"], taken["verdict"]["evidence"], "{kept}");
}

#[test]
fn a_held_name_shows_the_probable_target_and_what_is_known_of_the_project() {
    let named = |name: &str, version: &str| {
        Wheel::new(name, version)
            .uploaded(&hours_ago(24 * 30))
            .field("Author-email", "Mallory <m@x.test>\u{202e}")
    };
    let mut old = index();
    for number in 0..12 {
        let wheel = Wheel::new("nunpy", &format!("1.{number}")).uploaded("2015-01-01T00:00:00Z");
        old = old.wheel(wheel);
    }
    let world = World::of(
        &archive(),
        &old.wheel(named("reqeusts", "1.0"))
            .wheel(named("reqeusts", "1.1"))
            .wheel(named("telegram-sdk", "1.0"))
            .wheel(Wheel::new("telegram-api", "1.0")),
    );
    let list = world
        .host
        .write("popular.csv", "download_count,project\n9,requests\n8,numpy\n");
    let list = list.to_str().unwrap();
    world.cooper(&["advisories", "update", "--from", list]).good();
    let held = world.cooper(&["check", "reqeusts", "--json"]).with(3).json();
    assert_eq!(codes(&held), ["NAMES-LOOKALIKE"], "{held}");
    let message = held["findings"][0]["message"].as_str().unwrap();
    for told in [
        "`requests` (rank 1, 9 downloads in a month)",
        "first released 30 days ago",
        "this release is of 20",
        "there are 2",
        "authors: Mallory <m@x.test>",
    ] {
        assert!(message.contains(told), "{told}: {message}");
    }
    assert!(!message.contains('\u{202e}'), "{message}");
    // The same from the compiled list, which may be lost or damaged.
    let cache = world.host.path("store/cache/popular-names");
    let entry = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let compiled = std::fs::read(&entry).unwrap();
    std::fs::remove_file(&entry).unwrap();
    world.host.write(entry.to_str().unwrap(), "damaged");
    let again = world.cooper(&["check", "reqeusts", "--json"]).with(3).json();
    assert_eq!(again["findings"], held["findings"]);
    assert!(std::fs::read(&entry).unwrap() == compiled);
    // A brand's name is held while its project is new, and noted after that; so is what was there for years.
    let brand = world.cooper(&["check", "telegram-sdk", "--json"]).with(3).json();
    assert_eq!(codes(&brand), ["NAMES-BRAND"], "{brand}");
    for (name, code) in [("telegram-api", "NAMES-BRAND"), ("nunpy", "NAMES-LOOKALIKE")] {
        let noted = world.cooper(&["check", name, "--json"]).json();
        let findings = noted["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["code"] == code);
        assert_eq!(finding.unwrap()["effect"], "note", "{noted}");
    }
}

#[test]
fn what_an_sbom_cannot_tell_is_said() {
    let host = Host::new();
    let text = r#"{"bomFormat":"CycloneDX","components":[{"purl":"pkg:pypi/html5lib@1.1"},{"purl":"pkg:pypi/six@1.0"}]}"#;
    let sbom = host.write("bom.json", text);
    let told = host.cooper(&["check", "--sbom", sbom.to_str().unwrap(), "--json"]);
    let findings = told.with(4).json()["findings"].clone();
    let unknown: Vec<&Value> = findings
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["code"] == "AGE-UNKNOWN")
        .collect();
    assert_eq!(unknown.len(), 1, "{findings}");
    assert_eq!(unknown[0]["subject"], "html5lib and 1 more");
    let message = unknown[0]["message"].as_str().unwrap();
    assert!(
        message.contains("no index is asked")
            && message.contains("neither its age nor whether its project is maintained"),
        "{message}"
    );
    let hint = unknown[0]["hint"].as_str().unwrap();
    assert!(hint.contains("--image") && hint.contains("releaseDate"), "{hint}");
}

#[test]
fn an_sbom_may_say_when_its_components_were_released() {
    let host = Host::new();
    let check = |released: &str| {
        let text = format!(
            r#"{{"spdxVersion":"SPDX-2.3","packages":[{{"releaseDate":"{released}","externalRefs":[{{"referenceType":"purl","referenceLocator":"pkg:pypi/html5lib@1.1"}}]}}]}}"#
        );
        let sbom = host.write("bom.json", &text);
        host.cooper(&["check", "--sbom", sbom.to_str().unwrap(), "--json"])
    };
    let young = check(&hours_ago(5)).with(3).json();
    assert_eq!(codes(&young), ["AGE-YOUNG"]);
    let message = young["findings"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("5 hours old (its list says that it was released at"),
        "{message}"
    );
    let old = check("2025-01-01T00:00:00Z").with(4).json();
    assert_eq!(old["findings"], json!([]), "{old}");
}

#[test]
fn what_an_sbom_leaves_open_is_no_pass() {
    let mut host = Host::new();
    let check = |host: &Host, components: &str, more: &[&str]| {
        let text = format!(r#"{{"bomFormat":"CycloneDX","components":[{components}]}}"#);
        let text = format!("{}{text}", '\u{feff}');
        let sbom = host.write("bom.json", &text);
        host.cooper(&[&["check", "--sbom", sbom.to_str().unwrap(), "--json"], more].concat())
    };
    let open = check(
        &host,
        r#"{"purl":"pkg:pypi/jinja2"},{"purl":"pkg:deb/debian/curl@8.14.1-2"},{"type":"library","name":"vendored"}"#,
        &[],
    );
    let open = open.with(4);
    let unjudged = open.json()["unjudged"].to_string();
    assert!(
        unjudged.contains("2 of its packages of Python or of Debian have no version")
            && unjudged.contains("pkg:deb/debian/curl@8.14.1-2"),
        "{open}"
    );
    let nothing = check(&host, "", &[]).with(4).json()["unjudged"].to_string();
    assert!(nothing.contains("lists no package"), "{nothing}");
    // What the policy says of an image counts for what is judged in its name.
    let policy = host.write("policy.toml", "[images.strict.packages]\ndeny = ['python:six']\n");
    host.set("COOPER_POLICY", policy.to_str().unwrap());
    let six = r#"{"purl":"pkg:pypi/six@1.16.0"}"#;
    assert_eq!(check(&host, six, &[]).with(4).json()["outcome"], "unknown");
    let strict = check(&host, six, &["--name", "strict"]).with(3).json();
    assert_eq!(codes(&strict), ["PACKAGE-DENIED"], "{strict}");
}

#[test]
fn a_verdict_can_be_made_again() {
    let mut world = World::of(&archive(), &index().wheel(Wheel::new("ripe", "1.0")));
    let given = |world: &World, name: &str| {
        let record = format!(
            r#"{{"id":"PYSEC-2026-1","modified":"2026-01-01T00:00:00Z","affected":[{{"package":{{"ecosystem":"PyPI","name":"{name}"}},"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}}]}}]}}]}}"#
        );
        let file = world.host.write("one.json", &record);
        world
            .cooper(&[
                "advisories",
                "update",
                "--replace",
                "--from",
                file.to_str().unwrap(),
            ])
            .good();
    };
    given(&world, "another");
    world.cooper(&["create", "a", "--dependencies", "ripe"]).good();
    let made = world.cooper(&["inspect", "a", "--json"]).good().json();
    given(&world, "ripe");
    let now = world.cooper(&["check", "--image", "a", "--json"]).with(3).json();
    assert_eq!(now["findings"][0]["advisories"][0], "PYSEC-2026-1", "{now}");
    let again = world
        .cooper(&["check", "--image", "a", "--as-judged", "--json"])
        .with(4)
        .json();
    for part in [
        "outcome",
        "evidence",
        "policy",
        "judged_at",
        "findings",
        "unjudged",
    ] {
        assert_eq!(again[part], made["verdict"][part], "{part}");
    }
    let notes = again["notes"].to_string();
    assert!(
        notes.contains("the same findings as in the verdict of"),
        "{notes}"
    );
    // Another policy gives another verdict, and that is told.
    let policy = world
        .host
        .write("policy.toml", "[packages]\ndeny = ['python:ripe']\n");
    world.host.set("COOPER_POLICY", policy.to_str().unwrap());
    let denied = world.cooper(&["check", "--image", "a", "--as-judged", "--json"]);
    let notes = denied.with(3).json()["notes"].to_string();
    assert!(
        notes.contains("the policy was another one")
            && notes.contains("now alone: PACKAGE-DENIED of ripe 1.0"),
        "{notes}"
    );
}
