//! What is to be typed for each action. All of it runs on the two routers, by `ssh` with what `vagrant ssh-config` said: that file
//! is the only way in, and nothing is ever run on this machine's own network.

use std::fmt;

use crate::{
    lab::{
        faults::Action,
        topology::{INTERNET, Topology},
    },
    vagrant::{
        carried::has_shell,
        machines::{self, Role},
    },
};

/// Where `./dev vagrant up` writes what `vagrant ssh-config` says.
pub const SSH_CONFIG: &str = "target/vagrant/ssh-config";
/// What makes a router's network anew.
const NETWORK: &str = "mesh-lab-network";
const AGENT: &str = "ext-mesh-agent";
const COLLECTOR: &str = "ext-mesh-collector";
/// Seconds until a machine that does not answer is given up.
const CONNECT_SECONDS: u8 = 10;

/// A command on a router, as root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// Which of the two.
    pub host: String,
    /// For its shell.
    pub command: String,
}

impl Typed {
    fn on(host: &str, command: impl Into<String>) -> Self {
        Self {
            host: host.to_owned(),
            command: command.into(),
        }
    }

    /// Program and arguments.
    pub fn arguments(&self) -> Vec<String> {
        let connect = format!("ConnectTimeout={CONNECT_SECONDS}");
        let remote = format!("sudo sh -c {}", quoted(&self.command));
        let options = [
            "ssh",
            "-F",
            SSH_CONFIG,
            "-o",
            &connect,
            "-o",
            "BatchMode=yes",
        ];
        let all = options.into_iter().chain([self.host.as_str(), &remote]);
        all.map(str::to_owned).collect()
    }
}

impl fmt::Display for Typed {
    /// As a line for a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.arguments().iter().map(|word| shown(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// What carries out an action; an action inside of a node is refused.
pub fn of(action: &Action, topology: &Topology) -> Result<Typed, String> {
    match action {
        Action::Shell { host, command } if has_shell(host, topology) => {
            Ok(Typed::on(host, command.clone()))
        }
        Action::Shell { host, .. } => Err(format!(
            "nothing can be run inside of {host}: Talos has no shell"
        )),
        Action::KillAgent(node) => service(topology, node, AGENT, "stop"),
        Action::StartAgent(node) => service(topology, node, AGENT, "start"),
        Action::KillCollector => service(topology, collector(topology)?, COLLECTOR, "stop"),
        Action::StartCollector => service(topology, collector(topology)?, COLLECTOR, "start"),
        Action::StopWireguard(node) | Action::StartWireguard(node) => Err(format!(
            "the kubespan device of {node} cannot be taken away: Talos has no shell"
        )),
    }
}

/// All agents, and the collectors of all control planes: `stop` or `start`.
pub fn programs(topology: &Topology, verb: &str) -> Result<Vec<Typed>, String> {
    let mut typed = Vec::new();
    for node in topology.nodes.iter().map(|node| node.name.as_str()) {
        if machines::role(node) == Role::ControlPlane {
            typed.push(service(topology, node, COLLECTOR, verb)?);
        }
        typed.push(service(topology, node, AGENT, verb)?);
    }
    Ok(typed)
}

/// The question to the collector of the first public node.
pub fn question(topology: &Topology) -> Result<Typed, String> {
    let node = collector(topology)?;
    let address = address_of(topology, node)?;
    Ok(Typed::on(
        INTERNET,
        format!(
            "mesh-probe --collector {address} --credentials /etc/mesh-lab/reader.pem status -o json"
        ),
    ))
}

/// What makes both routers as they were: a scenario may leave rules behind.
pub fn anew(topology: &Topology) -> Vec<Typed> {
    let routers = topology.sites.iter().map(|site| site.router.as_str());
    let hosts = std::iter::once(INTERNET).chain(routers);
    hosts.map(|host| Typed::on(host, NETWORK)).collect()
}

/// Each node is asked from the router in front of it, past the tunnel: with a broken one it must still be reached.
fn service(topology: &Topology, node: &str, service: &str, verb: &str) -> Result<Typed, String> {
    let address = address_of(topology, node)?;
    let known = topology.node(node).ok_or_else(|| unknown(node))?;
    let router = topology.router_in_front_of(known);
    Ok(Typed::on(
        router,
        format!(
            "talosctl --talosconfig /etc/mesh-lab/talosconfig -e {address} -n {address} service {service} {verb}"
        ),
    ))
}

fn collector(topology: &Topology) -> Result<&str, String> {
    let node = topology.collector().map(|node| node.name.as_str());
    node.ok_or_else(|| "there is no public node for a collector".to_owned())
}

fn address_of(topology: &Topology, node: &str) -> Result<String, String> {
    let node = topology.node(node).ok_or_else(|| unknown(node))?;
    Ok(node.address.to_string())
}

fn unknown(node: &str) -> String {
    format!("{node} is not a node of the machines")
}

/// For a POSIX shell: nothing in it means anything.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn shown(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        quoted(word)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::lab::faults::Fault;

    #[test]
    fn a_rule_goes_to_the_router_and_survives_both_shells() {
        let topology = Topology::default();
        let fault = Fault::BlockTo {
            node: "home-worker".to_owned(),
        };
        let remedy = fault.remedy(&topology, 0).unwrap();
        let typed = of(&remedy.apply[0], &topology).unwrap();
        assert_eq!(typed.host, "home-router");
        // The far shell is given one word; it gives one to sh. Both are played by a shell of this machine that only prints.
        let remote = typed.arguments().pop().unwrap();
        let printed = Command::new("sh")
            .args(["-c", &remote.replacen("sudo sh -c", "printf %s", 1)])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(printed.stdout).unwrap(), typed.command);
        assert!(
            typed.command.starts_with("nft 'table inet lab_fault_0"),
            "{}",
            typed.command
        );
    }

    #[test]
    fn services_are_asked_for_past_the_tunnel_from_the_router_in_front_of_their_node() {
        let topology = Topology::default();
        let agent = of(&Action::KillAgent("home-cp".to_owned()), &topology).unwrap();
        assert_eq!(agent.host, "home-router");
        let ends = "-e 192.168.50.11 -n 192.168.50.11 service ext-mesh-agent stop";
        assert!(agent.command.ends_with(ends), "{}", agent.command);
        let collector = of(&Action::StartCollector, &topology).unwrap();
        assert_eq!(collector.host, "internet");
        assert!(
            collector
                .command
                .ends_with("-n 203.0.113.11 service ext-mesh-collector start")
        );
        let all = programs(&topology, "stop").unwrap();
        assert_eq!(all.len(), 7, "three collectors and four agents");
    }

    #[test]
    fn nothing_is_typed_into_a_node() {
        let topology = Topology::default();
        let inside = Action::Shell {
            host: "vps-1".to_owned(),
            command: "true".to_owned(),
        };
        assert!(of(&inside, &topology).unwrap_err().contains("vps-1"));
        assert!(of(&Action::StopWireguard("vps-1".to_owned()), &topology).is_err());
    }

    #[test]
    fn every_command_goes_by_ssh_to_a_router() {
        let topology = Topology::default();
        let mut all = programs(&topology, "start").unwrap();
        all.extend(anew(&topology));
        all.push(question(&topology).unwrap());
        for typed in all {
            let words = typed.arguments();
            assert_eq!(words[..3], ["ssh", "-F", SSH_CONFIG], "{typed}");
            assert!(has_shell(&typed.host, &topology), "{typed}");
        }
    }
}
