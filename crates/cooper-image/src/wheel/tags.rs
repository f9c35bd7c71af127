//! Compatibility tags: what a wheel's file name says, and what its `WHEEL` file says of it.
//!
//! The index and the lock know a wheel's tags from its name alone, and by them it was chosen for this image. A wheel
//! whose inside was made for something else is not what was chosen.

use std::collections::BTreeSet;
use std::fmt;

use crate::rootfs::printable;

/// How many tags one compressed set may stand for; the longest real ones stand for some dozens.
const TAGS_MAX: usize = 4096;

/// One tag: interpreter, ABI, platform (platform compatibility tags, "Use").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    python: String,
    abi: String,
    platform: String,
}

impl Tag {
    /// Whether it is for every platform.
    pub fn is_for_any_platform(&self) -> bool {
        self.platform == "any"
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}", self.python, self.abi, self.platform)
    }
}

/// Every tag of a compressed set like `py2.py3-none-any`; `None` where it is not one.
pub fn expand(compressed: &str) -> Option<BTreeSet<Tag>> {
    let compressed = compressed.trim().to_ascii_lowercase();
    let mut parts = compressed.split('-');
    let (python, abi, platform) = (parts.next()?, parts.next()?, parts.next()?);
    let alternatives = |part: &str| part.split('.').count();
    let count = alternatives(python)
        .saturating_mul(alternatives(abi))
        .saturating_mul(alternatives(platform));
    let plain = |part: &str| {
        let good = |alternative: &str| {
            !alternative.is_empty()
                && alternative
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        part.split('.').all(good)
    };
    if parts.next().is_some() || count > TAGS_MAX || ![python, abi, platform].into_iter().all(plain) {
        return None;
    }
    let mut tags = BTreeSet::new();
    for python in python.split('.') {
        for abi in abi.split('.') {
            tags.extend(platform.split('.').map(|platform| Tag {
                python: python.to_owned(),
                abi: abi.to_owned(),
                platform: platform.to_owned(),
            }));
        }
    }
    Some(tags)
}

/// Every tag of a file name `NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`; `None` where it is not one.
pub fn of_file_name(filename: &str) -> Option<BTreeSet<Tag>> {
    let stem = filename.strip_suffix(".whl")?;
    let parts: Vec<&str> = stem.split('-').collect();
    if !(5..=6).contains(&parts.len()) {
        return None;
    }
    expand(&parts[parts.len() - 3..].join("-"))
}

/// The tags of a file name that the `WHEEL` file does not bear out.
///
/// A name may promise less than `WHEEL` does. Of the platform it may also be more exact: `WHEEL` says `any` or
/// `linux_x86_64`, and whoever published the wheel named it `manylinux…_x86_64`, as real ones are (playwright's).
pub fn not_borne_out<'a>(name: &'a BTreeSet<Tag>, wheel: &BTreeSet<Tag>) -> Vec<&'a Tag> {
    let borne_out = |tag: &&Tag| {
        wheel.iter().any(|inside| {
            inside.python == tag.python && inside.abi == tag.abi && covers(&inside.platform, &tag.platform)
        })
    };
    name.iter().filter(|tag| !borne_out(tag)).collect()
}

fn covers(inside: &str, named: &str) -> bool {
    if inside == "any" || inside == named {
        return true;
    }
    matches!((glibc_machine(inside), glibc_machine(named)), (Some(inside), Some(named)) if inside == named)
}

/// The machine of a platform of Linux with the GNU C library: `x86_64` of `linux_x86_64`, `manylinux1_x86_64`,
/// `manylinux2014_x86_64` and `manylinux_2_17_x86_64`.
fn glibc_machine(platform: &str) -> Option<&str> {
    if let Some(machine) = platform.strip_prefix("linux_") {
        return Some(machine);
    }
    let (generation, machine) = platform.strip_prefix("manylinux")?.split_once('_')?;
    if !generation.is_empty() {
        return generation
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(machine);
    }
    let (major, rest) = machine.split_once('_')?;
    let (minor, machine) = rest.split_once('_')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(major) && number(minor)).then_some(machine)
}

