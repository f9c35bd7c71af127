//! What `cooper run` grants a script and takes from it: secrets, inputs, outputs, a result, the terminal. Python is the
//! stub of the made archive, which runs shell scripts.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::context::{Done, World};

fn world() -> World {
    let world = World::new();
    world.create_example();
    world
}

fn shell(world: &World, flags: &[&str], script: &str) -> Done {
    world.cooper(&[&["run"], flags, &["example_name", "--", "sh", "-c", script]].concat())
}

fn report(world: &World, name: &str) -> serde_json::Value {
    let text = fs::read_to_string(world.host.path("project").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn secrets_arrive_and_are_told_nowhere() {
    let world = world();
    world.host.write("project/token", "hunter2\n");
    let flags = ["--secret", "TOKEN=token", "--report", "run.json"];
    let script = "cat /run/secrets/TOKEN; env; cat /proc/*/cmdline; echo x > /run/secrets/TOKEN";
    let ran = shell(&world, &flags, script).with(1);
    assert_eq!(ran.stdout.matches("hunter2").count(), 1, "{ran}");
    assert!(!ran.stderr.contains("hunter2"), "{ran}");
    assert!(!report(&world, "run.json").to_string().contains("hunter2"));
    let cooper = |script: &str, args: &[&str]| world.host.cooper_from_shell(script, args);
    // From a pipe, as `<(…)` gives it.
    let piped = cooper(
        "printf s3cret | exec \"$@\" 3<&0 </dev/null",
        &[
            "run",
            "--secret",
            "A=/dev/fd/3",
            "example_name",
            "--",
            "cat",
            "/run/secrets/A",
        ],
    );
    let piped = if piped.status == 125 {
        cooper(
            "mkfifo ../fifo; printf s3cret > ../fifo & exec \"$@\"",
            &[
                "run",
                "--secret",
                "A=../fifo",
                "example_name",
                "--",
                "cat",
                "/run/secrets/A",
            ],
        )
    } else {
        piped
    };
    assert_eq!(piped.good().stdout, "s3cret");
    for wrong in ["hunter2", "=token", "A B=token", "A=missing", "A=/", "../A=token"] {
        let failed = shell(&world, &["--secret", wrong], "true").with(125);
        assert!(!failed.stderr.contains("hunter2"), "{failed}");
        assert!(failed.stderr.starts_with("error: "), "{failed}");
    }
    shell(&world, &["--secret", "A=token", "--secret", "A=token"], "true").with(125);
    world.host.write("project/large", &"x".repeat((1 << 20) + 1));
    let large = shell(&world, &["--secret", "A=large"], "true").with(125);
    assert!(large.stderr.contains("larger than 1048576 bytes"), "{large}");
}

#[test]
fn inputs_are_read_where_they_are() {
    let world = world();
    let data = world.host.write("project/data.csv", "1,2\n");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o600)).unwrap();
    world.host.write("project/other", "other\n");
    let flags = ["--input", "data.csv", "--input", "other:o.txt"];
    let script = "ls /input; cat /input/*; echo x > /input/o.txt || echo x > /input/new";
    let ran = shell(&world, &flags, script).with(1);
    assert_eq!(ran.stdout, "data.csv\no.txt\n1,2\nother\n", "{ran}");
    assert_eq!(
        fs::read_to_string(world.host.path("project/other")).unwrap(),
        "other\n"
    );
    // A link of the host is followed as its owner follows it.
    symlink("other", world.host.path("project/link")).unwrap();
    assert_eq!(
        shell(&world, &["--input", "link"], "cat /input/link")
            .good()
            .stdout,
        "other\n"
    );
    for wrong in ["missing", ".", "/", "other:..", "other:", "/dev/zero"] {
        let failed = shell(&world, &["--input", wrong], "true").with(125);
        assert!(failed.stderr.starts_with("error: "), "{failed}");
    }
    let twice = shell(&world, &["--input", "other", "--input", "data.csv:other"], "true").with(125);
    assert!(twice.stderr.contains("with the name `other`"), "{twice}");
    assert_ne!(
        shell(&world, &[], "ls /input").status,
        0,
        "nothing that is not asked for"
    );
}

