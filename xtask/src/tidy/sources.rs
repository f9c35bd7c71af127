//! The shape of Rust sources: where `unsafe` may be, how long a file is, what `lib.rs` holds.

use super::Problem;
use crate::rust_text::{code_only, line_of_word};
use crate::tree::{SourceFile, Tree};

/// The only files that may hold `unsafe`: the system calls of the sandbox, the store's mapped files.
const UNSAFE_FILES: [&str; 2] = [
    "crates/cooper-sandbox/src/syscall.rs",
    "crates/cooper-store/src/mmap.rs",
];

/// How long a file may be without its tests.
const LINES_MAX: usize = 600;

/// What no source may hold, and why.
const UNFINISHED: [(&str, &str); 4] = [
    (
        "#[ignore",
        "a test that is not run proves nothing: run it, or delete it",
    ),
    ("todo!(", "unfinished"),
    ("unimplemented!(", "unfinished"),
    ("dbg!(", "left over from debugging"),
];

/// Every Rust source has the shape of the house.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.rust() {
        let code = code_only(&file.text);
        problems.extend(unsafe_code(file, &code));
        problems.extend(unfinished(file, &code));
        problems.extend(length(file, &code));
        if file.path.ends_with("/mod.rs") {
            problems.push(Problem::at(
                &file.path,
                1,
                "`name.rs` beside `name/`, not `mod.rs`",
            ));
        }
        if is_root(&file.path) {
            problems.extend(documented(file));
        }
        if file.path.ends_with("/src/lib.rs") {
            problems.extend(only_modules(file, &code));
        }
    }
    problems
}

fn unsafe_code(file: &SourceFile, code: &str) -> Option<Problem> {
    let line = line_of_word(code, "unsafe")?;
    let message = format!("`unsafe` may only be in {}", UNSAFE_FILES.join(" and "));
    (!UNSAFE_FILES.contains(&file.path.as_str())).then(|| Problem::at(&file.path, line, message))
}

fn unfinished(file: &SourceFile, code: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let found = UNFINISHED.iter().filter(|(needle, _)| line.contains(needle));
        problems.extend(
            found.map(|(needle, why)| Problem::at(&file.path, number + 1, format!("`{needle}`: {why}"))),
        );
    }
    problems
}

fn length(file: &SourceFile, code: &str) -> Option<Problem> {
    if file.path.contains("/tests/") {
        return None;
    }
    let lines = code
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count();
    let message = format!("{lines} lines without tests; {LINES_MAX} at most: one file, one subject");
    (lines > LINES_MAX).then(|| Problem::at(&file.path, LINES_MAX + 1, message))
}

/// A library's or a program's first file.
fn is_root(path: &str) -> bool {
    ["/src/lib.rs", "/src/main.rs"]
        .iter()
        .any(|end| path.ends_with(end))
}

fn documented(file: &SourceFile) -> Option<Problem> {
    let message = "a crate opens with its purpose (`//!`)";
    (!file.text.starts_with("//! ")).then(|| Problem::at(&file.path, 1, message))
}

/// `lib.rs` holds modules, uses and attributes, and nothing that does anything.
fn only_modules(file: &SourceFile, code: &str) -> Option<Problem> {
    let code = without_attributes(code);
    let mut line = 1;
    for item in code.split_inclusive(';') {
        let lead = item.len() - item.trim_start().len();
        let start = line + item[..lead].matches('\n').count();
        line += item.matches('\n').count();
        let text = item.trim();
        let text = text
            .strip_prefix("pub(crate)")
            .or_else(|| text.strip_prefix("pub"))
            .unwrap_or(text)
            .trim_start();
        let module = text.starts_with("mod ") && !text.contains('{');
        // A refusal of platforms that the crate is not for does nothing either.
        let allowed =
            text.is_empty() || module || text.starts_with("use ") || text.starts_with("compile_error!(");
        if !allowed {
            return Some(Problem::at(
                &file.path,
                start,
                "`lib.rs` holds only modules and uses",
            ));
        }
    }
    None
}

