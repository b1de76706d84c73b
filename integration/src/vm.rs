//! The kernel lane: one emulated machine with a stock kernel, and the labs in it.
//!
//! Namespaces on any machine show what programs do; what `WireGuard` in the *kernel* does needs a kernel that has it. So `lab vm`
//! boots one and plays the same scenario files in there.
//!
//! 1. [`tree`]: a root file system as data, written as the archive that kernels unpack.
//! 2. [`payload`]: what goes into it: programs with their libraries, modules, scenarios, `integration/vm/init`.
//! 3. [`machine`]: boots it, bounded in time, and reads its serial line.
//! 4. [`orders`]: what the machine is told, and what it answers.
//! 5. [`guest`]: the part that runs inside.
//! 6. [`report`]: the table for people, and `integration/KERNEL_LANE.md`.

pub mod guest;
pub mod machine;
pub mod orders;
pub mod payload;
pub mod report;
pub mod tree;