/// Tags as they are shown, at most five.
pub fn shown<'a>(tags: impl Iterator<Item = &'a Tag>) -> String {
    let texts: Vec<String> = tags
        .take(5)
        .map(|tag| printable(tag.to_string().as_bytes()))
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(compressed: &[&str]) -> BTreeSet<Tag> {
        compressed.iter().flat_map(|one| expand(one).unwrap()).collect()
    }

    fn texts(tags: &BTreeSet<Tag>) -> Vec<String> {
        tags.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn compressed_sets_are_expanded() {
        assert_eq!(
            texts(&set(&["py2.py3-none-any"])),
            ["py2-none-any", "py3-none-any"]
        );
        assert_eq!(set(&["cp38.cp39-abi3.none-a.b.c"]).len(), 12);
        let many = vec!["a"; 100].join(".");
        for bad in [
            "",
            "py3",
            "py3-none",
            "py3-none-any-x",
            "py3--any",
            "py3-none-a..b",
            "py3-none-a b",
        ] {
            assert_eq!(expand(bad), None, "{bad}");
        }
        assert_eq!(expand(&format!("{many}-{many}-{many}")), None);
    }

    #[test]
    fn file_names_end_with_their_tags() {
        let tags = |name: &str| of_file_name(name).map(|tags| texts(&tags));
        assert_eq!(tags("a-1-py3-none-any.whl").unwrap(), ["py3-none-any"]);
        assert_eq!(
            tags("a_b-1.0-2build-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl").unwrap(),
            [
                "cp313-cp313-manylinux2014_x86_64",
                "cp313-cp313-manylinux_2_17_x86_64"
            ]
        );
        for bad in [
            "a-py3-none-any.whl",
            "a-1-py3-none-any.zip",
            "a-1-2-3-py3-none-any.whl",
        ] {
            assert_eq!(tags(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_name_may_promise_less_and_nothing_else() {
        let missing = |name: &str, wheel: &[&str]| {
            let name = of_file_name(&format!("a-1-{name}.whl")).unwrap();
            shown(not_borne_out(&name, &set(wheel)).into_iter())
        };
        for (name, wheel) in [
            ("py2.py3-none-any", ["py2-none-any", "py3-none-any"].as_slice()),
            ("py2.py3-none-any", &["py2.py3-none-any"]),
            ("py3-none-any", &["py2-none-any", "py3-none-any"]),
            ("py3-none-manylinux1_x86_64", &["py3-none-any"]),
            ("cp313-cp313-manylinux_2_28_x86_64", &["cp313-cp313-linux_x86_64"]),
            (
                "cp313-cp313-manylinux2014_x86_64",
                &["cp313-cp313-manylinux_2_17_x86_64"],
            ),
        ] {
            assert_eq!(missing(name, wheel), "", "{name}");
        }
        for (name, wheel, left) in [
            ("py2.py3-none-any", "py3-none-any", "py2-none-any"),
            ("py3-none-any", "cp313-cp313-win_amd64", "py3-none-any"),
            ("py3-none-any", "py3-none-linux_x86_64", "py3-none-any"),
            (
                "cp313-cp313-linux_x86_64",
                "cp312-cp312-linux_x86_64",
                "cp313-cp313-linux_x86_64",
            ),
            (
                "cp313-abi3-linux_x86_64",
                "cp313-cp313-linux_x86_64",
                "cp313-abi3-linux_x86_64",
            ),
            (
                "cp313-cp313-manylinux_2_17_x86_64",
                "cp313-cp313-manylinux_2_17_aarch64",
                "cp313-cp313-manylinux_2_17_x86_64",
            ),
            (
                "cp313-cp313-manylinux_2_17_x86_64",
                "cp313-cp313-musllinux_1_2_x86_64",
                "cp313-cp313-manylinux_2_17_x86_64",
            ),
        ] {
            assert_eq!(missing(name, &[wheel]), left, "{name} {wheel}");
        }
    }
}
