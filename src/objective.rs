//! What the encoder maximises: bounds on the information between two views.

mod info_nce;

pub use info_nce::{info_nce, info_nce_loss};
