//! The guide: looks at what the fleet is, says what to do next, and does it by itself if asked.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use api::{Device, DeviceQuery, NewRollout, Step as RolloutStep};
use contract::{ChannelName, DeviceId, Progress};
use fleet::UpdateState;
use server::actor::Actor;
use server::services::Services;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};
use virtual_device::Notice;

use super::story::{BAD, DEVICES, GOOD, OLD, STEPS, product, version};

/// How long a step of a played tour may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(90);

/// How far the story is, derived from the fleet each time: steps may be taken in any way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Wait,
    RollOut,
    Promote,
    UpdateAll,
    Done,
}

impl Step {
    fn sentence(self) -> String {
        match self {
            Self::Wait => "    The devices connect …".into(),
            Self::RollOut => format!(
                "1.  Open Releases, press Roll out for {BAD}, and start it with the steps {STEPS}. Three lamps get it, crash at boot and fall back to {OLD}: the rollout stops by itself, says why, and blocks {BAD}."
            ),
            Self::Promote => format!(
                "2.  {BAD} was bad, and nobody is offered it any more. Now open Releases and promote {GOOD} to production."
            ),
            Self::UpdateAll => format!("3.  Go back to Devices and press Check all: every lamp gets {GOOD}."),
            Self::Done => format!(
                "    All {} devices run {GOOD}, confirmed. That was the whole road. Look around as long as you like.",
                DEVICES.len()
            ),
        }
    }
}

pub(super) struct Tour {
    services: Services,
    plays: bool,
    step: Option<Step>,
}

impl Tour {
    pub(super) fn new(services: Services, plays: bool) -> Self {
        Self { services, plays, step: None }
    }

    /// Narrates until the end of a played tour, or for ever.
    pub(super) async fn guide(
        &mut self,
        mut notices: UnboundedReceiver<(DeviceId, Notice)>,
    ) -> anyhow::Result<ExitCode> {
        let mut events = self.services.events.subscribe();
        let mut deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            if self.look().await? {
                deadline = Instant::now() + STEP_TIMEOUT;
                if self.plays && self.step == Some(Step::Done) {
                    return Ok(ExitCode::SUCCESS);
                }
                Box::pin(self.play()).await?;
            }
            let something = async {
                tokio::select! {
                    notice = notices.recv() => notice,
                    event = events.recv() => match event {
                        Ok(_) | Err(RecvError::Lagged(_)) => None,
                        // The server ends only together with this guide.
                        Err(RecvError::Closed) => std::future::pending().await,
                    },
                }
            };
            let seen = if self.plays {
                match timeout_at(deadline, something).await {
                    Ok(seen) => seen,
                    Err(_) => {
                        bail!("The tour stands still at: {}", self.step.map_or(String::new(), Step::sentence))
                    }
                }
            } else {
                something.await
            };
            if let Some((id, notice)) = seen.filter(|(_, notice)| is_worth_a_line(notice)) {
                say!("      {id:<14} {notice}");
            }
        }
    }

    /// Says the next step if it is another than before.
    async fn look(&mut self) -> anyhow::Result<bool> {
        let step = self.current().await?;
        if self.step == Some(step) {
            return Ok(false);
        }
        self.step = Some(step);
        say!("\n{}\n", step.sentence());
        Ok(true)
    }

    async fn current(&self) -> anyhow::Result<Step> {
        let devices = self.services.devices.list(&DeviceQuery::default()).await?.items;
        let has_the_good_one = |device: &Device| {
            let update = device.update.as_ref();
            update.is_some_and(|update| update.to == version(GOOD) && update.state == UpdateState::Succeeded)
        };
        if devices.iter().any(|device| device.version.is_none()) {
            return Ok(Step::Wait);
        }
        if devices.iter().all(has_the_good_one) {
            return Ok(Step::Done);
        }
        let channels = self.services.releases.channels(&product()).await?;
        if channels.iter().any(|channel| channel.version.as_ref() == Some(&version(GOOD))) {
            return Ok(Step::UpdateAll);
        }
        let blocked = self.services.releases.blocked(&product()).await?;
        if blocked.items.iter().any(|blocked| blocked.version == version(BAD)) {
            return Ok(Step::Promote);
        }
        Ok(Step::RollOut)
    }

    /// Does what the step asks of a person.
    async fn play(&self) -> anyhow::Result<()> {
        if !self.plays {
            return Ok(());
        }
        match self.step {
            Some(Step::RollOut) => {
                let steps = RolloutStep::parse_all(STEPS).map_err(anyhow::Error::msg)?;
                let asked = NewRollout { steps: Some(steps), ..NewRollout::of(version(BAD)) };
                self.services.rollouts.start(&Actor::SERVER, &product(), &asked).await?;
                Ok(())
            }
            Some(Step::Promote) => {
                self.services
                    .releases
                    .promote(&Actor::SERVER, &product(), &version(GOOD), &ChannelName::production())
                    .await?;
                Ok(())
            }
            Some(Step::UpdateAll) => {
                for device in DEVICES {
                    self.check(device).await?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn check(&self, device: &str) -> anyhow::Result<()> {
        let answer = Box::pin(self.services.updates.check(&Actor::SERVER, &device.parse()?, false)).await?;
        say!("      {device:<14} {}", answer.reason);
        Ok(())
    }
}

/// Whether a person wants to read it: not every piece of a download.
fn is_worth_a_line(notice: &Notice) -> bool {
    !matches!(notice, Notice::Progress(Progress { done, .. }) if *done > 0) && *notice != Notice::Connected
}
