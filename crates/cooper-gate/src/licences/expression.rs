//! Licence expressions: SPDX, read laxly and kept in one canonical form.
//!
//! The grammar is that of the SPDX specification (annex D), read by the crate `spdx`. Before that, names are brought to
//! the identifiers of the licence list: without case, deprecated ones by what replaces them (`GPL-2.0+` becomes
//! `GPL-2.0-or-later`), and the short names of Debian's copyright files. `/` and `|` mean `OR`, `&` means `AND`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use spdx::expression::{ExprNode, Operator};
use spdx::{AdditionItem, LicenseItem, LicenseReq, ParseMode};

use super::names;

/// The longest text that is read as an expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 16 << 10;
/// How often `AND` and `OR` may alternate inside of each other.
const DEPTH_MAX: usize = 32;
/// The most licences that one expression may name.
const TERMS_MAX: usize = 256;

/// Why a text is no licence expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseExpressionError {
    /// It is longer than is read.
    #[error("a licence expression of more than {bytes_max} bytes")]
    TooLong {
        /// The most that is read.
        bytes_max: usize,
    },
    /// It nests or names more than is read.
    #[error("a licence expression with more than {TERMS_MAX} licences, or nested deeper than {DEPTH_MAX}")]
    TooComplex,
    /// A name that is no licence.
    #[error("`{name}` is no licence that SPDX or Debian names")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// The grammar.
    #[error("it is no licence expression: {reason}")]
    Grammar {
        /// What the parser says.
        reason: String,
    },
}

/// One licence of an expression, with the exception that widens it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LicenceTerm {
    /// The SPDX identifier, never a deprecated one of the GNU family, or a `LicenseRef-…`; without `+`.
    pub id: String,
    /// `+`: this version or any later one. The GNU licences have identifiers for that instead.
    pub or_later: bool,
    /// The identifier after `WITH`.
    pub exception: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Licence(LicenceTerm),
    And(Vec<Node>),
    Or(Vec<Node>),
}

/// A licence expression in canonical form: nested operators of one kind are merged, repeated branches are there once.
/// It prints as SPDX; two are equal when they have the same branches in whatever order.
#[derive(Debug, Clone)]
pub struct LicenceExpression(Node);

impl LicenceExpression {
    /// Read an expression.
    ///
    /// # Errors
    /// When a name in it is no known licence, or it is not in the grammar, or it is too large.
    pub fn parse(text: &str) -> Result<Self, ParseExpressionError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(ParseExpressionError::TooLong {
                bytes_max: EXPRESSION_BYTES_MAX,
            });
        }
        let spelt = respell(text)?;
        let mode = ParseMode {
            allow_deprecated: true,
            allow_postfix_plus_on_gpl: true,
            ..ParseMode::STRICT
        };
        let parsed =
            spdx::Expression::parse_mode(&spelt, mode).map_err(|error| ParseExpressionError::Grammar {
                reason: error.reason.to_string(),
            })?;
        node_of(parsed.iter()).map(Self)
    }

    /// One licence by its identifier, which is in the list.
    pub(crate) fn of_id(id: &str) -> Self {
        Self(Node::Licence(LicenceTerm {
            id: id.to_owned(),
            or_later: false,
            exception: None,
        }))
    }

    /// The same licence with an exception; none where it is not one licence, or has one already.
    pub(crate) fn with_exception(&self, exception: &str) -> Option<Self> {
        match &self.0 {
            Node::Licence(term) if term.exception.is_none() => Some(Self(Node::Licence(LicenceTerm {
                exception: Some(exception.to_owned()),
                ..term.clone()
            }))),
            _ => None,
        }
    }

    /// All of these; none of nothing.
    pub fn all_of(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        join(parts.into_iter().map(|part| part.0), Operator::And).map(Self)
    }

    /// Any of these; none of nothing.
    pub fn any_of(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        join(parts.into_iter().map(|part| part.0), Operator::Or).map(Self)
    }

    /// Every licence in it, in the order of the text.
    pub fn terms(&self) -> Vec<&LicenceTerm> {
        fn collect<'a>(node: &'a Node, into: &mut Vec<&'a LicenceTerm>) {
            match node {
                Node::Licence(term) => into.push(term),
                Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|node| collect(node, into)),
            }
        }
        let mut terms = Vec::new();
        collect(&self.0, &mut terms);
        terms
    }

    pub(crate) fn node(&self) -> &Node {
        &self.0
    }

    /// Whether it is one licence, or a choice of which or a sum to which the other belongs.
    pub(crate) fn has_all_terms_of(&self, other: &Self) -> bool {
        let terms = self.terms();
        other.terms().iter().all(|term| terms.contains(term))
    }

    fn sorted(&self) -> Node {
        fn sort(node: &Node) -> Node {
            let sorted = |nodes: &[Node]| {
                let mut nodes: Vec<Node> = nodes.iter().map(sort).collect();
                nodes.sort();
                nodes
            };
            match node {
                Node::Licence(term) => Node::Licence(term.clone()),
                Node::And(nodes) => Node::And(sorted(nodes)),
                Node::Or(nodes) => Node::Or(sorted(nodes)),
            }
        }
        sort(&self.0)
    }
}

