//! Waiting, always for something and never longer than said: on a machine that has
//! nothing else to do, and longer on one that is busy.

use std::time::{Duration, Instant};

use crate::at_this_pace;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(150);
/// Between two looks at what must not be missed.
const CLOSE_LOOK: Duration = Duration::from_millis(3);

/// Asks `look` until it has an answer; at the deadline the test fails with the
/// last reason that `look` gave.
#[track_caller]
pub fn wait_until<T>(what: &str, deadline: Duration, look: impl FnMut() -> Result<T, String>) -> T {
    wait(what, deadline, LOOK, look)
}

/// The same for a moment that passes, with a `look` that costs next to nothing.
#[track_caller]
pub fn wait_closely<T>(what: &str, deadline: Duration, look: impl FnMut() -> Result<T, String>) -> T {
    wait(what, deadline, CLOSE_LOOK, look)
}

#[track_caller]
fn wait<T>(
    what: &str,
    deadline: Duration,
    pause: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        let why = match look() {
            Ok(answer) => {
                // What was so from the beginning need not be mentioned.
                if started.elapsed() > LOOK {
                    println!("  … {what} after {:.1} s", started.elapsed().as_secs_f32());
                }
                return answer;
            }
            Err(why) => why,
        };
        assert!(
            started.elapsed() < at_this_pace(deadline),
            "waited {} s in vain until {what}; last look: {why}",
            started.elapsed().as_secs()
        );
        std::thread::sleep(pause);
    }
}
