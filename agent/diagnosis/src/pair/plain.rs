//! Directions that are good in everything, found so by the few words that such a direction needs.
//!
//! In a mesh that is well this is the answer for all directions, and each would take dozens of facts that lie far apart. So what one
//! node says of one key is read once, when it is new, and kept in one [`Word`]. It holds no judgement that depends on time, on another
//! node, or on who is in the mesh. Whatever is not plainly good here is judged at length: this says less, and never anything else.

use std::{net::IpAddr, sync::Arc};

use evidence::{Layer, Moment, OfPeer, SourceId, Steered, SteeringFamily};

use super::{is_lossy, is_lost, loss_percent, sizes, steering::KUBESPAN};
use crate::{
    mesh::{Member, Mesh, heard_at},
    prefix::{Number, Reader},
    timing,
};

/// What one node says of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Word {
    /// Whether it misses so many of the other's echoes that it is worth a warning, or heard one that went around the tunnel.
    misses: bool,
    /// The address from which it hears the other.
    pub(crate) heard_at: Option<Number>,
    good: Option<Good>,
}

/// Where a node sends from to the addresses of a peer: one address of its own of each family, mostly.
type Sources = [Option<Number>; 2];

/// What it says if none of it is amiss; how old it may be is for the judgement to say.
#[derive(Clone, Debug)]
struct Good {
    answered: Moment,
    handshake: Moment,
    /// When full-size packets arrived, of two layers the earlier and the later time.
    arrived: (Moment, Moment),
    /// The addresses that are led into the tunnel.
    leads: Arc<[Number]>,
    sources: Sources,
}

impl Word {
    /// `place` is that of the key.
    pub(crate) fn of(said: &OfPeer, place: usize, reader: &mut Reader) -> Self {
        let heard = said.echo_heard();
        let heard_at = said.peer().and_then(heard_at);
        Self {
            misses: heard.and_then(loss_percent).is_some_and(is_lossy) || went_around(said),
            heard_at: heard_at.and_then(|at| reader.number(at)),
            good: Good::of(said, place, reader),
        }
    }
}

fn went_around(said: &OfPeer) -> bool {
    let heard = said.node_echo().map_or(&[][..], |echo| &echo.heard);
    heard.iter().any(|heard| heard.around > 0)
}

fn answers_at_its_addresses(said: &OfPeer) -> bool {
    let asked = said.node_echo().map_or(&[][..], |echo| &echo.asked);
    asked.iter().all(|asked| asked.lost < timing::LOST_IN_A_ROW)
}

impl Good {
    fn of(said: &OfPeer, place: usize, reader: &mut Reader) -> Option<Self> {
        let peer = said.peer().filter(|peer| peer.endpoint.is_some())?;
        let echo = said.echo_sent().filter(|echo| !is_lost(echo))?;
        answers_at_its_addresses(said).then_some(())?;
        let arrived = |layer| said.sizes(layer).and_then(sizes::full_size_passes);
        let (tunnel, overlay) = (arrived(Layer::Tunnel)?, arrived(Layer::Overlay)?);
        let (leads, sources) = leads(said.steered()?, place, reader)?;
        Some(Self {
            answered: echo.last_answered?,
            handshake: peer.last_handshake?,
            arrived: (tunnel.min(overlay), tunnel.max(overlay)),
            leads,
            sources,
        })
    }

    /// Until when all of it is as young as it must be, if it is.
    fn until(&self, mesh: &Mesh<'_>) -> Option<Moment> {
        let youngest = self.answered.max(self.handshake).max(self.arrived.1);
        let ends = Mesh::gone(self.answered, mesh.echo_fresh);
        let ends = ends.min(Mesh::gone(self.handshake, timing::SESSION));
        let ends = ends.min(Mesh::gone(self.arrived.0, mesh.size_fresh));
        (youngest.minus(timing::AHEAD) <= mesh.now && mesh.now < ends).then_some(ends)
    }
}

