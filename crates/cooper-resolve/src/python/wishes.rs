//! What a request says about Python, in the form that the resolver works with.

use std::collections::BTreeMap;

use cooper_core::{PythonName, PythonRequirement};
use uv_pep440::VersionSpecifiers;
use uv_pep508::VersionOrUrl;

use super::metadata::Need;
use super::policy::Admission;
use super::target::Target;

/// The requirements of a request that hold on the target.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    /// In the request's order.
    pub(crate) needs: Vec<Need>,
    /// What they admit beyond the ordinary.
    pub(crate) admissions: BTreeMap<PythonName, Admission>,
    /// Requirements whose marker does not hold on the target.
    pub(crate) idle: Vec<String>,
}

impl Wishes {
    pub(crate) fn new(dependencies: &[PythonRequirement], target: &Target) -> Self {
        let mut wishes = Self {
            needs: vec![],
            admissions: BTreeMap::new(),
            idle: vec![],
        };
        for dependency in dependencies {
            let requirement = dependency.requirement();
            if !requirement.marker.evaluate(&target.markers, &[]) {
                wishes.idle.push(dependency.to_string());
                continue;
            }
            let specifiers = match &requirement.version_or_url {
                Some(VersionOrUrl::VersionSpecifier(specifiers)) => specifiers.clone(),
                Some(VersionOrUrl::Url(_)) | None => VersionSpecifiers::empty(),
            };
            let admission = wishes.admissions.entry(requirement.name.clone()).or_default();
            admission.exact.extend(dependency.exact_version().cloned());
            wishes.needs.push(Need {
                name: requirement.name.clone(),
                extras: requirement.extras.to_vec(),
                specifiers,
                marker: requirement.marker,
                url: false,
            });
        }
        wishes
    }

    /// What the request admits of a project.
    pub(crate) fn admission(&self, name: &PythonName) -> &Admission {
        static ORDINARY: Admission = Admission { exact: Vec::new() };
        self.admissions.get(name).unwrap_or(&ORDINARY)
    }

    /// The request names the project itself.
    pub(crate) fn names(&self, name: &PythonName) -> bool {
        self.admissions.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use cooper_core::Base;

    use super::*;

    #[test]
    fn markers_and_pins_are_seen() {
        let texts = [
            "a==1.0",
            "b>=2rc1",
            "c; sys_platform == 'win32'",
            "d[x]~=1.0",
            "e==1.*",
            "f>=1.dev0",
        ];
        let requirements: Vec<PythonRequirement> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let wishes = Wishes::new(&requirements, &Target::new(Base::Trixie).unwrap());
        let names: Vec<&str> = wishes.needs.iter().map(|need| need.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "d", "e", "f"]);
        let admission = |name: &str| wishes.admission(&name.parse().unwrap()).clone();
        assert_eq!(admission("a").exact, ["1.0".parse().unwrap()]);
        assert_eq!(admission("e"), Admission::default());
        assert_eq!(wishes.idle.len(), 1);
    }
}
