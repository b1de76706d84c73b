//! One judgement after the other, each of what has changed since the last.

use evidence::{Moment, Verdict};

use crate::{
    View, clocks,
    directions::Table,
    mesh::{Memo, Mesh, Site},
    verdict,
};

/// Judges the views of one mesh, one after the other.
///
/// What it remembers makes it quick, and nothing else: of any view it says, bit for bit, what [`crate::diagnose`] says, which
/// remembers nothing. It finds by itself what is new in a view.
#[derive(Debug, Default)]
pub struct Watch {
    memo: Memo,
    sites: Vec<Site>,
    table: Table,
    clocks: clocks::Memo,
}

impl Watch {
    /// Judges a view.
    pub fn diagnose(&mut self, view: &View, now: Moment) -> Verdict {
        let news = self.memo.take_in(view, now);
        let mesh = Mesh::new(view, now, (&self.memo, &news), &self.sites);
        self.table.update(&mesh, &news);
        let clocks = clocks::compare(&mesh, &news, &mut self.clocks);
        let verdict = verdict(&mesh, &self.table, &clocks);
        self.sites = mesh.sites();
        verdict
    }
}
