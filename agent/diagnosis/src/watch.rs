//! One judgement after the other, each of what has changed since the last.

use evidence::{Moment, Verdict};

use crate::{
    PairFilter, PairPage, View,
    clocks::{self, Clocks},
    directions::Table,
    mesh::{Memo, Mesh, Site},
    page, verdict,
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
        self.follow(view, now, verdict)
    }

    /// The ladders of the pairs that are asked for, as [`crate::pairs`] tells them.
    pub fn pairs(&mut self, view: &View, filter: &PairFilter, now: Moment) -> PairPage {
        self.follow(view, now, |mesh, _, _| page::of(mesh, filter))
    }

    /// Takes in what is new, all of it: what one question has seen is new to no other one.
    fn follow<T>(
        &mut self,
        view: &View,
        now: Moment,
        tell: impl FnOnce(&Mesh<'_>, &Table, &Clocks<'_, '_>) -> T,
    ) -> T {
        let news = self.memo.take_in(view, now);
        let mesh = Mesh::new(view, now, (&self.memo, &news), &self.sites);
        self.table.update(&mesh, &news);
        let clocks = clocks::compare(&mesh, &news, &mut self.clocks);
        let told = tell(&mesh, &self.table, &clocks);
        mesh.note_sites(&mut self.sites);
        told
    }
}
