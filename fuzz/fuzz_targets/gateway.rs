#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(target) = matrix_podman_fuzz::target("gateway") {
        (target.run)(bytes);
    }
});
