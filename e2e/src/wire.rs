//! A line between a program and a server on this machine, which can be cut in
//! the middle of what goes over it.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::wait_until;

/// Between two looks at whether it is to be up.
const LOOK: Duration = Duration::from_millis(5);

/// The line; it ends when it is dropped.
pub struct Wire {
    /// Where the program reaches the server.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    up: bool,
    over: bool,
    /// How many bytes still go to the server until it is cut.
    left: Option<usize>,
    /// Whether it can be used again at once when that happens.
    comes_back: bool,
    cuts: u32,
    streams: Vec<TcpStream>,
}

impl State {
    fn cut(&mut self) {
        self.left = None;
        self.cuts += 1;
        for stream in self.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    /// One to the server at a port.
    #[track_caller]
    pub fn to(server: u16) -> Self {
        let listener =
            TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("listen on a free port: {e}"));
        let port = listener.local_addr().unwrap_or_else(|e| panic!("ask for the port: {e}")).port();
        let state =
            State { up: true, over: false, left: None, comes_back: false, cuts: 0, streams: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || serve(listener, port, server, &shared));
        Self { port, state }
    }

    /// Cuts it now: whoever tries to reach the server is refused.
    pub fn cut(&self) {
        let mut state = locked(&self.state);
        state.up = false;
        state.cut();
    }

    /// Cuts it once so many bytes have gone to the server; it stays cut, unless it comes back.
    pub fn cut_after(&self, bytes: usize, comes_back: bool) {
        let mut state = locked(&self.state);
        state.left = Some(bytes);
        state.comes_back = comes_back;
    }

    /// Puts it together again.
    #[track_caller]
    pub fn mend(&self) {
        {
            let mut state = locked(&self.state);
            state.up = true;
            state.left = None;
        }
        wait_until("the line is mended", Duration::from_secs(20), || {
            TcpStream::connect(("127.0.0.1", self.port)).map(drop).map_err(|e| e.to_string())
        });
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u32 {
        locked(&self.state).cuts
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut state = locked(&self.state);
        state.over = true;
        state.cut();
    }
}

fn serve(first: TcpListener, port: u16, server: u16, state: &Arc<Mutex<State>>) {
    let mut listener = Some(first);
    loop {
        let (up, over) = {
            let state = locked(state);
            (state.up, state.over)
        };
        if over {
            return;
        }
        match &listener {
            // A port without a listener refuses.
            _ if !up => listener = None,
            None => listener = TcpListener::bind(("127.0.0.1", port)).ok(),
            Some(open) => {
                if let Ok(client) = open.set_nonblocking(true).and_then(|()| open.accept()).map(|(c, _)| c)
                    && join(client, server, state).is_ok()
                {
                    continue;
                }
            }
        }
        thread::sleep(LOOK);
    }
}

fn join(client: TcpStream, server: u16, state: &Arc<Mutex<State>>) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let server = TcpStream::connect(("127.0.0.1", server))?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    locked(state).streams.extend([client, server]);
    let state = Arc::clone(state);
    thread::spawn(move || {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut buffer) {
            {
                let mut state = locked(&state);
                match state.left {
                    Some(left) if left < count => {
                        state.up = state.comes_back;
                        state.cut();
                        return;
                    }
                    Some(left) => state.left = Some(left - count),
                    None => {}
                }
            }
            if to_server.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to_server.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    Ok(())
}
