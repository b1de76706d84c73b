//! Whole images: what is built is taken, is the same twice, and everything that Talos would refuse is named.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use semver::Version;
use talos_ext::{
    architecture::Architecture::{self, Amd64, Arm64},
    assemble::{self, AssembleError},
    image,
    oci::Run,
    read,
    read::ReadError,
    rules::{Severity, violations},
    service::{Dependency, Service},
    tree::{Entry, Kind, Tree},
};

/// The smallest file that is a static program: a header, and one segment to load.
fn program(machine: u16) -> Vec<u8> {
    let mut elf = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    for half in [2_u16, machine] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    for word in [0_u64, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    elf.extend(5_u32.to_le_bytes());
    for word in [0_u64, 0, 0, 120, 120, 4096] {
        elf.extend(word.to_le_bytes());
    }
    elf
}

const X86_64: u16 = 62;
const AARCH64: u16 = 183;
const RISCV: u16 = 243;

fn extension(architecture: Architecture) -> Tree {
    let bytes = program(match architecture {
        Amd64 => X86_64,
        Arm64 => AARCH64,
    });
    let programs = ["mesh-agent", "mesh-collector"].map(|name| (name.to_owned(), bytes.clone()));
    assemble::tree(
        &Version::new(0, 1, 0),
        architecture,
        &BTreeMap::from(programs),
        "{}\n",
    )
    .unwrap()
}

fn refused(tree: &Tree) -> Vec<String> {
    let found = violations(tree, Amd64, Some(&Version::new(1, 13, 9)));
    let refused = found
        .iter()
        .filter(|found| found.severity == Severity::Refused);
    refused.map(ToString::to_string).collect()
}

fn edited(edit: impl FnOnce(&mut Tree)) -> Tree {
    let mut tree = extension(Amd64);
    edit(&mut tree);
    tree
}

const AGENT_YAML: &str = "rootfs/usr/local/etc/containers/mesh-agent.yaml";
const AGENT: &str = "rootfs/usr/local/lib/containers/mesh-agent/usr/local/bin/mesh-agent";

#[test]
fn our_own_extension_is_taken_by_every_talos_that_it_says_it_fits() {
    for architecture in Architecture::ALL {
        let tree = extension(architecture);
        for talos in ["1.10.0", "1.12.11", "1.13.9", "1.14.0-rc.1"] {
            let talos = Version::parse(talos).unwrap();
            assert_eq!(violations(&tree, architecture, Some(&talos)), []);
        }
        let old = violations(&tree, architecture, Some(&Version::new(1, 9, 6)));
        assert_eq!(
            old[0].to_string(),
            "refused: manifest.yaml: Talos 1.9.6 is not within \">= v1.10.0\""
        );
    }
}

#[test]
fn the_folders_that_talos_own_tests_refuse_are_refused_for_the_same_reason() {
    let only = |tree: Tree| {
        let found = refused(&tree);
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0].clone()
    };
    assert_eq!(
        only(edited(|tree| tree.file("a", 0o644, *b"x"))),
        "refused: a: unexpected file \"a\": only manifest.yaml and rootfs may be there"
    );
    assert!(
        only(edited(|tree| tree.file("manifest.yaml", 0o644, *b""))).contains("not a manifest")
    );
    assert!(
        refused(&edited(|tree| tree.remove("rootfs")))
            .contains(&"refused: rootfs: is missing".to_owned())
    );
    assert_eq!(
        only(edited(|tree| tree.remove("manifest.yaml"))),
        "refused: manifest.yaml: is missing"
    );
    for path in [
        "rootfs/boot/vmlinuz",
        "rootfs/usr/lib64/a.so",
        "rootfs/lib/b",
    ] {
        let found = only(edited(|tree| tree.file(path, 0o644, *b"x")));
        assert!(
            found.starts_with(&format!("refused: {path}: "))
                && found.contains("is outside of the paths"),
            "{found}"
        );
    }
    let firmware = edited(|tree| {
        tree.file("rootfs/usr/lib/firmware/amd/cpu", 0o644, *b"x");
        tree.file("rootfs/usr/lib/ld-linux-x86-64.so.2", 0o755, *b"x");
    });
    assert_eq!(refused(&firmware), Vec::<String>::new());
}

