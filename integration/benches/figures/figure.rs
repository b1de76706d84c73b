//! What a bench found out, as one line.

use std::fmt;

/// One measured figure, with that of somebody else's program for the same job where there is one.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) peer: Option<f64>,
    pub(crate) better: Better,
    pub(crate) goal: Goal,
}

/// Which way a figure improves; the ratio is so that more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// So many times as good as the peer.
    Ratio(f64),
    /// No more than this, in the figure's own unit.
    AtMost(f64),
}

impl Figure {
    fn ratio(&self) -> Option<f64> {
        let peer = self.peer?;
        Some(match self.better {
            Better::More => self.ours / peer,
            Better::Less => peer / self.ours,
        })
    }

    fn is_reached(&self) -> bool {
        match self.goal {
            Goal::Ratio(goal) => self.ratio().is_some_and(|ratio| ratio >= goal),
            Goal::AtMost(goal) => self.ours <= goal,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name, unit, ours, ..
        } = self;
        write!(f, "bench {name} ours={}{unit} ", Short(*ours))?;
        match self.peer.zip(self.ratio()) {
            Some((peer, ratio)) => write!(f, "peer={}{unit} ratio={ratio:.2} ", Short(peer))?,
            None => f.write_str("peer=- ratio=- ")?,
        }
        match self.goal {
            Goal::Ratio(goal) => write!(f, "goal=>={goal:.1} ")?,
            Goal::AtMost(goal) => write!(f, "goal=<={}{unit} ", Short(goal))?,
        }
        f.write_str(if self.is_reached() { "ok" } else { "short" })
    }
}

/// A number with no more digits than a measurement deserves.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0.abs() {
            large if large >= 100.0 => 0,
            middle if middle >= 10.0 => 1,
            _ => 2,
        };
        write!(f, "{:.digits$}", self.0)
    }
}

/// The middle one; of an even number, the lower of both.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(f64::NAN)
}

/// What so great a share of the values does not exceed.
pub(crate) fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let below = |value: usize| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
    let wanted = share * below(values.len());
    let mut places = (1..=values.len()).zip(values);
    let found = places.find(|(place, _)| below(*place) >= wanted);
    found.map_or(f64::NAN, |(_, value)| value)
}
