//! The machine configs of `vagrant/`, and the documents that `mesh-probe install plan` prints, before Talos' own judges.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use integration::{
    lab::{
        programs::Binaries,
        topology::{Lan, Node, Topology},
    },
    vagrant::machines::{self, Role},
};
use serde::Deserialize;

use crate::{
    own,
    real::{build, versions},
    report::{Report, Row, Section},
};

const MODULE: &str = "config";

/// What the Go program says of one config.
#[derive(Debug, Deserialize)]
struct Said {
    refused: String,
    warnings: Option<Vec<String>>,
    role: String,
    hostname: String,
    addresses: Option<Vec<String>>,
    routes: Option<Vec<String>>,
    links: Option<Vec<String>>,
    matches: Option<Vec<String>>,
    kubespan: bool,
    discovery: bool,
    ingress: String,
    open: Option<Vec<String>>,
    services: Option<BTreeMap<String, Vec<String>>>,
    image: String,
}

pub(crate) fn run(report: &mut Report) {
    let program = build(MODULE, ".", "config");
    let folder = tempfile::tempdir().unwrap();
    let rows = vec![
        nodes(&program),
        plan(&program, folder.path()),
        misspelt(&program, folder.path()),
    ];
    let mut versions = versions(MODULE);
    versions.push(format!(
        "made for Talos {}",
        machines::version("TALOS_VERSION").unwrap()
    ));
    report.sections.push(Section {
        title: "Machine configs".to_owned(),
        versions,
        rows,
    });
}

/// Each node of the machines, patched as `./dev vagrant` patches it.
fn nodes(program: &Path) -> Row {
    let mut row = Row::named("`vagrant/patches` on what talosctl generates");
    let topology = Topology::default();
    let names = topology.nodes.iter().map(|node| node.name.as_str());
    let wanted: Vec<_> = names
        .map(|name| (name, machines::role(name), machines::patches(name)))
        .collect();
    let told = ask(program, &wanted);
    for node in &topology.nodes {
        node_is(&mut row, &topology, node, &told[node.name.as_str()]);
    }
    row
}

fn node_is(row: &mut Row, topology: &Topology, node: &Node, said: &Said) {
    let name = node.name.as_str();
    let mut expect = |what: &str, ours: &str, real: &str| {
        row.expect(&format!("{name}: {what}"), ours, real);
    };
    expect("refused", &said.refused, "");
    expect("warnings", &listed(said.warnings.as_ref()), "");
    expect("role", &said.role, machines::role(name).name());
    expect("hostname", &said.hostname, name);
    expect("links", &listed(said.links.as_ref()), "uplink");
    let mac = machines::mac(name).unwrap();
    let matches = format!("mac(link.permanent_addr) == \"{mac}\"");
    expect("link", &listed(said.matches.as_ref()), &matches);
    let (length, routes) = topology.site_of(node).map_or_else(
        || {
            let [a, b, c, _] = node.address.octets();
            let gateway = format!("{a}.{b}.{c}.1");
            (
                32,
                format!("{gateway}/32 via the link; default via {gateway}"),
            )
        },
        |site| {
            let Lan { gateway, length } = site.lan;
            (length, format!("default via {gateway}"))
        },
    );
    let address = format!("{}/{length}", node.address);
    expect("address", &listed(said.addresses.as_ref()), &address);
    expect("routes", &listed(said.routes.as_ref()), &routes);
    expect("kubespan", &said.kubespan.to_string(), "true");
    expect("discovery", &said.discovery.to_string(), "true");
    expect("ingress", &said.ingress, "block");
    let open = listed(said.open.as_ref());
    for rule in [
        "udp 51820-51820 from [0.0.0.0/0 ::/0]",
        "tcp 21820-21820 from [0.0.0.0/0 ::/0]",
    ] {
        expect(rule, &open.contains(rule).to_string(), "true");
    }
    let collector = match machines::role(name) {
        Role::ControlPlane => "mesh-collector",
        Role::Worker => "",
    };
    let services: Vec<_> = said.services.iter().flatten().collect();
    let named = services.iter().map(|(service, _)| service.as_str());
    expect("services", &named.collect::<Vec<_>>().join(" "), collector);
}

