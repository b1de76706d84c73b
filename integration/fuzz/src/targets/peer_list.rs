//! The list of the mesh's nodes that the collector gives to agents.

use evidence::limits;
use prost::Message as _;
use proto::{
    convert::{peers_from_wire, peers_to_wire},
    wire,
};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "peer-list",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let Ok(list) = wire::PeerList::decode(bytes) else {
        return;
    };
    match peers_from_wire(list) {
        Err(error) => drop(error.to_string()),
        Ok(peers) => {
            assert!(peers.len() <= limits::NODES);
            assert_eq!(peers_from_wire(peers_to_wire(&peers)), Ok(peers));
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let peer = |name: &str, address: &[u8]| wire::PeerIdentity {
        name: name.to_owned(),
        public_key: vec![2; 32],
        kubespan_address: address.to_vec(),
        reporting: true,
    };
    let lists = [
        vec![],
        vec![peer("vps-1", &[0xfd; 16]), peer("HOME-cp.example", &[])],
        vec![peer("vps-1", &[192, 0, 2, 1])],
        vec![peer("no name", &[0xfd; 16])],
    ];
    lists
        .map(|peers| wire::PeerList { peers }.encode_to_vec())
        .to_vec()
}
