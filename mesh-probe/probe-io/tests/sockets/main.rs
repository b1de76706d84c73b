//! The sockets against a real kernel: on loopback, and in namespaces that the tests make.

mod echo;
mod listener;
mod namespace;
mod node;
mod path;
mod tap;
mod wireguard;
