//! Relationships between packages: `a (>= 1) | b:any [amd64] <!nocheck>`, Debian Policy chapter 7.

use std::fmt;

use cooper_core::{DebianName, DebianVersion};

/// How many relations one field may have.
const RELATIONS_MAX: usize = 20_000;
/// The architecture that indexes are read for.
const NATIVE: &str = "amd64";

/// One package, perhaps in certain versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The package, real or virtual.
    pub name: DebianName,
    /// The versions; `None` is any.
    pub constraint: Option<Constraint>,
    /// The relation is about another architecture's package, of which there is none here.
    pub foreign: bool,
}

/// A set of versions: all on one side of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// Which side.
    pub operator: Operator,
    /// Of which version.
    pub version: DebianVersion,
}

/// `<<`, `<=`, `=`, `>=`, `>>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// Why a text is not a relationship field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a relation between packages: {reason}")]
pub struct ParseRelationError {
    text: String,
    reason: &'static str,
}

impl Constraint {
    /// Whether `version` is in the set.
    pub fn admits(&self, version: &DebianVersion) -> bool {
        let order = version.cmp(&self.version);
        match self.operator {
            Operator::Earlier => order.is_lt(),
            Operator::EarlierOrEqual => order.is_le(),
            Operator::Equal => order.is_eq(),
            Operator::LaterOrEqual => order.is_ge(),
            Operator::Later => order.is_gt(),
        }
    }
}

/// Parse a field of alternatives: `a | b, c` is two clauses, and each needs one of its alternatives.
///
/// A clause whose alternatives are all restricted to other architectures or to build profiles is left out.
pub fn parse_clauses(text: &str) -> Result<Vec<Vec<Relation>>, ParseRelationError> {
    let mut clauses = Vec::new();
    for clause in text.split(',').map(str::trim).filter(|clause| !clause.is_empty()) {
        let mut alternatives = Vec::new();
        for piece in clause.split('|') {
            alternatives.extend(parse_relation(piece)?);
        }
        if !alternatives.is_empty() {
            clauses.push(alternatives);
        }
        if clauses.len() > RELATIONS_MAX {
            return Err(fault(text, "too many relations"));
        }
    }
    Ok(clauses)
}

/// Parse a field without alternatives: `Conflicts`, `Breaks`, `Provides`.
pub fn parse_list(text: &str) -> Result<Vec<Relation>, ParseRelationError> {
    let mut relations = Vec::new();
    for piece in text.split(',').filter(|piece| !piece.trim().is_empty()) {
        relations.extend(parse_relation(piece)?);
        if relations.len() > RELATIONS_MAX {
            return Err(fault(text, "too many relations"));
        }
    }
    Ok(relations)
}

fn fault(text: &str, reason: &'static str) -> ParseRelationError {
    ParseRelationError {
        text: text.trim().chars().take(120).collect(),
        reason,
    }
}

/// One relation, or `None` where its restrictions take it out.
fn parse_relation(piece: &str) -> Result<Option<Relation>, ParseRelationError> {
    let wrong = |reason| fault(piece, reason);
    let text = piece.trim();
    let end = text
        .find(|c: char| c.is_ascii_whitespace() || "([<".contains(c))
        .unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let (name, qualifier) = name.split_once(':').unwrap_or((name, ""));
    let name = name.parse().map_err(|_| wrong("not a package name"))?;
    let mut relation = Relation {
        name,
        constraint: None,
        foreign: is_foreign(qualifier),
    };
    let mut applies = true;
    loop {
        rest = rest.trim_start();
        let Some(open) = rest.chars().next() else { break };
        let close = match open {
            '(' => ')',
            '[' => ']',
            '<' => '>',
            _ => return Err(wrong("unexpected characters after the name")),
        };
        let end = rest.find(close).ok_or_else(|| wrong("a bracket is not closed"))?;
        let inside = &rest[1..end];
        match open {
            '(' => {
                relation.constraint = Some(parse_constraint(inside).ok_or_else(|| wrong("not a version"))?);
            }
            '[' => applies &= architectures_apply(inside),
            _ => applies &= profiles_apply(inside),
        }
        rest = &rest[end + 1..];
    }
    Ok(applies.then_some(relation))
}

