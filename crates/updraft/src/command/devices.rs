//! `updraft devices`: who is there, what runs, how the last update went.

use std::process::ExitCode;

use contract::ProductName;
use serde_json::Value;

use crate::api_client::ServerArgs;
use crate::output;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only of this product
    #[arg(short, long, value_name = "P")]
    product: Option<ProductName>,
    /// Only with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only online, offline, or with a newest update in this state
    #[arg(long)]
    state: Option<String>,
    /// Only ids that contain this text
    #[arg(short, long, value_name = "TEXT")]
    q: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut query = vec![("limit", "500")];
    query.extend(args.product.as_ref().map(|product| ("product", product.as_str())));
    query.extend(args.tag.as_deref().map(|tag| ("tag", tag)));
    query.extend(args.state.as_deref().map(|state| ("state", state)));
    query.extend(args.q.as_deref().map(|text| ("q", text)));
    let devices = args.server.client()?.list(&["devices"], &query, |item| item["id"].is_string()).await?;
    if args.json {
        output::json_list(&devices);
        return Ok(ExitCode::SUCCESS);
    }
    if devices.is_empty() {
        println!("No such devices. Register one: updraft device add ID -p PRODUCT");
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![
        ["DEVICE", "PRODUCT", "VERSION", "ONLINE", "LAST SEEN", "LAST UPDATE"].map(str::to_owned).to_vec(),
    ];
    rows.extend(devices.iter().map(|device| {
        vec![
            output::cell(&device["id"]),
            output::cell(&device["product"]),
            output::cell(&device["version"]),
            output::cell(&device["online"]),
            output::ago(&device["last_seen"]),
            update(&device["update"]),
        ]
    }));
    output::table(&rows);
    Ok(ExitCode::SUCCESS)
}

fn update(update: &Value) -> String {
    if update.is_null() {
        "-".into()
    } else {
        format!("{} {}", output::cell(&update["to"]), output::cell(&update["state"]))
    }
}
