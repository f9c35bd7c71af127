//! `cooper create --requirements`: files in pip's format.

use std::os::unix::fs::symlink;

use cooper_core::Digest;
use serde_json::json;
use testkit::Wheel;

use crate::context::{World, archive, index};

fn hash(wheel: &Wheel) -> String {
    Digest::of(&wheel.build()).to_string()
}

fn mechanize() -> Wheel {
    let wheel = Wheel::new("mechanize", "0.4.10").package("mechanize", "");
    wheel.requires("html5lib>=1").licence("BSD-3-Clause")
}

fn html5lib() -> Wheel {
    Wheel::new("html5lib", "1.1")
        .package("html5lib", "")
        .licence("MIT")
}

#[test]
fn a_file_with_all_it_includes_is_one_request() {
    let world = World::new();
    world.host.write(
        "project/in/requirements.txt",
        "\u{feff}# what we need\r\nmechanize \\\r\n    >=0.4  # c\r\n-r more/base.txt\r\nnothing; sys_platform == 'win32'\r\n",
    );
    world.host.write("project/in/more/base.txt", "-c ../x\n");
    let args = [
        "create",
        "big",
        "--requirements",
        "in/requirements.txt",
        "--packages",
        "jq",
        "--json",
    ];
    let refused = world.cooper(&args).with(2).json();
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("in/more/base.txt:1: `../x` is refused"),
        "{refused}"
    );
    assert_eq!(refused["error"]["code"], json!("invalid-requirements"));

    world
        .host
        .write("project/in/more/base.txt", "-c bounds.txt\nold\n");
    world
        .host
        .write("project/in/more/bounds.txt", "requests<2.32\nhtml5lib>=1\n");
    let created = world.cooper(&args).good().json();
    let python = created["packages"]["python"].as_array().unwrap();
    let python: Vec<&str> = python.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(python, ["html5lib", "mechanize", "old", "requests"]);
    let inspected = world.cooper(&["inspect", "big", "--json"]).good().json();
    assert_eq!(
        inspected["request"]["constraints"],
        json!(["html5lib>=1", "requests<2.32"])
    );
    let text = world.cooper(&["inspect", "big"]).good().stdout;
    assert!(
        text.contains("constraints=\"html5lib>=1, requests<2.32\""),
        "{text}"
    );
    assert!(!text.contains("requirements.txt") && !inspected.to_string().contains("bounds.txt"));

    // The words of a shell name it too, and lists go with it.
    let words = [
        "create",
        "name=words",
        "requirements=in/requirements.txt",
        "dependencies=html5lib",
    ];
    world.cooper(&words).good();
    let piped = world
        .host
        .cooper_with_input(&["create", "piped", "--requirements", "-"], "html5lib\n");
    assert_eq!(piped.status, 0, "{piped}");
}

#[test]
fn hashes_are_checked_kept_and_hold_against_an_update() {
    let world = World::new();
    let file = format!(
        "mechanize==0.4.10 \\\n    --hash={} \\\n    --hash={}\nhtml5lib==1.1 --hash={}\n",
        Digest::of(b"an sdist"),
        hash(&mechanize()),
        hash(&html5lib())
    );
    world.host.write("project/r.txt", &file);
    world
        .cooper(&["create", "hashed", "--requirements", "r.txt"])
        .good();
    let inspected = world.cooper(&["inspect", "hashed", "--json"]).good().json();
    let kept = &inspected["request"]["hashes"];
    assert_eq!(kept["html5lib==1.1"], json!([hash(&html5lib())]));
    assert_eq!(kept["mechanize==0.4.10"].as_array().unwrap().len(), 2);
    let text = world.cooper(&["inspect", "hashed"]).good().stdout;
    assert!(text.contains("hashes    3 listed, of which"), "{text}");
    let lock = world.cooper(&["inspect", "hashed", "--lock"]).good().stdout;
    assert!(lock.contains(&hash(&html5lib())) && !lock.contains("r.txt"));
    // Same versions, any files: the same image, and still no stand-in for what asks for hashes.
    world
        .cooper(&["create", "plain", "--dependencies", "mechanize"])
        .good();
    let again = world
        .cooper(&["create", "other", "--requirements", "r.txt", "--json"])
        .good()
        .json();
    assert_eq!(again["sufficient"], json!("local/hashed:1.0.0.1"));

    // Another file under the same version: what was listed is not there any more.
    let other = mechanize().file("mechanize/other.py", "");
    let newer = Wheel::new("html5lib", "2.0").package("html5lib", "");
    let changed = testkit::PythonIndex::new()
        .wheel(other.clone())
        .wheel(html5lib())
        .wheel(newer);
    world.server.replace(archive().routes().merge(changed.routes()));
    let refused = world
        .cooper(&["update", "hashed", "--refresh", "--json"])
        .with(3)
        .json();
    assert_eq!(refused["error"]["code"], json!("hash-mismatch"), "{refused}");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(&hash(&other)) && message.contains(&hash(&mechanize())),
        "{message}"
    );
    // The newer html5lib does not move what is pinned.
    world.server.replace(
        archive()
            .routes()
            .merge(index().wheel(Wheel::new("html5lib", "2.0")).routes()),
    );
    let same = world
        .cooper(&["update", "hashed", "--refresh", "--json"])
        .good()
        .json();
    assert_eq!(same[0]["outcome"], json!("same"));
}

