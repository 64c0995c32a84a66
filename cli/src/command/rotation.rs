//! `certs rotate` and `certs status`: the replacement of certificates, and how it goes.

use clap::{Args, ValueEnum};
use proto::admin::AdminReply;
use proto::certs::{CertsReply, CertsRequest};
use proto::rotation::{Begun, Pace, Rotation, RotationKind, RotationStep, WaitsFor};

use super::certs::ask;
use crate::connect::unexpected;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, note};
use crate::place::Place;

/// What to replace.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// leaf: the certificates of all hubs and spokes; intermediate: both issuers and all leaves; root:
    /// everything
    what: What,
    /// Wait for nobody: spokes get a minute to renew (--renew-within of the hub), then whatever hangs
    /// from what is replaced is revoked. For a key that may be in the wrong hands
    #[arg(long)]
    now: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Leaf,
    Intermediate,
    Root,
}

/// Begins a replacement and shows it.
pub(crate) async fn rotate(args: &RotateArgs, place: &Place, output: &mut Output) -> Outcome {
    let kind = match args.what {
        What::Leaf => RotationKind::Leaf,
        What::Intermediate => RotationKind::Intermediate,
        What::Root => RotationKind::Root,
    };
    let pace = if args.now { Pace::Hasty } else { Pace::Orderly };
    let reply = ask(place, CertsRequest::Rotate { kind, pace }).await?;
    let (begun, rotation) = match reply {
        CertsReply::Rotating { begun, rotation } => (begun, rotation),
        other => return Err(unexpected(&AdminReply::Certs(other))),
    };
    output.show(&rotation)?;
    match begun {
        Begun::New | Begun::Hastened => {}
        Begun::UnderWay if rotation.kind == kind => note(format_args!(
            "this replacement was under way already; eventflow certs status shows what it waits for"
        )),
        Begun::UnderWay => return Err(under_way(&rotation)),
    }
    if rotation.step == RotationStep::Begun {
        tell_what_a_person_has_to_do(place).await?;
    }
    Ok(())
}

/// Another replacement is under way than the one that was asked for.
pub(super) fn under_way(rotation: &Rotation) -> Failure {
    Failure::try_again(format_args!(
        "a replacement of kind {} is under way and there is one at a time; see eventflow certs status, and ask \
         again when it is over",
        rotation.kind.as_str()
    ))
}

/// A replacement may wait for somebody who does not look at `certs status`.
async fn tell_what_a_person_has_to_do(place: &Place) -> Outcome {
    match ask(place, CertsRequest::Status).await? {
        CertsReply::Status(status) => {
            for wait in &status.waits_for {
                if let WaitsFor::Operator { advice } = wait {
                    note(format_args!("it waits for you: {advice}"));
                }
            }
            Ok(())
        }
        other => Err(unexpected(&AdminReply::Certs(other))),
    }
}

/// Shows authorities, the replacement under way and what it waits for.
pub(crate) async fn status(place: &Place, output: &mut Output) -> Outcome {
    match ask(place, CertsRequest::Status).await? {
        CertsReply::Status(status) => output.show(&*status),
        other => Err(unexpected(&AdminReply::Certs(other))),
    }
}
