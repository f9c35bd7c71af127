//! The workshop: the whole pipeline behind one type, [`Workshop`], with one method for each verb.
//!
//! The command line, the chat line and (later) the API are doors to the same methods. This crate prints
//! nothing, parses no arguments and knows no HTTP; what it returns is rendered by the doors.

pub mod chat;
pub mod create;
pub mod fsck;
pub mod images;
pub mod inspect;
pub mod record;
pub mod run;
pub mod workshop;

pub use create::{Change, CreateError, Created};
pub use images::{ImageQuery, ImageSort, ImageSummary, PackageQuery};
pub use inspect::Inspection;
pub use record::{FullReference, ImageRecord};
pub use run::{RunError, RunOrder};
pub use workshop::{OpenError, Workshop, WorkshopConfig};
