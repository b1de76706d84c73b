//! Whom packets were sent to, and whether beside `KubeSpan` or through it.

use std::net::IpAddr;

use serde::Serialize;

/// Who was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// As it was typed.
    pub host: String,
    /// The address that the name stands for.
    pub address: IpAddr,
    pub marking: Marking,
}

/// How packets were marked. A node that runs `KubeSpan` pulls unmarked ones to its peers into the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Marking {
    Marked {
        mark: u32,
    },
    /// As was asked for.
    Unmarked,
    /// `CAP_NET_ADMIN` is missing.
    NotPermitted,
}

/// The bits of a mark that `KubeSpan` looks at, and their value for what it lets pass beside the tunnel.
const MASK: u32 = 0x60;
const BESIDE: u32 = 0x20;
const UNIQUE_LOCAL: u8 = 0xfd;
const PURPOSE_BYTE: usize = 7;
const KUBESPAN_PURPOSE: u8 = 0x02;

impl Asked {
    /// Whether the address is one of `KubeSpan`'s own: unique local, with its purpose in the eighth byte. Whoever asks it is
    /// inside of the tunnel, however packets are marked.
    pub(super) fn is_inside_kubespan(&self) -> bool {
        match self.address {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => {
                let octets = address.octets();
                octets[0] == UNIQUE_LOCAL && octets[PURPOSE_BYTE] == KUBESPAN_PURPOSE
            }
        }
    }

    pub(super) fn way(&self) -> String {
        if self.is_inside_kubespan() {
            return "the address is KubeSpan's own: packets to it are inside of the tunnel"
                .to_owned();
        }
        self.marking.line()
    }

    /// `vps-1 (203.0.113.11)`, or the address alone if that was typed.
    pub(super) fn name(&self) -> String {
        let address = self.address.to_string();
        if self.host == address {
            address
        } else {
            format!("{} ({address})", self.host)
        }
    }
}

impl Marking {
    pub(super) const fn is_beside_kubespan(self) -> bool {
        matches!(self, Self::Marked { mark } if mark & MASK == BESIDE)
    }

    fn line(self) -> String {
        match self {
            Self::Marked { mark } if self.is_beside_kubespan() => {
                format!("{mark:#x}: beside KubeSpan, on the underlay")
            }
            Self::Marked { mark } => format!("{mark:#x}"),
            Self::Unmarked => format!("no: {THROUGH}"),
            Self::NotPermitted => format!("no, CAP_NET_ADMIN is missing: {THROUGH}"),
        }
    }
}

const THROUGH: &str = "where this node runs KubeSpan, packets to its peers take the tunnel";
