//! A cluster in virtual time, on one thread, from a seed.
//!
//! Real are the agents' observers with all machines of `probe-core`, the messages of their reports, the collector's view, and
//! `diagnose`. Modelled are what lies between: the network and `WireGuard`. In reading order:
//!
//! 1. [`plan`]: who is where; [`time`]: virtual time; [`datagram`]: what travels.
//! 2. [`nat`], [`network`]: routers, and the ways between nodes with delay, loss, narrow places and blocks.
//! 3. [`wireguard`]: a device as its peers and its tap see it.
//! 4. [`ways`], [`node`]: an agent with the sockets of a simulated node; [`steering`]: what it reads of the way into the tunnel;
//!    [`uplink`]: its reports and the collector.
//! 5. [`world`]: the loop; [`fault`]: what can be broken.
//! 6. [`mod@reference`]: what is true, held against each verdict; [`benign`], [`trouble`]: sequences of events from a seed.
//! 7. [`stage`]: scenario files, by [`orders`], which are what their commands mean here, with [`firewall`]; [`carried`], [`table`]:
//!    which files that can be.

pub mod benign;
pub mod carried;
pub mod datagram;
pub mod fault;
pub mod firewall;
pub mod nat;
pub mod network;
pub mod node;
pub mod orders;
pub mod plan;
pub mod reference;
pub mod stage;
pub mod steering;
pub mod table;
pub mod time;
pub mod trouble;
pub mod uplink;
pub mod ways;
pub mod wireguard;
pub mod world;