/// The single addresses of a peer, if all of them are led into the tunnel, and where from.
fn leads(steered: &Steered, place: usize, reader: &mut Reader) -> Option<(Arc<[Number]>, Sources)> {
    let beside =
        |way: &evidence::EndpointWay| way.looped.is_none() && way.via.as_deref() != Some(KUBESPAN);
    steered.endpoint.as_ref().is_none_or(beside).then_some(())?;
    let prefixes = &steered.prefixes;
    let hosts = reader.steered(place, prefixes)?;
    let (each, all) = (hosts.each.iter(), Arc::clone(&hosts.all));
    let mut sources: [Option<IpAddr>; 2] = [None; 2];
    for (prefix, _) in prefixes.iter().zip(each).filter(|(_, host)| host.is_some()) {
        let marked = prefix.outgoing == Some(true) && prefix.prerouting == Some(true);
        let led = prefix.marked_via.as_deref() == Some(KUBESPAN);
        (marked && led).then_some(())?;
        if prefix.source.is_some() && !sources.contains(&prefix.source) {
            *sources.iter_mut().find(|source| source.is_none())? = prefix.source;
        }
    }
    Some((all, sources.map(|source| reader.number(source?))))
}

/// What a node says of itself, if it says all that a good direction rests on.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    /// The place of its key.
    place: usize,
    /// Its own addresses, and of which families there are some.
    own: Vec<Number>,
    families: [bool; 2],
    /// Its address in the tunnel.
    tunnel: Option<Number>,
    /// Of which families it leads what is marked into the tunnel.
    tabled: [bool; 2],
    /// Whether it has had other addresses.
    moved: bool,
}

impl Ground {
    /// `place` is that of its key. None for a node that does not speak, that has no address, or an address that nobody gives to a peer.
    pub(crate) fn of(member: &Member<'_>, place: usize, reader: &Reader) -> Option<Self> {
        member.fresh()?;
        member.working(SourceId::WireGuard)?;
        let (identity, steering) = (member.identity()?, member.steering()?);
        let numbers = identity.addresses.iter();
        let own: Option<Vec<Number>> = numbers.map(|address| reader.known(*address)).collect();
        let tunnel = match identity.kubespan_address {
            Some(address) => Some(reader.known(IpAddr::V6(address))?),
            None => None,
        };
        let is_v4 = |address: &IpAddr| address.is_ipv4();
        let tabled =
            |family: &SteeringFamily| family.rule_priority.is_some() && family.default_route;
        Some(Self {
            place,
            own: own.filter(|own| !own.is_empty())?,
            families: [
                identity.addresses.iter().any(is_v4),
                !identity.addresses.iter().all(is_v4),
            ],
            tunnel,
            tabled: [tabled(&steering.ipv4), tabled(&steering.ipv6)],
            moved: member.addresses_changed().is_some(),
        })
    }

    fn leads_to(&self, other: &Self) -> bool {
        let mut families = self.tabled.iter().zip(other.families);
        families.all(|(tabled, needed)| *tabled || !needed)
    }
}

/// Until when the direction from `a` to `b` is good in everything if no fact changes, if it is so and can be seen here.
pub(super) fn good_until(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Option<Moment> {
    let (here, far) = (a.ground.as_ref()?, b.ground.as_ref()?);
    let (there, back) = (a.word(far.place)?, b.word(here.place)?);
    let good = there.good.as_ref().filter(|_| !back.misses)?;
    let until = good.until(mesh)?;
    let led = |address: &Number| good.leads.contains(address) && a.gives(*address, far.place);
    let enters = mesh.steers
        && here.leads_to(far)
        && far.tunnel.is_none_or(|tunnel| a.gives(tunnel, far.place))
        && far.own.iter().all(led);
    // B takes what comes from the addresses of A that its own device has for A.
    let taken = |source: &Number| !here.own.contains(source) || b.gives(*source, here.place);
    // A device that knows no address but such as A has still has not missed that they changed.
    let current = || {
        let known = back.good.as_ref();
        known.is_some_and(|known| known.leads.iter().all(|lead| here.own.contains(lead)))
    };
    let accepted = good.sources.iter().flatten().all(taken) && (!here.moved || current());
    (enters && accepted).then_some(until)
}

#[cfg(test)]
mod tests;
