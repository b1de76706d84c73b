//! However a lab ends, nothing of it is left.

use std::process::{Child, Command, Stdio};

use crate::support::{TestLab, eventually};

pub(crate) fn lab_down_leaves_nothing() {
    let lab = TestLab::up();
    let namespace = lab.namespace();
    assert!(
        lab.processes(Some(&namespace)).len() > 10,
        "keeper, hosts and devices are there"
    );
    assert!(lab.command().arg("down").status().unwrap().success());
    assert!(lab.folders().is_empty());
    // The warden has ended, but whoever inherited it may not have collected it yet.
    eventually("the end of all processes", || {
        lab.processes(Some(&namespace)).is_empty()
    });
}

pub(crate) fn killing_the_starter_leaves_nothing() {
    starter_ended_by("KILL");
}

pub(crate) fn interrupting_the_starter_leaves_nothing() {
    starter_ended_by("INT");
    starter_ended_by("TERM");
}

/// There is no folder keeper any more; the next lab removes the folder.
pub(crate) fn killing_the_warden_leaves_no_process() {
    let lab = TestLab::up();
    let namespace = lab.namespace();
    signal("KILL", lab.keeper("warden"));
    eventually("the end of all processes", || {
        lab.processes(Some(&namespace)).is_empty()
    });
    let next = lab
        .command()
        .args(["up", "--network-only"])
        .output()
        .unwrap();
    assert!(next.status.success());
    assert_eq!(lab.folders().len(), 1);
}

/// Ends `lab` while it holds a lab in the foreground.
fn starter_ended_by(name: &str) {
    let lab = TestLab::new();
    let mut starter = foreground(&lab);
    eventually("a lab", || {
        lab.folders()
            .first()
            .is_some_and(|folder| folder.join("lab.json").is_file())
    });
    let namespace = lab.namespace();
    assert!(lab.processes(Some(&namespace)).len() > 10);
    signal(name, starter.id());
    starter.wait().unwrap();
    eventually("the end of all processes", || {
        lab.processes(Some(&namespace)).is_empty()
    });
    eventually("the removal of the folder", || lab.folders().is_empty());
}

fn foreground(lab: &TestLab) -> Child {
    let mut command: Command = lab.command();
    command.args(["up", "--network-only", "--foreground"]);
    command.stdout(Stdio::null()).spawn().unwrap()
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(status.unwrap().success(), "kill -s {name} {pid}");
}
