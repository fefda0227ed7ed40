//! What somebody asks the control plane to change: from the documents of a request to commands of the log, and what would come of them.
//!
//! Owns who may ask for what, the checks of documents against artifacts, the order in which they are written, sealing, the comparison of permissions, plans, and
//! what a wish comes to on a state. Must never write, fetch an artifact, read a clock, or know how somebody proved who they are. Start with [`documents`] (what is
//! asked), [`wished`] (what that means on a state) and [`decision`] (what is to be written).

pub mod caller;
pub mod decision;
pub mod documents;
pub mod limits;
pub mod permissions;
pub mod planned;
pub mod principal;
pub mod route_certificates;
pub mod values;
pub mod wished;
