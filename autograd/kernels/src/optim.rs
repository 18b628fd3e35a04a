//! Parameter updates in one pass over memory.
