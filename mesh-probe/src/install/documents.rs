//! Documents for the machine configs of nodes, in the words of Talos (its `ExtensionServiceConfig`, `NetworkRuleConfig`).

use proto::limits::PORT;

use super::Wanted;

/// `KubeSpan`'s own port.
const KUBESPAN: u16 = 51820;

/// What nodes are patched with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// Every node.
    pub node: String,
    /// Nodes with a collector. It has a place for the mesh key, which this program never sees.
    pub collector: String,
    /// Nodes whose ingress firewall blocks what no rule names.
    pub firewall: String,
}

impl Documents {
    /// For this plan.
    pub fn of(wanted: &Wanted) -> Self {
        Self {
            node: if wanted.agents_find_collectors() {
                install_image(wanted)
            } else {
                let agent = service("mesh-agent", &environment(wanted));
                [install_image(wanted), agent].join("---\n")
            },
            collector: service("mesh-collector", "MESH_KEY=CLUSTER_SECRET"),
            firewall: [
                rule("mesh-kubespan", "udp", KUBESPAN),
                rule("mesh-collector", "tcp", PORT),
            ]
            .join("---\n"),
        }
    }
}

fn environment(wanted: &Wanted) -> String {
    format!("MESH_COLLECTORS={}", wanted.collector_addresses().join(","))
}

/// The next installation and every upgrade that names no image take this one.
fn install_image(wanted: &Wanted) -> String {
    format!(
        "machine:\n  install:\n    image: {}\n",
        wanted.installer_image()
    )
}

fn service(name: &str, environment: &str) -> String {
    format!(
        "apiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: {name}\nenvironment:\n  - {environment}\n"
    )
}

/// Everybody may come: both services answer only to who has the keys.
fn rule(name: &str, protocol: &str, port: u16) -> String {
    format!(
        "apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: {name}\nportSelector:\n  ports:\n    - {port}\n  protocol: {protocol}\n\
         ingress:\n  - subnet: 0.0.0.0/0\n  - subnet: ::/0\n"
    )
}