#[test]
fn kinds_and_modes_that_an_extension_may_not_have_are_named() {
    let path = "rootfs/usr/local/x";
    let with = |mode, kind| {
        refused(&edited(|tree| {
            tree.insert(path, Entry { mode, kind });
        }))
        .join("\n")
    };
    assert!(with(0o644, Kind::Other("device")).contains("is a device"));
    assert!(with(0o4755, Kind::File(vec![])).contains("set-user-id"));
    assert!(with(0o666, Kind::File(vec![])).contains("may be written by all (666)"));
    assert_eq!(with(0o777, Kind::Link("y".to_owned())), "");
}

#[test]
fn services_that_would_not_start_are_named_with_what_was_expected() {
    let yaml = |text: &str| refused(&edited(|tree| tree.file(AGENT_YAML, 0o644, text))).join("\n");
    assert!(yaml("name: x").contains("not a service of an extension"));
    assert!(
        yaml("name: other\ncontainer: {entrypoint: /usr/local/bin/x}\nrestart: always")
            .contains("expected rootfs/usr/local/lib/containers/other/usr/local/bin/x")
    );
    assert!(
        yaml("name: mesh-collector\ncontainer: {entrypoint: /usr/local/bin/mesh-collector}\nrestart: always")
            .contains("is taken by")
    );
    let program_of =
        |mode, bytes: Vec<u8>| refused(&edited(|tree| tree.file(AGENT, mode, bytes))).join("\n");
    assert!(program_of(0o644, program(X86_64)).contains("may not be executed (644)"));
    assert!(
        program_of(0o755, program(AARCH64)).contains("is made for arm64, and the image is for")
    );
    assert!(program_of(0o755, program(RISCV)).contains("another processor"));
    assert!(program_of(0o755, b"#!/bin/sh\n".to_vec()).contains("not a 64-bit ELF program"));
}

#[test]
fn what_is_taken_and_hardly_meant_is_doubtful_and_not_refused() {
    let tree = edited(|tree| {
        tree.file("rootfs/usr/local/etc/containers/notes.yml", 0o644, *b"x");
        tree.file("rootfs/usr/local/lib/containers/left/x", 0o644, *b"x");
    });
    assert_eq!(refused(&tree), Vec::<String>::new());
    let found = violations(&tree, Amd64, None);
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(all.len(), 2, "{all:#?}");
    assert!(all[0].contains("notes.yml: Talos reads only files that end with .yaml"));
    assert!(all[1].contains("containers/left: no service has this root file system"));
}

#[test]
fn no_service_of_ours_waits_for_the_internet_or_writes_to_more_than_its_own_folder() {
    for (name, text) in assemble::SERVICES {
        let service = Service::parse(text).unwrap();
        assert_eq!(service.name, name);
        assert!(!service.waits_for_the_internet());
        assert!(!service.container.security.writeable_rootfs);
        for mount in &service.container.mounts {
            let read_only = mount.options.iter().any(|option| option == "ro");
            let own = ["/run", "/var/lib"].map(|above| format!("{above}/{name}"));
            let own = own.contains(&mount.source) && mount.destination == mount.source;
            assert!(read_only || own, "{mount:?}");
            // Before /var is mounted a folder in it would be made where it is lost.
            let lasts = mount.source.starts_with("/var/");
            let waits = |item: &Dependency| item.service.as_deref() == Some("cri");
            assert!(!lasts || service.depends.iter().any(waits));
        }
    }
}

#[test]
fn programs_that_are_missing_or_for_another_processor_make_no_image() {
    let version = Version::new(0, 1, 0);
    let none = assemble::tree(&version, Amd64, &BTreeMap::new(), "");
    assert!(matches!(none, Err(AssembleError::Missing("mesh-agent"))));
    let programs = ["mesh-agent", "mesh-collector"].map(|name| (name.to_owned(), program(AARCH64)));
    let other = assemble::tree(&version, Amd64, &BTreeMap::from(programs), "");
    assert_eq!(
        other.unwrap_err().to_string(),
        "mesh-agent is made for arm64, and the image is for amd64"
    );
}

