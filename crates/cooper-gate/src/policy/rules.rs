//! The rules that are in force: one table for each gate, each key with its default, its meaning, and the direction in
//! which it is tighter.

use std::collections::{BTreeMap, BTreeSet};

use cooper_core::{Effect, Severity};
use serde::{Deserialize, Serialize};

use crate::licences::LicenceRules;

/// What a gate that could not judge does to a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unjudged {
    /// The image is made, and marked as not judged.
    Mark,
    /// There is no image (exit 4).
    Refuse,
}

/// A key of `policy.toml` with its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDoc {
    /// `age.days_min`
    pub key: &'static str,
    /// One sentence or more.
    pub meaning: &'static str,
}

/// In which direction a key is tighter: whether a value is at least as tight as another one, and the tighter of both.
mod direction {
    /// More is tighter.
    pub(super) mod higher {
        pub(in super::super) fn is<T: PartialOrd>(new: &T, old: &T) -> bool {
            new >= old
        }

        pub(in super::super) fn tighter<T: PartialOrd + Clone>(new: &T, old: &T) -> T {
            if is(new, old) { new.clone() } else { old.clone() }
        }
    }

    /// Less is tighter.
    pub(super) mod lower {
        pub(in super::super) fn is<T: PartialOrd>(new: &T, old: &T) -> bool {
            new <= old
        }

        pub(in super::super) fn tighter<T: PartialOrd + Clone>(new: &T, old: &T) -> T {
            if is(new, old) { new.clone() } else { old.clone() }
        }
    }

    /// A threshold from which something holds, or a number of years after which something is said: less is tighter, and 0
    /// means never.
    pub(super) mod sooner {
        pub(in super::super) fn is<T: PartialOrd + Default>(new: &T, old: &T) -> bool {
            let never = T::default();
            *old == never || *new != never && new <= old
        }

        pub(in super::super) fn tighter<T: PartialOrd + Default + Clone>(new: &T, old: &T) -> T {
            if is(new, old) { new.clone() } else { old.clone() }
        }
    }

    /// Fewer are tighter.
    pub(super) mod subset {
        use std::collections::BTreeSet;

        pub(in super::super) fn is<T: Ord>(new: &BTreeSet<T>, old: &BTreeSet<T>) -> bool {
            new.is_subset(old)
        }

        pub(in super::super) fn tighter<T: Ord + Clone>(new: &BTreeSet<T>, old: &BTreeSet<T>) -> BTreeSet<T> {
            new & old
        }
    }

    /// More are tighter.
    pub(super) mod superset {
        use std::collections::BTreeSet;

        pub(in super::super) fn is<T: Ord>(new: &BTreeSet<T>, old: &BTreeSet<T>) -> bool {
            new.is_superset(old)
        }

        pub(in super::super) fn tighter<T: Ord + Clone>(new: &BTreeSet<T>, old: &BTreeSet<T>) -> BTreeSet<T> {
            new | old
        }
    }
}

use direction::{higher, lower, sooner, subset, superset};

