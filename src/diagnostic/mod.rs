//! Codes, spans and rendering of what is wrong with an input. Knows no domain.
