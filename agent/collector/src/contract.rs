//! What is answered to who asks for another contract than ours: both versions, so that one knows which side to replace.

use http::{Response, Uri};
use tonic::{Status, body::Body, service::Routes};

/// The package of `proto/schema`: within it, versions understand each other.
const OURS: &str = "mesh.v1";

/// Answers whatever no service of `routes` takes.
pub(crate) fn told(services: Routes) -> Routes {
    services.into_axum_router().fallback(answer).into()
}

async fn answer(uri: Uri) -> Response<Body> {
    refusal(uri.path()).into_http()
}

fn refusal(path: &str) -> Status {
    let service = path.trim_start_matches('/').split('/').next();
    let service = service.unwrap_or_default();
    let package = service.rsplit_once('.').map_or("", |(package, _)| package);
    if package == OURS {
        // A later version of the same contract has a service more.
        return Status::unimplemented(format!(
            "{service} was asked for, which this collector is too old to have; it speaks {OURS}"
        ));
    }
    if package.starts_with("mesh.") {
        return Status::unimplemented(format!(
            "{package} was asked for, and this collector speaks {OURS}: agents, collectors and mesh-probe must have one contract"
        ));
    }
    Status::unimplemented("no such service")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_contract_is_named_beside_ours_and_strangers_are_told_neither() {
        let told = |path| refusal(path).message().to_owned();
        let other = told("/mesh.v2.Report/Stream");
        assert!(
            other.contains("mesh.v2") && other.contains("mesh.v1"),
            "{other}"
        );
        assert!(told("/mesh.v1.Forecast/Get").contains("mesh.v1.Forecast"));
        for stranger in ["/", "", "/x", "/grpc.other.Thing/Do", "/meshes.v2.Report/S"] {
            assert_eq!(told(stranger), "no such service", "{stranger}");
        }
    }
}
