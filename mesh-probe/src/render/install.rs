//! A plan to be followed line by line: what is no command is a comment to a shell.

use super::{
    Style,
    screen::{Paint, Screen},
};
use crate::install::{File, Plan};

/// The plan.
pub fn install(plan: &Plan, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    for warning in &plan.warnings {
        screen.put(Paint::Bad, "# take care: ").line(warning);
    }
    for (number, step) in plan.steps.iter().enumerate() {
        screen.line("");
        screen
            .put(Paint::Bold, &format!("# {}. {}", number + 1, step.title))
            .end();
        screen.line(&format!("#    {}", step.why));
        for file in &step.files {
            heredoc(&mut screen, file);
        }
        for command in &step.commands {
            screen.line(command);
        }
    }
    screen.finish()
}

fn heredoc(screen: &mut Screen, file: &File) {
    screen.line(&format!("cat >{} <<'END'", file.name));
    for line in file.content.lines() {
        screen.line(line);
    }
    screen.line("END");
}
