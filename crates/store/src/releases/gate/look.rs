//! An image under judgement, and what was found so far.

use cause::Cause;
use image::{AppDescriptor, Header};

use crate::releases::gate::check::{Check, Level};
use crate::releases::gate::settings::GateSettings;
use crate::releases::gate::verdict::Finding;
use crate::releases::publication::Publication;

/// What is known of the image under judgement, sound or not.
pub(crate) struct Look {
    pub(crate) header: Option<Header>,
    pub(crate) descriptor: Option<AppDescriptor>,
    pub(crate) size: u64,
}

impl Look {
    pub(crate) fn own(&self) -> Option<&AppDescriptor> {
        self.descriptor.as_ref().filter(|descriptor| descriptor.is_apps_own())
    }
}

/// What was found so far.
pub(crate) struct Found<'a> {
    pub(crate) asked: &'a Publication,
    pub(crate) settings: &'a GateSettings,
    pub(crate) findings: Vec<Finding>,
}

impl Found<'_> {
    pub(crate) fn add(&mut self, check: Check, cause: Cause) {
        let named = self.asked.allow.contains(&check) || self.settings.allow.contains(&check);
        // Asked again here, so that no caller can hand in what must not be overruled.
        let allowed = (named && check.is_overrulable()) || check.level() == Level::Note;
        self.findings.push(Finding { check, allowed, cause });
    }
}
