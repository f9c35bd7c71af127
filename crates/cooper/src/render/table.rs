//! Aligned columns.

use std::io::{self, Write};

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows under a heading, in columns as wide as their widest cell.
pub(crate) struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(columns: [(&'static str, Align); N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        let is_plain = |cell: &String| cell.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let plain = |cell: String| if is_plain(&cell) { cell } else { printable(&cell) };
        self.rows.push(cells.map(plain));
    }

    /// Write heading and rows, each line after `indent`.
    pub(crate) fn write(&self, out: &mut dyn Write, indent: &str) -> io::Result<()> {
        let heading = self.columns.map(|(title, _)| title.to_owned());
        let widths: [usize; N] = std::array::from_fn(|column| {
            let cells = self.rows.iter().chain([&heading]).map(|row| width(&row[column]));
            cells.max().unwrap_or_default()
        });
        let mut line = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            line.clear();
            line.push_str(indent);
            for (column, cell) in row.iter().enumerate() {
                let padding = std::iter::repeat_n(' ', widths[column] - width(cell));
                match self.columns[column].1 {
                    Align::Left => {
                        line.push_str(cell);
                        line.extend(padding);
                    }
                    Align::Right => {
                        line.extend(padding);
                        line.push_str(cell);
                    }
                }
                line.push_str("  ");
            }
            line.truncate(line.trim_end().len());
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

/// How many columns of a terminal a cell takes, as far as we tell.
fn width(cell: &str) -> usize {
    if cell.is_ascii() {
        cell.len()
    } else {
        cell.chars().count()
    }
}

/// A text from outside without control characters: what a package says of itself must not drive the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The same for a text of several lines.
pub(crate) fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let mut table = Table::new([
            ("NAME", Align::Left),
            ("SIZE", Align::Right),
            ("NOTE", Align::Left),
        ]);
        table.row(["a".to_owned(), "100 B".to_owned(), String::new()]);
        table.row(["längst".to_owned(), "1 B".to_owned(), "x\u{1b}[31m\ny".to_owned()]);
        let mut text = Vec::new();
        table.write(&mut text, " ").unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text,
            " NAME     SIZE  NOTE\n a       100 B\n längst    1 B  x [31m y\n"
        );
    }
}
