//! `certs rotate` and `certs status`: the replacement of certificates, and how it goes.

use clap::{Args, ValueEnum};
use proto::admin::{AdminReply, AdminRequest};
use proto::certs::{CertsReply, CertsRequest};
use proto::rotation::{Begun, Pace, RotationKind};

use crate::connect::operate;
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
    let reply = ask(CertsRequest::Rotate { kind, pace }, place).await?;
    let CertsReply::Rotating { begun, rotation } = reply else {
        return Err(Failure::failed("the hub answered something else than was asked"));
    };
    output.show(&rotation)?;
    match begun {
        Begun::New | Begun::Hastened => {}
        Begun::UnderWay if rotation.kind == kind => note(format_args!(
            "this replacement was under way already; eventflow certs status shows what it waits for"
        )),
        Begun::UnderWay => {
            return Err(Failure::try_again(format_args!(
                "a replacement of kind {} is under way and there is one at a time; see eventflow certs status, \
                 and ask again when it is over",
                rotation.kind.as_str()
            )));
        }
    }
    Ok(())
}

/// Shows authorities, the replacement under way and what it waits for.
pub(crate) async fn status(place: &Place, output: &mut Output) -> Outcome {
    match ask(CertsRequest::Status, place).await? {
        CertsReply::Status(status) => output.show(&*status),
        CertsReply::Revoked { .. } | CertsReply::List(_) | CertsReply::Rotating { .. } => {
            Err(Failure::failed("the hub answered something else than was asked"))
        }
    }
}

async fn ask(request: CertsRequest, place: &Place) -> Outcome<CertsReply> {
    match operate(place).await?.administer(AdminRequest::Certs(request)).await? {
        AdminReply::Certs(reply) => Ok(reply),
        AdminReply::Grants(_) | AdminReply::Tokens(_) | AdminReply::Audit(_) => {
            Err(Failure::failed("the hub answered something else than was asked"))
        }
    }
}
