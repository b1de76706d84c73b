//! `talos-ext`: builds the image of the extension, and says what Talos would refuse of one.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of the command line"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use semver::Version;
use talos_ext::{
    architecture::Architecture,
    assemble::{self, COLLECTOR, NAME, SERVICES},
    image,
    oci::Run,
    read,
    rules::{Severity, Violation, violations},
    sbom,
};

/// Builds and checks Talos system extension images.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 the image would be refused, or something failed; 2 usage."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds the image from static programs
    Build(Build),
    /// Names everything in an image that Talos would refuse
    Validate(Validate),
}

#[derive(Debug, clap::Args)]
struct Build {
    /// Folder with the programs for one processor; repeatable
    #[arg(long = "programs", value_name = "ARCH=FOLDER", required = true, value_parser = programs)]
    programs: Vec<(Architecture, PathBuf)>,
    /// What `cargo metadata --format-version 1 --locked` printed
    #[arg(long, value_name = "FILE")]
    metadata: PathBuf,
    /// The commit that it is built from
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// Where the OCI archive and the folder of the OCI layout are written, one of each
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Validate {
    /// An OCI archive, the folder of an OCI layout, or a folder with manifest.yaml and rootfs
    image: PathBuf,
    /// The version of Talos that it is to be built into
    #[arg(long, value_name = "VERSION", value_parser = version)]
    talos: Option<Version>,
    /// What the programs of a plain folder run on
    #[arg(long, value_name = "ARCH", default_value = "amd64")]
    architecture: Architecture,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Build(build) => build.run(),
        Command::Validate(validate) => validate.run(),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("talos-ext: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn programs(text: &str) -> Result<(Architecture, PathBuf), String> {
    let (architecture, folder) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?}: expected ARCH=FOLDER"))?;
    Ok((architecture.parse()?, PathBuf::from(folder)))
}

fn version(text: &str) -> Result<Version, String> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    Version::parse(bare).map_err(|error| format!("{text:?} is no version: {error}"))
}

impl Build {
    fn run(self) -> anyhow::Result<ExitCode> {
        let own =
            Version::parse(env!("CARGO_PKG_VERSION")).context("the version of this program")?;
        let names = SERVICES.map(|(name, _)| name);
        let metadata = text(&self.metadata)?;
        let sbom = sbom::spdx(&metadata, &names)?;
        let collectors_sbom = sbom::spdx(&metadata, &[COLLECTOR])?;
        let (mut extensions, mut collectors) = (BTreeMap::new(), BTreeMap::new());
        for (architecture, folder) in &self.programs {
            let mut found = BTreeMap::new();
            for name in names {
                let bytes = bytes(&folder.join(name))?;
                println!("{architecture} {name}: {} bytes", bytes.len());
                found.insert(name.to_owned(), bytes);
            }
            let tree = assemble::tree(&own, *architecture, &found, &sbom)
                .with_context(|| format!("for {architecture}"))?;
            if let Some(first) = violations(&tree, *architecture, None).first() {
                bail!("what was put together would be refused: {first}");
            }
            extensions.insert(*architecture, tree);
            let tree = assemble::collector(*architecture, &found, &collectors_sbom)?;
            collectors.insert(*architecture, tree);
        }
        let reference = format!("v{own}");
        let extension = Run {
            labels: self.labels(
                NAME,
                "Talos system extension: watches the KubeSpan mesh of a node and never changes it",
                &own,
            ),
            ..Run::default()
        };
        self.write(NAME, &image::layout(&extensions, &extension, &reference)?)?;
        let collector = assemble::run_collector(self.labels(
            COLLECTOR,
            "Joins what the agents of a KubeSpan mesh see, judges it, and says whether the next layer may be started",
            &own,
        ));
        // By this name and tag a container runtime knows it once it is loaded.
        let reference = format!("{COLLECTOR}:{reference}");
        self.write(
            COLLECTOR,
            &image::layout(&collectors, &collector, &reference)?,
        )?;
        Ok(ExitCode::SUCCESS)
    }

    /// The labels that registries show.
    fn labels(
        &self,
        title: &str,
        description: &str,
        version: &Version,
    ) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            ("title", title.to_owned()),
            ("description", description.to_owned()),
            ("version", version.to_string()),
            ("licenses", "MIT OR Apache-2.0".to_owned()),
        ]);
        if let Some(revision) = &self.revision {
            labels.insert("revision", revision.clone());
        }
        labels
            .into_iter()
            .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value))
            .collect()
    }

    fn write(&self, name: &str, layout: &image::Layout) -> anyhow::Result<()> {
        let folder = self.output.join(name);
        for (path, bytes) in layout.files() {
            write(&folder.join(path), bytes)?;
        }
        let archive = layout.archive()?;
        let file = self.output.join(format!("{name}.oci.tar"));
        write(&file, &archive)?;
        println!(
            "{}: {} bytes, {}",
            file.display(),
            archive.len(),
            image::digest(&archive)
        );
        println!("{}: the same as a folder", folder.display());
        Ok(())
    }
}

impl Validate {
    fn run(self) -> anyhow::Result<ExitCode> {
        let trees = read::read(&self.image, self.architecture)?;
        let mut refused = false;
        for (architecture, tree) in &trees {
            let found: Vec<Violation> = violations(tree, *architecture, self.talos.as_ref());
            for violation in &found {
                println!("{architecture}: {violation}");
            }
            refused |= found
                .iter()
                .any(|violation| violation.severity == Severity::Refused);
            println!(
                "{architecture}: {} entries, {} objections",
                tree.len(),
                found.len()
            );
        }
        Ok(if refused {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

fn text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("failed to write {}", path.display()))
}
