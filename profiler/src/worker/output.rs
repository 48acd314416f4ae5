//! Reads what the worker writes, on threads of their own: lines of replies, and the end of what it printed.

use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStderr, ChildStdout};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// No reply is longer; what is longer is no reply.
const LONGEST_LINE: u64 = 1 << 20;
/// So much of what was printed is kept: the end, where a traceback names the error.
const KEPT: usize = 64 << 10;

/// The lines of `stdout`; the channel ends with them.
pub(super) fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (send, receive) = sync_channel(4);
    thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        loop {
            let mut line = Vec::new();
            match reader
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)
            {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
            if send
                .send(String::from_utf8_lossy(&line).trim_end().to_owned())
                .is_err()
            {
                return;
            }
        }
    });
    receive
}

/// What a process prints, drained so that it never waits for us.
pub(super) struct Output {
    text: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Output {
    pub(super) fn drain(mut stderr: ChildStderr) -> Output {
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let (end, ended) = sync_channel(1);
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut chunk) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&chunk[..length]);
                let surplus = kept.len().saturating_sub(KEPT);
                kept.drain(..surplus);
            }
            // Nobody may be waiting for it.
            let _ = end.send(());
        });
        Output { text, ended }
    }

    /// What was printed. Waits a moment for the end, which a child that outlives the worker may hold back.
    pub(super) fn text(&self) -> String {
        let _ = self.ended.recv_timeout(Duration::from_millis(500));
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).into_owned()
    }
}
