//! Tables: in columns where there is room, and on a phone each row as a card whose cells say what they are.

use super::html::Html;

/// What stands where there is nothing to say; a phone leaves such a cell out.
pub(super) const NONE: &str = "-";

/// A table with a row of titles.
#[derive(Debug)]
pub(super) struct Table<'a> {
    html: &'a mut Html,
    titles: &'a [&'static str],
}

impl Table<'_> {
    /// Draws one; `caption` is for who hears the page.
    pub(super) fn draw(
        html: &mut Html,
        caption: &str,
        titles: &[&'static str],
        rows: impl FnOnce(&mut Table<'_>),
    ) {
        html.element("table", &[("class", "cards")], |html| {
            html.leaf("caption", &[], caption);
            html.element("thead", &[], |html| {
                html.element("tr", &[], |html| {
                    for title in titles {
                        html.leaf("th", &[("scope", "col")], title);
                    }
                });
            });
            html.element("tbody", &[], |html| rows(&mut Table { html, titles }));
        });
    }

    /// One row; the first cell names it.
    pub(super) fn row(&mut self, cells: &[&dyn Fn(&mut Html)]) {
        let titles = self.titles;
        self.html.element("tr", &[], |html| {
            for (place, cell) in cells.iter().enumerate() {
                let title = titles.get(place).copied().unwrap_or_default();
                if place == 0 {
                    html.element("th", &[("scope", "row")], cell);
                } else {
                    let mut inner = Html::default();
                    cell(&mut inner);
                    let mut attributes = vec![("data-title", title)];
                    if inner.is_none() {
                        attributes.push(("class", "none"));
                    }
                    html.element("td", &attributes, |html| {
                        html.add(&inner);
                    });
                }
            }
        });
    }
}

/// A cell with a text.
pub(super) fn plain(text: &str) -> impl Fn(&mut Html) {
    move |html| {
        html.text(text);
    }
}

/// The same of what may not be known.
pub(super) fn maybe(text: Option<String>) -> impl Fn(&mut Html) {
    move |html| {
        html.text(text.as_deref().unwrap_or(NONE));
    }
}

/// A cell with lines.
pub(super) fn list(lines: &[String]) -> impl Fn(&mut Html) {
    move |html| match lines {
        [] => {
            html.text(NONE);
        }
        [line] => {
            html.text(line);
        }
        lines => {
            html.element("ul", &[], |html| {
                for line in lines {
                    html.leaf("li", &[], line);
                }
            });
        }
    }
}
