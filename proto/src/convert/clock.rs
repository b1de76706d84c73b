//! Facts about clocks.

use evidence::{
    Clock, Fact, KernelClock, Moment, Ntp, NtpServer, NtpStage, Step, WallReading, limits,
};

use super::{ConvertError, at_most, ip_from_wire, ip_to_wire, known, short_text};
use crate::wire;

pub(super) fn to_wire(clock: &Clock) -> wire::Clock {
    let Clock {
        reading,
        booted,
        kernel,
        stepped,
    } = *clock;
    wire::Clock {
        reading: Some(reading_to_wire(reading)),
        booted_ms: booted.as_millis(),
        kernel: kernel.map(kernel_to_wire),
        stepped: stepped.map(|Step { at, by_ms }| wire::ClockStep {
            at_ms: at.as_millis(),
            by_ms,
        }),
    }
}

pub(super) fn from_wire(clock: &wire::Clock) -> Result<Fact, ConvertError> {
    let wire::Clock {
        reading,
        booted_ms,
        kernel,
        stepped,
    } = *clock;
    let reading = reading.ok_or_else(|| ConvertError::new("clock.reading", "a reading"))?;
    Ok(Fact::Clock(Clock {
        reading: reading_from_wire(reading),
        booted: Moment::from_millis(booted_ms),
        kernel: kernel.map(kernel_from_wire),
        stepped: stepped.map(|wire::ClockStep { at_ms, by_ms }| Step {
            at: Moment::from_millis(at_ms),
            by_ms,
        }),
    }))
}

pub(super) fn reading_to_wire(reading: WallReading) -> wire::WallReading {
    let WallReading {
        at,
        wall_ms,
        error_us,
    } = reading;
    wire::WallReading {
        at_ms: at.as_millis(),
        wall_ms,
        error_us,
    }
}

pub(super) fn reading_from_wire(reading: wire::WallReading) -> WallReading {
    let wire::WallReading {
        at_ms,
        wall_ms,
        error_us,
    } = reading;
    WallReading {
        at: Moment::from_millis(at_ms),
        wall_ms,
        error_us,
    }
}

pub(super) fn ntp_to_wire(ntp: &Ntp) -> wire::Ntp {
    let Ntp { servers } = ntp;
    wire::Ntp {
        servers: servers.iter().map(server_to_wire).collect(),
    }
}

pub(super) fn ntp_from_wire(ntp: wire::Ntp) -> Result<Fact, ConvertError> {
    let wire::Ntp { servers } = ntp;
    at_most("ntp.servers", servers.len(), limits::NTP_SERVERS)?;
    let servers: Result<_, _> = servers.into_iter().map(server_from_wire).collect();
    Ok(Fact::Ntp(Ntp { servers: servers? }))
}

fn kernel_to_wire(kernel: KernelClock) -> wire::KernelClock {
    let KernelClock {
        synchronized,
        max_error_us,
        estimated_error_us,
    } = kernel;
    wire::KernelClock {
        synchronized,
        max_error_us,
        estimated_error_us,
    }
}

fn kernel_from_wire(kernel: wire::KernelClock) -> KernelClock {
    let wire::KernelClock {
        synchronized,
        max_error_us,
        estimated_error_us,
    } = kernel;
    KernelClock {
        synchronized,
        max_error_us,
        estimated_error_us,
    }
}

fn server_to_wire(server: &NtpServer) -> wire::NtpServer {
    let NtpServer {
        name,
        asked,
        address,
        stage,
        detail,
        failed_in_a_row,
        told,
        stratum,
    } = server;
    wire::NtpServer {
        name: name.clone(),
        asked_ms: asked.as_millis(),
        address: address.map_or_else(Vec::new, ip_to_wire),
        stage: stage_to_wire(*stage).into(),
        detail: detail.clone(),
        failed_in_a_row: *failed_in_a_row,
        told: told.map(reading_to_wire),
        stratum: stratum.map(u32::from),
    }
}

const STAGES: &str = "one of the known stages";

fn server_from_wire(server: wire::NtpServer) -> Result<NtpServer, ConvertError> {
    let stage = stage_from_wire(known("ntp.stage", STAGES, server.stage)?)?;
    let wire::NtpServer {
        name,
        asked_ms,
        address,
        stage: _,
        detail,
        failed_in_a_row,
        told,
        stratum,
    } = server;
    let address = match address.as_slice() {
        [] => None,
        bytes => Some(ip_from_wire("ntp.address", bytes)?),
    };
    let byte =
        |stratum| u8::try_from(stratum).map_err(|_| ConvertError::new("ntp.stratum", "8 bits"));
    let text = |text| short_text("ntp.detail", text);
    Ok(NtpServer {
        name: short_text("ntp.name", name)?,
        asked: Moment::from_millis(asked_ms),
        address,
        stage,
        detail: detail.map(text).transpose()?,
        failed_in_a_row,
        told: told.map(reading_from_wire),
        stratum: stratum.map(byte).transpose()?,
    })
}

fn stage_to_wire(stage: NtpStage) -> wire::NtpStage {
    match stage {
        NtpStage::NoSuchName => wire::NtpStage::NoSuchName,
        NtpStage::NameUnanswered => wire::NtpStage::NameUnanswered,
        NtpStage::NoRoute => wire::NtpStage::NoRoute,
        NtpStage::PortClosed => wire::NtpStage::PortClosed,
        NtpStage::Silent => wire::NtpStage::Silent,
        NtpStage::Malformed => wire::NtpStage::Malformed,
        NtpStage::Refused => wire::NtpStage::Refused,
        NtpStage::Unsynchronized => wire::NtpStage::Unsynchronized,
        NtpStage::Answered => wire::NtpStage::Answered,
    }
}

fn stage_from_wire(stage: wire::NtpStage) -> Result<NtpStage, ConvertError> {
    Ok(match stage {
        wire::NtpStage::Unspecified => {
            return Err(ConvertError::new("ntp.stage", STAGES));
        }
        wire::NtpStage::NoSuchName => NtpStage::NoSuchName,
        wire::NtpStage::NameUnanswered => NtpStage::NameUnanswered,
        wire::NtpStage::NoRoute => NtpStage::NoRoute,
        wire::NtpStage::PortClosed => NtpStage::PortClosed,
        wire::NtpStage::Silent => NtpStage::Silent,
        wire::NtpStage::Malformed => NtpStage::Malformed,
        wire::NtpStage::Refused => NtpStage::Refused,
        wire::NtpStage::Unsynchronized => NtpStage::Unsynchronized,
        wire::NtpStage::Answered => NtpStage::Answered,
    })
}
