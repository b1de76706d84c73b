//! Text that is safe to print.

use super::text::clean;

/// What a piece of text says by its colour; without colours the words alone must say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    #[default]
    Plain,
    Bold,
    Good,
    Bad,
}

impl Paint {
    const fn sequence(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\u{1b}[1m",
            Self::Good => "\u{1b}[32m",
            Self::Bad => "\u{1b}[1;31m",
        }
    }
}

/// Collects text. There is no way to add any without cleaning it.
#[derive(Clone, Debug)]
pub struct Screen {
    out: String,
    colour: bool,
}

impl Screen {
    pub const fn new(colour: bool) -> Self {
        Self {
            out: String::new(),
            colour,
        }
    }

    /// Adds a piece of a line.
    pub fn put(&mut self, paint: Paint, text: &str) -> &mut Self {
        let painted = self.colour && paint != Paint::Plain && !text.is_empty();
        if painted {
            self.out.push_str(paint.sequence());
        }
        self.out.push_str(&clean(text));
        if painted {
            self.out.push_str("\u{1b}[0m");
        }
        self
    }

    /// Adds plain text and ends the line.
    pub fn line(&mut self, text: &str) -> &mut Self {
        self.put(Paint::Plain, text).end()
    }

    /// Ends the line, without blanks at its end.
    pub fn end(&mut self) -> &mut Self {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
        self
    }

    /// A heading after an empty line.
    pub fn heading(&mut self, text: &str) -> &mut Self {
        self.end().put(Paint::Bold, text).end()
    }

    pub fn finish(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_bring_its_own_colours() {
        let mut screen = Screen::new(true);
        screen.put(Paint::Bad, "\u{1b}[32mfine").end();
        assert_eq!(screen.finish(), "\u{1b}[1;31m\\u{1b}[32mfine\u{1b}[0m\n");
    }

    #[test]
    fn without_colours_there_is_only_text() {
        let mut screen = Screen::new(false);
        screen.put(Paint::Bad, "X").put(Paint::Bold, " y  ").end();
        assert_eq!(screen.finish(), "X y\n");
    }
}