#[test]
fn what_is_left_in_output_comes_back() {
    let world = world();
    let script = "mkdir -p /output/a/b; echo deep > /output/a/b/c; echo top > /output/top; \
        ln -s /etc/shadow /output/link; mkfifo /output/pipe; echo x > \"/output/$(printf 'new\\nline')\"; exit 3";
    let ran = shell(&world, &["--output", "out", "--report", "r.json"], script).with(3);
    assert_eq!(
        ran.stderr,
        "warning: `/output/link` is not taken: it is a symbolic link\n\
         warning: `/output/new\\nline` is not taken: its name is not UTF-8 or has control characters\n\
         warning: `/output/pipe` is not taken: it is a FIFO\n"
    );
    let out = world.host.path("project/out");
    assert_eq!(fs::read_to_string(out.join("a/b/c")).unwrap(), "deep\n");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
    assert_eq!(
        fs::metadata(out.join("top")).unwrap().permissions().mode() & 0o777,
        0o644
    );
    let report = report(&world, "r.json");
    assert_eq!(
        report["outputs"],
        json!([{ "path": "a/b/c", "bytes": 5 }, { "path": "top", "bytes": 4 }])
    );
    assert_eq!(
        report["outputs_refused"],
        json!([
            { "path": "link", "reason": "symbolic-link" },
            { "path": "new\\nline", "reason": "name" },
            { "path": "pipe", "reason": "fifo" },
        ])
    );
    // Nothing that is there is touched.
    let again = shell(&world, &["--output", "out"], "echo ran; echo new > /output/top").with(125);
    assert_eq!(again.stdout, "", "nothing runs");
    assert!(again.stderr.contains("is not empty"), "{again}");
    assert_eq!(fs::read_to_string(out.join("top")).unwrap(), "top\n");
    // What a run that is stopped has left comes back too.
    let stopped = ["--timeout", "500ms", "--output", "late"];
    shell(&world, &stopped, "echo x > /output/x; sleep 60").with(124);
    assert!(world.host.path("project/late/x").exists());
}

#[test]
fn the_place_for_outputs_is_bounded() {
    let world = world();
    let flags = ["--output", "out", "--output-size", "1MiB"];
    let script = "head -c 2000000 /dev/zero > /output/big; ls -l /output/big >/dev/null && echo still here";
    let ran = shell(&world, &flags, script).good();
    assert_eq!(ran.stdout, "still here\n");
    let kept = fs::metadata(world.host.path("project/out/big")).unwrap().len();
    assert!(kept <= 1 << 20, "{kept}");
    // Filling every place does not kill a run that has little memory.
    let flags = ["--output", "out2", "--memory", "64MiB", "--writable"];
    let script = "head -c 100000000 /dev/zero > /output/big; echo alive";
    assert_eq!(shell(&world, &flags, script).good().stdout, "alive\n");
    let sparse = ["--output", "out3"];
    let ran = shell(&world, &sparse, "truncate -s 1099511627776 /output/huge").good();
    assert!(
        ran.stderr.contains("`/output/huge` is not taken: it is larger"),
        "{ran}"
    );
    assert_eq!(fs::read_dir(world.host.path("project/out3")).unwrap().count(), 0);
}

#[test]
fn results_are_json_or_told() {
    let world = world();
    let result = world.host.path("project/result.json");
    let flags = ["--result", "result.json", "--report", "r.json"];
    shell(
        &world,
        &flags,
        "echo '{\"sum\": 12345678901234567890123}' > $COOPER_RESULT",
    )
    .good();
    assert_eq!(
        fs::read_to_string(&result).unwrap(),
        "{\"sum\": 12345678901234567890123}\n"
    );
    let text = fs::read_to_string(world.host.path("project/r.json")).unwrap();
    assert!(text.contains("12345678901234567890123"), "{text}");
    for (script, code) in [
        ("true", "missing"),
        ("echo 'sum: 3' > $COOPER_RESULT", "not-json"),
        ("echo NaN > $COOPER_RESULT", "not-json"),
        ("ln -s /etc/passwd $COOPER_RESULT", "symbolic-link"),
        ("mkfifo $COOPER_RESULT", "fifo"),
        ("truncate -s 1099511627776 $COOPER_RESULT", "too-large"),
        (
            "head -c 3000000 /dev/zero | tr '\\0' 1 > $COOPER_RESULT; true",
            "too-large",
        ),
        (
            "head -c 300000 /dev/zero | tr '\\0' '[' > $COOPER_RESULT",
            "not-json",
        ),
    ] {
        let ran = shell(&world, &flags, script).good();
        assert!(ran.stderr.contains("; result.json is not written"), "{ran}");
        assert!(!result.exists(), "a result of another run is not left: {script}");
        assert_eq!(report(&world, "r.json")["result_error"]["code"], code, "{script}");
    }
    assert_eq!(shell(&world, &[], "echo \"$COOPER_RESULT\"").good().stdout, "\n");
}

