//! Which scenarios the machines can carry: nothing runs inside of a Talos node, and their network is one.

use crate::lab::{
    faults::Fault,
    scenario::Scenario,
    stage_kind::in_kernel,
    topology::{INTERNET, Implementation, Topology},
};

/// Hosts with a shell.
pub fn has_shell(host: &str, topology: &Topology) -> bool {
    host == INTERNET
        || topology
            .sites
            .iter()
            .any(|site| site.router.as_str() == host)
}

/// Why the machines cannot show what the scenario asks for: the first reason that its file gives.
pub fn carried(scenario: &Scenario) -> Result<(), String> {
    same_network(&scenario.topology)?;
    if scenario.discovery.is_some() {
        return Err("it brings a resolver and a discovery service that do as it says, and these nodes use real ones".to_owned());
    }
    let mut faults = scenario.steps.iter().map(|step| &step.fault);
    faults.try_for_each(|fault| possible(fault, &scenario.topology))?;
    in_kernel(scenario)
}

fn same_network(wanted: &Topology) -> Result<(), String> {
    let ours = Topology::default();
    for node in &wanted.nodes {
        if !node.agent.is_empty() {
            return Err(format!(
                "the agent of {} is to be started with {}, and the one of the image is started without arguments",
                node.name, node.agent[0]
            ));
        }
        if node.wireguard != Implementation::default() {
            return Err(format!(
                "{} is to have another WireGuard than the kernel's",
                node.name
            ));
        }
    }
    for site in &wanted.sites {
        let known = ours.site(&site.name);
        if known.is_some_and(|known| known.nat != site.nat) {
            return Err(format!(
                "the router of {} is to translate in another way",
                site.name
            ));
        }
    }
    if *wanted != ours {
        return Err("it has other nodes and sites than the machines".to_owned());
    }
    Ok(())
}

fn possible(fault: &Fault, topology: &Topology) -> Result<(), String> {
    match fault {
        Fault::Raw { host, .. } if !has_shell(host, topology) => Err(format!(
            "it runs a command inside of {host}, and Talos has no shell"
        )),
        Fault::Raw { run, .. } if run.contains("$LAB") => {
            Err("it starts a server of the lab's own program".to_owned())
        }
        Fault::BlockInHost { node } => Err(format!(
            "it adds a rule to the firewall inside of {node}, and Talos has no shell"
        )),
        Fault::StopWireguard { node } => Err(format!(
            "it takes the kubespan device away inside of {node}, and Talos has no shell"
        )),
        Fault::Raw { .. }
        | Fault::BlockTo { .. }
        | Fault::BlockOut { .. }
        | Fault::OneWayLoss { .. }
        | Fault::DropData { .. }
        | Fault::KillAgent { .. }
        | Fault::RestartAgent { .. }
        | Fault::KillCollector
        | Fault::RestartCollector => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn scenario(body: &str) -> Scenario {
        let text = format!("name = \"x\"\nabout = \"y\"\n{body}");
        Scenario::parse(Path::new("x.toml"), &text).unwrap()
    }

    fn of(body: &str) -> Result<(), String> {
        carried(&scenario(body))
    }

    #[test]
    fn what_routers_and_services_do_is_carried() {
        for body in [
            "",
            "[[step]]\nfault = \"block-udp-51820-to\"\nnode = \"home-worker\"\n",
            "[[step]]\nfault = \"kill-agent\"\nnode = \"vps-2\"\n",
            "[[step]]\nin = \"internet\"\nrun = \"nft list ruleset\"\n",
            "[[step]]\nin = \"home-router\"\nrun = \"conntrack -F\"\n",
        ] {
            assert_eq!(of(body), Ok(()), "{body}");
        }
    }

    #[test]
    fn what_happens_inside_of_a_node_is_not_and_the_node_is_named() {
        for body in [
            "[[step]]\nin = \"vps-2\"\nrun = \"true\"\n",
            "[[step]]\nfault = \"stop-wireguard\"\nnode = \"vps-2\"\n",
            "[[step]]\nfault = \"block-udp-51820-in-host\"\nnode = \"vps-2\"\n",
        ] {
            let reason = of(body).unwrap_err();
            assert!(reason.contains("inside of vps-2"), "{reason}");
        }
    }

    #[test]
    fn another_network_and_services_of_the_lab_are_not() {
        assert!(of("[discovery]\n").unwrap_err().contains("resolver"));
        let fake = "[[step]]\nin = \"internet\"\nrun = \"$LAB __fake ntp 192.0.2.1\"\n";
        assert!(of(fake).unwrap_err().contains("lab's own program"));
        let with = |node: &str| {
            of(&format!(
                "[topology]\nnode = [{{ name = \"a\", address = \"203.0.113.11\" }}, {{ name = \"b\", address = \"203.0.113.12\"{node} }}]\n"
            ))
        };
        assert!(with("").unwrap_err().contains("other nodes"));
        assert!(
            with(", agent = [\"--clock-offset\", \"1\"]")
                .unwrap_err()
                .contains("of b is to be started with --clock-offset")
        );
        assert!(
            with(", wireguard = \"boringtun\"")
                .unwrap_err()
                .contains("b is to have another WireGuard")
        );
    }
}
