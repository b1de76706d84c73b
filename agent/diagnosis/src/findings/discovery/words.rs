//! What is said of each trouble on the way to the discovery service.

use evidence::{
    Confidence, WallReading,
    discovery::{DiscoveryAddress, DiscoveryEndpoint, FailureKind},
};

use super::{asked_name, name};
use crate::{
    clocks,
    discovery::{Way, broken, endpoints, way},
    findings::{Draft, fix},
    mesh::Mesh,
};

/// What a finding is about.
pub(super) struct About<'a> {
    pub(super) who: &'a str,
    pub(super) nodes: usize,
    pub(super) endpoint: &'a DiscoveryEndpoint,
}

impl About<'_> {
    pub(super) fn dns(&self, draft: &mut Draft) {
        let said = self
            .endpoint
            .names
            .as_ref()
            .map_or_else(String::new, |names| {
                let (v4, v6) = (names.ipv4.outcome.as_str(), names.ipv6.outcome.as_str());
                format!(": A: {v4}, AAAA: {v6}")
            });
        let proxy = self.endpoint.proxy.as_ref();
        let proxy = proxy.map_or("", |_| ", the proxy to the discovery service");
        draft.summary = format!(
            "the resolvers of {} give no address of {}{proxy}{said}",
            self.who,
            asked_name(self.endpoint)
        );
        draft.fixes.push(fix(
            "who runs the nodes",
            "give the nodes resolvers that work, of a family that they have",
            Some(format!(
                "talosctl -n {} get resolvers; talosctl -n {0} get resolverspecs",
                self.who
            )),
        ));
        let other = "the name is wrong, if other names resolve on these nodes";
        draft.could_also_be.push(other.to_owned());
    }

    pub(super) fn ipv6(&self, draft: &mut Draft) {
        let stage = self
            .endpoint
            .addresses
            .iter()
            .filter(|address| address.address.is_ipv6())
            .find_map(broken);
        let how = stage.map_or_else(String::new, |(stage, failure)| {
            format!(" at {}: {}", stage.stage.as_str(), failure.text)
        });
        draft.summary = format!(
            "{} reaches {} over IPv4 and not over IPv6, which its name offers as well: it fails{how}",
            self.who, self.endpoint.host
        );
        draft.fixes.push(fix(
            "who runs the network of the node",
            "repair IPv6 towards the service, or take the node's IPv6 default route away",
            Some(format!(
                "talosctl -n {} get routes; curl -6 -v https://{}/   # from the same network",
                self.who, self.endpoint.host
            )),
        ));
    }

    pub(super) fn rate(&self, mesh: &Mesh<'_>, draft: &mut Draft) {
        let sharing = self.endpoint.public.map(|public| {
            let members = mesh.members.values();
            let same = members.filter(|member| {
                endpoints(mesh, member).any(|endpoint| endpoint.public == Some(public))
            });
            format!(" ({} agents are seen as {public})", same.count())
        });
        draft.summary = format!(
            "the discovery service limits the requests of {}: those behind one address share 15 a second{}",
            self.who,
            sharing.unwrap_or_default()
        );
        draft.fixes.push(fix(
            "who runs the site",
            "find who asks so often; nodes that come back all at once do, and that ends by itself",
            None,
        ));
    }

    pub(super) fn tls(&self, mesh: &Mesh<'_>, draft: &mut Draft) {
        let Way::Shut(address, _, failure) = way(self.endpoint) else {
            return;
        };
        let issuer = address.certificate.as_ref().map_or_else(
            || "nobody who shows a certificate".to_owned(),
            |certificate| format!("a certificate of {}", certificate.issuer),
        );
        draft.summary = format!(
            "something between {} and {} ends its TLS with {issuer}: {}",
            self.who, self.endpoint.host, failure.text
        );
        draft.confidence = if trusted_elsewhere(mesh, self.endpoint) {
            Confidence::Certain
        } else {
            let other =
                "the service is hosted by the operator, and its authority is not told to the nodes";
            draft.could_also_be.push(other.to_owned());
            draft.decided_by = Some("a node of another network".to_owned());
            Confidence::Likely
        };
        draft.fixes.push(fix(
            "who runs the firewall or proxy of the site",
            format!("let TLS to {} pass unopened", self.endpoint.host),
            None,
        ));
        draft.fixes.push(fix(
            "who runs the nodes",
            "or add the authority to what the nodes trust: a TrustedRootsConfig document",
            None,
        ));
    }

    pub(super) fn unreachable(&self, draft: &mut Draft) {
        let Way::Shut(address, stage, failure) = way(self.endpoint) else {
            return;
        };
        let (host, port) = (&self.endpoint.host, self.endpoint.port);
        let through = self.endpoint.proxy.as_ref();
        let through = through.map_or_else(String::new, |proxy| format!(" through {proxy}"));
        draft.summary = format!(
            "{} cannot use the discovery service at {host}:{port}{through}: {} fails at {}: {}",
            self.who,
            address.address,
            stage.stage.as_str(),
            failure.text
        );
        if failure.kind == FailureKind::OutOfDate && clock_unset(address) {
            draft.summary.push_str("; it is the clock that is wrong");
            draft.fixes.push(fix(
                "who runs the nodes",
                "see why the clock is not set",
                Some(format!("talosctl -n {} time", self.who)),
            ));
            return;
        }
        let one = if self.nodes > 1 { "nodes" } else { "node" };
        draft.fixes.push(fix(
            format!("who runs the network of the {one}"),
            format!(
                "let TCP {port} to {host} out, or set a proxy or an endpoint that can be reached"
            ),
            Some(format!(
                "curl -v https://{host}:{port}/   # from the same network"
            )),
        ));
    }
}

fn clock_unset(address: &DiscoveryAddress) -> bool {
    let certificate = address.certificate.as_ref();
    certificate.is_some_and(|certificate| {
        let reading = WallReading {
            wall_ms: certificate.seen_at.saturating_mul(1000),
            ..WallReading::default()
        };
        clocks::is_impossible(&reading)
    })
}

/// Another node is shown another certificate for the same host, and trusts it.
fn trusted_elsewhere(mesh: &Mesh<'_>, here: &DiscoveryEndpoint) -> bool {
    let members = mesh.members.values();
    let mut others = members.flat_map(|member| endpoints(mesh, member));
    others.any(|there| name(there) == name(here) && matches!(way(there), Way::Open))
}