impl PartialEq for LicenceExpression {
    fn eq(&self, other: &Self) -> bool {
        self.sorted() == other.sorted()
    }
}

impl Eq for LicenceExpression {}

impl FromStr for LicenceExpression {
    type Err = ParseExpressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for LicenceExpression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LicenceExpression {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for LicenceTerm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.id)?;
        if self.or_later {
            formatter.write_str("+")?;
        }
        match &self.exception {
            Some(exception) => write!(formatter, " WITH {exception}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, operator) = match self {
            Self::Licence(term) => return term.fmt(formatter),
            Self::And(nodes) => (nodes, " AND "),
            Self::Or(nodes) => (nodes, " OR "),
        };
        for (number, node) in nodes.iter().enumerate() {
            if number > 0 {
                formatter.write_str(operator)?;
            }
            match node {
                Self::Licence(term) => term.fmt(formatter)?,
                nested => write!(formatter, "({nested})")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for LicenceExpression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The text with every name as the licence list has it.
fn respell(text: &str) -> Result<String, ParseExpressionError> {
    let mut spelt = String::with_capacity(text.len());
    let mut after_with = false;
    for token in tokens(text) {
        let word = match token.to_ascii_uppercase().as_str() {
            "(" | ")" => token.to_owned(),
            "AND" | "&" | "&&" => "AND".to_owned(),
            "OR" | "/" | "|" | "||" => "OR".to_owned(),
            "WITH" => "WITH".to_owned(),
            _ if after_with => exception(token)?,
            _ => licence(token)?,
        };
        after_with = word == "WITH";
        if !spelt.is_empty() {
            spelt.push(' ');
        }
        spelt.push_str(&word);
    }
    Ok(spelt)
}

/// Parentheses, the signs that mean an operator, and what blanks separate.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    const SIGNS: [char; 5] = ['(', ')', '/', '|', '&'];
    text.split_whitespace()
        .flat_map(|word| word.split_inclusive(SIGNS))
        .flat_map(|piece| {
            let end = piece.trim_end_matches(SIGNS).len();
            [&piece[..end], &piece[end..]]
        })
        .filter(|token| !token.is_empty())
}

fn exception(name: &str) -> Result<String, ParseExpressionError> {
    if let Some(id) = names::exception(name) {
        return Ok(id.to_owned());
    }
    if name.starts_with("AdditionRef-") {
        return Ok(name.to_owned());
    }
    Err(ParseExpressionError::UnknownName {
        name: names::excerpt(name),
    })
}

fn licence(name: &str) -> Result<String, ParseExpressionError> {
    if name.starts_with("LicenseRef-") || name.starts_with("DocumentRef-") {
        return Ok(name.to_owned());
    }
    names::short_name(name).ok_or_else(|| ParseExpressionError::UnknownName {
        name: names::excerpt(name),
    })
}

/// The tree of a parsed expression, which is in postfix order.
fn node_of<'a>(postfix: impl Iterator<Item = &'a ExprNode>) -> Result<Node, ParseExpressionError> {
    // Each with its depth and its number of licences.
    let mut stack: Vec<(Node, usize, usize)> = Vec::new();
    for step in postfix {
        let next = match step {
            ExprNode::Req(requirement) => (Node::Licence(term_of(&requirement.req)), 0, 1),
            ExprNode::Op(operator) => {
                let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else {
                    return Err(ParseExpressionError::Grammar {
                        reason: "an operator has nothing beside it".to_owned(),
                    });
                };
                let terms = left.2 + right.2;
                let joined = join([left.0, right.0], *operator).ok_or(ParseExpressionError::TooComplex)?;
                let depth = depth(&joined);
                (joined, depth, terms)
            }
        };
        if next.1 > DEPTH_MAX || next.2 > TERMS_MAX {
            return Err(ParseExpressionError::TooComplex);
        }
        stack.push(next);
    }
    match stack.pop() {
        Some((node, ..)) if stack.is_empty() => Ok(node),
        _ => Err(ParseExpressionError::Grammar {
            reason: "licences stand beside each other without an operator".to_owned(),
        }),
    }
}

/// Never more than one above [`DEPTH_MAX`], since what is deeper was refused before it was joined.
fn depth(node: &Node) -> usize {
    match node {
        Node::Licence(_) => 0,
        Node::And(nodes) | Node::Or(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
    }
}

fn term_of(requirement: &LicenseReq) -> LicenceTerm {
    let (id, or_later) = match &requirement.license {
        LicenseItem::Spdx { id, or_later } => (id.name.to_owned(), *or_later),
        LicenseItem::Other(reference) => (reference.to_string(), false),
    };
    let exception = requirement.addition.as_ref().map(|addition| match addition {
        AdditionItem::Spdx(id) => id.name.to_owned(),
        AdditionItem::Other(reference) => reference.to_string(),
    });
    LicenceTerm {
        id,
        or_later,
        exception,
    }
}

/// The nodes under one operator: those of the same kind are taken in, equal ones once.
fn join(nodes: impl IntoIterator<Item = Node>, operator: Operator) -> Option<Node> {
    let mut joined: Vec<Node> = Vec::new();
    for node in nodes {
        let parts = match (node, operator) {
            (Node::And(parts), Operator::And) | (Node::Or(parts), Operator::Or) => parts,
            (node, _) => vec![node],
        };
        for part in parts {
            if !joined.contains(&part) {
                joined.push(part);
            }
        }
    }
    match (joined.len(), operator) {
        (0 | 1, _) => joined.pop(),
        (_, Operator::And) => Some(Node::And(joined)),
        (_, Operator::Or) => Some(Node::Or(joined)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        LicenceExpression::parse(text).map_or_else(|error| error.to_string(), |parsed| parsed.to_string())
    }

    #[test]
    fn lax_forms_become_canonical() {
        for (text, canonical) in [
            ("MIT", "MIT"),
            ("mit", "MIT"),
            ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
            ("mit/apache-2.0", "MIT OR Apache-2.0"),
            ("(MIT and (BSD-3-Clause))", "MIT AND BSD-3-Clause"),
            ("MIT AND MIT", "MIT"),
            ("MIT OR (Apache-2.0 OR MIT)", "MIT OR Apache-2.0"),
            ("MIT OR ISC AND Zlib", "MIT OR (ISC AND Zlib)"),
            ("GPL-2.0", "GPL-2.0-only"),
            ("GPL-2.0+", "GPL-2.0-or-later"),
            ("GPL-2+", "GPL-2.0-or-later"),
            ("LGPL-2.1+", "LGPL-2.1-or-later"),
            (
                "GPL-2.0-with-classpath-exception",
                "GPL-2.0-only WITH Classpath-exception-2.0",
            ),
            (
                "GPL-3.0-or-later WITH gcc-exception-3.1",
                "GPL-3.0-or-later WITH GCC-exception-3.1",
            ),
            ("Apache-2.0 WITH LLVM-exception", "Apache-2.0 WITH LLVM-exception"),
            ("Apache-1.1+", "Apache-1.1+"),
            (
                "LicenseRef-Public-Domain AND MIT",
                "LicenseRef-Public-Domain AND MIT",
            ),
            ("Expat", "MIT"),
        ] {
            assert_eq!(shown(text), canonical, "{text}");
            assert_eq!(shown(canonical), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_says_why() {
        for (text, reason) in [
            ("", "no licence expression"),
            ("MIT AND", "no licence expression"),
            ("MIT Apache-2.0", "no licence expression"),
            ("(MIT", "no licence expression"),
            ("MIT WITH WITH", "no licence"),
            ("WITH", "no licence expression"),
            ("LIMITED", "`LIMITED` is no licence"),
            ("Définitely-nöt", "`Définitely-nöt` is no licence"),
        ] {
            assert!(shown(text).contains(reason), "{text}: {}", shown(text));
        }
    }

    #[test]
    fn ten_thousand_parentheses_are_refused_or_read_but_never_followed_down() {
        let deep = format!("{}MIT{}", "(".repeat(7_000), ")".repeat(7_000));
        assert_eq!(shown(&deep), "MIT");
        let larger = format!("{}MIT{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(shown(&larger).contains("more than"));
        let nested = format!("{}MIT{}", "(MIT OR (ISC AND ".repeat(300), "))".repeat(300));
        assert!(shown(&nested).contains("nested deeper"), "{}", shown(&nested));
        let many = vec!["MIT"; 2_000].join(" OR ");
        assert_eq!(
            LicenceExpression::parse(&many),
            Err(ParseExpressionError::TooComplex)
        );
    }

    #[test]
    fn the_order_of_branches_does_not_matter() {
        let parse = |text| LicenceExpression::parse(text).unwrap();
        assert_eq!(parse("MIT OR (ISC AND Zlib)"), parse("(Zlib AND ISC) OR MIT"));
        assert_ne!(parse("MIT OR ISC"), parse("MIT AND ISC"));
    }
}
