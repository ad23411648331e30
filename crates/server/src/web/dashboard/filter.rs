//! Which devices the page shows.

use contract::ProductName;
use maud::{Markup, html};
use serde::Deserialize;

use super::icon;
use crate::web::problem::Problem;
use api::{DeviceQuery, Identity, Product};

pub(super) const ROWS: u32 = 50;

/// What the form above the table says; empty fields are absent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    pub(crate) q: String,
    pub(crate) product: String,
    pub(crate) state: String,
    pub(crate) cursor: String,
}

impl Filter {
    pub(super) fn is_empty(&self) -> bool {
        self.q.is_empty() && self.product.is_empty() && self.state.is_empty()
    }

    pub(super) fn query(&self) -> Result<DeviceQuery, Problem> {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let product = match self.product.as_str() {
            "" => None,
            name => Some(name.parse::<ProductName>().map_err(|error| Problem::invalid(error.to_string()))?),
        };
        let is_identity = Identity::from_word(&self.state).is_some();
        Ok(DeviceQuery {
            product,
            state: text(&self.state).filter(|_| !is_identity),
            identity: text(&self.state).filter(|_| is_identity),
            q: text(&self.q),
            cursor: text(&self.cursor),
            limit: Some(ROWS),
            ..DeviceQuery::default()
        })
    }

    /// This page's address with another state or cursor.
    pub(super) fn href(&self, state: &str, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (key, value) in
            [("q", self.q.as_str()), ("product", &self.product), ("state", state), ("cursor", cursor)]
        {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        }
        let query = query.finish();
        if query.is_empty() { "/".to_owned() } else { format!("/?{query}") }
    }
}

pub(super) fn filters(filter: &Filter, products: &[Product]) -> Markup {
    let states = [
        ("", "Any state"),
        ("online", "Online"),
        ("offline", "Offline"),
        ("in_flight", "Updating"),
        ("offered", "Offered"),
        ("deferred", "Put off"),
        ("downloading", "Downloading"),
        ("restarting", "Restarting"),
        ("succeeded", "Succeeded"),
        ("not_succeeded", "Not succeeded"),
        ("failed", "Failed"),
        ("rolled_back", "Rolled back"),
        ("timed_out", "Timed out"),
        ("mislabelled", "Mislabelled"),
        ("foreign", "Foreign image"),
    ];
    html! {
        form.filters method="get" action="/" role="search" data-auto {
            label.search { (icon::search()) input type="search" name="q" value=(filter.q) placeholder="Search by id" aria-label="Search by id" autocapitalize="none" spellcheck="false"; }
            @if products.len() > 1 || !filter.product.is_empty() {
                select name="product" aria-label="Product" {
                    option value="" { "All products" }
                    @for product in products { option value=(product.name) selected[filter.product == product.name.as_str()] { (product.name) } }
                }
            }
            select name="state" aria-label="State" {
                @for (value, label) in states { option value=(value) selected[filter.state == value] { (label) } }
            }
            button type="submit" { "Show" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_keep_what_was_typed() {
        let filter = Filter { q: "a&b".into(), ..Filter::default() };
        assert_eq!(filter.href("online", ""), "/?q=a%26b&state=online");
        assert_eq!(Filter::default().href("", ""), "/");
    }
}
