//! Follows a stream in HTTP/2, slowly, by the release of h2 that its manifest names: `HOST:PORT PATH CODING MANNER MILLIS
//! FILE`.
//!
//! It pauses so many milliseconds before each read, by its manner of the `socket` or of the `body`, and keeps the body as it
//! comes in the file. It says `open` once it is, and at the end in one line what came, and how it ended.

use std::fs::File;
use std::future::Future;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, coding, manner, millis, file] = &args[..] else {
        bail!("HOST:PORT PATH CODING MANNER MILLIS FILE")
    };
    let pause = Duration::from_millis(millis.parse().context("MILLIS")?);
    let (of_socket, of_body) = match manner.as_str() {
        "socket" => (pause, Duration::ZERO),
        "body" => (Duration::ZERO, pause),
        _ => bail!("MANNER is socket or body"),
    };
    let socket = TcpStream::connect(address.parse::<SocketAddr>()?).await.context("connecting")?;
    let socket = Slow { socket, pause: of_socket, sleep: Box::pin(sleep(Duration::ZERO)) };
    let kept = BufWriter::new(File::create(file).context("making the file")?);
    let mut came = Came { pieces: 0, bytes: 0, kept };
    let followed = follow(socket, &format!("http://{address}{path}"), coding, of_body, &mut came).await;
    let how = followed.map_or_else(|error| format!("{error:#}"), |()| "whole".to_owned());
    came.kept.flush().context("keeping the body")?;
    println!("{} pieces, {} bytes: {how}", came.pieces, came.bytes);
    Ok(())
}

/// What came.
#[derive(Debug)]
struct Came {
    pieces: usize,
    bytes: usize,
    kept: BufWriter<File>,
}

async fn follow(socket: Slow, url: &str, coding: &str, pause: Duration, came: &mut Came) -> Result<()> {
    let (sender, connection) = h2::client::handshake(socket).await.context("beginning")?;
    tokio::spawn(connection);
    let request = Request::get(url).header("accept-encoding", coding).body(())?;
    let (answer, _) = sender.ready().await?.send_request(request, true)?;
    let answer = answer.await.context("asking")?;
    ensure!(answer.status() == 200, "answered {}", answer.status());
    println!("open");
    let mut body = answer.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        came.pieces += 1;
        came.bytes += piece.len();
        came.kept.write_all(&piece).context("keeping the body")?;
        sleep(pause).await;
    }
    Ok(())
}

/// A socket that is read with pauses.
struct Slow {
    socket: TcpStream,
    pause: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        ready!(self.sleep.as_mut().poll(cx));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        if buffer.filled().len() > before && !self.pause.is_zero() {
            self.sleep = Box::pin(sleep(self.pause));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
