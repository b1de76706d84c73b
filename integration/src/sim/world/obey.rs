//! What a scenario has done to the world.

use super::World;
use crate::sim::{
    fault::Effect,
    network::{Place, Rule, What},
    orders::{Order, Program},
    time::Micros,
    wireguard::Out,
};

/// Longer than any run.
const FOR_GOOD: Micros = Micros::MAX / 2;

impl World {
    /// Carries out an order; `Err` says what was not there. Orders of scripts in the background are for who keeps the time.
    pub fn obey(&mut self, order: &Order) -> Result<(), String> {
        match order {
            Order::Firewall { host, change } => {
                return self.network.firewalls.change(host, change.clone());
            }
            Order::Forget(site) => self.apply(Effect::Forget(*site)),
            Order::Translate { site, nat } => self.network.routers[*site].kind = *nat,
            Order::Link { node, up } => self.link(*node, *up),
            Order::Mtu { node, bytes } => {
                self.nodes[*node].uplink.mtu = *bytes;
                self.nodes[*node].reread_links(&self.plan, self.now);
            }
            Order::Device { node, change } => {
                self.nodes[*node].device.change(*change, self.now);
                self.carry(*node, Out::default());
            }
            Order::Steer { node, change } => self.nodes[*node].steers.change(*change),
            Order::Agent { node, change } => self.agent(*node, *change),
            Order::Collector { up: false } => self.apply(Effect::CollectorDead),
            Order::Collector { up: true } => self.undo(Effect::CollectorDead),
            Order::WireGuard { node, up: false } => self.apply(Effect::DeviceDown(*node)),
            Order::WireGuard { node, up: true } => self.undo(Effect::DeviceDown(*node)),
            Order::Vxlan { node, name, change } => {
                self.nodes[*node].change_vxlan(name, *change)?;
                self.nodes[*node].reread_links(&self.plan, self.now);
            }
            Order::Later { script, .. } | Order::End(script) => {
                return Err(format!("a script of {} has no time here", script.host));
            }
        }
        Ok(())
    }

    fn link(&mut self, node: usize, up: bool) {
        let cut = Effect::Rule(Rule {
            place: Place::Link(node),
            what: What::All,
        });
        self.nodes[node].uplink.up = up;
        if up {
            self.undo(cut);
        } else {
            self.apply(cut);
        }
        self.nodes[node].reread_links(&self.plan, self.now);
    }

    fn agent(&mut self, node: usize, change: Program) {
        let now = self.now;
        match change {
            Program::Kill => self.apply(Effect::AgentDead(node)),
            Program::Start => self.undo(Effect::AgentDead(node)),
            Program::Freeze => {
                if let Some(agent) = &mut self.nodes[node].agent {
                    agent.stalled_until = now + FOR_GOOD;
                    agent.step_at = agent.stalled_until;
                }
            }
            Program::Thaw => {
                if let Some(agent) = &mut self.nodes[node].agent {
                    agent.stalled_until = now;
                    agent.step_at = now;
                }
                self.plan_step(node);
            }
        }
    }
}
