//! Stands in for Proxmox VE's commands where there is no Proxmox: it is found
//! under their names, in the folder of a [`matrix_podman_e2e::Node`].

use std::process::ExitCode;

fn main() -> ExitCode {
    matrix_podman_e2e::proxmox_standin::main()
}