/// `any` and `native` are met by the native package, which is the only one there is.
fn is_foreign(qualifier: &str) -> bool {
    !matches!(qualifier, "" | "any" | "native" | NATIVE)
}

fn parse_constraint(text: &str) -> Option<Constraint> {
    let text = text.trim();
    let end = text.find(|c: char| !"<>=".contains(c))?;
    let (operator, version) = text.split_at(end);
    let operator = match operator {
        "<<" => Operator::Earlier,
        "<=" | "<" => Operator::EarlierOrEqual,
        "=" => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        _ => return None,
    };
    Some(Constraint {
        operator,
        version: version.trim().parse().ok()?,
    })
}

/// `[amd64 i386]`, `[!arm64]`, `[linux-any]`.
fn architectures_apply(text: &str) -> bool {
    let native = |name: &str| matches!(name, NATIVE | "any" | "linux-any" | "any-amd64");
    let mut names = text.split_ascii_whitespace().peekable();
    match names.peek() {
        Some(first) if first.starts_with('!') => names.all(|name| !native(name.trim_start_matches('!'))),
        _ => names.any(native),
    }
}

/// `<!nocheck>`: no build profile is active where packages are installed.
fn profiles_apply(text: &str) -> bool {
    text.split_ascii_whitespace()
        .all(|profile| profile.starts_with('!'))
}

impl fmt::Display for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.name)?;
        match &self.constraint {
            Some(Constraint { operator, version }) => write!(formatter, " ({operator} {version})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<Vec<String>> {
        let clauses = parse_clauses(text).unwrap();
        clauses
            .iter()
            .map(|clause| clause.iter().map(ToString::to_string).collect())
            .collect()
    }

    #[test]
    fn clauses_and_alternatives_are_told_apart() {
        let text = "aa (>= 1:2.0-1) | bb:any, cc";
        assert_eq!(shown(text), vec![vec!["aa (>= 1:2.0-1)", "bb"], vec!["cc"]]);
        assert_eq!(shown("aa(<<2),\n bb ,"), vec![vec!["aa (<< 2)"], vec!["bb"]]);
        assert_eq!(shown(""), Vec::<Vec<String>>::new());
    }

    #[test]
    fn restrictions_take_relations_out() {
        assert_eq!(
            shown("aa [i386] | bb, cc [!amd64], dd [linux-any], ee <!nocheck>, ff <stage1>"),
            vec![vec!["bb"], vec!["dd"], vec!["ee"],]
        );
        assert!(parse_clauses("aa:i386").unwrap()[0][0].foreign);
        assert!(!parse_clauses("aa:native").unwrap()[0][0].foreign);
    }

    #[test]
    fn constraints_admit_their_side() {
        let admits = |relation: &str, version: &str| {
            let relations = parse_list(relation).unwrap();
            relations[0]
                .constraint
                .as_ref()
                .unwrap()
                .admits(&version.parse().unwrap())
        };
        assert!(admits("aa (<< 2)", "2~rc1") && !admits("aa (<< 2)", "2"));
        assert!(admits("aa (<= 2)", "2") && admits("aa (>= 2)", "2") && !admits("aa (>> 2)", "2"));
        assert!(admits("aa (= 2)", "2") && !admits("aa (= 2)", "2-1"));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "aa (>= )",
            "aa (~ 1)",
            "aa (>= 1",
            "A B",
            "aa bb",
            "| |",
            "aa )",
            "aa (>= 1) x",
            "\u{e4}\u{e4}",
        ] {
            assert!(parse_clauses(bad).is_err(), "{bad}");
        }
    }
}