#[test]
fn a_report_tells_how_a_run_went() {
    let world = world();
    let run = |flags: &[&str], script: &str, status| {
        shell(&world, &[&["--report", "r.json"], flags].concat(), script).with(status);
        report(&world, "r.json")
    };
    let good = run(&[], "exit 7", 7);
    assert_eq!(
        (
            &good["status"],
            &good["exit_code"],
            &good["limit"],
            &good["signal"]
        ),
        (&json!("exited"), &json!(7), &json!(null), &json!(null))
    );
    assert_eq!(good["image"], "local/example_name:1.0.0.1");
    assert!(good["usage"]["memory_peak_bytes"].as_u64().unwrap() > 0, "{good}");
    assert!(
        good["duration_ms"].is_u64() && good["usage"]["cpu_ms"].is_u64(),
        "{good}"
    );
    let limits: Vec<&str> = good["enforced"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["limit"].as_str().unwrap())
        .collect();
    assert_eq!(
        limits,
        ["cpus", "files", "memory", "pids", "scratch", "timeout", "tmp"]
    );
    let killed = run(&[], "kill -9 $$", 137);
    assert_eq!(
        (&killed["status"], &killed["signal"]),
        (&json!("killed"), &json!(9))
    );
    let late = run(&["--timeout", "300ms"], "sleep 60", 124);
    assert_eq!(
        (&late["status"], &late["limit"]),
        (&json!("limit"), &json!("timeout"))
    );
    let greedy = run(&["--memory", "32MiB"], "x=x; while :; do x=$x$x; done", 137);
    assert_eq!(
        (&greedy["status"], &greedy["limit"]),
        (&json!("limit"), &json!("memory"))
    );
    let missing = world
        .cooper(&["run", "--report", "r.json", "example_name", "--", "no-such"])
        .with(125);
    let error = report(&world, "r.json");
    assert_eq!(error["status"], "error", "{missing}");
    assert_eq!(error["error"]["code"], "sandbox", "{error}");
}

#[test]
fn a_writable_root_is_asked_for_and_forgotten() {
    let world = world();
    let script = "echo x > /usr/x && rm /usr/bin/wget && mkdir /data && echo done; id -u";
    assert_ne!(shell(&world, &[], "echo x > /usr/x").status, 0);
    assert_ne!(shell(&world, &["--read-only"], "echo x > /usr/x").status, 0);
    assert_eq!(
        shell(&world, &["--writable"], script).good().stdout,
        "done\n1000\n"
    );
    assert_eq!(
        shell(&world, &["--writable"], script).good().stdout,
        "done\n1000\n"
    );
    world
        .cooper(&["run", "example_name", "--", "wget", "--version"])
        .good();
    shell(&world, &["--writable", "--read-only"], "true").with(125);
    let full = "head -c 80000000 /dev/zero > /usr/big; echo alive";
    assert_eq!(shell(&world, &["--writable"], full).good().stdout, "alive\n");
    world.cooper(&["fsck"]).good();
    // Not for the file of a project to widen.
    world.host.write("project/cooper.toml", "run.writable = true\n");
    shell(&world, &[], "true").with(125);
}

#[test]
fn arguments_are_json_too() {
    let world = world();
    world.host.write("project/s.py", "echo \"$COOPER_ARGS\"\n");
    let ran = world
        .cooper(&["run", "example_name", "s.py", "a b", "\"", "ü"])
        .good();
    assert_eq!(ran.stdout, "[\"a b\",\"\\\"\",\"ü\"]\n");
    assert_eq!(
        world.cooper(&["run", "example_name", "s.py"]).good().stdout,
        "[]\n"
    );
    let long = "x".repeat(100_000);
    assert_eq!(
        world
            .cooper(&["run", "example_name", "s.py", &long])
            .good()
            .stdout,
        "\n"
    );
}

