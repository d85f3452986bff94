//! A sample of the campaigns: `cargo xtask campaign` does many more.

use std::process::ExitCode;

use matrix_podman_e2e::{
    Scenario,
    campaign::{Act, cuts, in_own_namespace, kills},
};

fn main() -> ExitCode {
    in_own_namespace();
    let mut s = Scenario::begin("campaign");
    s.test(
        "a power cut in a first up and in an update is overcome by one up, and nothing acknowledged is lost",
        || {
            cuts("campaign-cuts", &[Act::First, Act::Update], 2).is_clean();
        },
    );
    s.test("an up that is killed at a random moment is gone on with by the next one", || {
        kills("campaign-kills", 4).is_clean();
    });
    s.end()
}
