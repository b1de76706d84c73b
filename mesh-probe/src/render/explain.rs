//! The pages of finding codes.

use diagnosis::Page;

use super::{
    Style,
    screen::{Paint, Screen},
    table::{Cell, Table},
};

/// One page.
pub fn page(page: &Page, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    screen
        .put(Paint::Bold, page.code)
        .line(&format!(": {}", page.title))
        .end();
    for line in page.text.trim().lines() {
        let paint = if line.starts_with('#') {
            Paint::Bold
        } else {
            Paint::Plain
        };
        screen.put(paint, line).end();
    }
    screen.finish()
}

/// All codes with their titles.
pub fn codes(pages: &[Page], style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    let mut table = Table::new();
    for page in pages {
        table.row([Cell::new(Paint::Bold, page.code), Cell::plain(page.title)]);
    }
    table.draw(&mut screen, 0);
    screen.finish()
}
