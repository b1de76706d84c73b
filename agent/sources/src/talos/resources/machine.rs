//! How the machine and what runs on it are.

use std::net::IpAddr;

use evidence::{Condition, Stage};
use upstream::talos::{self, MachineStage};

use crate::talos::{
    Kind, Malformed,
    address::{bounded, ips, text},
};

const RUNTIME: &str = "runtime";
const KUBERNETES: &str = "k8s";

/// How far the machine has come: `MachineStatuses`, id `machine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineStatus {
    /// The stage.
    pub stage: Stage,
    /// Whether it is ready in that stage.
    pub ready: bool,
    /// Why it is not.
    pub unmet: Vec<Condition>,
}

impl Kind for MachineStatus {
    const NAMESPACE: &'static str = RUNTIME;
    const TYPE: &'static str = "MachineStatuses.runtime.talos.dev";
    type Body = talos::MachineStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        let stage = stage(body.stage());
        let status = body.status.unwrap_or_default();
        bounded("status.unmet_conditions", &status.unmet_conditions)?;
        let condition = |condition: talos::UnmetCondition| {
            Ok(Condition {
                name: text("status.unmet_conditions.name", condition.name)?,
                reason: line("status.unmet_conditions.reason", &condition.reason)?,
            })
        };
        let unmet = status.unmet_conditions.into_iter().map(condition);
        Ok(Self {
            stage,
            ready: status.ready,
            unmet: unmet.collect::<Result<_, _>>()?,
        })
    }
}

const fn stage(stage: MachineStage) -> Stage {
    match stage {
        MachineStage::StageUnknown => Stage::Unknown,
        MachineStage::Booting => Stage::Booting,
        MachineStage::Installing => Stage::Installing,
        MachineStage::Maintenance => Stage::Maintenance,
        MachineStage::Running => Stage::Running,
        MachineStage::Rebooting => Stage::Rebooting,
        MachineStage::ShuttingDown => Stage::ShuttingDown,
        MachineStage::Resetting => Stage::Resetting,
        MachineStage::Upgrading => Stage::Upgrading,
    }
}

/// What was written over several lines, in one.
fn line(field: &'static str, written: &str) -> Result<String, Malformed> {
    text(field, written.replace(['\n', '\t', '\r'], " "))
}

/// The version of Talos: `Versions`, id `version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Such as `v1.13.9`.
    pub version: String,
}

impl Kind for Version {
    const NAMESPACE: &'static str = RUNTIME;
    const TYPE: &'static str = "Versions.runtime.talos.dev";
    type Body = talos::Version;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            version: text("version", body.version)?,
        })
    }
}

/// The clock: `TimeStatuses`, id `node`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeStatus {
    /// Whether it is in step with a time server.
    pub synced: bool,
    /// How often it was set by a leap.
    pub epoch: i64,
    /// Whether it need not be in step.
    pub sync_disabled: bool,
}

impl Kind for TimeStatus {
    const NAMESPACE: &'static str = RUNTIME;
    const TYPE: &'static str = "TimeStatuses.v1alpha1.talos.dev";
    type Body = talos::TimeStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            synced: body.synced,
            epoch: body.epoch,
            sync_disabled: body.sync_disabled,
        })
    }
}

/// A service of Talos: `Services`. The identifier is its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Whether it runs.
    pub running: bool,
    /// Whether it says that it is well; none if it does not say.
    pub healthy: Option<bool>,
}

impl Kind for Service {
    const NAMESPACE: &'static str = RUNTIME;
    const TYPE: &'static str = "Services.v1alpha1.talos.dev";
    type Body = talos::Service;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            running: body.running,
            healthy: (!body.unknown).then_some(body.healthy),
        })
    }
}

/// What Talos' own diagnostics found: `Diagnostics`. The identifier is the kind of trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// One sentence.
    pub message: String,
    /// More of it.
    pub details: Vec<String>,
}

impl Kind for Diagnostic {
    const NAMESPACE: &'static str = RUNTIME;
    const TYPE: &'static str = "Diagnostics.runtime.talos.dev";
    type Body = talos::Diagnostic;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        bounded("details", &body.details)?;
        let details = body.details.iter().map(|detail| line("details", detail));
        Ok(Self {
            message: line("message", &body.message)?,
            details: details.collect::<Result<_, _>>()?,
        })
    }
}

/// The node's own balancer before the API servers: `KubePrismStatuses`, id `k8s-loadbalancer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubePrism {
    /// Where it listens.
    pub host: String,
    /// Whether it reaches an API server.
    pub healthy: bool,
}

impl Kind for KubePrism {
    const NAMESPACE: &'static str = KUBERNETES;
    const TYPE: &'static str = "KubePrismStatuses.kubernetes.talos.dev";
    type Body = talos::KubePrismStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            host: text("host", body.host)?,
            healthy: body.healthy,
        })
    }
}

/// The addresses that the kubelet is given: `NodeIPs`, id `kubelet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIp {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

impl Kind for NodeIp {
    const NAMESPACE: &'static str = KUBERNETES;
    const TYPE: &'static str = "NodeIPs.kubernetes.talos.dev";
    type Body = talos::NodeIp;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            addresses: ips("addresses", &body.addresses)?,
        })
    }
}

/// The node's name in Kubernetes: `Nodenames`, id `nodename`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodename {
    /// The name.
    pub nodename: String,
}

impl Kind for Nodename {
    const NAMESPACE: &'static str = KUBERNETES;
    const TYPE: &'static str = "Nodenames.kubernetes.talos.dev";
    type Body = talos::Nodename;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            nodename: text("nodename", body.nodename)?,
        })
    }
}

/// What Kubernetes says of the node: `NodeStatuses`. The identifier is its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The name.
    pub nodename: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether nothing new may be started there.
    pub unschedulable: bool,
}

impl Kind for NodeStatus {
    const NAMESPACE: &'static str = KUBERNETES;
    const TYPE: &'static str = "NodeStatuses.kubernetes.talos.dev";
    type Body = talos::NodeStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            nodename: text("nodename", body.nodename)?,
            ready: body.node_ready,
            unschedulable: body.unschedulable,
        })
    }
}

/// The node in etcd: `EtcdMembers`, id `local`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdMember {
    /// Its identifier there.
    pub member_id: String,
}

impl Kind for EtcdMember {
    const NAMESPACE: &'static str = "etcd";
    const TYPE: &'static str = "EtcdMembers.etcd.talos.dev";
    type Body = talos::EtcdMember;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            member_id: text("member_id", body.member_id)?,
        })
    }
}
