//! Clocks and time servers.

use evidence::{
    Clock, EchoSent, Fact, FactKey, Ntp, NtpServer, NtpStage, Step, Talos, TalosTime, WallReading,
};

use super::{Case, READY, case};
use crate::support::{Lab, ago, healthy::reading, key};

const IMPOSSIBLE: &str = "clock-impossible";
const SKEW: &str = "clock-skew";
const UNREACHABLE: &str = "ntp-unreachable";
const WRONG: &str = "ntp-wrong-time";
const NODE: &str = "home-worker";
const TWO: [&str; 2] = ["vps-1", NODE];

pub(crate) fn cases() -> Vec<Case> {
    [clocks(), pairs(), servers(), quiet()].concat()
}

fn clocks() -> Vec<Case> {
    vec![
        case(
            "a clock that started in 1970",
            Lab::healthy().ahead(NODE, -1_795_000_000_000, 9_500),
            &[(IMPOSSIBLE, NODE)],
            READY,
            &[SKEW],
        ),
        case(
            "a clock of 1970 whose time server has no name is one trouble",
            Lab::healthy().ahead(NODE, -1_795_000_000_000, 9_500).asks(
                NODE,
                NtpStage::NameUnanswered,
                1,
            ),
            &[(IMPOSSIBLE, NODE)],
            READY,
            &[SKEW, UNREACHABLE],
        ),
        case(
            "one clock of four is ten seconds ahead",
            Lab::healthy().ahead(NODE, 10_000, 9_500),
            &[(SKEW, NODE)],
            READY,
            &[IMPOSSIBLE, WRONG],
        ),
        case(
            "one clock of four is 0.8 s behind",
            Lab::healthy().ahead(NODE, -800, 9_500),
            &[(SKEW, NODE)],
            READY,
            &[IMPOSSIBLE],
        ),
        case(
            "a clock that is 0.4 s ahead is let be",
            Lab::healthy().ahead(NODE, 400, 9_500),
            &[],
            READY,
            &[SKEW],
        ),
        case(
            "a difference within the error bar is none",
            Lab::healthy().ahead(NODE, 3_000, 2_800_000),
            &[],
            READY,
            &[SKEW],
        ),
        case(
            "a clock that was set a moment ago is not judged by what it showed before",
            Lab::healthy()
                .ahead(NODE, 10_000, 9_500)
                .set_since(NODE, 500),
            &[],
            READY,
            &[SKEW],
        ),
    ]
}

fn pairs() -> Vec<Case> {
    let off = || Lab::of(&TWO).ahead(NODE, 10_000, 9_500);
    let mut halves = Lab::healthy().ahead(NODE, 10_000, 9_500);
    halves = halves.ahead("home-cp", 10_000, 9_500);
    // What the two that are ahead see of each other is no difference.
    for (a, b) in [(NODE, "home-cp"), ("home-cp", NODE)] {
        halves.tell(
            a,
            b,
            WallReading {
                wall_ms: reading(1000, 0).wall_ms + 10_000,
                ..reading(1000, 9_500)
            },
        );
    }
    vec![
        case(
            "of two clocks that differ nobody can say which is right",
            off(),
            &[(SKEW, "home-worker <-> vps-1")],
            READY,
            &[IMPOSSIBLE],
        ),
        case(
            "of two clocks that differ a time server knows which is right",
            off().asks("vps-1", NtpStage::Answered, 0),
            &[(SKEW, NODE)],
            READY,
            &[WRONG],
        ),
        case(
            "two against two",
            halves,
            &[(SKEW, "cluster")],
            READY,
            &[IMPOSSIBLE],
        ),
    ]
}

fn servers() -> Vec<Case> {
    let asked = |stage, failed| Lab::healthy().asks(NODE, stage, failed);
    let everybody = ["vps-1", "vps-2", "home-cp", NODE];
    let all = |stage: NtpStage| {
        let each = everybody.into_iter();
        each.fold(Lab::healthy(), |lab, node| lab.asks(node, stage, 3))
    };
    let one = &[(UNREACHABLE, NODE)];
    let mut off = all(NtpStage::Answered);
    for node in everybody {
        off.server(node, |server| {
            server.told = server.told.map(|told| WallReading {
                wall_ms: told.wall_ms + 4_000,
                ..told
            });
        });
    }
    vec![
        case(
            "a resolver says that there is no such time server",
            asked(NtpStage::NoSuchName, 1),
            one,
            READY,
            &[SKEW],
        ),
        case(
            "the port is closed",
            asked(NtpStage::PortClosed, 1),
            one,
            READY,
            &[SKEW],
        ),
        case(
            "a time server is silent for the third time",
            asked(NtpStage::Silent, 3),
            one,
            READY,
            &[WRONG],
        ),
        case(
            "a time server tells the node to go away",
            asked(NtpStage::Refused, 1),
            one,
            READY,
            &[WRONG],
        ),
        case(
            "a time server that nobody reaches is the trouble of all",
            all(NtpStage::Silent),
            &[(UNREACHABLE, "cluster")],
            READY,
            &[SKEW],
        ),
        case(
            "a time server that is four seconds off the clocks of all nodes",
            off,
            &[(WRONG, "cluster")],
            READY,
            &[SKEW, UNREACHABLE],
        ),
    ]
}

