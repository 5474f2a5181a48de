//! Stories of members, told with hand-fed answers.

mod classic;
mod commits;
mod modern;
mod rig;
