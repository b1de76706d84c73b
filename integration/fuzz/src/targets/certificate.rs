//! The certificate of whoever calls. TLS has verified it before; what is in it is read all the same with care.

use evidence::NodeName;
use proto::trust::{Callers, MeshKey, Role, caller};
use rustls::{ClientConfig, SignatureScheme};
use zeroize::Zeroizing;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "certificate",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let domain = "example.org".to_owned();
    let own = Callers::Own { domain }.caller(bytes);
    for found in [caller(bytes), own] {
        match found {
            Err(error) => drop(error.to_string()),
            Ok(caller) => assert_eq!(
                caller.node.is_some(),
                caller.role == Role::Agent,
                "{caller:?}"
            ),
        }
    }
}

/// The certificates of an agent and of a reader, whole and damaged.
fn seeds() -> Vec<Vec<u8>> {
    let mesh = MeshKey::from_bytes(Zeroizing::new([7; 32]));
    let node = NodeName::parse("vps-1").expect("the seed is a node name");
    let configurations = [
        mesh.agent_config(&node, &[2, 0, 0, 0, 0, 1]),
        mesh.reader_config(),
    ];
    let [agent, reader] =
        configurations.map(|made| own_certificate(&made.expect("keys can be derived")));
    let subject = agent.windows(5).position(|part| part == b"vps-1");
    let mut nameless = agent.clone();
    nameless[subject.expect("the subject stands in the certificate as it is")] = b' ';
    vec![agent[..agent.len() / 2].to_vec(), nameless, agent, reader]
}

fn own_certificate(config: &ClientConfig) -> Vec<u8> {
    let own = config
        .client_auth_cert_resolver
        .resolve(&[], &[SignatureScheme::ED25519]);
    let own = own.expect("the configuration has a certificate");
    own.cert.first().expect("a chain has a leaf").to_vec()
}
