//! The whole road, from a published image to a confirmed device, with nothing replaced by a stand-in that is not a
//! real program. One module for each promise.
#![allow(clippy::unwrap_used, missing_docs)]

mod action;
mod bad_input;
mod command_line;
mod flood;
mod gate;
mod hard_to_stop;
mod idle_connections;
#[allow(dead_code, reason = "the server's own tests use more of it")]
mod issuer;
mod killed_publisher;
mod oidc;
mod platformio;
mod promise_1_real_images;
mod promise_2_plain_devices;
mod promise_3_failures;
mod promise_4_other_programs;
mod promise_5_killed_server;
mod promise_6_browser;
mod promise_7_refusals;
mod publish_wait;
mod rollouts;
mod store_on_s3;
mod theft;
mod wire;
mod wrong_server;
