//! Hostile callers: A1 and A19 for `muxado-rpc`.
