//! What to run to get the extension onto the nodes of a cluster. Pure: it knows what was typed and what Talos needs, and
//! nothing is asked, applied or written.

pub mod documents;

use std::{collections::BTreeSet, net::IpAddr};

use proto::limits::PORT;
use serde::Serialize;

use crate::render::text::count;
use documents::Documents;

/// What the plan is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Version of Talos that runs or is to run, with its `v`.
    pub talos: String,
    /// Reference of the extension's image.
    pub extension: String,
    /// Other extensions that the nodes have: an installer has those that it was built with and no others.
    pub others: Vec<String>,
    /// Repository to which installers are pushed.
    pub installer: String,
    /// `amd64`, `arm64`
    pub architecture: String,
    /// Addresses of control planes.
    pub control_planes: Vec<String>,
    /// Addresses of the other nodes.
    pub workers: Vec<String>,
    /// Where collectors run; empty: on all control planes.
    pub collectors: Vec<String>,
}

/// What to run, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// One after the other.
    pub steps: Vec<Step>,
    /// What is easily done wrong.
    pub warnings: Vec<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it does.
    pub title: String,
    /// Why, or what to look at.
    pub why: String,
    /// Files to write first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Commands to run.
    pub commands: Vec<String>,
}

/// A file of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub content: String,
}

/// Makes the plan.
pub fn plan(wanted: &Wanted) -> Plan {
    let documents = Documents::of(wanted);
    let mut steps = vec![
        publish(wanted),
        installer(wanted),
        configure(wanted, &documents),
    ];
    let one_by_one = wanted.workers.iter().chain(&wanted.control_planes);
    steps.extend(one_by_one.map(|node| upgrade(wanted, node)));
    steps.push(look(wanted));
    steps.push(hetzner(wanted));
    Plan {
        steps,
        warnings: warnings(wanted),
    }
}

impl Wanted {
    /// Where collectors are reached.
    pub fn collector_addresses(&self) -> Vec<String> {
        self.collector_nodes()
            .iter()
            .map(|node| {
                if node.contains(':') && !node.starts_with('[') {
                    format!("[{node}]:{PORT}")
                } else {
                    format!("{node}:{PORT}")
                }
            })
            .collect()
    }

    /// Whether each collector is on a control plane: agents are told of those by Talos.
    fn agents_find_collectors(&self) -> bool {
        let mut nodes = self.collector_nodes().iter();
        nodes.all(|node| self.control_planes.contains(node))
    }

    fn collector_nodes(&self) -> &[String] {
        if self.collectors.is_empty() {
            &self.control_planes
        } else {
            &self.collectors
        }
    }

    fn nodes(&self) -> Vec<&String> {
        self.workers.iter().chain(&self.control_planes).collect()
    }

    /// The installer with the extension: a tag of its own, so that nobody takes it for the stock one.
    fn installer_image(&self) -> String {
        format!("{}:{}-mesh", self.installer, self.talos)
    }
}

fn publish(wanted: &Wanted) -> Step {
    Step {
        title: "Build the extension's image and push it".to_owned(),
        why: "from a checkout of this project; the registry must be one that the machine with the imager can read".to_owned(),
        files: Vec::new(),
        commands: vec![
            "./dev image".to_owned(),
            format!(
                "skopeo copy --all oci-archive:target/image/out/talos-mesh.oci.tar docker://{}",
                wanted.extension
            ),
        ],
    }
}

fn installer(wanted: &Wanted) -> Step {
    let Wanted {
        talos,
        architecture,
        ..
    } = wanted;
    let extensions = [&wanted.extension].into_iter().chain(&wanted.others);
    let extensions = repeated("--system-extension-image", extensions);
    let installer = wanted.installer_image();
    Step {
        title: format!("Build an installer of Talos {talos} with it, and push it"),
        why: "Talos takes extensions from its installer alone, and the public image factory builds with official ones only. Name every \
              other extension that the nodes have (talosctl get extensions): what is not named is removed"
            .to_owned(),
        files: Vec::new(),
        commands: vec![
            format!(
                "docker run --rm -v \"$PWD/_out:/out\" ghcr.io/siderolabs/imager:{talos} installer --arch {architecture}{extensions}"
            ),
            format!("crane push _out/installer-{architecture}.tar {installer}"),
        ],
    }
}

