//! A program that plays machined on a node of the lab: COSI's state over a socket, with what a Talos node would say there.
//!
//! What it says is true of the lab: peers as the lab planned them, their state by Talos' own rules from the real device. It
//! misbehaves as the file [`MOOD_FILE`] says, so that a scenario can make it do so.
//!
//! In reading order: `plan` (what a node is told of the cluster), `peers` (Talos' view of each peer), `allowed_ips`, `resources` (all of it as
//! resources), `given` (what a scenario says otherwise), `mood`, `service` (who asks for it).

mod allowed_ips;
mod given;
mod mood;
mod peers;
mod plan;
mod resources;
mod service;

use std::{fs, io, path::Path, sync::Arc, thread, time::Duration};

use tokio::{net::UnixListener, runtime, time::sleep};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use upstream::cosi::state_server::StateServer;

use crate::lab::LabError;
use mood::Mood;
use service::{Service, World};

pub use plan::{Neighbour, Plan};

/// Where it listens, in its host's own `/run`.
pub const SOCKET: &str = "/run/machined/machine.sock";
/// What it is told at the start.
pub const PLAN_FILE: &str = "/run/machined/plan.json";
/// How it behaves: `hang`, `flood`, `garbage`, `die`, `deny` or `overrun`; none is well.
pub const MOOD_FILE: &str = "/run/machined/mood";
/// The machine's stage, in Talos' word: `rebooting`, `shutting down`, `resetting`, `upgrading`; none is running.
pub const STAGE_FILE: &str = "/run/machined/stage";
/// Endpoint candidates other than the planned ones, a line for a peer: its name, then the candidates. These are set on the
/// device, as Talos sets them; the planned ones are left to the lab.
pub const CANDIDATES_FILE: &str = "/run/machined/candidates";
/// The time servers, in their order; none are planned.
pub const TIME_SERVERS_FILE: &str = "/run/machined/time-servers";
/// The address that the kubelet is given, then others that the node has beside its planned one; only that is planned.
pub const NODE_IPS_FILE: &str = "/run/machined/node-ips";
/// Where the discovery service is, as `host:port`, or `off`; otherwise it is where Talos has it by default.
pub const DISCOVERY_FILE: &str = "/run/machined/discovery";

/// Pace of looking at the mood.
const LOOK: Duration = Duration::from_millis(200);

/// Serves until the lab ends.
pub fn serve() -> Result<(), LabError> {
    let text = fs::read(PLAN_FILE).map_err(LabError::io("read", PLAN_FILE))?;
    let plan: Plan = serde_json::from_slice(&text)
        .map_err(io::Error::from)
        .map_err(LabError::io("understand", PLAN_FILE))?;
    loop {
        live(plan.clone())?;
        while Mood::now() == Mood::Dead {
            thread::sleep(LOOK);
        }
    }
}

/// One life: until it is told to die. Its connections end with the runtime.
fn live(plan: Plan) -> Result<(), LabError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LabError::io("start", "the runtime of machined"))?;
    let lived = runtime.block_on(async {
        let world = Arc::new(World::new(plan));
        tokio::select! {
            served = listen(Arc::clone(&world)) => served,
            () = world.turn() => Ok(()),
            () = until_death() => Ok(()),
        }
    });
    runtime.shutdown_background();
    lived
}

async fn listen(world: Arc<World>) -> Result<(), LabError> {
    if Path::new(SOCKET).exists() {
        fs::remove_file(SOCKET).map_err(LabError::io("remove", SOCKET))?;
    }
    let listener = UnixListener::bind(SOCKET).map_err(LabError::io("listen on", SOCKET))?;
    Server::builder()
        .add_service(StateServer::new(Service::new(world)))
        .serve_with_incoming(UnixListenerStream::new(listener))
        .await
        .map_err(io::Error::other)
        .map_err(LabError::io("serve", SOCKET))
}

async fn until_death() {
    while Mood::now() != Mood::Dead {
        sleep(LOOK).await;
    }
}
