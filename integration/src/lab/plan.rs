//! What is done inside one host: sysctls, a `WireGuard` device, `ip` batches and an nftables script.
//!
//! `ip -batch` and `nft -f` instead of netlink crates: a reader can repeat each line by hand, the runner needs no async runtime and no
//! thread per namespace, and a whole host costs two short processes. The plan travels as JSON on the standard input
//! of `lab __setup`, because the device's private key must not show in any argument list.

use std::{
    fmt::{self, Write as _},
    fs,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use wireguard_control::{Backend, DeviceUpdate, InterfaceName, Key, PeerConfigBuilder};

use crate::lab::LabError;

/// How long a userspace `WireGuard` may take to open its control socket.
const SOCKET_WAIT: Duration = Duration::from_secs(5);
/// How often the control socket is tried.
const SOCKET_POLL: Duration = Duration::from_millis(5);

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct HostPlan {
    /// Name below `/proc/sys` and value; one that this kernel does not have is skipped.
    pub sysctls: Vec<(String, String)>,
    pub device: Option<DevicePlan>,
    /// Lines for `ip -batch -`.
    pub ip: String,
    /// Lines for `ip -6 -batch -`.
    pub ip6: String,
    /// Script for `nft -f -`.
    pub nft: String,
}

/// A configuration of the device `name`, applied through its control socket or, in the kernel, by netlink.
#[derive(Debug, Serialize, Deserialize)]
pub struct DevicePlan {
    pub name: String,
    pub in_kernel: bool,
    pub private_key: Option<Secret>,
    pub listen_port: Option<u16>,
    pub fwmark: Option<u32>,
    pub peers: Vec<PeerPlan>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct PeerPlan {
    pub public_key: String,
    pub preshared_key: Option<Secret>,
    pub endpoint: Option<SocketAddr>,
    pub allowed_ips: Vec<(IpAddr, u8)>,
    pub keepalive: Option<u16>,
}

/// A key in base64 that no debug output shows.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl HostPlan {
    /// Does it all in the namespaces of the calling process.
    pub fn apply(&self) -> Result<(), LabError> {
        for (name, value) in &self.sysctls {
            set_sysctl(name, value)?;
        }
        if let Some(device) = &self.device {
            device.apply()?;
        }
        feed("ip", &["-batch", "-"], &self.ip)?;
        feed("ip", &["-6", "-batch", "-"], &self.ip6)?;
        feed("nft", &["-f", "-"], &self.nft)
    }

    /// Adds the links and rules of another plan; the device stays this one's.
    pub fn append(&mut self, other: Self) {
        self.sysctls.extend(other.sysctls);
        self.ip.push_str(&other.ip);
        self.ip6.push_str(&other.ip6);
        self.nft.push_str(&other.nft);
    }

    pub fn ip(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.ip, "{line}").expect("writing to a string cannot fail");
    }

    pub fn sysctl(&mut self, name: &str, value: &str) {
        self.sysctls.push((name.to_owned(), value.to_owned()));
    }
}

impl DevicePlan {
    /// In two requests: boringtun opens new sockets for a new port and forgets the mark, and one request would set the mark first.
    fn apply(&self) -> Result<(), LabError> {
        if !self.in_kernel {
            wait_for_socket(&self.name)?;
        }
        let mut port = DeviceUpdate::new();
        if let Some(secret) = &self.private_key {
            port = port.set_private_key(key(&secret.0)?);
        }
        if let Some(number) = self.listen_port {
            port = port.set_listen_port(number);
        }
        self.send(port)?;
        let mut peers = DeviceUpdate::new();
        if let Some(mark) = self.fwmark {
            peers = peers.set_fwmark(mark);
        }
        for peer in &self.peers {
            peers = peers.add_peer(peer.update()?);
        }
        self.send(peers)
    }

    fn send(&self, update: DeviceUpdate) -> Result<(), LabError> {
        let name: Result<InterfaceName, _> = self.name.parse();
        let name =
            name.map_err(|_| LabError::Impossible(format!("{} names no interface", self.name)))?;
        update
            .apply(&name, self.backend())
            .map_err(LabError::io("configure WireGuard device", &self.name))
    }

    fn backend(&self) -> Backend {
        if self.in_kernel {
            Backend::Kernel
        } else {
            Backend::Userspace
        }
    }
}

impl PeerPlan {
    fn update(&self) -> Result<PeerConfigBuilder, LabError> {
        let mut peer = PeerConfigBuilder::new(&key(&self.public_key)?);
        if let Some(secret) = &self.preshared_key {
            peer = peer.set_preshared_key(key(&secret.0)?);
        }
        if let Some(endpoint) = self.endpoint {
            peer = peer.set_endpoint(endpoint);
        }
        if let Some(seconds) = self.keepalive {
            peer = peer.set_persistent_keepalive_interval(seconds);
        }
        for (address, length) in &self.allowed_ips {
            peer = peer.add_allowed_ip(*address, *length);
        }
        Ok(peer)
    }
}

fn key(base64: &str) -> Result<Key, LabError> {
    Key::from_base64(base64).map_err(|_| LabError::Impossible("a key is not 32 bytes".to_owned()))
}

fn set_sysctl(name: &str, value: &str) -> Result<(), LabError> {
    let path = Path::new("/proc/sys").join(name);
    match fs::write(&path, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(LabError::io("write", path.display())),
    }
}

/// The crate would start a `wireguard-go` of its own where nothing listens, so the socket must be alive first.
fn wait_for_socket(device: &str) -> Result<(), LabError> {
    let path = format!("/run/wireguard/{device}.sock");
    let deadline = Instant::now() + SOCKET_WAIT;
    while UnixStream::connect(&path).is_err() {
        if Instant::now() > deadline {
            return Err(LabError::TooSlow {
                what: "the WireGuard control socket",
                host: device.to_owned(),
                seconds: SOCKET_WAIT.as_secs(),
                hint: String::new(),
            });
        }
        thread::sleep(SOCKET_POLL);
    }
    Ok(())
}

fn feed(program: &str, arguments: &[&str], input: &str) -> Result<(), LabError> {
    if input.is_empty() {
        return Ok(());
    }
    let output = pipe_into(program, arguments, input).map_err(LabError::io("run", program))?;
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::Command {
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        command: format!("{program} {}", arguments.join(" ")),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn pipe_into(program: &str, arguments: &[&str], input: &str) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", Secret("c2VjcmV0".to_owned())), "Secret(..)");
    }

    #[test]
    fn a_plan_survives_its_way_to_the_host() {
        let mut plan = HostPlan::default();
        plan.ip(format_args!("link set lo up"));
        plan.sysctl("net/ipv4/ip_forward", "1");
        let text = serde_json::to_string(&plan).unwrap();
        let back: HostPlan = serde_json::from_str(&text).unwrap();
        assert_eq!(back.ip, "link set lo up\n");
        assert_eq!(back.sysctls, plan.sysctls);
    }
}
