//! Special functions of probability, from `libm` and `+ - * /` alone: the same bits on every platform.
//!
//! Everything is total. An argument outside the stated domain gives `None`, loops are bounded, nothing panics.

/// Logarithm of the beta function and the regularised incomplete beta function.
mod beta;
/// The standard normal distribution and its inverse.
mod normal;
/// Student's t distribution with any positive real number of degrees of freedom.
mod student;

pub(super) use beta::{Part, TOP};
pub use beta::{inc_beta, ln_beta};
pub use normal::{ln_normal_cdf, normal_cdf, normal_quantile};
pub(super) use student::ln_student_t_cdf;
pub use student::student_t_cdf;
