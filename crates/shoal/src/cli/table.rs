//! Tables as kubectl prints them: no borders, upper-case headers, two spaces or more between columns. Pure.
//! Owns widths and shortening; must never know what a column means.

/// Spaces between two columns.
const GAP: usize = 3;
/// A shortened cell keeps at least this many characters.
const CELL_CHARS_MIN: usize = 8;

/// Rows under a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table under `header`; shown in upper case.
    pub fn new<S: AsRef<str>>(header: impl IntoIterator<Item = S>) -> Self {
        Self { header: header.into_iter().map(|title| title.as_ref().to_uppercase()).collect(), rows: Vec::new() }
    }

    /// Appends a row with one cell per column; an empty cell is shown as `-`.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { one_line(&cell) }).collect();
        assert_eq!(cells.len(), self.header.len(), "a row has one cell per column");
        self.rows.push(cells);
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Appends the rows of `other`, which has the same columns.
    pub fn append(&mut self, other: Self) {
        assert_eq!(self.header, other.header, "both have the same columns");
        self.rows.extend(other.rows);
    }

    /// The rows for which `kept` says so.
    #[must_use]
    pub fn only(&self, kept: &[bool]) -> Self {
        let rows = self.rows.iter().zip(kept).filter(|(_, kept)| **kept).map(|(row, _)| row.clone());
        Self { header: self.header.clone(), rows: rows.collect() }
    }

    /// The table as text without a final line end, shortened in the middle of its widest cells to fit `width` columns; the first column goes last.
    pub fn render(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let lines = std::iter::once(&self.header).chain(&self.rows);
        lines.map(|cells| line(cells, &widths)).collect::<Vec<_>>().join("\n")
    }

    /// The rows alone, to be appended below `above` while watching: no column is narrower than there.
    pub fn render_below(&self, above: &Self, width: Option<usize>) -> String {
        let widths: Vec<usize> = self.widths(width).into_iter().zip(above.widths(width)).map(|(own, above)| own.max(above)).collect();
        self.rows.iter().map(|cells| line(cells, &widths)).collect::<Vec<_>>().join("\n")
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let count = |cell: &String| cell.chars().count();
        let mut widths: Vec<usize> = (0..self.header.len())
            .map(|column| self.rows.iter().map(|row| count(&row[column])).chain([count(&self.header[column])]).max().unwrap_or(0))
            .collect();
        let Some(limit) = limit else { return widths };
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > limit {
            let shrinkable = |column: &usize| widths[*column] > CELL_CHARS_MIN.max(count(&self.header[*column]));
            let widest = (1..widths.len()).filter(shrinkable).max_by_key(|column| widths[*column]);
            let Some(column) = widest.or_else(|| Some(0).filter(shrinkable)) else { break };
            widths[column] -= 1;
        }
        widths
    }
}

/// `text` in at most `chars` characters, its middle replaced by `…`.
pub fn shorten(text: &str, chars: usize) -> String {
    let all: Vec<char> = text.chars().collect();
    if all.len() <= chars || chars == 0 {
        return text.to_owned();
    }
    let kept = chars - 1;
    let head = kept.div_ceil(2);
    let tail = &all[all.len() - (kept - head)..];
    all[..head].iter().chain(['…'].iter()).chain(tail).collect()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let cell = shorten(cell, *width);
        let pad = width - cell.chars().count() + GAP;
        text.push_str(&cell);
        text.extend(std::iter::repeat_n(' ', pad));
    }
    text.truncate(text.trim_end().len());
    text
}

fn one_line(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(width: Option<usize>, expected: Expect) {
        let mut table = Table::new(["name", "status", "source", "age"]);
        table.row(["hello", "ready", "sha256:0123456789abcdef0123456789abcdef", "3m12s"].map(str::to_owned));
        table.row(["a-rather-long-name", "progressing", "", "2d4h"].map(str::to_owned));
        expected.assert_eq(&table.render(width));
    }

    #[test]
    fn off_a_terminal_nothing_is_shortened() {
        check(
            None,
            expect![[r#"
                NAME                 STATUS        SOURCE                                    AGE
                hello                ready         sha256:0123456789abcdef0123456789abcdef   3m12s
                a-rather-long-name   progressing   -                                         2d4h"#]],
        );
    }

    #[test]
    fn on_a_terminal_the_widest_cells_lose_their_middle_and_names_come_last() {
        check(
            Some(60),
            expect![[r#"
                NAME                 STATUS        SOURCE              AGE
                hello                ready         sha256:0…89abcdef   3m12s
                a-rather-long-name   progressing   -                   2d4h"#]],
        );
        check(
            Some(40),
            expect![[r#"
                NAME         STATUS     SOURCE     AGE
                hello        ready      sha2…def   3m12s
                a-rat…name   prog…ing   -          2d4h"#]],
        );
    }

    #[test]
    fn shortening_keeps_both_ends() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdefg", 6), "abc…fg");
        assert_eq!(shorten("abc", 1), "…");
    }
}
