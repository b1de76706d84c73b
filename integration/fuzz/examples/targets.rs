//! Prints the names of all targets, for `./dev fuzz`.

use std::io::{self, Write as _};

fn main() -> io::Result<()> {
    writeln!(io::stdout(), "{}", fuzz::names().join("\n"))
}
