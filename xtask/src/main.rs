//! What a contributor does, in one command.
fn main() {}
