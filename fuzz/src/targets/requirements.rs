//! Requirements files.

use std::io;

use cooper_core::requirements::{self, IncludePath, Requirements};
use cooper_core::{Base, PythonRequirement, Request};

use super::{as_it_is, counted};
use crate::driver::Target;

const HASH: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A requirements file that may include itself and another one. What is accepted holds together: it is a request
/// that is the same after it was kept, written as a file again it says the same, and no path and no address is in it.
pub(super) const REQUIREMENTS: Target = Target {
    name: "requirements",
    examples: || {
        let texts = [
            "a==1 \\\n    --hash=HASH \\\n    --hash=HASH\nb==2 ; python_version >= '3.8' --hash HASH # c\n",
            "\u{feff}# c\r\na[x]>=1,<2\r\n-r more.txt\r\n-c ./more.txt\r\n",
            "--require-hashes\na==1 --hash=HASH\n-c 'more.txt'",
            "a # c \\\nb\n  # c \\\nd \\\n# e\nf\\\n",
            "a @ https://x.test/a.whl\n-e .\n--index-url https://u:p@x.test/${VAR}\n./a.whl\n",
        ];
        let example = |text: &str| text.replace("HASH", HASH).into_bytes();
        texts.map(example).to_vec()
    },
    mend: as_it_is,
    run: |bytes| {
        let mut read = |path: &IncludePath| match path.as_str() {
            "more.txt" => Ok(b"more>=1\n-c deep/c.txt".to_vec()),
            "deep/c.txt" => Ok(b"more<2\n".to_vec()),
            "r.txt" => Ok(bytes.to_vec()),
            path => {
                let outside = path.starts_with('/') || path.split('/').any(|part| part == "..");
                assert!(!outside, "{path}");
                Err(io::ErrorKind::NotFound.into())
            }
        };
        match requirements::parse("r.txt", bytes, &mut read) {
            Ok(parsed) => {
                check(&parsed);
                format!(
                    "good {} {} {}",
                    counted(parsed.dependencies.len()),
                    counted(parsed.constraints.len()),
                    counted(parsed.hashes.len())
                )
            }
            Err(error) => {
                assert!(!error.hint().is_empty() && error.place.line > 0);
                let fault = error.fault.to_string();
                assert!(fault.len() < 4_000, "{fault}");
                fault
            }
        }
    },
};

fn check(parsed: &Requirements) {
    assert_eq!(again(parsed), *parsed);
    let texts = parsed.dependencies.iter().chain(&parsed.constraints);
    for requirement in texts {
        assert!(!requirement.as_str().contains("://"), "{requirement}");
        assert_eq!(
            requirement.as_str().parse::<PythonRequirement>().as_ref(),
            Ok(requirement)
        );
    }
    let name = "a".parse().unwrap();
    let request = Request::new(name, Base::Trixie, parsed.dependencies.clone(), Vec::new());
    let Ok(request) = request else { return };
    let request = request
        .bounded(parsed.constraints.clone(), parsed.hashes.clone())
        .unwrap();
    let kept = serde_json::to_vec(&request).unwrap();
    assert_eq!(serde_json::from_slice::<Request>(&kept).unwrap(), request);
}

/// Written as files and read again.
fn again(parsed: &Requirements) -> Requirements {
    let line = |requirement: &PythonRequirement| {
        let hashes = parsed.hashes.get(requirement).into_iter().flatten();
        let hashes: Vec<String> = hashes.map(|hash| format!(" --hash={hash}")).collect();
        format!("{requirement}{}\n", hashes.concat())
    };
    let constraints: String = parsed.constraints.iter().map(line).collect();
    let mut file: String = parsed.dependencies.iter().map(line).collect();
    file.push_str("-c c.txt\n");
    let mut read = |_: &IncludePath| Ok(constraints.clone().into_bytes());
    requirements::parse("r.txt", file.as_bytes(), &mut read).unwrap()
}
