//! The machines of `vagrant/`: four Talos nodes and two routers on libvirt, as another stage for the scenario files.
//!
//! Inside of a node nothing can be run, since Talos has no shell. What can be broken is what the routers do, and the services of
//! the extension, which Talos stops and starts when asked.
//!
//! 1. [`machines`]: what `vagrant/` says of them: versions, roles, links, patches.
//! 2. [`carried`]: which scenarios can be carried there, and why not; [`table`]: that of all of them, as a document.
//! 3. [`commands`]: what is to be typed for each action. Pure, so that a whole run can be printed first.
//! 4. [`stage`]: types it.

pub mod carried;
pub mod commands;
pub mod machines;
pub mod stage;
pub mod table;
