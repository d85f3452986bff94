//! Makes what all tests use: the archives of a guest's root file system and of
//! the four images.

fn main() {
    matrix_podman_e2e::make_archives();
}
