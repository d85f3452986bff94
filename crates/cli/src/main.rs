//! The `matrix-podman` program.
fn main() {}
