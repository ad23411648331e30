//! `updraft devices`: who is there, what runs, how the last update went.

use std::process::ExitCode;

use api::{Device, DeviceQuery, Identity, NotAdmitted, PageQuery};
use contract::ProductName;

use crate::api_client::ServerArgs;
use crate::output;
use crate::whole::Whole;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only of this product
    #[arg(short, long, value_name = "P")]
    product: Option<ProductName>,
    /// Only with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only those that run this version
    #[arg(long, value_name = "VERSION")]
    running: Option<String>,
    /// Only in this group
    #[arg(long)]
    group: Option<String>,
    /// Only those that are pinned to this version, or on hold (`hold`), or either (`any`)
    #[arg(long, value_name = "VERSION")]
    pin: Option<String>,
    /// Only online, offline, or with a newest update in this state (or `not_succeeded`)
    #[arg(long)]
    state: Option<String>,
    /// Only those whose image is a release, mislabelled (another release than they name), foreign (none) or unknown
    #[arg(long, value_name = "WORD")]
    identity: Option<String>,
    /// Only ids that contain this text
    #[arg(short, long, value_name = "TEXT")]
    q: Option<String>,
    /// Instead: ids that were heard of and are not admitted, with what is wrong and what to do
    #[arg(long, conflicts_with_all = ["product", "tag", "running", "state", "identity", "q"])]
    not_admitted: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.not_admitted {
        return not_admitted(&args).await;
    }
    let query = DeviceQuery {
        product: args.product,
        tag: args.tag,
        group: args.group,
        pin: args.pin,
        state: args.state,
        version: args.running,
        identity: args.identity,
        q: args.q,
        cursor: None,
        limit: Some(500),
    };
    let devices: Vec<Whole<Device>> = args.server.client()?.list(&["devices"], &query).await?;
    let empty = "No such devices. Register one: updraft device add ID -p PRODUCT";
    let heads = ["DEVICE", "PRODUCT", "VERSION", "ONLINE", "LAST SEEN", "LAST UPDATE"];
    output::list(devices, args.json, empty, heads, |device| {
        let update = device.update.as_ref().map(|update| format!("{} {}", update.to, update.state));
        [
            device.id.to_string(),
            output::cell(device.product.as_ref()),
            version(device),
            output::yes(device.online).to_owned(),
            output::ago(device.last_seen),
            output::cell(update),
        ]
    });
    Ok(ExitCode::SUCCESS)
}

async fn not_admitted(args: &Args) -> anyhow::Result<ExitCode> {
    let ids: Vec<Whole<NotAdmitted>> =
        args.server.client()?.list(&["not-admitted"], &PageQuery::default()).await?;
    let empty = "Every device that was heard of since the server started is known.";
    output::list(ids, args.json, empty, ["ID", "LAST SEEN", "TIMES", "WHAT IS WRONG"], |one| {
        let said = one.said.as_ref().map(|said| format!(" It began with {said}.")).unwrap_or_default();
        let reason = format!("{}{said}", one.reason);
        [output::cell(Some(&one.id)), output::ago(Some(one.last_at)), one.count.to_string(), reason]
    });
    Ok(ExitCode::SUCCESS)
}

/// What it says that it runs, and what that is, where it is something else.
pub(crate) fn version(device: &Device) -> String {
    let said = output::cell(device.version.as_ref());
    match (device.identity.known(), &device.image) {
        (Some(Identity::Mislabelled), Some(image)) if device.product.as_ref() == Some(&image.product) => {
            format!("{said} (mislabelled: it is {})", image.version)
        }
        (Some(Identity::Mislabelled), Some(image)) => {
            format!("{said} (mislabelled: it is {} {})", image.product, image.version)
        }
        (Some(Identity::Foreign), _) => format!("{said} (foreign: no release has its bytes)"),
        _ => said,
    }
}
