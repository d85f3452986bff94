//! Containers beside the server, in the guest: put up, asked, removed (see
//! [`matrix_podman_core::aside`]).

use std::{
    fs::File,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::{
    aside::Containers,
    name::{Mode, Owner},
    service::Service,
};

use crate::{
    apply::file,
    failure::Failure,
    process::{Input, Program},
};

/// How long PostgreSQL may take to come up.
const DATABASE_UP: Duration = Duration::from_secs(5 * 60);
/// How long the database may take to be filled.
const FILLED: Duration = Duration::from_secs(24 * 3600);
/// How long anything else may take.
const ONCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Removes the containers, those of one that was cut off too.
pub(crate) fn remove(containers: &Containers) -> Result<(), Failure> {
    let doing = format!("remove the containers of the {}", containers.aside.name());
    containers.remove.iter().try_for_each(|argv| Program::new(argv).deadline(ONCE).run(&doing, &|_| {}))
}

/// Removes what one that was cut off left running, and makes what the containers need.
pub(crate) fn prepare(containers: &Containers) -> Result<(), Failure> {
    remove(containers)?;
    for (path, mode, owner) in &containers.folders {
        file::make_dir(Path::new(path.as_str()), *mode, *owner)?;
    }
    let (hosts, names) = &containers.hosts;
    file::write(Path::new(hosts.as_str()), names.as_bytes(), Mode(0o644), Owner::ROOT)
}

/// Starts an empty database and waits until it answers.
pub(crate) fn start_database(containers: &Containers) -> Result<(), Failure> {
    start(containers, Service::Postgres, DATABASE_UP)
}

/// Fills the database from a dump.
pub(crate) fn fill(containers: &Containers, dump: File) -> Result<(), Failure> {
    Program::new(&containers.fill)
        .ends_with_us()
        .deadline(FILLED)
        .input(Input::Stream(Box::new(dump)))
        .run(&format!("fill the database of the {}", containers.aside.name()), &|_| {})
}

/// Starts Synapse on the database and waits until it answers.
pub(crate) fn start_synapse(containers: &Containers, patience: Duration) -> Result<(), Failure> {
    start(containers, Service::Synapse, patience)
}

fn start(containers: &Containers, service: Service, patience: Duration) -> Result<(), Failure> {
    let (argv, answers) = match service {
        Service::Postgres => (&containers.database, &containers.database_answers),
        _ => (&containers.synapse, &containers.synapse_answers),
    };
    let doing = format!("start {} for the {}", service.title(), containers.aside.name());
    Program::new(argv).deadline(ONCE).run(&doing, &|_| {})?;
    let name = containers.aside.container(service);
    let started = Instant::now();
    loop {
        if Program::new(answers).deadline(ONCE).output().status == Some(0) {
            return Ok(());
        }
        let state = Program::new(["podman", "container", "inspect", "--format={{.State.Status}}", &name])
            .deadline(ONCE)
            .output();
        let runs = String::from_utf8_lossy(&state.stdout).trim() == "running";
        if !runs || started.elapsed() > patience {
            let why = if runs {
                format!("it did not answer within {} s", patience.as_secs())
            } else {
                "it ended".to_owned()
            };
            let logs = Program::new(["podman", "logs", "--tail=15", &name]).deadline(ONCE).output();
            let said = [logs.stdout, logs.stderr].concat();
            let lines = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
            return Err(Failure::new(doing, why).evidence(lines));
        }
        thread::sleep(LOOK);
    }
}
