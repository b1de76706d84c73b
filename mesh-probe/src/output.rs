//! Stdout for answers, stderr for messages.

use std::{
    env,
    io::{self, IsTerminal as _, Write},
};

use serde::Serialize;

use crate::{
    args::Format,
    document::{ErrorDocument, to_json, to_line, to_yaml},
    error::ProbeError,
    render::{Paint, Screen, Style, said_by},
};

/// Where answers and messages go, and how they look there.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
    colour: bool,
    message_colour: bool,
}

impl Output {
    /// Colours only where a person looks, and not against that person's wish (<https://no-color.org>).
    pub fn new(format: Format) -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            format,
            colour: wanted && io::stdout().is_terminal(),
            message_colour: wanted && io::stderr().is_terminal(),
        }
    }

    /// How answers look.
    pub fn style(self) -> Style {
        Style {
            colour: self.colour,
            wide: self.format == Format::Wide,
        }
    }

    /// Prints an answer: as a document for programs, or rendered for people.
    pub fn answer<D: Serialize>(
        self,
        document: &D,
        render: impl FnOnce(Style) -> String,
    ) -> Result<(), ProbeError> {
        let text = match self.format {
            Format::Json => to_json(document).map_err(ProbeError::Json)?,
            Format::Yaml => to_yaml(document).map_err(ProbeError::Json)?,
            Format::Jsonl => to_line(document).map_err(ProbeError::Json)?,
            _ => render(self.style()),
        };
        Self::text(&text)
    }

    /// Prints an answer that is neither a document nor rendered for people.
    pub fn text(text: &str) -> Result<(), ProbeError> {
        let mut stdout = io::stdout().lock();
        unless_closed(
            stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush()),
        )
        .map_err(ProbeError::Print)
    }

    /// Prints a text that is a document of its own, whatever the format.
    pub fn raw(text: &str) -> Result<(), ProbeError> {
        let mut stdout = io::stdout().lock();
        unless_closed(
            stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush()),
        )
        .map_err(ProbeError::Print)
    }

    /// What was asked for.
    pub const fn format(self) -> Format {
        self.format
    }

    /// One line of an answer that goes on; programs get all of it at the end, in one document.
    pub fn live(self, line: &str) -> Result<(), ProbeError> {
        if self.format.is_document() {
            return Ok(());
        }
        let mut screen = Screen::new(false);
        screen.line(line);
        Self::text(&screen.finish())
    }

    /// Prints an error once, with its causes and what to do; for programs also as a document on stdout.
    pub fn error(self, error: &ProbeError) {
        message(&self.rendered(error));
        if self.format.is_document() {
            self.error_document(error);
        }
    }

    /// Only the document: clap has already printed the message.
    pub fn error_document(self, error: &ProbeError) {
        let document = ErrorDocument::new(error);
        let text = match self.format {
            Format::Yaml => to_yaml(&document),
            Format::Jsonl => to_line(&document),
            _ => to_json(&document),
        };
        if let Ok(text) = text {
            // An error about an error would help nobody: the exit code still tells.
            drop(io::stdout().write_all(text.as_bytes()));
        }
    }

    /// Whether somebody watches stderr, so that progress is worth a line.
    pub fn is_watched() -> bool {
        io::stderr().is_terminal()
    }

    /// One line for who watches a wait.
    pub fn progress(line: &str) {
        let mut screen = Screen::new(false);
        screen.line(line);
        message(&screen.finish());
    }

    fn rendered(self, error: &ProbeError) -> String {
        let mut screen = Screen::new(self.message_colour);
        screen.put(Paint::Bad, "error: ");
        for line in error.lines() {
            screen.line(&line);
        }
        for cause in error.causes() {
            screen.put(Paint::Plain, "  because: ").line(&cause);
        }
        if let Some(advice) = error.advice() {
            screen.put(Paint::Plain, "  help: ").line(&advice);
        }
        for voice in error.others() {
            screen.put(Paint::Plain, "  ").line(&said_by(voice));
        }
        screen.finish()
    }
}

/// Nobody is left to be told that stderr is gone.
fn message(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

/// A reader that has seen enough (`| head`) closes the pipe: that is no error, and it changes no judgement.
fn unless_closed(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use diagnosis::graph::{Problem, Problems};

    use super::*;

    #[test]
    fn each_of_our_lines_is_one_and_the_text_of_others_makes_none() {
        let problem = |line| Problem {
            file: "a\u{1b}[2J\nb.yaml".to_owned(),
            line,
            path: "levels".to_owned(),
            text: "required".to_owned(),
        };
        let error = ProbeError::Graph(Problems(vec![problem(1), problem(5)]));
        assert_eq!(
            Output::new(Format::Table).rendered(&error),
            "error: the gate graph cannot be used:\n\
             a\\u{1b}[2J\\u{a}b.yaml:1: levels: required\n\
             a\\u{1b}[2J\\u{a}b.yaml:5: levels: required\n"
        );
    }
}
