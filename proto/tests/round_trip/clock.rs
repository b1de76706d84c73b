//! Facts about clocks.

use evidence::{Clock, Fact, KernelClock, Ntp, NtpServer, NtpStage, Step, WallReading, limits};
use proptest::prelude::*;

use super::{ip, moment};

pub(crate) fn reading() -> impl Strategy<Value = WallReading> {
    (moment(), any::<i64>(), any::<u32>()).prop_map(|(at, wall_ms, error_us)| WallReading {
        at,
        wall_ms,
        error_us,
    })
}

pub(crate) fn clock() -> impl Strategy<Value = Fact> {
    let kernel = any::<Option<(bool, u32, u32)>>().prop_map(|kernel| {
        kernel.map(
            |(synchronized, max_error_us, estimated_error_us)| KernelClock {
                synchronized,
                max_error_us,
                estimated_error_us,
            },
        )
    });
    let step = (moment(), any::<i64>()).prop_map(|(at, by_ms)| Step { at, by_ms });
    (reading(), moment(), kernel, prop::option::of(step)).prop_map(
        |(reading, booted, kernel, stepped)| {
            Fact::Clock(Clock {
                reading,
                booted,
                kernel,
                stepped,
            })
        },
    )
}

pub(crate) fn ntp() -> impl Strategy<Value = Fact> {
    let texts = ("[ -~]{0,40}", prop::option::of("[ -~]{0,40}"));
    let stage = prop::sample::select(NtpStage::ALL.to_vec());
    let told = (prop::option::of(reading()), any::<Option<u8>>());
    let server = (
        texts,
        moment(),
        prop::option::of(ip()),
        stage,
        any::<u32>(),
        told,
    )
        .prop_map(
            |((name, detail), asked, address, stage, failed_in_a_row, (told, stratum))| NtpServer {
                name,
                asked,
                address,
                stage,
                detail,
                failed_in_a_row,
                told,
                stratum,
            },
        );
    let servers = prop::collection::vec(server, 0..=limits::NTP_SERVERS);
    servers.prop_map(|servers| Fact::Ntp(Ntp { servers }))
}
