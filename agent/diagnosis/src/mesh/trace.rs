//! How long an answer holds: until which moment the same facts give it.

use std::cell::Cell;

use evidence::Moment;

/// Notes, while a pair is judged, what of it depends on time. Each question about the present is asked through this.
#[derive(Debug)]
pub(crate) struct Trace {
    until: Cell<Moment>,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            until: Cell::new(Moment::LAST),
        }
    }
}

impl Trace {
    /// The answers that were given since the last call hold before this moment.
    pub(crate) fn take(&self) -> Moment {
        self.until.replace(Moment::LAST)
    }

    /// Something changes at that moment.
    pub(super) fn until(&self, moment: Moment) {
        self.until.set(self.until.get().min(moment));
    }

    /// What was asked for changes with each report: the answer must be asked for anew each time.
    pub(crate) fn never_holds(&self) {
        self.until.set(Moment::FIRST);
    }
}
