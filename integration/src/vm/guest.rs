//! What runs inside of the machine: one order after the other, an answer for each.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read as _, Write as _},
    path::Path,
    process::{Command, Output},
    time::Instant,
};

use crate::{
    lab::{LabError, sandbox, stage_kind::StageKind},
    vm::orders::{Event, MAX_LINE, Order},
};

/// How much of a failed run's output is sent: its end says why.
const LOG_BYTES: usize = 4096;

/// Carries out the orders that come over the serial `port`, until one says that it is enough or nothing can come any more.
pub fn obey(port: &Path) -> Result<(), LabError> {
    let file = fs::File::open(port).map_err(LabError::io("open", port.display()))?;
    let mut port = BufReader::new(file);
    let kernel = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    answer(&Event::Started {
        kernel,
        uptime_s: uptime(),
    });
    while let Some(order) = next(&mut port) {
        if order == Order::PowerOff {
            break;
        }
        answer(&carry_out(&order));
    }
    answer(&Event::Ended { uptime_s: uptime() });
    Ok(())
}

/// Lines that are no orders are passed over.
fn next(port: &mut impl BufRead) -> Option<Order> {
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    loop {
        let mut line = Vec::new();
        let length = port.take(limit).read_until(b'\n', &mut line).ok()?;
        if length == 0 {
            return None;
        }
        if let Some(order) = Order::from_line(&String::from_utf8_lossy(&line)) {
            return Some(order);
        }
    }
}

fn carry_out(order: &Order) -> Event {
    let begin = Instant::now();
    let output = command(order).output();
    let seconds = (begin.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    match output {
        Ok(output) => result(order, &output, seconds),
        Err(error) => broken(order, seconds, error.to_string()),
    }
}

fn command(order: &Order) -> Command {
    let (verb, stage, operand) = match order {
        Order::Play(scenario) => ("run", StageKind::Kernel, scenario.as_str()),
        Order::Measure(subject, stage) => ("facts", *stage, subject.name()),
        Order::PowerOff => ("list", StageKind::Kernel, ""),
    };
    let mut command = sandbox::own_program(verb);
    command.args(["--stage", stage.name(), "--output", "json", "--", operand]);
    command
}

fn result(order: &Order, output: &Output, seconds: f64) -> Event {
    let answer = if let Order::Measure(..) = order {
        let facts = serde_json::from_slice(&output.stdout);
        facts.map(|facts| Event::Facts { facts, seconds })
    } else {
        serde_json::from_slice(&output.stdout).map(|result| Event::Scenario {
            result,
            seconds,
            log: log_of_failure(output),
        })
    };
    answer.unwrap_or_else(|_| broken(order, seconds, end_of(&output.stderr)))
}

fn broken(order: &Order, seconds: f64, log: String) -> Event {
    Event::Broken {
        what: order.to_string(),
        seconds,
        log,
    }
}

fn log_of_failure(output: &Output) -> String {
    if output.status.success() {
        String::new()
    } else {
        end_of(&output.stderr)
    }
}

fn end_of(log: &[u8]) -> String {
    let begin = log.len().saturating_sub(LOG_BYTES);
    String::from_utf8_lossy(&log[begin..]).into_owned()
}

/// One line in one piece. Nobody is left to be told that the serial line is gone.
fn answer(event: &Event) {
    if let Ok(line) = event.to_line() {
        let mut out = io::stdout().lock();
        drop(writeln!(out, "{line}").and_then(|()| out.flush()));
    }
}

/// Seconds since the machine was switched on.
fn uptime() -> f64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_whitespace().next();
    seconds.and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_one_by_one_and_noise_is_passed_over() {
        let text = "noise\n@lab {\"play\":\"a\"}\r\n@lab {}\n@lab \"power-off\"\n";
        let mut port = text.as_bytes();
        assert_eq!(next(&mut port), Some(Order::Play("a".to_owned())));
        assert_eq!(next(&mut port), Some(Order::PowerOff));
        assert_eq!(next(&mut port), None);
    }
}
