//! The imperative shell: everything that touches the world.
