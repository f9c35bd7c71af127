//! What the image's interpreter and platform are: tags and markers, never those of the host.

use std::str::FromStr;
use std::sync::OnceLock;

use cooper_core::python::DistributionVersion;
use cooper_core::{Base, PythonName};
use uv_distribution_filename::WheelFilename;
use uv_pep508::{MarkerEnvironment, MarkerEnvironmentBuilder, StringVersion};
use uv_platform_tags::{Arch, Os, Platform, TagCompatibility, Tags, TagsOptions};

/// The interpreter and the platform of one base.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) base: Base,
    /// The interpreter's whole version, which `Requires-Python` and markers are compared with.
    pub(crate) python: DistributionVersion,
    tags: Tags,
    pub(crate) markers: MarkerEnvironment,
}

/// The whole version of a base's interpreter.
///
/// A stable release of Debian keeps its interpreter's patch level, so these are constants: 3.11.2 in
/// bookworm and 3.13.5 in trixie.
pub(crate) const fn python_full_version(base: Base) -> [u64; 3] {
    match base {
        Base::Bookworm => [3, 11, 2],
        Base::Trixie => [3, 13, 5],
    }
}

impl Target {
    /// The target of `base`; none if the tag and marker crates refuse a constant of ours.
    pub(crate) fn new(base: Base) -> Option<Self> {
        let (major, minor) = base.glibc();
        let python = (base.python().major, base.python().minor);
        let options = TagsOptions {
            manylinux_compatible: true,
            ..TagsOptions::default()
        };
        let platform = Platform::new(Os::Manylinux { major, minor }, Arch::X86_64);
        let tags = Tags::from_env(platform, python, "cpython", python, options).ok()?;
        let full = DistributionVersion::new(python_full_version(base));
        Some(Self {
            base,
            markers: markers(base, &full)?,
            python: full,
            tags,
        })
    }

    /// How well a wheel's tags fit; nothing if they do not.
    pub(crate) fn priority(&self, wheel: &WheelFilename) -> Option<TagCompatibility> {
        let compatibility = wheel.compatibility(&self.tags);
        compatibility.is_compatible().then_some(compatibility)
    }
}

fn markers(base: Base, full: &DistributionVersion) -> Option<MarkerEnvironment> {
    let environment = MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: "3",
        os_name: "posix",
        platform_machine: "x86_64",
        platform_python_implementation: "CPython",
        platform_release: "",
        platform_system: "Linux",
        platform_version: "",
        python_full_version: "3",
        python_version: "3",
        sys_platform: "linux",
    })
    .ok()?;
    let short = StringVersion::from_str(&base.python().to_string()).ok()?;
    let full = StringVersion::from_str(&full.to_string()).ok()?;
    Some(
        environment
            .with_python_version(short)
            .with_python_full_version(full.clone())
            .with_implementation_version(full),
    )
}

/// What [`wheel_fits`] compares with, for each base: thousands of tags, made once.
static TARGETS: [OnceLock<Option<Target>>; Base::ALL.len()] = [const { OnceLock::new() }; Base::ALL.len()];

/// Whether a wheel of this file name can be installed on `base`, as its tags say (PEP 425, PEP 600).
pub fn wheel_fits(filename: &str, base: Base) -> bool {
    let Ok(wheel) = WheelFilename::from_str(filename) else {
        return false;
    };
    let target = TARGETS.iter().zip(Base::ALL).find(|(_, known)| *known == base);
    let target = target.and_then(|(target, _)| target.get_or_init(|| Target::new(base)).as_ref());
    target.is_some_and(|target| target.priority(&wheel).is_some())
}

/// Whether a wheel of this file name is of that distribution and version.
pub fn wheel_is(filename: &str, name: &PythonName, version: &DistributionVersion) -> bool {
    WheelFilename::from_str(filename).is_ok_and(|wheel| wheel.name == *name && wheel.version == *version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_fit_or_do_not() {
        let table = [
            ("a-1-py3-none-any.whl", true, true),
            ("a-1-py2.py3-none-any.whl", true, true),
            ("a-1-py2-none-any.whl", false, false),
            (
                "a-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
                true,
                false,
            ),
            ("a-1-cp311-cp311-manylinux_2_36_x86_64.whl", false, true),
            ("a-1-cp311-cp311-manylinux_2_37_x86_64.whl", false, false),
            ("a-1-cp313-cp313-manylinux_2_41_x86_64.whl", true, false),
            ("a-1-cp313-cp313-manylinux_2_42_x86_64.whl", false, false),
            ("a-1-cp39-abi3-manylinux1_x86_64.whl", true, true),
            ("a-1-cp312-abi3-manylinux1_x86_64.whl", true, false),
            ("a-1-cp313-cp313t-manylinux_2_17_x86_64.whl", false, false),
            ("a-1-cp313-cp313-musllinux_1_2_x86_64.whl", false, false),
            ("a-1-cp313-cp313-manylinux_2_17_aarch64.whl", false, false),
            ("a-1-cp313-cp313-win_amd64.whl", false, false),
            ("a-1-cp313-cp313-linux_x86_64.whl", true, false),
            ("a-1.tar.gz", false, false),
            ("nonsense", false, false),
            ("", false, false),
        ];
        for (filename, trixie, bookworm) in table {
            assert_eq!(wheel_fits(filename, Base::Trixie), trixie, "{filename} on trixie");
            assert_eq!(
                wheel_fits(filename, Base::Bookworm),
                bookworm,
                "{filename} on bookworm"
            );
        }
    }

    #[test]
    fn markers_are_those_of_the_target() {
        let target = Target::new(Base::Trixie).unwrap();
        let holds = |marker: &str| {
            uv_pep508::MarkerTree::from_str(marker)
                .unwrap()
                .evaluate(&target.markers, &[])
        };
        assert!(holds(
            "python_version == '3.13' and python_full_version >= '3.13.5'"
        ));
        assert!(holds(
            "sys_platform == 'linux' and os_name == 'posix' and platform_machine == 'x86_64'"
        ));
        assert!(holds(
            "implementation_name == 'cpython' and platform_python_implementation == 'CPython'"
        ));
        assert!(!holds("sys_platform == 'win32' or python_version < '3.13'"));
    }
}