macro_rules! tables {
    ($($(#[doc = $about:literal])+ $table:ident: $rules:ident / $partial:ident {
        $($(#[doc = $meaning:literal])+ $key:ident: $type:ty = $default:expr, $tighter:ident;)+
    })+) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, PartialEq, Serialize)]
            pub struct $rules {
                $($(#[doc = $meaning])+ pub $key: $type,)+
            }

            impl Default for $rules {
                fn default() -> Self {
                    Self { $($key: $default,)+ }
                }
            }

            /// What a part of the file says of them.
            #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(super) struct $partial {
                $(pub(super) $key: Option<$type>,)+
            }

            impl $rules {
                fn apply(&mut self, said: &$partial) {
                    $(if let Some(value) = &said.$key {
                        self.$key = value.clone();
                    })+
                }

                /// What is said counts where it is tighter.
                fn tighten(&mut self, said: &$partial) {
                    $(if let Some(value) = &said.$key {
                        self.$key = $tighter::tighter(value, &self.$key);
                    })+
                }

                /// The first key that is looser here than there.
                fn looser_than(&self, other: &Self) -> Option<&'static str> {
                    $(if !$tighter::is(&self.$key, &other.$key) {
                        return Some(concat!(stringify!($table), ".", stringify!($key)));
                    })+
                    None
                }
            }
        )+

        /// Every rule that is in force for one image under one profile.
        #[derive(Debug, Clone, Default, PartialEq, Serialize)]
        pub struct Rules {
            $($(#[doc = $about])+ pub $table: $rules,)+
        }

        /// What a part of the file says: the whole file, a profile, or an image.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct Said {
            $(#[serde(default)] pub(super) $table: $partial,)+
        }

        /// A policy file as it is written.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct File {
            pub(super) profile: Option<String>,
            #[serde(default)]
            pub(super) profiles: BTreeMap<String, Said>,
            #[serde(default)]
            pub(super) images: BTreeMap<String, Said>,
            $(#[serde(default)] $table: $partial,)+
        }

        impl File {
            /// What it says for every profile.
            pub(super) fn said(&self) -> Said {
                Said { $($table: self.$table.clone(),)+ }
            }
        }

        impl Rules {
            pub(super) fn apply(&mut self, said: &Said) {
                $(self.$table.apply(&said.$table);)+
            }

            pub(super) fn tighten(&mut self, said: &Said) {
                $(self.$table.tighten(&said.$table);)+
            }

            /// The first key that is looser here than there.
            pub(super) fn looser_than(&self, other: &Self) -> Option<&'static str> {
                None$(.or_else(|| self.$table.looser_than(&other.$table)))+
            }
        }

        /// Every key with its meaning, in the order of the file.
        pub const KEYS: &[KeyDoc] = &[$($(KeyDoc {
            key: concat!(stringify!($table), ".", stringify!($key)),
            meaning: concat!($($meaning),+).trim_ascii_start(),
        },)+)+];
    };
}

