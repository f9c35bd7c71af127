//! What a long operation tells while it works. Libraries send events; the binary renders them.

use std::fmt;
use std::sync::Arc;

/// The steps of a create, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Reading indexes and choosing versions.
    Resolve,
    /// Fetching artefacts.
    Download,
    /// Building a wheel from sources.
    Build,
    /// Unpacking archives to trees.
    Unpack,
    /// Running maintainer scripts.
    Configure,
    /// Writing layers, configuration and manifest.
    Pack,
    /// Hashing what the store holds (fsck; no step of a create).
    Check,
    /// Copying images to or from an archive (save, load; no step of a create).
    Copy,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A stage began; `items` and `bytes` are its totals where they are known, else 0.
    Started {
        /// Which stage.
        stage: Stage,
        /// How many things it will work on.
        items: u64,
        /// How many bytes it will move.
        bytes: u64,
    },
    /// A stage moved on by this much.
    Advanced {
        /// Which stage.
        stage: Stage,
        /// More things done.
        items: u64,
        /// More bytes moved.
        bytes: u64,
    },
    /// What a stage works on now, for the eye only.
    Detail {
        /// Which stage.
        stage: Stage,
        /// For example a package's name.
        text: String,
    },
    /// A stage is done.
    Finished {
        /// Which stage.
        stage: Stage,
    },
    /// Something that the user should see even when all went well.
    Warning {
        /// One sentence.
        text: String,
    },
}

/// Where events go. Cheap to clone; silent by default.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl Progress {
    /// Send every event to `sink`.
    pub fn to(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(sink)))
    }

    /// Send every event nowhere.
    pub fn silent() -> Self {
        Self::default()
    }

    /// Send one event.
    pub fn send(&self, event: Event) {
        if let Some(sink) = &self.0 {
            sink(event);
        }
    }

    /// Say that `stage` began.
    pub fn started(&self, stage: Stage, items: u64, bytes: u64) {
        self.send(Event::Started { stage, items, bytes });
    }

    /// Say that `stage` moved on.
    pub fn advanced(&self, stage: Stage, items: u64, bytes: u64) {
        self.send(Event::Advanced { stage, items, bytes });
    }

    /// Say what `stage` works on now.
    pub fn detail(&self, stage: Stage, text: impl Into<String>) {
        if self.0.is_some() {
            self.send(Event::Detail {
                stage,
                text: text.into(),
            });
        }
    }

    /// Say that `stage` is done.
    pub fn finished(&self, stage: Stage) {
        self.send(Event::Finished { stage });
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() {
            "Progress(sink)"
        } else {
            "Progress(silent)"
        })
    }
}
