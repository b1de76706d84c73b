//! What a file may say.

/// One field of the file, for its documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The path of its key; `[]` stands for each item of a list.
    pub path: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What holds where it is left out.
    pub default: &'static str,
    /// What it is for.
    pub about: &'static str,
}

const fn field(
    path: &'static str,
    takes: &'static str,
    default: &'static str,
    about: &'static str,
) -> Field {
    Field {
        path,
        takes,
        default,
        about,
    }
}

/// All fields. `docs/gates.md` is checked against them, and no other key is taken.
pub const FIELDS: [Field; 14] = [
    field(
        "expect",
        "a map",
        "nothing more than the levels say",
        "what holds for every level",
    ),
    field(
        "expect.min_nodes",
        "1 to 1024",
        "2",
        "fewer fresh reporters than this: nothing is ready; `--min-nodes` goes before it",
    ),
    field(
        "expect.nodes",
        "a list of node names",
        "none",
        "nodes that must report; `--expect` goes before it",
    ),
    field(
        "levels",
        "a list of 1 to 64 levels",
        "required",
        "the graph, in the order in which it is shown",
    ),
    field(
        "levels[].name",
        "1 to 63 lower-case letters, digits and `-`",
        "required",
        "as `mesh-probe gate NAME`, `/gate/NAME` and the health service take it",
    ),
    field(
        "levels[].title",
        "a text",
        "empty",
        "what the level stands for",
    ),
    field(
        "levels[].depends_on",
        "a list of levels; each a name, or a map of `level` and `cost`",
        "none",
        "the levels directly below",
    ),
    field(
        "levels[].depends_on[].level",
        "a name",
        "required",
        "the lower level",
    ),
    field(
        "levels[].depends_on[].cost",
        "1 to 1000",
        "1",
        "what it costs to do without: of a circle the cheapest edge is proposed to be cut",
    ),
    field(
        "levels[].check",
        "`underlay`, `wireguard`, `mesh`, `mtu`, `discovery` or `none`",
        "`none`",
        "what proves the level; with `none` it is always unknown, so only whether it may start can be asked",
    ),
    field(
        "levels[].stable_for",
        "a time up to 1h",
        "0s",
        "ready only after the check was good without a break for so long",
    ),
    field(
        "levels[].fresh_within",
        "a time from 2s to 4m",
        "4s for reports, 4m for looks at the discovery service",
        "older reports (and for `discovery` older looks) count as none; longer than the default changes nothing",
    ),
    field(
        "levels[].expect",
        "a map of `min_nodes` and `nodes`",
        "none",
        "the same as above, for this level alone",
    ),
    field(
        "levels[].needs_clocks",
        "`true` or `false`",
        "`true` with the check `discovery`",
        "wrong clocks shut the level, as it rests on certificates",
    ),
];
