//! Floor 4: views to bytes. Pure: what is shown, and when, is decided elsewhere; here it is only spelled.

/// A decision in a line.
pub mod decision;
/// What changed between two states.
pub mod difference;
/// What is escaped inside a label value and a help text.
mod escape;
/// The state of the fold with the rows of everybody, as packed text.
pub mod everybody;
/// Metric pages as Prometheus text 0.0.4 and OpenMetrics 1.0.
pub mod exposition;
/// Figures of a state or an answer as text.
pub mod figures;
/// Response bodies as gzip, for those who accept it.
pub mod gzip;
/// Pages for a browser.
pub mod html;
/// Numbers and names as a person reads them.
pub mod human;
/// Which known name is meant.
pub mod near;
/// Which format a request asks for.
mod negotiate;
/// Numbers as metric pages spell them.
mod number;
/// Very many JSON texts, packed.
mod pile;
/// Plots as SVG.
pub mod plot;
/// The state of the fold as JSON.
pub mod state;
/// Aligned tables for a terminal.
pub mod table;

pub use escape::label_value;
pub use exposition::{Format, Section, Sheet, render};
pub use gzip::{accepts_gzip, gzip};
pub use table::Table;
