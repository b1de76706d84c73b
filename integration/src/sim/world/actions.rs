//! What is done to the world.

use rand::Rng as _;

use super::{DEAD, Event, World};
use crate::sim::{
    fault::{Action, Effect},
    time::{MILLI, Micros, SECOND},
};

impl World {
    pub(super) fn perform(&mut self, action: Action) {
        self.note(|| format!("{action}"));
        match action {
            Action::Weather(weather) => self.network.weather = weather,
            Action::Break(fault) => {
                for effect in fault.effects() {
                    self.apply(effect);
                }
            }
            Action::Heal(fault) => {
                for effect in fault.effects() {
                    self.undo(effect);
                }
            }
            Action::Stall { node, time } => {
                let until = self.now + time;
                if let Some(agent) = &mut self.nodes[node].agent {
                    agent.stalled_until = agent.stalled_until.max(until);
                    agent.step_at = agent.step_at.max(until);
                }
                self.plan_step(node);
            }
            Action::RestartAgent { node, away } => {
                self.stop_agent(node, true);
                self.push(self.now + away, Event::Do(Action::StartAgent { node }));
            }
            Action::StartAgent { node } => {
                if self.nodes[node].powered && self.nodes[node].agent.is_none() {
                    self.start_agent(node);
                }
            }
            // What is off already comes up when it was going to.
            Action::Reboot { node, .. } if !self.nodes[node].powered => {}
            Action::Reboot { node, away } => {
                self.stop_agent(node, false);
                self.nodes[node].powered = false;
                self.push(self.now + away, Event::Do(Action::Boot { node }));
            }
            Action::Boot { node } => self.boot(node),
            Action::RestartCollector { away } => {
                self.stop_collector();
                self.push(self.now + away, Event::Do(Action::StartCollector));
            }
            Action::StartCollector => {
                if !self.collector.is_up() {
                    self.collector.start(self.now);
                }
            }
            Action::DelayReports { node, by } => self.report_delays[node] = by,
        }
    }

    fn boot(&mut self, number: usize) {
        let now = self.now;
        let plan = &self.plan;
        let node = &mut self.nodes[number];
        node.powered = true;
        node.boot = now - 4 * SECOND;
        node.boots += 1;
        node.device.reset(|far| plan.endpoint(number, far), now);
        node.device_at = Micros::MAX;
        self.follow_device(number);
        let agent = Action::StartAgent { node: number };
        self.push(now + 2 * SECOND, Event::Do(agent));
    }

    fn stop_collector(&mut self) {
        self.collector.stop();
        self.carried.clear();
        let now = self.now;
        for node in &mut self.nodes {
            if let Some(agent) = &mut node.agent {
                agent.uplink.lost(now);
            }
        }
    }

    pub(super) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Rule(rule) => {
                self.network.rules.push(rule);
                let cut = (0..self.nodes.len()).filter(|node| self.network.is_cut_off(*node));
                for node in cut.collect::<Vec<_>>() {
                    let agent = self.nodes[node].agent.as_ref();
                    if let Some(stream) = agent.and_then(|agent| agent.uplink.stream) {
                        self.push(self.now + DEAD, Event::Dead { node, stream });
                    }
                }
            }
            Effect::Forget(site) => self.network.routers[site].forget_all(),
            Effect::DropsTunnel(node) => self.nodes[node].drops_tunnel = true,
            Effect::DropsOverlay(node) => self.nodes[node].drops_overlay = true,
            Effect::AgentDead(node) => self.stop_agent(node, true),
            Effect::CollectorDead => self.stop_collector(),
            Effect::DeviceDown(node) => {
                self.nodes[node].device.up = false;
                self.nodes[node].reread_links(&self.plan, self.now);
            }
            Effect::Psk(a, b) => self.share(a, b, 1),
        }
    }

    pub(super) fn undo(&mut self, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Rule(rule) => {
                let was: Vec<bool> = (0..self.nodes.len())
                    .map(|node| self.network.is_cut_off(node))
                    .collect();
                if let Some(place) = self.network.rules.iter().position(|known| *known == rule) {
                    self.network.rules.remove(place);
                }
                for (node, was) in was.into_iter().enumerate() {
                    if was && !self.network.is_cut_off(node) {
                        self.connected_again(node);
                    }
                }
            }
            Effect::Forget(_) => {}
            Effect::DropsTunnel(node) => self.nodes[node].drops_tunnel = false,
            Effect::DropsOverlay(node) => self.nodes[node].drops_overlay = false,
            Effect::AgentDead(node) => self.perform(Action::StartAgent { node }),
            Effect::CollectorDead => self.perform(Action::StartCollector),
            Effect::DeviceDown(node) => {
                let plan = &self.plan;
                self.nodes[node]
                    .device
                    .reset(|far| plan.endpoint(node, far), now);
                self.nodes[node].device.up = true;
                self.nodes[node].reread_links(&self.plan, now);
                self.follow_device(node);
            }
            Effect::Psk(a, b) => self.share(a, b, 0),
        }
    }

    fn share(&mut self, a: usize, b: usize, psk: u64) {
        if let Some(peer) = self.nodes[a].device.peer_mut(b) {
            peer.psk = psk;
        }
    }

    /// What was held up comes after the next retransmission.
    fn connected_again(&mut self, node: usize) {
        let later = self.random.random_range(200..3000) * MILLI;
        let Some(agent) = &mut self.nodes[node].agent else {
            return;
        };
        let Some(stream) = agent.uplink.stream else {
            return;
        };
        for message in std::mem::take(&mut agent.uplink.held) {
            self.send_report(node, stream, message, later);
        }
    }
}