/// What a terminal shows of this run.
fn at_terminal(world: &World, args: &[&str], keys: &[u8]) -> String {
    let mut child = world.host.at_terminal(args).spawn().unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(keys).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(keyboard);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_terminal_gets_text_and_a_pipe_gets_bytes() {
    let world = world();
    let script = "printf 'a\\033[31mred\\033]0;title\\007\\302\\2331mb\\rc\\n'; printf '\\033[2Jerr\\n' >&2; \
        printf '\\033[31m' >&0; printf '\\033[31m' > /dev/stdin; printf '\\033[31m' > /dev/tty; \
        [ -t 1 ] || echo no terminal; [ -t 0 ] && echo keyboard\n";
    world.host.write("project/s.py", script);
    let words = ["example_name", "s.py"];
    let shown = at_terminal(&world, &[&["run"], &words[..]].concat(), b"");
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\u{9b}'),
        "{shown:?}"
    );
    assert!(shown.contains("ared"), "{shown:?}");
    assert!(shown.contains("no terminal\r\nkeyboard"), "{shown:?}");
    let raw = at_terminal(&world, &[&["run", "--raw"], &words[..]].concat(), b"");
    assert!(raw.contains("\u{1b}[31mred\u{1b}]0;title\u{7}"), "{raw:?}");
    assert!(!raw.contains("no terminal"), "{raw:?}");
    let piped = world
        .cooper(&["run", "example_name", "--", "printf", "\\033[31m\\007\\377"])
        .good();
    assert!(piped.stdout.starts_with("\u{1b}[31m\u{7}"), "{piped}");
}

/// As `su -c` and `setsid` leave it: a program could make such a terminal its own, and write to it.
#[test]
fn a_terminal_of_another_session_is_read_through_a_pipe() {
    let world = world();
    let script =
        "read line; echo \"got $line\"; [ -t 0 ] || echo no keyboard; printf '\\033[31m' >&0; cat; echo end";
    world.host.write("project/s.py", script);
    let cooper = env!("CARGO_BIN_EXE_cooper");
    world.host.write(
        "project/start",
        &format!("setsid -w {cooper} run example_name s.py\n"),
    );
    let mut terminal = world.host.at_terminal(&["version"]);
    let mut shown = String::new();
    let mut command = std::process::Command::new("script");
    command.args(["-qfec", "sh start", "/dev/null"]).env_clear();
    for (name, value) in terminal.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    terminal.env_clear();
    command.current_dir(world.host.path("project"));
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(b"one\ntwo\n\x04").unwrap();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    drop(keyboard);
    assert!(child.wait().unwrap().success(), "{shown:?}");
    assert!(shown.contains("got one\r\nno keyboard\r\n"), "{shown:?}");
    assert!(shown.ends_with("two\r\nend\r\n"), "{shown:?}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn order_and_length_of_what_is_shown_are_kept() {
    let world = world();
    let script = "i=0; while [ $i -lt 3000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done";
    let shown = at_terminal(&world, &["run", "example_name", "--", "sh", "-c", script], b"");
    let lines: Vec<&str> = shown.lines().collect();
    let expected: Vec<String> = (0..3000)
        .flat_map(|i| [format!("out{i}"), format!("err{i}")])
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn what_is_typed_arrives_and_the_terminal_is_as_before() {
    let world = world();
    let script =
        "echo ready; read line; echo \"got $line\"; stty -echo; read hidden; echo \"and $hidden\"; cat";
    let args = ["run", "example_name", "--", "sh", "-c", script];
    let mut child = world.host.at_terminal(&args).spawn().unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = String::new();
    let mut until = |text: &str| {
        let started = Instant::now();
        let mut buffer = [0; 1024];
        while !shown.contains(text) {
            assert!(started.elapsed() < Duration::from_secs(20), "{shown:?}");
            let length = screen.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "{shown:?}");
            shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    until("ready");
    keyboard.write_all(b"one\n").unwrap();
    until("got one");
    keyboard.write_all(b"two\n").unwrap();
    until("and two");
    // The end of the input, as typed.
    keyboard.write_all(b"three\n\x04").unwrap();
    until("three");
    drop(keyboard);
    assert!(child.wait().unwrap().success());
}
