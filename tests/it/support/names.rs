//! A folder of name files, as the fs namer reads it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use tempfile::TempDir;

/// A folder of name files, gone when dropped.
#[derive(Debug)]
pub(crate) struct Names(TempDir);

impl Names {
    pub(crate) fn new() -> Self {
        Self(TempDir::with_prefix("signpost-it-").expect("there is room for files"))
    }

    /// The path of the folder.
    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().expect("the folder was named by us")
    }

    /// The part of a configuration that makes these names `/#/io.l5d.fs`.
    pub(crate) fn namer(&self) -> String {
        format!("namers: [{{kind: io.l5d.fs, rootDir: '{}'}}]\n", self.path())
    }

    /// Writes a name's file in place, one address a line.
    pub(crate) fn write(&self, name: &str, addresses: &[SocketAddr]) {
        self.write_lines(name, &lines(addresses));
    }

    /// Writes a name's file in place, as it is to be read.
    pub(crate) fn write_lines(&self, name: &str, lines: &str) {
        fs::write(self.0.path().join(name), lines).expect("the folder is there");
    }

    /// Writes a file beside it and renames it to the name.
    pub(crate) fn replace(&self, name: &str, addresses: &[SocketAddr]) {
        let new = self.0.path().join(format!(".{name}.new"));
        fs::write(&new, lines(addresses)).expect("the folder is there");
        fs::rename(new, self.0.path().join(name)).expect("the folder is there");
    }

    /// Removes a name's file.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.0.path().join(name)).expect("the file is there");
    }
}

fn lines(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(|address| format!("{} {}\n", address.ip(), address.port())).collect()
}

/// An address without a listener, for as long as the returned socket is held.
pub(crate) fn dead_address() -> (SocketAddr, socket2::Socket) {
    // Bound, so that no other process gets the port, but not listening.
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("sockets are left");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("loopback has free ports");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    (address, socket)
}
