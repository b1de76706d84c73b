//! Arguments of `install plan`.

use clap::{Args, Subcommand};

use crate::install::Wanted;

#[derive(Debug, Args)]
pub struct InstallArgs {
    #[command(subcommand)]
    pub command: InstallCommand,
}

#[derive(Debug, Subcommand)]
pub enum InstallCommand {
    /// Print what to run, in which order, with all documents; nothing is applied
    Plan(PlanArgs),
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Version of Talos that the nodes run, or are to run
    #[arg(long, value_name = "VERSION", value_parser = talos_version)]
    pub talos: String,
    /// Where the extension's image is pushed to
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    pub extension: String,
    /// Other extensions that the nodes have, with their images; repeatable
    #[arg(long = "with", value_name = "IMAGE", value_parser = image)]
    pub others: Vec<String>,
    /// Repository to which the installer is pushed, without a tag
    #[arg(long, value_name = "REPOSITORY", value_parser = repository)]
    pub installer: String,
    /// Processor of the nodes
    #[arg(long, value_name = "ARCH", default_value = "amd64", value_parser = ["amd64", "arm64"])]
    pub arch: String,
    /// Control planes, as talosctl reaches them
    #[arg(long, value_name = "NODE[,NODE..]", value_delimiter = ',', required = true, value_parser = node)]
    pub control_planes: Vec<String>,
    /// All other nodes
    #[arg(long, value_name = "NODE[,NODE..]", value_delimiter = ',', value_parser = node)]
    pub workers: Vec<String>,
    /// Where collectors run; without this on all control planes
    #[arg(long, value_name = "NODE[,NODE..]", value_delimiter = ',', value_parser = node)]
    pub collectors: Vec<String>,
}

impl PlanArgs {
    /// As the plan takes it.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            talos: self.talos.clone(),
            extension: self.extension.clone(),
            others: self.others.clone(),
            installer: self.installer.clone(),
            architecture: self.arch.clone(),
            control_planes: self.control_planes.clone(),
            workers: self.workers.clone(),
            collectors: self.collectors.clone(),
        }
    }
}

/// A release, with or without its `v`; older ones have no merged `/usr`, and the extension does not fit.
fn talos_version(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let wrong = || format!("{text:?} is no version of Talos: expected as in v1.13.9");
    let numbers: Vec<&str> = bare.splitn(3, '.').collect();
    let [major, minor, patch] = numbers.as_slice() else {
        return Err(wrong());
    };
    let patch = patch.split('-').next().unwrap_or_default();
    let number = |part: &str| part.parse::<u32>().map_err(|_| wrong());
    let version = (number(major)?, number(minor)?);
    number(patch)?;
    if version < (1, 10) {
        return Err(format!(
            "Talos {text} is too old: the extension is made for v1.10.0 and later"
        ));
    }
    Ok(format!("v{bare}"))
}

/// What ends up in commands that are copied must be one word there.
fn word(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-:/@[]".contains(c);
    !text.is_empty() && !text.starts_with('-') && text.chars().all(legal)
}

fn image(text: &str) -> Result<String, String> {
    let after_host = text.rsplit('/').next().unwrap_or_default();
    if word(text) && text.contains('/') && after_host.contains([':', '@']) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no image: expected REGISTRY/NAME:TAG or REGISTRY/NAME@DIGEST"
    ))
}

fn repository(text: &str) -> Result<String, String> {
    let after_host = text.rsplit('/').next().unwrap_or_default();
    if word(text) && text.contains('/') && !after_host.contains([':', '@']) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no repository: expected REGISTRY/NAME without a tag"
    ))
}

fn node(text: &str) -> Result<String, String> {
    if text.parse::<std::net::IpAddr>().is_ok() || evidence::NodeName::parse(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is neither an address nor a host name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_with_their_v_and_old_ones_are_refused() {
        assert_eq!(talos_version("1.13.9"), Ok("v1.13.9".to_owned()));
        assert_eq!(talos_version("v1.14.0-rc.1"), Ok("v1.14.0-rc.1".to_owned()));
        assert!(talos_version("v1.9.6").unwrap_err().contains("too old"));
        for text in ["", "1.13", "newest", "1.x.2", "1.13.9; rm"] {
            assert!(talos_version(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_would_not_be_one_word_in_a_shell_is_refused() {
        assert!(image("registry.example.org:5000/a/b:v1").is_ok());
        assert!(image("registry.example.org/a@sha256:00").is_ok());
        assert!(repository("registry.example.org:5000/installer").is_ok());
        for text in ["a", "a/b", "a/b:c d", "$(x)/b:c", "-a/b:c", "a/b:`c`"] {
            assert!(image(text).is_err(), "{text:?}");
        }
        assert!(repository("a/b:c").is_err());
        for text in ["a b", "a;b", "", "$(x)"] {
            assert!(node(text).is_err(), "{text:?}");
        }
    }
}
