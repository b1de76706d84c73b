//! Scenario files of the lab.

use std::path::Path;

use integration::lab::scenario::{MAX_SECONDS, MAX_STEPS, Scenario};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "scenario",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Scenario::parse(Path::new("x.toml"), text) {
        Err(error) => assert!(error.to_string().contains("x.toml"), "{error}"),
        Ok(scenario) => check(&scenario),
    }
}

fn check(scenario: &Scenario) {
    assert!(scenario.steps.len() <= MAX_STEPS);
    for step in &scenario.steps {
        assert!((0.0..=MAX_SECONDS).contains(&step.at), "{step:?}");
    }
    let topology = &scenario.topology;
    assert!(topology.collector().is_some(), "{topology:?}");
    for node in &topology.nodes {
        assert!(
            node.site.is_none() || topology.site_of(node).is_some(),
            "{node:?}"
        );
        let hosts: Vec<_> = topology.hosts().collect();
        assert!(
            hosts.contains(&topology.router_in_front_of(node)),
            "{node:?}"
        );
    }
}

const WHOLE: &str = r#"
name = "x"
about = "y"
start_healthy = false

[topology]
node = [
  { name = "vps-1", address = "203.0.113.11", wireguard = "boringtun" },
  { name = "home-cp", address = "192.168.50.11", site = "home" },
]
site = [{ name = "home", router = "r", wan = "198.51.100.2", lan = "192.168.50.1/24", nat = "masquerade-random" }]

[[step]]
at = 0
fault = "one-way-loss"
from = "vps-1"
to = "home-cp"
percent = 50

[[step]]
at = 1.5
in = "r"
run = "true"
heal = "false"

[expect]
roots = [{ code = "path-broken", subject = "vps-1 -> home-cp" }]
absent = ["*"]
gates = { mesh = "not-ready" }
within_s = 5
"#;

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        WHOLE.to_owned(),
        WHOLE.replace("/24", "/31"),
        WHOLE.replace("1.5", "nan"),
        WHOLE.replace("within_s = 5", "within_s = -inf"),
        WHOLE.replace("home-cp\"\npercent", "vps-9\"\npercent"),
        "name = \"x\"\nabout = \"y\"\n[[step]]\nfault = \"block-udp-51820-to\"\nnode = \"vps-1\"\n"
            .to_owned(),
        "name = \"x\"\nabout = \"y\"\n[[step]]\nfault = \"block-udp-out\"\nsite = \"home\"\n"
            .to_owned(),
        "name = 1\n".to_owned(),
    ];
    texts.map(String::into_bytes).to_vec()
}