/// `code` with every `#[…]` and `#![…]` blank; lines stay where they are.
fn without_attributes(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let (mut depth, mut rest) = (0_u32, code);
    while let Some(first) = rest.chars().next() {
        let opening = depth == 0 && (rest.starts_with("#[") || rest.starts_with("#!["));
        let width = if opening {
            rest.find('[').unwrap_or(0) + 1
        } else {
            first.len_utf8()
        };
        match first {
            _ if opening => depth = 1,
            '[' if depth > 0 => depth += 1,
            ']' if depth > 0 => {
                depth -= 1;
                rest = &rest[width..];
                continue;
            }
            _ => {}
        }
        if depth == 0 || first == '\n' {
            out.push_str(&rest[..width]);
        }
        rest = &rest[width..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        shown(check, &[(path, text)])
    }

    #[test]
    fn unsafe_stays_in_its_files() {
        let code = "fn f() {\n    unsafe { g() }\n}\n";
        let found = problems("crates/a/src/f.rs", code);
        assert!(
            found[0].starts_with("crates/a/src/f.rs:2: `unsafe` may only be in"),
            "{found:?}"
        );
        assert_eq!(problems(UNSAFE_FILES[0], code), [""; 0]);
        assert_eq!(
            problems(
                "crates/a/src/f.rs",
                "// unsafe\n#![deny(unsafe_code)]\nfn f() -> &'static str { \"unsafe\" }\n"
            ),
            [""; 0]
        );
    }

    #[test]
    fn nothing_is_unfinished_or_ignored() {
        for (text, line) in [
            ("#[test]\n#[ignore = \"slow\"]\nfn f() {}", 2),
            ("fn f() { todo!() }", 1),
            ("fn f() {\n\n dbg!(1);}", 3),
            ("fn f() { unimplemented!(\"x\") }", 1),
        ] {
            let found = problems("crates/a/src/f.rs", text);
            assert!(
                found.len() == 1 && found[0].starts_with(&format!("crates/a/src/f.rs:{line}: ")),
                "{found:?}"
            );
        }
        assert_eq!(
            problems("crates/a/src/f.rs", "fn f() { ignore(\"todo!()\") }"),
            [""; 0]
        );
    }

    #[test]
    fn files_are_short_without_their_tests() {
        let lines = |count: usize| "fn f() {}\n".repeat(count);
        assert_eq!(problems("crates/a/src/f.rs", &lines(600)), [""; 0]);
        assert_eq!(problems("crates/a/src/f.rs", &lines(601)).len(), 1);
        assert_eq!(problems("crates/a/tests/it/f.rs", &lines(601)), [""; 0]);
        let tested = lines(600) + "#[cfg(test)]\nmod tests {}\n" + &lines(50);
        assert_eq!(problems("crates/a/src/f.rs", &tested), [""; 0]);
    }

    #[test]
    fn modules_are_beside_their_folders() {
        assert_eq!(
            problems("crates/a/src/f/mod.rs", ""),
            ["crates/a/src/f/mod.rs:1: `name.rs` beside `name/`, not `mod.rs`"]
        );
        assert_eq!(problems("crates/a/src/fmod.rs", ""), [""; 0]);
    }

    #[test]
    fn libraries_open_with_their_purpose_and_hold_no_logic() {
        let good = "//! What it is for; and more.\n#![expect(a, reason = \"b; c\")]\n\npub mod a;\n#[doc(hidden)]\npub(crate) mod b;\n\npub use a::{B, C};\nuse d::E;\n#[cfg(not(unix))]\ncompile_error!(\"no; never\");\n#[cfg(test)]\nmod tests;\n";
        assert_eq!(problems("crates/a/src/lib.rs", good), [""; 0]);
        assert_eq!(
            problems("crates/a/src/lib.rs", "pub mod a;\n"),
            ["crates/a/src/lib.rs:1: a crate opens with its purpose (`//!`)"]
        );
        assert_eq!(problems("crates/a/src/main.rs", "fn main() {}\n").len(), 1);
        for logic in [
            "fn f() {}",
            "pub const A: u8 = 1;",
            "mod a { fn f() {} }",
            "pub struct A;",
            "macro_rules! m { () => {} }",
        ] {
            let found = problems("crates/a/src/lib.rs", &format!("//! A.\n\nmod b;\n\n{logic}\n"));
            assert_eq!(
                found,
                ["crates/a/src/lib.rs:5: `lib.rs` holds only modules and uses"],
                "{logic}"
            );
        }
    }
}
