//! What the names gate can say.

use serde::{Serialize, Serializer};

/// The stable name of what was noticed about a name. A code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameCode {
    /// A letter or two differ from a known name.
    Lookalike,
    /// Characters that look like those of a known name.
    Confusable,
    /// The words of a known name, with others added, joined, separated or in another order.
    Words,
    /// A known name with `python`, `py` or a number more, less or elsewhere.
    Affix,
    /// A module of the standard library, or nearly.
    Stdlib,
    /// What is imported, where the distribution has another name.
    Import,
    /// A brand, or nearly.
    Brand,
    /// A name out of documentation that stands for one's own.
    Placeholder,
    /// No name at all.
    Invalid,
}

impl NameCode {
    /// Every code, for documentation and tests.
    pub const ALL: [Self; 9] = [
        Self::Lookalike,
        Self::Confusable,
        Self::Words,
        Self::Affix,
        Self::Stdlib,
        Self::Import,
        Self::Brand,
        Self::Placeholder,
        Self::Invalid,
    ];

    /// The code as it is shown and serialised.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lookalike => "NAMES-LOOKALIKE",
            Self::Confusable => "NAMES-CONFUSABLE",
            Self::Words => "NAMES-WORDS",
            Self::Affix => "NAMES-AFFIX",
            Self::Stdlib => "NAMES-STDLIB",
            Self::Import => "NAMES-IMPORT",
            Self::Brand => "NAMES-BRAND",
            Self::Placeholder => "NAMES-PLACEHOLDER",
            Self::Invalid => "NAMES-INVALID",
        }
    }

    /// What it means, why it matters and what to do, in two or three sentences.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Lookalike => {
                "The name differs from a popular distribution's by a slip of the fingers or a letter or two. \
                 Such names are registered to be installed by mistake, and what they install runs with the script's \
                 rights. Correct the name to the target that is shown; if the other one is really meant, look at \
                 its project page and waive the finding with the reason."
            }
            Self::Confusable => {
                "The name has characters that look like those of a popular distribution: letters of other alphabets, \
                 or combinations such as `rn` for `m`. No honest distribution needs them. Type the target's name by \
                 hand; do not copy it from where this one came from."
            }
            Self::Words => {
                "The name has the words of a popular distribution, with a word added or left out, joined or separated \
                 differently, or in another order. It is easily taken for the original or an edition of it, which it \
                 is not. Use the target that is shown, or waive the finding after looking at who publishes this one."
            }
            Self::Affix => {
                "The name is a popular distribution's with `python`, `py` or a number added, left out or moved. People \
                 guess such names, and others register what is guessed. Use the target that is shown, or waive the \
                 finding after looking at who publishes this one."
            }
            Self::Stdlib => {
                "The name is, or nearly is, a module of Python's standard library, which needs no installation. A \
                 distribution of that name is a trap, or a backport for a Python of long ago. Remove it from the \
                 dependencies; for a backport that is really needed, waive the finding."
            }
            Self::Import => {
                "The name is what scripts import, and the distribution that provides it has another name. Whoever has \
                 registered the import name gets the installations of those who confuse the two. Ask for the \
                 distribution that is shown; a note only informs, because a real, old distribution has this name."
            }
            Self::Brand => {
                "The name is made of a well-known product's or company's name, or nearly so, and is no popular \
                 distribution. Impostors call themselves so, to be found by those who search for the brand's own \
                 library. Look up the name in the brand's documentation and use that, or waive the finding with what \
                 you found."
            }
            Self::Placeholder => {
                "The name is what documentation writes where the reader has to put a name. Somebody may have \
                 registered it for those who copy the line as it is. Replace it with the distribution that you need."
            }
            Self::Invalid => {
                "The text is no name of a distribution: PEP 508 allows ASCII letters, digits, `-`, `_` and `.`, with a \
                 letter or digit at both ends. No index can have it, so that it is a mistake or an attempt to hide \
                 something. Correct it."
            }
        }
    }
}

impl Serialize for NameCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
