//! A table of text.

use std::fmt;

/// Rows under titles. Columns in which every cell is empty are left out.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// So many columns hold words and begin on the left; the others hold numbers.
    words: usize,
}

impl Table {
    pub(crate) fn new(titles: &[&str], words: usize) -> Self {
        Self { rows: vec![titles.iter().map(|&title| title.to_owned()).collect()], words }
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    /// The width of a column; none if it is empty.
    fn width(&self, column: usize) -> Option<usize> {
        let cells = || self.rows.iter().filter_map(|row| row.get(column));
        let empty = cells().skip(1).all(String::is_empty);
        cells().map(|cell| cell.chars().count()).max().filter(|_| !empty)
    }
}

impl Table {
    /// As Markdown has it.
    pub(crate) fn markdown(&self) -> String {
        let columns: Vec<usize> = (0..self.rows[0].len()).filter(|&c| self.width(c).is_some()).collect();
        let row = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        let mut text = String::new();
        for (index, cells) in self.rows.iter().enumerate() {
            text.push_str(&row(columns.iter().map(|&column| cells[column].as_str()).collect()));
            if index == 0 {
                let rule = |&column: &usize| if column < self.words { "---" } else { "---:" };
                text.push_str(&row(columns.iter().map(rule).collect()));
            }
        }
        text
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<Option<usize>> = (0..self.rows[0].len()).map(|column| self.width(column)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match *width {
                    None => {}
                    Some(width) if column < self.words => line.push_str(&format!("  {cell:<width$}")),
                    Some(width) => line.push_str(&format!("  {cell:>width$}")),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_leaves_empty_columns_out() {
        let mut table = Table::new(&["peer", "none", "rate"], 1);
        table.row(&["h2".to_owned(), String::new(), "9".to_owned()]);
        assert_eq!(table.markdown(), "| peer | rate |\n| --- | ---: |\n| h2 | 9 |\n");
    }

    #[test]
    fn words_begin_on_the_left_and_numbers_end_on_the_right() {
        let mut table = Table::new(&["peer", "rate", "none"], 1);
        table.row(&["h2".to_owned(), "1000".to_owned(), String::new()]);
        table.row(&["muxado".to_owned(), "9".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "  peer    rate\n  h2      1000\n  muxado     9\n");
    }
}