tables! {
    /// Known vulnerabilities.
    vulnerabilities: VulnerabilityRules / VulnerabilitySaid {
        /// From which severity on a vulnerable Python distribution is held: low, medium, high or critical.
        hold_from: Severity = Severity::High, lower;
        /// What a vulnerability from that severity on does while no version fixes it: note, hold or refuse.
        unfixed: Effect = Effect::Hold, higher;
        /// The same as `hold_from` for Debian's packages, by Debian's own data.
        debian_hold_from: Severity = Severity::High, lower;
        /// The same as `unfixed` for Debian's packages: what the suite has no fix for cannot be had otherwise.
        debian_unfixed: Effect = Effect::Note, higher;
        /// What a vulnerability on the list of those known to be exploited does, whatever its severity.
        known_exploited: Effect = Effect::Hold, higher;
        /// The probability of exploitation (EPSS, 0 to 1) from which on a vulnerability is held, whatever its severity;
        /// 0: never.
        epss_hold_from: f64 = 0.5, sooner;
    }
    /// Look-alikes.
    names: NameRules / NameSaid {
        /// What a look-alike that the request itself names does.
        direct: Effect = Effect::Hold, higher;
        /// What a look-alike that is only needed by something else does.
        transitive: Effect = Effect::Note, higher;
        /// Names that are known to be meant.
        allow: BTreeSet<String> = BTreeSet::new(), subset;
    }
    /// How old a Python release must be.
    age: AgeRules / AgeSaid {
        /// A release younger than so many days is held, unless it fixes a vulnerability of what would be taken instead.
        days_min: u32 = 7, higher;
        /// Distributions that may be younger: your own, for example.
        exempt: BTreeSet<String> = BTreeSet::new(), subset;
        /// After how many years without a release a project is noted as unmaintained; 0: never.
        unmaintained_years: u32 = 3, sooner;
    }
    /// What an artefact is made of, and how.
    provenance: ProvenanceRules / ProvenanceSaid {
        /// What a distribution does that has no wheel, so that its own code is run to build one: held, it is not run.
        built_here: Effect = Effect::Note, higher;
        /// What a `.pth` file does that runs code whenever Python starts.
        startup_code: Effect = Effect::Hold, higher;
        /// What native code does in a wheel that says that it is pure Python.
        native_in_pure: Effect = Effect::Hold, higher;
    }
    /// Licences, as SPDX names.
    licences: LicencePolicy / LicenceSaid {
        /// Licences of Python libraries that are accepted beside the permissive ones.
        python_allow: BTreeSet<String> = BTreeSet::new(), subset;
        /// Licences of Python libraries that are not accepted though they are permissive; `*` for all that are accepted
        /// without a policy.
        python_deny: BTreeSet<String> = BTreeSet::new(), superset;
        /// What a Python library does whose licence is not accepted: note, hold or refuse.
        python_denied: Effect = Effect::Hold, higher;
        /// What a Python library does whose licence is missing, unknown, unsure or contradictory.
        python_doubtful: Effect = Effect::Hold, higher;
        /// Licences of Debian's packages that are accepted beside the SPDX list's.
        debian_allow: BTreeSet<String> = BTreeSet::new(), subset;
        /// Licences of Debian's packages that are not accepted; `*` for all that are accepted without a policy.
        debian_deny: BTreeSet<String> = BTreeSet::new(), superset;
        /// What a Debian package does whose licence is not accepted: note, hold or refuse.
        debian_denied: Effect = Effect::Hold, higher;
        /// What a Debian package does that has no copyright file, or an empty one.
        debian_missing: Effect = Effect::Hold, higher;
        /// What a package of the base's own archive does whose licence is unknown or unsure: its main section, the only
        /// one that is used, takes free licences alone.
        debian_doubtful: Effect = Effect::Note, higher;
        /// The same for packages of other sources (`[[debian.source]]`).
        debian_doubtful_elsewhere: Effect = Effect::Hold, higher;
    }
    /// What the gates judge by.
    evidence: EvidenceRules / EvidenceSaid {
        /// Advisories older than so many days say nothing any more.
        days_max: u32 = 7, lower;
        /// What happens where a gate could not judge: mark (the image is made, and marked) or refuse.
        unjudged: Unjudged = Unjudged::Mark, higher;
    }
    /// Packages by name.
    packages: PackageRules / PackageSaid {
        /// Packages that are never taken: `python:NAME`, `debian:NAME`.
        deny: BTreeSet<String> = BTreeSet::new(), superset;
    }
}

impl LicencePolicy {
    /// The rules for Python libraries.
    pub fn python(&self) -> LicenceRules {
        changed(LicenceRules::python(), &self.python_allow, &self.python_deny)
    }

    /// The rules for Debian's packages.
    pub fn debian(&self) -> LicenceRules {
        changed(LicenceRules::os(), &self.debian_allow, &self.debian_deny)
    }
}

/// In a list of what is denied: everything that is accepted without a policy.
const EVERYTHING: &str = "*";

/// What is denied is so whatever else says that it is accepted.
fn changed(mut rules: LicenceRules, allow: &BTreeSet<String>, deny: &BTreeSet<String>) -> LicenceRules {
    if deny.contains(EVERYTHING) {
        for list in [&mut rules.allowed, &mut rules.noted, &mut rules.exceptions] {
            list.clear();
        }
        rules.listed_passes = false;
    }
    rules.denied.retain(|licence| !allow.contains(licence));
    rules.allowed.extend(allow.iter().cloned());
    for list in [&mut rules.allowed, &mut rules.noted, &mut rules.exceptions] {
        list.retain(|licence| !deny.contains(licence));
    }
    let named = deny.iter().filter(|licence| *licence != EVERYTHING);
    rules.denied.extend(named.cloned());
    rules
}
