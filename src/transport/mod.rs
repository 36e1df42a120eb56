//! Joins a protocol to a connection. Replaceable; knows no protocol.
