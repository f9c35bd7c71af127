//! What a request says about Python, in the form that the resolver works with.

use std::collections::BTreeMap;

use cooper_core::{PythonName, PythonRequirement};
use uv_pep440::VersionSpecifiers;
use uv_pep508::VersionOrUrl;

use super::Asked;
use super::installed::Installed;
use super::metadata::Need;
use super::policy::Admission;
use super::target::Target;

/// The requirements of a request that hold on the target.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    /// In the request's order.
    pub(crate) needs: Vec<Need>,
    /// What bounds versions without asking for anything.
    pub(crate) constraints: Vec<Need>,
    /// Everything that is chosen must have a hash in the request.
    pub(crate) hashed: bool,
    /// What they admit beyond the ordinary.
    pub(crate) admissions: BTreeMap<PythonName, Admission>,
    /// What the base has.
    pub(crate) installed: BTreeMap<PythonName, Installed>,
    /// Requirements whose marker does not hold on the target.
    pub(crate) idle: Vec<String>,
}

impl Wishes {
    pub(crate) fn new(asked: &Asked<'_>, target: &Target) -> Self {
        let mut wishes = Self {
            needs: vec![],
            constraints: vec![],
            hashed: !asked.hashes.is_empty(),
            admissions: BTreeMap::new(),
            installed: asked
                .installed
                .iter()
                .map(|one| (one.planned.name.clone(), Installed::new(one)))
                .collect(),
            idle: vec![],
        };
        let holds = |dependency: &&PythonRequirement| {
            let marker = dependency.requirement().marker;
            marker.evaluate(&target.markers, &[])
        };
        for dependency in asked.dependencies {
            if holds(&dependency) {
                wishes.admit(asked, dependency);
                wishes.needs.push(need(dependency));
            } else {
                wishes.idle.push(dependency.to_string());
            }
        }
        for constraint in asked.constraints.iter().filter(holds) {
            wishes.admit(asked, constraint);
            let need = need(constraint);
            let admission = wishes.admissions.entry(need.name.clone()).or_default();
            admission.bounds.push(need.specifiers.clone());
            wishes.constraints.push(need);
        }
        wishes
    }

    /// Pins and hashes count whether they stand at a dependency or at a constraint. As in pip, a file must be among
    /// the hashes of each line that holds and has some.
    fn admit(&mut self, asked: &Asked<'_>, line: &PythonRequirement) {
        let admission = self.admissions.entry(line.name().clone()).or_default();
        admission.exact.extend(line.exact_version().cloned());
        if let Some(hashes) = asked.hashes.get(line) {
            admission.hashes = Some(match admission.hashes.take() {
                None => hashes.clone(),
                Some(known) => &known & hashes,
            });
        }
    }

    /// What the request admits of a project.
    pub(crate) fn admission(&self, name: &PythonName) -> &Admission {
        static ORDINARY: Admission = Admission::ORDINARY;
        self.admissions.get(name).unwrap_or(&ORDINARY)
    }

    /// The request asks for the project itself.
    pub(crate) fn names(&self, name: &PythonName) -> bool {
        self.needs.iter().any(|need| &need.name == name)
    }

    /// What the request says of a project's versions, whether it asks for it or not.
    pub(crate) fn said_of<'a>(&'a self, name: &'a PythonName) -> impl Iterator<Item = &'a Need> {
        let all = self.needs.iter().chain(&self.constraints);
        all.filter(move |need| &need.name == name)
    }
}

fn need(line: &PythonRequirement) -> Need {
    let requirement = line.requirement();
    let specifiers = match &requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => specifiers.clone(),
        Some(VersionOrUrl::Url(_)) | None => VersionSpecifiers::empty(),
    };
    Need {
        name: requirement.name.clone(),
        extras: requirement.extras.to_vec(),
        specifiers,
        marker: requirement.marker,
        url: false,
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
        let asked = Asked::plain(Base::Trixie, &requirements);
        let wishes = Wishes::new(&asked, &Target::new(Base::Trixie).unwrap());
        let names: Vec<&str> = wishes.needs.iter().map(|need| need.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "d", "e", "f"]);
        let admission = |name: &str| wishes.admission(&name.parse().unwrap()).clone();
        assert_eq!(admission("a").exact, ["1.0".parse().unwrap()]);
        assert_eq!(admission("e"), Admission::default());
        assert_eq!(wishes.idle.len(), 1);
    }
}
