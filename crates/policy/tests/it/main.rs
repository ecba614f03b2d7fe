//! Policy as its callers see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod allocation;
mod built_in;
mod conditions;
mod diagnostics;
mod differential;
mod extends;
mod layers;
mod naive;
mod paths;
mod properties;
mod rates;
mod shadow;
mod templates;
mod tools;
mod world;
