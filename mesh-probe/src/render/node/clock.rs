//! A node's clock and its time servers.

use std::time::{Duration, UNIX_EPOCH};

use evidence::{Clock, Moment, Ntp, NtpServer, NtpStage};

use super::{ago, signed};

/// The last second that is written as a date: 9999-12-31.
const LAST_DATE: u64 = 253_402_300_799;

/// The node's own clock.
pub fn clock(clock: &Clock, now: Moment) -> Vec<String> {
    let read = ago(clock.reading.at, now);
    let mut lines = vec![format!(
        "wall clock {}, read {read}",
        date(clock.reading.wall_ms)
    )];
    lines.push(match clock.kernel {
        None => "kernel: does not tell of its clock".to_owned(),
        Some(kernel) if kernel.synchronized => format!(
            "kernel: synchronized, off by {} ms at most",
            kernel.max_error_us.div_ceil(1000)
        ),
        Some(_) => "kernel: nobody disciplines the clock".to_owned(),
    });
    let step = clock.stepped;
    lines.extend(step.map(|step| format!("set by {} {}", signed(step.by_ms), ago(step.at, now))));
    lines
}

/// The time servers, one line each; `own` is what their time is compared with.
pub fn ntp(ntp: &Ntp, own: Option<&Clock>, now: Moment) -> Vec<String> {
    let line = |server: &NtpServer| {
        let address = server
            .address
            .filter(|address| address.to_string() != server.name);
        let address = address.map_or_else(String::new, |address| format!(" ({address})"));
        let detail = server.detail.as_ref();
        let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
        let failed = match server.failed_in_a_row {
            0 | 1 => String::new(),
            times => format!(", {times} times in a row"),
        };
        let told = told(server, own);
        let (name, stage, asked) = (&server.name, server.stage, ago(server.asked, now));
        format!("{name}{address}: {stage}{failed}{told}, asked {asked}{detail}")
    };
    ntp.servers.iter().map(line).collect()
}

/// What an answer said, as far as it can be compared.
fn told(server: &NtpServer, own: Option<&Clock>) -> String {
    let offset = server
        .told
        .zip(own)
        .map(|(told, own)| told.ahead_of(&own.reading));
    match offset.filter(|_| server.stage == NtpStage::Answered) {
        None => String::new(),
        Some(offset) => {
            let stratum = server
                .stratum
                .map_or_else(String::new, |stratum| format!(", stratum {stratum}"));
            format!(
                ", {} ms from the own clock (give or take {} ms){stratum}",
                offset.ahead_ms, offset.error_ms
            )
        }
    }
}

/// A wall clock as a date, if it is of an age that has dates here.
fn date(wall_ms: i64) -> String {
    let since = u64::try_from(wall_ms).ok().map(Duration::from_millis);
    match since.filter(|since| since.as_secs() <= LAST_DATE) {
        Some(since) => humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string(),
        None => format!("{wall_ms} ms from 1970"),
    }
}

#[cfg(test)]
mod tests {
    use evidence::{KernelClock, Step, WallReading};

    use super::*;

    const NOW: Moment = Moment::from_millis(100_000);

    fn own() -> Clock {
        Clock {
            reading: WallReading {
                at: Moment::from_millis(97_000),
                wall_ms: 1_795_000_000_000,
                error_us: 0,
            },
            kernel: Some(KernelClock {
                synchronized: true,
                max_error_us: 15_500,
                estimated_error_us: 0,
            }),
            stepped: Some(Step {
                at: Moment::from_millis(88_000),
                by_ms: -5_000,
            }),
            ..Clock::default()
        }
    }

    #[test]
    fn a_clock_is_told_with_its_age_and_its_last_step() {
        let expected = [
            "wall clock 2026-11-18T11:06:40.000Z, read 3.0 s ago",
            "kernel: synchronized, off by 16 ms at most",
            "set by -5.0 s 12 s ago",
        ];
        assert_eq!(clock(&own(), NOW), expected);
    }

    #[test]
    fn clocks_that_have_no_date_are_told_all_the_same() {
        assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date(-1), "-1 ms from 1970");
        assert_eq!(date(i64::MAX), "9223372036854775807 ms from 1970");
    }

    #[test]
    fn a_time_server_says_how_far_the_question_came() {
        let server = NtpServer {
            name: "time.example.org".to_owned(),
            asked: Moment::from_millis(80_000),
            address: Some([192, 0, 2, 1].into()),
            stage: NtpStage::Answered,
            detail: None,
            failed_in_a_row: 0,
            told: Some(WallReading {
                at: Moment::from_millis(97_000),
                wall_ms: 1_795_000_000_020,
                error_us: 3_000,
            }),
            stratum: Some(2),
        };
        let silent = NtpServer {
            stage: NtpStage::Silent,
            failed_in_a_row: 3,
            ..server.clone()
        };
        let servers = Ntp {
            servers: vec![server, silent],
        };
        let expected = [
            "time.example.org (192.0.2.1): answered, 20 ms from the own clock (give or take 5 ms), stratum 2, asked 20 s ago",
            "time.example.org (192.0.2.1): silent, 3 times in a row, asked 20 s ago",
        ];
        assert_eq!(ntp(&servers, Some(&own()), NOW), expected);
    }
}