fn configure(wanted: &Wanted, documents: &Documents) -> Step {
    let mut commands = vec![
        "${EDITOR:-vi} mesh-collector.yaml   # put cluster.secret of secrets.yaml in place of CLUSTER_SECRET".to_owned(),
    ];
    for node in wanted.nodes() {
        commands.push(format!(
            "talosctl -n {node} patch machineconfig --mode no-reboot --patch @mesh-node.yaml"
        ));
    }
    for node in wanted.collector_nodes() {
        commands.push(format!(
            "talosctl -n {node} patch machineconfig --mode no-reboot --patch @mesh-collector.yaml"
        ));
    }
    commands.push("shred -u mesh-collector.yaml".to_owned());
    for node in wanted.nodes() {
        commands.push(format!(
            "talosctl -n {node} get machineconfig -o yaml | grep -q 'ingress: block' && talosctl -n {node} patch machineconfig --mode no-reboot --patch @mesh-firewall.yaml"
        ));
    }
    Step {
        title: "Tell the services what they need".to_owned(),
        why: "the documents lie ready before the services come with the upgrade. The rules are for nodes whose ingress firewall blocks by \
              default, and for no others: any rule brings the firewall's other chains with it"
            .to_owned(),
        files: vec![
            File {
                name: "mesh-node.yaml".to_owned(),
                content: documents.node.clone(),
            },
            File {
                name: "mesh-collector.yaml".to_owned(),
                content: documents.collector.clone(),
            },
            File {
                name: "mesh-firewall.yaml".to_owned(),
                content: documents.firewall.clone(),
            },
        ],
        commands,
    }
}

fn upgrade(wanted: &Wanted, node: &str) -> Step {
    let is_control_plane = wanted.control_planes.iter().any(|known| known == node);
    let why = if is_control_plane && wanted.control_planes.len() < 3 {
        "with fewer than three control planes etcd has no quorum while this one is away: the Kubernetes API is gone until it is back"
    } else if is_control_plane {
        "one control plane at a time, the others keep etcd's quorum; go on only when all members are healthy again"
    } else {
        "one node at a time; go on only when it is back"
    };
    let mut commands = vec![
        format!(
            "talosctl -n {node} upgrade --image {} --wait",
            wanted.installer_image()
        ),
        format!("talosctl -n {node} get extensions    # talos-mesh must be there"),
        format!("talosctl -n {node} service ext-mesh-agent"),
    ];
    if is_control_plane {
        commands.push(format!("talosctl -n {node} etcd status"));
    }
    Step {
        title: format!("Upgrade {node}"),
        why: why.to_owned(),
        files: Vec::new(),
        commands,
    }
}

fn look(wanted: &Wanted) -> Step {
    let collector = wanted.collector_addresses();
    let collector = collector.first().map_or("HOST:21820", String::as_str);
    Step {
        title: "Look".to_owned(),
        why: format!("{} should report", count(wanted.nodes().len(), "node")),
        files: Vec::new(),
        commands: vec![
            format!("mesh-probe --collector {collector} --secrets secrets.yaml status"),
            format!("mesh-probe --collector {collector} --secrets secrets.yaml wait mesh"),
        ],
    }
}

fn hetzner(wanted: &Wanted) -> Step {
    let sources: BTreeSet<String> = wanted
        .nodes()
        .into_iter()
        .map(|node| source(node))
        .collect();
    let sources = repeated("--source-ips", &sources);
    Step {
        title: "If a Hetzner Cloud Firewall stands before nodes, open it".to_owned(),
        why: "once for each firewall. WireGuard answers only to keys that it knows. Put public addresses in the place of names and of \
              SITE_ADDRESS: nodes behind NAT reach the collector from the address of their site"
            .to_owned(),
        files: Vec::new(),
        commands: vec![
            "hcloud firewall add-rule FIREWALL --direction in --protocol udp --port 51820 --source-ips 0.0.0.0/0 --source-ips ::/0"
                .to_owned(),
            format!("hcloud firewall add-rule FIREWALL --direction in --protocol tcp --port {PORT}{sources}"),
        ],
    }
}

/// A flag that is given once for each value; begins with a space.
fn repeated(flag: &str, values: impl IntoIterator<Item: AsRef<str>>) -> String {
    values.into_iter().fold(String::new(), |mut line, value| {
        line.extend([" ", flag, " ", value.as_ref()]);
        line
    })
}

