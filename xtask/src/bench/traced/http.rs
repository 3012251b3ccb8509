//! A small HTTP server, a client that asks it over and over, each time on a connection of its own, and one that asks nothing.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use crate::process::Result;

/// Answers requests until it is killed. Says when it listens.
///
/// # Errors
/// It cannot listen there.
pub(super) fn serve(address: &str) -> Result {
    let listener = TcpListener::bind(address)?;
    println!("listening");
    thread::scope(|scope| {
        for _ in 0..SERVER_THREADS {
            scope.spawn(|| serve_all(&listener));
        }
    });
    Ok(())
}

fn serve_all(listener: &TcpListener) {
    for stream in listener.incoming() {
        // A client that went away has had its answer, or notices itself.
        let _served = stream.and_then(answer);
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; REQUEST.len()])?;
    stream.write_all(ANSWER)?;
    // The client closes first: what is left of the connection is in its namespace, and goes with that.
    io::copy(&mut stream, &mut io::sink())?;
    Ok(())
}

/// Makes `count` requests in `threads` threads, and gives how many of them were answered per second.
///
/// # Errors
/// A connection cannot be made, or is not answered.
pub(super) fn request(server: SocketAddr, count: u32, threads: u32) -> Result<f64> {
    let began = Instant::now();
    let shares = (0..threads).map(|thread| count / threads + u32::from(thread < count % threads));
    thread::scope(|scope| {
        let threads: Vec<_> =
            shares.map(|share| scope.spawn(move || (0..share).try_for_each(|_| ask(server)))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("asking does not panic"))
    })?;
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// Makes `count` connections, one after the other, and waits for the end of each; gives how many of them were made per second.
///
/// # Errors
/// A connection cannot be made, or does not end.
pub(super) fn connect(server: SocketAddr, count: u32) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..count {
        let mut stream = TcpStream::connect(server)?;
        stream.shutdown(Shutdown::Write)?;
        io::copy(&mut stream, &mut io::sink())?;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

fn ask(server: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(REQUEST)?;
    let mut answer = [0; ANSWER.len()];
    stream.read_exact(&mut answer)?;
    if answer == *ANSWER { Ok(()) } else { Err(io::Error::other("the answer is another one")) }
}

const REQUEST: &[u8; 38] = b"GET / HTTP/1.1\r\nHost: 198.51.100.1\r\n\r\n";
const ANSWER: &[u8; 52] = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nhello, world\n";
/// As many as the most threads that ask.
const SERVER_THREADS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_nothing_is_told_of_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for stream in listener.incoming().take(3) {
                let ended = answer(stream.unwrap()).unwrap_err();
                assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
            }
        });
        assert!(connect(address, 3).unwrap() > 0.0);
        server.join().unwrap();
    }

    #[test]
    fn all_requests_are_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let mut count = 0;
            for stream in listener.incoming().take(21) {
                answer(stream.unwrap()).unwrap();
                count += 1;
            }
            count
        });
        assert!(request(address, 21, 4).unwrap() > 0.0);
        assert_eq!(server.join().unwrap(), 21);
        // Nobody listens any more.
        assert!(connect(address, 1).is_err());
        assert!(request(address, 1, 1).is_err());
    }
}
