//! Settings from files, variables and flags.

use crate::context::{Host, World};

/// A host whose settings come from nothing outside its folder.
fn host() -> Host {
    let mut host = Host::new();
    host.unset("COOPER_STORE");
    host.set("COOPER_DEBIAN_MIRROR", "http://mirror.test/debian");
    host.set(
        "COOPER_DEBIAN_SECURITY_MIRROR",
        "http://mirror.test/debian-security,http://two.test/debian-security",
    );
    host.set("COOPER_DEBIAN_KEYRING", "/keys.gpg");
    host.set("COOPER_PYTHON_INDEX", "https://user:secret@index.test/simple/");
    host
}

#[test]
fn settings_say_where_they_come_from() {
    let mut host = host();
    host.write(
        "home/.config/cooper/cooper.toml",
        "organisation = \"user\"\n[run]\nmemory = \"2GiB\"\ncpus = 2\n",
    );
    host.write(
        "project/cooper.toml",
        "image.version = \"1.2\"\nrun.memory = \"512MiB\"\nfreshness.max_age = \"1m\"\n",
    );
    host.set("https_proxy", "http://me:word@proxy.test:3128");
    let text = host.transcript(&[&["config"], &["config", "--store", "/elsewhere", "--json"]]);
    assert!(!text.contains("secret") && !text.contains("word"), "{text}");
    host.assert_snapshot("settings_say_where_they_come_from", &text);
}

#[test]
fn settings_that_cannot_be() {
    let mut transcript = String::new();
    let project = "project/cooper.toml";
    let user = "home/.config/cooper/cooper.toml";
    for (file, text) in [
        (user, "organization = \"me\"\n"),
        (user, "\n[run]\nmemroy = \"1GiB\"\n"),
        (user, "[unknown]\nx = 1\n"),
        (user, "organisation = \"Me\"\n"),
        (user, "run.memory = \"lots\"\n"),
        (user, "this is not TOML\n"),
        (project, "debian.mirrors = [\"http://evil.test/debian\"]\n"),
        (project, "[python]\nindex = \"https://evil.test/simple/\"\n"),
        (project, "store = \"/tmp/mine\"\n"),
        (project, "run.memory = \"64GiB\"\n"),
        (project, "freshness.max_age = \"1d\"\n"),
        (project, "trust.allow_project_sources = true\n"),
    ] {
        let host = host();
        host.write(file, text);
        let shown = host.cooper(&["images"]).with(2).to_string();
        transcript.push_str(
            &format!("# {file}\n{text}{shown}\n").replace(&host.path("").display().to_string(), "[FOLDER]/"),
        );
    }
    let mut host = host();
    host.set("COOPER_MAX_AGE", "soon");
    transcript.push_str(&host.transcript(&[
        &["config"],
        &["config", "--json"],
        &["config", "--config", "missing.toml"],
    ]));
    host.assert_snapshot("settings_that_cannot_be", &transcript);
}

