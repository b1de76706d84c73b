//! A resolver for the names of a lab, over UDP.
//!
//! Words of its mood: `nxdomain`, `servfail`, `refused`, `silence`, `lie`, `only-ipv4`, `only-ipv6`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;

use super::MoodFile;

/// Longest question that is looked at.
const MAX_QUESTION: usize = 512;
const HEADER: usize = 12;
const A: u16 = 1;
const AAAA: u16 = 28;
/// Bits of the second pair of bytes: an answer, with authority, recursion asked for and had.
const ANSWER: u16 = 0x8580;
const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;
const REFUSED: u16 = 5;
/// Documentation addresses lead nowhere.
const LIE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);

/// What the resolver knows, and where it listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub listen: SocketAddr,
    pub mood: std::path::PathBuf,
    /// Names without a dot at the end.
    pub names: Vec<(String, Vec<IpAddr>)>,
}

impl Plan {
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("decode {}", path.display()))
    }
}

/// Answers until the task is dropped.
pub async fn serve(plan: Plan) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(plan.listen).await;
    let socket = socket.with_context(|| format!("listen on {}", plan.listen))?;
    answer_all(Arc::new(socket), &plan).await
}

/// Answers what comes in on a socket that is bound.
pub async fn answer_all(socket: Arc<UdpSocket>, plan: &Plan) -> anyhow::Result<()> {
    let mood = MoodFile(plan.mood.clone());
    let mut buffer = [0; MAX_QUESTION];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.context("hear")?;
        let question = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = answer(question, plan, &mood.read()) {
            socket.send_to(&answer, from).await.context("answer")?;
        }
    }
}

fn answer(question: &[u8], plan: &Plan, mood: &super::Mood) -> Option<Vec<u8>> {
    let (name, kind, end) = asked(question)?;
    if mood.has("silence") {
        return None;
    }
    let known = plan.names.iter().find(|(known, _)| *known == name);
    let code = [
        ("servfail", SERVFAIL),
        ("refused", REFUSED),
        ("nxdomain", NXDOMAIN),
    ]
    .into_iter()
    .find_map(|(word, code)| mood.has(word).then_some(code));
    let code = code.or_else(|| known.is_none().then_some(NXDOMAIN));
    let mut addresses = known.map(|(_, list)| list.clone()).unwrap_or_default();
    if mood.has("lie") {
        addresses = vec![LIE.into()];
    }
    let hidden = match kind {
        A => mood.has("only-ipv6"),
        AAAA => mood.has("only-ipv4"),
        _ => true,
    };
    addresses.retain(|address| code.is_none() && !hidden && address.is_ipv4() == (kind == A));
    let mut message = question.get(..end)?.to_vec();
    let flags = ANSWER | code.unwrap_or_default();
    message.splice(2..4, flags.to_be_bytes());
    let count = u16::try_from(addresses.len()).ok()?;
    message.splice(6..12, [count.to_be_bytes(), [0; 2], [0; 2]].concat());
    for address in addresses {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        // The name is that of the question; class IN, good for no time at all.
        message.extend([0xc0, 0x0c]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 0]);
        message.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        message.extend(data);
    }
    Some(message)
}

/// The one question of a message: its name, its type, and where it ends.
fn asked(message: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = HEADER;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
    let kind = message.get(at..at + 2)?;
    let kind = u16::from_be_bytes([*kind.first()?, *kind.get(1)?]);
    message.get(..at + 4)?;
    Some((labels.join("."), kind, at + 4))
}
