//! The machines as a stage: they run already, so that a run begins with services that are stopped and routers made anew.

use std::{
    fmt::Display,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use crate::{
    lab::{
        LabError,
        faults::Action,
        runner::Staged,
        scenario::Scenario,
        stage_kind::StageKind,
        topology::Topology,
        verdict::{MeshStatus, Verdict},
    },
    vagrant::commands::{self, SSH_CONFIG, Typed},
};

/// Machines that `./dev vagrant up` started.
#[derive(Debug)]
pub struct Machines {
    topology: Topology,
}

impl Machines {
    /// Makes the routers anew and stops all services.
    pub fn prepare() -> Result<Self, LabError> {
        if !Path::new(SSH_CONFIG).is_file() {
            return Err(LabError::Impossible(format!(
                "{SSH_CONFIG} is missing: `./dev vagrant up` starts the machines and writes it"
            )));
        }
        let machines = Self {
            topology: Topology::default(),
        };
        Self::all(&commands::anew(&machines.topology))?;
        let stop = commands::programs(&machines.topology, "stop").map_err(LabError::Impossible)?;
        Self::all(&stop)?;
        Ok(machines)
    }

    /// Leaves healthy routers and running services behind, whatever the scenario did.
    pub fn leave(mut self) -> Result<(), LabError> {
        Self::all(&commands::anew(&self.topology))?;
        self.start_programs()
    }

    fn all(typed: &[Typed]) -> Result<(), LabError> {
        typed.iter().try_for_each(|typed| {
            let output = run(typed)?;
            if output.status.success() {
                return Ok(());
            }
            Err(LabError::Command {
                host: typed.host.clone(),
                command: typed.command.clone(),
                status: output.status,
                stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            })
        })
    }
}

impl Staged for Machines {
    fn start_programs(&mut self) -> Result<(), LabError> {
        let start = commands::programs(&self.topology, "start").map_err(LabError::Impossible)?;
        Self::all(&start)
    }

    fn perform(&mut self, action: &Action) -> Result<(), LabError> {
        let typed = commands::of(action, &self.topology).map_err(LabError::Impossible)?;
        Self::all(&[typed])
    }

    fn verdict(&mut self) -> Result<Result<Verdict, String>, LabError> {
        let output = run(&commands::question(&self.topology).map_err(LabError::Impossible)?)?;
        let status: Result<MeshStatus, _> = serde_json::from_slice(&output.stdout);
        Ok(status.map(|status| status.verdict).map_err(|error| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            format!(
                "mesh-probe status: {}; {error}; {}",
                output.status,
                stderr.trim()
            )
        }))
    }

    /// Talos starts again what ends by itself, so that nothing is ever found fallen.
    fn fallen(&mut self) -> Vec<String> {
        Vec::new()
    }
}

fn run(typed: &Typed) -> Result<Output, LabError> {
    let words = typed.arguments();
    let (program, arguments) = (&words[0], &words[1..]);
    Command::new(program)
        .args(arguments)
        .output()
        .map_err(LabError::io("run", typed))
}

/// Everything that a run of the scenario would type, in its order, for a person to read first.
pub fn dry_run(scenario: &Scenario) -> Result<String, String> {
    let topology = Topology::default();
    let mut script = Script::default();
    script.say("the routers anew, and all services stopped");
    script.type_in(&commands::anew(&topology));
    script.type_in(&commands::programs(&topology, "stop")?);
    if scenario.start_healthy {
        script.say("the services, and the mesh is waited for");
        script.type_in(&commands::programs(&topology, "start")?);
    }
    let heal = script.steps(scenario, &topology)?;
    if !scenario.start_healthy {
        script.say("the services start only now");
        script.type_in(&commands::programs(&topology, "start")?);
    }
    match &scenario.expect {
        None => script.say("watched, and nothing is expected"),
        Some(expect) => {
            let within = Duration::from_secs_f64(expect.within_s);
            let within = StageKind::Vagrant.patience(within).as_secs_f64();
            let hold = expect.hold_s;
            script.say(format!(
                "asked until what is expected has held for {hold} s, {within} s at most"
            ));
            script.type_in(&[commands::question(&topology)?]);
            if expect.heals && !heal.is_empty() {
                script.say("healed, and asked until the gates are open again");
                script.type_in(&typed(&heal, &topology)?);
            }
        }
    }
    script.say("whatever came of it");
    script.type_in(&commands::anew(&topology));
    script.type_in(&commands::programs(&topology, "start")?);
    Ok(script.0.join("\n") + "\n")
}

/// Lines for a shell.
#[derive(Default)]
struct Script(Vec<String>);

impl Script {
    fn say(&mut self, what: impl Display) {
        self.0.push(format!("# {what}"));
    }

    fn type_in(&mut self, typed: &[Typed]) {
        self.0.extend(typed.iter().map(ToString::to_string));
    }

    /// Returns what heals, last fault first.
    fn steps(&mut self, scenario: &Scenario, topology: &Topology) -> Result<Vec<Action>, String> {
        let mut steps: Vec<_> = scenario.steps.iter().enumerate().collect();
        steps.sort_by(|(_, one), (_, other)| one.at.total_cmp(&other.at));
        let mut heal = Vec::new();
        for (number, step) in steps {
            let remedy = step.fault.remedy(topology, number);
            let remedy = remedy.map_err(|error| error.to_string())?;
            self.say(format!("after {} s", step.at));
            self.type_in(&typed(&remedy.apply, topology)?);
            heal.splice(0..0, remedy.heal);
        }
        Ok(heal)
    }
}

fn typed(actions: &[Action], topology: &Topology) -> Result<Vec<Typed>, String> {
    let actions = actions.iter();
    actions
        .map(|action| commands::of(action, topology))
        .collect()
}