#[test]
fn hashes_are_of_everything() {
    let world = World::new();
    let line = format!("mechanize==0.4.10 --hash={}\n", hash(&mechanize()));
    world.host.write("project/r.txt", &line);
    let create = |more: &[&str]| {
        let args = [&["create", "a", "--requirements", "r.txt", "--json"], more].concat();
        world.cooper(&args)
    };
    let unlisted = create(&[]).with(1).json();
    assert_eq!(unlisted["error"]["code"], json!("unlisted-hash"));
    let hint = unlisted["error"]["hint"].as_str().unwrap();
    assert!(
        hint.contains(&format!("html5lib==1.1 --hash={}", hash(&html5lib()))),
        "{hint}"
    );
    let mixed = create(&["--dependencies", "html5lib==1.1"]).with(2).json();
    assert_eq!(mixed["error"]["code"], json!("invalid-hashes"), "{mixed}");
    world.host.write(
        "project/s.txt",
        &format!("mechanize==0.4.10 --hash={}\n", Digest::of(b"x")),
    );
    let two = create(&["--requirements", "s.txt"]).with(2).json();
    assert!(
        two["error"]["message"]
            .as_str()
            .unwrap()
            .contains("other hashes in another file"),
        "{two}"
    );
    assert_eq!(world.cooper(&["images", "--json"]).good().json(), json!([]));
}

#[test]
fn no_file_outside_the_folder_is_read() {
    let world = World::new();
    world.host.write("secret.txt", "password-is-hunter2\n");
    world.host.write("project/r.txt", "html5lib\n-r link.txt\n");
    symlink("../secret.txt", world.host.path("project/link.txt")).unwrap();
    let refused = world.cooper(&["create", "a", "--requirements", "r.txt"]).with(2);
    assert!(
        refused.stderr.contains("r.txt:2: cannot read `link.txt`"),
        "{refused}"
    );
    assert!(refused.stderr.contains("leads out of the folder"), "{refused}");
    std::fs::remove_file(world.host.path("project/link.txt")).unwrap();
    symlink("inside.txt", world.host.path("project/link.txt")).unwrap();
    world.host.write("project/inside.txt", "requests\n");
    world.cooper(&["create", "a", "--requirements", "r.txt"]).good();
    std::fs::remove_file(world.host.path("project/inside.txt")).unwrap();
    let fifo = std::process::Command::new("mkfifo")
        .arg(world.host.path("project/inside.txt"))
        .status();
    assert!(fifo.unwrap().success());
    let refused = world.cooper(&["create", "b", "--requirements", "r.txt"]).with(2);
    assert!(refused.stderr.contains("it is not a file"), "{refused}");
    // A chat line reads no file at all.
    let line = "/docker_image_create name=c requirements=r.txt";
    let refused = world.cooper(&[line]).with(2);
    assert!(
        refused.stderr.contains("a chat line cannot name a file"),
        "{refused}"
    );
    for done in [
        world.cooper(&["create", "d", "--requirements", "nowhere.txt"]),
        world.cooper(&["create", "d", "--requirements", "."]),
    ] {
        assert!(done.with(2).stderr.contains("cannot read the requirements file"));
    }
}
