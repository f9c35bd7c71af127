//! How bad a vulnerability is: CVSS vectors, words of databases, Debian's urgency.

use std::fmt;

use cooper_core::Severity as Rating;
use cvss::Cvss;
use serde::Serialize;

/// The rating of a CVSS score in tenths (CVSS 3.1, section 5; 4.0, section 6).
const fn rating_of_tenths(tenths: u8) -> Rating {
    match tenths {
        0 => Rating::None,
        1..40 => Rating::Low,
        40..70 => Rating::Medium,
        70..90 => Rating::High,
        _ => Rating::Critical,
    }
}

/// The rating of a database's word: `MODERATE` is medium.
fn rating_of_word(word: &str) -> Option<Rating> {
    Some(match word.trim().to_ascii_lowercase().as_str() {
        "none" | "negligible" => Rating::None,
        "low" | "minor" => Rating::Low,
        "medium" | "moderate" => Rating::Medium,
        "high" | "important" => Rating::High,
        "critical" => Rating::Critical,
        _ => return None,
    })
}

/// The rating of its place on the scale, as a snapshot has it.
pub(super) const fn rating_of_code(code: u8) -> Option<Rating> {
    Some(match code {
        0 => Rating::None,
        1 => Rating::Low,
        2 => Rating::Medium,
        3 => Rating::High,
        4 => Rating::Critical,
        _ => return None,
    })
}

/// Where a severity comes from, the best source last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SeveritySource {
    /// No database rates it: counted as high.
    Missing,
    /// Debian's security tracker: its urgency.
    Urgency,
    /// A database's own word, such as `MODERATE`.
    Word,
    /// A CVSS vector, from which the score was computed.
    Cvss,
}

impl SeveritySource {
    pub(super) const fn of_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Missing,
            1 => Self::Urgency,
            2 => Self::Word,
            3 => Self::Cvss,
            _ => return None,
        })
    }
}

/// How bad a vulnerability is, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Severity {
    /// The CVSS score in tenths: 98 is 9.8. `None` where there is only a word or nothing.
    pub score_tenths: Option<u8>,
    /// On the qualitative scale.
    pub rating: Rating,
    /// Where it comes from.
    pub source: SeveritySource,
    /// The vector or the word as it was read; empty where it is missing.
    pub text: String,
}

impl Severity {
    /// What nobody rated counts as high.
    pub const fn missing() -> Self {
        Self {
            score_tenths: None,
            rating: Rating::High,
            source: SeveritySource::Missing,
            text: String::new(),
        }
    }

    pub(super) fn of_word(word: &str, source: SeveritySource) -> Option<Self> {
        Some(Self {
            score_tenths: None,
            rating: rating_of_word(word)?,
            source,
            text: word.trim().to_owned(),
        })
    }

    /// From a CVSS vector of version 2.0, 3.0, 3.1 or 4.0 that has all base metrics; `None` where it has not.
    ///
    /// For 2.0 and 3.x that is the base score, for 4.0 the score of all metrics that the vector has, as each
    /// specification means the number that is quoted.
    pub fn of_vector(vector: &str) -> Option<Self> {
        let vector = vector.trim();
        if vector.len() > VECTOR_BYTES_MAX {
            return None;
        }
        let parsed = if vector.starts_with(cvss::PREFIX) {
            vector.parse::<Cvss>().ok()?
        } else {
            Cvss::CvssV20(vector.trim_matches(['(', ')']).parse().ok()?)
        };
        let score_tenths = has_base_metrics(&parsed).then(|| tenths(parsed.score()))?;
        Some(Self {
            score_tenths: Some(score_tenths),
            rating: rating_of_tenths(score_tenths),
            source: SeveritySource::Cvss,
            text: vector.to_owned(),
        })
    }

    /// The one that says more: a source that rates before one that does not, then the worse.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |severity: &Self| {
            (
                severity.source != SeveritySource::Missing,
                severity.rating,
                severity.score_tenths,
                severity.source,
            )
        };
        let ours = (rank(&self), &self.text);
        if ours >= (rank(&other), &other.text) {
            self
        } else {
            other
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.score_tenths, self.source) {
            (Some(tenths), _) => write!(formatter, "{} {}.{}", self.rating, tenths / 10, tenths % 10),
            (None, SeveritySource::Missing) => write!(formatter, "unrated, counted as {}", self.rating),
            (None, _) => write!(formatter, "{}", self.rating),
        }
    }
}

const VECTOR_BYTES_MAX: usize = 512;

/// A vector with a base metric missing has no score: the crate would take it for 0.
fn has_base_metrics(vector: &Cvss) -> bool {
    let needed: &[&str] = match vector {
        Cvss::CvssV20(_) => &["AV", "AC", "Au", "C", "I", "A"],
        Cvss::CvssV30(_) | Cvss::CvssV31(_) => &["AV", "AC", "PR", "UI", "S", "C", "I", "A"],
        Cvss::CvssV40(_) => &["AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"],
        _ => return false,
    };
    let present: Vec<&str> = vector.metrics().map(|(metric, _)| metric.name()).collect();
    needed
        .iter()
        .all(|name| present.iter().any(|other| other.eq_ignore_ascii_case(name)))
}

