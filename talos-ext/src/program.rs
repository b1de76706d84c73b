//! What a program file needs: a container of an extension has no loader and no libraries.

use object::{
    Architecture as Machine, FileFlags, Object as _, ObjectKind, ReadRef as _,
    elf::{DT_NEEDED, DynamicTag, PT_DYNAMIC, PT_INTERP},
    read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _},
};
use thiserror::Error;

use crate::architecture::Architecture;

/// Why a program cannot run by itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProgramError {
    /// Not a program of Linux on 64 bits.
    #[error("not a 64-bit ELF program")]
    NotElf,
    /// For no machine that Talos runs on.
    #[error("made for another processor than amd64 or arm64")]
    Machine,
    /// It wants a loader.
    #[error(
        "it is linked dynamically and wants the loader {0}, which is not there: link it statically"
    )]
    Loader(String),
    /// It wants libraries.
    #[error("it is linked dynamically: link it statically")]
    Libraries,
}

/// The processor that a static program is made for.
pub fn static_for(bytes: &[u8]) -> Result<Architecture, ProgramError> {
    let file = ElfFile64::<object::Endianness>::parse(bytes).map_err(|_| ProgramError::NotElf)?;
    let executable = matches!(file.kind(), ObjectKind::Executable | ObjectKind::Dynamic);
    if !executable || !matches!(file.flags(), FileFlags::Elf { .. }) {
        return Err(ProgramError::NotElf);
    }
    let endian = file.endian();
    for header in file.elf_program_headers() {
        if header.p_type(endian) == PT_INTERP {
            let at = header.file_range(endian);
            let name = bytes.read_bytes_at(at.0, at.1).unwrap_or_default();
            let name = String::from_utf8_lossy(name);
            return Err(ProgramError::Loader(name.trim_end_matches('\0').to_owned()));
        }
        let dynamic = header
            .dynamic(endian, bytes)
            .map_err(|_| ProgramError::NotElf)?;
        let wants = |entry: &_| dyn_tag(entry, endian) == DT_NEEDED;
        if header.p_type(endian) == PT_DYNAMIC
            && dynamic.is_some_and(|entries| entries.iter().any(wants))
        {
            return Err(ProgramError::Libraries);
        }
    }
    // The header itself, too: some readers are content with less.
    file.elf_header()
        .is_supported()
        .then_some(())
        .ok_or(ProgramError::NotElf)?;
    match file.architecture() {
        Machine::X86_64 => Ok(Architecture::Amd64),
        Machine::Aarch64 => Ok(Architecture::Arm64),
        _ => Err(ProgramError::Machine),
    }
}

fn dyn_tag(
    entry: &object::elf::Dyn64<object::Endianness>,
    endian: object::Endianness,
) -> DynamicTag {
    entry.d_tag(endian)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_of_this_machine_that_wants_a_loader_is_refused_with_its_name() {
        // The test itself is linked dynamically.
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        match static_for(&own) {
            Err(ProgramError::Loader(name)) => assert!(name.contains("ld-linux"), "{name}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF", &[0x7f; 4096]] {
            assert_eq!(static_for(bytes), Err(ProgramError::NotElf));
        }
    }
}