fn quiet() -> Vec<Case> {
    let mut second = Lab::healthy().asks(NODE, NtpStage::Silent, 9);
    second.also_asks(NODE, NtpStage::Answered);
    let mut blip = Lab::healthy().asks(NODE, NtpStage::Silent, 1);
    blip.also_asks(NODE, NtpStage::Silent);
    blip.also_asks(NODE, NtpStage::Silent);
    blip.server(NODE, |server| server.failed_in_a_row = 1);
    let talos = |synced| {
        let mut lab = Lab::healthy();
        let time = TalosTime {
            synced,
            disabled: false,
        };
        lab.put(
            NODE,
            Fact::Talos(Box::new(Talos {
                time: Some(time),
                ..Talos::default()
            })),
        );
        lab
    };
    vec![
        case(
            "two lost answers of a time server are nothing",
            Lab::healthy().asks(NODE, NtpStage::Silent, 2),
            &[],
            READY,
            &[UNREACHABLE],
        ),
        case(
            "one blip costs an answer of each of three time servers",
            blip,
            &[],
            READY,
            &[UNREACHABLE],
        ),
        case(
            "a resolver was silent once",
            Lab::healthy().asks(NODE, NtpStage::NameUnanswered, 1),
            &[],
            READY,
            &[UNREACHABLE],
        ),
        case(
            "one of two time servers is enough",
            second,
            &[],
            READY,
            &[UNREACHABLE],
        ),
        case(
            "a time server that was last asked an hour ago says nothing",
            Lab::healthy()
                .asks(NODE, NtpStage::PortClosed, 1)
                .asked_since(NODE, 3_600_000),
            &[],
            READY,
            &[UNREACHABLE],
        ),
        case(
            "a node that tells nothing of its clock",
            Lab::healthy().without(NODE, &FactKey::Clock),
            &[],
            READY,
            &[SKEW, IMPOSSIBLE],
        ),
        case(
            "Talos is content with its clock",
            talos(true),
            &[],
            READY,
            &[SKEW],
        ),
    ]
}

impl Lab {
    /// The node's clock is so far ahead, as it and all others see it, the latter with an error.
    pub(crate) fn ahead(mut self, node: &str, ahead_ms: i64, error_us: u32) -> Self {
        let off = |told: WallReading, ahead_ms: i64| WallReading {
            wall_ms: told.wall_ms + ahead_ms,
            ..told
        };
        self.clock(node, |clock| clock.reading = off(clock.reading, ahead_ms));
        for other in self.names().iter().filter(|other| *other != node) {
            let told = off(reading(1000, error_us), ahead_ms);
            self.tell(other, node, told);
            // What the node reads of others is right: its own clock is what is off.
            self.tell(node, other, reading(1000, error_us));
        }
        self
    }

    /// What `of` read last of the clock of `with`.
    fn tell(&mut self, of: &str, with: &str, told: WallReading) {
        let facts = &self.node(of).facts;
        let Some(Fact::EchoSent(_, echo)) = facts.get(&FactKey::EchoSent(key(with))).cloned()
        else {
            panic!("{of} asks {with}");
        };
        let echo = EchoSent {
            clock: Some(told),
            ..echo
        };
        self.put(of, Fact::EchoSent(key(with), echo));
    }

    /// The node's clock was set so long ago.
    fn set_since(mut self, node: &str, since: i64) -> Self {
        self.clock(node, |clock| {
            clock.stepped = Some(Step {
                at: ago(since),
                by_ms: -10_000,
            });
        });
        self
    }

    fn clock(&mut self, node: &str, edit: impl FnOnce(&mut Clock)) {
        let Some(Fact::Clock(mut clock)) = self.node(node).facts.get(&FactKey::Clock).cloned()
        else {
            panic!("{node} tells of its clock");
        };
        edit(&mut clock);
        self.put(node, Fact::Clock(clock));
    }

    /// The node asks one time server, which did this so often in a row.
    fn asks(mut self, node: &str, stage: NtpStage, failed_in_a_row: u32) -> Self {
        let servers = vec![time_server(stage, failed_in_a_row)];
        self.put(node, Fact::Ntp(Ntp { servers }));
        self
    }

    fn also_asks(&mut self, node: &str, stage: NtpStage) {
        let Some(Fact::Ntp(mut ntp)) = self.node(node).facts.get(&FactKey::Ntp).cloned() else {
            panic!("{node} asks a time server");
        };
        ntp.servers.push(time_server(stage, 0));
        self.put(node, Fact::Ntp(ntp));
    }

    fn asked_since(mut self, node: &str, since: i64) -> Self {
        self.server(node, |server| server.asked = ago(since));
        self
    }

    fn server(&mut self, node: &str, edit: impl Fn(&mut NtpServer)) {
        let Some(Fact::Ntp(mut ntp)) = self.node(node).facts.get(&FactKey::Ntp).cloned() else {
            panic!("{node} asks a time server");
        };
        ntp.servers.iter_mut().for_each(edit);
        self.put(node, Fact::Ntp(ntp));
    }
}

fn time_server(stage: NtpStage, failed_in_a_row: u32) -> NtpServer {
    let answered = stage == NtpStage::Answered;
    NtpServer {
        name: "time.example.org".to_owned(),
        asked: ago(20_000),
        address: Some([192, 0, 2, 123].into()),
        stage,
        detail: None,
        failed_in_a_row,
        told: answered.then(|| reading(19_950, 12_000)),
        stratum: answered.then_some(2),
    }
}
