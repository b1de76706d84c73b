//! Time that was spent computing, in user space and in the kernel.

use nix::sys::resource::{UsageWho, getrusage};

/// CPU seconds of this thread so far.
pub(crate) fn of_this_thread() -> anyhow::Result<f64> {
    seconds(UsageWho::RUSAGE_THREAD)
}

/// CPU seconds of all children that have ended.
pub(crate) fn of_children() -> anyhow::Result<f64> {
    seconds(UsageWho::RUSAGE_CHILDREN)
}

fn seconds(who: UsageWho) -> anyhow::Result<f64> {
    let usage = getrusage(who)?;
    let seconds = |time: nix::sys::time::TimeVal| -> anyhow::Result<f64> {
        let micros = i32::try_from(time.tv_usec())?;
        Ok(f64::from(i32::try_from(time.tv_sec())?) + f64::from(micros) / 1e6)
    };
    Ok(seconds(usage.user_time())? + seconds(usage.system_time())?)
}
