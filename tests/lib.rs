//! What the test targets of this crate share.

use broker_model::probe::Probe;

/// Rare states that nothing reaches, with the reason.
pub const NOT_REACHED: &[(Probe, &str)] = &[(
    Probe::NotEnoughReplicasAfterAppend,
    "the high watermark stands still while the ISR is too small, so what it has passed was \
     acknowledged in the step that moved it; Kafka's threads can shrink the ISR in between",
)];
