//! An entry of who did what.

use sea_orm::entity::prelude::*;

use super::values::Text;

/// What can be done: its word, and what it is done to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action(pub(super) &'static str, pub(super) &'static str);

impl Action {
    pub(crate) const DEVICE_REGISTER: Self = Self("device.register", "device");
    pub(crate) const DEVICE_CHANGE: Self = Self("device.change", "device");
    pub(crate) const DEVICE_REMOVE: Self = Self("device.remove", "device");
    pub(crate) const DEVICE_CHECK: Self = Self("device.check", "device");
    pub(crate) const UPDATE_CANCEL: Self = Self("update.cancel", "device");
    pub(crate) const QUARANTINE_CLEAR: Self = Self("quarantine.clear", "device");
    pub(crate) const RELEASE_PUBLISH: Self = Self("release.publish", "product");
    pub(crate) const CHANNEL_PROMOTE: Self = Self("channel.promote", "product");
    pub(crate) const VERSION_BLOCK: Self = Self("version.block", "product");
    pub(crate) const VERSION_UNBLOCK: Self = Self("version.unblock", "product");
    pub(crate) const ROLLOUT_START: Self = Self("rollout.start", "rollout");
    pub(crate) const ROLLOUT_PAUSE: Self = Self("rollout.pause", "rollout");
    pub(crate) const ROLLOUT_RESUME: Self = Self("rollout.resume", "rollout");
    pub(crate) const ROLLOUT_ABORT: Self = Self("rollout.abort", "rollout");
    pub(crate) const ROLLOUT_HALT: Self = Self("rollout.halt", "rollout");
    pub(crate) const ROLLOUT_DONE: Self = Self("rollout.done", "rollout");
    pub(crate) const TOKEN_CREATE: Self = Self("token.create", "token");
    pub(crate) const TOKEN_REVOKE: Self = Self("token.revoke", "token");
    pub(crate) const USER_CREATE: Self = Self("user.create", "user");
    pub(crate) const LINK_CREATE: Self = Self("link.create", "user");
    pub(crate) const LOGIN: Self = Self("login", "user");
    pub(crate) const LOGIN_REFUSED: Self = Self("login.refused", "user");
    pub(crate) const LOGOUT: Self = Self("logout", "user");
}

#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) at: i64,
    pub(crate) actor_kind: String,
    pub(crate) actor: String,
    pub(crate) address: Option<String>,
    pub(crate) action: String,
    pub(crate) subject_kind: String,
    pub(crate) subject: String,
    pub(crate) before: Option<Text<serde_json::Value>>,
    pub(crate) after: Option<Text<serde_json::Value>>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
