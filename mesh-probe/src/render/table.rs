//! Columns.

use super::{
    screen::{Paint, Screen},
    text::clean,
};

/// Blanks between columns.
const GAP: usize = 2;

/// One field of a row.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    paint: Paint,
    /// Cleaned, because its length must be known.
    text: String,
}

impl Cell {
    pub(super) fn new(paint: Paint, text: &str) -> Self {
        Self {
            paint,
            text: clean(text).into_owned(),
        }
    }

    pub(super) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(Paint::Plain, text.as_ref())
    }

    /// A value that may be missing, which is shown as `-`.
    pub(super) fn maybe(text: Option<String>) -> Self {
        text.map_or_else(|| Self::plain("-"), Self::plain)
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows with aligned columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn with_header<T: AsRef<str>>(titles: impl IntoIterator<Item = T>) -> Self {
        let header = titles.into_iter().map(Cell::plain).collect();
        Self { rows: vec![header] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Draws each row behind `indent` blanks.
    pub(super) fn draw(&self, screen: &mut Screen, indent: usize) {
        let widths = self.widths();
        for row in &self.rows {
            screen.put(Paint::Plain, &" ".repeat(indent));
            for (cell, width) in row.iter().zip(&widths) {
                let blanks = width + GAP - cell.width();
                screen
                    .put(cell.paint, &cell.text)
                    .put(Paint::Plain, &" ".repeat(blanks));
            }
            screen.end();
        }
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(Cell::width).max().unwrap_or(0)
        };
        (0..columns).map(widest).collect()
    }
}
