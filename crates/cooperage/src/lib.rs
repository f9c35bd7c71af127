//! The workshop: the whole pipeline behind one type, [`Workshop`], with one method for each verb.
//!
//! The command line, the chat line and (later) the API are doors to the same methods. This crate prints
//! nothing, parses no arguments and knows no HTTP; what it returns is rendered by the doors.

pub mod advisories;
mod artefacts;
pub mod base_image;
pub mod change;
pub mod chat;
pub mod check;
mod code;
pub mod create;
mod debian_facts;
pub mod doctor;
pub mod dry_run;
pub mod due_diligence;
pub mod explain_licence;
pub mod first_seen;
mod fsck;
pub mod images;
pub mod inspect;
mod libraries;
pub mod load;
mod metadata;
#[doc(hidden)]
pub mod outside;
mod package_query;
mod packages;
pub mod record;
mod reload;
pub mod remove;
pub mod requirements_file;
pub mod run;
pub mod runner;
pub mod save;
pub mod sbom;
mod side_by_side;
mod sources;
pub mod standing;
mod summary;
mod trees;
pub mod update;
pub mod usage;
pub mod waivers;
pub mod workshop;

pub use cooper_gate as gate;
pub use cooper_image::archive::ArchiveFormat;
pub use cooper_image::{Inventory, InventoryBelow, InventoryPackage, Scripts, SourceLimits};
pub use cooper_resolve::address::public as public_address;
pub use cooper_resolve::python::default_index as default_python_index;
pub use cooper_resolve::{DebianSource, Freshness, Sources};
pub use cooper_sandbox::warm::keep;
pub use cooper_sandbox::{
    BecomeRootError, Caller, Check, Cleaner, Collected, End, Enforced, Enforcement, Enforcer, GatewayProgram,
    Lacking, Limit, Limits, Network, NetworkReport, Outcome, Refused, Runtime, RuntimeProgram, SelfTestError,
    State, become_root, before_interrupt, inside, remedy, self_test, serve_gateway, survey,
};
pub use cooper_store::{
    CredentialHelper, Credentials, DiskUse, Fault, FsckError, FsckReport, GcError, GcReport, IntakeConfig,
    Note, Place, Proxies,
};

pub use advisories::{
    AdvisoriesStatus, AdvisoriesUpdate, EvidenceError, EvidenceFrom, EvidenceKind, EvidencePart,
    FailedSource, GateEvidence, MissingEvidence, PartOrigin, SourceFault, SourceOutcome,
    UpdateAdvisoriesError, UpdatedSource,
};
pub use artefacts::UnreadArtefacts;
pub use base_image::BaseImageError;
pub use change::Change;
pub use check::{Checked, ListChecked, NameChecked, VersionChecked};
pub use create::{CreateError, Created};
pub use dry_run::DryRun;
pub use due_diligence::DiligenceError;
pub use explain_licence::LicenceExplained;
pub use images::{ImageQuery, ImageSort, ImageSummary};
pub use inspect::{Difference, InspectError, Inspection, PackageOrigin};
pub use load::{LoadError, LoadedImage, NewName};
pub use package_query::PackageQuery;
pub use record::{FullReference, ImageRecord};
pub use remove::Retention;
pub use requirements_file::RequirementsFileError;
pub use run::{
    ConnectionsReport, GrantError, OUTPUT_FILES_MAX, OutputFolder, Program, RESULT_BYTES_MAX, Ran,
    ResultError, RunError, RunGrants, RunOrder, RunReport, read_result,
};
pub use runner::{NotRun, Peer, ReplyLimits, Runner, TemplatePolicy, Ticket};
pub use save::{SaveError, Saved, SavedVersion};
pub use sbom::{Sbom, SbomError};
pub use sources::SourceError;
pub use standing::{RemoveError, Standing};
pub use trees::TreeError;
pub use update::{UpdateOutcome, Updated};
pub use usage::{ImageUse, Usage};
pub use waivers::{Held, NewWaiver, Waivable, WaiverError, WaiverState};
pub use workshop::{LookupError, OpenError, Workshop, WorkshopConfig};
