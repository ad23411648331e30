//! The retain filter: takes the retain flag off what must not be retained.

use std::future::Future;
use std::pin::Pin;

use contract::VersionTopic;
use mqtt5::broker::events::{BrokerEventHandler, ClientPublishEvent, PublishAction};
use mqtt5::packet::publish::PublishPacket;

use crate::topics;

pub(crate) struct RetainFilter(pub(crate) VersionTopic);

impl BrokerEventHandler for RetainFilter {
    fn on_client_publish(
        &self,
        event: ClientPublishEvent,
    ) -> Pin<Box<dyn Future<Output = PublishAction> + Send + '_>> {
        let action = if event.retain && !topics::may_be_retained(&event.topic, &self.0) {
            let mut publish = PublishPacket::new(&*event.topic, event.payload, event.qos);
            publish.packet_id = event.packet_id;
            PublishAction::Transform(publish)
        } else {
            PublishAction::Continue
        };
        Box::pin(std::future::ready(action))
    }
}
