//! The world around broker-model.
