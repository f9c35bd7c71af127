//! What is judged: packages that would be asked for, an image, a lock, or what an SBOM lists.

use std::path::PathBuf;

use clap::Args;
use cooper_core::requirements::Requirements;
use cooper_core::{Base, ImageName, Request};
use cooperage::{Checked, Workshop};

use crate::command::check_lists;
use crate::command::create::{Terms, read_lock, read_requirements, settings};
use crate::command::inspect::{parse_image_name, parse_reference};
use crate::failure::{Code, Failure};
use crate::render::unit;
use crate::shell::{Need, Shell, open_workshop};

/// An image that is only judged has a name that no other has a reason to have.
const NO_NAME: &str = "unnamed";

/// What is judged, and by which rules.
#[derive(Debug, Args)]
pub(crate) struct Subject {
    /// Python requirements in pip's file format (`-`: standard input); may be repeated
    #[arg(long, short, value_name = "FILE")]
    pub(crate) requirements: Vec<PathBuf>,
    /// Debian packages, separated by commas
    #[arg(long, short, value_name = "LIST")]
    packages: Vec<String>,
    /// What the packages would stand on, as in `cooper create`
    #[arg(long, value_name = "BASE", conflicts_with_all = ["image", "lock"])]
    base: Option<String>,
    /// Judge an image that is in the store, by what is known now
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["requirements", "packages", "lock"])]
    pub(crate) image: Option<String>,
    /// Judge a lock file (`-`: standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["requirements", "packages"])]
    pub(crate) lock: Option<PathBuf>,
    /// Judge what an SBOM lists: `CycloneDX` or SPDX 2 in JSON (`-`: standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["requirements", "packages", "image", "lock"])]
    pub(crate) sbom: Option<PathBuf>,
    /// The image's name, for what the policy says of it
    #[arg(long, value_name = "NAME", conflicts_with = "image")]
    name: Option<String>,
    #[command(flatten)]
    pub(crate) terms: Terms,
}

impl Subject {
    /// The name of the image for which it is judged.
    pub(crate) fn name(&self) -> Result<Option<ImageName>, Failure> {
        self.name.as_deref().map(parse_image_name).transpose()
    }

    /// The verdict on an image as it was when it was made.
    pub(crate) fn judge_as_then(&self, image: &str, shell: &Shell) -> Result<Checked, Failure> {
        let reference = parse_reference(image)?;
        let workshop = open_workshop(&settings(&self.terms, shell)?, Need::Lock)?;
        let checked = workshop.check_image_as_judged(&reference)?;
        checked.ok_or_else(|| {
            Failure::new(
                Code::Usage,
                format!("`{reference}` has no verdict that could be made again"),
            )
            .hint("without `--as-judged` it is judged by what is known now".to_owned())
        })
    }

    /// The verdict on it; `words` are Python requirements beside.
    pub(crate) fn judge(&self, words: &[String], shell: &Shell) -> Result<(Workshop, Checked), Failure> {
        let settings = settings(&self.terms, shell)?;
        let name = self.name()?;
        if let Some(image) = &self.image {
            let reference = parse_reference(image)?;
            let workshop = open_workshop(&settings, Need::Lock)?;
            let checked = workshop.check_image(&reference)?;
            return Ok((workshop, checked));
        }
        if let Some(file) = &self.lock {
            let lock = read_lock(file)?;
            let workshop = open_workshop(&settings, Need::Lock)?;
            let checked = workshop.check_lock(&lock, name.as_ref())?;
            return Ok((workshop, checked));
        }
        if let Some(file) = &self.sbom {
            let sbom = check_lists::read_sbom(file)?;
            if !sbom.others.is_empty() {
                let count = unit::count(sbom.others.len() as u64, "package");
                shell.note(
                    "note",
                    &format!(
                        "{count} of the SBOM are neither of Python nor of Debian, or have no package URL: not judged"
                    ),
                );
            }
            let workshop = open_workshop(&settings, Need::Store)?;
            let checked = workshop.check_sbom(sbom, name.as_ref())?;
            return Ok((workshop, checked));
        }
        let request = self.request(words, name, settings.base()?)?;
        let refresh = self.terms.refresh();
        let workshop = open_workshop(&settings, Need::Sources { refresh })?;
        let display = shell.progress();
        let checked = workshop.check_request(&request, &display.sink());
        display.finish();
        Ok((workshop, checked?))
    }

    fn request(&self, words: &[String], name: Option<ImageName>, base: Base) -> Result<Request, Failure> {
        let mut pairs = vec![("name".to_owned(), NO_NAME.to_owned())];
        for (argument, words) in [("dependencies", words), ("packages", &self.packages)] {
            if !words.is_empty() {
                pairs.push((argument.to_owned(), words.join(",")));
            }
        }
        pairs.extend(self.base.clone().map(|base| ("base".to_owned(), base)));
        let mut words = cooperage::chat::parse_words(pairs)?;
        for file in &self.requirements {
            let requirements: Requirements = read_requirements(file)?;
            words.add(requirements)?;
        }
        words.name = name.unwrap_or(words.name);
        Ok(words.request(base)?)
    }
}
