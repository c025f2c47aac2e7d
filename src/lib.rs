//! The codemap.

#![forbid(unsafe_code)]

pub mod cli;
pub mod clock;
pub mod consumers;
pub mod decision;
pub mod event;
pub mod fold;
pub mod layout;
pub mod live;
pub mod policy;
pub mod render;
pub mod replay;
pub mod serve;
pub mod simulate;
pub mod stats;
pub mod store;
pub mod streams;
pub mod subject;
pub mod tape;
pub mod view;
