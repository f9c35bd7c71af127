use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// Parse `files[0]`; the others can be included.
fn parsed(files: &[(&str, &str)]) -> Result<Requirements, RequirementsError> {
    let mut read = |path: &IncludePath| {
        let file = files.iter().skip(1).find(|(name, _)| *name == path.as_str());
        file.map(|(_, text)| text.as_bytes().to_vec())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    parse(files[0].0, files[0].1.as_bytes(), &mut read)
}

fn texts(requirements: &[PythonRequirement]) -> Vec<&str> {
    requirements.iter().map(PythonRequirement::as_str).collect()
}

fn dependencies(text: &str) -> Vec<String> {
    let parsed = parsed(&[("r.txt", text)]).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    parsed.dependencies.iter().map(ToString::to_string).collect()
}

fn fault(text: &str) -> String {
    let error = parsed(&[("r.txt", text)]).unwrap_err();
    assert!(!error.hint().is_empty());
    error.to_string()
}

/// What pip 23.2 gives for these texts.
#[test]
fn comments_and_continuations_are_pips() {
    let table: &[(&str, &[&str])] = &[
        ("a\n\n  # c\nb # c\n", &["a", "b"]),
        ("a \\\n>=1\n", &["a>=1"]),
        ("a \\\r\n>=1\r\nb\r\n", &["a>=1", "b"]),
        ("a\rb", &["a", "b"]),
        // A comment in the middle ends what is joined.
        ("a \\\n# c\n>=1\n", &[]),
        ("a \\\n# c\nb", &["a", "b"]),
        // The comment is taken away after lines were joined.
        ("a # c \\\nb\nd", &["a", "d"]),
        // A comment line does not go on.
        ("# c \\\na", &["a"]),
        ("a\\", &["a"]),
        ("a; python_version >= '3' \\\n", &["a; python_version >= '3'"]),
        ("\u{feff}a", &["a"]),
        ("", &[]),
        (
            "a == 1 , != 2 ; python_version>='3.8'",
            &["a==1,!=2 ; python_full_version >= '3.8'"],
        ),
    ];
    for (text, expected) in table {
        if expected.is_empty() && !text.is_empty() {
            assert!(parsed(&[("r.txt", text)]).is_err(), "{text:?}");
            continue;
        }
        let expected: Vec<String> = expected
            .iter()
            .map(|text| text.parse::<PythonRequirement>().unwrap().to_string())
            .collect();
        assert_eq!(dependencies(text), expected, "{text:?}");
    }
}

#[test]
fn a_hash_in_the_fragment_of_a_word_is_no_comment() {
    assert!(fault("a#b").contains("not a Python requirement"));
}

#[test]
fn hashes_stand_in_any_of_pips_forms() {
    let text = format!(
        "a==1 --hash=sha256:{A} --hash sha256:{} \\\n\t--hash='sha256:{A}' --hash=sha512:{A}{A}\n",
        B.to_uppercase()
    );
    let parsed = parsed(&[("r.txt", &text)]).unwrap();
    let (requirement, digests) = parsed.hashes.iter().next().unwrap();
    assert_eq!(requirement.as_str(), "a==1");
    let expected = [A, B].map(|hex| Digest::from_hex(hex).unwrap());
    assert_eq!(digests, &BTreeSet::from(expected));
}

#[test]
fn files_include_files_of_their_folder() {
    let files = [
        ("in/r.txt", "a\n-r sub/more.txt\n--constraint=./c.txt\n"),
        ("sub/more.txt", "b\n-rdeep.txt"),
        ("sub/deep.txt", "d"),
        ("c.txt", "a<2\n-r asked.txt\n-c 'c 2.txt'"),
        ("asked.txt", "e"),
        ("c 2.txt", "x!=1"),
    ];
    let parsed = parsed(&files).unwrap();
    assert_eq!(texts(&parsed.dependencies), ["a", "b", "d", "e"]);
    assert_eq!(texts(&parsed.constraints), ["a<2", "x!=1"]);
}

#[test]
fn inclusion_is_bounded_and_stays_in_the_folder() {
    for (path, said) in [
        ("/etc/passwd", "only files in the folder"),
        ("../x", "only files in the folder"),
        ("a/../../x", "only files in the folder"),
        ("~/x", "only files in the folder"),
        ("https://x.test/r.txt", "a URL is refused"),
        ("./", "not the path of a file"),
        ("r.txt", "`r.txt` includes itself"),
        ("./r.txt", "`r.txt` includes itself"),
        ("nowhere", "cannot read `nowhere`"),
    ] {
        let error = fault(&format!("\n-r {path}"));
        assert!(
            error.contains(said) && error.starts_with("r.txt:2: "),
            "{path}: {error}"
        );
    }
    let cycle = parsed(&[("d/r.txt", "-r x"), ("x", "a\n-r y"), ("y", "-c x")]).unwrap_err();
    assert_eq!(cycle.to_string(), "d/y:1: `d/x` includes itself");
    let wide = "-r x\n".repeat(FILES_MAX);
    let wide = parsed(&[("r.txt", &wide), ("x", "a")]).unwrap_err();
    assert!(wide.to_string().contains("more than 64 files"), "{wide}");
    let names: Vec<(String, String)> = (0..40)
        .map(|n| (format!("f{n}"), format!("-r f{}", n + 1)))
        .collect();
    let deep: Vec<(&str, &str)> = names
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert!(parsed(&deep).unwrap_err().to_string().contains("16 in a row"));
}

#[test]
fn what_does_not_belong_into_a_file_is_refused_with_the_reason() {
    let table = [
        ("-i https://u:secret@x.test/simple", "configuration's business"),
        ("--index-url=https://u:secret@x.test", "configuration's business"),
        (
            "--extra-index-url https://u:secret@x.test",
            "configuration's business",
        ),
        ("--no-index", "configuration's business"),
        ("--find-links secret", "configuration's business"),
        ("-fsecret", "configuration's business"),
        ("--trusted-host secret", "whom to trust"),
        ("-e git+https://secret@x.test/a", "working copy"),
        ("--editable=.", "working copy"),
        ("git+https://secret@x.test/a#egg=a", "repository"),
        ("a @ git+https://secret@x.test/a", "URL"),
        ("https://secret@x.test/a-1-py3-none-any.whl", "URL"),
        ("a @ https://secret@x.test/a.whl --hash=sha256:0", "URL"),
        ("./secret", "file of this machine"),
        ("secret/a", "file of this machine"),
        ("secret.whl", "file of this machine"),
        ("--no-binary :all:", "wheel is always taken"),
        ("--prefer-binary", "wheel is always taken"),
        ("--pre", "one by one"),
        ("a --global-option=secret", "builds take no options"),
        ("a -C secret", "builds take no options"),
        ("a --config-settings=secret", "builds take no options"),
        ("--use-feature=fast-deps", "pip, which is not used"),
        ("a==${TOKEN}", "`${TOKEN}` is refused"),
        ("--zzz=secret", "no option `--zzz`"),
        ("a --hash", "`--hash` has no value"),
        ("--hash=sha256:0", "without a requirement"),
        ("a -r b.txt", "not of the requirement"),
        ("-r b.txt -r c.txt", "one option at most"),
        ("-r 'b", "quote is not closed"),
        ("a \\ ", "not even a blank"),
        ("a b", "not a Python requirement"),
        ("a==1 --hash=md5:0", "not a hash"),
        ("a==1 --hash=sha256:00", "not a hash"),
        ("a==1 --hash=0", "not a hash"),
    ];
    for (text, said) in table {
        let error = fault(text);
        assert!(
            error.starts_with("r.txt:1: ") && error.contains(said),
            "{text}: {error}"
        );
        assert!(!error.contains("secret"), "{text}: {error}");
    }
    let sha512 = fault(&format!("a==1 --hash=sha512:{A}{A}"));
    assert!(sha512.contains("none by sha256"), "{sha512}");
    // pip leaves these as they are.
    assert!(fault("a==$TOKEN").contains("not a Python requirement"));
    assert_eq!(dependencies("a # ${TOKEN}"), ["a"]);
}

#[test]
fn hashes_are_all_or_none_and_do_not_disagree() {
    let unhashed = fault(&format!("b\na==1 --hash=sha256:{A}"));
    assert_eq!(
        unhashed,
        "r.txt:1: `b` has no hash, but r.txt:2 asks for hashes of everything"
    );
    assert!(fault("--require-hashes\na==1").contains("`a==1` has no hash, but r.txt:1"));
    let unpinned = fault(&format!("a>=1 --hash=sha256:{A}"));
    assert!(unpinned.contains("names no version"), "{unpinned}");
    assert!(fault(&format!("a==1.* --hash=sha256:{A}")).contains("names no version"));
    let two = fault(&format!("a==1 --hash=sha256:{A}\nA==1 --hash=sha256:{B}"));
    assert_eq!(two, "r.txt:2: `a` has other hashes here than in r.txt:1");
    let overlap = format!(
        "a==1; python_version < '3.12' --hash=sha256:{A}\na==2; python_version > '3.10' --hash=sha256:{B}"
    );
    assert!(fault(&overlap).contains("other hashes"));
    let apart = format!(
        "a==1; python_version < '3.12' --hash=sha256:{A}\na==2; python_version >= '3.12' --hash=sha256:{B}"
    );
    assert_eq!(parsed(&[("r.txt", &apart)]).unwrap().hashes.len(), 2);
    let twice = format!("a==1 --hash=sha256:{A}\na==1 --hash=sha256:{A}");
    assert_eq!(parsed(&[("r.txt", &twice)]).unwrap().hashes.len(), 1);
    let constraint = format!("a==1 --hash=sha256:{A}\nb==2");
    let by_constraint = parsed(&[("r.txt", "a\n-c c"), ("c", &constraint)]).unwrap();
    assert_eq!(
        (by_constraint.dependencies.len(), by_constraint.hashes.len()),
        (1, 1)
    );
}

#[test]
fn strange_bytes_and_sizes_are_errors_with_their_line() {
    let read = |_: &IncludePath| Err(io::ErrorKind::NotFound.into());
    let mut read = read;
    let mut said = |bytes: &[u8]| parse("r.txt", bytes, &mut read).unwrap_err().to_string();
    assert_eq!(said(b"a\nb\xff"), "r.txt:2: the file is not UTF-8");
    assert_eq!(said(b"\xff\xfea\x00"), "r.txt:1: the file is UTF-16");
    assert!(said(b"a\n\nb\0").starts_with("r.txt:3: the character U+0000"));
    assert!(said("a # c\u{2028}b".as_bytes()).starts_with("r.txt:1: the character U+2028"));
    assert!(said("# c\u{85}b".as_bytes()).contains("U+0085"));
    assert!(
        said(&[&b"a\n"[..], &vec![b'x'; 1 << 20]].concat()).starts_with("r.txt:2: the line has more than")
    );
    assert!(said(&b"a \\\n".repeat(LINE_BYTES_MAX / 2)).contains("continuations counted in"));
    assert!(said(&vec![b'\n'; 9 << 20]).contains("more than 8388608 bytes"));
    let many = (0..=ENTRIES_MAX)
        .map(|n| format!("a{n}\n"))
        .collect::<Vec<_>>()
        .concat();
    assert!(said(many.as_bytes()).starts_with("r.txt:2001: more than 2000"));
    assert!(said("a\n".repeat(65).as_bytes()).contains("more than 64 lines"));
}
