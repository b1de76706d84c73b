//! Endpoint candidates, judged from the node that is to dial them: which can work, which is in use, which comes next.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use evidence::{Candidate, Moment, TalosPeer};

/// Talos looks at its peers so often, and gives a candidate at least one look.
pub const ROTATION_TICK: Duration = Duration::from_secs(30);

/// The link that leads into the tunnel.
const KUBESPAN: &str = "kubespan";
/// What the eighth byte of an address that Talos made says it is for (network/ula.go).
const PURPOSE_KUBESPAN: u8 = 2;
const PURPOSE_SIDEROLINK: u8 = 3;

/// What there is to say of a candidate, seen from one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suitability {
    /// Nothing speaks against it.
    Usable,
    /// It was not asked how it would be reached.
    Unknown,
    /// It is an address of the dialling node itself.
    Own,
    /// It is the public address behind which the dialling node is itself: only some routers send such packets back in.
    Hairpin,
    /// It is an address inside of the tunnel.
    KubeSpan,
    /// It is an address inside of `SideroLink`.
    SideroLink,
    /// There is no IPv6 route to it.
    NoIpv6Route,
    /// There is no route to it.
    NoRoute,
    /// Its route leads into the tunnel.
    IntoTunnel,
    /// It is a private address, behind a gateway: most likely of another site.
    OtherSite,
}

impl Suitability {
    /// Whether a packet to it can arrive.
    pub const fn can_work(self) -> bool {
        matches!(self, Self::Usable | Self::Unknown)
    }

    /// Whether it is more than likely that none can.
    pub const fn is_certain(self) -> bool {
        // A cluster's own ULA may look like one of Talos': only two bytes of it tell them apart.
        !matches!(
            self,
            Self::Hairpin | Self::OtherSite | Self::KubeSpan | Self::SideroLink
        )
    }

    /// What is wrong with it, as the end of a sentence about it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usable => "can be reached",
            Self::Unknown => "was not looked up",
            Self::Own => "is an address of the dialling node itself",
            Self::Hairpin => "is the public address of the dialling node's own site",
            Self::KubeSpan => "is an address inside of the tunnel",
            Self::SideroLink => "is an address of SideroLink",
            Self::NoIpv6Route => "has no IPv6 route",
            Self::NoRoute => "has no route",
            Self::IntoTunnel => "has a route into the tunnel itself",
            Self::OtherSite => "is a private address behind a gateway, of another site",
        }
    }
}

/// Where a node stands that dials.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standpoint<'a> {
    /// Its own addresses.
    pub own: &'a [IpAddr],
    /// The public addresses that the discovery service saw for it.
    pub public: &'a [IpAddr],
}

/// Judges one candidate.
pub fn judge(candidate: &Candidate, from: Standpoint<'_>) -> Suitability {
    let ip = candidate.to.ip();
    if let Some(purpose) = purpose(ip) {
        return purpose;
    }
    if from.own.contains(&ip) {
        return Suitability::Own;
    }
    if from.public.contains(&ip) {
        return Suitability::Hairpin;
    }
    let Some(way) = &candidate.way else {
        return Suitability::Unknown;
    };
    match &way.via {
        None if ip.is_ipv6() => Suitability::NoIpv6Route,
        None => Suitability::NoRoute,
        Some(via) if via == KUBESPAN => Suitability::IntoTunnel,
        Some(_) if is_private(ip) && !way.on_link => Suitability::OtherSite,
        Some(_) => Suitability::Usable,
    }
}

/// Talos' own prefixes are told by their first and eighth byte.
fn purpose(ip: IpAddr) -> Option<Suitability> {
    let IpAddr::V6(ip) = ip else {
        return None;
    };
    match ip.octets() {
        [0xfd, _, _, _, _, _, _, PURPOSE_KUBESPAN, ..] => Some(Suitability::KubeSpan),
        [0xfd, _, _, _, _, _, _, PURPOSE_SIDEROLINK, ..] => Some(Suitability::SideroLink),
        _ => None,
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => is_unique_local(ip),
    }
}

fn is_unique_local(ip: Ipv6Addr) -> bool {
    ip.octets()[0] & 0xfe == 0xfc
}

/// What is left of a rotation until it comes to a candidate that can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation<'a> {
    /// The next candidate that can work.
    pub next_good: &'a Candidate,
    /// How many candidates are tried before it, the present one included.
    pub before: usize,
    /// How long that takes at least, if Talos rotates.
    pub at_least: Duration,
}