/// The plan of an installation, on a generated config: its documents are meant for any cluster.
fn plan(program: &Path, folder: &Path) -> Row {
    let mut row = Row::named("`mesh-probe install plan`");
    let documents = planned();
    let files = |names: &[&str]| -> Vec<PathBuf> {
        let file = |name: &&str| {
            let file = folder.join(name);
            fs::write(&file, &documents[*name]).unwrap();
            file
        };
        names.iter().map(file).collect()
    };
    let (node, collector, firewall) = (
        "mesh-node.yaml",
        "mesh-collector.yaml",
        "mesh-firewall.yaml",
    );
    let told = ask(
        program,
        &[
            ("worker", Role::Worker, files(&[node, firewall])),
            (
                "control-plane",
                Role::ControlPlane,
                files(&[node, collector, firewall]),
            ),
        ],
    );
    for (name, said) in &told {
        let mut expect = |what: &str, ours: &str, real: &str| {
            row.expect(&format!("{name}: {what}"), ours, real);
        };
        expect("refused", &said.refused, "");
        expect(
            "image",
            &said.image,
            "registry.example.org/installer:v1.13.9-mesh",
        );
        let services = said.services.as_ref().unwrap();
        let environment = |service: &str| listed(services.get(service));
        expect(
            "agent",
            &environment("mesh-agent"),
            "MESH_COLLECTORS=198.51.100.9:21820",
        );
        let key = if name == "worker" {
            ""
        } else {
            "MESH_KEY=CLUSTER_SECRET"
        };
        expect("collector", &environment("mesh-collector"), key);
        let rules = "udp 51820-51820 from [0.0.0.0/0 ::/0]; tcp 21820-21820 from [0.0.0.0/0 ::/0]";
        expect("rules", &listed(said.open.as_ref()), rules);
    }
    row
}

/// The files of a plan, by name.
fn planned() -> BTreeMap<String, String> {
    let probe = Binaries::beside(Path::new(env!("CARGO_BIN_EXE_lab")))
        .unwrap()
        .path("mesh-probe");
    let arguments = "install plan --talos v1.13.9 --extension registry.example.org/talos-mesh:v0.1.0 --installer \
                     registry.example.org/installer --control-planes 203.0.113.11 --workers 192.168.50.12 --collectors 198.51.100.9 -o json";
    let output = Command::new(probe)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let steps = plan["steps"]
        .as_array()
        .or_else(|| plan["plan"]["steps"].as_array());
    let files = steps
        .unwrap()
        .iter()
        .filter_map(|step| step["files"].as_array());
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    files
        .flatten()
        .map(|file| (text(&file["name"]), text(&file["content"])))
        .collect()
}

/// Without a refusal here, agreement elsewhere would mean nothing.
fn misspelt(program: &Path, folder: &Path) -> Row {
    let mut row = Row::named("what is wrong is refused");
    let cases = [
        ("key", "kind: KubeSpanConfig\nenabeld: true\n", "enabeld"),
        (
            "kind",
            "kind: KubespanConfig\nenabled: true\n",
            "KubespanConfig",
        ),
        (
            "value",
            "kind: KubeSpanConfig\nenabled: true\nmtu: 1000\n",
            "1280",
        ),
        (
            "link",
            "kind: LinkAliasConfig\nname: x\nselector:\n  match: mac(link) ==\n",
            "match",
        ),
    ];
    for (name, document, part) in cases {
        let file = folder.join(format!("{name}.yaml"));
        fs::write(&file, format!("apiVersion: v1alpha1\n{document}")).unwrap();
        let told = ask(program, &[(name, Role::Worker, vec![file])]);
        let refused = &told[name].refused;
        row.expect(
            &format!("{name}: {refused}"),
            &refused.contains(part),
            &true,
        );
    }
    row
}

fn ask(program: &Path, nodes: &[(&str, Role, Vec<PathBuf>)]) -> BTreeMap<String, Said> {
    let mut command = Command::new(program);
    command
        .current_dir(own().join(".."))
        .env("TALOS_VERSION", machines::version("TALOS_VERSION").unwrap());
    for (name, role, files) in nodes {
        let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        command.arg(format!("{name}={}:{}", role.name(), files.join(",")));
    }
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn listed(items: Option<&Vec<String>>) -> String {
    items.map_or_else(String::new, |items| items.join("; "))
}
