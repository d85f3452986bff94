//! Speed and size, with the floor beside each figure.

/// Measures and prints the table; `arguments` choose what.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let _ = arguments;
    Err("there is nothing to measure with yet".to_owned())
}