#[test]
fn an_agent_that_has_grown_makes_no_image_and_its_size_is_named() {
    let of = |bytes: usize| {
        let mut agent = program(X86_64);
        agent.resize(bytes, 0);
        // A collector may be larger: it is not on every node.
        let mut collector = program(X86_64);
        collector.resize(9_000_000, 0);
        let programs = [("mesh-agent", agent), ("mesh-collector", collector)];
        let programs = programs.map(|(name, bytes)| (name.to_owned(), bytes));
        assemble::tree(&Version::new(0, 1, 0), Amd64, &programs.into(), "")
    };
    assert!(of(8_000_000).is_ok());
    assert_eq!(
        of(8_000_001).unwrap_err().to_string(),
        "mesh-agent has 8000001 bytes, and 8000000 are the most that a node should carry"
    );
}

fn both() -> BTreeMap<Architecture, Tree> {
    Architecture::ALL
        .into_iter()
        .map(|architecture| (architecture, extension(architecture)))
        .collect()
}

fn labels() -> Run {
    let label = |key: &str| (format!("org.opencontainers.image.{key}"), key.to_owned());
    Run {
        labels: ["title", "version", "licenses", "revision"]
            .map(label)
            .into(),
        ..Run::default()
    }
}

fn written(folder: &Path, layout: &image::Layout) {
    for (path, bytes) in layout.files() {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
}

#[test]
fn an_image_is_the_same_twice_to_the_byte() {
    let one = image::layout(&both(), &labels(), "v0.1.0").unwrap();
    let two = image::layout(&both(), &labels(), "v0.1.0").unwrap();
    assert_eq!(one.archive().unwrap(), two.archive().unwrap());
}

#[test]
fn an_image_reads_back_as_what_was_put_in_from_archive_and_folder() {
    let folder = tempfile::tempdir().unwrap();
    for trees in [both(), BTreeMap::from([(Arm64, extension(Arm64))])] {
        let layout = image::layout(&trees, &labels(), "v0.1.0").unwrap();
        let archive = folder.path().join("x.tar");
        fs::write(&archive, layout.archive().unwrap()).unwrap();
        assert_eq!(read::read(&archive, Amd64).unwrap(), trees);
        let place = folder.path().join(trees.len().to_string());
        written(&place, &layout);
        assert_eq!(read::read(&place, Amd64).unwrap(), trees);
    }
}

/// What the first descriptor of a kind in a document leads to.
fn led_to(layout: &image::Layout, descriptor: &serde_json::Value) -> serde_json::Value {
    let digest = descriptor["digest"].as_str().unwrap();
    let blob = &layout.files()[&format!("blobs/{}", digest.replace(':', "/"))];
    serde_json::from_slice(blob).unwrap()
}

#[test]
fn the_image_of_the_collector_runs_it_as_nobody_and_holds_nothing_else() {
    let programs = BTreeMap::from([("mesh-collector".to_owned(), program(AARCH64))]);
    let tree = assemble::collector(Arm64, &programs, "{}\n").unwrap();
    let files = tree.iter().filter(|(_, entry)| !entry.is_folder());
    let files: Vec<&str> = files.map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        files,
        [
            "usr/local/bin/mesh-collector",
            "usr/local/share/spdx/mesh-collector.spdx.json"
        ]
    );
    assert_eq!(
        tree.get("usr/local/bin/mesh-collector").unwrap().mode,
        0o755
    );
    let wrong = assemble::collector(Amd64, &programs, "{}\n");
    assert!(matches!(wrong, Err(AssembleError::Processor { .. })));
    let run = assemble::run_collector(labels().labels);
    let layout = image::layout(&BTreeMap::from([(Arm64, tree)]), &run, "v0.1.0").unwrap();
    let index: serde_json::Value = serde_json::from_slice(&layout.files()["index.json"]).unwrap();
    let manifest = led_to(&layout, &index["manifests"][0]);
    let mut configuration = led_to(&layout, &manifest["config"]);
    let config = configuration["config"].take();
    assert_eq!(
        config,
        serde_json::json!({
            "User": "65534:65534",
            "ExposedPorts": { "21820/tcp": {} },
            "Entrypoint": ["/usr/local/bin/mesh-collector"],
            "Labels": labels().labels,
        })
    );
}

