//! Programs of the tree that a build step finds covered by faster equivalents.
//!
//! The shipped program stays in reach, below [`SHIPPED`], for whatever the equivalent does not do itself.

use std::io;

use cooper_core::Digest;

use crate::dpkg::NewPackage;
use crate::tree_files::TreeFiles;

const FRONTEND: &str = "/usr/share/debconf/frontend";
const SYSTEMD_HELPER: &str = "/usr/bin/deb-systemd-helper";
/// The one text of Debian 12 and 13 that our equivalent was made after.
const SYSTEMD_HELPER_SHA256: &str = "a895d5f077651960b6ca4ed9c53f8b36eae422ae170f61c972d0c6579e9f8732";
/// Where the shipped programs are while they are covered.
const SHIPPED: &str = "/run/cooper/shipped";
const PROGRAM_BYTES_MAX: u64 = 1 << 20;

/// Runs a step's program and the frontends that its scripts ask for.
const FRONTENDS: (&str, &str) = (
    "/run/cooper/debconf-frontends.pl",
    include_str!("debconf-frontends.pl"),
);

/// The files with which a build step is run.
#[derive(Debug, Clone, Default)]
pub(crate) struct FastPrograms {
    files: Vec<(String, Vec<u8>)>,
    frontends: bool,
}

impl FastPrograms {
    /// What is known for the programs of this tree, for a step that runs the scripts of these packages.
    pub(crate) fn new(tree: &TreeFiles, packages: &[NewPackage]) -> io::Result<Self> {
        let mut known = Self::default();
        if let Some(shipped) = tree.read(SYSTEMD_HELPER, PROGRAM_BYTES_MAX)?
            && Digest::of(&shipped).hex() == SYSTEMD_HELPER_SHA256
        {
            let name = "deb-systemd-helper";
            known.cover(
                SYSTEMD_HELPER,
                include_str!("deb-systemd-helper.sh"),
                name,
                shipped,
            );
        }
        if packages.iter().filter(|package| asks_debconf(package)).count() > 1
            && let Some(shipped) = tree.read(FRONTEND, PROGRAM_BYTES_MAX)?
        {
            let name = "debconf-frontend";
            known.cover(FRONTEND, include_str!("debconf-frontend.sh"), name, shipped);
            known
                .files
                .push((FRONTENDS.0.to_owned(), FRONTENDS.1.as_bytes().to_vec()));
            known.frontends = true;
        }
        Ok(known)
    }

    fn cover(&mut self, program: &str, by: &str, name: &str, shipped: Vec<u8>) {
        self.files.push((program.to_owned(), by.as_bytes().to_vec()));
        self.files.push((format!("{SHIPPED}/{name}"), shipped));
    }

    /// The files: path in the build sandbox and content. Outside `/run/cooper` they cover what is there.
    pub(crate) fn files(&self) -> &[(String, Vec<u8>)] {
        &self.files
    }

    /// A line of a shell program after which it goes on as a child of what runs the frontends, with `inner` as its
    /// argument.
    pub(crate) fn entrance(&self) -> String {
        if self.frontends {
            format!("[ \"${{1-}}\" = inner ] || exec perl {}\n", FRONTENDS.0)
        } else {
            String::new()
        }
    }
}

fn asks_debconf(package: &NewPackage) -> bool {
    let module = b"/usr/share/debconf/confmodule";
    let scripts = ["preinst", "postinst"].into_iter();
    let mut texts = scripts.filter_map(|script| package.members.get(script));
    texts.any(|text| text.windows(module.len()).any(|window| window == module))
}