#[test]
fn config_shows_what_is_in_force_beside_a_fault_of_the_project() {
    let host = host();
    host.write(
        "project/cooper.toml",
        "organisation = \"team\"\nrun.memory = \"64GiB\"\nfreshness.max_age = \"1d\"\n",
    );
    let shown = host.cooper(&["config"]).with(2);
    let row = |name: &str| {
        let line = shown.stdout.lines().find(|line| line.starts_with(name));
        line.map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
    };
    assert_eq!(
        (
            row("organisation").as_deref(),
            row("run.memory").as_deref(),
            row("freshness.max_age").as_deref()
        ),
        (Some("team"), Some("1GiB"), Some("10m")),
        "{shown}"
    );
    for said in [
        "cooper.toml:2: a project's file may not set `run.memory`",
        "cooper.toml:3:",
        "hint: ",
    ] {
        assert!(shown.stderr.contains(said), "{shown}");
    }
    let document = host.cooper(&["config", "--json"]).with(2);
    assert_eq!(document.stderr, "", "{document}");
    let document = document.json();
    assert_eq!(
        document["error"]["code"],
        serde_json::json!("configuration"),
        "{document}"
    );
    assert_eq!(document["errors"].as_array().map(Vec::len), Some(2), "{document}");
    let memory = document["settings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["key"] == "run.memory");
    assert_eq!(memory.unwrap()["value"], serde_json::json!("1GiB"), "{document}");

    host.write("project/cooper.toml", "this is not TOML\n");
    let shown = host.cooper(&["config"]).with(2);
    assert!(
        shown.stdout.contains("run.memory") && shown.stderr.contains("cooper.toml:1"),
        "{shown}"
    );
    host.cooper(&["images"]).with(2);
}

#[test]
fn variables_that_nothing_reads_are_told() {
    let mut host = host();
    host.set("COOPER_ORGANIZATION", "me");
    host.set("COOPER_WHATEVER_IT_MAY_BE", "1");
    host.set("COOPER_STORE", &host.path("store").display().to_string());
    let config = host.cooper(&["config"]).good();
    assert_eq!(
        config.stderr,
        "warning: nothing reads the variable COOPER_ORGANIZATION; did you mean COOPER_ORGANISATION?\n\
         warning: nothing reads the variable COOPER_WHATEVER_IT_MAY_BE\n"
    );
    let images = host.cooper(&["images", "--json"]).good();
    assert_eq!(images.json(), serde_json::json!([]));
    assert_eq!(
        images.stderr,
        "warning: nothing reads COOPER_ORGANIZATION, COOPER_WHATEVER_IT_MAY_BE: see `cooper config`\n"
    );
    assert_eq!(host.cooper(&["images", "--quiet"]).good().stderr, "");
    host.unset("COOPER_ORGANIZATION");
    host.unset("COOPER_WHATEVER_IT_MAY_BE");
    assert!(!host.cooper(&["images"]).good().stderr.contains("warning"));
}

#[test]
fn a_project_is_found_from_below_and_trusted_when_the_user_says_so() {
    let host = host();
    host.write("project/cooper.toml", "store = \"own store\"\n");
    let origin = |host: &Host, folder: &str| {
        std::fs::create_dir_all(host.path(folder)).unwrap();
        let mut command = host.command(&["config", "--json"]);
        let done = crate::context::done(&command.current_dir(host.path(folder)).output().unwrap());
        (
            done.status,
            done.json()[0]["value"].as_str().unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(origin(&host, "project/a/b").0, 2, "not trusted");
    assert_eq!(origin(&host, "beside").0, 0, "not of this project");
    host.write(
        "home/.config/cooper/cooper.toml",
        "[trust]\nallow_project_sources = true\n",
    );
    let (status, store) = origin(&host, "project/a/b");
    assert_eq!(status, 0);
    assert!(store.ends_with("/project/own store"), "{store}");
}

#[test]
fn a_host_without_mirrors_says_how_to_name_one() {
    let mut host = host();
    host.unset("COOPER_DEBIAN_MIRROR");
    if std::path::Path::new("/etc/apt").exists() {
        // The host that runs this test has apt: what it would say without is a unit test of the settings.
        let shown = host.cooper(&["config", "--json"]).good();
        assert!(
            shown.stdout.contains("this host: /etc/apt/sources.list"),
            "{shown}"
        );
        return;
    }
    let failed = host.cooper(&["create", "a", "--packages", "wget"]).with(2);
    assert!(failed.stderr.contains("COOPER_DEBIAN_MIRROR"), "{failed}");
}

/// What the libraries notice on the way is told, as much as is wanted.
#[test]
fn warnings_of_the_libraries_are_told() {
    let mut world = World::new();
    world.create_example();
    let damage = |world: &World| {
        for entry in std::fs::read_dir(world.host.path("store/cache/debian-packages")).unwrap() {
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(entry.unwrap().path());
            file.unwrap().set_len(100).unwrap();
        }
    };
    let told = "warning: the kept packages are damaged and are made anew (suite=trixie";
    let wishes = ["jq", "libxslt1.1", "libpsl5", "jq,libpsl5"];
    let levels = [None, Some("off"), Some("loud"), Some("debug")];
    for ((packages, level), expected) in wishes.iter().zip(levels).zip([true, false, true, true]) {
        damage(&world);
        if let Some(level) = level {
            world.host.set("COOPER_LOG", level);
        }
        let done = world
            .cooper(&["create", "another", "--packages", packages])
            .good();
        assert_eq!(done.stderr.contains(told), expected, "{level:?}: {done}");
        let misunderstood = done.stderr.contains("COOPER_LOG is not understood");
        assert_eq!(misunderstood, level == Some("loud"), "{done}");
    }
}