fn tenths(score: f64) -> u8 {
    let rounded = (score * 10.0).round().clamp(0.0, 100.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 100 by the line above"
    )]
    let tenths = rounded as u8;
    tenths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(vector: &str) -> Option<(u8, &'static str)> {
        let severity = Severity::of_vector(vector)?;
        Some((severity.score_tenths?, severity.rating.as_str()))
    }

    #[test]
    fn vectors_have_the_scores_that_their_specifications_give() {
        let examples = [
            // The examples of FIRST's documents, and what NVD and GitHub quote.
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 98, "critical"),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 61, "medium"),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 100, "critical"),
            ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 78, "high"),
            ("CVSS:3.0/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 31, "low"),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0, "none"),
            (
                "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H/E:P/RL:O/RC:C",
                75,
                "high",
            ),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
                93,
                "critical",
            ),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H",
                100,
                "critical",
            ),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N",
                87,
                "high",
            ),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:U",
                81,
                "high",
            ),
            ("AV:N/AC:L/Au:N/C:N/I:N/A:C", 78, "high"),
            ("AV:N/AC:L/Au:N/C:C/I:C/A:C", 100, "critical"),
            ("(AV:L/AC:H/Au:N/C:C/I:C/A:C)", 62, "medium"),
        ];
        for (vector, tenths, rating) in examples {
            assert_eq!(score(vector), Some((tenths, rating)), "{vector}");
        }
    }

    #[test]
    fn what_is_no_whole_vector_has_no_score() {
        for bad in [
            "",
            "7.5",
            "CVSS:3.1",
            "CVSS:3.1/AV:N",
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H",
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:X",
            "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H",
            "CVSS:5.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "AV:N/AC:L",
        ] {
            assert_eq!(score(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_base_vector_of_3_1_has_the_score_of_the_specification() {
        // Independent of the crate: section 7.1 in integers where rounding matters.
        let (av, ac) = (
            [("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)],
            [("L", 0.77), ("H", 0.44)],
        );
        let (ui, impact) = ([("N", 0.85), ("R", 0.62)], [("H", 0.56), ("L", 0.22), ("N", 0.0)]);
        let mut tried = 0;
        for (scope, pr) in [
            ("U", [("N", 0.85), ("L", 0.62), ("H", 0.27)]),
            ("C", [("N", 0.85), ("L", 0.68), ("H", 0.5)]),
        ] {
            for a in av {
                for b in ac {
                    for p in pr {
                        for u in ui {
                            for c in impact {
                                for i in impact {
                                    for d in impact {
                                        let vector = format!(
                                            "CVSS:3.1/AV:{}/AC:{}/PR:{}/UI:{}/S:{scope}/C:{}/I:{}/A:{}",
                                            a.0, b.0, p.0, u.0, c.0, i.0, d.0
                                        );
                                        let exploit = 8.22 * a.1 * b.1 * p.1 * u.1;
                                        let wanted = base_score(scope, exploit, [c.1, i.1, d.1]);
                                        let (tenths, _) = score(&vector).unwrap();
                                        assert_eq!(u32::from(tenths), wanted, "{vector}");
                                        tried += 1;
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(tried, 2592);
    }

    /// In tenths; Roundup as in appendix A.
    fn base_score(scope: &str, exploit: f64, [c, i, a]: [f64; 3]) -> u32 {
        let iss: f64 = 1.0 - (1.0 - c) * (1.0 - i) * (1.0 - a);
        let impact = if scope == "U" {
            6.42 * iss
        } else {
            7.52 * (iss - 0.029) - 3.25 * (iss - 0.02).powi(15)
        };
        if impact <= 0.0 {
            return 0;
        }
        let factor = if scope == "U" { 1.0 } else { 1.08 };
        let whole = (factor * (impact + exploit)).min(10.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 1,000,000"
        )]
        let input = (whole * 100_000.0).round() as u32;
        input.div_ceil(10_000)
    }

    #[test]
    fn a_rating_beats_none_and_then_the_worse_counts() {
        let word = |word| Severity::of_word(word, SeveritySource::Word).unwrap();
        let low = word("LOW");
        assert_eq!(Severity::missing().worse(low.clone()), low);
        assert_eq!(low.clone().worse(Severity::missing()), low);
        assert_eq!(word("MODERATE").worse(word("CRITICAL")).rating, Rating::Critical);
        assert_eq!(Severity::missing().rating, Rating::High);
        assert_eq!(Severity::missing().to_string(), "unrated, counted as high");
        let vector = Severity::of_vector("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H").unwrap();
        assert_eq!(vector.to_string(), "critical 9.8");
        assert_eq!(Severity::of_word("odd", SeveritySource::Word), None);
    }
}
