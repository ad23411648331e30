//! `updraft rollout watch`: says what changes, until the rollout has ended.

use std::process::ExitCode;
use std::time::Duration;

use api::Rollout;
use tokio::time::sleep;

use crate::api_client::ApiClient;
use crate::command::verdict::{self, Verdict};
use crate::output;
use crate::whole::Whole;

const EVERY: Duration = Duration::from_secs(1);

/// A server that does not answer is asked again, as all requests are.
pub(super) async fn run(server: &ApiClient, number: u64, as_json: bool) -> anyhow::Result<ExitCode> {
    let number = number.to_string();
    let mut said = String::new();
    loop {
        let rollout: Whole<Rollout> = server.get(&["rollouts", &number], &()).await?;
        let line = if as_json { output::compact(&rollout) } else { format!("{}.", verdict::line(&rollout)) };
        if line != said {
            answer!("{line}");
            said = line;
        }
        match verdict::verdict(&rollout) {
            Verdict::Open => sleep(EVERY).await,
            Verdict::Good => {
                if let Some(note) = &rollout.halt_reason {
                    eprintln!("{}", output::line(note));
                }
                return Ok(ExitCode::SUCCESS);
            }
            Verdict::Bad(why) => {
                eprintln!("{why}.");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
}
