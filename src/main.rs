//! The `railyard` command.

fn main() {}
