//! The checks: each is a function from the tree to the problems that it sees.

mod documents;
mod edges;
mod forbidden;
mod sources;

use std::fmt;

use crate::tree::Tree;

/// Something that is not as the house rules say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    path: String,
    line: usize,
    message: String,
}

impl Problem {
    /// A problem at a line, counted from 1.
    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Every problem, sorted by place.
pub(crate) fn problems(tree: &Tree) -> Vec<Problem> {
    let checks = [edges::check, sources::check, forbidden::check, documents::check];
    let mut problems: Vec<Problem> = checks.iter().flat_map(|check| check(tree)).collect();
    problems.sort();
    problems
}

/// The number, counted from 1, of the first line that holds `needle`; 1 when none does.
fn line_holding(text: &str, needle: &str) -> usize {
    text.lines()
        .position(|line| line.contains(needle))
        .map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_shown_as_file_line_message() {
        assert_eq!(
            Problem::at("a/b.rs", 3, "is wrong").to_string(),
            "a/b.rs:3: is wrong"
        );
    }

    /// The messages of one check, each as it is shown.
    pub(super) fn shown(check: fn(&Tree) -> Vec<Problem>, files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).iter().map(ToString::to_string).collect()
    }
}