/// How Talos comes from the candidate that it set last to one that can work; none if none can.
pub fn rotation<'a>(
    peer: &'a TalosPeer,
    from: Standpoint<'_>,
    now: Moment,
) -> Option<Rotation<'a>> {
    let told = &peer.candidates;
    let status = peer.status.as_ref();
    let last = status.and_then(|status| status.last_used);
    let at = told.iter().position(|candidate| Some(candidate.to) == last);
    let after = at.map_or(0, |at| at.saturating_add(1));
    let order = told.iter().cycle().skip(after).take(told.len());
    let (steps, next_good) = order
        .enumerate()
        .find(|(_, candidate)| judge(candidate, from).can_work())?;
    let before = steps.saturating_add(usize::from(at.is_some()));
    let looks = u32::try_from(before).unwrap_or(u32::MAX);
    let begun = status.and_then(|status| status.last_change);
    let passed = begun.map_or(Duration::ZERO, |begun| now.since(begun).min(ROTATION_TICK));
    Some(Rotation {
        next_good,
        before,
        at_least: (ROTATION_TICK * looks).saturating_sub(passed),
    })
}

#[cfg(test)]
mod tests {
    use evidence::{CandidateWay, TalosPeerStatus};

    use super::*;

    const OWN: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 50, 11))];
    const PUBLIC: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 2))];
    const HOME: Standpoint<'static> = Standpoint {
        own: &OWN,
        public: &PUBLIC,
    };

    fn candidate(to: &str, via: Option<&str>, on_link: bool) -> Candidate {
        Candidate {
            to: to.parse().unwrap(),
            way: Some(CandidateWay {
                via: via.map(ToOwned::to_owned),
                on_link,
            }),
        }
    }

    #[test]
    fn each_candidate_is_judged_by_where_it_would_be_dialled_from() {
        use Suitability as S;
        let table = [
            ("203.0.113.11:51820", Some("eth0"), false, S::Usable),
            ("192.168.50.12:51820", Some("eth0"), true, S::Usable),
            ("192.168.50.11:51820", Some("lo"), true, S::Own),
            ("198.51.100.2:51820", Some("eth0"), false, S::Hairpin),
            ("10.0.0.7:51820", Some("eth0"), false, S::OtherSite),
            ("10.0.0.7:51820", Some("kubespan"), true, S::IntoTunnel),
            ("192.0.2.1:51820", None, false, S::NoRoute),
            ("[2001:db8::1]:51820", None, false, S::NoIpv6Route),
            (
                "[fd7f:175a:b97c:5602::1]:51820",
                Some("eth0"),
                true,
                S::KubeSpan,
            ),
            (
                "[fdae:41e4:649b:9303::1]:51820",
                Some("eth0"),
                true,
                S::SideroLink,
            ),
        ];
        for (to, via, on_link, expected) in table {
            assert_eq!(judge(&candidate(to, via, on_link), HOME), expected, "{to}");
        }
        let mut unasked = candidate("203.0.113.11:51820", None, false);
        unasked.way = None;
        assert_eq!(judge(&unasked, HOME), S::Unknown);
    }

    fn peer(told: Vec<Candidate>, at: Option<usize>) -> TalosPeer {
        let last_used = at.map(|at| told[at].to);
        TalosPeer {
            since: Moment::ZERO,
            label: String::new(),
            address: None,
            allowed_ips: Vec::new(),
            candidates: told,
            left_out: 0,
            status: Some(TalosPeerStatus {
                last_used,
                last_change: at.map(|_| Moment::from_millis(10_000)),
                ..TalosPeerStatus::default()
            }),
        }
    }

    #[test]
    fn a_rotation_takes_a_look_for_each_candidate_before_one_that_can_work() {
        let told = vec![
            candidate("203.0.113.11:51820", Some("eth0"), false),
            candidate("10.0.0.7:51820", Some("eth0"), false),
            candidate("[2001:db8::1]:51820", None, false),
        ];
        let now = Moment::from_millis(20_000);
        let left = |at| {
            let peer = peer(told.clone(), at);
            let rotation = rotation(&peer, HOME, now).unwrap();
            (rotation.before, rotation.at_least.as_secs())
        };
        assert_eq!(left(None), (0, 0));
        assert_eq!(left(Some(1)), (2, 50));
        assert_eq!(left(Some(2)), (1, 20));
        let hopeless = peer(told[1..].to_vec(), Some(0));
        assert_eq!(rotation(&hopeless, HOME, now), None);
    }
}