/// From where a node reaches a collector on the internet.
fn source(node: &str) -> String {
    match node.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_private() => "SITE_ADDRESS/32".to_owned(),
        Ok(address @ IpAddr::V4(_)) => format!("{address}/32"),
        Ok(address @ IpAddr::V6(_)) => format!("{address}/128"),
        Err(_) => format!("ADDRESS_OF_{node}"),
    }
}

fn warnings(wanted: &Wanted) -> Vec<String> {
    let mut warnings = vec![
        format!(
            "an upgrade with the stock installer removes the extension without a word: from now on upgrade with {}, built anew for \
             each version of Talos",
            wanted.installer_image()
        ),
        "machine.install.image of the machine configs still names the stock installer; mesh-node.yaml changes it, keep the change in \
         the files that you generate configs from"
            .to_owned(),
        "a node with Secure Boot takes only an installer that is signed with its own keys: give them to the imager".to_owned(),
    ];
    if wanted.control_planes.len().is_multiple_of(2) && !wanted.control_planes.is_empty() {
        warnings.push(format!(
            "{} control planes tolerate no more failures than {}: upgrading one of them leaves no room for another to fail",
            wanted.control_planes.len(),
            wanted.control_planes.len() - 1
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            talos: "v1.13.9".to_owned(),
            extension: "registry.example.org/talos-mesh:v0.1.0".to_owned(),
            others: vec!["ghcr.io/siderolabs/qemu-guest-agent:9.2.0".to_owned()],
            installer: "registry.example.org/installer".to_owned(),
            architecture: "amd64".to_owned(),
            control_planes: vec!["203.0.113.11".to_owned(), "203.0.113.12".to_owned()],
            workers: vec!["192.168.50.12".to_owned()],
            collectors: Vec::new(),
        }
    }

    fn all(plan: &Plan) -> Vec<&str> {
        let commands = plan.steps.iter().flat_map(|step| &step.commands);
        commands.map(String::as_str).collect()
    }

    #[test]
    fn workers_are_upgraded_first_and_each_node_by_itself() {
        let plan = plan(&wanted());
        let upgrades: Vec<_> = plan
            .steps
            .iter()
            .filter(|step| step.title.starts_with("Upgrade"))
            .map(|step| step.title.as_str())
            .collect();
        assert_eq!(
            upgrades,
            [
                "Upgrade 192.168.50.12",
                "Upgrade 203.0.113.11",
                "Upgrade 203.0.113.12"
            ]
        );
        for step in plan
            .steps
            .iter()
            .filter(|step| step.title.starts_with("Upgrade"))
        {
            let upgrades = step
                .commands
                .iter()
                .filter(|line| line.contains(" upgrade "));
            assert_eq!(upgrades.count(), 1);
        }
    }

    #[test]
    fn every_extension_is_named_to_the_imager() {
        let plan = plan(&wanted());
        let imager = all(&plan)
            .into_iter()
            .find(|line| line.contains("imager:v1.13.9"))
            .unwrap();
        for part in [
            "--system-extension-image registry.example.org/talos-mesh:v0.1.0",
            "--system-extension-image ghcr.io/siderolabs/qemu-guest-agent:9.2.0",
            "--arch amd64",
        ] {
            assert!(imager.contains(part), "{imager}");
        }
    }

    #[test]
    fn nothing_in_a_plan_holds_or_asks_for_a_key_on_the_command_line() {
        let plan = plan(&wanted());
        let text = serde_json::to_string(&plan).unwrap();
        assert!(text.contains("MESH_KEY=CLUSTER_SECRET"), "{text}");
        assert!(!all(&plan).iter().any(|line| line.contains("MESH_KEY")));
    }

    #[test]
    fn collectors_are_on_the_control_planes_unless_named() {
        let mut wanted = wanted();
        assert_eq!(
            wanted.collector_addresses(),
            ["203.0.113.11:21820", "203.0.113.12:21820"]
        );
        wanted.collectors = vec!["fd00::1".to_owned(), "bastion".to_owned()];
        assert_eq!(
            wanted.collector_addresses(),
            ["[fd00::1]:21820", "bastion:21820"]
        );
    }
}
