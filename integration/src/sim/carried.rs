//! Which scenarios the simulator can carry: what their files ask for has to have its counterpart here, command by command.

use crate::lab::{
    scenario::Scenario,
    topology::{Implementation, Node},
};

use super::{
    orders,
    plan::Plan,
    time::{MILLI, Micros},
};

/// Why the simulator cannot show what the scenario asks for: the first reason that its file gives.
pub fn carried(scenario: &Scenario) -> Result<(), String> {
    let topology = &scenario.topology;
    if scenario.discovery.is_some() {
        return Err("it asks a resolver and a discovery service, and none is simulated".to_owned());
    }
    for node in &topology.nodes {
        if node.wireguard == Implementation::Boringtun {
            return Err(format!(
                "{} is to have boringtun, and here all tunnels are of one model",
                node.name
            ));
        }
        clock_offset(node)?;
    }
    let plan = Plan::of(topology);
    for (number, step) in scenario.steps.iter().enumerate() {
        let remedy = step.fault.remedy(topology, number);
        let remedy = remedy.map_err(|error| error.to_string())?;
        for action in remedy.apply.iter().chain(&remedy.heal) {
            orders::of(action, topology, &plan)?;
        }
    }
    Ok(())
}

/// By how much the clock of a node is wrong; an agent is told nothing else here.
pub(super) fn clock_offset(node: &Node) -> Result<Micros, String> {
    let arguments: Vec<&str> = node.agent.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => Ok(0),
        ["--clock-offset", millis] => {
            let millis = millis.parse::<Micros>().ok();
            let offset = millis.and_then(|millis| millis.checked_mul(MILLI));
            offset.ok_or_else(|| format!("the clock of {} cannot be that wrong", node.name))
        }
        [other, ..] => Err(format!(
            "the agent of {} is to be started with {other}, and no simulated agent looks there",
            node.name
        )),
    }
}
