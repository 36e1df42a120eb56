//! The built-in LLM server: continuous batching as a pure step loop, with real HTTP around it.
