//! Who this spoke is.
