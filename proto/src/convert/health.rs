//! The fact about the agent itself.

use evidence::{Conntrack, Drops, Health, Lag, Moment};

use crate::wire;

pub(super) fn to_wire(health: &Health) -> wire::Health {
    let Health {
        lag,
        stalled,
        tap,
        echo,
        backlog,
        squeezed,
        conntrack,
    } = *health;
    wire::Health {
        lag: lag.map(|Lag { mean_us, max_us }| wire::Lag { mean_us, max_us }),
        stalled_ms: stalled.map(Moment::as_millis),
        tap: tap.map(drops_to_wire),
        echo: echo.map(drops_to_wire),
        backlog: backlog.map(drops_to_wire),
        squeezed: squeezed.map(drops_to_wire),
        conntrack: conntrack.map(|Conntrack { at, count, max }| wire::Conntrack {
            at_ms: at.as_millis(),
            count,
            max,
        }),
    }
}

pub(super) fn from_wire(health: wire::Health) -> Health {
    let wire::Health {
        lag,
        stalled_ms,
        tap,
        echo,
        backlog,
        squeezed,
        conntrack,
    } = health;
    Health {
        lag: lag.map(|wire::Lag { mean_us, max_us }| Lag { mean_us, max_us }),
        stalled: stalled_ms.map(Moment::from_millis),
        tap: tap.map(drops_from_wire),
        echo: echo.map(drops_from_wire),
        backlog: backlog.map(drops_from_wire),
        squeezed: squeezed.map(drops_from_wire),
        conntrack: conntrack.map(|wire::Conntrack { at_ms, count, max }| Conntrack {
            at: Moment::from_millis(at_ms),
            count,
            max,
        }),
    }
}

pub(super) fn drops_to_wire(drops: Drops) -> wire::Drops {
    let Drops { count, last } = drops;
    wire::Drops {
        count,
        last_ms: last.map(Moment::as_millis),
    }
}

pub(super) fn drops_from_wire(drops: wire::Drops) -> Drops {
    let wire::Drops { count, last_ms } = drops;
    Drops {
        count,
        last: last_ms.map(Moment::from_millis),
    }
}
