//! The program as its users meet it: screens, documents, exit codes.
#![cfg(test)]

mod documents;
mod exit_codes;
mod fixture;
mod program;
mod screens;
mod server;
mod waits;
