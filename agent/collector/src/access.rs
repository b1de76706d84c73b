//! Who calls, and what their role lets them do.

use std::net::SocketAddr;

use evidence::NodeName;
use proto::trust::{Caller, Role};
use tonic::{Request, Status};

use crate::{connections::Remote, counters::Counters};

/// An agent, as its certificate says.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) node: NodeName,
    /// What is pinned: [`Caller::key`].
    pub(crate) key: [u8; 32],
    /// Which mesh key, or trust domain, its certificate comes from.
    pub(crate) mesh: String,
    pub(crate) from: Option<SocketAddr>,
}

/// The agent that calls; nobody else may report.
pub(crate) fn agent<T>(request: &Request<T>, counters: &Counters) -> Result<Agent, Status> {
    let Caller {
        role,
        node,
        key,
        mesh,
    } = verified(remote(request), counters)?;
    let Some(node) = node.filter(|_| role == Role::Agent) else {
        return Err(refuse(role, "report", "an agent", counters));
    };
    let from = remote(request).and_then(|remote| remote.address);
    Ok(Agent {
        node,
        key,
        mesh,
        from,
    })
}

/// Lets in who may read: readers and agents.
pub(crate) fn reader<T>(request: &Request<T>, counters: &Counters) -> Result<(), Status> {
    may_read(remote(request), counters)
}

/// The same of whoever is at the other end of a connection.
pub(crate) fn may_read(remote: Option<&Remote>, counters: &Counters) -> Result<(), Status> {
    let role = verified(remote, counters)?.role;
    match role {
        Role::Agent | Role::Reader => Ok(()),
        Role::Collector => Err(refuse(role, "read", "a reader or an agent", counters)),
    }
}

fn refuse(role: Role, action: &str, needed: &str, counters: &Counters) -> Status {
    counters.roles_refused.add();
    let role = role.as_str();
    Status::permission_denied(format!(
        "the certificate's role is {role}, which may not {action}: {needed} certificate is needed"
    ))
}

fn verified(remote: Option<&Remote>, counters: &Counters) -> Result<Caller, Status> {
    let unknown = |text: String| {
        counters.callers_unknown.add();
        Status::unauthenticated(text)
    };
    let (remote, certificate) = remote
        .and_then(|remote| Some((remote, remote.certificate.as_ref()?)))
        .ok_or_else(|| unknown("no client certificate".to_owned()))?;
    let caller = remote.callers.caller(certificate);
    caller.map_err(|error| unknown(error.to_string()))
}

fn remote<T>(request: &Request<T>) -> Option<&Remote> {
    request.extensions().get()
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn a_caller_without_a_certificate_may_do_nothing() {
        let counters = Counters::default();
        let request = Request::new(());
        assert_eq!(
            agent(&request, &counters).unwrap_err().code(),
            Code::Unauthenticated
        );
        assert_eq!(
            reader(&request, &counters).unwrap_err().code(),
            Code::Unauthenticated
        );
        assert_eq!(counters.callers_unknown.get(), 2);
    }
}