#[test]
fn a_plain_folder_is_read_with_its_modes_and_links() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("rootfs/usr/local")).unwrap();
    fs::write(at("manifest.yaml"), "x").unwrap();
    fs::write(at("rootfs/usr/local/x"), "y").unwrap();
    fs::set_permissions(at("rootfs/usr/local/x"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("x", at("rootfs/usr/local/z")).unwrap();
    let trees = read::read(folder.path(), Arm64).unwrap();
    let tree = &trees[&Arm64];
    assert_eq!(tree.get("rootfs/usr/local/x").unwrap().mode, 0o750);
    let link = &tree.get("rootfs/usr/local/z").unwrap().kind;
    assert_eq!(*link, Kind::Link("x".to_owned()));
}

#[test]
fn a_damaged_image_is_refused_with_what_is_damaged() {
    let layout = image::layout(&both(), &labels(), "v0.1.0").unwrap();
    let blobs: Vec<&String> = layout
        .files()
        .keys()
        .filter(|path| path.starts_with("blobs/"))
        .collect();
    for blob in blobs {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), &layout);
        fs::write(folder.path().join(blob), "other").unwrap();
        let error = read::read(folder.path(), Amd64).unwrap_err();
        assert!(matches!(error, ReadError::Digest { .. }), "{blob}: {error}");
        fs::remove_file(folder.path().join(blob)).unwrap();
        let error = read::read(folder.path(), Amd64).unwrap_err();
        assert!(
            matches!(error, ReadError::Missing { .. }),
            "{blob}: {error}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    for garbage in [&b""[..], b"no archive", &[0xff; 2048]] {
        fs::write(&file, garbage).unwrap();
        assert!(read::read(&file, Amd64).is_err());
    }
}

/// An archive with one layer made of these files by name.
fn layered(layers: &[&[(&str, &str)]]) -> Vec<u8> {
    use talos_ext::oci;
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut blob = |media_type: &str, bytes: Vec<u8>| {
        let digest = image::digest(&bytes);
        let size = u64::try_from(bytes.len()).unwrap();
        files.push((format!("blobs/{}", digest.replace(':', "/")), bytes));
        oci::Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }
    };
    let layers = layers
        .iter()
        .map(|layer| blob(oci::LAYER, archive(layer)))
        .collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}
    });
    let manifest = oci::Manifest {
        schema_version: 2,
        media_type: None,
        config: blob(oci::CONFIG, config.to_string().into_bytes()),
        layers,
        annotations: BTreeMap::new(),
    };
    let manifest = blob(oci::MANIFEST, serde_json::to_vec(&manifest).unwrap());
    let index = oci::Index {
        schema_version: 2,
        media_type: None,
        manifests: vec![manifest],
        annotations: BTreeMap::new(),
    };
    files.push(("index.json".to_owned(), serde_json::to_vec(&index).unwrap()));
    let files: Vec<(&str, Vec<u8>)> = files
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.clone()))
        .collect();
    tarred(&files)
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let files: Vec<(&str, Vec<u8>)> = files
        .iter()
        .map(|(path, text)| (*path, text.as_bytes().to_vec()))
        .collect();
    tarred(&files)
}

fn tarred(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(bytes.len()).unwrap());
        header.set_mode(0o644);
        // The name as it is: the library itself refuses what leads out.
        let name = &mut header.as_gnu_mut().unwrap().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        archive.append(&header, bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn later_layers_replace_and_delete_what_earlier_ones_have() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.tar");
    let bytes = layered(&[
        &[("a/b", "1"), ("a/c", "1"), ("d/e", "1"), ("f", "1")],
        &[("a/.wh.b", ""), ("d/.wh..wh..opq", ""), ("./f", "2")],
    ]);
    fs::write(&file, bytes).unwrap();
    let trees = read::read(&file, Amd64).unwrap();
    let files = trees[&Amd64].iter().filter(|(_, entry)| !entry.is_folder());
    let files: Vec<_> = files.map(|(path, _)| path.as_str()).collect();
    assert_eq!(files, ["a/c", "f"]);
    assert_eq!(trees[&Amd64].bytes("f"), Some(&b"2"[..]));
}

#[test]
fn a_layer_that_leads_out_of_the_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.tar");
    fs::write(&file, layered(&[&[("rootfs/../../etc/passwd", "x")]])).unwrap();
    let error = read::read(&file, Amd64).unwrap_err().to_string();
    assert!(error.contains("leads out of it"), "{error}");
}
