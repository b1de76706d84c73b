//! The kernel lane: emulated machines with a stock kernel, and a lab in each.
//!
//! Namespaces on any machine show what programs do; what `WireGuard` in the *kernel* does needs a kernel that has it. So `lab vm`
//! boots some and plays the same scenario files in there.
//!
//! 1. [`tree`]: a root file system as data, written as the archive that kernels unpack.
//! 2. [`payload`]: what goes into it: programs with their libraries, modules, scenarios, `integration/vm/init`.
//! 3. [`machine`]: boots one, bounded in time, and talks over its serial line.
//! 4. [`orders`]: what a machine is told, and what it answers.
//! 5. [`guest`]: the part that runs inside.
//! 6. [`answers`]: what was answered, kept from run to run.
//! 7. [`report`]: the table for people, and `integration/KERNEL_LANE.md`.

pub mod answers;
pub mod guest;
pub mod machine;
pub mod orders;
pub mod payload;
pub mod report;
pub mod tree;
