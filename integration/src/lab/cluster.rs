//! A whole cluster, up and dialling.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use crate::{
    lab::{
        LabError,
        host::{self, Host},
        kubespan::{self, LINK, Mesh},
        plan::HostPlan,
        sandbox,
        services::{Services, Wanted},
        state::HostsState,
        topology::{INTERNET, Implementation, Node, Topology, TopologyError},
        underlay,
    },
    machined,
};

/// The mesh key as the collector and `mesh-probe` read it, in the collector host's own `/run`.
pub const MESH_KEY_FILE: &str = "/run/mesh.key";
/// How long all pairs may take until they can reach each other; a lost first handshake is repeated after 5 s.
const CONNECT_SECONDS: u64 = 15;

/// A running lab. It can only live in the worker of a [`sandbox`], and ends with it.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    topology: Topology,
    mesh: Mesh,
    hosts: BTreeMap<String, Host>,
    devices: BTreeMap<String, Device>,
    machined: Vec<Child>,
    services: Option<Services>,
}

/// Who holds the `kubespan` device of a node.
#[derive(Debug)]
enum Device {
    Process(Child),
    Kernel,
}

impl Lab {
    /// Builds the network and starts `KubeSpan` on all nodes. `folder` takes the logs.
    pub fn up(topology: Topology, folder: &Path) -> Result<Self, LabError> {
        topology.validate()?;
        let mut lab = Self {
            folder: folder.to_owned(),
            mesh: Mesh::generate(&topology),
            hosts: BTreeMap::new(),
            devices: BTreeMap::new(),
            machined: Vec::new(),
            services: None,
            topology,
        };
        lab.start_hosts()?;
        lab.wire()?;
        lab.start_devices()?;
        lab.start_mesh()?;
        lab.start_machined()?;
        lab.save()?;
        Ok(lab)
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn host(&self, name: &str) -> Result<&Host, LabError> {
        self.hosts.get(name).ok_or_else(|| {
            let known: Vec<_> = self.topology.hosts().collect();
            LabError::UnknownHost(name.to_owned(), known.join(", "))
        })
    }

    /// Starts a resolver and a discovery service outside of the cluster; agents that start later are told of them.
    pub fn serve(&mut self, wanted: Wanted) -> Result<(), LabError> {
        self.services = Some(Services::start(self, wanted)?);
        Ok(())
    }

    /// What agents find in their environment.
    pub fn agent_environment(&self) -> Vec<(&'static str, String)> {
        let services = self.services.iter();
        services
            .flat_map(|services| services.environment(self))
            .collect()
    }

    /// The log of a program on a host.
    pub fn log(&self, host: &str, program: &str) -> PathBuf {
        self.folder.join(format!("{host}.{program}.log"))
    }

    /// Waits until every pair that can meet at all answers inside the tunnel, in both directions.
    pub fn wait_until_connected(&self) -> Result<(), LabError> {
        let nodes = &self.topology.nodes;
        let pairs = nodes
            .iter()
            .flat_map(|from| nodes.iter().map(move |to| (from, to)));
        let pairs =
            pairs.filter(|(from, to)| from != to && kubespan::can_meet(&self.topology, from, to));
        let pings: Result<Vec<_>, LabError> = pairs
            .map(|(from, to)| {
                let address = IpAddr::V6(self.mesh.identity(to).address);
                Ok((from, to, self.ping(from, address)?))
            })
            .collect();
        for (from, to, mut ping) in pings? {
            let status = ping.wait().map_err(LabError::io("wait for", "ping"))?;
            if !status.success() {
                return Err(LabError::TooSlow {
                    what: "an answer through the tunnel",
                    host: from.name.to_string(),
                    seconds: CONNECT_SECONDS,
                    hint: format!(" from {}", to.name),
                });
            }
        }
        Ok(())
    }

    /// Kills or deletes the device; the interface and its routes vanish with it.
    pub fn stop_wireguard(&mut self, node: &str) -> Result<(), LabError> {
        match self.devices.remove(node) {
            Some(Device::Process(mut daemon)) => daemon
                .kill()
                .and_then(|()| daemon.wait())
                .map(drop)
                .map_err(LabError::io("stop WireGuard on", node)),
            Some(Device::Kernel) => {
                let delete = format!("ip link delete {LINK}");
                self.host(node)?.shell(&delete).map(drop)
            }
            None => Err(LabError::Impossible(format!(
                "WireGuard does not run on {node}"
            ))),
        }
    }

    /// Starts the device again with the keys and peers it had.
    pub fn start_wireguard(&mut self, node: &str) -> Result<(), LabError> {
        let node = self.node(node)?.clone();
        let device = self.start_device(&node)?;
        self.devices.insert(node.name.to_string(), device);
        let host = self.host(node.name.as_str())?;
        host.apply(&self.mesh.device(&self.topology, &node))?;
        host.apply(&self.mesh.dial(&self.topology, &node, |_| true))
    }

    pub fn node(&self, name: &str) -> Result<&Node, LabError> {
        self.topology.node(name).ok_or_else(|| {
            let known: Vec<_> = self
                .topology
                .nodes
                .iter()
                .map(|node| node.name.to_string())
                .collect();
            LabError::UnknownHost(name.to_owned(), known.join(", "))
        })
    }

    /// The node that hosts the collector.
    pub fn collector_node(&self) -> Result<&Node, LabError> {
        let node = self.topology.collector();
        Ok(node.ok_or(TopologyError::NothingPublic)?)
    }

    fn start_hosts(&mut self) -> Result<(), LabError> {
        for name in self.topology.hosts() {
            let host = Host::start(name, &self.log(name, "anchor"))?;
            self.hosts.insert(name.to_owned(), host);
        }
        self.hosts.values_mut().try_for_each(Host::wait_until_ready)
    }

    fn wire(&self) -> Result<(), LabError> {
        let pid = |host: &str| self.hosts.get(host).map_or(0, Host::anchor);
        let mac = |node: &Node| self.mesh.identity(node).mac;
        let links = HostPlan {
            ip: underlay::links(&self.topology, pid, mac),
            ..HostPlan::default()
        };
        links.apply()?;
        let routers = self.topology.sites.iter();
        let routers =
            routers.map(|site| (site.router.as_str(), underlay::router(&self.topology, site)));
        let nodes = self.topology.nodes.iter();
        let nodes = nodes.map(|node| (node.name.as_str(), underlay::node(&self.topology, node)));
        let internet = std::iter::once((INTERNET, underlay::internet(&self.topology)));
        self.apply_all(internet.chain(routers).chain(nodes).collect())
    }

    fn start_devices(&mut self) -> Result<(), LabError> {
        for node in &self.topology.nodes {
            let device = self.start_device(node)?;
            self.devices.insert(node.name.to_string(), device);
        }
        Ok(())
    }

    fn start_mesh(&self) -> Result<(), LabError> {
        let topology = &self.topology;
        let each = |plan: &dyn Fn(&Node) -> HostPlan| {
            let nodes = topology.nodes.iter();
            nodes.map(|node| (node.name.as_str(), plan(node))).collect()
        };
        self.apply_all(each(&|node| {
            let mut plan = self.mesh.device(topology, node);
            plan.append(kubespan::steering(topology, node));
            plan
        }))?;
        let first = |node: &Node, peer: &Node| kubespan::dials_first(topology, node, peer);
        self.apply_all(each(&|node| {
            self.mesh.dial(topology, node, |peer| first(node, peer))
        }))?;
        self.apply_all(each(&|node| {
            self.mesh.dial(topology, node, |peer| !first(node, peer))
        }))
    }

    fn start_device(&self, node: &Node) -> Result<Device, LabError> {
        let host = self.host(node.name.as_str())?;
        match node.wireguard {
            Implementation::WireguardGo => {
                let mut command = host.command("wireguard-go");
                command.args(["-f", LINK]).env("LOG_LEVEL", "error");
                self.start_daemon(host, command)
            }
            Implementation::Boringtun => {
                let mut command = host.command("/proc/self/exe");
                command.args(["__boringtun", LINK]);
                self.start_daemon(host, command)
            }
            Implementation::Kernel => {
                host.shell(&format!("ip link add {LINK} type wireguard"))?;
                Ok(Device::Kernel)
            }
        }
    }

    /// What Talos itself would say, on every node.
    fn start_machined(&mut self) -> Result<(), LabError> {
        for node in &self.topology.nodes {
            let host = self.host(node.name.as_str())?;
            let plan = machined::Plan::of(&self.mesh, &self.topology, node);
            let path = host.run_file(machined::PLAN_FILE.trim_start_matches("/run/"));
            let text = serde_json::to_vec(&plan).map_err(io::Error::from);
            text.and_then(|text| fs::write(&path, text))
                .map_err(LabError::io("write", path.display()))?;
            let log = self.log(host.name(), "machined");
            let program = Path::new("/proc/self/exe");
            self.machined
                .push(host.spawn(program, &["__machined"], &log)?);
        }
        Ok(())
    }

    fn start_daemon(&self, host: &Host, mut command: Command) -> Result<Device, LabError> {
        let log = self.log(host.name(), LINK);
        command
            .stdout(host::log_file(&log)?)
            .stderr(host::log_file(&log)?)
            .spawn()
            .map(Device::Process)
            .map_err(LabError::io("start WireGuard on", host.name()))
    }

    /// All hosts at once: a host's set-up is mostly waiting for short processes.
    fn apply_all(&self, plans: Vec<(&str, HostPlan)>) -> Result<(), LabError> {
        thread::scope(|scope| {
            let running: Vec<_> = plans
                .into_iter()
                .map(|(name, plan)| scope.spawn(move || self.host(name)?.apply(&plan)))
                .collect();
            running
                .into_iter()
                .try_for_each(|thread| thread.join().expect("applying a plan does not panic"))
        })
    }

    fn save(&self) -> Result<(), LabError> {
        let collector = self.collector_node()?.name.to_string();
        let name = MESH_KEY_FILE.trim_start_matches("/run/");
        let path = self.host(&collector)?.run_file(name);
        let file = fs::File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        file.and_then(|mut file| writeln!(file, "{}", self.mesh.secret().0))
            .map_err(LabError::io("write", path.display()))?;
        let anchors = self
            .hosts
            .iter()
            .map(|(name, host)| (name.clone(), host.anchor()));
        HostsState {
            anchors: anchors.collect(),
            collector,
        }
        .save(&self.folder)
    }

    fn ping(&self, from: &Node, to: IpAddr) -> Result<Child, LabError> {
        let limit = CONNECT_SECONDS.to_string();
        let mut command: Command = self.host(from.name.as_str())?.command("ping");
        command
            .args([
                "-n",
                "-q",
                "-c",
                "1",
                "-i",
                "0.2",
                "-w",
                &limit,
                &to.to_string(),
            ])
            .stdout(Stdio::null())
            .spawn()
            .map_err(LabError::io("run", "ping"))
    }

    /// Lets the lab outlive the program that started it.
    pub fn release(&self, code: u8) -> Result<(), LabError> {
        sandbox::release(&self.folder, code)
    }
}
