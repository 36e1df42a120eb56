//! Host and server facts around a run. Never touches the request path.
