//! What the encoder maximises: bounds on the information between two views.

pub mod bound;
mod info_nce;

pub use info_nce::{info_nce, info_nce_loss};
