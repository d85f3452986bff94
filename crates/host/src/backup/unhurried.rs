//! Work that rustic gives up too early on a busy machine.
//!
//! rustic_core 0.13 gives its own threads a tenth of a second to let go of an index, and
//! panics when they take longer (`GlobalIndex::into_index`). That says nothing about the
//! repository. What only reads is begun again.

use std::panic::{self, AssertUnwindSafe};

use crate::failure::Failure;

/// How often.
const TRIES: usize = 5;

/// Does what only reads, and does it again when it panics.
///
/// # Errors
///
/// It panics each time.
pub(super) fn reading<T>(doing: &str, work: impl Fn() -> T) -> Result<T, Failure> {
    for _ in 0..TRIES {
        if let Ok(done) = panic::catch_unwind(AssertUnwindSafe(&work)) {
            return Ok(done);
        }
    }
    Err(Failure::new(
        doing,
        "the engine that reads repositories gave up, as it does on a machine that is very busy",
    )
    .hint("nothing was changed; run the same again when the machine is less busy"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_gave_up_is_begun_again_and_not_forever() {
        let tries = Cell::new(0);
        let third = || {
            tries.set(tries.get() + 1);
            assert!(tries.get() > 2, "too early");
            tries.get()
        };
        assert_eq!(reading("verify", third).unwrap(), 3);
        tries.set(-100);
        let failure = reading("verify", || assert!(tries.replace(tries.get() + 1) > 0)).unwrap_err();
        assert!(failure.hint.is_some_and(|hint| hint.contains("nothing was changed")));
    }
}
