//! Facts first, then what follows from them.

use super::{
    Style,
    screen::{Paint, Screen},
    table::{Cell, Table},
};
use crate::{adhoc::Facts, exit::Exit};

/// The screen of a command that looked for itself.
pub fn facts<F: Facts>(facts: &F, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    screen.put(Paint::Bold, &facts.title()).end();
    let mut table = Table::new();
    for (name, value) in facts.lines() {
        table.row([Cell::plain(&name), Cell::plain(value)]);
    }
    table.draw(&mut screen, 2);
    for conclusion in facts.conclusions() {
        screen
            .put(paint(facts.exit()), "conclusion: ")
            .line(&conclusion);
    }
    screen.put(Paint::Plain, "method: ").line(&facts.method());
    screen.finish()
}

const fn paint(exit: Exit) -> Paint {
    match exit {
        Exit::Ready => Paint::Good,
        Exit::NotReady => Paint::Bad,
        _ => Paint::Bold,
    }
}
